package ingest

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/japanese"
	"golang.org/x/text/encoding/unicode"

	"dvmigrate/duckstage"
)

func newStage(t *testing.T) *duckstage.Stage {
	t.Helper()
	s, err := duckstage.Open(t.Context(), filepath.Join(t.TempDir(), "stage.duckdb"), duckstage.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// write puts files into a new folder and returns it.
func write(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// table reads a query as one line a row, values separated by bars, null as <null>.
func table(t *testing.T, s *duckstage.Stage, query string) []string {
	t.Helper()
	var out []string
	err := s.Rows(t.Context(), "SELECT concat_ws('|', *COLUMNS(*)) FROM ("+query+")", nil, func(scan func(...any) error) error {
		var line string
		defer func() { out = append(out, line) }()
		return scan(&line)
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func ingest(t *testing.T, s *duckstage.Stage, src Source) Result {
	t.Helper()
	res, err := Run(t.Context(), s, src, nil)
	if err != nil {
		t.Fatal(err)
	}
	return res
}

func TestTextStaysText(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	dir := write(t, map[string]string{"a.csv": "id,amount,day,note\n007,12345678901234567890.10,31/12/2020,\"a, \"\"b\"\"\nsecond line\"\n0x1F,1e5,,NULL\n"})
	res := ingest(t, s, Source{Name: "a", Dir: dir, Paths: []string{"a.csv"}, Null: []string{"NULL"}})
	if res.Rows != 2 || res.Rejected != 0 || res.Files[0] != "a.csv" {
		t.Errorf("result = %+v", res)
	}
	got := table(t, s, "SELECT coalesce(id, '<null>'), amount, coalesce(day, '<null>'), coalesce(note, '<null>') FROM source.a")
	want := []string{"007|12345678901234567890.10|31/12/2020|a, \"b\"\nsecond line", "0x1F|1e5|<null>|<null>"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if got := table(t, s, `SELECT name, files, "rows", rejected, arrival = (SELECT max(dm_created_at) FROM source.a) FROM dm.sources`); got[0] != "a|1|2|0|true" {
		t.Errorf("sources = %v", got)
	}
}

func TestBadLinesAreSetAside(t *testing.T) {
	t.Parallel()
	text := "id,name,x\n1,\"a\nb\",c\n2,b\n3,b,c,d\n4,\xff\xfe,z\n5,\"q\"r,z\n6,ok,z\n"
	want := []string{
		"bad.csv|4|the line has 2 columns, 3 are expected|2,b",
		"bad.csv|5|the line has 4 columns, 3 are expected|3,b,c,d",
		"bad.csv|6|the line is not UTF-8: set the encoding, such as windows-1252|4,??,z",
		"bad.csv|7|a quoted value is not closed, or text follows its closing quote|5,\"q\"r,z",
	}
	for _, c := range []struct{ name, file string }{{"a plain file", "bad.csv"}, {"a packed file", "bad.csv.gz"}} {
		t.Run(c.name, func(t *testing.T) {
			s, content := newStage(t), text
			if strings.HasSuffix(c.file, ".gz") {
				content = pack(t, text)
			}
			dir := write(t, map[string]string{c.file: content})
			src := Source{Name: "bad", Dir: dir, Paths: []string{c.file}, MaxBadLines: 4}
			if res := ingest(t, s, src); res.Rows != 2 || res.Rejected != 4 {
				t.Errorf("result = %+v", res)
			}
			got := table(t, s, `SELECT replace(file, '.gz', ''), line, message, "text" FROM dm.rejects ORDER BY line`)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
			src.MaxBadLines = 3
			_, err := Run(t.Context(), s, src, nil)
			var bad *BadLinesError
			if !errors.As(err, &bad) || bad.Count != 4 || bad.First[0].Line != 4 || !strings.Contains(err.Error(), "line 5: the line has 4 columns") {
				t.Errorf("error = %v", err)
			}
			if got := table(t, s, "SELECT count(*) FROM source.bad"); got[0] != "2" {
				t.Errorf("a refused run has changed the table: %v rows", got)
			}
		})
	}
}

func pack(t *testing.T, text string) string {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err := z.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestRefusedBeforeTheFirstRow(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	dir := write(t, map[string]string{
		"semi.csv": "id;name;town\n1;a;b\n", "tab.txt": "id\tname\n1\ta\n", "twice.csv": "id,Name,name\n", "empty.csv": "",
		"noname.csv": "id,,x\n1,2,3\n", "one.csv": "id,name\n1,a\n", "two.csv": "id,nam\n1,a\n", "raw.csv": "1,2,3\n", "reserved.csv": "id,dm_file\n",
	})
	for _, c := range []struct {
		name string
		src  Source
		want string
	}{
		{"a missing file", Source{Paths: []string{"nosuch.csv"}}, "source x: no file " + filepath.Join(dir, "nosuch.csv")},
		{"a pattern without a match", Source{Paths: []string{"*.parquet"}}, "no file"},
		{"no path", Source{}, "no path"},
		{"semicolons read with commas", Source{Paths: []string{"semi.csv"}}, "full of semicolon (;)"},
		{"tabs read with commas", Source{Paths: []string{"tab.txt"}}, "full of tab"},
		{"commas read with tabs, no header", Source{Paths: []string{"raw.csv"}, Delimiter: "tab", NoHeader: true, Columns: []string{"a", "b"}}, "full of comma"},
		{"two columns of one name", Source{Paths: []string{"twice.csv"}}, "columns 2 and 3 are both called \"name\""},
		{"a column without a name", Source{Paths: []string{"noname.csv"}}, "column 2 has no name"},
		{"a reserved name", Source{Paths: []string{"reserved.csv"}}, "dm_file"},
		{"an empty file", Source{Paths: []string{"empty.csv"}}, "the file is empty"},
		{"files with different headers", Source{Paths: []string{"one.csv", "two.csv"}}, `two.csv: column 2 of the header is "nam", expected is "name"`},
		{"a header that is not the listed one", Source{Paths: []string{"one.csv"}, Columns: []string{"id"}}, `the header has 2 columns (id, name), in columns 1 are listed`},
		{"no header and no columns", Source{Paths: []string{"raw.csv"}, NoHeader: true}, "columns must be listed"},
		{"the wrong number of columns", Source{Paths: []string{"raw.csv"}, NoHeader: true, Columns: []string{"a", "b"}}, "the first line has 3 columns, 2 are listed"},
		{"an unknown encoding", Source{Paths: []string{"one.csv"}, Encoding: "klingon"}, `encoding "klingon" is not known`},
		{"an unknown format", Source{Paths: []string{"one.csv"}, Format: "xml"}, `format "xml" is not known`},
		{"a type for no column", Source{Paths: []string{"one.csv"}, Types: map[string]string{"age": "INTEGER"}}, `a type is given for "age"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.src.Name, c.src.Dir = "x", dir
			_, err := Run(t.Context(), s, c.src, nil)
			if err == nil || !strings.Contains(err.Error(), c.want) || !strings.HasPrefix(err.Error(), "ingest source x: ") {
				t.Errorf("error = %v, want %q", err, c.want)
			}
		})
	}
}

func TestEncodings(t *testing.T) {
	t.Parallel()
	text := "id,name\n1,größe €\n2,Ünïted\n"
	encode := func(s string, err error) string {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	files := map[string]string{
		"utf-8":        text,
		"UTF-8":        "\xEF\xBB\xBF" + text,
		"utf-16":       encode(unicode.UTF16(unicode.LittleEndian, unicode.UseBOM).NewEncoder().String(text)),
		"utf-16be":     encode(unicode.UTF16(unicode.BigEndian, unicode.IgnoreBOM).NewEncoder().String(text)),
		"windows-1252": encode(charmap.Windows1252.NewEncoder().String(text)),
		"iso-8859-15":  encode(charmap.ISO8859_15.NewEncoder().String(text)),
		"latin-9":      encode(charmap.ISO8859_15.NewEncoder().String(text)),
	}
	for encoding, content := range files {
		t.Run(encoding, func(t *testing.T) {
			s, dir := newStage(t), write(t, map[string]string{"a.csv": content})
			ingest(t, s, Source{Name: "a", Dir: dir, Paths: []string{"a.csv"}, Encoding: encoding})
			if got := table(t, s, "SELECT id, name FROM source.a"); !cmp.Equal(got, []string{"1|größe €", "2|Ünïted"}) {
				t.Errorf("rows = %q", got)
			}
		})
	}
	t.Run("bytes that mean nothing in the encoding", func(t *testing.T) {
		s := newStage(t)
		dir := write(t, map[string]string{"a.csv": encode(japanese.ShiftJIS.NewEncoder().String("id,name\n1,東京\n")) + "2,\x85\x20\n3,ok\n"})
		res := ingest(t, s, Source{Name: "a", Dir: dir, Paths: []string{"a.csv"}, Encoding: "shift_jis", MaxBadLines: 1})
		if res.Rejected != 1 || res.Rows != 2 {
			t.Errorf("result = %+v", res)
		}
		if got := table(t, s, "SELECT line, message FROM dm.rejects"); got[0] != "3|the line is not shift_jis: is that the file's encoding?" {
			t.Errorf("rejects = %q", got)
		}
	})
}

func TestUnusualRowsAndDelimiters(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	dir := write(t, map[string]string{
		"bulk.csv":  "1+|first\nsecond \"x\", y+|a&|\n2+|+|&|\n3+|short&|\r\n4+|last+|z&|",
		"quote.txt": "id<=>text<;>\n1<=>\"a<;>\n\"\"b\"\"\"<;>\n2<=>c<=>d<;>\n",
		"mixed.csv": "id,name\r\n1,a\n2,b\r\n3\n",
	})
	ingest(t, s, Source{Name: "bulk", Dir: dir, Paths: []string{"bulk.csv"}, Delimiter: "+|", RowEnd: "&|", Quote: NoQuote, NoHeader: true, Columns: []string{"id", "t", "u"}, MaxBadLines: 1})
	want := []string{"1|first\nsecond \"x\", y|a", "2|<null>|<null>", "4|last|z"}
	if got := table(t, s, "SELECT id, coalesce(t,'<null>'), coalesce(u,'<null>') FROM source.bulk"); !cmp.Equal(got, want) {
		t.Errorf("rows = %q", got)
	}
	if got := table(t, s, `SELECT line, message, "text" FROM dm.rejects`); got[0] != "4|the line has 2 columns, 3 are expected|3+|short" {
		t.Errorf("rejects = %q", got)
	}
	ingest(t, s, Source{Name: "q", Dir: dir, Paths: []string{"quote.txt"}, Delimiter: "<=>", RowEnd: "<;>", MaxBadLines: 1})
	if got := table(t, s, "SELECT id, text FROM source.q"); !cmp.Equal(got, []string{"1|a<;>\n\"b\""}) {
		t.Errorf("rows = %q", got)
	}
	res := ingest(t, s, Source{Name: "mixed", Dir: dir, Paths: []string{"mixed.csv"}, MaxBadLines: -1})
	if got := table(t, s, "SELECT id, name FROM source.mixed"); !cmp.Equal(got, []string{"1|a", "2|b"}) || res.Rejected != 1 {
		t.Errorf("rows = %q, result %+v", got, res)
	}
}

func TestDeclaredTypesSetLinesAside(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	dir := write(t, map[string]string{"a.csv": "id,born,name\n1,2020-01-02,a\nx,2020-01-02,b\n3,2020-13-01,c\n", "b.csv": "id,born,name&|\n1,2020-01-02,a&|\nx,2020-01-02,b&|\n"})
	types := map[string]string{"ID": "INTEGER", "born": "DATE"}
	ingest(t, s, Source{Name: "a", Dir: dir, Paths: []string{"a.csv"}, Types: types, MaxBadLines: 2})
	if got := table(t, s, "SELECT typeof(id), typeof(born), typeof(name) FROM source.a"); !cmp.Equal(got, []string{"INTEGER|DATE|VARCHAR"}) {
		t.Errorf("types = %q", got)
	}
	got := table(t, s, `SELECT line, "column", message FROM dm.rejects ORDER BY line`)
	if len(got) != 2 || !strings.HasPrefix(got[0], "3|id|column id: ") || !strings.HasPrefix(got[1], "4|born|column born: ") {
		t.Errorf("rejects = %q", got)
	}
	ingest(t, s, Source{Name: "b", Dir: dir, Paths: []string{"b.csv"}, Types: types, RowEnd: "&|", MaxBadLines: 2})
	if got := table(t, s, `SELECT line, "column", "text" FROM dm.rejects WHERE source = 'b'`); !cmp.Equal(got, []string{"3|id|x, 2020-01-02, b"}) {
		t.Errorf("rejects of a rewritten file = %q", got)
	}
	ingest(t, s, Source{Name: "auto", Dir: dir, Paths: []string{"a.csv"}, AutoTypes: true, Types: map[string]string{"born": "VARCHAR"}, MaxBadLines: 1})
	if got := table(t, s, "SELECT DISTINCT typeof(born), typeof(name) FROM source.auto"); !cmp.Equal(got, []string{"VARCHAR|VARCHAR"}) {
		t.Errorf("guessed types = %q", got)
	}
}

func TestSeveralFilesAndOtherFormats(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	dir := write(t, map[string]string{
		"p[1].csv": "id\n1\n", "p2.csv": "id\n2\n", "a.ndjson": "{\"id\":1,\"n\":{\"x\":[1,2]}}\n{\"id\":2}\n", "a.json": `[{"id":"001"},{"id":"b"}]`,
	})
	if _, err := s.Exec(t.Context(), "COPY (SELECT 7 AS id, DATE '2020-01-01' AS d) TO "+duckstage.Quote(filepath.Join(dir, "x.parquet"))); err != nil {
		t.Fatal(err)
	}
	res := ingest(t, s, Source{Name: "p", Dir: dir, Paths: []string{"p[[]1].csv", "p?.csv", "p2.csv"}})
	if diff := cmp.Diff([]string{"p2.csv", "p[1].csv"}, res.Files); diff != "" {
		t.Error(diff)
	}
	if got := table(t, s, "SELECT id, dm_file FROM source.p ORDER BY id"); !cmp.Equal(got, []string{"1|p[1].csv", "2|p2.csv"}) {
		t.Errorf("rows = %q", got)
	}
	ingest(t, s, Source{Name: "n", Dir: dir, Paths: []string{"a.ndjson"}})
	ingest(t, s, Source{Name: "j", Dir: dir, Paths: []string{"a.json"}})
	ingest(t, s, Source{Name: "x", Dir: dir, Paths: []string{"x.parquet", "x.parquet"}})
	if got := table(t, s, "SELECT (SELECT sum(n.x[2]) FROM source.n), (SELECT min(id) FROM source.j), (SELECT typeof(d) FROM source.x)"); !cmp.Equal(got, []string{"2|001|DATE"}) {
		t.Errorf("rows = %q", got)
	}
}

func TestProgressAndCancel(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	var b strings.Builder
	b.WriteString("id,text\n")
	for i := range 400_000 {
		fmt.Fprintf(&b, "%d,%s\n", i, strings.Repeat("x", i%90))
	}
	dir := write(t, map[string]string{"a.csv": b.String()})
	src := Source{Name: "a", Dir: dir, Paths: []string{"a.csv"}, RowEnd: "\n"}
	var last, total int64
	res, err := Run(t.Context(), s, src, func(done, all int64) {
		if done < last {
			t.Errorf("progress went back from %d to %d", last, done)
		}
		last, total = done, all
	})
	if err != nil || last != total || total != res.Bytes || res.Rows != 400_000 {
		t.Errorf("progress ended at %d of %d, %+v, %v", last, total, res, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Run(ctx, s, src, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled run: %v", err)
	}
	if got := table(t, s, "SELECT count(*), (SELECT count(*) FROM duckdb_tables() WHERE table_name LIKE 'new%') FROM source.a"); got[0] != "400000|0" {
		t.Errorf("after a cancelled run: %v", got)
	}
}
