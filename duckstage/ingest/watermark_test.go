package ingest

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"dvmigrate/duckstage"
)

func TestLessOverlap(t *testing.T) {
	for _, c := range []struct{ name, high, overlap, want string }{
		{"a number and the usual overlap", "5000", "", "4000"},
		{"a number and one of its own", "5000", "10", "4990"},
		{"a time as SQLite has it", "2024-03-01 00:05:00", "", "2024-02-29 23:55:00"},
		{"a time as ISO has it", "2024-03-01T00:05:00Z", "1h", "2024-02-29T23:05:00Z"},
		{"a fraction keeps its digits", "2024-03-01 00:05:00.100000", "0s", "2024-03-01 00:05:00.100000"},
		{"an offset stays", "2024-03-01T00:05:00.5+02:00", "5m", "2024-03-01T00:00:00.5+02:00"},
		{"a date", "2024-03-01", "24h", "2024-02-29"},
		{"a number asked for of a time", "2024-03-01", "1000", "error"},
		{"a time asked for of a number", "5000", "10m", "error"},
		{"something else", "infinity", "", "error"},
		{"almost a time", "2024-03-01 7:05", "", "error"},
	} {
		got, err := lessOverlap(c.high, c.overlap)
		if err != nil {
			got = "error"
		}
		if got != c.want {
			t.Errorf("%s: %s, want %s (%v)", c.name, got, c.want, err)
		}
	}
}

// marked is a database of one table bookings(id, name, changed) in some kind of database.
type marked struct {
	src  Source
	exec func(statements string)
	s    *duckstage.Stage
}

// read stages the source and returns the rows and what was said.
func (m *marked) read(t *testing.T) (rows []string, notes string) {
	t.Helper()
	res := ingest(t, m.s, m.src)
	return table(t, m.s, "SELECT id, name FROM source.orders ORDER BY id"), strings.Join(res.Notes, "; ")
}

// TestWatermark reads SQLite past a watermark, which is always there; the servers are tested
// where they are installed.
func TestWatermark(t *testing.T) {
	t.Parallel()
	dir, db := newSQLite(t)
	m := &marked{s: newStage(t), src: Source{Name: "orders", Dir: dir, Database: &Database{Kind: SQLite, DSN: "shop.db", Table: "bookings", Key: []string{"id"}}, Feed: Feed{Key: []string{"id"}, Watermark: "Changed"}},
		exec: func(statements string) {
			t.Helper()
			if _, err := db.Exec(statements); err != nil {
				t.Fatal(err)
			}
		}}
	testWatermark(t, m, "DATETIME")
	testMarkChanges(t, m)
}

// testWatermark holds what is read of a watermark of times against what there is.
func testWatermark(t *testing.T, m *marked, timeType string) {
	t.Helper()
	want := func(rows []string, said ...string) {
		t.Helper()
		got, notes := m.read(t)
		if !slices.Equal(got, rows) {
			t.Errorf("there are %q, want %q", got, rows)
		}
		for _, s := range said {
			if !strings.Contains(notes, s) {
				t.Errorf("said %q, not %q", notes, s)
			}
		}
	}
	m.exec(`DROP TABLE IF EXISTS bookings; CREATE TABLE bookings (id INTEGER PRIMARY KEY, name VARCHAR(20), changed ` + timeType + ` NULL);
		INSERT INTO bookings VALUES (1, 'one', '2026-01-01 10:00:00'), (2, 'two', '2026-01-01 11:00:00'), (3, 'three', '2026-01-01 12:00:00'), (9, 'none', NULL)`)
	want([]string{"1|one", "2|two", "3|three", "9|none"})

	// A row that changed is read; one that changed without its watermark is not, but for those
	// in the overlap and those that have none. A row that is gone stays.
	m.exec(`UPDATE bookings SET name = 'UNO', changed = '2026-01-01 12:30:00' WHERE id = 1; UPDATE bookings SET name = 'silent' WHERE id IN (2, 3, 9);
		INSERT INTO bookings VALUES (4, 'late', '2026-01-01 11:55:00'); DELETE FROM bookings WHERE id = 9`)
	want([]string{"1|UNO", "2|two", "3|silent", "4|late", "9|none"}, "2026-01-01 11:50:00", "3 rows were delivered and merged, 0 are gone; it has 5 now", "rows that are gone cannot be seen")
	want([]string{"1|UNO", "2|two", "3|silent", "4|late", "9|none"}, "1 rows were delivered") // the one in the overlap

	m.src.Feed.Overlap = "2h"
	want([]string{"1|UNO", "2|silent", "3|silent", "4|late", "9|none"}, "4 rows were delivered")
	m.src.Feed.Overlap = ""
}

// testMarkChanges changes what is read behind the watermark's back: all is read then.
func testMarkChanges(t *testing.T, m *marked) {
	t.Helper()
	all := func(why string) {
		t.Helper()
		got, notes := m.read(t)
		fresh := table(t, m.s, "SELECT count(*) FROM source.orders WHERE id = 9")
		if !strings.Contains(notes, why) || fresh[0] != "0" {
			t.Errorf("said %q, want %q; there are %q", notes, why, got)
		}
	}
	m.exec("ALTER TABLE bookings ADD COLUMN city VARCHAR(20)")
	all("the list of columns has changed")
	m.exec("UPDATE bookings SET changed = '2025-01-01 00:00:00'")
	all("was 2026-01-01 12:30:00")
	m.src.Feed.Watermark = "id"
	all("the watermark has changed")
	if _, notes := m.read(t); !strings.Contains(notes, "read from id -996 on") {
		t.Errorf("a number: %s", notes)
	}
	m.src.Database.Table, m.src.Database.Query = "", "SELECT * FROM bookings"
	all("what is read of it has changed")
	m.src.Feed.Watermark = "altered"
	if _, err := Run(t.Context(), m.s, m.src, nil); err == nil || !strings.Contains(err.Error(), `has no column "altered" for the watermark: its columns are changed, city, id, name`) {
		t.Errorf("error = %v", err)
	}
	m.src.Feed.Watermark, m.src.Feed.Overlap = "name", ""
	if _, err := Run(t.Context(), m.s, m.src, nil); err == nil || !strings.Contains(err.Error(), "is neither a whole number nor a time") {
		t.Errorf("error = %v", err)
	}
}

// TestWatermarkOfAnOlderStage: the watermark lies with the rows, so that an older stage reads
// on from its own.
func TestWatermarkOfAnOlderStage(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	r := &run{src: Source{Name: "orders", Feed: Feed{Key: []string{"id"}, Watermark: "n"}}}
	if got, err := s.Meta(t.Context(), markKey("orders")); err != nil || got != "" {
		t.Fatal(got, err)
	}
	state := markState{Server: "a", From: "orders", Columns: "id,n", Key: "id", Mark: "n", High: "7"}
	if err := s.With(t.Context(), func(c *duckstage.Conn) error { return r.keepMark(t.Context(), c, state) }); err != nil {
		t.Fatal(err)
	}
	// Without the rows it counts for nothing.
	if _, why, err := r.formerMark(t.Context(), s, state); err != nil || why != "what was read before is not in the stage" {
		t.Errorf("%q, %v", why, err)
	}
}

// TestReadingInPartsKeepsItsMark: a reading that goes on after a kill has seen no more than when
// it began.
func TestReadingInPartsKeepsItsMark(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	r := &run{src: Source{Name: "orders"}}
	rel := &relation{name: "orders", extract: "x", parts: []part{{label: "all"}}}
	first := markState{High: "7"}
	if err := r.beginMark(t.Context(), s, &first, rel); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Exec(t.Context(), partsTable); err != nil {
		t.Fatal(err)
	}
	if _, err := r.planParts(t.Context(), s, rel); err != nil {
		t.Fatal(err)
	}
	again := markState{High: "9"}
	if err := r.beginMark(t.Context(), s, &again, rel); err != nil || again.High != "7" {
		t.Errorf("it goes on with %s (%v), want 7", again.High, err)
	}
}

// TestReadOnce reads the new files of a folder and leaves those that were merged.
func TestReadOnce(t *testing.T) {
	t.Parallel()
	s, dir := newStage(t), t.TempDir()
	src := Source{Name: "people", Dir: dir, Paths: []string{"*.csv"}, Feed: Feed{Key: []string{"id"}, ReadOnce: true}}
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	read := func(files, said string, rows ...string) {
		t.Helper()
		res := ingest(t, s, src)
		got := table(t, s, "SELECT id, name FROM source.people ORDER BY id")
		if strings.Join(res.Files, " ") != files || !strings.Contains(strings.Join(res.Notes, "; "), said) || !slices.Equal(got, rows) || res.Rows != int64(len(rows)) {
			t.Errorf("read %v, %d rows, %q, said %v; want %s, %q, %s", res.Files, res.Rows, got, res.Notes, files, rows, said)
		}
	}
	write("1.csv", "id,name\n1,one\n2,two\n")
	read("1.csv", "", "1|one", "2|two")
	read("", "there is no new file", "1|one", "2|two")
	write("2.csv", "id,name\n2,zwei\n")
	read("2.csv", "1 files were read before and are not read again, 1 are new", "1|one", "2|zwei")
	write("1.csv", "id,name\n1,eins\n3,three\n") // a file that was written again
	read("1.csv", "1 were written again", "1|eins", "2|zwei", "3|three")
	for _, f := range []string{"1.csv", "2.csv"} {
		if err := os.Remove(filepath.Join(dir, f)); err != nil {
			t.Fatal(err)
		}
	}
	read("", "there is no new file", "1|eins", "2|zwei", "3|three")
	src.Feed.Key = []string{"name"} // merged by something else: all that is there counts
	if _, err := Run(t.Context(), s, src, nil); err == nil || !strings.Contains(err.Error(), "no file") {
		t.Errorf("error = %v", err)
	}
}
