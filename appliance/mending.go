package appliance

import (
	"bufio"
	"bytes"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"dvmigrate/appliance/load"
	"dvmigrate/duckstage"
	"dvmigrate/duckstage/transform"
	"dvmigrate/ledger"
)

// The columns of an exported file that stand before the row's own. Of them only the first
// two are read when the file comes back.
var exportedColumns = []string{"dm_table", "legacy_key", "dm_flag", "dm_class", "dm_code", "dm_reason"}

// Exported is what ExportFailures has written.
type Exported struct {
	Version int            `json:"version"`
	Files   []ExportedFile `json:"files"`
	Records int64          `json:"records"`
}

// ExportedFile is the failures of one table.
type ExportedFile struct {
	Path    string `json:"path"`
	Table   string `json:"table"`
	Records int64  `json:"records"`
	Absent  int64  `json:"absent,omitempty"` // failures of rows that the transform does not yield any more: not in the file
}

// ExportFailures writes the rows behind the failures that the filter chooses, each with its
// reason and what the transform yields for it, to a CSV file that can be mended and given
// to RetryFrom. path is that file, or a folder that gets one file a table. A file that is
// there already is refused.
func (p *Project) ExportFailures(ctx context.Context, f FailureFilter, path string) (Exported, error) {
	out := Exported{Version: 1, Files: []ExportedFile{}}
	if err := errors.Join(f.validate(p.ledger), p.knownKeys(ctx, f)); err != nil {
		return out, err
	}
	specs, err := p.specs(ctx)
	if err != nil {
		return out, err
	}
	failures := map[string][]ledger.Failure{}
	var names []string
	for _, t := range p.ledger.Tables() {
		if len(f.Tables) > 0 && !slices.Contains(f.Tables, t.Name) {
			continue
		}
		err := p.eachFailure(ctx, t.Name, f, func(e ledger.Failure) error {
			failures[t.Name] = append(failures[t.Name], e)
			return nil
		})
		if err != nil {
			return out, err
		}
		if len(failures[t.Name]) > 0 {
			names = append(names, t.Name)
		}
	}
	slices.Sort(names)
	single := strings.EqualFold(filepath.Ext(path), ".csv")
	switch {
	case len(names) == 0:
		return out, nil
	case single && len(names) > 1:
		return out, fmt.Errorf("%s have failures, and a file holds the rows of one table: say --table, or name a folder instead of %s", strings.Join(names, ", "), path)
	case !single:
		if err := os.MkdirAll(path, 0o700); err != nil {
			return out, err
		}
	}
	for _, name := range names {
		to := path
		if !single {
			to = filepath.Join(path, name+".csv")
		}
		at := slices.IndexFunc(specs, func(t transform.Table) bool { return t.Name == name })
		if at < 0 {
			return out, fmt.Errorf("there is no transform of %s any more, so that its rows cannot be written", name)
		}
		file, err := p.exportTable(ctx, specs[at], failures[name], to)
		if err != nil {
			return out, fmt.Errorf("export errors of %s: %w", name, err)
		}
		out.Files = append(out.Files, file)
		out.Records += file.Records
	}
	return out, nil
}

// specs are the project's tables as the stage computes them.
func (p *Project) specs(ctx context.Context) ([]transform.Table, error) {
	b, err := p.bind(ctx, p.stage)
	if err != nil {
		return nil, err
	}
	return p.transforms(ctx, b)
}

// exportTable writes one file. It holds customers' data: it is its owner's only.
func (p *Project) exportTable(ctx context.Context, spec transform.Table, failures []ledger.Failure, path string) (r ExportedFile, err error) {
	r = ExportedFile{Path: path, Table: spec.Name}
	scripts, err := p.scripts()
	if err != nil {
		return r, err
	}
	keyed, err := p.keyed(ctx, spec.Name, failures)
	if err != nil {
		return r, err
	}
	out, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, os.ErrExist) {
		return r, fmt.Errorf("%s is there already; it may hold values that somebody has mended", path)
	}
	if err != nil {
		return r, err
	}
	defer func() {
		if err = errors.Join(err, out.Close()); err != nil {
			os.Remove(path)
		}
	}()
	buffered := bufio.NewWriter(out)
	w := csv.NewWriter(buffered)
	err = transform.Yield(ctx, p.stage, scripts, spec, keysSQL(keyed), func(key string, names, values []string) error {
		if r.Records == 0 {
			if err := w.Write(append(slices.Clone(exportedColumns), names...)); err != nil {
				return err
			}
		}
		r.Records++
		e := keyed[key]
		return w.Write(append([]string{spec.Name, key, e.Flag.String(), load.Class(e.Reason.Class).String(), codeText(e.Code), e.Text}, values...))
	})
	if err != nil {
		return r, err
	}
	r.Absent = int64(len(failures)) - r.Records
	w.Flush()
	return r, errors.Join(w.Error(), buffered.Flush())
}

// keyed gives failures their legacy keys.
func (p *Project) keyed(ctx context.Context, table string, failures []ledger.Failure) (map[string]ledger.Failure, error) {
	out := make(map[string]ledger.Failure, len(failures))
	for some := range slices.Chunk(failures, failurePage) {
		list := make([]tableFailure, len(some))
		for i, e := range some {
			list[i] = tableFailure{table, e}
		}
		var named FailureList
		if err := p.nameFailures(ctx, list, &named); err != nil {
			return nil, err
		}
		for i, e := range named.Errors {
			out[e.LegacyKey] = some[i]
		}
	}
	return out, nil
}

// keysSQL is a SELECT of the keys of a map, as transform.Yield takes it.
func keysSQL[V any](keys map[string]V) string {
	quoted := make([]string, 0, len(keys))
	for k := range keys {
		quoted = append(quoted, duckstage.Quote(k))
	}
	return "SELECT unnest([" + strings.Join(quoted, ", ") + "]::VARCHAR[]) AS dm_key"
}

// Mended is what came of a file of mended rows.
type Mended struct {
	Version int              `json:"version"`
	Table   string           `json:"table"`
	Rows    int64            `json:"rows"`    // of the file
	Changed int64            `json:"changed"` // of them, rows with another value than the transform yields
	Columns map[string]int64 `json:"columns"` // how many values of each column are mended
	Waiting int64            `json:"waiting"` // rows that the next load sends
	Held    int64            `json:"held"`    // rows that still do not fit: `errors` says why
	Left    []LeftRow        `json:"left"`    // rows that were left alone
	DryRun  bool             `json:"dryRun,omitempty"`
}

// LeftRow is a row of a file that was left alone.
type LeftRow struct {
	Line      int    `json:"line"`
	LegacyKey string `json:"legacyKey"`
	Why       string `json:"why"`
}

// RetryFrom takes a file that ExportFailures wrote and somebody mended: values that differ
// from what the transform yields take their place, in this staging and all that come, as
// long as the transform yields the same; its table is transformed anew, and the file's rows
// wait again. Rows that the target has are left alone. With dry nothing changes.
func (p *Project) RetryFrom(ctx context.Context, path string, dry bool, watch StageWatch) (r Mended, err error) {
	r = Mended{Version: 1, Columns: map[string]int64{}, Left: []LeftRow{}, DryRun: dry}
	file, err := readMended(path)
	if err != nil {
		return r, err
	}
	r.Table, r.Rows = file.table, int64(len(file.rows))
	if err := errors.Join(p.refuseRollback(), p.refuseInFlight()); err != nil {
		return r, err
	}
	if !dry {
		end, err := p.record(ctx, "retry", p.o.Args)
		if err != nil {
			return r, err
		}
		defer func() {
			end(err, fmt.Sprintf("%d rows of %s mended, %d wait again", r.Changed, r.Table, r.Waiting))
		}()
	}
	if err := p.sync(ctx); err != nil {
		return r, err
	}
	specs, err := p.specs(ctx)
	if err != nil {
		return r, err
	}
	at := slices.IndexFunc(specs, func(t transform.Table) bool { return t.Name == file.table })
	if at < 0 {
		return r, fmt.Errorf("%s: there is no table %q in this project", path, file.table)
	}
	ranges, err := p.mayRetry(ctx, file, &r)
	if err != nil {
		return r, err
	}
	scripts, err := p.scripts()
	if err != nil {
		return r, err
	}
	mends, err := p.findMends(ctx, file, scripts, specs[at], &r)
	if err != nil || dry {
		return r, err
	}
	if len(mends) > 0 {
		watch("transforming "+file.table, -1)
		if err := transform.StoreMends(ctx, p.stage, scripts, specs[at], mends); err != nil {
			return r, file.explain(err)
		}
		if _, err := transform.Run(ctx, p.stage, scripts, specs[at:at+1], nil); err != nil {
			return r, err
		}
		if err := errors.Join(p.sync(ctx), p.createViews(ctx)); err != nil {
			return r, err
		}
	}
	return r, p.waitAgain(ctx, file.table, ranges, &r)
}

// waitAgain lets the rows wait, but for those that do not fit the target, and counts.
func (p *Project) waitAgain(ctx context.Context, table string, ranges []ledger.Range, r *Mended) error {
	if len(ranges) == 0 {
		return nil
	}
	f := ledger.Filter{Ranges: ranges}
	for c := range load.ClassNames() {
		if class := load.Class(c); class != load.ClassPrevalidate && class != load.ClassOrphan {
			f.Classes = append(f.Classes, uint8(c))
		}
	}
	if _, err := p.ledger.Retry(ctx, table, f); err != nil {
		return fmt.Errorf("retry %s: %w", table, err)
	}
	for _, one := range ranges {
		for seq := one.From; seq < one.To; seq++ {
			switch e, _ := p.ledger.Entry(table, seq); e.Flag {
			case ledger.Unprocessed, ledger.Success:
				r.Waiting++
			case ledger.Held:
				r.Held++
			}
		}
	}
	return nil
}

// mendedFile is a file that came back.
type mendedFile struct {
	path, table string
	names       []string // of the columns that may be mended
	rows        []mendedRow
	lines       map[string]int // by legacy key
}

type mendedRow struct {
	line   int
	key    string
	values []string
	left   bool // alone
}

// readMended reads a file. A spreadsheet may have put a byte order mark before it and
// semicolons or tabs between its columns.
func readMended(path string) (*mendedFile, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	text = bytes.TrimPrefix(text, []byte("\ufeff"))
	head, _, _ := bytes.Cut(text, []byte("\n"))
	in := csv.NewReader(bytes.NewReader(text))
	for _, c := range ";\t" {
		if bytes.Count(head, []byte(string(c))) > bytes.Count(head, []byte(string(in.Comma))) {
			in.Comma = c
		}
	}
	header, err := in.Read()
	if errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%s is empty", path)
	} else if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	tableAt, keyAt := slices.Index(header, "dm_table"), slices.Index(header, "legacy_key")
	if tableAt < 0 || keyAt < 0 {
		return nil, fmt.Errorf("%s: the first line lacks dm_table and legacy_key: begin with a file that `dvmigrate errors export` wrote", path)
	}
	f := &mendedFile{path: path, lines: map[string]int{}}
	var from []int
	for i, name := range header {
		if name != "legacy_key" && !strings.HasPrefix(name, "dm_") {
			f.names, from = append(f.names, name), append(from, i)
		}
	}
	for {
		row, err := in.Read()
		if errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		line, _ := in.FieldPos(0)
		if f.table == "" {
			f.table = row[tableAt]
		} else if f.table != row[tableAt] {
			return nil, fmt.Errorf("%s:%d: the row is of %q, those before are of %q; a file holds the rows of one table", path, line, row[tableAt], f.table)
		}
		r := mendedRow{line: line, key: row[keyAt]}
		if first, twice := f.lines[r.key]; twice {
			return nil, fmt.Errorf("%s:%d: legacy key '%s' stands in line %d already", path, line, r.key, first)
		}
		f.lines[r.key] = line
		for _, i := range from {
			r.values = append(r.values, row[i])
		}
		f.rows = append(f.rows, r)
	}
	if len(f.rows) == 0 {
		return nil, fmt.Errorf("%s has no row", path)
	}
	return f, nil
}

// explain gives an error its line in the file.
func (f *mendedFile) explain(err error) error {
	var mend *transform.MendError
	if errors.As(err, &mend) {
		return fmt.Errorf("%s:%d: %w; nothing was changed", f.path, f.lines[mend.Key], mend)
	}
	return err
}

// mayRetry finds the rows of the file that may be sent, as records of the ledger, and
// leaves the others alone.
func (p *Project) mayRetry(ctx context.Context, f *mendedFile, r *Mended) ([]ledger.Range, error) {
	keys := make([]string, len(f.rows))
	for i := range f.rows {
		keys[i] = f.rows[i].key
	}
	seqs, err := p.keySeqs(ctx, f.table, keys)
	if err != nil {
		return nil, err
	}
	var chosen []uint32
	for i := range f.rows {
		row := &f.rows[i]
		seq, known := seqs[row.key]
		if !known {
			return nil, fmt.Errorf("%s:%d: %s has no row with legacy key '%s'; a spreadsheet may have changed it, such as 007 to 7", f.path, row.line, f.table, row.key)
		}
		e, _ := p.ledger.Entry(f.table, seq)
		switch {
		case e.Flag == ledger.Failed || e.Flag == ledger.Held || e.Flag == ledger.Unprocessed && e.Action != ledger.Nothing:
			chosen = append(chosen, seq)
			continue
		case e.Action == ledger.Nothing:
			row.left = true
			r.Left = append(r.Left, LeftRow{row.line, row.key, "its row is not supplied any more"})
		default:
			row.left = true
			r.Left = append(r.Left, LeftRow{row.line, row.key, "the target has it: it did not fail"})
		}
	}
	slices.Sort(chosen)
	var ranges []ledger.Range
	for _, seq := range chosen {
		ranges = addRange(ranges, seq)
	}
	return ranges, nil
}

// findMends compares the file with what the transform yields.
func (p *Project) findMends(ctx context.Context, f *mendedFile, scripts []transform.Script, spec transform.Table, r *Mended) ([]transform.Mend, error) {
	rows := make(map[string]*mendedRow, len(f.rows))
	for i := range f.rows {
		if row := &f.rows[i]; !row.left {
			rows[row.key] = row
		}
	}
	if len(rows) == 0 {
		return nil, nil
	}
	var mends []transform.Mend
	var at []int
	err := transform.Yield(ctx, p.stage, scripts, spec, keysSQL(rows), func(key string, names, values []string) error {
		if at == nil {
			for _, name := range f.names {
				i := slices.Index(names, name)
				if i < 0 {
					return fmt.Errorf("%s:1: the transform of %s yields no column %s that could be mended", f.path, f.table, name)
				}
				at = append(at, i)
			}
		}
		changed := false
		for k, i := range at {
			if value := rows[key].values[k]; !sameText(value, values[i]) {
				mends = append(mends, transform.Mend{Key: key, Column: names[i], Was: values[i], Value: value})
				r.Columns[names[i]]++
				changed = true
			}
		}
		if changed {
			r.Changed++
		}
		return nil
	})
	return mends, err
}

// sameText compares values of which one has gone through a file, where a line end is \n.
func sameText(a, b string) bool {
	return a == b || strings.ReplaceAll(a, "\r\n", "\n") == strings.ReplaceAll(b, "\r\n", "\n")
}
