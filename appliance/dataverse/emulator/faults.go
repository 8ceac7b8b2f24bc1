package emulator

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
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

	rule string // the text it was read from
}

// ParseFault reads a fault from its text form: kind=…, and any of table, message,
// part, url, nth, every, p, seed, times, delay, retry-after, column, value, text,
// separated by commas; a value with a comma goes in double quotes.
//
//	kind=reset-after,nth=3,table=account
//	kind=429-time,every=20,retry-after=2
//	kind=plugin,table=contact,column=lastname,value=^Bad,text="No, thanks"
func ParseFault(rule string) (Fault, error) {
	f := Fault{rule: rule}
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
