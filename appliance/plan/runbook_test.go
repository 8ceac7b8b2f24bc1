package plan

import (
	"strings"
	"testing"
	"time"
)

func berlin(t *testing.T) *time.Location {
	t.Helper()
	zone, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Skip("no time zones on this machine")
	}
	return zone
}

func TestParseWindow(t *testing.T) {
	zone := berlin(t)
	monday := time.Date(2026, 11, 30, 9, 0, 0, 0, zone)
	for _, c := range []struct {
		name, text string
		length     time.Duration
		note, err  string
	}{
		{"the next weekend", "Sat 20:00/Sun 22:00", 26 * time.Hour, "", ""},
		{"with dates", "2026-12-12 20:00/2026-12-13 22:00", 26 * time.Hour, "", ""},
		{"summer time begins inside: an hour less", "2027-03-27 20:00/2027-03-28 22:00", 25 * time.Hour, "by the clock it has 26 h, in truth 25 h", ""},
		{"summer time ends inside: an hour more", "2027-10-30 20:00/2027-10-31 22:00", 27 * time.Hour, "by the clock it has 26 h, in truth 27 h", ""},
		{"a time that the clocks skip", "2027-03-27 20:00/2027-03-28 02:30", 0, "", "does not exist"},
		{"no end", "Sat 20:00", 0, "", "is not begin/end"},
		{"no weekday", "Someday 20:00/Sun 22:00", 0, "", "neither a weekday"},
		{"backwards", "2026-12-13 20:00/2026-12-12 22:00", 0, "", "before it begins"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w, err := ParseWindow(c.text, zone, monday)
			switch {
			case c.err != "":
				if err == nil || !strings.Contains(err.Error(), c.err) {
					t.Fatalf("error %v, want %q", err, c.err)
				}
			case err != nil:
				t.Fatal(err)
			case w.Length() != c.length || !strings.Contains(w.Note, c.note) || c.note == "" && w.Note != "":
				t.Errorf("%v with note %q, want %v and %q", w.Length(), w.Note, c.length, c.note)
			}
		})
	}
}

func TestCutover(t *testing.T) {
	zone := berlin(t)
	w, err := ParseWindow("2026-12-12 20:00/2026-12-13 22:00", zone, time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	load := func(hours float64) Proposal {
		return Proposal{Supplies: []Supply{{Name: "full load", Records: 1000, Seconds: hours * 3600}}}
	}
	b, err := Cutover("crm", w, UsualFixed(), load(10), "")
	if err != nil || !b.Fits {
		t.Fatalf("10 hours in a window of 26: fits %v, error %v", b.Fits, err)
	}
	at, noReturn := w.Start, 0
	for _, task := range b.Tasks {
		if !task.Start.Equal(at) {
			t.Errorf("task %d starts %v, want %v, when the one before ends", task.Number, task.Start, at)
		}
		if task.Owner == "" || task.Check == "" || task.SignOff == "" {
			t.Errorf("task %d has no owner, check or sign-off", task.Number)
		}
		at = task.End()
		if task.NoReturn {
			noReturn = task.Number
		}
	}
	if at.After(w.End) || noReturn == 0 {
		t.Errorf("the last task ends %v, the point of no return is task %d", at, noReturn)
	}
	if latest := b.Tasks[4].End().Add(time.Duration(b.Spare * float64(time.Second))); !b.Rollback.Latest.Equal(latest) {
		t.Errorf("the load must be over by %v, want %v: what the spare time allows", b.Rollback.Latest, latest)
	}
	if b, err = Cutover("crm", w, UsualFixed(), load(20), "more users"); err != nil || b.Fits || b.Advice != "more users" || b.Spare >= 0 {
		t.Errorf("20 hours: fits %v, advice %q, spare %.0f, error %v", b.Fits, b.Advice, b.Spare, err)
	}
	w.End = w.Start.Add(8 * time.Hour)
	if _, err = Cutover("crm", w, UsualFixed(), load(0), ""); err == nil || !strings.Contains(err.Error(), "fixed tasks alone take 8 h 15 min") {
		t.Errorf("a window shorter than the fixed tasks: %v", err)
	}
}

func TestPropose(t *testing.T) {
	a := documented()
	now := time.Date(2026, 11, 28, 8, 0, 0, 0, time.UTC)
	small, large := []Work{inserts(1_000_000, 100, 10*ms)}, []Work{inserts(120_000_000, 100, 10*ms)}
	change := map[string]float64{"account": 0.02}
	one := Propose(small, a, Compute(small, a), change, 60*time.Hour, now, time.Time{})
	if one.Split || len(one.Supplies) != 1 {
		t.Errorf("0.9 hours are split: %+v", one)
	}
	goLive := now.AddDate(0, 2, 0)
	split := Propose(large, a, Compute(large, a), change, 60*time.Hour, now, goLive)
	last := split.Supplies[len(split.Supplies)-1]
	if !split.Split || !last.Frozen || !last.Start.Equal(goLive) || last.Seconds >= 60*3600 {
		t.Errorf("104 hours: split %v, last %+v", split.Split, last)
	}
	for i, s := range split.Supplies[1:] {
		if before := split.Supplies[i]; s.Start.Sub(before.Start) < 24*time.Hour || s.Start.Before(before.Start.Add(time.Duration(before.Seconds)*time.Second)) {
			t.Errorf("%s starts %v, when %s of %v is under way", s.Name, s.Start, before.Name, before.Start)
		}
	}
	near(t, "change a week", split.Change, 0.02, 0.01)
}

func TestGrade(t *testing.T) {
	small := GradeOf(Traits{Tables: 3, Records: 20_000, Lookups: 4, Steps: 5}, ScoreTable())
	large := GradeOf(Traits{Tables: 60, Records: 120_000_000, Bytes: 90e9, Lookups: 300, Polymorphic: 9, Deferred: 20, Links: 12, States: 14, Special: 5, Steps: 100, Guessed: 90}, ScoreTable())
	if small.Grade != "simple" || large.Grade != "complex" {
		t.Errorf("grades %s (%.1f) and %s (%.1f), want simple and complex", small.Grade, small.Score, large.Grade, large.Score)
	}
	if err := CheckScoreTable([]Criterion{{Name: "luck", Aspect: "risk"}}); err == nil || !strings.Contains(err.Error(), `no criterion "luck"`) {
		t.Errorf("an unknown criterion: %v", err)
	}
}
