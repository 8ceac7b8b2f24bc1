package appliance

import (
	"archive/zip"
	"encoding/xml"
	"io"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf16"

	"github.com/google/go-cmp/cmp"

	"dvmigrate/appliance/load"
	"dvmigrate/appliance/plan"
	"dvmigrate/duckstage/ingest"
	"dvmigrate/ledger"
)

func TestARunBelongsToTheLoadThatWasPlannedBefore(t *testing.T) {
	day := func(n int) *time.Time { d := time.Date(2026, 1, n, 8, 0, 0, 0, time.UTC); return &d }
	r := Report{Generations: []GenerationReport{{GenerationStatus: GenerationStatus{Name: "full", Planned: day(1)}}, {GenerationStatus: GenerationStatus{Name: "delta 1", Planned: day(8)}}}}
	for _, tc := range []struct {
		at   *time.Time
		want string
	}{{day(1), "full"}, {day(5), "full"}, {day(8), "delta 1"}, {day(20), "delta 1"}} {
		if got := r.generationAt(*tc.at).Name; got != tc.want {
			t.Errorf("%v: %s, want %s", tc.at, got, tc.want)
		}
	}
	if got := r.generationAt(day(1).Add(-time.Hour)).Name; got != "full" {
		t.Errorf("before the first plan: %s", got)
	}
	if (&Report{}).generationAt(*day(1)) != nil {
		t.Error("a generation where there is none")
	}
}

func TestStepsAddUpOverRunsBesideTheFirstEstimate(t *testing.T) {
	start := time.Date(2026, 1, 2, 8, 0, 0, 0, time.UTC)
	g := GenerationReport{Runs: []ReportRun{{RunStatus: RunStatus{Start: start.Add(time.Second), Records: 700}}, {RunStatus: RunStatus{Start: start.Add(time.Hour), Records: 300}}, {RunStatus: RunStatus{Start: start.Add(2 * time.Hour), Records: 9}}}}
	run := func(at time.Duration, records int64, seconds, predicted float64) *ProfileRun {
		return &ProfileRun{Kind: plan.Measured, Start: start.Add(at), Users: 2, Waited: 5,
			Tables:    []Measure{{Table: "account", Pass: plan.Insert, Action: "insert", Records: records, Seconds: seconds, Throttled: 1, Failed: 2}, {Table: "contactleads", Pass: plan.Link, Action: "insert", Records: 4, Seconds: 1}},
			Predicted: []Prediction{{Table: "account", Pass: plan.Insert, Action: "insert", Operations: 1000, Seconds: predicted}, {Table: "contactleads", Pass: plan.Link, Action: "link", Operations: 8, Seconds: 2}}}
	}
	g.take(run(0, 700, 70, 90))
	g.take(run(time.Hour, 300, 40, 27)) // what is left by then was expected anew, and does not count
	g.take(&ProfileRun{Kind: plan.Rehearsed, Start: start, Tables: []Measure{{Records: 50}}})
	want := []ReportStep{
		{Table: "account", Pass: plan.Insert, Action: "insert", Expected: 1000, Records: 1000, Failed: 4, Throttled: 2, Predicted: 90, Seconds: 110},
		{Table: "contactleads", Pass: plan.Link, Action: "link", Expected: 8, Records: 8, Predicted: 2, Seconds: 2},
	}
	if diff := cmp.Diff(want, g.Steps); diff != "" {
		t.Error(diff)
	}
	if g.Waited != 10 || g.Throttled != 2 || len(g.Before) != 1 || g.Before[0].Records != 50 {
		t.Errorf("waited %g, throttled %d, before %+v", g.Waited, g.Throttled, g.Before)
	}
	if g.Runs[0].Users != 2 || g.Runs[1].Users != 2 || g.Runs[2].Users != 0 {
		t.Errorf("users of the runs: %+v", g.Runs)
	}
	var r Report
	g.finish(&r)
	if len(r.Notes) != 2 || !strings.Contains(r.Notes[0], "of 1 runs with 9 records no figures") {
		t.Errorf("notes: %q", r.Notes)
	}
}

func TestASignatureReadsBackFromTheTrail(t *testing.T) {
	at := time.Date(2026, 1, 2, 8, 0, 0, 0, time.UTC)
	for _, name := range []string{"Ann", `Ann "the boss", report sha256:0`, "Zoë Ōta", "a, report b"} {
		if err := CheckSigner(name); err != nil {
			t.Fatal(err)
		}
		e := ledger.AuditEntry{Seq: 12, Time: at, Event: AuditEnd, Command: signCommand, User: "u", Host: "h", Result: "done: " + signedWords(name, "sha256:ab")}
		got, ok := signOff(e)
		if want := (SignOff{Name: name, Time: at, Digest: "sha256:ab", Entry: 12, User: "u", Host: "h"}); !ok || got != want {
			t.Errorf("%q: %+v, %v", name, got, ok)
		}
		if e.Command = "report"; ok {
			if _, ok := signOff(e); ok {
				t.Error("a sign-off of another command")
			}
		}
	}
	for _, name := range []string{"", "  ", "a\nb", strings.Repeat("x", maxSigner+1), "\xff"} {
		if CheckSigner(name) == nil {
			t.Errorf("%q signs", name)
		}
	}
}

func TestTheDigestFollowsTheFiguresOnly(t *testing.T) {
	r := Report{Project: "p", Summary: Counts{Source: 10, Processed: 9, Error: 1}, Failures: []FailureCount{{Table: "account", Records: 1}}, Generations: []GenerationReport{{Reconciled: &ReportedCommand{Entry: 4, Result: "same"}}}}
	was := r.digest()
	r.Made, r.Audit, r.Tool, r.Signed = time.Now(), "9:ab", "2.0", []SignOff{{Name: "Ann"}}
	r.Generations[0].Reconciled = &ReportedCommand{Entry: 40, Result: "same"} // compared once more, with the same end
	r.Generations[0].Snapshots = []ReportedCommand{{Result: "one more"}}
	if r.digest() != was {
		t.Error("the digest changed though no figure did")
	}
	r.Summary.Processed++
	if r.digest() == was {
		t.Error("the digest is the same though a figure changed")
	}
}

func TestTheWorkbookOfAReportIsXMLWithNumbers(t *testing.T) {
	r := Report{Project: "=cmd()&<x>", Failures: []FailureCount{{Table: "account", Records: 1234567}}, Settings: "a: 1\nb: \"007\"\n"}
	path := filepath.Join(t.TempDir(), "r.xlsx")
	if err := r.WriteWorkbook(path); err != nil {
		t.Fatal(err)
	}
	all := workbookText(t, path)
	for _, want := range []string{`<v>1234567</v>`, `=cmd()&amp;&lt;x&gt;</t>`, `sheet name="errors"`, `sheet name="sign-off"`, `Nobody has signed`} {
		if !strings.Contains(all, want) {
			t.Errorf("the workbook lacks %s", want)
		}
	}
	if strings.Contains(all, `sheet name="options"`) {
		t.Error("a list of labels where there are none")
	}
}

// TestASpreadsheetTakesTheWorkbook: openpyxl refuses a fill that is none, Excel a cell of more than
// 32,767 units, and both would show other digits and other texts.
func TestASpreadsheetTakesTheWorkbook(t *testing.T) {
	path := filepath.Join(t.TempDir(), "w.xlsx")
	long := strings.Repeat("a", 100) + strings.Repeat("😀", 40000)
	if err := writeWorkbook(path, []page{{name: "s", number: []bool{true, true}, rows: [][]string{{"n", "m", "t"},
		{"999999999999.999", "12345678901234.56", "_x0041_"}, {"0.0000000000000001", "1", long}}}}); err != nil {
		t.Fatal(err)
	}
	all := workbookText(t, path)
	for _, want := range []string{"<v>999999999999.999</v>", ">12345678901234.56</t>", "<v>0.0000000000000001</v>", ">_x005F_x0041_</t>", "… (cut, 40,100 characters in all)</t>"} {
		if !strings.Contains(all, want) {
			t.Errorf("the workbook lacks %s", want)
		}
	}
	if strings.Contains(all, "<fill/>") || !strings.Contains(all, `<fill><patternFill patternType="none"/></fill><fill><patternFill patternType="gray125"/></fill>`) {
		t.Error("a fill that says nothing is no fill (CT_Fill)")
	}
	for cell := range strings.SplitSeq(all, `<t xml:space="preserve">`) {
		if text, _, ok := strings.Cut(cell, "</t>"); ok && len(utf16.Encode([]rune(text))) > cellUnits {
			t.Errorf("a cell of %d units", len(utf16.Encode([]rune(text))))
		}
	}
	if sheets, err := ingest.ReadSheets(t.Context(), path); err != nil || sheets[0].Raw[1][2] != "_x0041_" {
		t.Errorf("read again: %v, %v", sheets, err)
	}
}

// workbookText is all parts of a workbook, one after the other, each of which must be XML.
func workbookText(t *testing.T, path string) (all string) {
	t.Helper()
	z, err := zip.OpenReader(path)
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	for _, f := range z.File {
		in, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(in)
		if err != nil {
			t.Fatal(err)
		}
		if err := xml.Unmarshal(b, new(struct{ XMLName xml.Name })); err != nil {
			t.Errorf("%s is no XML: %v", f.Name, err)
		}
		all += string(b)
	}
	return all
}

func TestEveryClassSaysWhatToDo(t *testing.T) {
	for i, name := range load.ClassNames() {
		if c := load.Class(i); c.Means() == "" || c.Todo() == "" {
			t.Errorf("class %s has no words", name)
		}
	}
	if load.Class(200).Todo() != load.ClassOther.Todo() {
		t.Error("a class of a later release has no words")
	}
}
