package transform

import (
	"errors"
	"strings"
	"testing"

	"dvmigrate/duckstage"
)

// Views and macros are made in whatever order they need one another, and are gone
// afterwards.
func TestLibrary(t *testing.T) {
	s := newStage(t)
	mustExec(t, s, "CREATE TABLE source.a AS SELECT * FROM (VALUES ('1', ' one '), ('2', 'two')) t(id, name)")
	scripts := []Script{
		{"lib/a_clean.sql", "-- needs what comes later\nSELECT id, tidy(name) AS name FROM z_all"},
		{"lib/z.sql", "CREATE VIEW z_all AS FROM a; -- all\nCREATE OR REPLACE MACRO tidy(x) AS trim(upper(x));\nCREATE MACRO twice(t) AS TABLE (FROM query_table(t) UNION ALL FROM query_table(t));"},
	}
	res, err := Run(t.Context(), s, scripts, []Table{{Name: "account", SQL: "SELECT id AS legacy_key, name FROM a_clean", Columns: []Column{{Name: "name", SQLType: "VARCHAR"}}}}, nil)
	if err != nil || res[0].Rows != 2 {
		t.Fatal(res, err)
	}
	expect(t, s, "SELECT legacy_key, name FROM account", "1|ONE", "2|TWO")
	for _, query := range []string{"FROM a_clean", "SELECT tidy('x')", "FROM twice('a')"} {
		if _, err := s.Describe(t.Context(), query); err == nil {
			t.Errorf("%s is still there", query)
		}
	}
}

func TestBadLibraries(t *testing.T) {
	s := newStage(t)
	mustExec(t, s, "CREATE TABLE source.a AS SELECT 1 AS id")
	for _, c := range []struct {
		name, sql, want string
		line            int
	}{
		{"another statement", "CREATE TABLE x AS SELECT 1", "here are CREATE VIEW and CREATE MACRO expected", 1},
		{"a wrong column", "CREATE MACRO m(x) AS x;\n\nCREATE VIEW v AS\nSELECT nme FROM a", "nme", 4},
		{"a wrong column in the first line", "\nSELECT nme FROM a", "nme", 2},
		{"two that need each other", "CREATE VIEW u AS FROM v;\nCREATE VIEW v AS FROM w;\nCREATE VIEW w AS FROM v", "v needs w, and w needs v: none of them can be made first", 2},
		{"one that need not be told", "CREATE VIEW u AS FROM v;\nCREATE VIEW v AS SELECT tidy(id) FROM a;\nCREATE MACRO tidy(x) AS trimm(x)", "trimm", 3},
		{"one name twice", "CREATE VIEW v AS FROM a;\nCREATE VIEW V AS FROM a", "is there already", 2},
		{"the name of a source", "CREATE VIEW A AS SELECT 2 AS id", "is the name of a source", 1},
		{"a name of our own", "CREATE MACRO ref(a, b) AS a", "is dvmigrate's own", 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := Describe(t.Context(), s, []Script{{"lib/x.sql", c.sql}}, func(func(string) ([]duckstage.ColumnInfo, error)) error { return nil })
			var script *ScriptError
			var sql *duckstage.SQLError
			if !errors.As(err, &script) || script.File != "lib/x.sql" || !errors.As(err, &sql) || !strings.Contains(sql.Message, c.want) || sql.Line != c.line || strings.Count(err.Error(), "does not exist") > 1 {
				t.Errorf("%v", err)
			}
			if _, err := s.Describe(t.Context(), "SELECT id FROM a"); err != nil {
				t.Error(err)
			}
		})
	}
}
