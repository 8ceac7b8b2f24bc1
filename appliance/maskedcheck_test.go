package appliance

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"dvmigrate/ledger"
)

const maskedRows = 400

// secretName and the others are originals of a row.
func secretName(i int) string {
	return fmt.Sprintf("Zuckerbrot%c%c Annegret%c", 'a'+i%26, 'a'+i/26, 'a'+i%7)
}
func secretMail(i int) string { return fmt.Sprintf("m%d@zuckerbrot.example", i) }
func secretBorn(i int) string { return fmt.Sprintf("19%02d-%02d-%02d", 40+i%50, 1+i%12, 1+i%28) }
func secretPay(i int) string  { return fmt.Sprint(1000 + i*37%4000) }
func initials(i int) string   { return fmt.Sprintf("%c%c", 'A'+i%26, 'A'+i%17) }

const maskedSettings = `version: 1
name: masked
target: {auth: none}
masking: {key_file: mask.key}
sources:
  people:
    path: people.csv
    types: {no: BIGINT, born: DATE, pay: INTEGER, since: DATE, points: INTEGER}
    mask: {no: id, name: name, initials: name, born: {as: date, by: no}, pay: number, mail: email}
  branches: {path: branches.csv}
`

// maskedFiles are a project with masked columns of every type. The originals of those that
// leaks names are also in a column that is not masked.
func maskedFiles(leaks ...string) map[string]string {
	var people strings.Builder
	people.WriteString("no,name,initials,born,pay,mail,city,memo,since,points,short,boss\n")
	for i := range maskedRows {
		leak := func(name, yes, no string) string {
			if slices.Contains(leaks, name) {
				return yes
			}
			return no
		}
		fmt.Fprintf(&people, "%d,%s,%s,%s,%s,%s,City%d,%s,%s,%s,%s,%s\n", 10001+i, secretName(i), initials(i), secretBorn(i), secretPay(i), secretMail(i), i%9,
			leak("memo", "called "+secretName(i)+" today", "nothing"), leak("since", secretBorn(i), fmt.Sprintf("19%02d-%02d-01", 40+i*7%50, 1+i%12)),
			leak("points", secretPay(i), fmt.Sprint(1000+i*91%4000)), leak("short", initials(i), initials(i+5)), leak("boss", secretName((i+1)%maskedRows), "nobody"))
	}
	return map[string]string{"people.csv": people.String(), "mask.key": "0123456789abcdef0123456789abcdef", "branches.csv": "branch,boss\nB1,x\nB2,y\n", "migration.yaml": maskedSettings,
		"transform/contact.sql": "SELECT no AS legacy_key, name AS lastname, mail AS emailaddress1, memo AS description, born AS birthdate FROM people"}
}

func stageMasked(t *testing.T, files map[string]string) (dir string) {
	t.Helper()
	dir = otherProject(t, "http://127.0.0.1:1", nil, files)
	p := openMasked(t, dir, Staging)
	defer p.Close()
	if _, err := p.Stage(t.Context(), nil, func(string, float64) {}); err != nil {
		t.Fatal(err)
	}
	return dir
}

func openMasked(t *testing.T, dir string, mode Mode) *Project {
	t.Helper()
	p, err := Open(t.Context(), dir, mode, Options{Env: func(string) (string, bool) { return "", false }})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// checkMasked checks a project, and that the result shows no original.
func checkMasked(t *testing.T, dir string, k KeySource) MaskedCheck {
	t.Helper()
	p := openMasked(t, dir, Viewing)
	defer p.Close()
	r, err := p.CheckMasked(t.Context(), k, func(string, float64) {})
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(r)
	if err != nil || bytes.Contains(text, []byte("Zuckerbrot")) || bytes.Contains(text, []byte("zuckerbrot")) {
		t.Errorf("the result shows originals: %v\n%s", err, text)
	}
	left, err := filepath.Glob(filepath.Join(dir, "work", "*.tmp*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	return r
}

// foundIn lists places and columns of findings.
func foundIn(r MaskedCheck) []string {
	var out []string
	for _, f := range r.Findings {
		out = append(out, f.How+" "+f.Place+" "+f.Column)
	}
	return out
}

// TestMaskFaults: a mask of a column that is not there, or whose type it does not go with, is a
// fault at its own place, with the nearest name.
func TestMaskFaults(t *testing.T) {
	for _, c := range []struct{ was, is, want string }{
		{"mail: email}", "mial: email}", "9:87: mask: mial is no column; did you mean mail?"},
		{"by: no}", "by: noo}", "9:69: mask: born: by: noo is no column; did you mean no?"},
		{"pay: number", "pay: name", "9:74: mask: pay: its type is INTEGER, which name does not go with; number, id and blank do; "},
	} {
		files := maskedFiles()
		files["migration.yaml"] = strings.Replace(files["migration.yaml"], c.was, c.is, 1)
		p := openMasked(t, otherProject(t, "http://127.0.0.1:1", nil, files), Settings)
		r, err := p.Check(t.Context(), false)
		p.Close()
		if err != nil || len(r.Faults) != 1 {
			t.Fatal(err, r.Faults)
		}
		f := r.Faults[0]
		if got := fmt.Sprintf("%d:%d: %s; %s", f.Line, f.Column, f.Message, f.Hint); got != c.want {
			t.Errorf("%s: %s, want %s", c.is, got, c.want)
		}
	}
}

// TestMaskedRows: every row of the stage is compared with its original, in every type; a column
// that has originals is found, and those that chance puts there are not.
func TestMaskedRows(t *testing.T) {
	r := checkMasked(t, stageMasked(t, maskedFiles()), KeySource{})
	if r.Failed() || len(r.Columns) != 6 {
		t.Errorf("clean: %v, %d columns", foundIn(r), len(r.Columns))
	}
	for _, c := range r.Columns {
		if c.Rows != maskedRows || c.Masked != maskedRows || c.Original != 0 || c.Unpaired != 0 {
			t.Errorf("%+v", c)
		}
	}
	if !slices.ContainsFunc(r.Compared, func(c MaskedCompared) bool {
		return c.Place == "contact" && c.Rows == maskedRows && strings.Contains(c.How, "legacy key is no")
	}) {
		t.Errorf("compared: %+v", r.Compared)
	}
	if !slices.ContainsFunc(r.Equal, func(e MaskedEqual) bool { return e.Place == "people.since" && !e.Left }) {
		t.Errorf("dates that chance makes equal are not counted: %+v", r.Equal)
	}
	r = checkMasked(t, stageMasked(t, maskedFiles("memo", "since", "points", "short", "boss")), KeySource{})
	got := foundIn(r)
	for _, want := range []string{"row stage: people.since born", "row stage: people.points pay", "row stage: people.short initials", "text stage: people.memo name", "value stage: people.boss name"} {
		if !slices.Contains(got, want) {
			t.Errorf("not found: %s; found: %q", want, got)
		}
	}
	for _, f := range got {
		if strings.Contains(f, "lastname") || strings.Contains(f, "city") {
			t.Errorf("found: %s", f)
		}
	}
}

// TestMaskedRowsThatMoved: rows are paired by the source's key where they do not lie as they did;
// an original in the masked column itself is found in any type; and where there is no key, it is
// said that rows were not compared.
func TestMaskedRowsThatMoved(t *testing.T) {
	for _, key := range []string{"", ", feed: changes, row_key: no"} {
		files := maskedFiles()
		files["migration.yaml"] = strings.Replace(files["migration.yaml"], "path: people.csv", "path: people.csv"+strings.ReplaceAll(key, ", ", "\n    "), 1)
		dir := stageMasked(t, files)
		p := openMasked(t, dir, Staging)
		for _, set := range []string{"pay = 1037 WHERE points = 1091", "born = DATE '1942-03-03' WHERE points = 1182", "initials = 'DD' WHERE points = 1273"} {
			if n, err := p.stage.Exec(t.Context(), "UPDATE dm.source_2 SET "+set); err != nil || n != 1 {
				t.Fatal(n, err)
			}
		}
		p.Close()
		lines := strings.SplitAfter(files["people.csv"], "\n")
		moved := slices.Concat(lines[:1], lines[2:5], lines[1:2], lines[6:])
		if err := os.WriteFile(filepath.Join(dir, "people.csv"), []byte(strings.Join(moved, "")), 0o600); err != nil {
			t.Fatal(err)
		}
		r := checkMasked(t, dir, KeySource{})
		got := foundIn(r)
		if key == "" {
			if r.Failed() || r.Columns[0].Rows != 0 || r.Columns[0].Unpaired != maskedRows || !slices.ContainsFunc(r.Unread, func(u MaskedUnread) bool { return strings.Contains(u.Why, "could not be paired") }) {
				t.Errorf("without a key: %q %+v %+v", got, r.Columns[0], r.Unread)
			}
			continue
		}
		if want := []string{"row stage: people.born born", "row stage: people.initials initials", "row stage: people.pay pay"}; !slices.Equal(got, want) {
			t.Errorf("found %q, want %q", got, want)
		}
		for _, c := range r.Columns {
			if c.Rows != maskedRows-1 || c.Unpaired != 1 {
				t.Errorf("%+v", c)
			}
		}
	}
}

// TestMaskedFiles: originals are found in everything that is kept compressed, in all places of
// snapshots; what cannot be read is named.
func TestMaskedFiles(t *testing.T) {
	also, identity := t.TempDir(), filepath.Join(t.TempDir(), "key")
	public, err := WriteIdentity(identity)
	if err != nil {
		t.Fatal(err)
	}
	files := maskedFiles()
	files["migration.yaml"] += "snapshots: {also: [" + also + "], encrypt: {recipients: [" + public + "]}}\n"
	dir := stageMasked(t, files)
	write := func(name string, content []byte) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("maps/leak.csv", []byte("a,"+secretMail(7)+"\n"))
	p := openMasked(t, dir, Loading)
	info, err := p.Snapshot(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.stage.Exec(t.Context(), "COPY (SELECT '"+secretName(3)+"' AS a, 1 AS b) TO '"+filepath.Join(dir, "out.parquet")+"' (FORMAT parquet, COMPRESSION zstd)"); err != nil {
		t.Fatal(err)
	}
	set := p.set
	p.Close()
	if err := os.Remove(filepath.Join(dir, "maps/leak.csv")); err != nil {
		t.Fatal(err)
	}
	// What kept a key between two commands would open them.
	os.Remove(filepath.Join(dir, "work", keptKeyFile))
	undo, err := ledger.OpenUndo(filepath.Join(dir, "work", undoFile), set, ledger.Journaled{}, 1)
	if err == nil {
		err = undo.Keep("contact", ledger.FoundNot, []ledger.Image{{Seq: 1, Had: []byte(`{"lastname":"` + secretName(5) + `"}`), Wrote: []byte("{}")}})
	}
	if err != nil {
		t.Fatal(err)
	}
	undo.Close()
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	fmt.Fprintf(z, `{"message":"%s"}`, secretMail(9))
	z.Close()
	write("work/dvmigrate-2026.log.gz", packed.Bytes())
	write("page.html", []byte("<td>"+secretName(11)+"</td>"))
	if err := writeWorkbook(filepath.Join(dir, "errors.xlsx"), []page{{name: "errors", rows: [][]string{{"name"}, {secretName(12)}}}}); err != nil {
		t.Fatal(err)
	}
	write("secret.age", []byte("age-encryption.org/v1\n..."))

	r := checkMasked(t, dir, KeySource{})
	got := foundIn(r)
	for _, want := range []string{"text out.parquet name", "text work/undo.log name", "text work/dvmigrate-2026.log.gz mail", "text page.html name", "text errors.xlsx name"} {
		if !slices.Contains(got, want) {
			t.Errorf("not found: %s; found: %q", want, got)
		}
	}
	for _, want := range []string{"snapshot " + info.ID, "snapshot " + info.ID + " in " + also, "secret.age"} {
		if !slices.ContainsFunc(r.Unread, func(u MaskedUnread) bool { return u.Place == want && strings.Contains(u.Why, "encrypted") }) {
			t.Errorf("%s is not said to be unread: %+v", want, r.Unread)
		}
	}
	got = foundIn(checkMasked(t, dir, KeySource{IdentityFile: identity}))
	for _, want := range []string{"text snapshot " + info.ID + ": maps/leak.csv mail", "text snapshot " + info.ID + " in " + also + ": maps/leak.csv mail"} {
		if !slices.Contains(got, want) {
			t.Errorf("not found: %s; found: %q", want, got)
		}
	}
}
