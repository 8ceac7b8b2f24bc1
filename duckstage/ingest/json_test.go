package ingest

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"dvmigrate/duckstage"
)

// TestTextsOfJSONStayTexts: what looks like a date, a time or a GUID is what the file has,
// unless the settings say more; and these make it of the file's text.
func TestTextsOfJSONStayTexts(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	const line = `{"no":"01-02-03","day":"05-06-2024","at":"2024-05-01T10:00:00+02:00","clock":"00:15","id":"6F9619FF-8B86-D011-B42D-00C04FC964FF","in":{"no":"01-02-03","time":"00:15","ids":["6F9619FF-8B86-D011-B42D-00C04FC964FF"]},"list":["01-02-03"],"n":12345678901234567890.5,"line":"a","line_1":"00:16"}`
	dir := write(t, map[string]string{"a.ndjson": line + "\n", "b.json": "[" + line + "]", "c.ndjson": line + "\n"})
	want := []string{"01-02-03|05-06-2024|2024-05-01T10:00:00+02:00|00:15|6F9619FF-8B86-D011-B42D-00C04FC964FF|01-02-03|00:15|6F9619FF-8B86-D011-B42D-00C04FC964FF|01-02-03|a|00:16"}
	for _, file := range []string{"a.ndjson", "b.json"} {
		ingest(t, s, Source{Name: "a", Dir: dir, Paths: []string{file}})
		if diff := cmp.Diff(want, table(t, s, `SELECT "no", day, "at", clock, id, "in".no, "in".time, "in".ids[1], list[1], line, line_1 FROM source.a`)); diff != "" {
			t.Errorf("%s: %s", file, diff)
		}
	}
	src := Source{Name: "c", Dir: dir, Paths: []string{"c.ndjson"}, Types: map[string]string{"at": "TIMESTAMP", "id": "UUID", "in": "JSON", "n": "VARCHAR"}, Formats: map[string]Format{"day": {Layouts: []string{"%d-%m-%Y"}}}}
	ingest(t, s, src)
	if diff := cmp.Diff([]string{"2024-06-05|2024-05-01 08:00:00|6f9619ff-8b86-d011-b42d-00c04fc964ff|01-02-03"}, table(t, s, `SELECT day, "at", id, "in"->>'no' FROM source.c`)); diff != "" {
		t.Error(diff)
	}
	src.Name = "seen"
	if _, err := Preview(t.Context(), s, src); err != nil {
		t.Error(err)
	}
	if got := columnTypes(t, s, "seen"); got["day"] != "DATE" || got["at"] != "TIMESTAMP" || got["clock"] != "VARCHAR" {
		t.Errorf("check sees %v", got)
	}
}

// TestKeysOfJSONStayAsTheyWere: columns of a stage that have a type that was guessed from
// texts keep it, in feeds of changes, too: the keys made of them would be others.
func TestKeysOfJSONStayAsTheyWere(t *testing.T) {
	t.Parallel()
	const one = `{"id":"6F9619FF-8B86-D011-B42D-00C04FC964FF","at":"2024-05-01T12:00:00+02:00","day":"05-06-2024","clock":"00:15","in":{"id":"6F9619FF-8B86-D011-B42D-00C04FC964FF"},"no":"6F9619FF-8B86-D011-B42D-00C04FC964FF"}` + "\n"
	dir := write(t, map[string]string{"a.ndjson": one + strings.ReplaceAll(one, "FF-8B", "FE-8B"), "b.ndjson": one + "{\"id\":\"x\"}\n"})
	for _, feed := range []Feed{{}, {Key: []string{"id"}}} {
		s := newStage(t)
		src := Source{Name: "a", Dir: dir, Paths: []string{"a.ndjson"}, Feed: feed}
		before := src
		before.Types = map[string]string{"id": "UUID", "at": "TIMESTAMP", "clock": "TIME", "in": "STRUCT(id UUID)"}
		before.Formats = map[string]Format{"day": {Layouts: []string{"%m-%d-%Y"}}}
		ingest(t, s, before)
		want := []string{
			"6f9619fe-8b86-d011-b42d-00c04fc964ff|2024-05-01 10:00:00|00:15:00|6f9619fe-8b86-d011-b42d-00c04fc964ff",
			"6f9619ff-8b86-d011-b42d-00c04fc964ff|2024-05-01 10:00:00|00:15:00|6f9619ff-8b86-d011-b42d-00c04fc964ff"}
		for range 2 {
			res := ingest(t, s, src)
			if diff := cmp.Diff(want, table(t, s, `SELECT id, "at", clock, "in".id FROM source.a ORDER BY id`)); diff != "" {
				t.Errorf("%v: %s", feed.Key, diff)
			}
			if notes := strings.Join(res.Notes, "\n"); !strings.Contains(notes, "`types: {id: UUID}`") {
				t.Errorf("notes %q", notes)
			}
		}
		if len(feed.Key) == 0 {
			if got := columnTypes(t, s, "a"); got["day"] != "VARCHAR" || got["at"] != "TIMESTAMP" {
				t.Errorf("types %v: 05-06-2024 is two dates", got)
			}
			src.Paths = []string{"b.ndjson"}
			if notes := strings.Join(ingest(t, s, src).Notes, "\n"); !strings.Contains(notes, "id was UUID and is text now") {
				t.Errorf("notes %q", notes)
			}
		}
	}
}

// TestTruthOfJSONIsANumber: true is 1 where a whole number is declared.
func TestTruthOfJSONIsANumber(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	dir := write(t, map[string]string{"a.ndjson": `{"active":true,"said":true}` + "\n" + `{"active":false}` + "\n"})
	ingest(t, s, Source{Name: "a", Dir: dir, Paths: []string{"a.ndjson"}, Types: map[string]string{"active": "INTEGER", "said": "VARCHAR"}})
	if diff := cmp.Diff([]string{"1|true", "0|-"}, table(t, s, "SELECT active, coalesce(said, '-') FROM source.a")); diff != "" {
		t.Error(diff)
	}
}

// TestWholeNumbersOfJSONStayWhole: numbers beyond 64 bits, and long ones beside fractions,
// were DOUBLE and lost digits; numbers that DOUBLE holds stay so.
func TestWholeNumbersOfJSONStayWhole(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	dir := write(t, map[string]string{
		"a.ndjson": `{"id":1,"n":9223372036854775808,"mixed":12345678901234567,"f":1.5,"e":1e300}` + "\n" + `{"id":2,"n":-9223372036854775809,"mixed":0.5,"f":9007199254740992}` + "\n",
		"b.ndjson": `{"A":1,"a":12345678901234567890,"a_1":1.5}` + "\n",
	})
	src := Source{Name: "seen", Dir: dir, Paths: []string{"a.ndjson"}}
	if _, err := Preview(t.Context(), s, src); err != nil {
		t.Fatal(err)
	}
	types := map[string]string{"id": "BIGINT", "n": "HUGEINT", "mixed": "VARCHAR", "f": "DOUBLE", "e": "DOUBLE"}
	for name, want := range types {
		if got := columnTypes(t, s, "seen")[name]; got != want {
			t.Errorf("check sees %s as %s", name, got)
		}
	}
	src.Name = "a"
	res := ingest(t, s, src)
	if diff := cmp.Diff([]string{"9223372036854775808|12345678901234567|1.5|1e+300", "-9223372036854775809|0.5|9007199254740992.0"}, table(t, s, "SELECT n, mixed, f::VARCHAR, e FROM source.a ORDER BY id")); diff != "" {
		t.Error(diff)
	}
	if len(res.Notes) != 1 || res.Rows != 2 {
		t.Errorf("%d rows, notes %q", res.Rows, res.Notes)
	}
	ingest(t, s, Source{Name: "b", Dir: dir, Paths: []string{"b.ndjson"}}) // keys that differ in case alone: as DuckDB calls them
	if got := table(t, s, "SELECT count(*) FROM source.b WHERE a IS NOT NULL"); !slices.Equal(got, []string{"1"}) {
		t.Errorf("rows = %v", got)
	}
}

// TestGuessedTypesOfTextChangeNoValue: types: auto takes no text for a date that it may not
// be, nor a number of many digits for one that keeps fifteen.
func TestGuessedTypesOfTextChangeNoValue(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	dir := write(t, map[string]string{"a.csv": "id,acct,day,no,clock,at,born,price,phone,small,said\n" +
		"1,12345678901234567890,05-06-2024,01-02-03,10:30,05-06-2024 10:00:00,2024-05-06,1.5,+4930123456,007,12345678901234567890\n" +
		"2,12345678901234567891,07-08-2024,02-03-04,11:30,07-08-2024 11:00:00,2024-05-07,2.25,+4930123457,008,12345678901234567891\n"})
	res := ingest(t, s, Source{Name: "a", Dir: dir, Paths: []string{"a.csv"}, AutoTypes: true, Types: map[string]string{"said": "HUGEINT"}})
	if diff := cmp.Diff([]string{"1|12345678901234567890|05-06-2024|01-02-03|10:30|05-06-2024 10:00:00|2024-05-06|1.5|+4930123456|007|12345678901234567890",
		"2|12345678901234567891|07-08-2024|02-03-04|11:30|07-08-2024 11:00:00|2024-05-07|2.25|+4930123457|008|12345678901234567891"},
		table(t, s, `SELECT id, acct, day, "no", clock, "at", born, price, phone, small, said FROM source.a`)); diff != "" {
		t.Error(diff)
	}
	got := columnTypes(t, s, "a")
	if diff := cmp.Diff(map[string]string{"id": "BIGINT", "born": "DATE", "price": "DOUBLE", "acct": "VARCHAR", "no": "VARCHAR"},
		map[string]string{"id": got["id"], "born": got["born"], "price": got["price"], "acct": got["acct"], "no": got["no"]}); diff != "" {
		t.Error(diff)
	}
	if len(res.Notes) != 2 || res.Rows != 2 { // acct, small
		t.Errorf("%d rows, notes %q", res.Rows, res.Notes)
	}
	notes, err := Preview(t.Context(), s, Source{Name: "seen", Dir: dir, Paths: []string{"a.csv"}, AutoTypes: true, Types: map[string]string{"said": "HUGEINT"}})
	if err != nil || len(notes) > 0 {
		t.Error(notes, err)
	}
	if diff := cmp.Diff(got, columnTypes(t, s, "seen")); diff != "" {
		t.Errorf("check sees others: %s", diff)
	}
}

// TestGuessedTypesLookAtAllRows: a row far behind decides as well.
func TestGuessedTypesLookAtAllRows(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	text := "n,w,yes,hex,power,long,ok,flag\n" + strings.Repeat("12,7,yes,0x10,12E4,1234567890123.4567,-4,true\n", 250_000) + "00123,7.6,no,0x11,3E1,0.5,0,False\n"
	src := Source{Name: "late", Dir: write(t, map[string]string{"late.csv": text, "u16.csv": "n\n1\n"}), Paths: []string{"late.csv"}, AutoTypes: true}
	ingest(t, s, src)
	want := map[string]string{"n": "VARCHAR", "w": "DOUBLE", "yes": "VARCHAR", "hex": "VARCHAR", "power": "VARCHAR", "long": "VARCHAR", "ok": "BIGINT", "flag": "BOOLEAN"}
	got := columnTypes(t, s, "late")
	for name, typ := range want {
		if got[name] != typ {
			t.Errorf("%s is %s, want %s", name, got[name], typ)
		}
	}
	if got := table(t, s, "SELECT n, w, ok, flag FROM source.late WHERE n <> '12'"); !slices.Equal(got, []string{"00123|7.6|0|false"}) {
		t.Errorf("the last row: %q", got)
	}
	src.Name = "seen"
	if notes, err := Preview(t.Context(), s, src); err != nil || len(notes) != 1 || !strings.Contains(notes[0], "the first 200000 rows") {
		t.Errorf("check says %q, %v", notes, err)
	}
	src.Paths, src.Encoding = []string{"u16.csv"}, "windows-1252"
	if notes, err := Preview(t.Context(), s, src); err != nil || len(notes) != 1 || !strings.Contains(notes[0], "here its columns are texts") || columnTypes(t, s, "seen")["n"] != "VARCHAR" {
		t.Errorf("check says %q, %v", notes, err)
	}
}

// columnTypes are the types of a source's columns.
func columnTypes(t *testing.T, s *duckstage.Stage, source string) map[string]string {
	t.Helper()
	infos, err := s.Columns(t.Context(), "source", source)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for _, info := range infos {
		out[info.Name] = info.SQLType
	}
	return out
}
