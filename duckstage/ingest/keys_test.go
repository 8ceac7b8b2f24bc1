package ingest

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestKeysOfSQLite reads by keys whose columns hold values of any type, nulls among them, in
// ranges: each row comes once.
func TestKeysOfSQLite(t *testing.T) {
	t.Parallel()
	dir, db := newSQLite(t)
	const lines = "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 999) "
	s := newStage(t)
	for _, c := range []struct {
		name, create string
		key          []string
		columns      []string // of the key that is read by
		ranges       bool
	}{
		{"two columns", "CREATE TABLE keyed (v TEXT, line INTEGER, no INTEGER, PRIMARY KEY (no, line)) WITHOUT ROWID; " + lines + "INSERT INTO keyed SELECT 'v' || i, i % 3, i / 3 FROM n", nil, []string{"no", "line"}, true},
		{"values of every type, and nulls", "CREATE TABLE keyed (a, b ANY, c BLOB, v INTEGER, PRIMARY KEY (a, b, c)); " + lines + `INSERT INTO keyed SELECT CASE i % 5 WHEN 0 THEN i WHEN 1 THEN i / 7.0 WHEN 2 THEN 'it''s ' || i WHEN 3 THEN zeroblob(i % 4) END,
			i % 4, CASE WHEN i % 11 > 0 THEN i END, i FROM n`, nil, []string{"a", "b", "c"}, true},
		{"a name that must be quoted", `CREATE TABLE keyed ("my "" key" TEXT PRIMARY KEY, "order" INTEGER); ` + lines + "INSERT INTO keyed SELECT 'ü' || i, i FROM n", nil, []string{`my " key`}, true},
		{"another key than its own", "CREATE TABLE keyed (id INTEGER PRIMARY KEY, day DATE, n INTEGER); " + lines + "INSERT INTO keyed SELECT i, date('2024-02-27', (i / 100) || ' days'), i % 100 FROM n", []string{"DAY", "n"}, []string{"day", "n"}, true},
		{"none", "CREATE TABLE keyed (id INTEGER); " + lines + "INSERT INTO keyed SELECT i FROM n", nil, nil, false},
	} {
		if _, err := db.Exec("DROP TABLE IF EXISTS keyed; " + c.create); err != nil {
			t.Fatal(c.name, err)
		}
		types := map[string]string{"a": "VARCHAR", "b": "VARCHAR", "c": "VARCHAR"}
		if !strings.HasPrefix(c.name, "values") {
			types = nil
		}
		src := Source{Name: "keyed", Dir: dir, Types: types, Database: &Database{Kind: SQLite, DSN: "shop.db", Table: "keyed", Key: c.key, rows: 80}}
		d, rel := planned(t, src)
		d.close()
		if !slices.Equal(rel.key, c.columns) || c.ranges != (len(rel.parts) > 10) {
			t.Errorf("%s: read by %q in %d ranges", c.name, rel.key, len(rel.parts))
		}
		if res := ingest(t, s, src); res.Rows != 1000 || len(res.Notes) != 0 {
			t.Errorf("%s: %+v", c.name, res)
		}
		if got := table(t, s, "SELECT count(*) FROM (SELECT DISTINCT * FROM source.keyed)"); got[0] != "1000" {
			t.Errorf("%s: %s different rows", c.name, got[0])
		}
	}
}

// TestKeysOfSQLServer looks at the conditions that are sent, as there is no server to send them to:
// what both ends share is said as equal, and a value is of its column's type.
func TestKeysOfSQLServer(t *testing.T) {
	t.Parallel()
	s := &sqlServer{}
	d := &dbSupply{server: s}
	for i, c := range []struct{ native, text, literal string }{
		{"UNIQUEIDENTIFIER", "6F9619FF-8B86-D011-B42D-00C04FC964FF", "CONVERT(uniqueidentifier, '6F9619FF-8B86-D011-B42D-00C04FC964FF')"},
		{"DATETIME", "2024-06-01T10:00:00.003", "CONVERT(datetime, '2024-06-01T10:00:00.003', 126)"},
		{"DATETIMEOFFSET", "2024-06-01T10:00:00.1234567+02:00", "CONVERT(datetimeoffset(7), '2024-06-01T10:00:00.1234567+02:00', 126)"},
		{"DECIMAL", "12.30", "12.30"},
		{"BIGINT", "-5", "-5"},
		{"FLOAT", "NaN", "N'NaN'"},
		{"VARCHAR", "it's", "'it''s'"},
		{"VARCHAR", "ü", "N'ü'"},
		{"NVARCHAR", "it's", "N'it''s'"},
		{"VARBINARY", "0x00FF", "0x00FF"},
	} {
		name := fmt.Sprintf("c%d", i)
		text, literal := s.keyText(dbColumn{field: field{name: name, stored: mssqlType(c.native, 10, 2)}, native: c.native})
		if got := literal(c.text); got != c.literal || !strings.Contains(text, "["+name+"]") {
			t.Errorf("%s %s: %s of %s", c.native, c.text, got, text)
		}
	}
	for _, name := range []string{"[a]", "[b]", "[c]"} {
		d.key = append(d.key, keyPart{name: name})
	}
	for _, c := range []struct {
		low, high []string
		nulls     bool
		want      string
	}{
		{nil, []string{"1", "2", "3"}, false, "[a] <= 1 AND ([a] < 1 OR [b] <= 2 AND ([b] < 2 OR [c] < 3))"},
		{[]string{"1", "2", "3"}, nil, true, "[a] >= 1 AND ([a] > 1 OR [b] >= 2 AND ([b] > 2 OR [c] >= 3)) AND [b] IS NOT NULL AND [c] IS NOT NULL"},
		{[]string{"1", "2", "3"}, []string{"1", "4", "5"}, false, "[a] = 1 AND [b] >= 2 AND ([b] > 2 OR [c] >= 3) AND [b] <= 4 AND ([b] < 4 OR [c] < 5)"},
		{[]string{"1", "2", "3"}, []string{"1", "2", "5"}, false, "[a] = 1 AND [b] = 2 AND [c] >= 3 AND [c] < 5"},
	} {
		d.keyNulls = c.nulls
		if diff := cmp.Diff(c.want, d.between(c.low, c.high)); diff != "" {
			t.Error(diff)
		}
	}
}
