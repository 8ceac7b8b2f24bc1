package ingest

import (
	"bytes"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"modernc.org/sqlite"

	"dvmigrate/duckstage"
	"dvmigrate/duckstage/mask"
)

var maskKey = []byte("a key for tests, long enough")

var peopleMasks = map[string]Mask{"no": {Kind: mask.ID}, "name": {Kind: mask.Name}, "mail": {Kind: mask.Email}, "born": {Kind: mask.Date, By: "no", Days: 30},
	"pay": {Kind: mask.Number}, "note": {Kind: mask.Blank}}

const people = "no,name,mail,born,pay,note\n" +
	"10001,Annegret Zuckerbrot,annegret@zuckerbrot.example,2001-02-03,1234.50,secretnote\n" +
	"10002,Kunibert Hagebutten,kunibert@hagebutten.example,2002-02-03,2345.50,\n" +
	"10003,Leberecht Quasselstrippe,leberecht@q.example,2003-02-03,Leberechtverdient,x\n" +
	"10004,Waldtraut Sonnenblume,zuviel,2003-02-03,1,x,x\n"

// originals are values of people that must be nowhere.
var originals = []string{"Annegret", "Zuckerbrot", "zuckerbrot", "Kunibert", "Hagebutten", "Leberecht", "Quasselstrippe", "Waldtraut", "Sonnenblume", "secretnote"}

// TestMaskedValuesStayOut: of a source with masks neither table nor set-aside line nor
// message nor file has an original, whatever way its rows take.
func TestMaskedValuesStayOut(t *testing.T) {
	t.Parallel()
	dir := write(t, map[string]string{"p.csv": people, "p.txt": strings.ReplaceAll(people, "\n", "&|"),
		"p.ndjson": `{"no":"10001","name":"Annegret Zuckerbrot","mail":"annegret@zuckerbrot.example","born":"2001-02-03","pay":1234.5,"note":"secretnote"}` + "\n" +
			`{"no":"10002","name":"Kunibert Hagebutten","mail":"kunibert@hagebutten.example","born":"2002-02-03","pay":2345.5,"note":null}` + "\n"})
	makeShop(t, filepath.Join(dir, "p.db"))
	path := filepath.Join(t.TempDir(), "stage.duckdb")
	s, err := duckstage.Open(t.Context(), path, duckstage.Options{})
	if err != nil {
		t.Fatal(err)
	}
	types := map[string]string{"pay": "DECIMAL(10,2)", "born": "DATE"}
	for name, src := range map[string]Source{
		"text":      {Paths: []string{"p.csv"}, Types: types},
		"guessed":   {Paths: []string{"p.csv"}, AutoTypes: true, Types: types},
		"rewritten": {Paths: []string{"p.txt"}, RowEnd: "&|", Types: types},
		"json":      {Paths: []string{"p.ndjson"}, Types: types},
		"database":  {Database: &Database{Kind: SQLite, DSN: "p.db", Table: "people", Key: []string{"no"}}},
	} {
		src.Name, src.Dir, src.Masks, src.MaskKey, src.MaxBadLines = name, dir, peopleMasks, maskKey, 2
		res := ingest(t, s, src)
		if res.Rows != 2 || name != "json" && res.Rejected == 0 {
			t.Errorf("%s: %+v", name, res)
		}
	}
	want := table(t, s, "SELECT no, name, mail, born, note FROM source.text")
	for _, name := range []string{"rewritten", "guessed", "json", "database"} {
		got := table(t, s, "SELECT no, name, mail, born, note FROM source."+name+" ORDER BY name = '"+strings.Split(want[1], "|")[1]+"'")
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%s = %v, text = %v", name, got, want)
		}
	}
	m := mask.New(maskKey)
	if first := strings.Split(want[0], "|"); first[1] != m.Mask(mask.Name, "Annegret Zuckerbrot", 0) || !strings.HasSuffix(first[2], ".example.invalid") || len(first[0]) != 5 || first[0] == "10001" {
		t.Errorf("row = %v", first)
	}
	for _, r := range table(t, s, "SELECT message, text FROM dm.rejects") {
		for _, o := range originals {
			if strings.Contains(r, o) {
				t.Errorf("a line that is set aside shows %q: %s", o, r)
			}
		}
	}
	src := Source{Name: "text", Dir: dir, Paths: []string{"p.csv"}, Types: types, Masks: peopleMasks, MaskKey: maskKey}
	_, err = Run(t.Context(), s, src, nil)
	var bad *BadLinesError
	if !errors.As(err, &bad) || bad.Count != 2 || strings.Contains(err.Error(), "Leberecht") || strings.Contains(err.Error(), "Waldtraut") || !strings.Contains(err.Error(), "line 4") {
		t.Errorf("error = %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(filepath.Dir(path), "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range originals {
			if bytes.Contains(b, []byte(o)) {
				t.Errorf("%s has %q", filepath.Base(file), o)
			}
		}
	}
}

// makeShop makes a database with the people that have no fault, and one that has.
func makeShop(t *testing.T, path string) {
	t.Helper()
	connector, err := sqlite.NewConnector("file:" + filepath.ToSlash(path))
	if err != nil {
		t.Fatal(err)
	}
	db := sql.OpenDB(connector)
	defer db.Close()
	if _, err := db.Exec(`CREATE TABLE people (no TEXT PRIMARY KEY, name TEXT, mail TEXT, born DATE, pay DECIMAL(10,2), note TEXT);
		INSERT INTO people VALUES ('10001', 'Annegret Zuckerbrot', 'annegret@zuckerbrot.example', '2001-02-03', 1234.5, 'secretnote'),
			('10002', 'Kunibert Hagebutten', 'kunibert@hagebutten.example', '2002-02-03', 2345.5, NULL), ('10003', 'Leberecht Quasselstrippe', 'l', '2003-02-03', 'Leberechtverdient', 'x')`); err != nil {
		t.Fatal(err)
	}
}

func TestMasksThatDoNotGo(t *testing.T) {
	t.Parallel()
	dir := write(t, map[string]string{"p.csv": people})
	s := newStage(t)
	for _, c := range []struct {
		name  string
		masks map[string]Mask
		key   string
		want  string
	}{
		{"no such column", map[string]Mask{"nam": {Kind: mask.Name}}, string(maskKey), "mask: nam is no column; its columns are born, mail, name, no, note, pay"},
		{"dates of nobody", map[string]Mask{"born": {Kind: mask.Date, By: "person"}}, string(maskKey), "mask: born: by: person is no column"},
		{"another kind of value", map[string]Mask{"pay": {Kind: mask.Name}}, string(maskKey), "mask: pay: its type is DECIMAL(10,2), which name does not go with"},
		{"a short key", peopleMasks, "short", "the key for masking has 5 bytes, and needs 16"},
	} {
		t.Run(c.name, func(t *testing.T) {
			src := Source{Name: "p", Dir: dir, Paths: []string{"p.csv"}, Types: map[string]string{"pay": "DECIMAL(10,2)"}, Masks: c.masks, MaskKey: []byte(c.key), MaxBadLines: -1}
			if _, err := Run(t.Context(), s, src, nil); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error = %v", err)
			}
			if _, err := Preview(t.Context(), s, src); c.key == string(maskKey) && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("error of the preview = %v", err)
			}
		})
	}
}
