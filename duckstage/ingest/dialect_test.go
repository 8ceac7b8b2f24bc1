package ingest

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/zstd"
	"golang.org/x/text/encoding/unicode"
)

func TestLocaleNumbersAndDates(t *testing.T) {
	t.Parallel()
	text := "id;amount;swiss;french;day;moment\n" +
		"1;1.234,56;1'234.50;1\u00a0234,5;31.12.2024;4/4/2019 7:22:50 PM\n" +
		"2;-0,5;7;1\u202f234;1.2.24;12/31/2019 12:00:00 AM\n" +
		"3;12,00-;;;;\n"
	formats := map[string]Format{
		"AMOUNT": {Decimal: ",", Thousands: ".", Type: "DECIMAL(12,2)"}, "swiss": {Thousands: "'"}, "french": {Decimal: ",", Thousands: " "},
		"day": {Layouts: []string{"%d.%m.%Y", "%d.%m.%y"}}, "moment": {Layouts: []string{"%m/%d/%Y %I:%M:%S %p"}},
	}
	bad := "4;1.5;7;7;1.1.2024;1/1/2020 1:00:00 AM\n5;1;7;7;30.02.2024;1/1/2020 1:00:00 AM\n6;2,5;7;7;1.1.2024;1/1/2020 1:00:00 AM\n"
	s := newStage(t)
	dir := write(t, map[string]string{"good.csv": text, "bad.csv": text + "x;y\n" + bad})
	src := Source{Name: "a", Dir: dir, Paths: []string{"good.csv"}, Delimiter: ";", Formats: formats}
	ingest(t, s, src)
	want := []string{"1|1234.56|1234.5000000000|1234.5000000000|2024-12-31|2019-04-04 19:22:50", "2|-0.50|7.0000000000|1234.0000000000|2024-02-01|2019-12-31 00:00:00", "3|-12.00"}
	if diff := cmp.Diff(want, table(t, s, "SELECT * EXCLUDE (dm_created_at, dm_source) FROM source.a")); diff != "" {
		t.Error(diff)
	}
	if got := table(t, s, "SELECT DISTINCT typeof(amount), typeof(day), typeof(moment) FROM source.a"); got[0] != "DECIMAL(12,2)|DATE|TIMESTAMP" {
		t.Errorf("types = %v", got)
	}
	src.Paths, src.MaxBadLines = []string{"bad.csv"}, 3
	if res := ingest(t, s, src); res.Rows != 4 || res.Rejected != 3 {
		t.Errorf("result = %+v", res)
	}
	got := table(t, s, `SELECT file, line, "column", message FROM dm.rejects ORDER BY line`)
	if diff := cmp.Diff([]string{"bad.csv|5||the line has 2 columns, 6 are expected",
		`bad.csv|6|amount|column amount: "1.5" is not a number with decimal mark , and "." between thousands`,
		`bad.csv|7|day|column day: "30.02.2024" is not written %d.%m.%Y or %d.%m.%y`}, got); diff != "" {
		t.Error(diff)
	}
	src.MaxBadShare = 0.43
	ingest(t, s, src)
	src.MaxBadShare = 0.1
	var e *BadLinesError
	if _, err := Run(t.Context(), s, src, nil); !errors.As(err, &e) || !strings.Contains(err.Error(), "3 of 7 lines (42.9 %) cannot be read, 10 % are allowed") {
		t.Errorf("error = %v", err)
	}
}

func TestFormatsThatMeanNothing(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	dir := write(t, map[string]string{"a.csv": "id,x\n1,2\n"})
	for _, c := range []struct {
		formats map[string]Format
		want    string
	}{
		{map[string]Format{"y": {Decimal: ","}}, `a type is given for "y", which is no column`},
		{map[string]Format{"x": {}}, "neither format nor decimal nor thousands is given"},
		{map[string]Format{"x": {Decimal: ".", Thousands: "."}}, "decimal and thousands are both"},
		{map[string]Format{"x": {Layouts: []string{"dd.mm.yyyy"}}}, "has no parts such as %d"},
	} {
		if _, err := Run(t.Context(), s, Source{Name: "a", Dir: dir, Paths: []string{"a.csv"}, Formats: c.formats}, nil); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("error = %v, want %s", err, c.want)
		}
	}
}

func TestDialects(t *testing.T) {
	t.Parallel()
	le, err := unicode.UTF16(unicode.LittleEndian, unicode.UseBOM).NewEncoder().String("id;name\r\n1;\"Jö;rg\"\r\n2;x\r\n")
	if err != nil {
		t.Fatal(err)
	}
	be, err := unicode.UTF16(unicode.BigEndian, unicode.UseBOM).NewEncoder().String("id;name\n1;Jö\n2;x\n")
	if err != nil {
		t.Fatal(err)
	}
	enc, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	packed := string(enc.EncodeAll([]byte("id;name\n1;Jö\n2;x\n3\n"), nil))
	for _, c := range []struct {
		name, file, text string
		src              Source
		want             []string
		bad              int64
	}{
		{"UTF-16 with its mark, little-endian, not declared", "a.csv", le, Source{Delimiter: ";"}, []string{"1|Jö;rg", "2|x"}, 0},
		{"UTF-16 with its mark, big-endian, not declared", "a.csv", be, Source{Delimiter: ";"}, []string{"1|Jö", "2|x"}, 0},
		{"Windows-1252, a line end within quotes that is Windows's, rows too", "a.csv", "id;name\r\n1;\"J\xf6\r\nrg \"\"x\"\"\"\r\n2;x\r\n", Source{Delimiter: ";", Encoding: "windows-1252"}, []string{"1|Jö\r\nrg \"x\"", "2|x"}, 0},
		{"the same within quotes, rows end otherwise", "a.csv", "id;name\n1;\"J\xf6\r\nrg\"\n2;\"x\ny\"\n", Source{Delimiter: ";", Encoding: "windows-1252"}, []string{"1|Jö\r\nrg", "2|x\ny"}, 0},
		{"a header with a line end, as in Excel", "a.csv", "id;\"na\nme\"\r\n1;x\r\n2;\"y\nz\"\r\n", Source{Delimiter: ";", Columns: []string{"id", "name"}}, []string{"1|x", "2|y\nz"}, 0},
		{"a mark of UTF-8", "a.csv", "\uFEFFid;name\n1;Jö\n2;x\n", Source{Delimiter: ";"}, []string{"1|Jö", "2|x"}, 0},
		{"packed with zstd", "a.csv.zst", packed, Source{Delimiter: ";"}, []string{"1|Jö", "2|x"}, 1},
		{"packed with gzip, Windows-1252", "a.txt.gz", pack(t, "id\tname\n1\tJ\xf6\n2\t\x80\n"), Source{Delimiter: "tab", Encoding: "windows-1252"}, []string{"1|Jö", "2|€"}, 0},
		{"backslash before quotes", "a.csv", "id,name\n1,\"say \\\"hi\\\", ok\"\n2,\"two\nlines\"\n", Source{Escape: `\`}, []string{`1|say "hi", ok`, "2|two\nlines"}, 0},
		{"a separator of five characters", "a.csv", "id<-+->name\n1<-+->a,b\n", Source{Delimiter: "<-+->"}, []string{"1|a,b"}, 0},
		{"a zero byte", "a.csv", "id,name\n1,a\x00b\n2,x\n", Source{}, []string{"1|a\x00b", "2|x"}, 0},
		{"no line end at the end", "a.csv", "id,name\r\n1,a\r\n2,b", Source{}, []string{"1|a", "2|b"}, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newStage(t)
			c.src.Name, c.src.Dir, c.src.Paths, c.src.MaxBadLines = "a", write(t, map[string]string{c.file: c.text}), []string{c.file}, -1
			res := ingest(t, s, c.src)
			if diff := cmp.Diff(c.want, table(t, s, "SELECT id, name FROM source.a")); diff != "" || res.Rejected != c.bad {
				t.Errorf("%s result %+v", diff, res)
			}
		})
	}
}

func TestPartitions(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	dir := t.TempDir()
	for _, p := range []string{"year=2023/country=DE", "year=2024/country=C%20H", "year=2025/country=__HIVE_DEFAULT_PARTITION__"} {
		if err := os.MkdirAll(filepath.Join(dir, p), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, p, "a.csv"), []byte("id\n"+p[5:9]+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Exec(t.Context(), "COPY (SELECT 7 AS id) TO '"+filepath.Join(dir, p, "a.parquet")+"'"); err != nil {
			t.Fatal(err)
		}
	}
	for _, ext := range []string{"csv", "parquet"} {
		src := Source{Name: "p", Dir: dir, Paths: []string{"year=*/country=*/a." + ext}, Partition: true}
		ingest(t, s, src)
		want := []string{"2023|DE|p|year=2023/country=DE/a." + ext, "2024|C H|p|year=2024/country=C%20H/a." + ext, "2025|p|year=2025/country=__HIVE_DEFAULT_PARTITION__/a." + ext}
		if diff := cmp.Diff(want, table(t, s, "SELECT year, country, dm_source, dm_file FROM source.p ORDER BY ALL")); diff != "" {
			t.Error(diff)
		}
		if _, err := Preview(t.Context(), s, Source{Name: "q", Dir: dir, Paths: src.Paths, Partition: true}); err != nil {
			t.Error(err)
		}
	}
}
