package load_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"dvmigrate/appliance/load"
	"dvmigrate/ledger"
)

// onBegin is a watcher that is called when a step begins.
type onBegin struct {
	*notes
	begin func(table, pass string)
}

func (o *onBegin) Begin(table, pass string, _ int64) { o.begin(table, pass) }

func TestAPausedLoadSendsNothingAndGoesOn(t *testing.T) {
	story(t, "for an hour", func(t *testing.T) {
		w := newWorld(t, 200)
		var paused atomic.Bool
		w.notes.sent = func() {
			if paused.CompareAndSwap(false, true) {
				w.client.Limiter().Pause()
			}
		}
		ended := make(chan error, 1)
		go func() { ended <- w.run() }()
		time.Sleep(time.Minute)
		before := w.server.Stats()
		time.Sleep(time.Hour)
		if after := w.server.Stats(); after.Created != before.Created || before.Created == 0 {
			t.Errorf("%d records created before the pause, %d in it", before.Created, after.Created-before.Created)
		}
		w.client.Limiter().Resume()
		if err := <-ended; err != nil {
			t.Fatal(err)
		}
		w.wantLoaded()
	})
	story(t, "and is stopped meanwhile", func(t *testing.T) {
		w := newWorld(t, 200)
		var paused atomic.Bool
		w.notes.sent = func() {
			if paused.CompareAndSwap(false, true) {
				w.client.Limiter().Pause()
			}
		}
		drain, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- w.loader().Run(t.Context(), drain) }()
		time.Sleep(time.Hour)
		began := time.Now()
		stop()
		if err := <-ended; !errors.Is(err, load.ErrDrained) || time.Since(began) > time.Minute {
			t.Errorf("stopped after %v: %v", time.Since(began), err)
		}
		w.client.Limiter().Resume()
		w.notes.sent = nil
		w.mustRun()
		w.wantLoaded()
	})
}

func TestALoadStopsAfterTheStepUnderWay(t *testing.T) {
	story(t, "", func(t *testing.T) {
		w := newWorld(t, 200)
		var steps []string
		var l *load.Loader
		w.options.Watch = &onBegin{w.notes, func(table, pass string) {
			steps = append(steps, table+" "+pass)
			switch len(steps) {
			case 1: // thought better of it
				l.StopAfter(true)
				l.StopAfter(false)
			case 2:
				l.StopAfter(true)
			}
		}}
		l = w.loader()
		if err := l.Run(t.Context(), t.Context()); !errors.Is(err, load.ErrDrained) {
			t.Fatal(err)
		}
		if len(steps) != 2 {
			t.Fatalf("steps %v", steps)
		}
		for _, step := range steps {
			table, _, _ := strings.Cut(step, " ")
			if n := w.ledger.Counts(table).Flag(ledger.Unprocessed); n > 0 {
				t.Errorf("%d records of %s were left", n, table)
			}
		}
		w.options.Watch = w.notes
		w.mustRun()
		w.wantLoaded()
	})
}

func TestRecordsThatWaitAgainAreTakenUpInTheSameLoad(t *testing.T) {
	story(t, "", func(t *testing.T) {
		w := newWorld(t, 200, changed(map[string]any{"account.name.3": strings.Repeat("x", 161)}))
		var l *load.Loader
		w.options.Watch = &onBegin{w.notes, func(table, _ string) {
			if table != "contactleads" || w.flags("account")["E"] != 1 {
				return
			}
			delete(w.change, "account.name.3")
			if n, err := w.ledger.Retry(t.Context(), "account", ledger.Filter{Flags: []ledger.Flag{ledger.Failed}}); n != 1 || err != nil {
				t.Errorf("%d records wait again: %v", n, err)
			}
			l.Again()
		}}
		l = w.loader()
		if err := l.Run(t.Context(), t.Context()); err != nil {
			t.Fatal(err)
		}
		w.wantLoaded()
		for _, table := range tableNames {
			if f := w.flags(table); f["E"]+f["H"]+f["U"]+f["S"] > 0 {
				t.Errorf("%s: %v", table, f)
			}
		}
		if s := w.server.Stats(); s.Duplicates != 0 {
			t.Errorf("%d records were sent twice", s.Duplicates)
		}
	})
}
