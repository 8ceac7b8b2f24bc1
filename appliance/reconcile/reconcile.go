package reconcile

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"slices"
	"sync"
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
	Records(ctx context.Context, t *schema.Table, ids []schema.GUID, columns []string, fn func(id schema.GUID, row json.RawMessage) error) error
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
	// Collation is the target's: which values of alternate keys it takes for the same.
	Collation mapping.Collation
	// Rules gives a table's; nil: nothing is allowed, all is compared.
	Rules func(table string) Rules
	// ReadBack is SQL that yields dm_seq of the rows whose values the target has, by the
	// ledger; nil: no figures. Nor are there any while a load moves.
	ReadBack func(table string) string
	// SizesAhead is how many sizes of files are read ahead; 0 = sizesMost.
	SizesAhead int
	// SliceRows is from how many records on a slice is worth reading; 0 = sliceRows.
	SliceRows int64
	// Versions keeps at which version each record was found equal, for the shape of what was
	// compared; nil: nowhere. Changed says to read in full only those with another one.
	Versions func(table, shape string) (Versions, error)
	Changed  bool
	// Progress keeps which slices of a table are done, so that a comparison that is
	// interrupted is gone on with; nil: nowhere.
	Progress Progress
	// Quick says to have the service count and add instead of reading the records.
	Quick bool
	// Only is a condition in OData's words: other records of the table are not read, so that
	// nothing is said of what is missing, and there are no figures. nil: all are.
	Only func(table string) string
	// Sample is how many records of a table are read at most, chosen at random; 0 = all.
	Sample int64
	// Samples is how many records of each table are chosen at random and shown whole.
	Samples int
	// Hide keeps what the target holds out of every result, where it may be what was masked
	// on its way here: only its length is told.
	Hide bool
	// Found is handed each table's mismatches as they are found, at most Keep of each kind;
	// seq is the staged row's number, -1 where there is none. nil: nobody keeps them.
	Found func(table string, seq int64, m Mismatch) error
	Keep  int
	// Due is handed, when a table was compared, the staged rows of all records that are missing, and of all that
	// differ: one bit each, row n is bit n%64 of word n/64. nil: nobody asks.
	Due func(table string, missing, different []uint64) error
	// Anew says that what Found was handed of a table is void: it is compared anew.
	Anew func(table string)
	// Parallel is how many slices of a table are read at once; less than 2: one after the other.
	Parallel int
	// Moving says that a load changes target and ledger meanwhile. Records whose entry
	// is changed after the comparison of their table began are then not judged.
	Moving bool
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
	if o.Rules == nil {
		o.Rules = func(string) Rules { return Rules{} }
	}
	if o.Watch == nil {
		o.Watch = func(string, int64, int64) {}
	}
	for _, t := range o.Tables {
		res, err := compare(ctx, s, b, c, o, t, false)
		if errors.Is(err, errManyChanged) {
			if o.Anew != nil {
				o.Anew(t.Name)
			}
			res, err = compare(ctx, s, b, c, o, t, true)
		}
		if err != nil {
			return r, fmt.Errorf("reconcile %s: %w", t.Name, err)
		}
		r.add(res)
	}
	return r, nil
}

// comparison is the work on one table.
type comparison struct {
	stage    stage
	book     book
	o        Options
	table    *mapping.Table
	rules    Rules
	result   TableResult
	shape    *shape
	tallies  []*tally
	only     []uint32 // of a sample; nil: all
	samples  map[uint32]*Sample
	client   client
	sizes    *sizes     // nil: no column has the size of a file
	known    Versions   // nil: nobody keeps them
	full     bool       // the table is not read by versions
	since    uint32     // what was loaded from then on is read in full
	proven   *Proven    // slices that are done; nil: nobody keeps it
	reread   int64      // records of which only the version was read at first
	mu       sync.Mutex // protects all below while slices of the table are read
	examples examples
	kept     map[string]int // handed to Found, by kind
	differ   map[string]*ColumnCount
	failed   error // of Found
	seen     seqSet
	due      struct{ missing, different seqSet } // for Options.Due; empty: nobody asks
	began    uint32                              // unix seconds; 0 = nothing moves meanwhile
}

// room reports whether another mismatch of the kind is shown or kept, so that nobody
// writes texts in vain.
func (w *comparison) room(kind string) bool {
	return w.examples.room(kind) || w.o.Found != nil && w.kept[kind] < w.o.Keep
}

// found takes one mismatch, which is counted already.
func (w *comparison) found(e example) {
	w.examples.add(e)
	if w.o.Found == nil || w.kept[e.Kind] >= w.o.Keep || w.failed != nil {
		return
	}
	w.kept[e.Kind]++
	seq := int64(-1)
	if e.staged {
		seq = int64(e.seq)
	}
	w.failed = w.o.Found(w.table.Name, seq, e.Mismatch)
}

// differs counts a column of a record that is not as staged.
func (w *comparison) differs(column, class string) {
	c := w.differ[column]
	if c == nil {
		c = &ColumnCount{Column: column, Class: class}
		w.differ[column] = c
	}
	c.Records++
}

// columnCounts are the columns that differ, the most frequent first.
func (w *comparison) columnCounts() []ColumnCount {
	var out []ColumnCount
	for _, c := range w.differ {
		out = append(out, *c)
	}
	slices.SortFunc(out, func(a, b ColumnCount) int {
		return cmp.Or(cmp.Compare(b.Records, a.Records), cmp.Compare(a.Column, b.Column))
	})
	return out
}

// moves reports whether a load changed the record since the comparison began.
func (w *comparison) moves(e ledger.Entry) bool { return w.began > 0 && e.Time >= w.began }

// errNoIntersect says that the schema lacks the table that is to be read.
var errNoIntersect = errors.New("the schema does not have the intersect table of the N:N relationship; pull the schema with it")

// compare does one table: read all of the target's, then tell what did not come.
func compare(ctx context.Context, s stage, b book, c client, o Options, t *mapping.Table, full bool) (TableResult, error) {
	if t.Schema == nil {
		return TableResult{}, errNoIntersect
	}
	w := &comparison{stage: s, book: b, o: o, table: t, full: full, rules: o.Rules(t.Name),
		result: TableResult{Name: t.Name, rules: o.Rules(t.Name)}, examples: examples{limit: o.Limit}, kept: map[string]int{}, differ: map[string]*ColumnCount{}}
	began := time.Now()
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
	if o.Due != nil {
		w.due.missing, w.due.different = newSeqSet(count), newSeqSet(count)
	}
	if o.Sample > 0 && t.Link == nil && o.Sample < w.result.Source {
		w.only = w.atRandom(o.Sample)
		w.result.Sampled = int64(len(w.only))
	}
	w.choose()
	o.Watch(t.Name, 0, w.result.Source)
	var err error
	switch {
	case t.Link != nil:
		err = newLinks(w).run(ctx, c)
	case o.Only != nil:
		w.reads(c)
		err = newRecords(w, w.shape).run(ctx, c, o.Only(t.Name))
	case o.quickly(t.Schema):
		err = w.quick(ctx, c)
	case w.only != nil:
		err = w.sampled(ctx, c)
	default:
		err = w.records(ctx, c)
	}
	if err != nil {
		return w.result, err
	}
	switch {
	case w.result.Quick, o.Only != nil: // which records they are it does not know
	case w.only != nil:
		w.missingOf()
	default:
		w.missing()
	}
	if o.Due != nil && w.failed == nil {
		w.failed = o.Due(t.Name, w.due.missing.bits, w.due.different.bits)
	}
	if w.failed != nil {
		return w.result, fmt.Errorf("keep the mismatches: %w", w.failed)
	}
	w.result.Mismatches, err = w.explain(ctx)
	if err == nil {
		err = w.figures(ctx)
	}
	if err == nil {
		err = w.explainSamples(ctx)
	}
	w.result.Columns = w.columnCounts()
	w.result.conclude()
	w.result.Seconds = time.Since(began).Seconds()
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
			w.due.missing.add(seq)
			w.found(example{Mismatch: Mismatch{Kind: Missing}, seq: seq, staged: true})
		}
	}
}

// meet notes that the target has record seq of ours, and returns what the ledger
// says of it; again is true when it was met before.
func (w *comparison) meet(seq uint32, found Mismatch) (x expectation, e ledger.Entry, again bool) {
	e, known := w.book.Entry(w.table.Name, seq)
	if known && w.moves(e) {
		w.seen.add(seq)
		return expectation{presence: unsure}, e, false
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
		return x, e, false
	}
	w.found(example{Mismatch: found, seq: seq, staged: true})
	return x, e, again
}
