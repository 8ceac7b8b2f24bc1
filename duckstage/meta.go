package duckstage

import (
	"context"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
)

// formatNumber is the layout this package writes. It goes up by one when an older
// dvmigrate could misread the file.
const formatNumber = "2"

// layout makes a new stage. The tables carry no keys: indexes of staging tables are
// where DuckDB's storage is weakest (engines.md part I, 10).
var layout = []string{
	`CREATE SCHEMA source`,
	`CREATE SCHEMA dm`,
	`CREATE TABLE dm.meta (key VARCHAR, value VARCHAR)`,
	`CREATE TABLE dm.tables (name VARCHAR, number USMALLINT, generation UINTEGER, data VARCHAR, source VARCHAR, "rows" BIGINT, next_seq BIGINT, keep_id BOOLEAN)`,
	`CREATE TABLE dm.gone ("table" VARCHAR, seq UINTEGER, dm_id UUID, legacy_key VARCHAR, generation UINTEGER, end1 UUID, end2 UUID)`,
	`CREATE TABLE dm.sources (name VARCHAR, data VARCHAR, files BIGINT, size BIGINT, mtime TIMESTAMP, arrival TIMESTAMP, "rows" BIGINT, rejected BIGINT, seconds DOUBLE)`,
	`CREATE TABLE dm.rejects (source VARCHAR, file VARCHAR, line BIGINT, "column" VARCHAR, message VARCHAR, "text" VARCHAR)`,
}

// leftovers finds what an interrupted ingest or transform has left: both build under
// names that begin with new_, and refer to what they have built in their last step.
const leftovers = `SELECT 'DROP TABLE dm."' || replace(table_name, '"', '""') || '"' FROM duckdb_tables()
	WHERE database_name = current_database() AND schema_name = 'dm' AND (starts_with(table_name, 'new_')
		OR starts_with(table_name, 'data_') AND table_name NOT IN (SELECT data FROM dm.tables WHERE data IS NOT NULL)
		OR starts_with(table_name, 'before_') AND table_name NOT IN (SELECT 'before_' || number || '_' || generation FROM dm.tables)
		OR starts_with(table_name, 'source_') AND table_name NOT IN (SELECT data FROM dm.sources) AND table_name NOT IN (SELECT source FROM dm.tables WHERE source IS NOT NULL))`

// bootstrap checks what the file is, makes the layout when it is new, and clears what
// an interrupted run has left.
func (s *Stage) bootstrap(ctx context.Context) error {
	fresh, err := s.identify(ctx)
	if err != nil {
		return err
	}
	if fresh {
		if s.ro {
			return fmt.Errorf("open %s: %w: it is empty", s.path, ErrNotStage)
		}
		if err := s.create(ctx); err != nil {
			return fmt.Errorf("create stage: %w", err)
		}
	}
	format, err := s.Meta(ctx, "format")
	if err != nil {
		return err
	}
	if format != formatNumber {
		return fmt.Errorf("open %s: %w: it has %q, this dvmigrate reads %q", s.path, ErrVersion, format, formatNumber)
	}
	set, err := s.Meta(ctx, "set")
	if err != nil {
		return err
	}
	if s.set != ([16]byte{}) && set != hex.EncodeToString(s.set[:]) {
		return fmt.Errorf("open %s: %w", s.path, ErrOtherSet)
	}
	if id, err := hex.DecodeString(set); err == nil {
		copy(s.set[:], id)
	}
	if s.ro || fresh {
		return nil
	}
	return s.clearLeftovers(ctx)
}

// identify reports whether the database is empty, and refuses a foreign one.
func (s *Stage) identify(ctx context.Context) (fresh bool, err error) {
	var meta, tables int
	err = s.Row(ctx, []any{&meta, &tables}, `SELECT count(*) FILTER (schema_name = 'dm' AND table_name = 'meta'), count(*)
		FROM duckdb_tables() WHERE database_name = current_database()`)
	if err != nil {
		return false, err
	}
	if meta == 0 && tables > 0 {
		return false, fmt.Errorf("open %s: %w: it is a DuckDB file with other tables", s.path, ErrNotStage)
	}
	return meta == 0, nil
}

// create makes the layout in one transaction, so that a crash leaves an empty file.
func (s *Stage) create(ctx context.Context) error {
	return s.With(ctx, func(c *Conn) error {
		return c.Tx(ctx, func() error {
			for _, q := range layout {
				if _, err := c.Exec(ctx, q); err != nil {
					return err
				}
			}
			_, err := c.Exec(ctx, `INSERT INTO dm.meta VALUES ('format', ?), ('set', ?), ('generation', '0')`,
				formatNumber, hex.EncodeToString(s.set[:]))
			return err
		})
	})
}

func (s *Stage) clearLeftovers(ctx context.Context) error {
	var drops []string
	err := s.Rows(ctx, leftovers, nil, func(scan func(...any) error) error {
		var q string
		defer func() { drops = append(drops, q) }()
		return scan(&q)
	})
	if err != nil || len(drops) == 0 {
		return err
	}
	_, err = s.Exec(ctx, strings.Join(drops, ";"))
	return err
}

// BlocksApart has DuckDB take the memory of its blocks from a part of its own, as large as its
// limit. What a block does not fill is written as it lies: memory that something else had
// before, such as the text of a source that is being masked, whose lines were found in the
// file so (300,000 rows of 100 bytes: 299 lines of text in two blocks; none with this). The
// part is never given back, so that only who reads what must not be kept asks for it. It costs
// no time: 5 M rows of 12 columns with two lookups, staged in turn with 4 GB, took 39.0 and
// 38.9 s of CPU time with it, 42.4 and 40.7 s without, 2.8-2.9 GB of memory and 2.7 GB.
func (s *Stage) BlocksApart(ctx context.Context) error {
	var limit string
	if err := s.Row(ctx, []any{&limit}, "SELECT current_setting('memory_limit')"); err != nil {
		return err
	}
	_, err := s.Exec(ctx, "SET GLOBAL block_allocator_memory="+Quote(limit))
	return err
}

// Set is the id of the migration set the stage belongs to.
func (s *Stage) Set() [16]byte { return s.set }

// Meta reads one of the stage's own facts; "" when it was never set.
func (s *Stage) Meta(ctx context.Context, key string) (string, error) {
	var value string
	err := s.Row(ctx, []any{&value}, `SELECT value FROM dm.meta WHERE key = ?`, key)
	if errors.Is(err, sql.ErrNoRows) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("read %s: %w", key, err)
	}
	return value, nil
}

// SetMeta stores one fact durably.
func (s *Stage) SetMeta(ctx context.Context, key, value string) error {
	return s.With(ctx, func(c *Conn) error {
		return c.Tx(ctx, func() error { return c.SetMeta(ctx, key, value) })
	})
}

// SetMeta stores one fact in the connection's transaction.
func (c *Conn) SetMeta(ctx context.Context, key, value string) error {
	if _, err := c.Exec(ctx, `DELETE FROM dm.meta WHERE key = ?`, key); err != nil {
		return fmt.Errorf("store %s: %w", key, err)
	}
	if _, err := c.Exec(ctx, `INSERT INTO dm.meta VALUES (?, ?)`, key, value); err != nil {
		return fmt.Errorf("store %s: %w", key, err)
	}
	return nil
}
