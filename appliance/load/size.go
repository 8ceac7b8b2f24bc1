package load

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"dvmigrate/appliance/dataverse"
	"dvmigrate/appliance/dataverse/schema"
	"dvmigrate/appliance/mapping"
	"dvmigrate/appliance/plan"
	"dvmigrate/appliance/progress"
)

// What a load starts from (method.md M13).
const (
	startBuiltIn = 200 // built-in business tables
	startOther   = 100
	startWide    = 20 // more than wideColumns or wideLookups
	wideColumns  = 100
	wideLookups  = 20
)

// StartBatch is the number of records in a bulk request, or in a $batch where the table
// takes none, from which a load looks for the best one when the settings do not fix it.
func StartBatch(t *mapping.Table) int {
	switch {
	case t.Link != nil || !t.Schema.CanBulk("create"):
		return fallbackBatch
	case len(t.Columns)+len(t.Lookups) > wideColumns || len(t.Lookups) > wideLookups:
		return startWide
	case t.Schema.Kind != schema.Elastic && !t.Schema.Custom:
		return startBuiltIn
	}
	return startOther
}

// sizer finds the number of records in a bulk request for the workers of a table
// (plan.SizeSearch).
type sizer struct {
	size *atomic.Int32 // of requests now
	note func(string)
	from time.Time // moments of the search are seconds since

	mu     sync.Mutex // protects what follows
	search *plan.SizeSearch
}

func newSizer(t *mapping.Table, size *atomic.Int32, note func(string)) *sizer {
	s := &sizer{size: size, note: note, from: time.Now(), search: plan.NewSizeSearch(StartBatch(t), t.Schema.Kind == schema.Elastic, 0)}
	s.search.Changed = func(from, to int, gain float64) {
		note(fmt.Sprintf("requests carry %s now, no longer %d: so the service does %.0f %% more in its time", progress.Counted(to, "record"), from, 100*(gain-1)))
	}
	return s
}

// do lets the search act on the size of requests now.
func (s *sizer) do(act func(search *plan.SizeSearch, now float64)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	was := s.size.Load()
	s.search.Size = int(was)
	act(s.search, time.Since(s.from).Seconds())
	if s.search.Size != int(was) {
		s.size.Store(int32(s.search.Size))
	}
}

// next is the size of the next job.
func (s *sizer) next() (size int) {
	s.do(func(search *plan.SizeSearch, now float64) { size = search.Next(now) })
	return size
}

// learn takes in a job that has come to its end, with how many of its records have an
// outcome.
func (s *sizer) learn(j *job, records int64, bulk bool) {
	s.do(func(search *plan.SizeSearch, now float64) {
		n := len(j.seqs)
		switch {
		case !bulk:
			search.GiveUp()
		case search.Learn(now, plan.Sized{Toll: j.toll.Toll, Size: j.size, Sent: n, Records: float64(records), Bytes: float64(j.toll.bytes) / float64(n), Full: len(j.body) >= plan.MostBody}):
			s.note(fmt.Sprintf("an answer took %.0f s; going on with %s each", j.toll.Longest, progress.Counted(n/2, "record")))
		}
	})
}

// cannot notes a size that the service cannot do, and reports whether requests are smaller
// from now on.
func (s *sizer) cannot(n int) (shrunk bool) {
	s.do(func(search *plan.SizeSearch, now float64) { shrunk = search.Cannot(now, n) })
	return shrunk
}

// toll is what the requests of a job took.
type toll struct {
	plan.Toll
	bytes int // of the largest body
}

// take adds one request.
func (t *toll) take(x dataverse.Exchange) {
	switch x.Kind {
	case dataverse.Throttled:
		return
	case dataverse.Lost, dataverse.Unreachable, dataverse.Transient, dataverse.Stopped:
		t.Vague = true
		return
	case dataverse.RolledBack:
		t.Undone = true
	case 0:
		t.Longest = max(t.Longest, x.Took.Seconds())
	}
	t.Add(x.Took.Seconds())
	t.bytes = max(t.bytes, x.Bytes)
}

// full reports whether a job has its records, or its request would be too large.
func (j *job) full() bool {
	if j.size == 0 {
		return len(j.seqs) >= int(j.w.batch.Load())
	}
	return len(j.seqs) >= j.size || len(j.body) >= plan.MostBody
}

// tooBig takes in that a request of n records was too much for the service, and reports
// whether requests are smaller from now on.
func (w *work) tooBig(n int) (shrunk bool) {
	if w.sizer == nil {
		return w.shrinkTo(n / 2)
	}
	return w.sizer.cannot(n)
}
