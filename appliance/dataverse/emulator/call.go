package emulator

import (
	"net/http"
	"strconv"
	"strings"
	"time"

	"dvmigrate/appliance/dataverse/schema"
)

// call is one operation on the API: an HTTP request, or one part of a $batch.
// Handlers read it and fill res, or return an *apiError.
type call struct {
	srv    *Server
	method string
	api    string // {org}/api/data/v9.2, without a slash at the end: the base of answered URLs
	path   string // what follows api and a slash, still escaped, without the query
	query  []param
	header http.Header
	body   []byte
	segs   []segment
	prefer preferences
	level  metadataLevel
	user   schema.GUID // the systemuser whose rows these become: the caller, or who is impersonated
	caller schema.GUID // the systemuser the token belongs to
	// message is the name the service gives the operation (Create, UpdateMultiple,
	// RetrieveMultiple …): limits, faults, costs and statistics go by it.
	message string
	table   *table // of the first segment; nil for functions and metadata
	// resource is the set with the type-cast segments that followed it (cast.go).
	resource string
	records  int // rows the call carries, for cost and statistics

	token     string // the bearer token
	ref       string // "set(key)" of the row written
	contentID string // inside a change set
	inBatch   bool
	whole     *call         // of a part of a $batch: the request
	open      bool          // of a request: it is not over on the server
	holds     []heldRow     // of a request: rows that no other may write until it ends
	warming   []warmKey     // of a request: what it is the first to do
	ran       bool          // it came as far as its handler
	fault     FaultKind     // that struck it
	cost      time.Duration // simulated server time
	spent     time.Duration // execution time that counts: cost, and what running took
	unchecked bool          // privileges are not checked: what the server itself does
	rights    map[schema.GUID]*rights
	trickle   time.Duration       // how long the answer is to drip
	held      time.Duration       // the part of cost that faults have added
	letGo     <-chan struct{}     // closed when they are taken off
	asked     map[*faultRule]bool // of a change set: the rules that have looked at it
	half      bool                // a $batch that ends half-way
	abort     abortKind
	plugins   []*faultRule // plug-in faults that look at this call's rows

	other func(*call) error // answers a path outside /api/data
	tx    *tx               // inside a change set: the transaction of the set
	refs  map[string]string // inside a change set: Content-ID -> entity reference "set(key)"

	res response
}

// response is what a call answers, for the wire or a batch part.
type response struct {
	status   int
	header   http.Header
	body     []byte
	entityID string // OData-EntityId; inside a batch also Location
}

// param is one query option, decoded, in the order sent.
type param struct{ name, value string }

// option returns a query option's value; names are case-sensitive.
func (c *call) option(name string) (string, bool) {
	for _, p := range c.query {
		if p.name == name {
			return p.value, true
		}
	}
	return "", false
}

// view runs fn with the store held still for reading.
func (c *call) view(fn func(*tx) error) error {
	if c.tx != nil {
		return fn(c.tx)
	}
	return c.srv.store.view(fn)
}

// set adds a response header, spelt as the service spells it.
func (c *call) set(name, value string) {
	if c.res.header == nil {
		c.res.header = http.Header{}
	}
	c.res.header[name] = []string{value}
}

// applied adds a Preference-Applied header.
func (c *call) applied(pref string) {
	if c.res.header == nil {
		c.res.header = http.Header{}
	}
	c.res.header.Add("Preference-Applied", pref)
}

// json answers with a JSON body.
func (c *call) json(status int, body []byte) error {
	c.res.status, c.res.body = status, body
	c.set("Content-Type", c.level.jsonType())
	return nil
}

// noContent answers 204.
func (c *call) noContent() error {
	c.res.status = http.StatusNoContent
	return nil
}

// preferences is the Prefer header, parsed (section 1.3).
type preferences struct {
	representation bool
	annotations    []string // patterns of odata.include-annotations; nil when not asked for
	maxPageSize    int      // 0 when not asked for
	trackChanges   bool
	respondAsync   bool
	continueOnErr  bool
	noUpsert       bool // odata.allow-upsert=false
}

func parsePrefer(h http.Header) (p preferences) {
	for _, line := range h.Values("Prefer") {
		for _, item := range splitQuoted(line, ',') {
			name, val, _ := strings.Cut(strings.TrimSpace(item), "=")
			val = strings.Trim(strings.TrimSpace(val), `"`)
			switch strings.ToLower(strings.TrimSpace(name)) {
			case "return":
				p.representation = val == "representation"
			case "odata.include-annotations":
				for a := range strings.SplitSeq(val, ",") {
					p.annotations = append(p.annotations, strings.TrimSpace(a))
				}
			case "odata.maxpagesize":
				p.maxPageSize, _ = strconv.Atoi(val)
			case "respond-async":
				p.respondAsync = true
			case "odata.track-changes":
				p.trackChanges = true
			case "odata.continue-on-error":
				p.continueOnErr = val != "false"
			case "odata.allow-upsert":
				p.noUpsert = val == "false"
			}
		}
	}
	return p
}

// wants reports whether an annotation was asked for; a pattern may end in *.
func (p preferences) wants(annotation string) bool {
	for _, a := range p.annotations {
		if a == annotation || strings.HasSuffix(a, "*") && strings.HasPrefix(annotation, a[:len(a)-1]) {
			return true
		}
	}
	return false
}

// splitQuoted splits s at sep where it is not inside double quotes.
func splitQuoted(s string, sep byte) []string {
	var parts []string
	start, quoted := 0, false
	for i := range len(s) {
		switch {
		case s[i] == '"':
			quoted = !quoted
		case s[i] == sep && !quoted:
			parts = append(parts, s[start:i])
			start = i + 1
		}
	}
	return append(parts, s[start:])
}
