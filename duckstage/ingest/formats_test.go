package ingest

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf16"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/zstd"

	"dvmigrate/duckstage"
)

// TestJSONLinesAreSetAside: a line that is no JSON object costs the others nothing, and a key
// or another kind of value that comes late is seen.
func TestJSONLinesAreSetAside(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	var late strings.Builder
	for i := range 25_000 {
		fmt.Fprintf(&late, "{\"id\":%d,\"v\":%d}\n", i, i)
	}
	late.WriteString("{\"id\":25000,\"v\":\"text\",\"new\":\"1\"}\n")
	wide := utf16.Encode([]rune("\ufeff{\"id\":\"ü\"}\n"))
	var u16 bytes.Buffer
	for _, c := range wide {
		u16.WriteByte(byte(c))
		u16.WriteByte(byte(c >> 8))
	}
	dir := write(t, map[string]string{
		"bad.ndjson":  "\ufeff{\"id\":1,\"a\":\"x\",\"n\":1}\n{\"id\":2,\"a\":\n\nnot json\n[1]\n{\"id\":3,\"a\":5,\"n\":\"y\"}\r\n{\"id\":4,\"n\":null}",
		"late.ndjson": late.String(), "u16.ndjson": u16.String(), "bom.json": "\ufeff[{\"id\":1}]",
		"cut.json": `[{"id":1},{"id":`, "typed.ndjson": "{\"n\":\"5\",\"t\":\"2024-06-01T10:00:00+02:00\",\"f\":2}\n{\"n\":\"x\"}\n{\"n\":\"1.5\"}\n{\"f\":2.5}\n", "typed.json": `[{"n":"1"},{"n":"x"}]`,
	})
	src := Source{Name: "bad", Dir: dir, Paths: []string{"bad.ndjson"}, MaxBadLines: 3}
	if res := ingest(t, s, src); res.Rows != 3 || res.Rejected != 3 {
		t.Errorf("result = %+v", res)
	}
	if diff := cmp.Diff([]string{"1|x|1", "3|5|y", "4||"}, table(t, s, "SELECT id, coalesce(a, ''), coalesce(n, '') FROM source.bad")); diff != "" {
		t.Error(diff)
	}
	got := table(t, s, `SELECT file, line, message, "text" FROM dm.rejects ORDER BY line`)
	if len(got) != 3 || !strings.HasPrefix(got[0], "bad.ndjson|2|the line is no JSON: ") || !strings.HasPrefix(got[1], "bad.ndjson|4|") || got[2] != "bad.ndjson|5|the line is no JSON object|[1]" {
		t.Errorf("rejects = %q", got)
	}
	inMemory, err := duckstage.OpenMemory(t.Context(), duckstage.Options{}) // as `check` looks
	if err != nil {
		t.Fatal(err)
	}
	defer inMemory.Close()
	if _, err := Preview(t.Context(), inMemory, Source{Name: "seen", Dir: dir, Paths: []string{"bad.ndjson"}}); err != nil {
		t.Errorf("without a file: %v", err)
	}
	if _, err := Preview(t.Context(), s, Source{Name: "seen", Dir: dir, Paths: []string{"bad.ndjson"}}); err != nil {
		t.Error(err)
	}
	ingest(t, s, Source{Name: "late", Dir: dir, Paths: []string{"late.ndjson"}})
	ingest(t, s, Source{Name: "u16", Dir: dir, Paths: []string{"u16.ndjson"}})
	ingest(t, s, Source{Name: "bom", Dir: dir, Paths: []string{"bom.json"}})
	if got := table(t, s, `SELECT count(*), max(v), max("new") FROM source.late`); got[0] != "25001|text|1" {
		t.Errorf("got %q", got)
	}
	if got := table(t, s, `SELECT u16.id, bom.id FROM source.u16, source.bom`); got[0] != "ü|1" {
		t.Errorf("got %q", got)
	}
	src = Source{Name: "typed", Dir: dir, Paths: []string{"typed.ndjson"}, Types: map[string]string{"n": "INTEGER", "t": "TIMESTAMP", "f": "INTEGER"}, MaxBadLines: 9}
	ingest(t, s, src)
	if got := table(t, s, "SELECT n, t, f FROM source.typed"); !cmp.Equal(got, []string{"5|2024-06-01 08:00:00|2"}) {
		t.Errorf("got %q", got)
	}
	want := []string{`2|n|column n: "x" is not INTEGER`, `3|n|column n: "1.5" is not INTEGER`, `4|f|column f: "2.5" is not INTEGER`}
	if diff := cmp.Diff(want, table(t, s, `SELECT line, "column", message FROM dm.rejects WHERE source = 'typed' ORDER BY line`)); diff != "" {
		t.Error(diff)
	}
	ingest(t, s, Source{Name: "j", Dir: dir, Paths: []string{"typed.json"}, Types: map[string]string{"n": "INTEGER"}, MaxBadLines: 1})
	if got := table(t, s, "SELECT line, message FROM dm.rejects WHERE source = 'j'"); got[0] != `0|record 2: column n: "x" is not INTEGER` {
		t.Errorf("rejects = %q", got)
	}
	if _, err := Run(t.Context(), s, Source{Name: "cut", Dir: dir, Paths: []string{"cut.json"}}, nil); err == nil || !strings.Contains(err.Error(), "is no JSON: unexpected") {
		t.Errorf("error = %v", err)
	}
}

// TestParquetFilesHaveTheSameColumns: a column that only a later file has would be lost, and
// a whole number's column must not round what another file has there.
func TestParquetFilesHaveTheSameColumns(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	dir := write(t, map[string]string{"no.parquet": "id,name\n", "x.txt": ""})
	if err := os.Mkdir(filepath.Join(dir, "year=2024"), 0o700); err != nil {
		t.Fatal(err)
	}
	for name, query := range map[string]string{"a": "SELECT 1 AS id, 1 AS n", "b": "SELECT 2 AS id, 1.5::DOUBLE AS n", "c": "SELECT 2 AS id, 1 AS n, 3 AS late", "d": "SELECT 1 AS id", "year=2024/x": "SELECT 1 AS id, 2023 AS \"Year\""} {
		if _, err := s.Exec(t.Context(), "COPY ("+query+") TO "+duckstage.Quote(filepath.Join(dir, name+".parquet"))+" (FORMAT parquet)"); err != nil {
			t.Fatal(err)
		}
	}
	ingest(t, s, Source{Name: "ab", Dir: dir, Paths: []string{"a.parquet", "b.parquet"}})
	if got := table(t, s, "SELECT id, n FROM source.ab ORDER BY id"); !cmp.Equal(got, []string{"1|1.0", "2|1.5"}) {
		t.Errorf("got %q", got)
	}
	for _, c := range []struct {
		src  Source
		want string
	}{
		{Source{Paths: []string{"a.parquet", "c.parquet"}}, `c.parquet has a column "late", which a.parquet has not`},
		{Source{Paths: []string{"a.parquet", "d.parquet"}}, `d.parquet has no column "n", which a.parquet has`},
		{Source{Paths: []string{"no.parquet"}}, "no.parquet is no Parquet file, or not a whole one: "},
		{Source{Paths: []string{"year=2024/x.parquet"}, Partition: true}, "the files have a column year, and so have the folders' names: leave partition out"},
	} {
		c.src.Name, c.src.Dir = "x", dir
		if _, err := Run(t.Context(), s, c.src, nil); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("error = %v, want %s", err, c.want)
		}
	}
	ingest(t, s, Source{Name: "typed", Dir: dir, Paths: []string{"b.parquet"}, Types: map[string]string{"n": "INTEGER"}, MaxBadLines: 1})
	if got := table(t, s, "SELECT message FROM dm.rejects"); got[0] != `row 1: column n: "1.5" is not INTEGER` {
		t.Errorf("rejects = %q", got)
	}
}

// TestCutPackedFilesAreRefused: DuckDB reads the beginning of a packed file as if that were all.
func TestCutPackedFilesAreRefused(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	var text strings.Builder
	text.WriteString("id,name\n")
	for i := range 20_000 {
		fmt.Fprintf(&text, "%d,name %d\n", i, i*7919%1000)
	}
	var gz, zs bytes.Buffer
	w := gzip.NewWriter(&gz)
	_, _ = w.Write([]byte(text.String()))
	_ = w.Close()
	z, err := zstd.NewWriter(&zs)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = z.Write([]byte(text.String()))
	_ = z.Close()
	dir := write(t, map[string]string{"whole.csv.gz": gz.String(), "cut.csv.gz": gz.String()[:gz.Len()-3000], "whole.csv.zst": zs.String(), "cut.csv.zst": zs.String()[:zs.Len()-3000], "no.csv.gz": "id\n1\n"})
	for _, name := range []string{"whole.csv.gz", "whole.csv.zst"} {
		if res := ingest(t, s, Source{Name: "p", Dir: dir, Paths: []string{name}}); res.Rows != 20_000 {
			t.Errorf("%s: %+v", name, res)
		}
	}
	for _, name := range []string{"cut.csv.gz", "cut.csv.zst"} {
		if _, err := Run(t.Context(), s, Source{Name: "p", Dir: dir, Paths: []string{name}, MaxBadLines: -1}, nil); err == nil || !strings.Contains(err.Error(), name+" is not whole, or damaged") {
			t.Errorf("%s: error = %v", name, err)
		}
	}
	if _, err := Run(t.Context(), s, Source{Name: "p", Dir: dir, Paths: []string{"no.csv.gz"}}, nil); err == nil || !strings.Contains(err.Error(), "is it packed at all?") {
		t.Errorf("error = %v", err)
	}
	if got := table(t, s, "SELECT count(*) FROM source.p"); got[0] != "20000" {
		t.Errorf("after failures: %v", got)
	}
}

// TestDeclaredTypesDoNotRound: what a declared type would change without a word is set aside.
func TestDeclaredTypesDoNotRound(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	dir := write(t, map[string]string{"a.csv": "id,n,d,t\n1,7.0,10.230,2024-06-01 10:00:00+02:00\n2,1.5,,\n3,1e-1,,\n4,,10.239,\n5,1e2,-3,2024-06-01\n6,,,x\n"})
	types := map[string]string{"n": "INTEGER", "d": "DECIMAL(10,2)", "t": "TIMESTAMP"}
	ingest(t, s, Source{Name: "a", Dir: dir, Paths: []string{"a.csv"}, Types: types, MaxBadLines: 9})
	if got := table(t, s, "SELECT id, n, d, t FROM source.a"); !cmp.Equal(got, []string{"1|7|10.23|2024-06-01 08:00:00", "5|100|-3.00|2024-06-01 00:00:00"}) {
		t.Errorf("got %q", got)
	}
	want := []string{`3|column n: "1.5" is not INTEGER`, `4|column n: "1e-1" is not INTEGER`, `5|column d: "10.239" is not DECIMAL(10,2)`, `7|column t: "x" is not TIMESTAMP`}
	if diff := cmp.Diff(want, table(t, s, "SELECT line, message FROM dm.rejects ORDER BY line")); diff != "" {
		t.Error(diff)
	}
}

// TestCodesAreNoNumbers: DuckDB reads 202401 in 2024_01, and 16 in 0x10.
func TestCodesAreNoNumbers(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	dir := write(t, map[string]string{"a.csv": "n,d\n2024_01,\n0x10,\n0B11,\n,1_5\n7,-7.5\n", "b.ndjson": `{"n":"2024_01","d":"1"}` + "\n" + `{"n":"7","d":"-7.5"}` + "\n"})
	for _, file := range []string{"a.csv", "b.ndjson"} {
		ingest(t, s, Source{Name: "a", Dir: dir, Paths: []string{file}, Types: map[string]string{"n": "INTEGER", "d": "DECIMAL(10,2)"}, MaxBadLines: 9})
		if diff := cmp.Diff([]string{"7|-7.50"}, table(t, s, "SELECT n, d FROM source.a")); diff != "" {
			t.Errorf("%s: %s", file, diff)
		}
	}
}

// TestDeclaredTypesChangeNoText: a type takes a text whole, or not at all, by whichever of its
// names it is declared; blanks are no value. Each bad line is found, behind ones of several
// lines, empty ones and ones that DuckDB refuses, in the second file as well.
func TestDeclaredTypesChangeNoText(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	dir := write(t, map[string]string{
		"a.csv": "k,f,r,i,m,d\n1,2.5,1e3,7,1.25,2024-05-31\n\"2\n\",1_5,,,,\n\n3,0x10,,,,\n4\n5,,1_5,,,\n6,,,1.5,,\n7,,,9007199254740993.5,,\n8,,,,12345678901234567.255,\n" +
			"9, , , , , \n10,,,,,2024-05-31 10:30:00\n11,,,,1.5e1,2024-05-31T00:00:00Z\n",
		"b.csv": "k,f,r,i,m,d\r\n12,-.5,+1,-7,-1,2024-05-31 00:00\r\n13,,,,,2024-02-30\r\n14,,,,,2024-05-31 00:01\r\n",
	})
	src := Source{Name: "a", Dir: dir, Paths: []string{"a.csv", "b.csv"}, MaxBadLines: 20,
		Types: map[string]string{"f": "double precision", "r": "REAL", "i": "INT8", "m": "NUMERIC(20, 2)", "d": "date"}}
	res := ingest(t, s, src)
	if diff := cmp.Diff([]string{"1|2.5|1000.0|7|1.25|2024-05-31", "9|-|-|-|-|-", "11|-|-|-|15.00|2024-05-31", "12|-0.5|1.0|-7|-1.00|2024-05-31"},
		table(t, s, "SELECT k, coalesce(f::VARCHAR, '-'), coalesce(r::VARCHAR, '-'), coalesce(i::VARCHAR, '-'), coalesce(m::VARCHAR, '-'), coalesce(d::VARCHAR, '-') FROM source.a")); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{`a.csv|3|column f: "1_5" is not DOUBLE`, `a.csv|6|column f: "0x10" is not DOUBLE`, `a.csv|7|the line has 1 columns, 6 are expected`, `a.csv|8|column r: "1_5" is not FLOAT`,
		`a.csv|9|column i: "1.5" is not BIGINT`, `a.csv|10|column i: "9007199254740993.5" is not BIGINT`, `a.csv|11|column m: "12345678901234567.255" is not DECIMAL(20,2)`,
		`a.csv|13|column d: "2024-05-31 10:30:00" is not DATE`, `b.csv|3|column d: "2024-02-30" is not DATE`, `b.csv|4|column d: "2024-05-31 00:01" is not DATE`},
		table(t, s, "SELECT file, line, message FROM dm.rejects ORDER BY file, line")); diff != "" {
		t.Error(diff)
	}
	staged := columnTypes(t, s, "a")
	src.Name = "seen"
	if _, err := Preview(t.Context(), s, src); err != nil || res.Rejected != 10 || staged["i"] != "BIGINT" {
		t.Errorf("%d rejected, types %v, %v", res.Rejected, staged, err)
	}
	if diff := cmp.Diff(staged, columnTypes(t, s, "seen")); diff != "" {
		t.Error(diff)
	}
}

// TestRefusedLinesOfWindows: a line behind one that was refused is counted right, too.
func TestRefusedLinesOfWindows(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	dir := write(t, map[string]string{"a.csv": "id,name,n\r\n1,M\xfcller,1\r\n2,Stra\xdfe,2\r\n3\r\n4,\"x\r\ny\",4\r\n5,\xfc,5\r\n6,z,x\r\n"})
	ingest(t, s, Source{Name: "a", Dir: dir, Paths: []string{"a.csv"}, Types: map[string]string{"n": "INTEGER"}, MaxBadLines: 9})
	if got := table(t, s, "SELECT line FROM dm.rejects ORDER BY line"); !cmp.Equal(got, []string{"2", "3", "4", "7", "8"}) {
		t.Errorf("lines %q", got)
	}
}

// TestNamesInsteadOfTheHeader: listed columns go before those of a header that cannot be used.
func TestNamesInsteadOfTheHeader(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	dir := write(t, map[string]string{"a.csv": "id,Name,name,\n1,a,b,\n", "b.csv": "id,Name,name,\n2,a,b,\n", "c.csv": "id,name,Other,\n2,a,b,\n", "sep.csv": "sep=;\r\nid;name\r\n1;a,b\r\n2\r\n", "u16.csv": "i\x00d\x00,\x00"})
	for _, paths := range [][]string{{"a.csv"}, {"a.csv", "b.csv"}} {
		ingest(t, s, Source{Name: "a", Dir: dir, Paths: paths, Columns: []string{"nr", "first", "last", "nothing"}})
		if got := table(t, s, "SELECT nr, first, last FROM source.a WHERE nr = '1'"); !cmp.Equal(got, []string{"1|a|b"}) {
			t.Errorf("got %q", got)
		}
	}
	ingest(t, s, Source{Name: "sep", Dir: dir, Paths: []string{"sep.csv"}, MaxBadLines: 1}) // Excel's line
	if got := table(t, s, "SELECT id, name, (SELECT line FROM dm.rejects) FROM source.sep"); !cmp.Equal(got, []string{"1|a,b|4"}) {
		t.Errorf("got %q", got)
	}
	for _, c := range []struct {
		src  Source
		want string
	}{
		{Source{Paths: []string{"a.csv"}}, `columns 2 and 3 are both called "name": list other names for all columns under columns`},
		{Source{Paths: []string{"a.csv", "c.csv"}, Columns: []string{"a", "b", "c", "d"}}, `c.csv: column 3 of the header is "Other", expected is "name", as in a.csv`},
		{Source{Paths: []string{"a.csv"}, Columns: []string{"a", "b"}}, "a.csv: the header has 4 columns (id, Name, name, ), in columns 2 are listed"},
		{Source{Paths: []string{"u16.csv"}}, "set encoding to utf-16le"},
	} {
		c.src.Name, c.src.Dir = "x", dir
		if _, err := Run(t.Context(), s, c.src, nil); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("error = %v, want %s", err, c.want)
		}
	}
}

func TestLongLines(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	dir := write(t, map[string]string{"a.csv": "id,t\n1,a,b\n2,\"" + strings.Repeat("x", 3_000_000) + "\"\n3,y\n"})
	res := ingest(t, s, Source{Name: "a", Dir: dir, Paths: []string{"a.csv"}, MaxBadLines: 1})
	if got := table(t, s, "SELECT id, length(t) FROM source.a"); !cmp.Equal(got, []string{"2|3000000", "3|1"}) || res.Rejected != 1 {
		t.Errorf("got %q, %+v", got, res)
	}
}

// TestAKeyTwiceInALine: DuckDB ends at the first object that has a key twice. These lines are set
// aside, all of them, whatever is wrong with others.
func TestAKeyTwiceInALine(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	const text = `{"id":1,"a":{"x":1}}
{"id":2,"id":3}
{"id":4,"a":{"x":[{"y":1},{"y":2}]}}
{"id":5,"a":{"x":[{"y":1,"z":{},"y":2}]}}
{"id":6,
`
	if err := os.WriteFile(filepath.Join(dir, "a.ndjson"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	s := newStage(t)
	if res := ingest(t, s, Source{Name: "a", Dir: dir, Paths: []string{"a.ndjson"}, MaxBadLines: 3}); res.Rows != 2 || res.Rejected != 3 {
		t.Errorf("result = %+v", res)
	}
	got := table(t, s, "SELECT line, message FROM dm.rejects ORDER BY line LIMIT 2")
	if diff := cmp.Diff([]string{`2|an object of the line has the key "id" twice`, `4|an object of the line has the key "y" twice`}, got); diff != "" {
		t.Error(diff)
	}
}
