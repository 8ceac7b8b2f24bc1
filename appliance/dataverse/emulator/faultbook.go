package emulator

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// faultBook holds the faults on order and how often each was asked and struck.
type faultBook struct {
	mu    sync.Mutex
	rules []*faultRule
	done  map[FaultKind]int64
	off   chan struct{} // closed when all are taken off; nil while none has held an answer
}

type faultRule struct {
	Fault
	seen, struck int
	random       *rand.Rand
}

// checkFault refuses a fault that could never strike: one that looks at a table, column
// or message that is not there.
func (s *Server) checkFault(f *Fault) error {
	s.gate.RLock()
	defer s.gate.RUnlock()
	tables := s.model.tables
	if f.Table != "" {
		t := s.model.byName[f.Table]
		if t == nil {
			return fmt.Errorf("fault %s: the schema has no table %q; tables go by logical name, such as account", f.name(), f.Table)
		}
		tables = []*table{t}
	}
	if f.Column != "" && !slices.ContainsFunc(tables, func(t *table) bool { return t.byName[f.Column] != nil }) {
		return fmt.Errorf("fault %s: no column %q in table %q", f.name(), f.Column, f.Table)
	}
	if names := s.messages(); f.Message != "" && !names[f.Message] {
		return fmt.Errorf("fault %s: there is no message %q; known are %s", f.name(), f.Message, strings.Join(slices.Sorted(maps.Keys(names)), ", "))
	}
	return nil
}

// messages are the names that operations go by.
func (s *Server) messages() map[string]bool {
	names := map[string]bool{"Upsert": true, "Search": true, "BackgroundOperation": true}
	for _, methods := range s.routes {
		for _, r := range methods {
			names[r.message] = true
		}
	}
	for _, group := range []map[string]func(*call) error{s.functions, s.boundFunctions, s.actions, s.boundActions} {
		for name := range group {
			names[name] = true
		}
	}
	for name := range s.opts.CustomActions {
		names[name] = true
	}
	delete(names, "")
	return names
}

// name is how an error and a list name the fault.
func (f *Fault) name() string { return or(f.rule, "kind="+string(f.Kind)) }

// faultLine is a fault on order, as the admin endpoint lists it.
type faultLine struct {
	Rule   string `json:"rule"`
	Seen   int    `json:"seen"`   // occasions that it looked at
	Struck int    `json:"struck"` // of them, those that it struck
}

func (b *faultBook) lines() []faultLine {
	b.mu.Lock()
	defer b.mu.Unlock()
	lines := []faultLine{}
	for _, r := range b.rules {
		lines = append(lines, faultLine{r.name(), r.seen, r.struck})
	}
	return lines
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
	if b.off != nil {
		close(b.off)
		b.off = nil
	}
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
		case r.Kind == FaultPlugin && c.bypassesPlugins():
		case r.Kind == FaultPlugin, r.Kind == FaultRow429:
			c.plugins = append(c.plugins, r)
		case r.Kind == FaultDelay:
			if b.strikes(r) {
				c.cost, c.fault = c.cost+r.Delay, r.Kind
				if b.off == nil {
					b.off = make(chan struct{})
				}
				c.held, c.letGo = c.held+r.Delay, b.off
			}
		case hit == nil && b.strikes(r):
			hit, c.fault = r, r.Kind
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
			c.fault = r.Kind
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
			c.fault = r.Kind
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
		return errSQL(1205)
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
