package cli

import (
	"bytes"
	"os"
	"strings"
	"testing"
	"time"

	"dvmigrate/appliance"
)

// reported is a report with names and texts that mean harm.
func reported() appliance.Report {
	at := time.Date(2026, 1, 2, 8, 0, 0, 0, time.UTC)
	end := at.Add(2 * time.Hour)
	later, last := at.Add(5*time.Hour), at.Add(6*time.Hour)
	r := appliance.Report{Project: "<script>alert(1)</script>", Made: at, Summary: appliance.Counts{Source: 1_000_000, Processed: 999_999, Error: 1},
		Tables:   []appliance.TableStatus{{Name: "account", Counts: appliance.Counts{Source: 1_000_000, Processed: 999_999, Error: 1}}},
		Failures: []appliance.FailureCount{{Table: "a|b", Flag: "E", Class: "value", Records: 1, Means: "*bold* | <b>", Todo: "x"}},
		Settings: "name: x\n```\n", Signed: []appliance.SignOff{{Name: "Ann", Time: at, Same: true}, {Name: "Bob", Time: at}}}
	r.Generations = []appliance.GenerationReport{{GenerationStatus: appliance.GenerationStatus{Name: "full"}, Waited: 1080, Throttled: 12,
		Steps: []appliance.ReportStep{{Table: "account", Pass: "insert", Action: "insert", Expected: 100, Records: 100, Predicted: 50, Seconds: 100}, {Table: "lead", Pass: "insert", Action: "insert", Records: 5, Seconds: 1}},
		Runs: []appliance.ReportRun{{RunStatus: appliance.RunStatus{Start: at, End: &end, Records: 7200}, Seconds: 7200}, {RunStatus: appliance.RunStatus{Start: at.Add(3 * time.Hour)}},
			{RunStatus: appliance.RunStatus{Start: later, End: &last, Records: 7200}, Seconds: 3600}}}}
	return r
}

func TestTheMarkdownOfAReportKeepsItsTables(t *testing.T) {
	var b bytes.Buffer
	if err := writeMarkdown(&b, reported()); err != nil {
		t.Fatal(err)
	}
	cells := 0
	for line := range strings.Lines(b.String()) {
		if !strings.HasPrefix(line, "| ") {
			cells = 0
			continue
		}
		n := strings.Count(strings.ReplaceAll(line, `\|`, ""), "|")
		if cells != 0 && n != cells {
			t.Errorf("a row of %d cells among such of %d: %s", n, cells, line)
		}
		cells = n
	}
	for _, want := range []string{"# &lt;script>", "| a\\|b | E | value | 1 | \\*bold\\* \\| &lt;b> | x |", "````yaml\nname: x\n```\n````\n", "| records | 1,000,000 |"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("lacks %q", want)
		}
	}
}

func TestThePageOfAReport(t *testing.T) {
	v := newReportView(reported())
	if v.Settled != 99.9 {
		t.Errorf("%g %% are said to be processed while one record is not", v.Settled)
	}
	bad := v.States[0].Segments[1]
	if bad.Kind != "bad" || bad.Width < 0.4 || bad.Left+bad.Width > 100 {
		t.Errorf("one failure in a million is drawn as %+v", bad)
	}
	g := v.Loads[0]
	if g.Steps[0].Took != 100 || g.Steps[0].Estimated != 50 || g.Steps[0].Off != "+100 %" || g.Steps[1].Off != "not foreseen" {
		t.Errorf("steps: %+v", g.Steps)
	}
	if len(g.Runs) != 2 || g.Runs[0].Height != 50 || g.Runs[1].Height != 100 || g.Runs[1].Left+g.Runs[1].Width > 100.001 || g.Throttled != 10 {
		t.Errorf("runs: %+v, throttled %g", g.Runs, g.Throttled)
	}
	path := t.TempDir() + "/r.html"
	if err := writePage(path, reportPage, v.Project, v); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	page := string(text)
	if strings.Contains(page, "<script") || strings.Contains(page, "src=") || strings.Contains(page, "http-equiv") || strings.Contains(page, "@import") {
		t.Error("the page runs or loads something")
	}
	for _, want := range []string{"&lt;script&gt;", "the figures have changed since", "the figures are as they were signed", "sent 12 requests away (429); 18 min 0 s of the time, 10.0 %", `class="bad" x="99.6"`} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
}

func TestLongListsShowTheNewest(t *testing.T) {
	s := appliance.Sheet{Name: "snapshots"}
	for i := range 1300 {
		s.Rows = append(s.Rows, []any{int64(i)})
	}
	shown, older := newest(s)
	if older != 1300-shownRows || len(shown.Rows) != shownRows || shown.Rows[shownRows-1][0] != int64(1299) {
		t.Errorf("%d older ones, %d shown", older, len(shown.Rows))
	}
	s.Name = "errors"
	if shown, older = newest(s); older != 0 || len(shown.Rows) != 1300 {
		t.Error("failures are left out")
	}
}
