package ingest

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestFeed merges deliveries of changes, each in files of its own.
func TestFeed(t *testing.T) {
	s, dir := newStage(t), t.TempDir()
	src := Source{Name: "people", Dir: dir, Paths: []string{"*.csv"}, Feed: Feed{Key: []string{"id"}, Tombstone: "op = 'D'"}}
	deliver := func(files map[string]string) Result {
		t.Helper()
		old, _ := filepath.Glob(filepath.Join(dir, "*.csv"))
		for _, f := range old {
			os.Remove(f)
		}
		for name, text := range files {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		res, err := Run(t.Context(), s, src, nil)
		if err != nil {
			t.Fatal(err)
		}
		return res
	}
	want := func(rows ...string) {
		t.Helper()
		var got []string
		err := s.Rows(t.Context(), "SELECT concat_ws('|', id, name, dm_source) FROM source.people ORDER BY id", nil, func(scan func(...any) error) error {
			var line string
			err := scan(&line)
			got = append(got, line)
			return err
		})
		if err != nil || strings.Join(got, " ") != strings.Join(rows, " ") {
			t.Errorf("there are %q, want %q (%v)", got, rows, err)
		}
	}
	deliver(map[string]string{"1.csv": "id,name,op\n1,one,I\n2,two,I\n3,three,I\n"})
	want("1|one|people", "2|two|people", "3|three|people")

	// Of several rows of one key the last counts, over all files.
	second := map[string]string{"2.csv": "id,name,op\n1,uno,U\n2,,D\n4,four,I\n", "3.csv": "id,name,op\n1,eins,U\n4,,D\n9,,D\n"}
	res := deliver(second)
	want("1|eins|people", "3|three|people")
	if res.Rows != 2 || len(res.Notes) != 1 || res.Notes[0] != "6 rows were delivered and merged, 1 are gone; it has 2 now" {
		t.Errorf("result: %+v", res)
	}
	deliver(second) // twice does no harm
	want("1|eins|people", "3|three|people")
	deliver(map[string]string{"4.csv": "id,name,op,city\n2,zwei,I,Wien\n"}) // it is back, with a new column
	want("1|eins|people", "2|zwei|people", "3|three|people")

	if err := os.WriteFile(filepath.Join(dir, "5.csv"), []byte("id,name,op,city\n,nobody,I,\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Run(t.Context(), s, src, nil); err == nil || !strings.Contains(err.Error(), "1 rows have no id, by which changes are merged") {
		t.Errorf("a row without a key: %v", err)
	}
	want("1|eins|people", "2|zwei|people", "3|three|people")

	// Another key, which does not tell the rows apart.
	deliver(map[string]string{"6.csv": "id,name,op,city\n5,eins,I,\n"})
	other := src
	other.Feed.Key = []string{"name"}
	if err := os.WriteFile(filepath.Join(dir, "6.csv"), []byte("id,name,op,city\n1,eins,U,Graz\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Run(t.Context(), s, other, nil); err == nil || !strings.Contains(err.Error(), "2 rows that are there have a name in common with others") || !strings.Contains(err.Error(), "row_key seems to have been another") {
		t.Errorf("another key: %v", err)
	}
	want("1|eins|people", "2|zwei|people", "3|three|people", "5|eins|people")
}

// TestAFeedOfOtherTypes: a column of JSON that comes as another type loses no digit when the
// deliveries are merged, and a key that is a number by now is not 007.
func TestAFeedOfOtherTypes(t *testing.T) {
	t.Parallel()
	s, dir := newStage(t), t.TempDir()
	deliver := func(text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, "a.ndjson"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Run(t.Context(), s, Source{Name: "f", Dir: dir, Paths: []string{"a.ndjson"}, Feed: Feed{Key: []string{"id"}}}, nil); err != nil {
			t.Fatal(err)
		}
	}
	want := func(rows ...string) {
		t.Helper()
		if got := table(t, s, "SELECT id, n, m FROM source.f ORDER BY CAST(id AS VARCHAR)"); strings.Join(got, " ") != strings.Join(rows, " ") {
			t.Errorf("there are %q, want %q", got, rows)
		}
	}
	deliver(`{"id":"007","n":1.5,"m":12345678901234567890}` + "\n" + `{"id":"8","n":2,"m":5}` + "\n")
	want("007|1.5|12345678901234567890", "8|2.0|5")
	deliver(`{"id":7,"n":12345678901234567891,"m":0.5}` + "\n" + `{"id":8,"n":3,"m":1.25}` + "\n")
	want("007|1.5|12345678901234567890", "7|12345678901234567891|0.5", "8|3|1.25")
	deliver(`{"id":9,"n":4,"m":6}` + "\n")
	want("007|1.5|12345678901234567890", "7|12345678901234567891|0.5", "8|3|1.25", "9|4|6")
}

// TestAFeedOfTextsAndOthers: what was a text beside a number, true beside 5, an object beside a
// text, is what one file with both would give: the text that the file has.
func TestAFeedOfTextsAndOthers(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	for i, c := range []struct {
		name          string
		first, second string
		want          []string
	}{
		{"a text, and a number with a fraction", `{"id":1,"v":"10"}`, `{"id":2,"v":2.5}` + "\n" + `{"id":3,"v":10}`, []string{"1|10", "2|2.5", "3|10"}},
		{"the other way round", `{"id":2,"v":2.5}` + "\n" + `{"id":3,"v":10}`, `{"id":1,"v":"10"}`, []string{"1|10", "2|2.5", "3|10"}},
		{"as the key", `{"id":"10","v":"old"}`, `{"id":10,"v":"new"}` + "\n" + `{"id":2.5,"v":"x"}`, []string{"10|new", "2.5|x"}},
		{"nothing before", `{"id":1,"v":null}`, `{"id":2,"v":2.5}` + "\n" + `{"id":3,"v":10}`, []string{"1", "2|2.5", "3|10"}},
		{"true and a number", `{"id":1,"v":true}`, `{"id":2,"v":5}`, []string{"1|true", "2|5"}},
		{"an object, and a text", `{"id":1,"v":{"a":"x"}}`, `{"id":2,"v":"y"}`, []string{`1|{"a":"x"}`, "2|y"}},
		{"a number, and a list", `{"id":1,"v":7}`, `{"id":2,"v":[7,8]}`, []string{"1|7", "2|[7,8]"}},
		{"an object, and nothing", `{"id":1,"v":{"a":"x"}}`, `{"id":2,"v":null}`, []string{"1|{'a': x}", "2"}},
	} {
		src := Source{Name: fmt.Sprint("f", i), Feed: Feed{Key: []string{"id"}}, Paths: []string{"a.ndjson"}}
		for _, text := range []string{c.first, c.second} {
			src.Dir = write(t, map[string]string{"a.ndjson": text + "\n"})
			ingest(t, s, src)
		}
		if diff := cmp.Diff(c.want, table(t, s, "SELECT id, CAST(v AS VARCHAR) FROM source."+src.Name+" ORDER BY CAST(id AS VARCHAR)")); diff != "" {
			t.Errorf("%s: %s", c.name, diff)
		}
	}
}
