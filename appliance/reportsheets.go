package appliance

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Sheet is one part of a report as a table: a sheet of the workbook, a section of the
// Markdown file. A cell is a string, an int64, Seconds, PerSecond or a time.Time; the zero
// time is no time.
type Sheet struct {
	Name  string
	Title string
	Head  []string
	Rows  [][]any
	None  string // said where there are no rows; "" = the sheet is left out then
}

// Seconds and PerSecond are cells with a unit, which each form of a report writes its way.
type (
	Seconds   float64
	PerSecond float64
)

func (s *Sheet) add(cells ...any) { s.Rows = append(s.Rows, cells) }

// Sheets are the whole report as tables.
func (r *Report) Sheets() []Sheet {
	all := []Sheet{r.facts(), r.states(), r.volumes(), r.steps(), r.runs(), r.failures(), r.repairs(), r.mended(), r.verdicts(), r.compared(), r.snapshots(), r.people(), r.signed(), r.settings()}
	var out []Sheet
	for _, s := range all {
		if len(s.Rows) > 0 || s.None != "" {
			out = append(out, s)
		}
	}
	return out
}

func (r *Report) facts() Sheet {
	s := Sheet{Name: "summary", Title: "Summary", Head: []string{"what", "value"}}
	s.add("project", r.Project)
	s.add("target", strings.TrimSpace(r.Target+" "+r.Organization))
	s.add("made", r.Made)
	if r.Running != nil {
		s.add("still running", fmt.Sprintf("%s, process %d on %s since %s", r.Running.Command, r.Running.PID, r.Running.Host, r.Running.Since.Format("2006-01-02 15:04 MST")))
	}
	s.add("records", r.Summary.Source)
	s.add("processed", r.Summary.Processed)
	s.add("failed", r.Summary.Error)
	s.add("held back", r.Summary.Held)
	s.add("waiting", r.Summary.Unprocessed+r.Summary.Success+r.Summary.InFlight)
	s.add("lines that could not be read", r.Rejected)
	for _, u := range r.Users {
		s.add("application user", u)
	}
	for _, v := range r.Versions {
		s.add("version of dvmigrate", fmt.Sprintf("%s, %s to %s", v.Version, v.First.Format("2006-01-02 15:04"), v.Last.Format("2006-01-02 15:04 MST")))
	}
	s.add("head of the audit trail", r.Audit)
	s.add("digest of the report", r.Digest)
	for _, n := range r.Notes {
		s.add("note", n)
	}
	return s
}

func (r *Report) states() Sheet {
	s := Sheet{Name: "state", Title: "How each table stands", Head: []string{"table", "records", "processed", "success", "in flight", "waiting", "failed", "held back"}}
	line := func(name string, c Counts) {
		s.add(name, c.Source, c.Processed, c.Success, c.InFlight, c.Unprocessed, c.Error, c.Held)
	}
	for _, t := range r.Tables {
		line(t.Name, t.Counts)
	}
	line("total", r.Summary)
	return s
}

func (r *Report) volumes() Sheet {
	s := Sheet{Name: "volumes", Title: "What each load was to do", Head: []string{"load", "table", "inserts", "updates", "deletes", "withdrawn"}}
	for _, g := range r.Generations {
		for _, t := range g.Tables {
			if t.Insert+t.Update+t.Delete+t.Gone > 0 {
				s.add(g.Name, t.Table, t.Insert, t.Update, t.Delete, t.Gone)
			}
		}
		s.add(g.Name, "total", g.Insert, g.Update, g.Delete, g.Gone)
	}
	return s
}

func (r *Report) steps() Sheet {
	s := Sheet{Name: "times", Title: "Times and rates beside the estimate", None: "No load has kept figures yet.",
		Head: []string{"load", "table", "pass", "action", "expected", "records", "requests", "estimated", "took", "records/s", "refused", "throttled"}}
	for _, g := range r.Generations {
		for _, x := range g.Steps {
			s.add(g.Name, x.Table, string(x.Pass), x.Action, x.Expected, x.Records, x.Requests, Seconds(x.Predicted), Seconds(x.Seconds), PerSecond(x.Rate()), x.Failed, x.Throttled)
		}
		if len(g.Steps) > 0 {
			t := g.Total()
			s.add(g.Name, "total", "", "", t.Expected, t.Records, t.Requests, Seconds(t.Predicted), Seconds(t.Seconds), PerSecond(t.Rate()), t.Failed, t.Throttled)
		}
	}
	return s
}

// Total adds up the steps of a generation.
func (g *GenerationReport) Total() (t ReportStep) {
	for _, x := range g.Steps {
		t.Expected, t.Records, t.Requests, t.Bytes = t.Expected+x.Expected, t.Records+x.Records, t.Requests+x.Requests, t.Bytes+x.Bytes
		t.Failed, t.Throttled, t.Predicted, t.Seconds = t.Failed+x.Failed, t.Throttled+x.Throttled, t.Predicted+x.Predicted, t.Seconds+x.Seconds
	}
	return t
}

func (r *Report) runs() Sheet {
	s := Sheet{Name: "runs", Title: "Runs", None: "Nothing was loaded yet.", Head: []string{"load", "command", "begun", "time", "outcomes", "refused", "users", "how it ended"}}
	for _, g := range r.Generations {
		for _, x := range g.Runs {
			ended := x.Note
			if x.End == nil {
				ended = "killed"
				if r.Running != nil {
					ended = "killed, or still running"
				}
			}
			s.add(g.Name, x.Command, x.Start, Seconds(x.Seconds), x.Records, x.Failed, int64(x.Users), ended)
		}
		if g.Throttled > 0 || g.Waited > 0 {
			s.add(g.Name, "", time.Time{}, Seconds(g.Waited), "", "", "", fmt.Sprintf("waited, since the service sent %d requests away (429)", g.Throttled))
		}
	}
	return s
}

func (r *Report) failures() Sheet {
	s := Sheet{Name: "errors", Title: "Failed and held back", None: "No record failed or is held back.", Head: []string{"table", "flag", "class", "records", "means", "what to do"}}
	for _, f := range r.Failures {
		s.add(f.Table, f.Flag, f.Class, f.Records, f.Means, f.Todo)
	}
	return s
}

func (r *Report) repairs() Sheet {
	s := Sheet{Name: "repairs", Title: "Repaired by policy", None: "No value was changed by a policy.", Head: []string{"table", "what", "rows"}}
	for _, x := range r.Repairs {
		s.add(x.Table, x.What, x.Rows)
	}
	return s
}

func (r *Report) commands(s Sheet, of func(*GenerationReport) []ReportedCommand) Sheet {
	s.Head = []string{"load", "when", "by", "command", "result", "audit entry"}
	for i := range r.Generations {
		for _, c := range of(&r.Generations[i]) {
			s.add(r.Generations[i].Name, c.Time, c.User+" on "+c.Host, c.Command, c.Result, int64(c.Entry))
		}
	}
	return s
}

func (r *Report) mended() Sheet {
	return r.commands(Sheet{Name: "mended", Title: "What was mended or taken back"}, func(g *GenerationReport) []ReportedCommand { return g.Mended })
}

func (r *Report) compared() Sheet {
	return r.commands(Sheet{Name: "comparisons", Title: "Comparisons with the target", None: "The target was not compared with what was loaded: dvmigrate reconcile."}, func(g *GenerationReport) []ReportedCommand {
		if g.Reconciled == nil {
			return nil
		}
		return []ReportedCommand{*g.Reconciled}
	})
}

// verdicts are the last whole comparison by table.
func (r *Report) verdicts() Sheet {
	s := Sheet{Name: "reconciliation", Title: "Reconciliation by table", Head: []string{"table", "loaded", "in target", "missing", "extra", "different", "duplicates", "verdict", "why"}}
	c := r.Compared
	if c == nil {
		return s
	}
	verdict := func(pass bool) string { return map[bool]string{true: "passes", false: "fails"}[pass] }
	for _, t := range c.Result.Tables {
		why := slices.Clone(t.Failures)
		for _, x := range t.Columns {
			why = append(why, fmt.Sprintf("%s differs in %d", x.Column, x.Records))
		}
		s.add(t.Name, t.Source, t.Target, t.Missing, t.Extra, t.Different, t.Duplicates, verdict(t.Pass), strings.Join(why, "; "))
	}
	how := "compared " + c.Time.Format("2006-01-02 15:04 MST") + ", which records are there"
	if c.Values {
		how += " and their values"
	}
	if !c.Holds {
		how += "; something was staged or loaded since"
	}
	t := c.Result.Summary
	s.add("total", t.Source, t.Target, t.Missing, t.Extra, t.Different, t.Duplicates, verdict(c.Pass), how)
	return s
}

func (r *Report) snapshots() Sheet {
	return r.commands(Sheet{Name: "snapshots", Title: "Snapshots", None: "No snapshot was taken."}, func(g *GenerationReport) []ReportedCommand { return g.Snapshots })
}

func (r *Report) people() Sheet {
	s := Sheet{Name: "people", Title: "Who worked on it", Head: []string{"user", "machine", "commands", "first", "last"}}
	for _, p := range r.People {
		s.add(p.User, p.Host, p.Commands, p.First, p.Last)
	}
	return s
}

func (r *Report) signed() Sheet {
	s := Sheet{Name: "sign-off", Title: "Signed off", None: "Nobody has signed the report: dvmigrate report --sign \"NAME\".", Head: []string{"name", "when", "at", "audit entry", "report", "figures since"}}
	for _, x := range r.Signed {
		s.add(x.Name, x.Time, x.User+" on "+x.Host, int64(x.Entry), x.Digest, map[bool]string{true: "as signed", false: "changed"}[x.Same])
	}
	return s
}

func (r *Report) settings() Sheet {
	s := Sheet{Name: "settings", Title: "Settings", Head: []string{"migration.yaml, defaults included, without secrets"}}
	for line := range strings.Lines(r.Settings) {
		s.add(strings.TrimRight(line, "\n"))
	}
	return s
}

// WriteWorkbook writes the report as a workbook, a sheet a part.
func (r *Report) WriteWorkbook(path string) error {
	var pages []page
	for _, s := range r.Sheets() {
		g := page{name: s.Name, rows: [][]string{s.Head}, number: make([]bool, len(s.Head))}
		if len(s.Rows) == 0 {
			g.rows = append(g.rows, []string{s.None})
		}
		for _, cells := range s.Rows {
			line := make([]string, len(cells))
			for i, cell := range cells {
				text, number := workbookCell(cell)
				line[i], g.number[i] = text, g.number[i] || number
			}
			g.rows = append(g.rows, line)
		}
		for i, name := range s.Head {
			if len(s.Rows) > 0 {
				if _, ok := s.Rows[0][i].(Seconds); ok {
					g.rows[0] = append([]string(nil), g.rows[0]...)
					g.rows[0][i] = name + " (seconds)"
				}
			}
		}
		pages = append(pages, g)
	}
	return writeWorkbook(path, pages)
}

// workbookCell is a cell's text, and whether a spreadsheet is to count with it.
func workbookCell(cell any) (text string, number bool) {
	switch v := cell.(type) {
	case int64:
		return strconv.FormatInt(v, 10), true
	case Seconds:
		return strconv.FormatFloat(float64(v), 'f', 1, 64), true
	case PerSecond:
		return strconv.FormatFloat(float64(v), 'f', 1, 64), true
	case time.Time:
		if v.IsZero() {
			return "", false
		}
		return v.UTC().Format("2006-01-02 15:04:05"), false
	}
	return fmt.Sprint(cell), false
}
