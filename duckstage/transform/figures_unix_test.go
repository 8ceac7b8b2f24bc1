//go:build unix

package transform

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"dvmigrate/duckstage"
)

// TestDeltaFigures compares a later staging, of which one row in a hundred has changed, with
// what one would type by hand: the SELECT into a table, and an anti-join of it with the
// former one over all columns. It tells the comparison alone, from the rows that were read to
// the relations that a load takes them from, beside the anti-join alone, and both with the
// reading. DVMIGRATE_DELTA_ROWS says how many rows, DVMIGRATE_DELTA_MEMORY with how much
// memory; a run of some thousand only shows that it works.
func TestDeltaFigures(t *testing.T) {
	rows, _ := strconv.Atoi(os.Getenv("DVMIGRATE_DELTA_ROWS"))
	rounds := 3
	if rows == 0 {
		rows, rounds = 5000, 1
	}
	s := newStageWith(t, duckstage.Options{Set: testSet, Threads: 2, Memory: os.Getenv("DVMIGRATE_DELTA_MEMORY")})
	table := Table{Name: "account", Known: Known{Written: "SELECT range::UINTEGER AS dm_seq, TIMESTAMP '2026-01-01' AS dm_written, false AS dm_whole FROM range(" + strconv.Itoa(rows) + ")", Waiting: "SELECT 0::UINTEGER AS dm_seq LIMIT 0", Passing: "SELECT 0::UINTEGER AS dm_seq, '' AS dm_pass LIMIT 0"}}
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
	change := "UPDATE source.rows SET c5 = c5 || '!' WHERE hash(legacy_key) % 100 = 0; CHECKPOINT"
	mustExec(t, s, "CREATE TABLE main.former AS SELECT "+strings.Join(names, ", ")+" FROM source.rows; "+change)

	timed := func(best *cost, do func()) {
		begin, used := time.Now(), usedCPU(t)
		do()
		took := cost{time.Since(begin), usedCPU(t) - used}
		if best.wall == 0 || took.wall < best.wall {
			best.wall = took.wall
		}
		if best.cpu == 0 || took.cpu < best.cpu {
			best.cpu = took.cpu
		}
	}
	var read, joined, filled, compared cost // the best of some rounds: others use the machine
	for range rounds {
		timed(&read, func() {
			mustExec(t, s, "CREATE OR REPLACE TABLE main.latest AS "+strings.Replace(table.SQL, "FROM rows", "FROM source.rows", 1)+"; CHECKPOINT")
		})
		timed(&joined, func() {
			mustExec(t, s, "CREATE OR REPLACE TABLE main.differing AS SELECT * FROM main.latest ANTI JOIN main.former USING ("+strings.Join(names, ", ")+"); CHECKPOINT")
		})
		changed := stageInSteps(t, s, table, func(do func()) { timed(&filled, do) }, func(do func()) { timed(&compared, do) })
		var byHand int64
		if err := s.Row(t.Context(), []any{&byHand}, "SELECT count(*) FROM main.differing"); err != nil || changed != byHand {
			t.Fatalf("%d rows have changed, %d by hand (%v)", changed, byHand, err)
		}
		mustExec(t, s, "CREATE OR REPLACE TABLE main.former AS FROM main.latest; "+change)
	}
	t.Logf("%d rows, 1 %% changed: compared %s the time of the anti-join by hand (%v to %v); with the reading %s", rows, compared.times(joined), compared.wall, joined.wall,
		cost{filled.wall + compared.wall, filled.cpu + compared.cpu}.times(cost{read.wall + joined.wall, read.cpu + joined.cpu}))
}

// cost is what a step takes.
type cost struct{ wall, cpu time.Duration }

func (c cost) times(other cost) string {
	return fmt.Sprintf("%.2f x (CPU time %.2f x)", c.wall.Seconds()/other.wall.Seconds(), c.cpu.Seconds()/max(other.cpu.Seconds(), 1e-9))
}

// usedCPU is the CPU time of this process so far.
func usedCPU(t *testing.T) time.Duration {
	t.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// stageInSteps is Run of a table, the reading apart from the rest. It returns how many rows
// have changed.
func stageInSteps(t *testing.T, s *duckstage.Stage, table Table, filling, comparing func(func())) (changed int64) {
	t.Helper()
	err := within(t.Context(), s, nil, func(c *duckstage.Conn) (err error) {
		ctx := t.Context()
		jobs, faults := build(ctx, c, []Table{table})
		if len(faults) > 0 {
			return faults[0]
		}
		run, j := &staging{resolver: resolver{set: s.Set(), jobs: jobs}, c: c}, jobs[0]
		steps := func(all ...func() error) {
			for _, step := range all {
				if err == nil {
					err = step()
				}
			}
		}
		var arrival string
		if arrival, err = run.prepare(ctx); err != nil {
			return err
		}
		filling(func() {
			steps(func() error { return j.fill(ctx, c, arrival, nil) }, func() error { return c.Checkpoint(ctx) })
		})
		comparing(func() {
			steps(func() error { return run.identify(ctx, j) }, func() error { return run.secondPass(ctx, j) },
				func() error { return c.Tx(ctx, func() error { return run.swap(ctx) }) }, func() error { return c.Checkpoint(ctx) })
		})
		changed = j.result.Changed
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return changed
}
