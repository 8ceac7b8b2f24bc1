package load

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"dvmigrate/appliance/dataverse"
	"dvmigrate/appliance/dataverse/schema"
	"dvmigrate/appliance/mapping"
	"dvmigrate/duckstage/column"
	"dvmigrate/ledger"
)

// window is how many consecutive rows one scan covers: a row group of the stage, so
// that a scan starts without reading what it does not need and ends soon.
const window = 122_880

// feed scans the waiting records in order and hands them out in jobs.
func (l *Loader) feed(ctx, drain context.Context, w *work, jobs chan<- *job) error {
	f := feeder{w: w, jobs: jobs, drain: drain, query: l.query(w)}
	from := uint32(0)
	for drain.Err() == nil {
		spans := l.book.Next(w.table.Name, w.pass, from, window)
		if len(spans) == 0 {
			break
		}
		f.spans, from = cutWindow(spans)
		f.spans = slices.DeleteFunc(f.spans, func(s ledger.Span) bool { return !slices.Contains(w.actions, s.Action) })
		if len(f.spans) == 0 {
			continue
		}
		first, last := f.spans[0].From, f.spans[len(f.spans)-1].To
		err := l.stage.Scan(ctx, f.query+f.where(first, last), nil, func(b *column.Batch) error { return f.take(ctx, b) })
		if err != nil {
			return fmt.Errorf("scan %s: %w", w.table.Name, err)
		}
	}
	return f.flush(ctx)
}

// cutWindow takes from the front of spans what lies within one window, and says
// where the next begins.
func cutWindow(spans []ledger.Span) (cut []ledger.Span, next uint32) {
	end := uint64(spans[0].From) + window
	for i, s := range spans {
		if uint64(s.From) >= end {
			return spans[:i], s.From
		}
		if uint64(s.To) > end {
			s.To = uint32(end)
			return append(slices.Clone(spans[:i]), s), s.To
		}
	}
	return spans, spans[len(spans)-1].To
}

// query is the scan of the work's columns, without its WHERE.
func (l *Loader) query(w *work) string {
	columns := append([]string{mapping.Seq, mapping.Owed}, w.encoder.StageColumns()...)
	for i, c := range columns {
		columns[i] = quote(c)
	}
	return "SELECT " + strings.Join(columns, ", ") + " FROM " + quote(w.table.Name)
}

func quote(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }

type feeder struct {
	w     *work
	jobs  chan<- *job
	drain context.Context
	query string
	spans []ledger.Span // ascending
	job   *job
}

// where limits the scan to [first, last), or to the single rows meant when they
// are few among many, as in a retry.
func (f *feeder) where(first, last uint32) string {
	n := 0
	for _, s := range f.spans {
		n += s.Len()
	}
	if n > 2048 || n*16 > int(last-first) {
		return fmt.Sprintf(" WHERE dm_seq >= %d AND dm_seq < %d", first, last)
	}
	var b strings.Builder
	fmt.Fprintf(&b, " WHERE dm_seq >= %d AND dm_seq < %d AND dm_seq IN (", first, last)
	sep := ""
	for _, s := range f.spans {
		for seq := s.From; seq < s.To; seq++ {
			fmt.Fprintf(&b, "%s%d", sep, seq)
			sep = ","
		}
	}
	return b.String() + ")"
}

// meant reports whether the row waits for this work.
func (f *feeder) meant(seq uint32) bool {
	i, found := slices.BinarySearchFunc(f.spans, seq, func(s ledger.Span, seq uint32) int {
		switch {
		case s.To <= seq:
			return -1
		case s.From > seq:
			return 1
		}
		return 0
	})
	return found && i < len(f.spans)
}

// take encodes the rows of one chunk that are meant.
func (f *feeder) take(ctx context.Context, b *column.Batch) error {
	rows, err := f.w.encoder.Rows(b)
	if err != nil {
		return err
	}
	seqs, owed := b.Column(mapping.Seq), b.Column(mapping.Owed)
	for i := range b.Rows {
		seq := uint32(seqs.Ints[i])
		if !f.meant(seq) {
			continue
		}
		if f.job == nil {
			f.job = &job{w: f.w}
		}
		f.job.add(seq, uint8(owed.Ints[i]), rows, i)
		if len(f.job.seqs) >= int(f.w.batch.Load()) {
			if err := f.flush(ctx); err != nil {
				return err
			}
		}
	}
	return nil
}

func (f *feeder) flush(ctx context.Context) error {
	if f.job == nil {
		return nil
	}
	j := f.job
	f.job = nil
	select {
	case f.jobs <- j:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// job is the records of one request.
type job struct {
	w      *work
	seqs   []uint32
	owed   []uint8
	ids    []schema.GUID
	links  []dataverse.Pair // of an N:N link table
	body   []byte           // {"Targets":[record,record
	starts []uint32         // where record i begins in body
	ends   []uint32         // and where it ends

	results []outcome // one a record; the zero value = none yet
}

type outcome struct {
	result  ledger.Result
	counted bool
	reason  *ledger.Reason
}

const bodyOpen, bodyClose = `{"Targets":[`, `]}`

func (j *job) add(seq uint32, owed uint8, rows *mapping.Rows, i int) {
	j.seqs = append(j.seqs, seq)
	j.owed = append(j.owed, owed)
	j.results = append(j.results, outcome{})
	if j.w.table.Link != nil {
		id1, id2 := rows.LinkIDs(i)
		j.links = append(j.links, dataverse.Pair{ID1: id1, ID2: id2})
		return
	}
	j.ids = append(j.ids, rows.ID(i))
	if len(j.body) == 0 {
		j.body = append(j.body, bodyOpen...)
	} else {
		j.body = append(j.body, ',')
	}
	j.starts = append(j.starts, uint32(len(j.body)))
	j.body = rows.AppendTarget(j.body, i)
	j.ends = append(j.ends, uint32(len(j.body)))
}

func (j *job) record(i int) []byte { return j.body[j.starts[i]:j.ends[i]] }

// all lists every record of the job.
func (j *job) all() []int {
	set := make([]int, len(j.seqs))
	for i := range set {
		set[i] = i
	}
	return set
}

// bulk is the body of a bulk request for some of the records.
func (j *job) bulk(set []int) []byte {
	if len(set) == len(j.seqs) {
		return append(j.body, bodyClose...)
	}
	body := []byte(bodyOpen)
	for k, i := range set {
		if k > 0 {
			body = append(body, ',')
		}
		body = append(body, j.record(i)...)
	}
	return append(body, bodyClose...)
}

// ranges are the job's records as the ledger names them.
func (j *job) ranges() []ledger.Range {
	var out []ledger.Range
	for _, seq := range j.seqs {
		if n := len(out); n > 0 && out[n-1].To == seq {
			out[n-1].To++
			continue
		}
		out = append(out, ledger.One(seq))
	}
	return out
}

// outcomes are the results so far, neighbours of one result together. Records
// without one stay in flight.
func (j *job) outcomes() []ledger.Outcome {
	var out []ledger.Outcome
	for i, r := range j.results {
		if r.result == 0 {
			continue
		}
		o := ledger.Outcome{Range: ledger.One(j.seqs[i]), Result: r.result, Counted: r.counted}
		if r.result == ledger.ResultSuccess {
			o.Next = owedAfter(j.owed[i], j.w.pass)
		}
		if r.reason != nil {
			o.Reason = *r.reason
		}
		if n := len(out); n > 0 && r.reason == nil && out[n-1].To == o.From && sameOutcome(out[n-1], o) {
			out[n-1].To = o.To
			continue
		}
		out = append(out, o)
	}
	return out
}

func sameOutcome(a, b ledger.Outcome) bool {
	return a.Result == b.Result && a.Next == b.Next && a.Counted == b.Counted && a.Reason == b.Reason
}

// owedAfter is the pass that a record owes after one has succeeded; Main is none.
func owedAfter(owed uint8, pass ledger.Pass) ledger.Pass {
	switch {
	case pass < ledger.Lookups && owed&mapping.OwesLookups != 0:
		return ledger.Lookups
	case pass < ledger.State && owed&mapping.OwesState != 0:
		return ledger.State
	}
	return ledger.Main
}
