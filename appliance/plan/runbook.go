package plan

import (
	"fmt"
	"slices"
	"time"
)

// Runbook is what is done when, by whom, and who says that it is good (method.md M9).
type Runbook struct {
	Project  string   `json:"project"`
	Window   Window   `json:"window"`
	Load     Supply   `json:"load"` // what is loaded in the window
	Fits     bool     `json:"fits"`
	Spare    float64  `json:"spareSeconds"` // less than 0: so much is missing
	Advice   string   `json:"advice,omitempty"`
	Tasks    []Task   `json:"tasks"`
	Dates    []Notice `json:"dates"`    // before the window: loads, freezes, messages
	Rollback Rollback `json:"rollback"` // when and how to go back
	Notes    []string `json:"notes"`
}

// Task is one line of the runbook.
type Task struct {
	Number   int       `json:"number"`
	Step     string    `json:"step,omitempty"` // of `cutover run`, that does it or asks for it
	Name     string    `json:"name"`
	Kind     string    `json:"kind"` // task, go/no-go
	Start    time.Time `json:"start"`
	Seconds  float64   `json:"seconds"`
	Owner    string    `json:"owner"`
	Check    string    `json:"check"`
	SignOff  string    `json:"signOff"`
	NoReturn bool      `json:"pointOfNoReturn,omitempty"`
}

// End is when the task is over.
func (t Task) End() time.Time { return t.Start.Add(t.Length()) }

// Length is what it takes.
func (t Task) Length() time.Duration { return time.Duration(t.Seconds * float64(time.Second)) }

// Notice is a date outside the window.
type Notice struct {
	At   time.Time `json:"at"`
	Name string    `json:"name"`
	Who  string    `json:"who"`
	Kind string    `json:"kind"` // load, freeze, message
}

// Rollback says until when, and at what signs, the cutover is called off.
type Rollback struct {
	Latest   time.Time `json:"latest"` // the load must be over by then
	Triggers []string  `json:"triggers"`
	Steps    []string  `json:"steps"`
}

// Fixed are the durations of the tasks that no estimate gives. A team knows its own;
// these are the usual ones.
type Fixed struct {
	Freeze    time.Duration `json:"freeze"`
	Extract   time.Duration `json:"extract"`
	Stage     time.Duration `json:"stage"`
	GoNoGo    time.Duration `json:"goNoGo"`
	Mend      time.Duration `json:"mend"` // failed records: look, mend, load again
	Reconcile time.Duration `json:"reconcile"`
	Accept    time.Duration `json:"accept"` // the business looks
	Switch    time.Duration `json:"switch"` // users and interfaces
	Rollback  time.Duration `json:"rollback"`
}

// UsualFixed are durations to begin with.
func UsualFixed() Fixed {
	return Fixed{Freeze: 30 * time.Minute, Extract: 90 * time.Minute, Stage: 60 * time.Minute, GoNoGo: 15 * time.Minute, Mend: 60 * time.Minute,
		Reconcile: 45 * time.Minute, Accept: 2 * time.Hour, Switch: time.Hour, Rollback: time.Hour}
}

// total is what the fixed tasks take inside the window.
func (f Fixed) total() time.Duration {
	return f.Freeze + f.Extract + f.Stage + 2*f.GoNoGo + f.Mend + f.Reconcile + f.Accept + f.Switch
}

// Cutover writes the runbook of a window. The error is of a window that does not even
// hold the fixed tasks; a load that does not fit is told in the runbook.
func Cutover(project string, w Window, f Fixed, p Proposal, advice string) (Runbook, error) {
	if total := f.total(); total >= w.Length() {
		return Runbook{}, fmt.Errorf("the window %s to %s has %s, and the fixed tasks alone take %s: there is no time to load; take a longer window, or shorten them with --fixed",
			w.Start.Format("Mon 15:04"), w.End.Format("Mon 15:04"), short(w.Length()), short(total))
	}
	b := Runbook{Project: project, Window: w, Load: p.Supplies[len(p.Supplies)-1], Notes: []string{}}
	if w.Note != "" {
		b.Notes = append(b.Notes, w.Note)
	}
	room := w.Length() - f.total()
	b.Spare = room.Seconds() - b.Load.Seconds
	if b.Fits = b.Spare >= 0; !b.Fits {
		b.Advice = advice
		b.Notes = append(b.Notes, fmt.Sprintf("IT DOES NOT FIT: the load takes %s with the buffer, the window leaves %s beside the fixed tasks", short(time.Duration(b.Load.Seconds*float64(time.Second))), short(room)))
	}
	b.write(f)
	b.dates(p)
	return b, nil
}

func (b *Runbook) write(f Fixed) {
	at := b.Window.Start
	add := func(kind, name string, d time.Duration, owner, check, signOff string) *Task {
		b.Tasks = append(b.Tasks, Task{Number: len(b.Tasks) + 1, Name: name, Kind: kind, Start: at, Seconds: d.Seconds(), Owner: owner, Check: check, SignOff: signOff})
		at = at.Add(d)
		return &b.Tasks[len(b.Tasks)-1]
	}
	load := time.Duration(b.Load.Seconds * float64(time.Second)).Round(time.Second)
	const team, source, target, business, lead = "migration team", "source admin", "Dataverse admin", "business owner", "cutover lead"
	add("task", "freeze the source: read-only, interfaces stopped, jobs held", f.Freeze, source, "a test user cannot save", lead).Step = "freeze"
	add("task", "last extract of the source", f.Extract, source, "row counts of extract and source are equal", team).Step = "extract"
	add("task", "dvmigrate stage; dvmigrate check --data; dvmigrate snapshot", f.Stage, team, "no new class of rejects; the snapshot is verified", team).Step = "stage"
	add("go/no-go", "go or no-go 1: begin to load", f.GoNoGo, lead, "staged counts as expected, the estimate of the last load still fits, people are there", lead).Step = "go-1"
	add("task", fmt.Sprintf("dvmigrate load: %s, %d operations (buffer included)", b.Load.Name, b.Load.Records), load, team, "dvmigrate status: nothing waits; errors below the agreed share", team).Step = "load"
	loaded := at
	add("task", "dvmigrate errors; mend, dvmigrate retry, dvmigrate load", f.Mend, team, "what is left is listed and agreed", business).Step = "mend"
	add("task", "dvmigrate reconcile", f.Reconcile, team, "nothing missing, extra or different that is not explained", team).Step = "reconcile"
	add("task", "acceptance in the target: reports, samples, processes", f.Accept, business, "the agreed list is worked off", business).Step = "accept"
	add("go/no-go", "go or no-go 2: switch over", f.GoNoGo, lead, "reconcile is clean, acceptance signed, rollback still possible", "steering committee").Step = "go-2"
	last := add("task", "switch users and interfaces to the target; business logic and flows on again", f.Switch, target, "the first user has saved a record", lead)
	last.Step, last.NoReturn = "switch", true
	add("task", "tell everybody; keep the source read-only; dvmigrate snapshot", 0, lead, "the message is out", lead).Step = "close"
	b.Rollback = Rollback{
		Latest: b.Window.End.Add(-f.Mend - f.Reconcile - f.Accept - f.GoNoGo - f.Switch),
		Triggers: []string{
			fmt.Sprintf("the load is not over by the latest moment below (planned: %s)", loaded.Format("Mon 2006-01-02 15:04")),
			"the time left that dvmigrate status shows ends after that moment, at two looks half an hour apart",
			"more records failed than load.max_errors allows, or reconcile shows differences that nobody can explain",
			"the target is not available for longer than the spare time",
		},
		Steps: []string{
			fmt.Sprintf("until task %d (the point of no return) nothing of the source has changed: open it for writing again (%s)", 10, short(f.Rollback)),
			"stop the load with Ctrl-C; call the cutover off: dvmigrate cutover run --no-go with the reason",
			"the loaded records may stay, as the base of the next delta; or they are taken back: dvmigrate rollback --generation last --dry-run counts them, and without --dry-run it does it",
			"tell everybody that was told of the freeze; set the next window",
		},
	}
}

// dates are what comes before the window.
func (b *Runbook) dates(p Proposal) {
	start := b.Window.Start
	add := func(at time.Time, kind, name, who string) {
		b.Dates = append(b.Dates, Notice{at, name, who, kind})
	}
	for _, s := range p.Supplies[:len(p.Supplies)-1] {
		add(s.Start, "load", fmt.Sprintf("%s: %d operations, %s with the buffer", s.Name, s.Records, short(time.Duration(s.Seconds*float64(time.Second)))), "migration team")
	}
	add(start.AddDate(0, 0, -28), "message", "announce the cutover weekend and the freeze", "cutover lead, to all users")
	add(start.AddDate(0, 0, -14), "freeze", "configuration freeze of the target: no new columns, plug-ins or flows", "Dataverse admin")
	add(start.AddDate(0, 0, -7), "message", "remind; training and contacts", "cutover lead, to all users")
	add(start.AddDate(0, 0, -7), "freeze", "change freeze of the source: no new fields or mass changes", "source admin")
	add(start.AddDate(0, 0, -1), "message", "last reminder: the source is read-only from "+start.Format("Mon 15:04"), "cutover lead, to all users")
	sortNotices(b.Dates)
}

func sortNotices(n []Notice) {
	slices.SortStableFunc(n, func(a, b Notice) int { return a.At.Compare(b.At) })
}
