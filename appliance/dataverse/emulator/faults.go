package emulator

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"
)

// FaultKind is what a fault does.
type FaultKind string

// The kinds of fault. Those of the first group stand in front of the service: they
// answer instead of it. Those of the second come from its engine, where an operation
// runs. Those of the third strike after the request has been applied.
const (
	FaultRequests    FaultKind = "429-requests"    // the request limit
	FaultExecution   FaultKind = "429-time"        // the execution time limit
	FaultConcurrency FaultKind = "429-concurrency" // the concurrency limit
	FaultGateway502  FaultKind = "502"             // an HTML page
	FaultGateway503  FaultKind = "503"
	FaultGateway504  FaultKind = "504"
	FaultExpired     FaultKind = "401"          // the token is taken as expired
	FaultResetBefore FaultKind = "reset-before" // the connection closes before anything is done

	FaultDeadlock   FaultKind = "deadlock"    // 500 0x80044150, Sql Number 1205
	FaultSQLTimeout FaultKind = "sql-timeout" // 500 0x80044151
	FaultForbidden  FaultKind = "403"         // a missing privilege
	FaultDelay      FaultKind = "delay"       // the answer comes later by Delay; other faults still count
	FaultRow429     FaultKind = "row-429"     // a row of a bulk action on an elastic table is throttled
	FaultPlugin     FaultKind = "plugin"      // 400 0x80040265 for rows whose Column matches Value

	FaultResetAfter FaultKind = "reset-after" // applied, then the connection closes without an answer
	FaultCut        FaultKind = "cut"         // applied, and the answer breaks off half-way
	FaultLost502    FaultKind = "502-after"   // applied, and a 502 page is answered
	FaultLost503    FaultKind = "503-after"   // applied, and a 503 page is answered
	FaultLost504    FaultKind = "504-after"   // applied, and a 504 page is answered
	FaultTrickle    FaultKind = "trickle"     // applied, and the answer drips over Delay, 10 s when none is given
	FaultHalfBatch  FaultKind = "half-batch"  // the first half of a $batch is run and answered, then the connection breaks
)

var faultKinds = []FaultKind{FaultRequests, FaultExecution, FaultConcurrency, FaultGateway502, FaultGateway503, FaultGateway504,
	FaultExpired, FaultResetBefore, FaultDeadlock, FaultSQLTimeout, FaultForbidden, FaultDelay, FaultRow429, FaultPlugin,
	FaultResetAfter, FaultCut, FaultLost502, FaultLost503, FaultLost504, FaultTrickle, FaultHalfBatch}

// ofEngine reports whether the kind is of the second group.
func (k FaultKind) ofEngine() bool {
	switch k {
	case FaultDeadlock, FaultSQLTimeout, FaultForbidden, FaultDelay, FaultRow429, FaultPlugin:
		return true
	}
	return false
}

// Fault is one fault on order. It looks at what Table, Message and URL let through,
// and strikes at some of it: at the Nth, at every Every-th, with a Probability, or,
// when none is given, at all. Times bounds how often. Of several that strike at once
// the first wins.
//
// What it looks at makes sure that a client which retries comes to an end. Faults of
// the engine look at operations, among them the parts of a $batch, of which each is
// answered for itself; a change set, which is retried as one, counts as one to Every.
// All others end a $batch as a whole and look at HTTP requests, so that a $batch is
// one, with Message ExecuteBatch and no Table; with Part they look at the parts
// instead. Every may not be combined with Part but where Times bounds it: each retry
// of a $batch that has Every parts would be struck again, for ever.
type Fault struct {
	Kind    FaultKind
	Part    bool           // look at the parts of a $batch, for the first and third group
	Table   string         // logical name; empty for any
	Message string         // Create, Update, Upsert, Delete, Retrieve, CreateMultiple, ExecuteBatch …; empty for any
	URL     *regexp.Regexp // searched in method, blank, path and query; nil for any

	Nth         int     // strike at this one only, counted from 1
	Every       int     // strike at each multiple
	Probability float64 // strike at so many of 1, drawn with Seed
	Seed        uint64
	Times       int // strike at most so often; zero means no bound

	Delay      time.Duration  // of a delay
	RetryAfter int            // seconds, of a 429; zero means 5
	Column     string         // of a plugin fault
	Value      *regexp.Regexp // of a plugin fault; nil means any value
	Text       string         // of a plugin fault: the message
}

// ParseFault reads a fault from its text form: kind=…, and any of table, message,
// part, url, nth, every, p, seed, times, delay, retry-after, column, value, text,
// separated by commas; a value with a comma goes in double quotes.
//
//	kind=reset-after,nth=3,table=account
//	kind=429-time,every=20,retry-after=2
//	kind=plugin,table=contact,column=lastname,value=^Bad,text="No, thanks"
func ParseFault(rule string) (Fault, error) {
	var f Fault
	for _, item := range splitQuoted(rule, ',') {
		name, val, ok := strings.Cut(strings.TrimSpace(item), "=")
		if !ok {
			return f, fmt.Errorf("parse fault %q: %q is not name=value", rule, item)
		}
		if err := f.setField(name, strings.Trim(val, `"`)); err != nil {
			return f, fmt.Errorf("parse fault %q: %s: %w", rule, name, err)
		}
	}
	if f.Kind == "" {
		return f, fmt.Errorf("parse fault %q: kind is missing", rule)
	}
	if f.Kind == FaultPlugin && f.Column == "" {
		return f, fmt.Errorf("parse fault %q: a plugin fault needs column", rule)
	}
	if f.Part && f.Every > 0 && f.Times == 0 && !f.Kind.ofEngine() {
		return f, fmt.Errorf("parse fault %q: part with every needs times: a batch with so many parts would be struck at every retry", rule)
	}
	if f.Kind == FaultDelay && f.Delay <= 0 {
		return f, fmt.Errorf("parse fault %q: a delay fault needs delay, as in delay=2s", rule)
	}
	return f, nil
}

func (f *Fault) setField(name, val string) (err error) {
	switch name {
	case "kind":
		for _, k := range faultKinds {
			if string(k) == val {
				f.Kind = k
				return nil
			}
		}
		return fmt.Errorf("%q is none of %v", val, faultKinds)
	case "table":
		f.Table = val
	case "message":
		f.Message = val
	case "url":
		f.URL, err = regexp.Compile(val)
	case "part":
		f.Part, err = strconv.ParseBool(val)
	case "nth":
		f.Nth, err = atLeastOne(val)
	case "every":
		f.Every, err = atLeastOne(val)
	case "times":
		f.Times, err = atLeastOne(val)
	case "retry-after":
		f.RetryAfter, err = atLeastOne(val)
	case "p":
		f.Probability, err = strconv.ParseFloat(val, 64)
		if err == nil && (f.Probability <= 0 || f.Probability > 1) {
			err = fmt.Errorf("%s is not above 0 and up to 1", val)
		}
	case "seed":
		f.Seed, err = strconv.ParseUint(val, 10, 64)
	case "delay":
		f.Delay, err = time.ParseDuration(val)
	case "column":
		f.Column = val
	case "value":
		f.Value, err = regexp.Compile(val)
	case "text":
		f.Text = val
	default:
		err = fmt.Errorf("unknown; known are kind, table, message, part, url, nth, every, p, seed, times, delay, retry-after, column, value, text")
	}
	return err
}

func atLeastOne(val string) (int, error) {
	n, err := strconv.Atoi(val)
	if err == nil && n < 1 {
		err = fmt.Errorf("%d is less than 1", n)
	}
	return n, err
}

// faultBook holds the faults on order and how often each was asked and struck.
type faultBook struct {
	mu    sync.Mutex
	rules []*faultRule
	done  map[FaultKind]int64
}

type faultRule struct {
	Fault
	seen, struck int
	random       *rand.Rand
}

func (b *faultBook) order(faults []Fault) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, f := range faults {
		b.rules = append(b.rules, &faultRule{Fault: f, random: rand.New(rand.NewPCG(f.Seed, f.Seed))})
	}
}

func (b *faultBook) clear() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.rules = nil
}

// strikes counts an occasion and reports whether the fault strikes at it.
func (b *faultBook) strikes(r *faultRule) bool {
	r.seen++
	hit := true
	switch {
	case r.Nth > 0:
		hit = r.seen == r.Nth
	case r.Every > 0:
		hit = r.seen%r.Every == 0
	case r.Probability > 0:
		hit = r.random.Float64() < r.Probability
	}
	if !hit || r.Times > 0 && r.struck >= r.Times {
		return false
	}
	r.struck++
	if b.done == nil {
		b.done = map[FaultKind]int64{}
	}
	b.done[r.Kind]++
	return true
}

func (r *faultRule) matches(c *call) bool {
	if r.Kind.ofEngine() {
		if c.message == batchMessage && r.Message != batchMessage {
			return false
		}
		if r.Every > 0 && r.Kind != FaultPlugin && c.asked[r] {
			return false
		}
	} else if r.Part != c.inBatch || r.Kind == FaultHalfBatch && c.message != batchMessage {
		return false
	}
	if r.Table != "" && (c.table == nil || c.table.LogicalName != r.Table) || r.Message != "" && r.Message != c.message {
		return false
	}
	return r.URL == nil || r.URL.MatchString(c.method+" "+c.path+c.queryText())
}

func (c *call) queryText() string {
	var b strings.Builder
	for i, p := range c.query {
		sep := byte('&')
		if i == 0 {
			sep = '?'
		}
		b.WriteByte(sep)
		b.WriteString(p.name + "=" + p.value)
	}
	return b.String()
}

// occasion asks all rules about a call: it returns the fault that strikes, if one
// does, and notes delays and plug-ins on the call.
func (b *faultBook) occasion(c *call) (hit *faultRule) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, r := range b.rules {
		if !r.matches(c) {
			continue
		}
		if c.asked != nil {
			c.asked[r] = true
		}
		switch {
		case r.Kind == FaultPlugin, r.Kind == FaultRow429:
			c.plugins = append(c.plugins, r)
		case r.Kind == FaultDelay:
			if b.strikes(r) {
				c.cost += r.Delay
			}
		case hit == nil && b.strikes(r):
			hit = r
		}
	}
	return hit
}

// plugin asks the plug-in faults about one row to be written.
func (b *faultBook) plugin(c *call, rec *record) error {
	if len(c.plugins) == 0 {
		return nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, r := range c.plugins {
		for i := range rec.set {
			a := &rec.set[i]
			if r.Kind != FaultPlugin || a.col.LogicalName != r.Column || r.Value != nil && !r.Value.MatchString(a.v.String()) || !b.strikes(r) {
				continue
			}
			text := r.Text
			if text == "" {
				text = "The plug-in refused the row."
			}
			e := errorf(http.StatusBadRequest, "0x80040265", "%s", text)
			e.details = [][2]string{{"@Microsoft.PowerApps.CDS.ErrorDetails.OperationStatus", "0"}, {"@Microsoft.PowerApps.CDS.ErrorDetails.SubErrorCode", "-2146233088"}}
			return e
		}
	}
	return nil
}

// throttleRow asks the faults of rows of elastic tables about one.
func (b *faultBook) throttleRow(c *call) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, r := range c.plugins {
		if r.Kind == FaultRow429 && b.strikes(r) {
			return errorf(http.StatusTooManyRequests, "0x8005F103", "Too many requests.")
		}
	}
	return nil
}

// abortKind is how a connection ends instead of a whole answer.
type abortKind uint8

const (
	notAborted abortKind = iota
	abortReset
	abortCut
	abortEnd     // after the whole body, which lacks its end
	abortTrickle // not aborted, but slow
)

// batchMessage is the message of a $batch as a whole.
const batchMessage = "ExecuteBatch"

// before is the error of a fault that strikes instead of the operation.
func (r *faultRule) before(c *call) error {
	l := c.srv.limiter.limits
	retry := max(r.RetryAfter, 0)
	if retry == 0 {
		retry = 5
	}
	switch r.Kind {
	case FaultRequests:
		return errThrottled(byRequests, orDefault(l), retry)
	case FaultExecution:
		return errThrottled(byExecution, orDefault(l), retry)
	case FaultConcurrency:
		return errThrottled(byConcurrency, orDefault(l), retry)
	case FaultDeadlock:
		return errorf(http.StatusInternalServerError, "0x80044150", " Sql error: Generic SQL error. CRM ErrorCode: -2147204784 Sql ErrorCode: -2146232060 Sql Number: 1205")
	case FaultSQLTimeout:
		return errorf(http.StatusInternalServerError, "0x80044151", "SQL timeout expired. CRM ErrorCode: -2147204783 Sql ErrorCode: -2146232060 Sql Number: -2")
	case FaultGateway502, FaultGateway503, FaultGateway504:
		return errGateway(string(r.Kind))
	case FaultHalfBatch:
		c.half = true
	case FaultExpired:
		return errUnauthorized()
	case FaultForbidden:
		return c.errPrivilege()
	case FaultResetBefore:
		c.abort = abortReset
		return errGateway("502")
	}
	return nil
}

// after is what a fault makes of an operation that was applied.
func (r *faultRule) after(c *call) error {
	switch r.Kind {
	case FaultResetAfter:
		c.abort = abortReset
	case FaultCut:
		c.abort = abortCut
	case FaultTrickle:
		c.abort, c.trickle = abortTrickle, r.Delay
		if r.Delay <= 0 {
			c.trickle = 10 * time.Second
		}
	case FaultLost502, FaultLost503, FaultLost504:
		return errGateway(string(r.Kind[:3]))
	}
	return nil
}

// orDefault gives the messages of ordered 429s figures where no limit is set.
func orDefault(l Limits) Limits {
	d := DefaultLimits()
	if l.Requests > 0 {
		d.Requests = l.Requests
	}
	if l.Execution > 0 {
		d.Execution = l.Execution
	}
	if l.Concurrency > 0 {
		d.Concurrency = l.Concurrency
	}
	d.Window = l.Window
	return d
}

// errGateway is a page of the front door (trap 28).
func errGateway(status string) *apiError {
	n, _ := strconv.Atoi(status)
	title := status + " " + http.StatusText(n)
	return &apiError{status: n, message: title, html: "<html>\r\n<head><title>" + title + "</title></head>\r\n<body>\r\n<center><h1>" + title + "</h1></center>\r\n<hr><center>Microsoft-Azure-Application-Gateway/v2</center>\r\n</body>\r\n</html>\r\n"}
}

func errUnauthorized() *apiError {
	return &apiError{status: http.StatusUnauthorized, challenge: true}
}

func (c *call) errPrivilege() *apiError {
	name, logical := "Account", "account"
	if c.table != nil {
		name, logical = title(c.table), c.table.LogicalName
	}
	right := map[string]string{"Create": "Create", "CreateMultiple": "Create", "Delete": "Delete", "Retrieve": "Read", "RetrieveMultiple": "Read"}[c.message]
	if right == "" {
		right = "Write"
	}
	return errorf(http.StatusForbidden, "0x80040220", "Principal user (Id=%s, type=8, roleCount=1, privilegeCount=99, accessMode='4 Non-interactive', MetadataCachePrivilegesCount=4711, businessUnitId=%s), is missing prv%s%s privilege (Id=%s) on OTC=%d for entity '%s' (LocalizedName='%s'). context.Caller=%s. Consider adding missed privilege to one of the principal (user/team) roles.",
		c.user, BusinessUnitID, right, name, intersectID(c.user, BusinessUnitID), 1, logical, name, c.user)
}
