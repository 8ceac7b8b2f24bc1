package transform

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"dvmigrate/duckstage"
)

// childVar makes the test binary a process that stages until it is killed; its value is
// the stage's path.
const childVar = "TRANSFORM_TEST_CHILD"

func TestMain(m *testing.M) {
	if path := os.Getenv(childVar); path != "" {
		fmt.Fprintln(os.Stderr, stageForEver(path))
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// crashTables are staged again and again: sources of g rows more in each generation g.
func crashTables() []Table {
	return []Table{
		{Name: "account", SQL: "SELECT id AS legacy_key, parent, n FROM a", Columns: []Column{{Name: "n", SQLType: "INTEGER"}}, Lookups: []Lookup{{Column: "parent", Targets: []Target{{Table: "account", Staged: true}}}}},
		{Name: "contact", SQL: "SELECT 'c' || id AS legacy_key, id AS account, n FROM a", Columns: []Column{{Name: "n", SQLType: "INTEGER"}}, Lookups: []Lookup{{Column: "account", Targets: []Target{{Table: "account", Staged: true}}}}},
	}
}

// nextSource makes the source of one more generation.
func nextSource(ctx context.Context, s *duckstage.Stage) error {
	_, err := s.Exec(ctx, `CREATE OR REPLACE TABLE source.a AS SELECT i::VARCHAR AS id, (i // 2)::VARCHAR AS parent, g AS n
		FROM (SELECT value::INTEGER + 1 AS g FROM dm.meta WHERE key = 'generation'), range(20000 + g) r(i)`)
	return err
}

func stageForEver(path string) error {
	ctx := context.Background()
	s, err := duckstage.Open(ctx, path, duckstage.Options{Threads: 2})
	if err != nil {
		return err
	}
	fmt.Println("ready")
	for {
		if err := nextSource(ctx, s); err != nil {
			return err
		}
		if _, err := Run(ctx, s, nil, crashTables(), nil); err != nil {
			return err
		}
		fmt.Println("staged")
	}
}

// A kill at any moment leaves one whole generation: the tables are of the same one, and
// every row has the number it had.
func TestKillLeavesAWholeGeneration(t *testing.T) {
	path := filepath.Join(t.TempDir(), "stage.duckdb")
	ids := map[string]string{}
	for round := range 6 {
		killAfter(t, path, time.Duration(round*70)*time.Millisecond)
		s, err := duckstage.Open(t.Context(), path, duckstage.Options{})
		if err != nil {
			t.Fatal(err)
		}
		checkGeneration(t, s, ids)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// killAfter lets a child stage once, and kills it some time into the next staging.
func killAfter(t *testing.T, path string, wait time.Duration) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childVar+"="+path)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewReader(out)
	for range 2 {
		if _, err := lines.ReadString('\n'); err != nil {
			t.Fatal(err)
		}
	}
	timer := time.AfterFunc(wait, func() { cmd.Process.Kill() })
	defer timer.Stop()
	var exit *exec.ExitError
	if err := cmd.Wait(); !errors.As(err, &exit) || exit.Exited() {
		t.Fatalf("the child was not killed: %v", err)
	}
}

func checkGeneration(t *testing.T, s *duckstage.Stage, ids map[string]string) {
	t.Helper()
	expect(t, s, `SELECT count(DISTINCT generation), max(generation) = (SELECT value::INTEGER FROM dm.meta WHERE key = 'generation') FROM dm.tables`, "1|true")
	expect(t, s, `SELECT count(*) - 20000 - (SELECT max(generation) FROM dm.tables), count(DISTINCT n), count(dm_hold), count(DISTINCT dm_seq) = 1 + max(dm_seq) FROM account`, "0|1|0|true")
	expect(t, s, `SELECT (SELECT count(*) FROM contact) - (SELECT count(*) FROM account), (SELECT any_value(n) FROM contact) - (SELECT any_value(n) FROM account)`, "0|0")
	expect(t, s, `SELECT count(*) FROM contact c JOIN account a ON a.dm_id = c.account AND 'c' || a.legacy_key <> c.legacy_key`, "0")
	expect(t, s, `SELECT count(*) FROM duckdb_tables() WHERE schema_name = 'dm' AND (table_name LIKE 'new%' OR table_name LIKE 'data%')`, "2")
	for _, line := range rows(t, s, "SELECT legacy_key, dm_id FROM account WHERE legacy_key IN ('0', '777', '19999')") {
		if key := line[:len(line)-37]; ids[key] == "" {
			ids[key] = line
		} else if ids[key] != line {
			t.Errorf("%s was %s", line, ids[key])
		}
	}
}
