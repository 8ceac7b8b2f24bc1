package appliance

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
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
// the project's folder. A profile writes it; stage, check and draft read it. A person who
// saves it as a workbook puts profileBook in its place.
const (
	profileFile = "profile.csv"
	profileBook = "profile.xlsx"
)

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
	_, _, decisions, err := p.decided(ctx)
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

// WriteProfile writes the sheet into the project's folder, as CSV unless there is a workbook,
// or workbook says that there is to be one. Decisions and comments that stand in it already are
// kept, also of columns that are no longer there, and all rows of sources that were not looked at.
func WriteProfile(ctx context.Context, dir string, s SourceProfile, workbook bool) (string, error) {
	kept, former, err := readSheet(ctx, dir)
	if err != nil {
		return "", err
	}
	file, was := kept.file, kept.file
	if workbook {
		file = profileBook
	}
	rows := [][]string{append(slices.Clone(sheetHead), kept.extra...)}
	looked := map[string]bool{}
	for _, c := range s.Columns {
		looked[strings.ToLower(c.Source)] = true
		key := columnKey(c.Source, c.Name)
		row := former[key] // may be none
		delete(former, key)
		rows = append(rows, append([]string{c.Source, c.Name, c.SQLType, fmt.Sprint(c.Rows), strconv.FormatFloat(100*c.Share, 'f', 1, 64), fmt.Sprint(c.Distinct), fmt.Sprint(c.Unique), fmt.Sprint(c.MaxLength),
			harmless(c.Min), harmless(c.Max), harmless(valueList(c.Top)), harmless(valueList(c.Patterns)), strings.Join(c.UsedBy, " "), c.Proposal, c.Why, row["decision"], row["comment"]}, kept.own(row)...))
	}
	for _, key := range slices.Sorted(maps.Keys(former)) {
		row := former[key]
		if row["decision"] == "" && row["comment"] == "" && looked[strings.ToLower(row["source"])] {
			continue
		}
		line := make([]string, len(sheetHead))
		for i, h := range sheetHead {
			line[i] = row[h]
		}
		rows = append(rows, append(line, kept.own(row)...))
	}
	path := filepath.Join(dir, file)
	if file == profileFile {
		return path, writeCSV(path, rows)
	}
	numbers := []bool{3: true, 4: true, 5: true, 7: true}
	ours := []page{{name: cmp.Or(kept.name, "profile"), rows: rows, number: numbers}}
	others, err := ownPages(ctx, path, ours)
	if err != nil {
		return path, err
	}
	if err := writeWorkbook(path, append(ours, others...)); err != nil || was == file {
		return path, err
	}
	if err := os.Remove(filepath.Join(dir, was)); !errors.Is(err, fs.ErrNotExist) {
		return path, err // what it had is in the workbook
	}
	return path, nil
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

// keptSheet is where the sheet stands.
type keptSheet struct {
	file  string
	name  string   // of the sheet in a workbook; people may have others beside it
	extra []string // columns that people have added
}

// own are the values of a row in the columns that people have added.
func (k *keptSheet) own(row map[string]string) []string {
	out := make([]string, len(k.extra))
	for i, name := range k.extra {
		out[i] = row[name]
	}
	return out
}

// readSheet reads the sheet's rows, by source and column, as spreadsheets write it, and says
// where in dir it is. No file is no row.
func readSheet(ctx context.Context, dir string) (kept keptSheet, out map[string]map[string]string, err error) {
	kept, out = keptSheet{file: profileFile}, map[string]map[string]string{}
	sheets, err := ingest.ReadSheets(ctx, filepath.Join(dir, profileFile))
	book, bookErr := ingest.ReadSheets(ctx, filepath.Join(dir, profileBook))
	switch none := errors.Is(bookErr, fs.ErrNotExist); {
	case none && errors.Is(err, fs.ErrNotExist):
		return kept, out, nil
	case none && err != nil:
		return kept, nil, err
	case none:
	case !errors.Is(err, fs.ErrNotExist):
		return kept, nil, fmt.Errorf("there are %s and %s in %s: keep the one with the decisions", profileFile, profileBook, dir)
	case bookErr != nil:
		return kept, nil, fmt.Errorf("%s: %w", profileBook, bookErr)
	default:
		kept.file, sheets = profileBook, book
	}
	sheet := sheets[max(slices.IndexFunc(sheets, isProfile), 0)]
	kept.name = sheet.Name
	file := kept.file
	for _, r := range sheet.Rows {
		row := r.Cells
		kept.extra = added(kept.extra, sheetHead, row)
		if row["source"] == "" || row["column"] == "" {
			return kept, nil, fmt.Errorf("%s, line %d: a row needs source and column", file, r.Line)
		}
		row["line"] = strconv.Itoa(r.Line)
		key := columnKey(row["source"], row["column"])
		if other := out[key]; other != nil && !strings.EqualFold(other["decision"], row["decision"]) {
			return kept, nil, fmt.Errorf("%s, lines %s and %d: %s.%s is there twice, with different decisions", file, other["line"], r.Line, row["source"], row["column"])
		}
		out[key] = row
	}
	slices.Sort(kept.extra)
	return kept, out, nil
}

// isProfile reports whether a sheet of a workbook has decisions, by its columns.
func isProfile(s ingest.PaperSheet) bool {
	if len(s.Rows) == 0 {
		return false
	}
	_, source := s.Rows[0].Cells["source"]
	_, column := s.Rows[0].Cells["column"]
	_, decision := s.Rows[0].Cells["decision"]
	return source && column && decision
}

// decisions are what the sheet says, by source and column.
func decisions(file string, sheet map[string]map[string]string) (map[string]string, error) {
	out := map[string]string{}
	for key, row := range sheet {
		decision := strings.ToLower(row["decision"])
		if decision != "" && decision != Bring && decision != Archive && decision != Drop {
			return nil, fmt.Errorf("%s, line %s: the decision is %q; it may be bring, archive or drop", file, row["line"], row["decision"])
		}
		out[key] = decision
	}
	return out, nil
}

// decided reads the sheet and what it says.
func (p *Project) decided(ctx context.Context) (file string, sheet map[string]map[string]string, decided map[string]string, err error) {
	kept, sheet, err := readSheet(ctx, p.Config.Dir)
	file = kept.file
	if err != nil {
		return file, nil, nil, err
	}
	decided, err = decisions(file, sheet)
	return file, sheet, decided, err
}

// decisionNotes compares the sheet with the transforms: columns that were to be left
// behind and are used, and columns that were to be brought and are not.
func (p *Project) decisionNotes(ctx context.Context) ([]string, error) {
	file, sheet, decisions, err := p.decided(ctx)
	if err != nil || len(sheet) == 0 {
		return nil, err
	}
	use, err := p.usage()
	if err != nil {
		return nil, err
	}
	var notes []string
	for _, key := range slices.SortedFunc(maps.Keys(sheet), func(a, b string) int { return cmp.Compare(lineOf(sheet[a]), lineOf(sheet[b])) }) {
		row := sheet[key]
		used := use.of(row["source"], row["column"])
		switch d := decisions[key]; {
		case (d == Drop || d == Archive) && len(used) > 0:
			notes = append(notes, fmt.Sprintf("%s, line %s: %s.%s was decided as %s, and its name stands in transform/%s.sql", file, row["line"], row["source"], row["column"], d, used[0]))
		case d == Bring && len(used) == 0:
			notes = append(notes, fmt.Sprintf("%s, line %s: %s.%s was decided as bring, and no transform uses it", file, row["line"], row["source"], row["column"]))
		}
	}
	return notes, nil
}

func lineOf(row map[string]string) int {
	n, _ := strconv.Atoi(row["line"])
	return n
}
