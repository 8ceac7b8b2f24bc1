package appliance

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"dvmigrate/appliance/reconcile"
)

const (
	someUser = "a0000000-0000-4000-8000-000000000011"
	someTeam = "b0000000-0000-4000-8000-000000000011"
)

// comparedProject has accounts and their contacts, loaded; lines of the settings are added.
func comparedProject(t *testing.T, settings string) (p *Project, url string) {
	t.Helper()
	url = environment(t, 4, nil)
	var csv strings.Builder
	csv.WriteString("no,name,revenue\n")
	for i := range 12 {
		fmt.Fprintf(&csv, "%d,Company %d,%d.50\n", i, i, 100*i)
	}
	dir := otherProject(t, url, nil, map[string]string{
		"companies.csv":         csv.String(),
		"transform/account.sql": "SELECT 'A' || no AS legacy_key, name, revenue, existing('systemuser', '" + someUser + "') AS ownerid FROM companies",
		"transform/contact.sql": "SELECT 'C' || no AS legacy_key, 'Person ' || no AS lastname, ref('account', 'A' || no) AS parentcustomerid, 0 AS statecode, 1 AS statuscode FROM companies",
		"mask.key":              "0123456789abcdef0123456789abcdef",
		"migration.yaml":        "version: 1\nname: compared\ntarget: {url: " + url + ", auth: none}\n" + settings})
	p = reopen(t, dir, Staging, url)
	if _, err := p.Stage(t.Context(), nil, func(string, float64) {}); err != nil {
		t.Fatal(err)
	}
	requireAllLoaded(t, p)
	return p, url
}

// spoil changes the target behind our back: a name, an amount, an owner, a parent, a state,
// and a contact that is gone.
func spoil(t *testing.T, url string) {
	t.Helper()
	ids := map[string]string{}
	for _, set := range []string{"accounts", "contacts"} {
		for _, row := range plainRows(t, url, set) {
			name := fmt.Sprint(row["name"])
			if set == "contacts" {
				name = fmt.Sprint(row["lastname"])
			}
			ids[name] = url + "/api/data/v9.2/" + set + "(" + fmt.Sprint(row[strings.TrimSuffix(set, "s")+"id"]) + ")"
		}
	}
	other := ids["Company 9"]
	other = other[strings.LastIndex(other, "/")+1:]
	sendRaw(t, http.MethodPatch, ids["Company 1"], `{"name":"Jane Secret Ltd"}`)
	sendRaw(t, http.MethodPatch, ids["Company 2"], `{"revenue":1.25}`)
	sendRaw(t, http.MethodPatch, ids["Company 3"], `{"ownerid@odata.bind":"teams(`+someTeam+`)"}`)
	sendRaw(t, http.MethodPatch, ids["Person 4"], `{"parentcustomerid_account@odata.bind":"`+other+`"}`)
	sendRaw(t, http.MethodPatch, ids["Person 5"], `{"statecode":1,"statuscode":2}`)
	sendRaw(t, http.MethodDelete, ids["Person 6"], "")
	sendRaw(t, http.MethodPost, url+"/api/data/v9.2/contacts", `{"lastname":"Somebody else"}`)
}

// mismatchLines are what SQL knows of the mismatches of a table.
func mismatchLines(t *testing.T, p *Project, table string) (lines []string) {
	t.Helper()
	query := `SELECT concat_ws(' ', legacy_key, kind, class, "column", staged, in_target) FROM reconcile_rows('` + table + `') m LEFT JOIN ` + table + ` s USING (dm_seq)`
	err := p.SQL(t.Context(), query, func(_ []string, values []any) error {
		if values != nil {
			lines = append(lines, fmt.Sprint(values[0]))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(lines)
	return lines
}

func compareAll(t *testing.T, p *Project) reconcile.Result {
	t.Helper()
	r, err := p.Reconcile(t.Context(), ReconcileOptions{Values: true, Limit: 20}, func(string, float64) {})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestWhatOthersChangedIsFound: each kind of change is found, told in SQL and kept; with
// thresholds that allow it all passes, and discard goes by that.
func TestWhatOthersChangedIsFound(t *testing.T) {
	p, url := comparedProject(t, `sources: {companies: {path: companies.csv}}
reconcile:
  account: {source: {rows: SELECT count(*) FROM companies, revenue: "SELECT sum(revenue::DECIMAL(18,2)) FROM companies;"}}
`)
	if r := compareAll(t, p); !r.Pass || r.Summary.Faults() > 0 || len(r.Tables) != 2 {
		t.Fatalf("what was loaded is not what is there: %+v", r)
	}
	later(t, p, "account", "contact")
	spoil(t, url)
	by, err := p.Reconcile(t.Context(), ReconcileOptions{Values: true, Limit: 20, Changed: true, Samples: 5}, func(string, float64) {})
	if err != nil || by.Tables[0].Unchanged != 9 || by.Tables[1].Unchanged != 8 { // the third contact went to its account's new owner
		t.Errorf("by versions: %v, %+v", err, by)
	}
	sheet(t, by)
	lines := mismatchLines(t, p, "contact")
	r := compareAll(t, p)
	if again := mismatchLines(t, p, "contact"); !slices.Equal(lines, again) || by.Summary != r.Summary {
		t.Errorf("by versions %q %+v, in full %q %+v", lines, by.Summary, again, r.Summary)
	}
	account, contact := r.Tables[0], r.Tables[1]
	if r.Pass || account.Different != 3 || contact.Different != 2 || contact.Missing != 1 || contact.Others == 0 {
		t.Errorf("%+v", r)
	}
	wantLines(t, mismatchLines(t, p, "account"), "A1 different value name Company 1 Jane Secret Ltd", "A2 different value revenue 200.5000 1.2500", "A3 different owner ownerid "+someUser+" "+someTeam)
	if len(lines) != 4 || !strings.HasPrefix(lines[0], "C4 different parent parentcustomerid ") || !strings.HasPrefix(lines[1], "C5 different state statecode 0 1") || lines[3] != "C6 missing" {
		t.Errorf("contacts: %q", lines)
	}
	sum := reconcile.Figure{Column: "revenue", Kind: "sum", Staged: "6606", Target: "6406.75"}
	if !slices.Contains(account.Figures, sum) {
		t.Errorf("figures %+v, want %+v", account.Figures, sum)
	}
	if !slices.Contains(account.Groups, reconcile.Group{Column: "ownerid", Value: someTeam, Target: 1}) {
		t.Errorf("groups %+v", account.Groups)
	}
	if s := account.SourceFigures; len(s) != 2 || s[0] != (reconcile.SourceFigure{Name: "revenue", Source: "6606.00", Staged: s[0].Staged, Same: true}) || !s[1].Same || r.Sources[0].Staged != 12 {
		t.Errorf("source %+v, %+v", s, r.Sources)
	}
	last, err := p.Reconciled()
	if err != nil || last.Pass || last.Mismatches != 6 || len(last.Result.Tables) != 2 {
		t.Errorf("kept: %v, %+v", err, last)
	}

	// With that allowed it passes; with another number in the source it does not.
	c := p.Config.Reconcile["account"]
	c.Allow.Different = "25%"
	p.Config.Reconcile["account"] = c
	star := p.Config.Comparison("contact")
	star.Allow.Missing, star.Allow.Different = "1", "2"
	p.Config.Reconcile["*"] = star
	if r := compareAll(t, p); !r.Pass {
		t.Errorf("what is allowed does not pass: %+v", r)
	}
	generation, err := p.stage.Meta(t.Context(), "generation")
	if err != nil {
		t.Fatal(err)
	}
	status, _ := p.Status(t.Context())
	if last, err = readReconciliation(p.generationFile(generation)); err != nil || !last.Pass || last.Mismatches != 6 || !last.Holds(generation, status.Summary) || last.Holds("x", status.Summary) {
		t.Errorf("kept: %v, %+v", err, last)
	}
	f := c.Source["rows"]
	f.SQL = "SELECT 13"
	c.Source["rows"] = f
	if r := compareAll(t, p); r.Pass || !slices.Contains(r.Tables[0].Failures, "rows: 13 in the source, 12 staged") {
		t.Errorf("%+v", r.Tables[0].Failures)
	}
	f.SQL = "SELECT nothing"
	c.Source["rows"] = f
	if _, err := p.Reconcile(t.Context(), ReconcileOptions{}, func(string, float64) {}); err == nil || !strings.Contains(err.Error(), "reconcile.account.source.rows: it has to be a SELECT") {
		t.Errorf("a bad SELECT: %v", err)
	}
}

// later makes it so that the last comparison began a minute after what was loaded then.
func later(t *testing.T, p *Project, tables ...string) {
	t.Helper()
	for _, table := range tables {
		f, err := os.OpenFile(filepath.Join(p.work(), reconciledFolder, table+".versions"), os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		b := binary.LittleEndian.AppendUint64(nil, uint64(time.Now().Unix()+60))
		if _, err := f.WriteAt(b, 40); err != nil {
			t.Fatal(err)
		}
		f.Close()
	}
}

// sheet writes a comparison for the sign-off, and looks into it.
func sheet(t *testing.T, r reconcile.Result) {
	t.Helper()
	if len(r.Tables[0].Samples) != 5 || len(r.Tables[1].Samples) != 5 {
		t.Fatalf("%d and %d samples, want 5 of each", len(r.Tables[0].Samples), len(r.Tables[1].Samples))
	}
	for _, s := range r.Tables[1].Samples {
		for _, v := range s.Values {
			if v.Column == "parentcustomerid" && v.Staged != "A"+s.LegacyKey[1:]+" (account)" || v.Column == "statecode" && v.Staged != "0 (Active)" {
				t.Errorf("sample %s: %+v", s.LegacyKey, v)
			}
		}
	}
	path := filepath.Join(t.TempDir(), "sign-off.xlsx")
	if err := WriteSignOff(path, "https://acme.crm4.dynamics.com/", r); err != nil {
		t.Fatal(err)
	}
	all := workbookText(t, path)
	s := r.Tables[0].Samples[0]
	for _, want := range []string{`<sheet name="tables"`, `<sheet name="account"`, "FAIL", "3 different", s.LegacyKey,
		"HYPERLINK(&#34;https://acme.crm4.dynamics.com/main.aspx?pagetype=entityrecord&amp;etn=account&amp;id=" + s.RecordID + "&#34;"} {
		if !strings.Contains(all, want) {
			t.Errorf("the workbook lacks %q", want)
		}
	}
}

func wantLines(t *testing.T, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("lines %q\nwant %q", got, want)
	}
}

// TestMaskedProjectShowsNothingOfTheTarget: somebody typed a name into a target that was
// loaded with masked ones. It is found, and in no output and no file.
func TestMaskedProjectShowsNothingOfTheTarget(t *testing.T) {
	p, url := comparedProject(t, "masking: {key_file: mask.key}\nsources: {companies: {path: companies.csv, mask: {name: company}}}\nreconcile: {account: {sums: [name, revenue], groups: [name]}}\n")
	for _, row := range plainRows(t, url, "accounts") {
		sendRaw(t, http.MethodPatch, url+"/api/data/v9.2/accounts("+fmt.Sprint(row["accountid"])+")", `{"name":"Jane Secret Ltd"}`)
	}
	r := compareAll(t, p)
	if r.Tables[0].Different != 12 {
		t.Errorf("%+v", r)
	}
	all, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	outputs := map[string]string{"result": string(all), "sql": strings.Join(mismatchLines(t, p, "account"), "\n")}
	if !strings.Contains(outputs["sql"], "(not shown: 15 characters)") {
		t.Errorf("%s", outputs["sql"])
	}
	err = filepath.WalkDir(p.work(), func(path string, d os.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		b, err := os.ReadFile(path)
		outputs[path] = string(b)
		return err
	})
	if err != nil || len(outputs) < 5 {
		t.Fatal(err, len(outputs))
	}
	for where, text := range outputs {
		if strings.Contains(text, "Jane") || strings.Contains(text, "Secret Ltd") {
			t.Errorf("%s shows what the masks hide", where)
		}
	}
}
