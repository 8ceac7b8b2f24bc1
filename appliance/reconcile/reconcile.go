package reconcile

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"time"

	"dvmigrate/appliance/dataverse"
	"dvmigrate/appliance/dataverse/schema"
	"dvmigrate/appliance/mapping"
	"dvmigrate/duckstage/column"
	"dvmigrate/ledger"
)

// stage is where the rows come from.
type stage interface {
	Scan(ctx context.Context, query string, args []any, fn func(*column.Batch) error) error
}

// book is where each record's state is kept; *ledger.Ledger is one.
type book interface {
	Entry(table string, seq uint32) (ledger.Entry, bool)
	Spans(table string, from uint32) iter.Seq[ledger.Span]
}

// client reads the target; *dataverse.Client is one.
type client interface {
	Rows(ctx context.Context, t *schema.Table, q dataverse.Query, fn func(row json.RawMessage) error) error
}

// Options say what is compared.
type Options struct {
	Tables []*mapping.Table // in the order of the result
	Values bool             // compare the columns' values too, not only which records are there
	Limit  int              // mismatches kept of each table; all are counted
	// Watch is told how far a table is: done of total records found. nil: nobody.
	Watch func(table string, done, total int64)
	// RecordSeq tells the row of a record id that this migration assigned. Ids that it
	// does not know are looked up in the stage where the table keeps the source's ids,
	// or where RecordSeq is nil.
	RecordSeq func(table string, id schema.GUID) (seq uint32, ours bool)
	// Kept gives the id in the target for one in the stage, and Staged the one in the
	// stage for one in the target, where Dataverse assigned it or the record was there
	// before. nil: they are the same.
	Kept   func(staged schema.GUID) schema.GUID
	Staged func(table string, id schema.GUID) schema.GUID
	// Moving says that a load changes target and ledger meanwhile. Records whose entry
	// is changed after the comparison of their table began are then not judged.
	Moving bool
}

// The kinds of mismatch.
const (
	Missing   = "missing"
	Extra     = "extra"
	Different = "different"
	Duplicate = "duplicate"
)

// Mismatch is one thing that is not as meant.
type Mismatch struct {
	Table     string `json:"table"`
	LegacyKey string `json:"legacyKey"` // "" when the stage no longer has the row
	RecordID  string `json:"recordId"`  // of a duplicate: the other record's; "" for a link, whose two ids are in Want or Got
	Kind      string `json:"kind"`
	Column    string `json:"column,omitempty"` // of a duplicate or a link: its columns, joined by a comma
	Want      string `json:"want,omitempty"`   // as staged; "" is null
	Got       string `json:"got,omitempty"`    // as read back
}

// TableResult is how one table compares. Each number counts records.
type TableResult struct {
	Name       string     `json:"name"`
	Source     int64      `json:"source"` // that the target has, by the ledger
	Target     int64      `json:"target"` // of ours that the target has
	Missing    int64      `json:"missing"`
	Extra      int64      `json:"extra"`
	Different  int64      `json:"different"`
	Duplicates int64      `json:"duplicates"`
	Moving     int64      `json:"moving,omitempty"` // that a load changed meanwhile, so that they are not judged
	Others     int64      `json:"others"`           // rows of the target that are not of this migration
	Mismatches []Mismatch `json:"mismatches"`
}

// Summary adds up all tables.
type Summary struct {
	Source     int64 `json:"source"`
	Target     int64 `json:"target"`
	Missing    int64 `json:"missing"`
	Extra      int64 `json:"extra"`
	Different  int64 `json:"different"`
	Duplicates int64 `json:"duplicates"`
	Moving     int64 `json:"moving,omitempty"`
}

// Result is how the target compares with what was loaded.
type Result struct {
	Version int           `json:"version"` // of this form, 1
	Summary Summary       `json:"summary"`
	Tables  []TableResult `json:"tables"`
}

// Run compares the tables, one after the other. With an error the result has the
// tables that were finished.
func Run(ctx context.Context, s stage, b book, c client, o Options) (Result, error) {
	r := Result{Version: 1, Tables: []TableResult{}}
	if o.Kept == nil {
		o.Kept = func(id schema.GUID) schema.GUID { return id }
	}
	if o.Staged == nil {
		o.Staged = func(_ string, id schema.GUID) schema.GUID { return id }
	}
	if o.Watch == nil {
		o.Watch = func(string, int64, int64) {}
	}
	for _, t := range o.Tables {
		res, err := compare(ctx, s, b, c, o, t)
		if err != nil {
			return r, fmt.Errorf("reconcile %s: %w", t.Name, err)
		}
		r.Tables = append(r.Tables, res)
		sum := &r.Summary
		sum.Source += res.Source
		sum.Target += res.Target
		sum.Missing += res.Missing
		sum.Extra += res.Extra
		sum.Different += res.Different
		sum.Duplicates += res.Duplicates
		sum.Moving += res.Moving
	}
	return r, nil
}

// comparison is the work on one table.
type comparison struct {
	stage    stage
	book     book
	o        Options
	table    *mapping.Table
	result   TableResult
	examples examples
	seen     seqSet
	began    uint32 // unix seconds; 0 = nothing moves meanwhile
}

// moves reports whether a load changed the record since the comparison began.
func (w *comparison) moves(e ledger.Entry) bool { return w.began > 0 && e.Time >= w.began }

// errNoIntersect says that the schema lacks the table that is to be read.
var errNoIntersect = errors.New("the schema does not have the intersect table of the N:N relationship; pull the schema with it")

// compare does one table: read all of the target's, then tell what did not come.
func compare(ctx context.Context, s stage, b book, c client, o Options, t *mapping.Table) (TableResult, error) {
	if t.Schema == nil {
		return TableResult{}, errNoIntersect
	}
	w := &comparison{stage: s, book: b, o: o, table: t, result: TableResult{Name: t.Name}, examples: examples{limit: o.Limit}}
	if o.Moving {
		w.began = uint32(time.Now().Unix())
	}
	var count uint32
	for span := range b.Spans(t.Name, 0) {
		count = span.To
		if expect(span.Entry).presence == present {
			w.result.Source += int64(span.Len())
		}
	}
	w.seen = newSeqSet(count)
	o.Watch(t.Name, 0, w.result.Source)
	var err error
	if t.Link != nil {
		err = newLinks(w).run(ctx, c)
	} else {
		err = newRecords(w).run(ctx, c)
	}
	if err != nil {
		return w.result, err
	}
	w.missing()
	w.result.Mismatches, err = w.explain(ctx)
	return w.result, err
}

// missing counts the records that should have been seen and were not.
func (w *comparison) missing() {
	for span := range w.book.Spans(w.table.Name, 0) {
		if w.moves(span.Entry) {
			w.result.Moving += int64(span.Len())
			continue
		}
		if expect(span.Entry).presence != present {
			continue
		}
		for seq := span.From; seq < span.To; seq++ {
			if w.seen.has(seq) {
				continue
			}
			w.result.Missing++
			w.examples.add(example{Mismatch: Mismatch{Kind: Missing}, seq: seq, staged: true})
		}
	}
}

// meet notes that the target has record seq of ours, and returns what the ledger
// says of it; again is true when it was met before.
func (w *comparison) meet(seq uint32, found Mismatch) (x expectation, action ledger.Action, again bool) {
	e, known := w.book.Entry(w.table.Name, seq)
	if known && w.moves(e) {
		w.seen.add(seq)
		return expectation{presence: unsure}, e.Action, false
	}
	if known {
		x = expect(e)
	}
	again = known && !w.seen.add(seq)
	switch {
	case again:
		w.result.Duplicates++
		found.Kind = Duplicate
	case x.presence == absent:
		w.result.Target++
		w.result.Extra++
		found.Kind = Extra
	default:
		w.result.Target++
		return x, e.Action, false
	}
	w.examples.add(example{Mismatch: found, seq: seq, staged: true})
	return x, e.Action, again
}
