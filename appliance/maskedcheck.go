package appliance

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"dvmigrate/backup"
	"dvmigrate/duckstage"
	"dvmigrate/duckstage/column"
	"dvmigrate/duckstage/ingest"
	"dvmigrate/duckstage/mask"
	"dvmigrate/ledger"
)

// MaskedCheck is what a search for original values of masked columns found.
type MaskedCheck struct {
	Version  int             `json:"version"`
	Columns  []MaskedColumn  `json:"columns"`
	Places   []MaskedPlace   `json:"places"`   // that were looked into
	Findings []MaskedFinding `json:"findings"` // originals; never shown
	Clear    []MaskedClear   `json:"clear,omitempty"`
	Notes    []string        `json:"notes,omitempty"` // what could not be looked into
	Seconds  float64         `json:"seconds"`
}

// MaskedColumn is a column whose original values were looked for.
type MaskedColumn struct {
	Source string `json:"source"`
	Column string `json:"column"`
	As     string `json:"as"`
	Values int64  `json:"values"` // different ones in the source
	Sought int64  `json:"sought"` // of which were looked for; 0 of numbers and dates
}

// MaskedPlace is something that was searched.
type MaskedPlace struct {
	Place string `json:"place"`
	Bytes int64  `json:"bytes"`
}

// MaskedFinding is a place that has original values of a column.
type MaskedFinding struct {
	Place  string `json:"place"`
	Source string `json:"source"`
	Column string `json:"column"`
	Times  int64  `json:"times"`
}

// MaskedClear is a source that was in the stage without its masks.
type MaskedClear struct {
	Source string `json:"source"`
	Until  string `json:"until"`
}

// Failed reports whether original values are, or may be, left.
func (m *MaskedCheck) Failed() bool { return len(m.Findings)+len(m.Clear) > 0 }

// mostSought is how many values of a column are looked for.
const mostSought = 200_000

// CheckMasked reads the masked columns of the sources as they are, into a stage that is
// removed again, and looks for their values wherever the project keeps something.
func (p *Project) CheckMasked(ctx context.Context, watch StageWatch) (m MaskedCheck, err error) {
	begin := time.Now()
	m = MaskedCheck{Version: 1, Columns: []MaskedColumn{}, Places: []MaskedPlace{}, Findings: []MaskedFinding{}}
	if err := p.refuseMixedMasks(ctx); err != nil {
		return m, err
	}
	scratch, err := p.stage.Scratch()
	if err != nil {
		return m, err
	}
	defer os.RemoveAll(scratch)
	s := maskSearch{p: p, m: &m, scratch: scratch, watch: watch, images: map[string]bool{}, times: map[[2]string]int64{}}
	if err := s.originals(ctx); err != nil {
		return m, err
	}
	if len(m.Columns) == 0 {
		return m, errors.New("no source has masks; `dvmigrate guide masking` says how they are declared")
	}
	s.drop()
	watch("searching the stage", -1)
	if err := s.stage(ctx, "stage", p.stage); err != nil {
		return m, err
	}
	if err := s.files(ctx, "", p.Config.Dir); err != nil {
		return m, err
	}
	if err := s.snapshots(ctx); err != nil {
		return m, err
	}
	s.report()
	if err := s.wasClear(ctx); err != nil {
		return m, err
	}
	m.Seconds = time.Since(begin).Seconds()
	return m, nil
}

// maskSearch is one such search.
type maskSearch struct {
	p       *Project
	m       *MaskedCheck
	scratch string
	watch   StageWatch
	sought  []soughtValue
	images  map[string]bool // what values were masked to, and the words of it
	needles needles
	times   map[[2]string]int64 // by place and column
}

type soughtValue struct {
	text string
	of   int
}

// originals reads the sources without their masks.
func (s *maskSearch) originals(ctx context.Context) error {
	for _, name := range sourceNames(s.p.Config, nil) {
		src, err := s.p.source(name)
		if err != nil {
			return err
		}
		if len(src.Masks) == 0 {
			continue
		}
		if staged, err := s.p.isStaged(ctx, name); err != nil || !staged {
			return errors.Join(err, fmt.Errorf("source %s is not staged; run `dvmigrate stage` first", name))
		}
		s.watch("reading "+name, -1)
		if err := s.source(ctx, src); err != nil {
			return s.p.explainSource(name, err)
		}
	}
	return nil
}

// source collects the values of one source.
func (s *maskSearch) source(ctx context.Context, src ingest.Source) error {
	options := s.p.stageOptions(false)
	options.Temp = s.scratch
	clear, err := duckstage.Open(ctx, filepath.Join(s.scratch, "originals.duckdb"), options)
	if err != nil {
		return err
	}
	defer os.Remove(clear.Path())
	defer clear.Close()
	masks, masker := src.Masks, mask.New(src.MaskKey)
	src.Masks, src.MaxBadLines, src.MaxBadShare = nil, -1, 0
	if src.Dataverse != nil {
		all := *src.Dataverse
		all.Delta = false
		src.Dataverse = &all
	}
	res, err := ingest.Run(ctx, clear, src, nil)
	if err != nil {
		return err
	}
	relations := []string{src.Name}
	if len(res.Relations) > 0 {
		relations = nil
		for _, r := range res.Relations {
			relations = append(relations, r.Name)
		}
	}
	for _, relation := range relations {
		columns, err := clear.Columns(ctx, "source", relation)
		if err != nil {
			return err
		}
		for _, c := range columns {
			for name, m := range masks {
				if strings.EqualFold(name, c.Name) {
					if err := s.values(ctx, clear, relation, c, m.Kind, masker); err != nil {
						return err
					}
				}
			}
		}
	}
	return nil
}

// values collects the different values of one column.
func (s *maskSearch) values(ctx context.Context, clear *duckstage.Stage, relation string, c duckstage.ColumnInfo, kind string, masker *mask.Masker) error {
	of := len(s.m.Columns)
	s.m.Columns = append(s.m.Columns, MaskedColumn{Source: relation, Column: c.Name, As: kind})
	from := " FROM source." + duckstage.Ident(relation)
	name := duckstage.Ident(c.Name)
	if err := clear.Row(ctx, []any{&s.m.Columns[of].Values}, "SELECT count(DISTINCT "+name+")"+from); err != nil {
		return err
	}
	if kind == mask.Number || kind == mask.Date || c.SQLType != "VARCHAR" && c.SQLType != "UUID" && kind != mask.Blank {
		return nil
	}
	// All are masked, for their images, and so many of them are looked for.
	var n int64
	return clear.Scan(ctx, "SELECT DISTINCT CAST("+name+" AS VARCHAR)"+from, nil, func(b *column.Batch) error {
		for i := range b.Rows {
			if b.Columns[0].Null(i) {
				continue
			}
			text := string(b.Columns[0].TextAt(i))
			image := masker.Mask(kind, text, 0)
			s.images[image] = true
			for _, word := range strings.FieldsFunc(image, func(r rune) bool { return r < 0x80 && !wordPart(byte(r)) }) {
				s.images[word] = true
			}
			if distinctive(text) && n < mostSought {
				s.sought = append(s.sought, soughtValue{text, of})
				n++
			}
		}
		return nil
	})
}

// drop leaves out what a masked value may rightly be.
func (s *maskSearch) drop() {
	for _, v := range s.sought {
		if !s.images[v.text] {
			s.needles.add(v.text, v.of)
			s.m.Columns[v.of].Sought++
		}
	}
	s.sought, s.images = nil, nil
}

func (s *maskSearch) hit(place string) func(int) {
	return func(needle int) {
		c := s.m.Columns[s.needles.of[needle]]
		s.times[[2]string{place, c.Source + "\x00" + c.Column}]++
	}
}

// stage searches every text of a stage.
func (s *maskSearch) stage(ctx context.Context, place string, stage *duckstage.Stage) error {
	type texts struct{ table, column string }
	var all []texts
	err := stage.Rows(ctx, `SELECT c.schema_name || '.' || c.table_name, c.column_name FROM duckdb_columns() c JOIN duckdb_tables() t USING (database_name, schema_name, table_name)
		WHERE database_name = current_database() AND (c.data_type = 'JSON' OR contains(c.data_type, 'VARCHAR')) ORDER BY ALL`, nil, func(scan func(...any) error) error {
		var t texts
		defer func() { all = append(all, t) }()
		return scan(&t.table, &t.column)
	})
	if err != nil {
		return err
	}
	var bytes int64
	for _, t := range all {
		schema, table, _ := strings.Cut(t.table, ".")
		shown := place + ": " + t.table + "." + t.column
		var relation string
		if err := stage.Row(ctx, []any{&relation}, "SELECT coalesce((SELECT any_value(name) FROM dm.sources WHERE data = $1), (SELECT any_value(name) FROM dm.tables WHERE data = $1), '')", table); err == nil && relation != "" {
			shown = place + ": " + relation + "." + t.column
		}
		hit := s.hit(shown)
		query := "SELECT CAST(" + duckstage.Ident(t.column) + " AS VARCHAR) FROM " + duckstage.Ident(schema) + "." + duckstage.Ident(table) + " WHERE " + duckstage.Ident(t.column) + " IS NOT NULL"
		err := stage.Scan(ctx, query, nil, func(b *column.Batch) error {
			for i := range b.Rows {
				text := b.Columns[0].TextAt(i)
				bytes += int64(len(text))
				s.needles.find(text, hit)
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	s.m.Places = append(s.m.Places, MaskedPlace{place, bytes})
	return nil
}

// files searches every file of a folder, but those of the sources, of this search, and
// the archives of snapshots, which are searched when they are restored. A file of DuckDB
// may have texts also where no table has them any more.
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
		rel, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		return s.file(place+filepath.ToSlash(rel), path)
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
	// Closing the file of an open stage would drop its lock (engines.md part I, 4): it is
	// searched as a table only.
	skip[p.stagePath()], skip[p.stagePath()+".wal"] = true, true
	if p.Config.Masking.KeyFile != "" {
		skip[p.Config.Path(p.Config.Masking.KeyFile)] = true
	}
	for _, src := range p.Config.Sources {
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

// pieceBytes is how much of a file is searched at once, and overlapBytes how much again
// with the next piece.
const (
	pieceBytes   = 4 << 20
	overlapBytes = 8 << 10
)

func (s *maskSearch) file(place, path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	hit := s.hit(place)
	buffer, kept, size := make([]byte, pieceBytes), 0, int64(0)
	for {
		n, err := io.ReadFull(f, buffer[kept:])
		size += int64(n)
		s.needles.find(buffer[:kept+n], hit)
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			break
		}
		if err != nil {
			return err
		}
		kept = copy(buffer, buffer[len(buffer)-overlapBytes:])
	}
	s.m.Places = append(s.m.Places, MaskedPlace{place, size})
	return nil
}

// snapshots restores each snapshot beside and searches it.
func (s *maskSearch) snapshots(ctx context.Context) error {
	p := s.p
	dir, _ := p.snapshotDirs(nil)
	if !exists(dir) {
		return nil
	}
	keys, err := p.snapshotKeys()
	if err != nil {
		return err
	}
	list, err := backup.List(dir, keys)
	if err != nil {
		return explainSnapshot(dir, err)
	}
	for _, snap := range list {
		s.watch("searching snapshot "+snap.ID, -1)
		if err := s.snapshot(ctx, dir, snap.ID, keys); err != nil {
			s.m.Notes = append(s.m.Notes, fmt.Sprintf("snapshot %s was not searched: %v", snap.ID, err))
		}
	}
	return nil
}

func (s *maskSearch) snapshot(ctx context.Context, dir, id string, keys *backup.Keyring) error {
	to := filepath.Join(s.scratch, "snapshot")
	if err := os.MkdirAll(filepath.Join(to, "files"), 0o700); err != nil {
		return err
	}
	defer os.RemoveAll(to)
	path := filepath.Join(to, "stage.duckdb")
	_, err := backup.Restore(ctx, dir, id, keys, ledger.Store{Path: filepath.Join(to, "files", "ledger.bolt")}, duckstage.Restorer{Path: path}, backup.Files(filesPart, filepath.Join(to, "files"), nil))
	if err != nil {
		return err
	}
	place := "snapshot " + id
	if err := s.file(place+": stage.duckdb", path); err != nil { // before it is open
		return err
	}
	if err := s.files(ctx, place+": ", filepath.Join(to, "files")); err != nil {
		return err
	}
	stage, err := duckstage.Open(ctx, path, duckstage.Options{ReadOnly: true, Temp: s.scratch, Set: s.p.set})
	if err != nil {
		return err
	}
	defer stage.Close()
	return s.stage(ctx, place, stage)
}

func (s *maskSearch) report() {
	for at, times := range s.times {
		source, column, _ := strings.Cut(at[1], "\x00")
		s.m.Findings = append(s.m.Findings, MaskedFinding{Place: at[0], Source: source, Column: column, Times: times})
	}
	slices.SortFunc(s.m.Findings, func(a, b MaskedFinding) int {
		return strings.Compare(a.Place+"\x00"+a.Source+"\x00"+a.Column, b.Place+"\x00"+b.Source+"\x00"+b.Column)
	})
}

// wasClear lists the sources that were staged before they had masks.
func (s *maskSearch) wasClear(ctx context.Context) error {
	for _, name := range sourceNames(s.p.Config, nil) {
		if len(s.p.Config.Sources[name].Mask) == 0 {
			continue
		}
		until, err := s.p.stage.Meta(ctx, ingest.ClearFact(name))
		if err != nil {
			return err
		}
		if until != "" {
			s.m.Clear = append(s.m.Clear, MaskedClear{name, until})
		}
	}
	return nil
}
