package appliance

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"dvmigrate/appliance/reconcile"
	"dvmigrate/duckstage"
	"dvmigrate/duckstage/column"
)

// How a comparison ended is kept in the work folder:
//
//	reconciled.json               the last one
//	reconciled/generation-N.json  the last one of each staging
//	reconciled/<table>.ndjson     the last one's mismatches, a line each, for SQL
//	reconciled/<table>.due        which records it found missing or different, all of them (reconciledue.go)
//	reconciled/<table>.versions   at which version each record was equal (reconcileversions.go)
//	reconciled/unfinished.json    how far one has come that did not end (reconcileprogress.go)
//
// Only one of every row and column, with no load beside it, is kept as the last one:
// discard and cutover go by it.
const (
	reconciledFile   = "reconciled.json"
	reconciledFolder = "reconciled"
)

// keptMismatches is how many mismatches of each kind a table keeps for SQL, some 200
// bytes each. All are counted.
const keptMismatches = 100_000

// Reconciliation is how a comparison with the target ended.
type Reconciliation struct {
	Version    int       `json:"version"` // of this form, 1
	Time       time.Time `json:"time"`    // when it ended
	Generation string    `json:"generation"`
	// Summary is how the ledger stood: when it stands otherwise, something was loaded since.
	Summary    Counts           `json:"summary"`
	Values     bool             `json:"values"`     // whether columns were compared
	Mismatches int64            `json:"mismatches"` // allowed or not
	Pass       bool             `json:"pass"`       // nothing beyond what the settings allow
	Result     reconcile.Result `json:"result"`
}

// Reconciled is the last comparison that was kept; nil where there was none.
func (p *Project) Reconciled() (*Reconciliation, error) {
	return readReconciliation(filepath.Join(p.work(), reconciledFile))
}

// Holds reports whether nothing was staged or loaded since.
func (r *Reconciliation) Holds(generation string, s Counts) bool {
	return r.Generation == generation && r.Summary == s
}

func (p *Project) generationFile(generation string) string {
	return filepath.Join(p.work(), reconciledFolder, "generation-"+generation+".json")
}

func readReconciliation(path string) (*Reconciliation, error) {
	var r Reconciliation
	there, err := readNote(path, &r)
	if !there && err == nil {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read how the last comparison with the target ended: %s: %w; run `dvmigrate reconcile` again", path, err)
	}
	return &r, nil
}

// keepReconciled keeps how a comparison ended.
func (p *Project) keepReconciled(ctx context.Context, r reconcile.Result, values bool) error {
	status, err := p.Status(ctx)
	if err != nil {
		return err
	}
	generation, err := p.stage.Meta(ctx, "generation")
	if err != nil {
		return err
	}
	r.Tables = slices.Clone(r.Tables)
	for i := range r.Tables {
		r.Tables[i].Samples = nil // who asked for them has them
	}
	kept := Reconciliation{Version: 1, Time: time.Now().UTC().Truncate(time.Second), Generation: generation, Summary: status.Summary,
		Values: values, Mismatches: r.Summary.Faults(), Pass: r.Pass, Result: r}
	if err := keepNote(p.generationFile(generation), kept); err != nil {
		return err
	}
	return keepNote(filepath.Join(p.work(), reconciledFile), kept)
}

// keptMismatch is a line of a table's file.
type keptMismatch struct {
	Seq      *uint32 `json:"seq,omitempty"` // of the staged row
	RecordID string  `json:"recordId,omitempty"`
	Kind     string  `json:"kind"`
	Class    string  `json:"class,omitempty"`
	Column   string  `json:"column,omitempty"`
	Want     string  `json:"want,omitempty"`
	Got      string  `json:"got,omitempty"`
}

// mismatchFiles write the mismatches of the tables that are compared, each under a name
// of its own until it is whole.
type mismatchFiles struct {
	dir  string
	open map[string]*mismatchFile
	dues map[string]string // temporary names of the files of due, by table
}

type mismatchFile struct {
	f *os.File
	w *bufio.Writer
}

func (m *mismatchFiles) path(table string) string { return filepath.Join(m.dir, table+".ndjson") }

// add keeps one mismatch.
func (m *mismatchFiles) add(table string, seq int64, x reconcile.Mismatch) error {
	file, err := m.file(table)
	if err != nil {
		return err
	}
	line := keptMismatch{RecordID: x.RecordID, Kind: x.Kind, Class: x.Class, Column: x.Column, Want: x.Want, Got: x.Got}
	if seq >= 0 {
		n := uint32(seq)
		line.Seq = &n
	}
	return json.NewEncoder(file.w).Encode(line)
}

func (m *mismatchFiles) file(table string) (*mismatchFile, error) {
	if m.open[table] == nil {
		f, err := os.CreateTemp(m.dir, table+".*.tmp")
		if err != nil {
			return nil, err
		}
		m.open[table] = &mismatchFile{f, bufio.NewWriter(f)}
	}
	return m.open[table], nil
}

// anew forgets what was kept of a table in this comparison.
func (m *mismatchFiles) anew(table string) {
	if file := m.open[table]; file != nil {
		file.f.Close()
		os.Remove(file.f.Name())
		delete(m.open, table)
	}
	os.Remove(m.dues[table]) // "": nothing
	delete(m.dues, table)
}

// finish puts the files of the tables in place of those of an earlier comparison.
func (m *mismatchFiles) finish(tables []reconcile.TableResult) error {
	for _, t := range tables {
		file, err := m.file(t.Name) // also an empty one: it has none any more
		if err != nil {
			return err
		}
		delete(m.open, t.Name)
		err = errors.Join(file.w.Flush(), file.f.Close())
		if err == nil {
			err = os.Rename(file.f.Name(), m.path(t.Name))
		}
		if due := m.dues[t.Name]; err == nil && due != "" {
			delete(m.dues, t.Name)
			err = os.Rename(due, m.duePath(t.Name))
		}
		if err != nil {
			os.Remove(file.f.Name())
			return err
		}
	}
	return nil
}

// drop removes what was not finished.
func (m *mismatchFiles) drop() {
	for _, file := range m.open {
		file.f.Close()
		os.Remove(file.f.Name())
	}
	for _, name := range m.dues {
		os.Remove(name)
	}
}

// newMismatchFiles removes what a killed comparison has left.
func (p *Project) newMismatchFiles() (*mismatchFiles, error) {
	m := &mismatchFiles{dir: filepath.Join(p.work(), reconciledFolder), open: map[string]*mismatchFile{}, dues: map[string]string{}}
	if err := os.MkdirAll(m.dir, 0o700); err != nil {
		return nil, err
	}
	stale, err := filepath.Glob(filepath.Join(m.dir, "*.tmp"))
	for _, path := range stale {
		err = errors.Join(err, os.Remove(path))
	}
	return m, err
}

// mismatchFunc lets SQL read a table's mismatches: reconcile_rows(table).
func (p *Project) mismatchFunc() duckstage.TableFunc {
	f := duckstage.TableFunc{Name: "reconcile_rows", Args: []string{"VARCHAR"}, Columns: []duckstage.ColumnInfo{{Name: "dm_seq", SQLType: "UINTEGER"},
		{Name: "record_id", SQLType: "VARCHAR"}, {Name: "kind", SQLType: "VARCHAR"}, {Name: "class", SQLType: "VARCHAR"}, {Name: "column", SQLType: "VARCHAR"},
		{Name: "staged", SQLType: "VARCHAR"}, {Name: "in_target", SQLType: "VARCHAR"}}}
	f.Open = func(_ context.Context, args []any) (duckstage.Reading, error) {
		table, _ := args[0].(string)
		if table == "" || filepath.Base(table) != table {
			return duckstage.Reading{}, fmt.Errorf("no table has the name %q", table)
		}
		lines, err := p.keptMismatches(table)
		if err != nil {
			return duckstage.Reading{}, err
		}
		fill := func(batch *column.Batch, limit int, _ []bool) error {
			for batch.Rows < limit {
				x, ok, err := lines.next()
				if !ok || err != nil {
					return err
				}
				appendMismatch(batch, x)
			}
			return nil
		}
		return duckstage.Reading{Fill: fill}, nil
	}
	return f
}

// mismatchReader are a table's mismatches as they are kept, one after the other.
type mismatchReader struct {
	path string
	rest []byte
}

// keptMismatches reads those of the last comparison; none where there was none.
func (p *Project) keptMismatches(table string) (*mismatchReader, error) {
	path := (&mismatchFiles{dir: filepath.Join(p.work(), reconciledFolder)}).path(table)
	b, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	return &mismatchReader{path, b}, nil
}

// next is the next one; not ok: there is none.
func (l *mismatchReader) next() (x keptMismatch, ok bool, err error) {
	if len(l.rest) == 0 {
		return x, false, nil
	}
	var line []byte
	line, l.rest, _ = bytes.Cut(l.rest, []byte("\n"))
	if err := json.Unmarshal(line, &x); err != nil {
		return x, false, fmt.Errorf("%s: %w", l.path, err)
	}
	return x, true, nil
}

func appendMismatch(b *column.Batch, x keptMismatch) {
	c := b.Columns
	if x.Seq != nil {
		c[0].Ints = append(c[0].Ints, int64(*x.Seq))
	} else {
		c[0].Ints = append(c[0].Ints, 0)
		c[0].SetNull(b.Rows, chunk)
	}
	for k, text := range []string{x.RecordID, x.Kind, x.Class, x.Column, x.Want, x.Got} {
		appendText(&c[1+k], text, b.Rows)
	}
	b.Rows++
}

// reconciledRows are the tables of the last comparison, for SQL.
func (p *Project) reconciledRows() (rows [][]any, err error) {
	last, err := p.Reconciled()
	if err != nil || last == nil {
		return nil, err
	}
	for _, t := range last.Result.Tables {
		rows = append(rows, []any{t.Name, last.Time, last.Generation, t.Source, t.Target, t.Missing, t.Extra, t.Different, t.Duplicates, t.Others, t.Pass, strings.Join(t.Failures, "; ")})
	}
	return rows, nil
}
