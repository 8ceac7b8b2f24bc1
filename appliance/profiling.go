package appliance

import (
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"dvmigrate/duckstage"
	"dvmigrate/duckstage/ingest"
	"dvmigrate/duckstage/transform"
)

// profileFile is the sheet on which the owners of the data decide, column by column, in
// the project's folder. A profile writes it; stage and check read it.
const profileFile = "profile.csv"

// sparse is the share of filled rows below which a column is proposed to be dropped.
const sparse = 0.05

// The decisions about a column.
const (
	Bring   = "bring"   // into the target
	Archive = "archive" // keep it elsewhere
	Drop    = "drop"    // leave it behind
)

// SourceProfile is what a source's columns look like.
type SourceProfile struct {
	Version int            `json:"version"`
	Columns []SourceColumn `json:"columns"`
	Seconds float64        `json:"seconds"`
}

// SourceColumn is one column of one source.
type SourceColumn struct {
	Source string `json:"source"`
	duckstage.ColumnProfile
	Share    float64  `json:"share"` // of the rows that have a value, 0 to 1
	Proposal string   `json:"proposal"`
	Why      string   `json:"why"`
	Decision string   `json:"decision,omitempty"` // of the sheet
	UsedBy   []string `json:"usedBy"`             // transforms that name the column
}

// Profile looks at every column of the staged sources; only names some of them.
func (p *Project) Profile(ctx context.Context, only []string, watch StageWatch) (SourceProfile, error) {
	begin := time.Now()
	out := SourceProfile{Version: 1, Columns: []SourceColumn{}}
	names, err := p.stagedSources(ctx)
	if err != nil {
		return out, err
	}
	for _, n := range only {
		if !slices.Contains(names, n) {
			return out, unknownName("staged source", n, names)
		}
	}
	_, decisions, err := p.decided(ctx)
	if err != nil {
		return out, err
	}
	used, err := p.usage()
	if err != nil {
		used.files = nil // a project that has no transforms yet
	}
	for _, name := range names {
		if len(only) > 0 && !slices.Contains(only, name) {
			continue
		}
		cols, err := p.stage.Profile(ctx, "source."+duckstage.Ident(name), func(done float64) { watch("looking at "+name, 100*done) })
		if err != nil {
			return out, fmt.Errorf("source %s: %w", name, err)
		}
		for _, c := range cols {
			if strings.HasPrefix(c.Name, "dm_") { // ours
				continue
			}
			sc := SourceColumn{Source: name, ColumnProfile: c, Share: c.Share(), Decision: decisions[columnKey(name, c.Name)], UsedBy: used.of(name, c.Name)}
			sc.Proposal, sc.Why = propose(c)
			out.Columns = append(out.Columns, sc)
		}
	}
	out.Seconds = time.Since(begin).Seconds()
	return out, nil
}

// stagedSources lists the relations that were ingested.
func (p *Project) stagedSources(ctx context.Context) ([]string, error) {
	var names []string
	err := p.stage.Rows(ctx, "SELECT view_name FROM duckdb_views() WHERE schema_name = 'source' AND NOT internal AND NOT starts_with(view_name, '"+transform.PulledPrefix+"') ORDER BY 1", nil, func(scan func(...any) error) error {
		var n string
		if err := scan(&n); err != nil {
			return err
		}
		names = append(names, n)
		return nil
	})
	return names, err
}

// usage is what transforms say, to find what they use of the sources.
type usage struct {
	files  []transformFile // in small letters, without comments
	shared bool            // there are views, by which a transform may use a source that it does not name
}

func (p *Project) usage() (u usage, err error) {
	if u.files, err = p.transformFiles(); err != nil {
		return u, err
	}
	for i := range u.files {
		u.files[i].sql = strings.ToLower(duckstage.Uncommented(u.files[i].sql))
	}
	scripts, err := p.scripts()
	u.shared = len(scripts) > 0
	return u, err
}

// of lists the transforms in which a source's name stands, and that of its column.
func (u usage) of(source, column string) []string {
	out := []string{}
	for _, f := range u.files {
		from, _ := findWord(f.sql, strings.ToLower(source))
		if line, _ := findWord(f.sql, strings.ToLower(column)); line > 0 && (u.shared || from > 0) {
			out = append(out, f.table)
		}
	}
	return out
}

// propose says what most owners would decide (method.md M2).
func propose(c duckstage.ColumnProfile) (proposal, why string) {
	switch {
	case c.Rows == 0:
		return Bring, "there are no rows to judge by"
	case c.Filled == 0:
		return Drop, "it is empty in every row"
	case c.Share() < sparse:
		return Drop, fmt.Sprintf("only %.1f %% of the rows have a value", 100*c.Share())
	case c.Distinct == 1 && c.Filled == c.Rows:
		return Drop, "every row has the same value"
	}
	return Bring, fmt.Sprintf("%.0f %% of the rows have a value", 100*c.Share())
}

func columnKey(source, column string) string {
	return strings.ToLower(source) + "\x00" + strings.ToLower(column)
}

// sheetHead are the columns of the sheet; people fill in decision and comment.
var sheetHead = []string{"source", "column", "type", "rows", "filled %", "distinct", "unique", "longest", "min", "max", "frequent values", "forms", "used by", "proposal", "why", "decision", "comment"}

// WriteProfile writes the sheet into the project's folder. Decisions and comments that stand in it already are kept,
// also of columns that are no longer there.
func WriteProfile(ctx context.Context, dir string, s SourceProfile) (string, error) {
	path := filepath.Join(dir, profileFile)
	former, err := readSheet(ctx, path)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	b.WriteString("\ufeff") // so that Excel takes it for UTF-8
	w := csv.NewWriter(&b)
	_ = w.Write(sheetHead)
	for _, c := range s.Columns {
		key := columnKey(c.Source, c.Name)
		decision, comment := "", ""
		if row, ok := former[key]; ok {
			decision, comment = row["decision"], row["comment"]
			delete(former, key)
		}
		_ = w.Write([]string{c.Source, c.Name, c.SQLType, fmt.Sprint(c.Rows), strconv.FormatFloat(100*c.Share, 'f', 1, 64), fmt.Sprint(c.Distinct), fmt.Sprint(c.Unique), fmt.Sprint(c.MaxLength),
			harmless(c.Min), harmless(c.Max), harmless(valueList(c.Top)), harmless(valueList(c.Patterns)), strings.Join(c.UsedBy, " "), c.Proposal, c.Why, decision, comment})
	}
	for _, key := range slices.Sorted(maps.Keys(former)) {
		row := former[key]
		if row["decision"] == "" && row["comment"] == "" {
			continue
		}
		line := make([]string, len(sheetHead))
		for i, h := range sheetHead {
			line[i] = row[h]
		}
		_ = w.Write(line)
	}
	w.Flush()
	return path, errors.Join(w.Error(), writeFile(path, []byte(b.String())))
}

// harmless keeps a spreadsheet from taking a value for a formula.
func harmless(s string) string {
	if s != "" && strings.IndexByte(formulaBytes, s[0]) >= 0 {
		return "'" + s
	}
	return s
}

// formulaBytes are what a spreadsheet takes for the beginning of a formula; and the mark
// by which harmless says that it is none.
const formulaBytes = "=+-@\t\r'"

// unharmed takes away what harmless has put before a value.
func unharmed(s string) string {
	if len(s) > 1 && s[0] == '\'' && strings.IndexByte(formulaBytes, s[1]) >= 0 {
		return s[1:]
	}
	return s
}

func valueList(values []duckstage.ValueCount) string {
	parts := make([]string, len(values))
	for i, v := range values {
		parts[i] = fmt.Sprintf("%s (%d)", v.Value, v.Rows)
	}
	return strings.Join(parts, "; ")
}

// readSheet reads the sheet's rows, by source and column, as spreadsheets write it. No
// file is no row.
func readSheet(ctx context.Context, path string) (map[string]map[string]string, error) {
	out := map[string]map[string]string{}
	sheets, err := ingest.ReadSheets(ctx, path)
	if errors.Is(err, fs.ErrNotExist) {
		return out, nil
	}
	if err != nil {
		return nil, err
	}
	for _, r := range sheets[0].Rows {
		row := r.Cells
		if row["source"] == "" || row["column"] == "" {
			return nil, fmt.Errorf("%s, line %d: a row needs source and column", path, r.Line)
		}
		row["line"] = strconv.Itoa(r.Line)
		out[columnKey(row["source"], row["column"])] = row
	}
	return out, nil
}

// decisions are what the sheet says, by source and column.
func decisions(path string, sheet map[string]map[string]string) (map[string]string, error) {
	out := map[string]string{}
	for key, row := range sheet {
		decision := strings.ToLower(row["decision"])
		if decision != "" && decision != Bring && decision != Archive && decision != Drop {
			return nil, fmt.Errorf("%s, line %s: the decision is %q; it may be bring, archive or drop", path, row["line"], row["decision"])
		}
		out[key] = decision
	}
	return out, nil
}

// decided reads the sheet and what it says.
func (p *Project) decided(ctx context.Context) (sheet map[string]map[string]string, decided map[string]string, err error) {
	path := filepath.Join(p.Config.Dir, profileFile)
	if sheet, err = readSheet(ctx, path); err != nil {
		return nil, nil, err
	}
	decided, err = decisions(path, sheet)
	return sheet, decided, err
}

// decisionNotes compares the sheet with the transforms: columns that were to be left
// behind and are used, and columns that were to be brought and are not.
func (p *Project) decisionNotes(ctx context.Context) ([]string, error) {
	sheet, decisions, err := p.decided(ctx)
	if err != nil || len(sheet) == 0 {
		return nil, err
	}
	use, err := p.usage()
	if err != nil {
		return nil, err
	}
	var notes []string
	for _, key := range slices.Sorted(maps.Keys(sheet)) {
		row := sheet[key]
		used := use.of(row["source"], row["column"])
		switch d := decisions[key]; {
		case (d == Drop || d == Archive) && len(used) > 0:
			notes = append(notes, fmt.Sprintf("%s, line %s: %s.%s was decided as %s, and its name stands in transform/%s.sql", profileFile, row["line"], row["source"], row["column"], d, used[0]))
		case d == Bring && len(used) == 0:
			notes = append(notes, fmt.Sprintf("%s, line %s: %s.%s was decided as bring, and no transform uses it", profileFile, row["line"], row["source"], row["column"]))
		}
	}
	return notes, nil
}
