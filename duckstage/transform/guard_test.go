package transform

import (
	"errors"
	"strings"
	"testing"
)

// TestGuard: a staging that has lost too many rows changes nothing.
func TestGuard(t *testing.T) {
	s := newStage(t)
	table := plain
	table.MaxGone = 0.5
	mustExec(t, s, "CREATE TABLE source.a AS SELECT i::VARCHAR AS id, 'x' AS name, '1' AS amount FROM range(300) t(i)")
	stageTables(t, s, table)
	mustExec(t, s, "DELETE FROM source.a WHERE id::INTEGER >= 149")
	var gone *GoneError
	if _, err := Run(t.Context(), s, nil, []Table{table}, nil); !errors.As(err, &gone) || *gone != (GoneError{Table: "account", Rows: 300, Gone: 151, Allows: 0.5}) {
		t.Fatalf("151 of 300 rows are gone: %v", err)
	}
	rekeyed := table
	rekeyed.SQL = strings.Replace(rekeyed.SQL, "id AS legacy_key", "'K' || id AS legacy_key", 1)
	if _, err := Run(t.Context(), s, nil, []Table{rekeyed}, nil); !errors.As(err, &gone) || gone.Gone != 300 || gone.Fresh != 149 {
		t.Fatalf("all keys are others: %v", err)
	}
	expect(t, s, "SELECT count(*), (SELECT count(*) FROM dm.gone), (SELECT max(generation) FROM dm.tables) FROM account", "300|0|1")
	mustExec(t, s, "INSERT INTO source.a VALUES ('149', 'x', '1')")
	stageTables(t, s, table)
	expect(t, s, "SELECT count(*), (SELECT count(*) FROM dm.gone) FROM account", "150|150")

	// However large the share, up to a hundred rows may go.
	table.MaxGone = 0.01
	mustExec(t, s, "DELETE FROM source.a WHERE id::INTEGER >= 50")
	stageTables(t, s, table)
	expect(t, s, "SELECT count(*) FROM account", "50")
}
