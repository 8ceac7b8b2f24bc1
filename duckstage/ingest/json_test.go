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

// TestDeclaredNumbersOfJSONKeepAllDigits: those with a fraction, too, in lists and over several
// lines, packed and of another encoding; what is no number of the column stays as it is.
func TestDeclaredNumbersOfJSONKeepAllDigits(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	const records = `{"id":1,"n":12345678901234567.25,"t":0.12345678901234567890,"d":12345678901234567.25,"said":"\"n\":12345678901234567.25","in":{"n":1.5}}
{ "id" : 2 , "\u006e" : -1.5 , "t":1e2,"list":[{"n":12345678901234567.25}] }
{"id":3,"n":0.30000000000000004,"t":7}
{"id":4,"n":1000000000000000.05,"t":"x"}
`
	list := "[" + strings.ReplaceAll(strings.TrimSpace(records), "\n", ",\n") + "]"
	dir := write(t, map[string]string{"a.ndjson": records, "b.json": list, "c.json": "\ufeff" + list, "d.ndjson": records + "{\n"})
	for _, file := range []string{"a.ndjson", "b.json", "c.json", "d.ndjson"} {
		src := Source{Name: "a", Dir: dir, Paths: []string{file}, Types: map[string]string{"n": "DECIMAL(28,2)", "t": "VARCHAR", "d": "DOUBLE"}, MaxBadLines: 2}
		ingest(t, s, src)
		if diff := cmp.Diff([]string{`1|12345678901234567.25|0.12345678901234567890|"n":12345678901234567.25`, "2|-1.50|100.0|", "4|1000000000000000.05|x|"},
			table(t, s, "SELECT id, n, t, coalesce(said, '') FROM source.a ORDER BY id")); diff != "" {
			t.Errorf("%s: %s", file, diff)
		}
		if got := table(t, s, "SELECT message FROM dm.rejects WHERE message LIKE '%column%'"); len(got) != 1 || !strings.HasSuffix(got[0], `column n: "0.30000000000000004" is not DECIMAL(28,2)`) {
			t.Errorf("%s: rejects %q", file, got)
		}
		src.Name = "seen"
		if _, err := Preview(t.Context(), s, src); err != nil || columnTypes(t, s, "seen")["n"] != "DECIMAL(28,2)" {
			t.Errorf("%s: %v", file, err)
		}
	}
}

// TestOddKeysOfJSON: an empty key, one that differs from another within the same object by case
// alone, and one that the stage gives itself.
func TestOddKeysOfJSON(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	for _, c := range []struct{ text, query, want string }{
		{`{"id":"1","m":{"":5}}`, `SELECT m->>'/' FROM source.a`, "5"},
		{`{"id":"1","m":{"a":"x","":5}}`, "SELECT m->>'a' FROM source.a", "x"},
		{`{"id":"1","m":[{"x":{"":5}}],"n":{"a b":1}}`, `SELECT m, n."a b" FROM source.a`, `[{"x":{"":5}}]|1`},
		{`{"":"3","id":"1"}`, "SELECT C0, id FROM source.a", "3|1"},
		{`{"id":"1","m":{"B":1,"b":2.5},"n":7}`, "SELECT id, m->>'B', m->>'b', n FROM source.a", "1|1|2.5|7"},
	} {
		dir := write(t, map[string]string{"a.ndjson": c.text + "\n", "a.json": "[" + c.text + "]"})
		for _, file := range []string{"a.ndjson", "a.json"} {
			src := Source{Name: "a", Dir: dir, Paths: []string{file}}
			ingest(t, s, src)
			if got := table(t, s, c.query); !slices.Equal(got, []string{c.want}) {
				t.Errorf("%s %s: %q", file, c.text, got)
			}
			src.Name = "seen"
			if _, err := Preview(t.Context(), s, src); err != nil {
				t.Errorf("%s %s: %v", file, c.text, err)
			}
			if diff := cmp.Diff(columnTypes(t, s, "a"), columnTypes(t, s, "seen")); diff != "" {
				t.Error(diff)
			}
		}
	}
	dir := write(t, map[string]string{"a.ndjson": `{"id":"1","dm_file":"x"}` + "\n"})
	if _, err := Run(t.Context(), s, Source{Name: "b", Dir: dir, Paths: []string{"a.ndjson"}}, nil); err == nil || !strings.Contains(err.Error(), "is called dm_file, a name that the stage gives itself") {
		t.Error(err)
	}
}

// TestAnswerOfAService: its records are a list within one object, which a note says.
func TestAnswerOfAService(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	dir := write(t, map[string]string{"a.json": `{"@odata.count":2,"value":[{"id":1,"name":"x"},{"id":2,"name":"y"}]}`, "b.json": `[{"id":1,"tags":["x","y"]}]`})
	res := ingest(t, s, Source{Name: "a", Dir: dir, Paths: []string{"a.json"}})
	if len(res.Notes) != 1 || !strings.Contains(res.Notes[0], `SELECT unnest("value", recursive := true) FROM a`) {
		t.Errorf("notes %q", res.Notes)
	}
	if diff := cmp.Diff([]string{"1|x", "2|y"}, table(t, s, `SELECT id, name FROM (SELECT unnest("value", recursive := true) FROM source.a) ORDER BY id`)); diff != "" {
		t.Error(diff)
	}
	if res := ingest(t, s, Source{Name: "b", Dir: dir, Paths: []string{"b.json"}}); len(res.Notes) > 0 {
		t.Errorf("notes %q", res.Notes)
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
