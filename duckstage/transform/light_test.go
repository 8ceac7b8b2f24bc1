package transform

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"dvmigrate/duckstage"
)

// bringIn makes a source the way package ingest does.
func bringIn(t *testing.T, s *duckstage.Stage, name, query string) {
	t.Helper()
	var number int
	if err := s.Row(t.Context(), []any{&number}, "SELECT 1 + count(*) FROM duckdb_tables() WHERE starts_with(table_name, 'source_')"); err != nil {
		t.Fatal(err)
	}
	mustExec(t, s, fmt.Sprintf(`CREATE TABLE dm.source_%[1]d AS %[2]s; CREATE OR REPLACE VIEW source.%[3]s AS SELECT * FROM dm.source_%[1]d;
		DELETE FROM dm.sources WHERE name = '%[3]s'; INSERT INTO dm.sources (name, data, arrival) VALUES ('%[3]s', 'source_%[1]d', '2020-01-02')`, number, query, name))
}

const lightRows = `SELECT i::VARCHAR AS id, CASE WHEN i % 7 > 0 THEN 'name ' || i END AS name, CASE WHEN i % 90 = 5 THEN 'n/a' ELSE (i / 8)::VARCHAR END AS amount,
	CASE WHEN i % 100 = 9 THEN '1.5' ELSE i::VARCHAR END AS whole, i % 2 = 0 AS even, i AS number FROM range(5000) r(i)`

// lightColumns are what the tests below stage of lightRows.
var lightColumns = []Column{{Name: "name", SQLType: "VARCHAR"}, {Name: "amount", SQLType: "DECIMAL(10,3)"}, {Name: "whole", SQLType: "INTEGER"}}

func isLight(t *testing.T, s *duckstage.Stage, table string) bool {
	t.Helper()
	return rows(t, s, "SELECT source IS NOT NULL FROM dm.tables WHERE name = '"+table+"'")[0] == "true"
}

// The two ways of staging a table give the same relation.
func TestLightTablesAreLikeOthers(t *testing.T) {
	for _, query := range []string{
		"SELECT id AS legacy_key, * FROM a",
		"SELECT x.id AS legacy_key, upper(trim(name)) AS name, amount, whole FROM source.a AS x -- alias",
		"SELECT 'K' || id AS legacy_key, nullif(name, 'name 8') AS name, CASE WHEN even THEN amount ELSE '1' END AS amount, number + 1 AS whole FROM a;",
		"SELECT legacy_key: id, name, coalesce(try_cast(amount AS DOUBLE), 0.25) AS amount, number::INTEGER AS whole, TIMESTAMP '2001-01-01' AS dm_created_at FROM A",
		"SELECT * REPLACE (replace(name, 'n', 'm') AS name), a.id AS legacy_key FROM a",
	} {
		table := Table{Name: "account", SQL: query, Columns: lightColumns, Owed: "CASE WHEN amount > 100 THEN 2 END",
			Checks: []Check{{Column: "name", Bad: "name LIKE '%99'", Message: "'ends in ' || right(name, 2)"}}}
		var got [2][]string
		for i := range got {
			s := newStage(t)
			if i == 0 {
				bringIn(t, s, "a", lightRows)
			} else {
				mustExec(t, s, "CREATE TABLE source.a AS "+lightRows)
				mustExec(t, s, "INSERT INTO dm.sources (name, data, arrival) VALUES ('other', 'none', '2020-01-02')")
			}
			res := stageTables(t, s, table)[0]
			if isLight(t, s, "account") != (i == 0) {
				t.Errorf("%s: light = %v in run %d", query, i != 0, i)
			}
			res.Seconds = 0
			got[i] = append(rows(t, s, "SELECT * FROM account ORDER BY dm_seq"), fmt.Sprint(res),
				strings.Join(rows(t, s, "SELECT column_name, column_type FROM (DESCRIBE account)"), " "))
		}
		if diff := cmp.Diff(got[1], got[0]); diff != "" {
			t.Errorf("%s: %s", query, diff)
		}
		if len(got[0]) != 5002 || strings.HasSuffix(got[0][5000], " 0 0 0 0}") {
			t.Errorf("%s: %s", query, got[0][5000])
		}
	}
}

func TestWhatIsNotLight(t *testing.T) {
	s := newStage(t)
	bringIn(t, s, "a", lightRows)
	bringIn(t, s, "b", "SELECT 1 AS rowid, 'x' AS id")
	mustExec(t, s, "CREATE MACRO main.mine(x) AS x || '!'; CREATE TABLE source.by_hand AS SELECT 'x' AS id")
	for i, query := range []string{
		"SELECT id AS legacy_key FROM a WHERE even", "SELECT id AS legacy_key FROM a ORDER BY name", "SELECT id AS legacy_key FROM a LIMIT 5",
		"SELECT DISTINCT id AS legacy_key FROM a", "SELECT id AS legacy_key FROM a GROUP BY id", "SELECT max(id) AS legacy_key FROM a",
		"SELECT id AS legacy_key, row_number() OVER () AS n FROM a", "SELECT id AS legacy_key, random() AS r FROM a", "SELECT id AS legacy_key, now() AS r FROM a",
		"SELECT id AS legacy_key, current_date AS r FROM a", "SELECT id AS legacy_key, mine(id) AS r FROM a", "SELECT id AS legacy_key, (SELECT 1) AS r FROM a",
		"SELECT x.id AS legacy_key FROM a x JOIN a y USING (id)", "SELECT x.id AS legacy_key FROM a x, b", "WITH c AS (FROM a) SELECT id AS legacy_key FROM c",
		"SELECT id AS legacy_key FROM a UNION ALL SELECT 'z'", "SELECT id AS legacy_key FROM (SELECT * FROM a)", "SELECT unnest(['p' || id, 'q' || id]) AS legacy_key FROM a",
		"SELECT id AS legacy_key FROM a USING SAMPLE 10 ROWS", "SELECT id AS legacy_key, COLUMNS('na.*') FROM a", "SELECT id AS legacy_key FROM b",
		"SELECT source.a.id AS legacy_key FROM a", "SELECT id AS legacy_key, name AS rowid FROM a", "SELECT id AS legacy_key FROM by_hand", "SELECT 1 AS legacy_key",
		"SELECT id AS legacy_key FROM a QUALIFY row_number() OVER (PARTITION BY id) = 1", "SELECT id AS legacy_key, list_transform([1], lambda x: x + 1) AS l FROM a",
	} {
		name := fmt.Sprintf("t%d", i)
		stageTables(t, s, Table{Name: name, SQL: query})
		if isLight(t, s, name) {
			t.Errorf("light: %s", query)
		}
	}
	// Many held rows would be joined at each reading.
	stageTables(t, s, Table{Name: "held", SQL: "SELECT id AS legacy_key, name FROM a", Columns: []Column{{Name: "name", SQLType: "DATE"}}})
	if isLight(t, s, "held") {
		t.Error("a table of held rows is light")
	}
	expect(t, s, "SELECT count(*) FROM duckdb_tables() WHERE table_name LIKE 'new%'", "0")
}

func TestLightTableOutlivesItsSource(t *testing.T) {
	s := newStage(t)
	table := Table{Name: "account", SQL: "SELECT id AS legacy_key, * FROM a", Columns: lightColumns}
	bringIn(t, s, "a", lightRows)
	stageTables(t, s, table)
	before := rows(t, s, "SELECT legacy_key, dm_seq, dm_id FROM account ORDER BY ALL")
	bringIn(t, s, "a", "SELECT * REPLACE (name || '?' AS name) FROM ("+lightRows+") WHERE number >= 10 ORDER BY number DESC")
	if diff := cmp.Diff(before, rows(t, s, "SELECT legacy_key, dm_seq, dm_id FROM account ORDER BY ALL")); diff != "" {
		t.Errorf("the relation changed with its source: %s", diff)
	}
	res := stageTables(t, s, table)[0]
	res.Seconds = 0
	if diff := cmp.Diff(Result{Table: "account", Number: 1, Rows: 4990, Changed: 4277, Same: 713, Held: 104, Gone: 10}, res); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(before[len(before)-20:], rows(t, s, "SELECT legacy_key, dm_seq, dm_id FROM account ORDER BY ALL")[4970:]); diff != "" {
		t.Errorf("numbers or ids have changed: %s", diff)
	}
	expect(t, s, "SELECT table_name FROM duckdb_tables() WHERE starts_with(table_name, 'source_')", "source_2")
}

func TestLightTableFaults(t *testing.T) {
	s := newStage(t)
	bringIn(t, s, "a", lightRows)
	_, err := Run(t.Context(), s, nil, []Table{{Name: "t", SQL: "SELECT id AS legacy_key,\n CAST(amount AS INTEGER) AS whole FROM a", Columns: []Column{{Name: "whole", SQLType: "INTEGER"}}}}, nil)
	var e *duckstage.SQLError
	if !errors.As(err, &e) || e.Line != 2 {
		t.Errorf("an error in a computed column: %v", err)
	}
	_, err = Run(t.Context(), s, nil, []Table{{Name: "t", SQL: "SELECT left(id, 3) AS legacy_key FROM a"}}, nil)
	var keys *KeyError
	if !errors.As(err, &keys) || len(keys.Keys) != 5 {
		t.Errorf("repeated keys: %v", err)
	}
	expect(t, s, "SELECT count(*) FROM duckdb_tables() WHERE table_name LIKE 'data%'", "0")
}

func TestLookupsIntoALightTable(t *testing.T) {
	s := newStage(t)
	bringIn(t, s, "a", lightRows)
	stageTables(t, s, Table{Name: "account", SQL: "SELECT id AS legacy_key, name FROM a", Columns: lightColumns[:1]},
		Table{Name: "contact", SQL: "SELECT 'c' || id AS legacy_key, (number // 2)::VARCHAR AS parent FROM a", Lookups: []Lookup{{Column: "parent", Targets: []Target{{Table: "account", Staged: true}}}}})
	expect(t, s, "SELECT count(*), count(*) FILTER (a.legacy_key::INTEGER = substr(c.legacy_key, 2)::INTEGER // 2) FROM contact c JOIN account a ON a.dm_id = c.parent", "5000|5000")
}

func TestWindowsOfALightTableReadOnlyTheirRows(t *testing.T) {
	s := newStage(t)
	bringIn(t, s, "a", lightRows)
	stageTables(t, s, Table{Name: "account", SQL: "SELECT id AS legacy_key, * FROM a", Columns: lightColumns})
	var kind, plan string
	if err := s.Row(t.Context(), []any{&kind, &plan}, "EXPLAIN SELECT * FROM account WHERE dm_seq >= 1000 AND dm_seq < 1100"); err != nil {
		t.Fatal(err)
	}
	if !isLight(t, s, "account") || !strings.Contains(plan, "rowid>=1000") {
		t.Errorf("the window is not pushed down: %s", plan)
	}
}
