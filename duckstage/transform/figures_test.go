package transform

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestDeltaFigures compares a later staging, of which one row in a hundred has changed, with
// what one would type by hand: the SELECT into a table, and an anti-join of it with the
// former one over all columns. DVMIGRATE_DELTA_ROWS says how many rows; a run of some
// thousand only shows that it works.
func TestDeltaFigures(t *testing.T) {
	rows, _ := strconv.Atoi(os.Getenv("DVMIGRATE_DELTA_ROWS"))
	if rows == 0 {
		rows = 5000
	}
	s := newStage(t)
	table := Table{Name: "account", Known: Known{Written: "SELECT dm_seq, TIMESTAMP '2026-01-01' AS dm_written, false AS dm_whole FROM main.account", Waiting: "SELECT 0::UINTEGER AS dm_seq LIMIT 0"}}
	columns := []string{"i::VARCHAR AS legacy_key"}
	names := []string{"legacy_key"}
	for n := range 11 {
		name := fmt.Sprintf("c%d", n)
		names = append(names, name)
		table.Columns = append(table.Columns, Column{Name: name, SQLType: "VARCHAR"})
		columns = append(columns, fmt.Sprintf("md5((i * 31 + %d)::VARCHAR)[:%d] AS %s", n, 6+n, name))
	}
	mustExec(t, s, fmt.Sprintf("CREATE TABLE source.rows AS SELECT %s FROM range(%d) t(i)", strings.Join(columns, ", "), rows))
	table.SQL = "SELECT " + strings.Join(names, ", ") + " FROM rows"
	stageTables(t, s, table)
	mustExec(t, s, "CREATE TABLE main.former AS SELECT "+strings.Join(names, ", ")+" FROM source.rows; UPDATE source.rows SET c5 = 'changed' WHERE hash(legacy_key) % 100 = 0; CHECKPOINT")

	for range 2 { // the second round has the files in memory
		begin := time.Now()
		mustExec(t, s, "CREATE OR REPLACE TABLE main.latest AS "+strings.Replace(table.SQL, "FROM rows", "FROM source.rows", 1)+"; CHECKPOINT")
		read := time.Since(begin)
		mustExec(t, s, "CREATE OR REPLACE TABLE main.differing AS SELECT * FROM main.latest ANTI JOIN main.former USING ("+strings.Join(names, ", ")+"); CHECKPOINT")
		byHand := time.Since(begin)
		begin = time.Now()
		res := stageTables(t, s, table)
		ours := time.Since(begin)
		t.Logf("%d rows, %d changed: staged and compared in %v; by hand read in %v and anti-joined in %v: %.2f times", rows, res[0].Changed, ours, read, byHand-read, ours.Seconds()/byHand.Seconds())
		mustExec(t, s, "UPDATE source.rows SET c5 = c5 || '!' WHERE hash(legacy_key) % 100 = 0; CHECKPOINT")
	}
}
