package appliance

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"dvmigrate/duckstage/ingest"
)

// TestWhatPeopleWroteIntoTheWorkbookStays: a sheet of their own, and what they wrote beside an
// option that no text goes to, or beside nothing.
func TestWhatPeopleWroteIntoTheWorkbookStays(t *testing.T) {
	p := stagedOffline(t, map[string]string{
		"migration.yaml":        "version: 1\nname: x\ntarget: {auth: none}\nsources: {a: a.csv}\n",
		"a.csv":                 "id,branch\n1,Banken\n2,Handel\n",
		"transform/account.sql": "SELECT id AS legacy_key, 'x' AS name, branch AS industrycode FROM a"})
	plan := func() {
		t.Helper()
		if _, err := p.Options(t.Context(), nil, true, true, func(string, float64) {}); err != nil {
			t.Fatal(err)
		}
	}
	plan()
	book := filepath.Join(p.Config.Dir, filepath.FromSlash(OptionsWorkbook))
	head := []string{"source_text", "source_rows", "target_value", "target_text", "comment", "who"}
	if err := writeWorkbook(book, []page{
		{name: "questions", rows: [][]string{{"Who knows Banken?"}, nil, {"", "=1+1"}}},
		{name: "account.industrycode", rows: [][]string{head, {"Banken", "1", "16"}, {"", "", "33", "Wholesale", "not for us", "Ann"}, {"", "", "", "", "ask Bob"}, {"", "", "1", "Accounting", unusedOption}}},
	}); err != nil {
		t.Fatal(err)
	}
	for again := range 3 {
		if plan(); again == 1 { // a person types the names anew
			sheets, err := ingest.ReadSheets(t.Context(), book)
			if err != nil {
				t.Fatal(err)
			}
			var typed []page
			for i, s := range sheets {
				typed = append(typed, page{name: []string{"Account.IndustryCode", s.Name, "Options"}[i], rows: s.Raw})
			}
			if err := writeWorkbook(book, typed); err != nil {
				t.Fatal(err)
			}
			continue
		}
		sheets, err := ingest.ReadSheets(t.Context(), book)
		if err != nil {
			t.Fatal(err)
		}
		var names, remarks []string
		for _, s := range sheets {
			names = append(names, s.Name)
			for _, r := range s.Rows {
				if c := r.Cells["comment"]; c != "" && c != unusedOption {
					remarks = append(remarks, strings.Join([]string{r.Cells["target_value"], c, r.Cells["who"]}, "|"))
				}
			}
			if s.Name == "questions" {
				if diff := cmp.Diff([][]string{{"Who knows Banken?"}, nil, {"", "=1+1"}}, s.Raw); diff != "" {
					t.Error(diff)
				}
			}
		}
		if want := []string{"33|not for us|Ann", "|ask Bob|"}; !slices.Equal(remarks, want) {
			t.Errorf("remarks = %q", remarks)
		}
		if want := []string{"account.industrycode", "questions", listSheet}; !slices.Equal(names, want) {
			t.Errorf("sheets = %q", names)
		}
	}
}

// TestASheetOfPeopleCalledOptions: it is told from our list by what it has, in both workbooks,
// and ours is called otherwise then.
func TestASheetOfPeopleCalledOptions(t *testing.T) {
	p := stagedOffline(t, map[string]string{
		"migration.yaml":        "version: 1\nname: x\ntarget: {auth: none}\nsources: {a: a.csv}\n",
		"a.csv":                 "id,branch\n1,Banken\n2,Handel\n",
		"transform/account.sql": "SELECT id AS legacy_key, 'x' AS name, branch AS industrycode FROM a"})
	book := filepath.Join(p.Config.Dir, filepath.FromSlash(OptionsWorkbook))
	theirs := page{name: "Options", rows: [][]string{{"option", "of whom"}, {"A", "Ann. Bob"}}}
	profile, err := p.Profile(t.Context(), nil, func(string, float64) {})
	if err != nil {
		t.Fatal(err)
	}
	if err := writeWorkbook(filepath.Join(p.Config.Dir, profileBook), []page{{name: "profile", rows: [][]string{{"source", "column", "decision"}}}, theirs}); err != nil {
		t.Fatal(err)
	}
	for again := range 3 {
		plan, err := p.Options(t.Context(), nil, true, true, func(string, float64) {})
		if err != nil || (len(plan.Notes) == 1 && strings.Contains(plan.Notes[0], "sheet options of your own, which stays; the labels to choose from are in sheet options2")) != (again > 0) {
			t.Errorf("%v, notes %q", err, plan.Notes)
		}
		path, err := WriteProfile(t.Context(), p.Config.Dir, profile, true)
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range []string{book, path} {
			sheets, err := ingest.ReadSheets(t.Context(), file)
			if err != nil {
				t.Fatal(err)
			}
			if again == 0 && file == book {
				if err := writeWorkbook(book, []page{{name: sheets[0].Name, rows: sheets[0].Raw}, theirs}); err != nil {
					t.Fatal(err)
				}
				continue
			}
			var names []string
			for _, s := range sheets {
				names = append(names, s.Name)
			}
			want := map[string][]string{book: {"account.industrycode", "Options", "options2"}, path: {"profile", "Options"}}[file]
			if diff := cmp.Diff(want, names); diff != "" {
				t.Fatalf("%s: %s", file, diff)
			}
			if diff := cmp.Diff(theirs.rows, sheets[1].Raw); diff != "" {
				t.Errorf("%s: %s", file, diff)
			}
		}
	}
}

// TestTheProfilesSheetIsReadBack: by stage too, as CSV or as a workbook, but not as both; what
// was written of other sources stays; one column has one decision.
func TestTheProfilesSheetIsReadBack(t *testing.T) {
	p := stagedOffline(t, map[string]string{
		"migration.yaml":        "version: 1\nname: x\ntarget: {auth: none}\nsources: {a: a.csv, b: b.csv}\n",
		"a.csv":                 "id,note\n1,x\n",
		"b.csv":                 "no,text\n1,y\n",
		"transform/account.sql": "SELECT id AS legacy_key, note AS name FROM a"})
	dir := p.Config.Dir
	profile := func(workbook bool, only ...string) []string {
		t.Helper()
		s, err := p.Profile(t.Context(), only, func(string, float64) {})
		if err != nil {
			t.Fatal(err)
		}
		path, err := WriteProfile(t.Context(), dir, s, workbook)
		if err != nil {
			t.Fatal(err)
		}
		sheets, err := ingest.ReadSheets(t.Context(), path)
		if err != nil {
			t.Fatal(err)
		}
		var out []string
		for _, r := range sheets[0].Rows {
			out = append(out, strings.TrimRight(strings.Join([]string{filepath.Ext(path), r.Cells["source"], r.Cells["column"], r.Cells["decision"]}, " "), " "))
		}
		return out
	}
	profile(false)
	if diff := cmp.Diff([]string{".csv a id", ".csv a note", ".csv b no", ".csv b text"}, profile(false, "a")); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{".xlsx a id", ".xlsx a note", ".xlsx b no", ".xlsx b text"}, profile(true)); diff != "" {
		t.Error(diff)
	}
	if _, err := os.Stat(filepath.Join(dir, profileFile)); err == nil {
		t.Error("there are two sheets")
	}
	decide := func(rows ...[]string) {
		t.Helper()
		if err := writeWorkbook(filepath.Join(dir, profileBook), []page{{name: "Sheet1", rows: append([][]string{{"source", "column", "decision"}}, rows...)}}); err != nil {
			t.Fatal(err)
		}
	}
	decide([]string{"A", "Note", "Drop"}, nil, []string{"b", "text", "bring"})
	if diff := cmp.Diff([]string{".xlsx a id", ".xlsx a note Drop", ".xlsx b no", ".xlsx b text bring"}, profile(false)); diff != "" {
		t.Error(diff)
	}
	staged := func() string {
		t.Helper()
		r, err := p.Stage(t.Context(), nil, func(string, float64) {})
		if err != nil {
			t.Fatal(err)
		}
		return strings.Join(r.Notes, "\n")
	}
	if got, want := staged(), "profile.xlsx, line 3: a.note was decided as drop, and its name stands in transform/account.sql\nprofile.xlsx, line 5: b.text was decided as bring, and no transform uses it"; !strings.HasSuffix(got, want) {
		t.Errorf("stage says %q", got)
	}
	beside := []page{{name: "questions", rows: [][]string{{"who", "what"}, {"Ann", "why?"}}},
		{name: "Sheet1", rows: [][]string{{"Source", "Column", "Decision", "Owner"}, {"a", "note", "bring", "Ann"}, {"b", "no", "", "Ben"}}}}
	if err := writeWorkbook(filepath.Join(dir, profileBook), beside); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{".xlsx a id", ".xlsx a note bring", ".xlsx b no", ".xlsx b text"}, profile(false)); diff != "" {
		t.Error(diff)
	}
	sheets, err := ingest.ReadSheets(t.Context(), filepath.Join(dir, profileBook))
	if err != nil || len(sheets) != 2 || sheets[0].Name != "Sheet1" || sheets[0].Rows[1].Cells["owner"] != "Ann" || sheets[0].Rows[2].Cells["owner"] != "Ben" || len(sheets[1].Raw) != 2 || sheets[1].Raw[1][1] != "why?" {
		t.Errorf("what people have added: %v, %+v", err, sheets)
	}
	decide([]string{"a", "note", "drop"}, []string{"a", "NOTE", "bring"})
	if got := staged(); !strings.Contains(got, "profile.xlsx, lines 2 and 3: a.NOTE is there twice, with different decisions") {
		t.Errorf("two decisions: %q", got)
	}
	if err := os.WriteFile(filepath.Join(dir, profileFile), []byte("source,column,decision\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := staged(); !strings.Contains(got, "keep the one with the decisions") {
		t.Errorf("two sheets: %q", got)
	}
}
