package load

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"dvmigrate/appliance/dataverse"
	"dvmigrate/ledger"
)

// gatherTime is the least time from one commit of outcomes to the next, unless many wait:
// nothing beside a request's time, and few commits a second.
const gatherTime = 10 * time.Millisecond

// sweep hands every waiting record out once, several requests at a time:
//
//	feed (claims ahead) → lanes → send → sent → settle
//
// Outcomes are recorded behind the requests, many in one commit, so that no request waits
// for the disk. What was claimed and could not be sent, because the load stops, is given
// back.
type sweep struct {
	l        *Loader
	w        *work
	ctx      context.Context // its end stops requests under way
	stopping context.Context // its end keeps requests from being begun
	stop     context.CancelFunc

	lanes []chan *job // of claimed jobs: one for all workers, or one for each
	sent  chan *job
	begun atomic.Bool   // the first job is on its way
	warm  chan struct{} // closed when the others may follow

	once sync.Once
	err  error // the first; valid when all have ended
}

// sweep sends what waits for the work. The first error keeps new requests from being
// begun and is returned when those under way have come to their end and are settled.
func (l *Loader) sweep(ctx, drain context.Context, w *work) error {
	s := &sweep{l: l, w: w, ctx: ctx, lanes: w.lanes(), sent: make(chan *job, 2*w.settings.Parallel), warm: make(chan struct{})}
	s.stopping, s.stop = context.WithCancel(drain)
	defer s.stop()
	if !l.needsWarmth(w) {
		s.begun.Store(true)
		close(s.warm)
	}
	var senders, settler sync.WaitGroup
	senders.Go(func() {
		s.fail(s.feed())
		for _, lane := range s.lanes {
			close(lane)
		}
	})
	for i := range w.settings.Parallel {
		senders.Go(func() { s.send(s.lanes[i%len(s.lanes)]) })
	}
	settler.Go(s.settle)
	senders.Wait()
	close(s.sent)
	settler.Wait()
	return s.err
}

// fail notes an error, and has the sweep stop for it.
func (s *sweep) fail(err error) {
	if err != nil {
		s.once.Do(func() { s.err = err })
		s.stop()
	}
}

// needsWarmth reports whether the work's first request has to go by itself: the service
// makes a table's procedures for an action on the first bulk request, and several at once
// fail in a race for it (dataverse-web-api.md 6.2).
func (l *Loader) needsWarmth(w *work) bool {
	key := w.table.Name + " " + w.bulkAction()
	if w.removing != nil || Message(w.message.Load()) != Bulk || l.warm[key] {
		return false
	}
	l.warm[key] = true
	return true
}

// collect waits for a job and takes those that come until gatherTime has passed since the
// last commit, or the channel's buffer is full. It returns none when the channel is closed.
func collect(from <-chan *job, last time.Time, jobs []*job) []*job {
	j, ok := <-from
	if !ok {
		return nil
	}
	jobs = append(jobs, j)
	timer := time.NewTimer(gatherTime - time.Since(last))
	defer timer.Stop()
	for len(jobs) < cap(from) {
		select {
		case j, ok := <-from:
			if !ok {
				return jobs
			}
			jobs = append(jobs, j)
		case <-timer.C:
			for range min(len(from), cap(from)-len(jobs)) {
				jobs = append(jobs, <-from)
			}
			return jobs
		}
	}
	return jobs
}

// send takes the jobs of a lane to the target, one after the other.
func (s *sweep) send(lane <-chan *job) {
	for j := range lane {
		first := s.begun.CompareAndSwap(false, true)
		if !first {
			<-s.warm
		}
		s.do(j)
		if first {
			close(s.warm)
		}
		s.sent <- j
	}
}

// do sends a claimed job and notes in it what came of it.
func (s *sweep) do(j *job) {
	if s.stopping.Err() != nil {
		j.giveBack()
		return
	}
	target, err := s.l.targetFor(s.w, j)
	if err != nil {
		j.giveBack()
		s.fail(fmt.Errorf("send as another user: %w", err))
		return
	}
	sending := dataverse.Stopping(s.ctx, s.stopping)
	if s.w.sized(j) {
		sending = dataverse.Observing(sending, j.toll.take)
	}
	one := sender{l: s.l, w: s.w, j: j, target: target}
	err = one.send(sending, j.all(), 0)
	j.refusals, j.passing, j.stopped = one.refusals, one.passing, err != nil
	if !errors.Is(err, dataverse.ErrStopping) { // it only waited: whoever stopped the load says why
		s.fail(err)
	}
}

// sized reports whether the job goes in bulk requests whose size is to be found.
func (w *work) sized(j *job) bool { return w.sizer != nil && j.closings == nil }

// settle has the ledger note the outcomes of jobs, and learns from them.
func (s *sweep) settle() {
	var jobs []*job
	var outcomes []ledger.Outcome
	var last time.Time
	for {
		if jobs = collect(s.sent, last, jobs[:0]); len(jobs) == 0 {
			return
		}
		outcomes = outcomes[:0]
		var ids []ledger.RecordID
		for _, j := range jobs {
			outcomes = j.appendOutcomes(outcomes)
			ids = append(ids, j.recordIDs()...)
		}
		if err := s.l.settle(s.ctx, s.w, outcomes, ids); err != nil {
			s.fail(err)
			continue
		}
		last = time.Now()
		for _, j := range jobs {
			s.fail(s.l.learn(s.w, j))
			s.w.put(j)
		}
	}
}

// settle records outcomes, also when the load stops for an error or a cancelled context: an
// answer that came must not be lost here.
func (l *Loader) settle(ctx context.Context, w *work, outcomes []ledger.Outcome, ids []ledger.RecordID) error {
	if len(outcomes) == 0 {
		return nil
	}
	if err := l.book.SettleIDs(context.WithoutCancel(ctx), w.table.Name, outcomes, ids); err != nil {
		return fmt.Errorf("settle: %w", err)
	}
	return nil
}

// learn takes in what came of a settled job. An error says that there is no use in going on.
func (l *Loader) learn(w *work, j *job) error {
	l.failed.Add(j.failed)
	l.o.Watch.Sent(w.table.Name, string(w.step.Pass), j.done, j.failed, j.held)
	done := j.done + j.held
	w.bad.note(done, j.failed)
	if w.sized(j) && !j.stopped {
		w.sizer.learn(j, done+j.failed, Message(w.message.Load()) == Bulk)
	}
	switch {
	case j.stopped:
	case l.o.MaxErrors > 0 && l.failed.Load() > l.o.MaxErrors:
		return ErrTooManyErrors
	case done+j.failed > 0:
		w.fruitless.Store(0)
		if j.refusals == 0 {
			w.grow()
		}
	case w.fruitless.Add(1) >= maxFruitless:
		return fmt.Errorf("%w; %d requests in a row were of no use, the last because of: %w", ErrLeftOver, maxFruitless, j.passing)
	}
	return nil
}
