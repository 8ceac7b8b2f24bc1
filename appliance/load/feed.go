package load

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"

	"dvmigrate/appliance/mapping"
	"dvmigrate/duckstage/column"
	"dvmigrate/ledger"
)

const (
	// window is how many consecutive rows one scan covers: some row groups of the stage, so
	// that a scan starts without reading what it does not need.
	window = 8 * 122_880
	// fewRows is how many rows a scan asks for by number, as in a retry, instead of
	// reading all that lie between them.
	fewRows = 2048
)

// errStopping ends a scan because the load stops.
var errStopping = errors.New("the load stops")

// feed scans the waiting records in order, claims them and hands them out in jobs, until
// stopping ends. Jobs that are not to be sent then go to sent.
func (s *sweep) feed() error {
	f := feeder{sweep: s, heaps: map[heap]*job{}, query: query(s.w), claims: claimer{l: s.l, w: s.w}}
	err := f.scan()
	if err == nil {
		err = f.flush()
	}
	for _, j := range f.heaps {
		j.giveBack()
		s.sent <- j
	}
	if errors.Is(err, errStopping) {
		return nil
	}
	return err
}

// query is the scan of the work's columns, without its WHERE.
func query(w *work) string {
	columns := append([]string{mapping.Seq, mapping.Owed}, w.encoder.StageColumns()...)
	for _, name := range w.table.Match {
		if w.insert() && !slices.Contains(columns, name) {
			columns = append(columns, name)
		}
	}
	if w.closer != nil {
		for _, name := range w.closer.StageColumns() {
			if !slices.Contains(columns, name) {
				columns = append(columns, name)
			}
		}
	}
	if w.judge != nil {
		for _, name := range w.judge.StageColumns() {
			if !slices.Contains(columns, name) {
				columns = append(columns, name)
			}
		}
	}
	for _, name := range []string{"statecode", "statuscode"} {
		if w.saysStates() && w.table.Yields(name) && !slices.Contains(columns, name) {
			columns = append(columns, name)
		}
	}
	if w.ids != nil {
		columns = slices.DeleteFunc(columns, func(name string) bool { return name == mapping.ID })
	}
	for _, c := range w.files {
		columns = append(columns, c.LogicalName)
	}
	for i, c := range columns {
		columns[i] = mapping.Ident(c)
	}
	from := mapping.Ident(w.table.Name)
	for name, want := range map[string]bool{w.settings.ShardBy: w.settings.ShardBy != "" && w.removing == nil, mapping.CreatedBy: w.byUser()} {
		if quoted := mapping.Ident(name); want && !slices.Contains(columns, quoted) {
			columns = append(columns, quoted)
		}
	}
	if w.removing != nil {
		from = w.l.goneTable(w.table)
	}
	if w.knows {
		more, before := w.beforeQuery()
		columns, from = append(columns, more...), from+before
	}
	if w.reopens() {
		columns, from = append(columns, reopensColumn), from+" LEFT JOIN "+w.deactivated()+" USING (dm_seq)"
	}
	return "SELECT " + strings.Join(columns, ", ") + " FROM " + from
}

// saysStates reports whether a job is told what states its rows say: that of those whose records may be closed.
func (w *work) saysStates() bool {
	return w.removing == nil && (w.update || w.insert() && len(w.table.Match) > 0)
}

type feeder struct {
	*sweep
	query   string
	claims  claimer
	spans   []ledger.Span // what is meant in this window, ascending
	at      int           // the span that held the row before
	heaps   map[heap]*job // being filled
	last    *job          // the one added to last; nil: there is none
	lastOf  heap
	orphans int               // rows without a parent so far
	formers map[uint32]former // of a restoring work: what the window's records had
	batch   column.Batch      // the chunk's columns and the ids
	ids     column.Vector
	parts   parts
}

// scan goes over the table window by window.
func (f *feeder) scan() error {
	for from := uint32(0); f.stopping.Err() == nil; {
		spans := f.l.book.Next(f.w.table.Name, f.w.pass, from, window)
		if len(spans) == 0 {
			return nil
		}
		f.spans, from = cutWindow(spans, f.w.window())
		f.spans = f.w.meant(f.spans)
		if len(f.spans) == 0 {
			continue
		}
		if f.w.removing != nil && f.w.removing.restores {
			var err error
			if f.formers, err = f.l.formers(f.w.table.Name, ledger.Range{From: f.spans[0].From, To: f.spans[len(f.spans)-1].To}); err != nil {
				return err
			}
		}
		f.at = 0
		f.claims.window(f.spans)
		err := f.l.stage.Stream(f.ctx, f.query+f.where(), nil, f.take)
		if err := f.claims.close(f.ctx); err != nil {
			return err
		}
		if err != nil {
			return fmt.Errorf("scan %s: %w", f.w.table.Name, err)
		}
	}
	return errStopping
}

// window is how many consecutive rows one scan of the work covers.
func (w *work) window() uint64 {
	if w.removing != nil && w.removing.restores {
		return restoreWindow
	}
	return window
}

// cutWindow takes from the front of spans what lies within one window, and says
// where the next begins.
func cutWindow(spans []ledger.Span, size uint64) (cut []ledger.Span, next uint32) {
	end := uint64(spans[0].From) + size
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

// where limits the scan to the window, or to the single rows meant when they are few
// among many.
func (f *feeder) where() string {
	first, last := f.spans[0].From, f.spans[len(f.spans)-1].To
	n := 0
	for _, s := range f.spans {
		n += s.Len()
	}
	where := fmt.Sprintf(" WHERE dm_seq >= %d AND dm_seq < %d", first, last)
	if n > fewRows || n*16 > int(last-first) {
		return where
	}
	var b strings.Builder
	b.WriteString(where + " AND dm_seq IN (")
	sep := ""
	for _, s := range f.spans {
		for seq := s.From; seq < s.To; seq++ {
			fmt.Fprintf(&b, "%s%d", sep, seq)
			sep = ","
		}
	}
	return b.String() + ")"
}

// meant reports whether the row waits for this work. Rows come in order, mostly.
func (f *feeder) meant(seq uint32) bool {
	if s := f.spans[f.at]; s.From <= seq && seq < s.To {
		return true
	}
	i, found := slices.BinarySearchFunc(f.spans, seq, func(s ledger.Span, seq uint32) int {
		switch {
		case s.To <= seq:
			return -1
		case s.From > seq:
			return 1
		}
		return 0
	})
	if found {
		f.at = i
	}
	return found
}

// withIDs is a chunk with the ids of its rows' records, where they follow from the row
// numbers: to have DuckDB make them costs more than to read the other columns.
func (f *feeder) withIDs(b *column.Batch) *column.Batch {
	if f.w.ids == nil {
		return b
	}
	f.ids.Name, f.ids.Type, f.ids.UUIDs = mapping.ID, column.UUID, f.ids.UUIDs[:0]
	id := *f.w.ids
	for _, seq := range b.Column(mapping.Seq).Ints[:b.Rows] {
		binary.BigEndian.PutUint32(id[12:], uint32(seq))
		f.ids.UUIDs = append(f.ids.UUIDs, id)
	}
	f.batch.Rows, f.batch.Columns = b.Rows, append(append(f.batch.Columns[:0], b.Columns...), f.ids)
	return &f.batch
}

// chunk is some rows of a scan, as their records are made of them.
type chunk struct {
	*column.Batch
	rows                *mapping.Rows
	closings            *mapping.ClosingRows // nil: none is closed by an action
	files               *mapping.FileRows
	seqs, owed, reopens *column.Vector // reopens nil: none is made active first
	state, status       *column.Vector // nil: the scan has none
}

func (f *feeder) chunk(b *column.Batch) (c chunk, err error) {
	b = f.withIDs(b)
	c = chunk{Batch: b, seqs: b.Column(mapping.Seq), owed: b.Column(mapping.Owed), reopens: b.Column(reopensColumn),
		state: b.Column("statecode"), status: b.Column("statuscode")}
	if c.rows, err = f.w.encoder.Rows(b); err != nil {
		return c, err
	}
	if c.closings, err = f.w.closings(b); err != nil {
		return c, err
	}
	if c.files, err = f.w.table.FileRows(b, f.w.files); err != nil {
		return c, err
	}
	return c, f.parts.begin(f.w, b)
}

// take encodes the rows of one chunk that are meant.
func (f *feeder) take(b *column.Batch) error {
	if f.stopping.Err() != nil {
		return errStopping
	}
	c, err := f.chunk(b)
	if err != nil {
		return err
	}
	for i := range c.Rows {
		seq := uint32(c.seqs.Ints[i])
		if !f.meant(seq) {
			continue
		}
		if err := f.takeRow(&c, seq, i); err != nil {
			return err
		}
		if len(f.heaps) > maxHeaps {
			if err := f.flush(); err != nil {
				return err
			}
		}
	}
	return nil
}

// takeRow claims the record of row i, adds it to a job, and hands out one that is full.
func (f *feeder) takeRow(c *chunk, seq uint32, i int) error {
	part := f.parts.of(i)
	if part != nil {
		c.rows.Only(part)
	}
	why, err := f.translate(c.Batch, seq, i)
	if err != nil {
		return err
	}
	if err := f.claims.take(f.ctx, seq); err != nil {
		return err
	}
	h := f.heapOf(c.Batch, i)
	var closing mapping.Closing
	if c.closings != nil {
		closing, h.closes = c.closings.Closing(i)
	}
	j := f.job(h)
	j.add(seq, uint8(c.owed.Ints[i])|f.w.owes(f.spans[f.at].Action, part), c.rows, i)
	if len(f.w.files) > 0 {
		row, err := c.files.Row(i)
		if err != nil {
			return err
		}
		j.files = append(j.files, row)
	}
	if h.closes {
		j.closings = append(j.closings, closing)
	}
	if part != nil {
		j.addPart(part, f.parts.want(i), f.parts.was(i))
	}
	if f.w.saysStates() {
		j.states = append(j.states, stateOf{intAt(c.state, i), intAt(c.status, i)})
	}
	if c.reopens != nil {
		j.reopens = append(j.reopens, !c.reopens.Null(i))
	}
	if f.formers != nil {
		j.formers = append(j.formers, f.formers[seq])
	}
	if why != "" {
		j.keepBack(len(j.seqs)-1, ClassParent, why)
	}
	if f.w.insert() && len(f.w.table.Match) > 0 {
		j.keys = append(j.keys, keyOf(f.w.table, c.Batch, i))
	}
	if j.full() || h.closes && len(j.seqs) >= f.w.inBatch { // they go in a $batch
		return f.hand(h)
	}
	return nil
}

// job is the job of a heap, which is most often that of the row before.
func (f *feeder) job(h heap) *job {
	if f.last != nil && f.lastOf == h {
		return f.last
	}
	j := f.heaps[h]
	if j == nil {
		j = f.w.jobs.Get().(*job)
		j.user = h.user
		if f.w.sizer != nil && !h.closes {
			j.size = f.w.sizer.next()
		}
		f.heaps[h] = j
	}
	f.last, f.lastOf = j, h
	return j
}

func (f *feeder) flush() error {
	for h := range f.heaps {
		if err := f.hand(h); err != nil {
			return err
		}
	}
	return nil
}

// hand hands the job of a heap to a worker.
func (f *feeder) hand(h heap) error {
	j := f.heaps[h]
	f.last = nil
	records := int64(len(j.seqs)) // before the job is another's
	select {
	case f.lanes[h.lane] <- j:
		delete(f.heaps, h)
		f.w.claimed.Add(records)
		return nil
	case <-f.stopping.Done():
		return errStopping
	case <-f.ctx.Done():
		return context.Cause(f.ctx)
	}
}
