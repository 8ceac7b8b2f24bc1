package emulator

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"dvmigrate/appliance/dataverse/schema"
)

// The two services beside the Web API that its clients know: the status of
// background operations, and search.

// otherService finds what answers a path outside /api/data; nil for any other path.
func (c *call) otherService(path string) func(*call) error {
	if id, ok := strings.CutPrefix(path, "/api/backgroundoperation/"); ok {
		c.message = "BackgroundOperation"
		return func(c *call) error { return c.backgroundOperation(id) }
	}
	rest, ok := strings.CutPrefix(path, "/api/search/")
	version, name, _ := strings.Cut(rest, "/")
	if !ok || version != "v1.0" && version != "v2.0" || !slices.Contains([]string{"query", "suggest", "autocomplete"}, name) {
		return nil
	}
	c.message = "Search"
	return func(c *call) error { return c.search(name, version == "v2.0") }
}

// jobs are the background operations of custom APIs, by id.
type jobs struct {
	mu   sync.Mutex
	byID map[schema.GUID]*job
}

// job is one that was asked for with Prefer: respond-async.
type job struct {
	end      time.Time
	canceled bool
}

// customAction answers a custom API of Options.CustomActions, which does nothing for
// its time; in the background when the client asks for it (section 1.3).
func (c *call) customAction(takes time.Duration) error {
	if !c.prefer.respondAsync {
		c.cost += takes
		return c.noContent()
	}
	id := newGUID()
	s := c.srv
	s.jobs.mu.Lock()
	if s.jobs.byID == nil {
		s.jobs.byID = map[schema.GUID]*job{}
	}
	s.jobs.byID[id] = &job{end: time.Now().Add(s.real(takes))}
	s.jobs.mu.Unlock()
	org, _, _ := strings.Cut(c.api, apiPrefix)
	c.set("Location", org+"/api/backgroundoperation/"+id.String())
	c.res.header["x-ms-dyn-backgroundoperationid"] = []string{id.String()}
	c.applied("respond-async")
	c.res.status = http.StatusAccepted
	return nil
}

// backgroundOperation answers the status of a background operation, or cancels it.
func (c *call) backgroundOperation(text string) error {
	id, err := schema.ParseGUID(text)
	s := c.srv
	s.jobs.mu.Lock()
	defer s.jobs.mu.Unlock()
	j := s.jobs.byID[id]
	if err != nil || j == nil {
		return errorf(http.StatusNotFound, "0x80040217", "backgroundoperation With Id = %s Does Not Exist", text)
	}
	done := !time.Now().Before(j.end)
	switch c.method {
	case http.MethodDelete:
		j.canceled = j.canceled || !done
	case http.MethodGet:
	default:
		return errMethod(c.method)
	}
	state, status := 2, 20
	switch {
	case j.canceled:
		state, status = 3, 32
	case done:
		state, status = 3, 30
	}
	return c.json(http.StatusOK, appendObject(nil, object{{"backgroundOperationStateCode", state}, {"backgroundOperationStatusCode", status}}))
}

// searchBody is what a search may ask for, in either version of the service.
type searchBody struct {
	Search   string          `json:"search"`
	Entities json.RawMessage `json:"entities"`
	Top      int             `json:"top"`
	Skip     int             `json:"skip"`
}

// tables are those that the body names: a list of names, or in version 2 a text with
// a list of objects.
func (b searchBody) tables() []string {
	text := string(b.Entities)
	var inner string
	if json.Unmarshal(b.Entities, &inner) == nil {
		text = inner
	}
	var names []string
	if json.Unmarshal([]byte(text), &names) == nil {
		return names
	}
	var objects []struct{ Name string }
	if json.Unmarshal([]byte(text), &objects) == nil {
		for _, o := range objects {
			names = append(names, o.Name)
		}
	}
	return names
}

// found is one hit of a search.
type found struct {
	t    *table
	id   schema.GUID
	name string
}

// search answers the search service: rows whose primary name has every word.
func (c *call) search(operation string, second bool) error {
	if c.method != http.MethodPost {
		return errMethod(c.method)
	}
	var body searchBody
	if err := c.wire(&body); err != nil {
		return err
	}
	if strings.TrimSpace(body.Search) == "" {
		return errorf(http.StatusBadRequest, "0x80048d0b", "Search term is missing.")
	}
	hits, err := c.hits(&body)
	if err != nil {
		return err
	}
	total := len(hits)
	top := body.Top
	if top <= 0 {
		top = 50
	}
	hits = hits[min(body.Skip, total):min(body.Skip+top, total)]
	word := strings.ToLower(strings.Fields(body.Search)[0])
	switch operation {
	case "query":
		return c.answerSearch(operation, second, searchRows(hits, word, second), total)
	case "suggest":
		rows := []object{}
		for _, h := range hits {
			doc := object{{"@search.objectid", h.id}, {"@search.entityname", h.t.LogicalName}, {h.t.PrimaryName, h.name}}
			text, document := "text", "document"
			if second {
				text, document = "Text", "Document"
			}
			rows = append(rows, object{{text, marked(h.name, word, "{", "}")}, {document, doc}})
		}
		return c.answerSearch(operation, second, rows, total)
	}
	var first any
	if len(hits) > 0 {
		first = marked(strings.ToLower(hits[0].name), word, "{", "}")
	}
	return c.answerSearch(operation, second, first, total)
}

func (c *call) hits(body *searchBody) (hits []found, err error) {
	words := strings.Fields(strings.ToLower(strings.Trim(body.Search, "*\"")))
	only := body.tables()
	err = c.view(func(tx *tx) error {
		for _, t := range c.srv.model.tables {
			name := t.byName[t.PrimaryName]
			if name == nil || name.hidden() || t.Kind == schema.Intersect || only != nil && !slices.Contains(only, t.LogicalName) {
				continue
			}
			tx.scan(t, schema.GUID{}, func(r row) bool {
				text := r.value(name).String()
				lower := strings.ToLower(text)
				if !slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(lower, w) }) {
					hits = append(hits, found{t, r.id, text})
				}
				return true
			})
		}
		return nil
	})
	return hits, err
}

// marked puts marks around the word.
func marked(text, word, before, after string) string {
	i := strings.Index(strings.ToLower(text), word)
	if i < 0 || i+len(word) > len(text) {
		return text
	}
	return text[:i] + before + text[i:i+len(word)] + after + text[i+len(word):]
}

func searchRows(hits []found, word string, second bool) []object {
	rows := []object{}
	for _, h := range hits {
		light := object{{h.t.PrimaryName, []string{marked(h.name, word, "{crmhit}", "{/crmhit}")}}}
		if second {
			rows = append(rows, object{{"Id", h.id}, {"EntityName", h.t.LogicalName}, {"ObjectTypeCode", h.t.ObjectTypeCode},
				{"Attributes", object{{h.t.PrimaryName, h.name}}}, {"Highlights", light}, {"Score", 1.0}})
			continue
		}
		rows = append(rows, object{{"@search.score", 1.0}, {"@search.highlights", light}, {"@search.entityname", h.t.LogicalName},
			{"@search.objectid", h.id}, {"@search.objecttypecode", h.t.ObjectTypeCode}, {h.t.PrimaryName, h.name}})
	}
	return rows
}

// answerSearch frames the result: version 2 puts it into a text of its own.
func (c *call) answerSearch(operation string, second bool, value any, total int) error {
	if !second {
		o := object{{"value", value}}
		if operation == "query" {
			o = append(o, field{"facets", object{}}, field{"totalrecordcount", total})
		}
		return c.json(http.StatusOK, appendObject(nil, append(o, field{"querycontext", nil})))
	}
	o := object{{"Error", nil}, {"Value", value}}
	if operation == "query" {
		o = append(o, field{"Facets", object{}}, field{"Count", total})
	}
	text := appendObject(nil, append(o, field{"QueryContext", nil}))
	org, _, _ := strings.Cut(c.api, apiPrefix)
	return c.json(http.StatusOK, appendObject(nil, object{{"@odata.context", org + "/api/search/v2.0/$metadata#" + namespace + "search" + operation + "Response"}, {"response", string(text)}}))
}
