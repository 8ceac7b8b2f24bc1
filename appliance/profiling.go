package appliance

import (
	"context"
	"encoding/csv"
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
)

// ProfileFile is the sheet on which the owners of the data decide, column by column, in
// the project's folder. A profile writes it; stage and check read it.
const ProfileFile = "profile.csv"

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
	decisions, err := p.decisions()
	if err != nil {
		return out, err
	}
	files, err := p.transformFiles()
	if err != nil {
		files = nil // a project that has no transforms yet
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
			sc := SourceColumn{Source: name, ColumnProfile: c, Share: c.Share(), Decision: decisions[columnKey(name, c.Name)], UsedBy: usedBy(files, c.Name)}
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
	err := p.stage.Rows(ctx, "SELECT view_name FROM duckdb_views() WHERE schema_name = 'source' AND NOT internal ORDER BY 1", nil, func(scan func(...any) error) error {
		var n string
		if err := scan(&n); err != nil {
			return err
		}
		names = append(names, n)
		return nil
	})
	return names, err
}

// usedBy lists the transforms in which a column's name stands.
func usedBy(files []transformFile, column string) []string {
	out := []string{}
	for _, f := range files {
		if line, _ := findWord(strings.ToLower(f.sql), strings.ToLower(column)); line > 0 {
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

// WriteProfile writes the sheet. Decisions and comments that stand in it already are kept,
// also of columns that are no longer there.
func (p *Project) WriteProfile(s SourceProfile) (string, error) {
	path := filepath.Join(p.Config.Dir, ProfileFile)
	former, err := readSheet(path)
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
	if s != "" && strings.IndexByte("=+-@\t\r", s[0]) >= 0 {
		return "'" + s
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

// readSheet reads the sheet's rows, by source and column, as spreadsheets write it: with a
// comma or a semicolon. No file is no row.
func readSheet(path string) (map[string]map[string]string, error) {
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return map[string]map[string]string{}, nil
	}
	if err != nil {
		return nil, err
	}
	text := strings.TrimPrefix(string(b), "\ufeff")
	r := csv.NewReader(strings.NewReader(text))
	first, _, _ := strings.Cut(text, "\n")
	if strings.Count(first, ";") > strings.Count(first, ",") {
		r.Comma = ';'
	}
	r.FieldsPerRecord = -1
	lines, err := r.ReadAll()
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	out := map[string]map[string]string{}
	if len(lines) == 0 {
		return out, nil
	}
	for i, line := range lines[1:] {
		row := map[string]string{"line": strconv.Itoa(i + 2)}
		for k, head := range lines[0] {
			if k < len(line) {
				row[strings.ToLower(strings.TrimSpace(head))] = strings.TrimSpace(line[k])
			}
		}
		if row["source"] == "" || row["column"] == "" {
			return nil, fmt.Errorf("%s, line %d: a row needs source and column", path, i+2)
		}
		out[columnKey(row["source"], row["column"])] = row
	}
	return out, nil
}

// decisions are what the sheet says, by source and column.
func (p *Project) decisions() (map[string]string, error) {
	path := filepath.Join(p.Config.Dir, ProfileFile)
	sheet, err := readSheet(path)
	if err != nil {
		return nil, err
	}
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

// DecisionNotes compares the sheet with the transforms: columns that were to be left
// behind and are used, and columns that were to be brought and are not.
func (p *Project) DecisionNotes() ([]string, error) {
	path := filepath.Join(p.Config.Dir, ProfileFile)
	sheet, err := readSheet(path)
	if err != nil || len(sheet) == 0 {
		return nil, err
	}
	decisions, err := p.decisions()
	if err != nil {
		return nil, err
	}
	files, err := p.transformFiles()
	if err != nil {
		return nil, err
	}
	var notes []string
	for _, key := range slices.Sorted(maps.Keys(sheet)) {
		row := sheet[key]
		used := usedBy(files, row["column"])
		switch d := decisions[key]; {
		case (d == Drop || d == Archive) && len(used) > 0:
			notes = append(notes, fmt.Sprintf("%s, line %s: %s.%s was decided as %s, and its name stands in transform/%s.sql", ProfileFile, row["line"], row["source"], row["column"], d, used[0]))
		case d == Bring && len(used) == 0:
			notes = append(notes, fmt.Sprintf("%s, line %s: %s.%s was decided as bring, and no transform uses it", ProfileFile, row["line"], row["source"], row["column"]))
		}
	}
	return notes, nil
}
