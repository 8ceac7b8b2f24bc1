package appliance

import (
	"bufio"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
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
	if _, err = buffered.WriteString("\ufeff"); err != nil { // or a spreadsheet takes it for another character set
		return r, err
	}
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
