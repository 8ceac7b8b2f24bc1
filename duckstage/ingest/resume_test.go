//go:build unix

package ingest

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"dvmigrate/duckstage"
)

// TestReadingGoesOnAfterAnInterruption stops a reading in its middle, opens the stage
// anew as after a kill, and goes on: nothing is read twice, nothing is missing, and a
// server that was written to meanwhile is noticed.
func TestReadingGoesOnAfterAnInterruption(t *testing.T) {
	dsn := startPostgres(t)
	for _, c := range []struct {
		name, meanwhile string
		notes           int
	}{
		{"nobody has written", "", 0},
		{"rows were added", "INSERT INTO big SELECT i, 'new' FROM generate_series(45001, 45010) i", 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			psql(t, dsn, "-c", "DROP TABLE IF EXISTS big; CREATE TABLE big AS SELECT i AS id, 'name ' || i AS name FROM generate_series(1, 45000) i; ALTER TABLE big ADD PRIMARY KEY (id)")
			path := filepath.Join(t.TempDir(), "stage.duckdb")
			src := Source{Name: "big", Database: &Database{Kind: Postgres, DSN: dsn, Table: "big", Key: []string{"id"}, rows: 5000}}
			interruptedRun(t, path, src, 20_000)
			if c.meanwhile != "" {
				psql(t, dsn, "-c", c.meanwhile)
			}
			s := openStage(t, path)
			res := ingest(t, s, src)
			if res.Resumed == 0 || len(res.Notes) != c.notes {
				t.Errorf("result = %+v", res)
			}
			want := strings.TrimSpace(psql(t, dsn, "-c", "SELECT count(*), count(DISTINCT id), min(id), max(id) FROM big"))
			if got := table(t, s, "SELECT count(*), count(DISTINCT id), min(id), max(id) FROM source.big"); got[0] != want {
				t.Errorf("rows = %v, PostgreSQL has %v", got, want)
			}
			if got := table(t, s, "SELECT count(*) FROM duckdb_tables() WHERE starts_with(table_name, 'part_')"); got[0] != "0" {
				t.Errorf("%v parts are left", got)
			}
			// Another extract of the same source does not take up the parts of this one.
			src.Database.Table, src.Database.Query = "", "SELECT * FROM big WHERE id < 10"
			if res := ingest(t, s, src); res.Rows != 9 || res.Resumed != 0 {
				t.Errorf("another extract: %+v", res)
			}
		})
	}
}

// TestALostConnectionIsNoFaultOfTheQuestion: the server ends the connections amid reading; it is said
// what to do, and the next reading goes on.
func TestALostConnectionIsNoFaultOfTheQuestion(t *testing.T) {
	dsn := startPostgres(t)
	psql(t, dsn, "-c", "DROP TABLE IF EXISTS cut; CREATE TABLE cut AS SELECT i AS id, repeat('x', 200) AS name FROM generate_series(1, 60000) i; ALTER TABLE cut ADD PRIMARY KEY (id)")
	s := newStage(t)
	src := Source{Name: "cut", Database: &Database{Kind: Postgres, DSN: dsn, Table: "cut", rows: 5000}}
	ended := false
	_, err := Run(t.Context(), s, src, func(done, _ int64) {
		if done > 20_000 && !ended {
			ended = true
			psql(t, dsn, "-c", "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'dvmigrate'")
		}
	})
	if err == nil || !strings.Contains(err.Error(), "was lost") || !strings.Contains(err.Error(), "it goes on with the ranges that are missing") {
		t.Errorf("error = %v", err)
	}
	if res := ingest(t, s, src); res.Rows != 60000 || res.Resumed == 0 {
		t.Errorf("result = %+v", res)
	}
}

func openStage(t *testing.T, path string) *duckstage.Stage {
	t.Helper()
	s, err := duckstage.Open(t.Context(), path, duckstage.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// interruptedRun reads into a stage of its own until so many rows have come, and closes it.
func interruptedRun(t *testing.T, path string, src Source, rows int64) {
	t.Helper()
	s, err := duckstage.Open(t.Context(), path, duckstage.Options{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	_, err = Run(ctx, s, src, func(done, _ int64) {
		if done > rows {
			cancel()
		}
	})
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("error = %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}
