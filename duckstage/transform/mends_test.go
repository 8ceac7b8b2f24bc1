package transform

import (
	"errors"
	"testing"
)

// mendable is a table with a number and a lookup.
var mendable = Table{Name: "contact", SQL: "SELECT id AS legacy_key, name, size, ref('account', parent) AS parentid FROM c",
	Columns: []Column{{Name: "name", SQLType: "VARCHAR"}, {Name: "size", SQLType: "INTEGER"}},
	Lookups: []Lookup{{Column: "parentid", Targets: []Target{{Table: "account", Staged: true}}}}}

func TestMends(t *testing.T) {
	s := newStage(t)
	mustExec(t, s, "CREATE TABLE source.a AS SELECT 'A' AS id, 'x' AS name, '1' AS amount UNION ALL SELECT 'B', 'y', '2'")
	mustExec(t, s, "CREATE TABLE source.c AS FROM (VALUES ('1', 'one', 1, 'A'), ('2', NULL, 2, 'Z')) t(id, name, size, parent)")
	stageTables(t, s, plain, mendable)
	yield := func() (out []string) {
		err := Yield(t.Context(), s, nil, mendable, "SELECT '2' AS dm_key", func(key string, names, values []string) error {
			for i := range names {
				out = append(out, names[i]+"="+values[i])
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	if got := yield(); len(got) != 3 || got[0] != "name=" || got[1] != "size=2" || got[2] != "parentid=account:Z" {
		t.Fatalf("the SELECT yields %q", got)
	}
	store := func(mends ...Mend) {
		t.Helper()
		if err := StoreMends(t.Context(), s, nil, mendable, mends); err != nil {
			t.Fatal(err)
		}
	}
	var bad *MendError
	for _, m := range []Mend{{Key: "2", Column: "size", Was: "2", Value: "big"}, {Key: "2", Column: "parentid", Was: "account:Z", Value: "B"}} {
		if err := StoreMends(t.Context(), s, nil, mendable, []Mend{{Key: "2", Column: "name", Value: "kept?"}, m}); !errors.As(err, &bad) || bad.Column != m.Column {
			t.Errorf("mend %+v: %v", m, err)
		}
	}
	store(Mend{Key: "2", Column: "name", Value: "two"}, Mend{Key: "2", Column: "parentid", Was: "account:Z", Value: "account:B"})
	if res := stageTables(t, s, mendable); res[0].Changed != 1 || res[0].Same != 1 || res[0].Held != 0 {
		t.Errorf("after the mends: %+v", res)
	}
	expect(t, s, "SELECT c.legacy_key, c.name, c.size, a.legacy_key FROM main.contact c JOIN main.account a ON a.dm_id = parentid ORDER BY 1", "1|one|1|A", "2|two|2|B")

	// Mended again, put back to what the SELECT yields, and overtaken by the source.
	store(Mend{Key: "2", Column: "name", Was: "two", Value: "zwei"}, Mend{Key: "2", Column: "parentid", Was: "account:B", Value: "account:A"})
	expect(t, s, `SELECT "column", was, value FROM dm.mends ORDER BY 1`, "name||zwei", "parentid|account:Z|account:A")
	store(Mend{Key: "2", Column: "parentid", Was: "account:A", Value: "account:Z"})
	expect(t, s, `SELECT "column" FROM dm.mends`, "name")
	mustExec(t, s, "UPDATE source.c SET name = 'deux' WHERE id = '2'")
	stageTables(t, s, plain, mendable)
	expect(t, s, "SELECT name FROM main.contact ORDER BY legacy_key", "one", "deux")
}
