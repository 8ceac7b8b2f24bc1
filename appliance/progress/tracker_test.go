package progress

import (
	"encoding/json"
	"math"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// send settles records evenly for so long, in four requests a second.
func send(t *Tracker, table string, perSecond int64, span time.Duration) {
	for range int(span / (250 * time.Millisecond)) {
		time.Sleep(250 * time.Millisecond)
		t.Sent(table, "insert", perSecond/4, 0, 0)
	}
}

// near fails where got is not within so many percent of want.
func near(t *testing.T, what string, got, want, percent float64) {
	t.Helper()
	if math.Abs(got-want) > math.Abs(want)*percent/100 {
		t.Errorf("%s is %.2f, want %.2f within %g %%", what, got, want, percent)
	}
}

func TestNothingIsSaidOfTheTimeLeftBeforeItIsMeasured(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr := New()
		tr.Phase("load")
		tr.Begin("account", "insert", 1_000_000)
		if s := tr.Snapshot(); s.Total.Left != Unknown || s.Tables[0].Left != Unknown || s.Tables[0].State != Running {
			t.Errorf("at the start: %+v", s)
		}
		send(tr, "account", 400, 14*time.Second)
		s := tr.Snapshot()
		if s.Tables[0].Left != Unknown || s.Total.Left != Unknown {
			t.Errorf("after 14 s the time left is %g", s.Tables[0].Left)
		}
		near(t, "the rate after 14 s", s.Tables[0].Rate, 400, 3)
		send(tr, "account", 400, 6*time.Second)
		s = tr.Snapshot()
		near(t, "the time left after 20 s", s.Tables[0].Left, 992_000/400, 3)
		near(t, "the whole time left after 20 s", s.Total.Left, 992_000/400, 3)
	})
}

func TestRateFollowsTheLastMinuteAndTimeLeftTheLastFive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr := New()
		tr.Phase("load")
		tr.Begin("account", "insert", 10_000_000)
		send(tr, "account", 400, 10*time.Minute)
		near(t, "the rate", tr.Snapshot().Tables[0].Rate, 400, 1)
		send(tr, "account", 100, 2*time.Minute)
		s := tr.Snapshot().Tables[0]
		near(t, "the rate after two slow minutes", s.Rate, 100, 2)
		near(t, "the average", s.Average, (600*400+120*100)/720.0, 1)
		near(t, "the time left", s.Left, float64(s.Remaining())/((180*400+120*100)/300.0), 2)
		send(tr, "account", 100, 5*time.Minute)
		s = tr.Snapshot().Tables[0]
		near(t, "the time left after five slow minutes more", s.Left, float64(s.Remaining())/100, 1)
	})
}

func TestThrottlingToAndFroDoesNotShakeTheTimeLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr := New()
		tr.Phase("load")
		tr.Begin("account", "insert", 100_000_000)
		least, most := math.Inf(1), 0.0
		for minute := range 60 {
			send(tr, "account", 400, 30*time.Second)
			time.Sleep(30 * time.Second)
			if s := tr.Snapshot().Tables[0]; minute >= 5 {
				speed := float64(s.Remaining()) / s.Left
				least, most = min(least, speed), max(most, speed)
			}
		}
		near(t, "the slowest speed assumed", least, 200, 2)
		near(t, "the fastest speed assumed", most, 200, 2)
	})
}

func TestAPauseCountsForNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr := New()
		tr.Phase("load")
		tr.Begin("account", "insert", 1_000_000)
		send(tr, "account", 400, 2*time.Minute)
		tr.Pause()
		before := tr.Snapshot()
		if !before.Paused || before.Total.Left != Unknown || before.Tables[0].Left != Unknown {
			t.Errorf("paused: %+v", before.Total)
		}
		time.Sleep(time.Hour)
		tr.Pause() // twice is once
		time.Sleep(time.Hour)
		if s := tr.Snapshot(); s.Total.Idle > 1 || s.Elapsed < 7200 || s.Worked != before.Worked {
			t.Errorf("after a pause of two hours: idle %g s, elapsed %g s", s.Total.Idle, s.Elapsed)
		}
		tr.Resume()
		tr.Resume()
		s := tr.Snapshot()
		near(t, "the rate", s.Tables[0].Rate, 400, 1)
		near(t, "the average", s.Tables[0].Average, 400, 1)
		near(t, "the whole average", s.Total.Average, 400, 1)
		near(t, "the time left", s.Tables[0].Left, 952_000/400, 1)
		send(tr, "account", 400, time.Minute)
		near(t, "the rate a minute on", tr.Snapshot().Tables[0].Rate, 400, 1)
	})
}

func TestStandingStillIsSaidAndNotGuessedOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr := New()
		tr.Phase("load")
		tr.Begin("account", "insert", 1_000_000)
		send(tr, "account", 400, time.Minute)
		time.Sleep(6 * time.Minute)
		s := tr.Snapshot()
		if s.Tables[0].Left != Unknown || s.Tables[0].Rate != 0 {
			t.Errorf("nothing moves, yet %+v", s.Tables[0])
		}
		near(t, "the time standing still", s.Total.Idle, 360, 1)
	})
}

func TestTotalKnowsOfTablesToCome(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr := New()
		tr.Phase("load")
		tr.Expect("account", "insert", 12_000)
		tr.Expect("contact", "insert", 40_000)
		tr.Expect("account", "lookups", 10_000)
		tr.Begin("account", "insert", 12_000)
		send(tr, "account", 400, 20*time.Second)
		s := tr.Snapshot()
		near(t, "the table's time left", s.Tables[0].Left, 10, 6)
		near(t, "the whole time left", s.Total.Left, 54_000/400, 6)
		if s.Total.Total != 62_000 || s.Tables[1].State != Waiting || s.Tables[1].Left != Unknown {
			t.Errorf("got %+v", s)
		}
		tr.Expect("account", "insert", 5) // too late to count
		send(tr, "account", 400, 10*time.Second)
		tr.End("account", "insert")
		tr.End("account", "insert")
		s = tr.Snapshot()
		if a := s.Tables[0]; a.State != Ended || a.Left != 0 || a.Rate != 0 || a.Remaining() != 0 || s.Total.Left != Unknown {
			t.Errorf("ended: %+v, total %+v", a, s.Total)
		}
		near(t, "the ended table's average", s.Tables[0].Average, 400, 1)
		time.Sleep(time.Hour)
		near(t, "the ended table's average an hour on", tr.Snapshot().Tables[0].Average, 400, 1)
	})
}

func TestAPassMayBeginAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr := New()
		tr.Phase("load")
		tr.Begin("account", "insert", 1000)
		time.Sleep(10 * time.Second)
		tr.Sent("account", "insert", 900, 100, 0)
		tr.End("account", "insert")
		time.Sleep(time.Hour)
		tr.Begin("account", "insert", 100)
		time.Sleep(10 * time.Second)
		tr.Sent("account", "insert", 50, 0, 0)
		a := tr.Snapshot().Tables[0]
		if a.Total != 1100 || a.Remaining() != 50 {
			t.Errorf("total %d, remaining %d", a.Total, a.Remaining())
		}
		near(t, "the average of the second time", a.Average, 5, 1)
	})
}

func TestWaitsThatOverlapCountOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr := New()
		tr.Phase("load")
		tr.Begin("account", "insert", 1000)
		for range 8 {
			tr.Throttled("account", "insert", 10*time.Second)
		}
		time.Sleep(4 * time.Second)
		tr.Throttled("", "", 10*time.Second) // to 14 s
		s := tr.Snapshot()
		near(t, "the wait so far", s.Total.Throttled, 4, 1)
		near(t, "the wait to come", s.Wait, 10, 1)
		time.Sleep(20 * time.Second)
		tr.Throttled("account", "insert", 0)
		s = tr.Snapshot()
		near(t, "the whole wait", s.Total.Throttled, 14, 1)
		near(t, "the table's wait", s.Tables[0].Throttled, 10, 1)
		if s.Wait != 0 {
			t.Errorf("still to wait: %g s", s.Wait)
		}
		if n := len(s.Events); n != 4 || s.Events[1].Times != 8 {
			t.Errorf("events: %+v", s.Events)
		}
	})
}

func TestPhasesKeepTheirCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr := New()
		tr.Finish() // nothing has begun, nothing to end
		tr.Phase("stage")
		tr.Doing("reading customers", 140)
		if s := tr.Snapshot(); s.Doing != "reading customers" || s.Percent != 100 || s.Phase != "stage" || s.Ended {
			t.Errorf("staging: %+v", s)
		}
		time.Sleep(time.Minute)
		tr.Phase("load")
		tr.Begin("account", "insert", 10)
		tr.Sent("account", "insert", 7, 1, 1)
		tr.Skipped("account", "insert", 1)
		tr.Request("account", "insert", 5000)
		tr.Request("", "", 200)
		time.Sleep(time.Minute)
		tr.End("account", "insert")
		tr.Finish()
		time.Sleep(time.Hour)
		s := tr.Snapshot()
		want := Counts{Total: 10, Done: 7, Failed: 1, Held: 1, Skipped: 1, Requests: 2, Bytes: 5200}
		if diff := cmp.Diff(want, s.Total.Counts); diff != "" {
			t.Error(diff)
		}
		if !s.Ended || s.Elapsed != 60 || s.Doing != "" {
			t.Errorf("finished: %+v", s)
		}
		if len(s.Phases) != 2 || s.Phases[0].Ended.Sub(s.Phases[0].Started) != time.Minute || s.Phases[1].Counts != want {
			t.Errorf("phases: %+v", s.Phases)
		}
		if last := s.Events[len(s.Events)-1]; last.Text != "7 done, 1 failed, 1 held back" || last.Kind != TableEnded {
			t.Errorf("the last event: %+v", last)
		}
	})
}

func TestEventsAreTheNewestInOrder(t *testing.T) {
	tr := New()
	for i := range kept + 50 {
		tr.Event(Narrowed, "account", Grouped(int64(i)))
	}
	tr.Note("account", "same")
	tr.Note("account", "same")
	tr.Note("contact", "same")
	events := tr.Snapshot().Events
	if len(events) != kept {
		t.Fatalf("%d events are kept", len(events))
	}
	for i := 1; i < len(events); i++ {
		if events[i].Seq <= events[i-1].Seq {
			t.Fatalf("event %d has the number %d after %d", i, events[i].Seq, events[i-1].Seq)
		}
	}
	same := events[kept-2]
	if same.Times != 2 || same.Table != "account" || events[kept-1].Times != 1 || events[0].Text != "52" {
		t.Errorf("the newest are %+v, the oldest %+v", events[kept-2:], events[0])
	}
	if got := tr.Snapshot().Since(same.Seq); len(got) != 1 || got[0].Table != "contact" {
		t.Errorf("since %d: %+v", same.Seq, got)
	}
	if got := tr.Snapshot().Since(events[kept-1].Seq); got != nil {
		t.Errorf("since the newest: %+v", got)
	}
}

func TestManyMayTellAtOnce(t *testing.T) {
	tr := New()
	tr.Phase("load")
	const workers, requests = 16, 500
	tables := []string{"account", "contact", "lead"}
	for _, name := range tables {
		tr.Begin(name, "insert", workers*requests*100)
	}
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for i := range requests {
				name := tables[(w+i)%len(tables)]
				tr.Request(name, "insert", 1000)
				tr.Sent(name, "insert", 98, 1, 1)
				if i%50 == 0 {
					tr.Throttled(name, "insert", time.Millisecond)
					tr.Note(name, "a note")
					Render(tr.Snapshot(), nil, 80)
				}
			}
		})
	}
	tr.Pause()
	tr.Resume()
	wg.Wait()
	const n = workers * requests
	want := Counts{Total: 3 * n * 100, Done: 98 * n, Failed: n, Held: n, Requests: n, Bytes: 1000 * n}
	if diff := cmp.Diff(want, tr.Snapshot().Total.Counts); diff != "" {
		t.Error(diff)
	}
}

func TestASnapshotIsACopyAndReadsBackFromJSON(t *testing.T) {
	tr := New()
	tr.Phase("load")
	tr.Begin("account", "lookups", 10)
	tr.Note("account", "x")
	s := tr.Snapshot()
	text, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	tr.Sent("account", "lookups", 5, 0, 0)
	tr.Note("account", "x")
	tr.Phase("reconcile")
	again, err := json.Marshal(s)
	if err != nil || string(again) != string(text) {
		t.Errorf("the snapshot changed: %v\n%s\n%s", err, text, again)
	}
	var back Snapshot
	if err := json.Unmarshal(text, &back); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(s, back); diff != "" {
		t.Error(diff)
	}
	var keys struct{ Tables []map[string]any }
	if err := json.Unmarshal(text, &keys); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"table", "pass", "state", "total", "done", "failed", "held", "skipped", "requests", "bytes", "rate", "average", "left_seconds", "throttled_seconds", "idle_seconds"} {
		if _, ok := keys.Tables[0][key]; !ok {
			t.Errorf("a table's JSON has no %s", key)
		}
	}
}

// BenchmarkSent is what a settled request costs: one call from each of many senders.
func BenchmarkSent(b *testing.B) {
	tr := New()
	tr.Phase("load")
	tr.Begin("account", "insert", 1<<40)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			tr.Sent("account", "insert", 100, 0, 0)
		}
	})
}

// BenchmarkSnapshot is what a reader costs, with the passes of a large project.
func BenchmarkSnapshot(b *testing.B) {
	tr := New()
	tr.Phase("load")
	for i := range 300 {
		tr.Begin(Grouped(int64(i)), "insert", 1000)
	}
	for b.Loop() {
		tr.Snapshot()
	}
}

func TestTheTimeLeftSaysHowFarItMayBeOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr := New()
		tr.Phase("load")
		tr.Begin("account", "insert", 100_000)
		for range 240 { // four minutes at 100 a second
			time.Sleep(time.Second)
			tr.Sent("account", "insert", 100, 0, 0)
		}
		s := tr.Snapshot().Total
		if s.LeftHigh > 1.05*s.LeftLow || s.LeftLow > s.Left || s.LeftHigh < s.Left {
			t.Errorf("an even pace: %g, %g to %g", s.Left, s.LeftLow, s.LeftHigh)
		}
		for range 60 { // and one at 50
			time.Sleep(time.Second)
			tr.Sent("account", "insert", 50, 0, 0)
		}
		s = tr.Snapshot().Total
		rest := float64(s.Remaining())
		near(t, "at the slowest", s.LeftHigh, rest/50, 10)
		if s.LeftLow > s.Left || s.LeftHigh < 1.5*s.LeftLow {
			t.Errorf("a pace that fell: %g, %g to %g", s.Left, s.LeftLow, s.LeftHigh)
		}
		time.Sleep(58 * time.Second) // nothing moves: that says nothing of the hours to come
		s = tr.Snapshot().Total
		if s.LeftHigh > 5*s.Left {
			t.Errorf("a minute of standing still makes it %g of %g", s.LeftHigh, s.Left)
		}
	})
}
