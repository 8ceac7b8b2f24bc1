package appliance

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"

	"dvmigrate/appliance/config"
	"dvmigrate/appliance/mapping"
	"dvmigrate/appliance/progress"
	"dvmigrate/duckstage"
	"dvmigrate/duckstage/transform"
	"dvmigrate/ledger"
)

// bind maps every transform to its table, over the sources that s has. All faults of
// all transforms come back together, as config.Faults with file and line.
func (p *Project) bind(ctx context.Context, s *duckstage.Stage) (*bound, error) {
	files, err := p.transformFiles()
	if err != nil {
		return nil, err
	}
	scripts, err := p.scripts()
	if err != nil {
		return nil, err
	}
	staged := func(table string) bool {
		return slices.ContainsFunc(files, func(f transformFile) bool { return f.table == table })
	}
	var tables []*mapping.Table
	var faults config.Faults
	err = transform.Describe(ctx, s, scripts, func(describe func(string) ([]duckstage.ColumnInfo, error)) error {
		for _, f := range files {
			columns, err := describe(f.sql)
			var sqlError *duckstage.SQLError
			if errors.As(err, &sqlError) {
				faults = append(faults, pullHint(config.Fault{File: f.path, Line: sqlError.Line, Column: sqlError.Column, Message: sqlError.Message, Hint: sqlError.Hint}))
				continue
			}
			if err != nil {
				return fmt.Errorf("%s: %w", f.path, err)
			}
			t, found := p.bindOne(f, columns, staged)
			faults = append(faults, found...)
			if t != nil {
				tables = append(tables, t)
			}
		}
		return nil
	})
	if found := scriptFaults(err); found != nil {
		return nil, found
	}
	if err != nil {
		return nil, err
	}
	if len(faults) > 0 {
		return nil, faults
	}
	return newBound(tables), nil
}

// bindOne maps one transform, whose SELECT has these columns; nil where it has faults
// that leave no mapping.
func (p *Project) bindOne(f transformFile, columns []duckstage.ColumnInfo, staged func(string) bool) (*mapping.Table, config.Faults) {
	selected := make([]mapping.Selected, len(columns))
	for i, c := range columns {
		selected[i] = mapping.Selected{Name: c.Name, SQLType: c.SQLType}
	}
	t, found := mapping.Bind(p.Schema, f.table, selected, staged)
	if len(found) > 0 {
		var faults config.Faults
		for _, fault := range found {
			faults = append(faults, explain(f, fault))
		}
		return nil, faults
	}
	p.applySettings(t)
	return t, p.settingFaults(f, t)
}

// explain turns a mapping fault into one with file, line and a suggestion.
func explain(f transformFile, fault mapping.Fault) config.Fault {
	out := config.Fault{File: f.path, Key: fault.Column, Message: fault.Message}
	if fault.Column != "" {
		out.Line, out.Column = findWord(f.sql, fault.Column)
		out.Message = "column " + fault.Column + ": " + fault.Message
	} else if fault.Unknown {
		out.Message = "table " + fault.Table + ": " + fault.Message
	}
	if fault.Unknown {
		name := fault.Column
		if name == "" {
			name = fault.Table
		}
		if near := config.Nearest(name, fault.Known); near != "" {
			out.Hint = "did you mean " + near + "?"
		}
	}
	return out
}

// findWord finds where a name stands in a SQL text, its last place being the
// likeliest: SELECT a.x + b.y AS name. Line and column count from 1; 0 = not found.
func findWord(sql, word string) (line, column int) {
	at := -1
	for i := 0; i+len(word) <= len(sql); i++ {
		if sql[i:i+len(word)] == word && !wordByte(sql, i-1) && !wordByte(sql, i+len(word)) {
			at = i
		}
	}
	if at < 0 {
		return 0, 0
	}
	line, column = 1, 1
	for _, r := range sql[:at] {
		column++
		if r == '\n' {
			line, column = line+1, 1
		}
	}
	return line, column
}

func wordByte(s string, i int) bool {
	return i >= 0 && i < len(s) && (s[i] == '_' || s[i] >= '0' && s[i] <= '9' || s[i] >= 'a' && s[i] <= 'z' || s[i] >= 'A' && s[i] <= 'Z')
}

// settingFaults are settings of a table that do not go with its transform.
func (p *Project) settingFaults(f transformFile, t *mapping.Table) config.Faults {
	keep := p.Config.Table(t.Name).IDs == "keep"
	if keep && !t.KeepID {
		return config.Faults{{File: f.path, Message: fmt.Sprintf("ids: keep asks for the source's own ids, but the SELECT does not yield %s", t.Schema.PrimaryID)}}
	}
	if !keep && t.KeepID {
		line, column := findWord(f.sql, t.Schema.PrimaryID)
		return config.Faults{{File: f.path, Line: line, Column: column, Key: t.Schema.PrimaryID,
			Message: fmt.Sprintf("column %s: ids are assigned by dvmigrate", t.Schema.PrimaryID),
			Hint:    fmt.Sprintf("leave the column out, or set tables: {%s: {ids: keep}}", t.Name)}}
	}
	return slices.Concat(p.matchFaults(f, t), p.goneFaults(t), p.laneFaults(f, t))
}

// unsendable are notes on tables that were staged once and have no transform any more: nothing of them is
// compared or sent, what waits neither.
func (p *Project) unsendable(b *bound) (notes []string) {
	for _, t := range p.ledger.Tables() {
		if b.byName[t.Name] != nil {
			continue
		}
		c, waiting := p.ledger.Counts(t.Name), 0
		for _, pass := range []ledger.Pass{ledger.Main, ledger.Lookups, ledger.Files, ledger.State} {
			waiting += c.Waiting(pass)
		}
		text := fmt.Sprintf("%s has no transform any more: its records stay as they are", t.Name)
		if waiting > 0 {
			text += fmt.Sprintf(", and %s; put %s back and stage again to have that sent", progress.Counted(waiting, "record", "waits", "wait"), filepath.Join(p.Config.Transforms, t.Name+".sql"))
		}
		notes = append(notes, text)
	}
	return notes
}
