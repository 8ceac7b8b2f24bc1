package ingest

import (
	"bytes"
	"database/sql"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"modernc.org/sqlite"

	"dvmigrate/duckstage"
	"dvmigrate/duckstage/mask"
)

// badKey is the key of a row that does not fit.
const badKey = "728364999123"

// secretRows are rows whose every value but the last column's is nowhere else.
const secretRows = 60

func secretRow(i int) []string {
	return []string{fmt.Sprintf("%d", 728364518273+7919*i), fmt.Sprintf("Zuckerbrot%04dq", i), fmt.Sprintf("%d.%02d", 9182736451+104729*i, i%100),
		fmt.Sprintf("19%02d-06-05 04:03:02.%06d", 10+i, 123456+i), "open"}
}

var secretMasks = map[string]Mask{"no": {Kind: mask.ID}, "name": {Kind: mask.Name}, "pay": {Kind: mask.Number}, "seen": {Kind: mask.Date, By: "no", Days: 30}}

var secretTypes = map[string]string{"no": "BIGINT", "pay": "DECIMAL(18,2)", "seen": "TIMESTAMP"}

// secretForms are the bytes that a value may lie in the file as: its text, and its number as
// DuckDB stores the type when nothing is compressed.
func secretForms(t *testing.T) map[string][]byte {
	t.Helper()
	forms := map[string][]byte{"key of a bad row": []byte(badKey)}
	number := func(what string, n int64) { forms[what] = binary.LittleEndian.AppendUint64(nil, uint64(n)) }
	for i := range secretRows {
		row := secretRow(i)
		for c, v := range row[:4] {
			forms[fmt.Sprintf("text of column %d, row %d", c, i)] = []byte(v)
		}
		number(fmt.Sprintf("number %d", i), 728364518273+7919*int64(i))
		number(fmt.Sprintf("decimal %d", i), (9182736451+104729*int64(i))*100+int64(i%100))
		at, err := time.Parse("2006-01-02 15:04:05.999999", row[3])
		if err != nil {
			t.Fatal(err)
		}
		number(fmt.Sprintf("time %d", i), at.UnixMicro())
	}
	return forms
}

// found lists the kinds of secret that files of a folder have.
func found(t *testing.T, dir string, forms map[string][]byte) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "stage.duckdb*"))
	if err != nil || len(files) == 0 {
		t.Fatal(err, files)
	}
	var out []string
	for _, file := range files {
		if strings.Contains(file, ".tmp") { // temporary files have originals, and are removed
			continue
		}
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for what, form := range forms {
			if kind := strings.TrimRight(what, " 0123456789"); !slices.Contains(out, kind) && bytes.Contains(b, form) {
				out = append(out, kind)
			}
		}
	}
	slices.Sort(out)
	return out
}

// TestNoOriginalReachesTheFile: with nothing compressed every byte of the stage's file and log
// can be read, those of blocks that were dropped too. After each reading of sources with masks
// none has an original, in whatever form; without masks all forms are found, so that the
// search is one.
func TestNoOriginalReachesTheFile(t *testing.T) {
	t.Parallel()
	var lines, json strings.Builder
	lines.WriteString("no,name,pay,seen,state\n")
	for i := range secretRows {
		row := secretRow(i)
		lines.WriteString(strings.Join(row, ",") + "\n")
		fmt.Fprintf(&json, `{"no":%s,"name":%q,"pay":%q,"seen":%q,"state":%q}`+"\n", row[0], row[1], row[2], row[3], row[4])
	}
	// One line is shifted, and one has a value that does not fit: an unmasked column gets a name.
	bad := "1,x,1," + secretRow(3)[1] + ",y\n" + "2,x,1," + secretRow(4)[3] + "," + secretRow(4)[1] + "\n"
	dir := write(t, map[string]string{"s.csv": lines.String(), "s.txt": strings.ReplaceAll(lines.String(), "\n", "&|"), "s.ndjson": json.String(), "bad.csv": strings.Replace(lines.String(), ",state", ",state", 1) + bad})
	makeSecrets(t, filepath.Join(dir, "s.db"))
	forms := secretForms(t)
	for _, masked := range []bool{false, true} {
		t.Run(fmt.Sprintf("masked %v", masked), func(t *testing.T) {
			at := t.TempDir()
			s, err := duckstage.Open(t.Context(), filepath.Join(at, "stage.duckdb"), duckstage.Options{})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			if _, err := s.Exec(t.Context(), "SET GLOBAL force_compression='uncompressed'"); err != nil {
				t.Fatal(err)
			}
			check := func(when string) {
				t.Helper()
				if got := found(t, at, forms); masked && len(got) > 0 {
					t.Errorf("%s the stage's files have originals: %v", when, got)
				}
			}
			for _, c := range []struct {
				name string
				src  Source
			}{
				{"csv", Source{Paths: []string{"s.csv"}, Types: secretTypes}},
				{"rewritten", Source{Paths: []string{"s.txt"}, RowEnd: "&|", Types: secretTypes}},
				{"json", Source{Paths: []string{"s.ndjson"}, Types: secretTypes}},
				{"bad", Source{Paths: []string{"bad.csv"}, Types: map[string]string{"no": "BIGINT", "pay": "DECIMAL(18,2)", "seen": "TIMESTAMP", "state": "ENUM('open')"}, MaxBadLines: 5}},
				{"alone", Source{Database: &Database{Kind: SQLite, DSN: "s.db", Table: "secrets"}, MaxBadLines: 1}},
				{"ranges", Source{Database: &Database{Kind: SQLite, DSN: "s.db", Table: "secrets", Key: []string{"no"}, rows: 10}, MaxBadLines: 1}},
				{"feed", Source{Paths: []string{"s.csv"}, Types: secretTypes, Feed: Feed{Key: []string{"no"}}}},
			} {
				src := c.src
				src.Name, src.Dir = c.name, dir
				if masked {
					src.Masks, src.MaskKey = secretMasks, maskKey
				}
				// What a reading keeps only as long as it lasts is in the log.
				res, err := Run(t.Context(), s, src, func(int64, int64) { check("while reading " + c.name) })
				if err != nil {
					t.Fatal(err)
				}
				if res.Rows != secretRows || (c.name == "bad" || c.name == "ranges") != (res.Rejected > 0) && c.name != "alone" {
					t.Errorf("%s: %+v", c.name, res)
				}
				if _, err := s.Exec(t.Context(), "CHECKPOINT"); err != nil {
					t.Fatal(err)
				}
				check("after " + c.name)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			check("when it is closed")
			if got := found(t, at, forms); !masked && len(got) < 7 {
				t.Errorf("without masks only these are found: %v", got)
			}
		})
	}
}

// makeSecrets makes a database with the rows, and one whose unmasked column does not fit, of
// which messages name the key.
func makeSecrets(t *testing.T, path string) {
	t.Helper()
	connector, err := sqlite.NewConnector("file:" + filepath.ToSlash(path))
	if err != nil {
		t.Fatal(err)
	}
	db := sql.OpenDB(connector)
	defer db.Close()
	if _, err := db.Exec(`CREATE TABLE secrets (no TEXT PRIMARY KEY, name TEXT, pay DECIMAL(18,2), seen TIMESTAMP, state INTEGER)`); err != nil {
		t.Fatal(err)
	}
	for i := range secretRows {
		row := secretRow(i)
		if _, err := db.Exec("INSERT INTO secrets VALUES (?, ?, ?, ?, 1)", row[0], row[1], row[2], row[3]); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := db.Exec("INSERT INTO secrets VALUES (?, 'x', 1, NULL, 'closed')", badKey); err != nil {
		t.Fatal(err)
	}
}
