package cli

import (
	"fmt"
	"math"
	"time"

	"dvmigrate/appliance"
)

// reportView is a report with its charts, as shares of what is drawn.
type reportView struct {
	appliance.Report
	Parts    []reportPart // the tables that no chart replaces
	States   []stateBar
	Loads    []loadView
	Finished string // when the newest generation was, in words
	Settled  float64
}

// reportPart is a sheet in the page.
type reportPart struct {
	Title, None string
	Columns     []column
	Rows        [][]string
	Older       int64 // rows that are left out
}

// stateBar is a table's records by state, in percent from the left.
type stateBar struct {
	Name     string
	Text     string
	Segments []segment
}

type segment struct {
	Kind        string // class of the page's style
	Left, Width float64
	Title       string
}

// loadView is a generation with its charts.
type loadView struct {
	appliance.GenerationReport
	Steps     []stepBar
	Total     appliance.ReportStep
	Runs      []runBar
	From, To  string // of the axis of runs
	Fastest   float64
	Worked    float64 // seconds of all runs
	Mean      float64
	Throttled float64 // share of the time that the service asked to wait
}

type stepBar struct {
	appliance.ReportStep
	Took, Estimated float64 // percent of the longest
	Off             string  // the estimate's distance
}

type runBar struct {
	Left, Width, Height float64 // percent
	Title               string
}

func newReportView(r appliance.Report) reportView {
	v := reportView{Report: r}
	for _, s := range r.Sheets() {
		switch s.Name {
		case "summary", "state", "times", "settings", "sign-off", "volumes":
			continue // have a form of their own in the page
		}
		s, older := newest(s)
		part := reportPart{Title: s.Title, None: s.None, Older: older}
		part.Columns, part.Rows = textTable(s, func(text string) string { return text })
		v.Parts = append(v.Parts, part)
	}
	v.States = append(v.States, newStateBar("all tables", r.Summary))
	for _, t := range r.Tables {
		v.States = append(v.States, newStateBar(t.Name, t.Counts))
	}
	for _, g := range r.Generations {
		v.Loads = append(v.Loads, newLoadView(g))
	}
	if c := r.Summary; c.Source > 0 {
		v.Settled = 100 * float64(c.Processed) / float64(c.Source)
		if c.Processed < c.Source {
			v.Settled = min(v.Settled, 99.9)
		}
	}
	return v
}

func newStateBar(name string, c appliance.Counts) stateBar {
	b := stateBar{Name: name, Text: count(c.Processed) + " of " + count(c.Source)}
	at := 0.0
	for _, s := range []struct {
		kind, says string
		n          int64
	}{{"ok", "processed", c.Processed}, {"part", "loaded, a later pass is owed", c.Success + c.InFlight}, {"wait", "waiting", c.Unprocessed}, {"bad", "failed", c.Error}, {"held", "held back", c.Held}} {
		if s.n == 0 || c.Source == 0 {
			continue
		}
		width := 100 * float64(s.n) / float64(c.Source)
		b.Segments = append(b.Segments, segment{s.kind, at, max(width, 0.4), s.says + ": " + count(s.n)}) // one in a million is still seen
		at += width
		if s.kind == "bad" || s.kind == "held" {
			b.Text += ", " + count(s.n) + " " + s.says
		}
	}
	for i := range b.Segments { // what was widened stays within the bar
		b.Segments[i].Left = min(b.Segments[i].Left, 100-0.4)
	}
	return b
}

func newLoadView(g appliance.GenerationReport) loadView {
	v := loadView{GenerationReport: g, Total: g.Total()}
	longest := 0.0
	for _, s := range g.Steps {
		longest = max(longest, s.Seconds, s.Predicted)
	}
	for _, s := range g.Steps {
		b := stepBar{ReportStep: s}
		if longest > 0 {
			b.Took, b.Estimated = 100*s.Seconds/longest, 100*s.Predicted/longest
		}
		b.Off = off(s)
		v.Steps = append(v.Steps, b)
	}
	v.drawRuns()
	return v
}

// off says how the time compares with the estimate, where the same records were done.
func off(s appliance.ReportStep) string {
	switch {
	case s.Expected == 0:
		return "not foreseen"
	case s.Records == 0:
		return "not loaded"
	case s.Seconds <= 0 || s.Predicted <= 0 || math.Abs(float64(s.Records-s.Expected)) > 0.1*float64(s.Expected):
		return ""
	}
	return fmt.Sprintf("%+.0f %%", 100*(s.Seconds-s.Predicted)/s.Predicted)
}

// drawRuns places the runs on an axis of time, as high as they were fast.
func (v *loadView) drawRuns() {
	var from, to time.Time
	var records int64
	rate := func(r appliance.ReportRun) float64 { return float64(r.Records) / max(r.Seconds, 0.1) }
	for _, r := range v.GenerationReport.Runs {
		if r.End == nil {
			continue
		}
		if from.IsZero() || r.Start.Before(from) {
			from = r.Start
		}
		if r.End.After(to) {
			to = *r.End
		}
		v.Fastest = max(v.Fastest, rate(r))
		v.Worked += r.Seconds
		records += r.Records
	}
	if v.Worked > 0 {
		v.Mean = float64(records) / v.Worked
		v.Throttled = 100 * min(v.GenerationReport.Waited/v.Worked, 1)
	}
	span := to.Sub(from).Seconds()
	if span <= 0 || v.Fastest <= 0 {
		return
	}
	v.From, v.To = from.Local().Format("2006-01-02 15:04"), to.Local().Format("2006-01-02 15:04")
	for _, r := range v.GenerationReport.Runs {
		if r.End == nil || r.Records == 0 {
			continue
		}
		v.Runs = append(v.Runs, runBar{100 * r.Start.Sub(from).Seconds() / span, max(100*r.Seconds/span, 0.3), 100 * rate(r) / v.Fastest,
			fmt.Sprintf("%s: %s outcomes in %s, %.0f/s", r.Start.Local().Format("2006-01-02 15:04"), count(r.Records), duration(r.Seconds), rate(r))})
	}
}

// shownRows is how many rows of what grows with time are shown to people.
const shownRows = 40

// newest leaves out the older rows of a long list: a load of four weeks has a thousand
// snapshots. Which tables failed is never cut.
func newest(s appliance.Sheet) (shown appliance.Sheet, older int64) {
	switch s.Name {
	case "runs", "snapshots", "mended":
		if n := len(s.Rows) - shownRows; n > 0 {
			s.Rows, older = s.Rows[n:], int64(n)
		}
	}
	return s, older
}
