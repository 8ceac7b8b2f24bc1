//go:build unix

package ingest

import (
	"strings"
	"testing"
)

func TestWatermarkPostgres(t *testing.T) {
	dsn := startPostgres(t)
	for _, kind := range []string{"timestamp", "timestamptz"} {
		m := &marked{s: newStage(t), src: Source{Name: "orders", Database: &Database{Kind: Postgres, DSN: dsn, Table: "bookings", Key: []string{"id"}}, Feed: Feed{Key: []string{"id"}, Watermark: "changed"}},
			exec: func(statements string) { t.Helper(); psql(t, dsn, "-c", "SET timezone = 'UTC'; "+statements) }}
		testWatermark(t, m, kind)
		if kind == "timestamp" {
			m.exec("ALTER TABLE bookings ADD COLUMN seen bigint; UPDATE bookings SET seen = 5000 + id")
			m.src.Feed.Watermark = "seen"
			m.read(t)
			m.exec("UPDATE bookings SET name = 'moved', seen = 9000 WHERE id = 4")
			if rows, notes := m.read(t); !strings.Contains(notes, "read from seen 4004 on") || !strings.Contains(strings.Join(rows, " "), "4|moved") {
				t.Errorf("%v, %s", rows, notes)
			}
		}
	}
}

func TestWatermarkMariaDB(t *testing.T) {
	dsn := startMaria(t)
	for _, kind := range []string{"datetime(6)", "timestamp"} {
		m := &marked{s: newStage(t), src: Source{Name: "orders", Database: &Database{Kind: MySQL, DSN: dsn, Table: "bookings", Key: []string{"id"}}, Feed: Feed{Key: []string{"id"}, Watermark: "changed"}},
			exec: func(statements string) { t.Helper(); maria(t, "SET time_zone = '+00:00'; "+statements) }}
		testWatermark(t, m, kind)
		m.exec("DROP TABLE bookings") // another test lists what there is
	}
}
