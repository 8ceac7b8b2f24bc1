package appliance

import (
	"archive/zip"
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"dvmigrate/duckstage"
	"dvmigrate/duckstage/column"
	"dvmigrate/duckstage/ingest"
	"dvmigrate/ledger"
)

// stage searches every text of a stage: of all its tables, those of the house too.
func (s *maskSearch) stage(ctx context.Context, place string, stage *duckstage.Stage) error {
	type texts struct{ schema, table, column string }
	var all []texts
	err := stage.Rows(ctx, `SELECT c.schema_name, c.table_name, c.column_name FROM duckdb_columns() c JOIN duckdb_tables() t USING (database_name, schema_name, table_name)
		WHERE database_name = current_database() AND (c.data_type IN ('JSON', 'BLOB') OR contains(c.data_type, 'VARCHAR') OR starts_with(c.data_type, 'ENUM')) ORDER BY ALL`, nil, func(scan func(...any) error) error {
		var t texts
		err := scan(&t.schema, &t.table, &t.column)
		all = append(all, t)
		return err
	})
	if err != nil {
		return err
	}
	var bytes int64
	var folding []byte
	for _, t := range all {
		hit := s.hit(place + ": " + shownRelation(ctx, stage, t.schema, t.table) + "." + t.column)
		query := "SELECT CAST(" + duckstage.Ident(t.column) + " AS VARCHAR) FROM " + duckstage.Ident(t.schema) + "." + duckstage.Ident(t.table) + " WHERE " + duckstage.Ident(t.column) + " IS NOT NULL"
		err := stage.Scan(ctx, query, nil, func(b *column.Batch) error {
			for i := range b.Rows {
				folding = append(folding[:0], b.Columns[0].TextAt(i)...)
				foldBytes(folding)
				bytes += int64(len(folding))
				s.needles.find(folding, 0, len(folding), hit)
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	s.place(place, fmt.Sprintf("every text in %d columns of its tables", len(all)), bytes)
	return nil
}

func (s *maskSearch) place(place, how string, bytes int64) {
	s.m.Places = append(s.m.Places, MaskedPlace{place, how, bytes})
}

// liveBytes searches the bytes of the open stage's file and log, as they lie: also blocks that
// no table has any more. Who opened and closed that file would drop DuckDB's lock
// (engines.md part I, 4), so the stage hands them out.
func (s *maskSearch) liveBytes(ctx context.Context) error {
	const place = "stage: its file"
	seek := seeker{needles: &s.needles, hit: s.hit(place)}
	if err := s.p.stage.SnapshotTo(ctx, &seek); err != nil {
		return err
	}
	s.place(place, "its bytes as they lie, with the log", seek.size)
	return errors.Join(seek.Close(), s.freeBlocks(ctx, "stage", s.p.stage))
}

// freeBlocks says how much of a stage's file no table has: what was dropped lies there as DuckDB
// wrote it, texts compressed, so that a search of the bytes proves little. What does prove
// something is that nothing is written there before it is masked.
func (s *maskSearch) freeBlocks(ctx context.Context, place string, stage *duckstage.Stage) error {
	var free, size int64
	if err := stage.Row(ctx, []any{&free, &size}, "SELECT free_blocks, block_size FROM pragma_database_size() WHERE database_name = current_database()"); err != nil {
		return err
	}
	if free > 0 {
		s.m.Notes = append(s.m.Notes, fmt.Sprintf("%s: %d KiB of its file are free and have what was dropped, which is compressed in part: searched as bytes only. Of sources that were always masked no original was written there", place, free*size>>10))
	}
	return nil
}

// files searches every file of a folder, but those of the sources, of this search, and
// the archives of snapshots, which are searched when they are restored.
func (s *maskSearch) files(ctx context.Context, place, dir string) error {
	skip, err := s.skipped()
	if err != nil {
		return err
	}
	return filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || ctx.Err() != nil {
			return errors.Join(err, context.Cause(ctx))
		}
		if d.IsDir() && skip[path] {
			return fs.SkipDir
		}
		if !d.Type().IsRegular() || skip[path] {
			return nil
		}
		rel, err := filepath.Rel(s.p.Config.Dir, path)
		if place != "" || err != nil || !filepath.IsLocal(rel) {
			if rel, err = filepath.Rel(dir, path); err != nil {
				return err
			}
			if place == "" {
				rel = path
			}
		}
		return s.file(ctx, place+filepath.ToSlash(rel), path)
	})
}

// skipped are the paths that are not searched as files.
func (s *maskSearch) skipped() (map[string]bool, error) {
	p := s.p
	dir, copies := p.snapshotDirs(nil)
	skip := map[string]bool{s.scratch: true, dir: true}
	for _, c := range copies {
		skip[c] = true
	}
	skip[p.stagePath()], skip[p.stagePath()+".wal"] = true, true // liveBytes
	if p.Config.Masking.KeyFile != "" {
		skip[p.Config.Path(p.Config.Masking.KeyFile)] = true
	}
	for name, src := range p.Config.Sources {
		if file, err := p.source(name); err == nil && file.Database != nil {
			skip[file.Database.File(file.Dir)] = true
		}
		for _, path := range src.Path {
			found, err := filepath.Glob(p.Config.Path(path))
			if err != nil {
				return nil, err
			}
			for _, f := range append(found, p.Config.Path(path)) {
				skip[f] = true
			}
		}
	}
	return skip, nil
}

// file searches a file, and what it holds in packed form.
func (s *maskSearch) file(ctx context.Context, place, path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if err := s.contents(ctx, place, path, f, info.Size()); err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		s.unread(place, "%v", err)
	}
	return nil
}

// contents searches what a file holds, by what its first bytes say it is.
func (s *maskSearch) contents(ctx context.Context, place, path string, f *os.File, size int64) error {
	r := bufio.NewReaderSize(f, 1<<20)
	head, _ := r.Peek(20) // less of a short file
	switch is := func(magic string) bool { return strings.HasPrefix(string(head), magic) }; {
	case is("dvmundo"):
		left, err := s.packed(place, "the journal's values, unpacked", func(w io.Writer) (int64, error) { return ledger.UndoTexts(path, w) })
		if left > 0 {
			s.unread(place, "%d bytes of it are damaged, or half written", left)
		}
		return err
	case is("PK\x03\x04"):
		return s.zip(ctx, place, f, size)
	case is("PAR1"):
		return s.parquet(ctx, place, path)
	case is("age-encryption.org"), is("-----BEGIN AGE"):
		return errors.New("it is encrypted")
	case is("BZh"), is("7z\xbc\xaf"), is("\xfd7zXZ"), is("%PDF"):
		s.unread(place, "it is packed in a way that is not unpacked here; only its bytes were searched")
	case len(head) >= 12 && string(head[8:12]) == "DUCK":
		s.unread(place, "it is a DuckDB file, whose texts may be compressed; only its bytes were searched")
	}
	return s.stream(place, r)
}

// stream searches a text, and what it is packed of.
func (s *maskSearch) stream(place string, r *bufio.Reader) error {
	how := "its text"
	if inner, err := ingest.Unpacked(r); err != nil {
		return err
	} else if inner != nil {
		defer inner.Close()
		how, r = "its text, unpacked", bufio.NewReader(inner)
	}
	_, err := s.packed(place, how, func(w io.Writer) (int64, error) {
		_, err := io.Copy(w, r)
		return 0, err
	})
	return err
}

// packed searches what fill writes.
func (s *maskSearch) packed(place, how string, fill func(w io.Writer) (int64, error)) (int64, error) {
	seek := seeker{needles: &s.needles, hit: s.hit(place)}
	n, err := fill(&seek)
	if err := errors.Join(err, seek.Close()); err != nil {
		return n, err
	}
	s.place(place, how, seek.size)
	return n, nil
}

// zip searches the files of an archive: a workbook, for one.
func (s *maskSearch) zip(ctx context.Context, place string, f *os.File, size int64) error {
	z, err := zip.NewReader(f, size)
	if err != nil {
		return err
	}
	_, err = s.packed(place, "its parts, unpacked", func(w io.Writer) (int64, error) {
		for _, part := range z.File {
			if ctx.Err() != nil {
				return 0, context.Cause(ctx)
			}
			r, err := part.Open()
			if err != nil {
				return 0, err
			}
			_, err = io.Copy(w, r)
			if err = errors.Join(err, r.Close()); err != nil {
				return 0, err
			}
			if _, err := w.Write([]byte{'\n'}); err != nil {
				return 0, err
			}
		}
		return 0, nil
	})
	return err
}

// parquet searches the rows of a Parquet file, whose pages are compressed.
func (s *maskSearch) parquet(ctx context.Context, place, path string) error {
	_, err := s.packed(place, "its rows", func(w io.Writer) (int64, error) {
		return 0, s.p.stage.Scan(ctx, "SELECT CAST(t AS VARCHAR) FROM read_parquet("+duckstage.Quote(path)+", hive_partitioning=false) t", nil, func(b *column.Batch) error {
			for i := range b.Rows {
				if _, err := w.Write(append(b.Columns[0].TextAt(i), '\n')); err != nil {
					return err
				}
			}
			return nil
		})
	})
	return err
}
