package transform

import (
	"context"
	"errors"
	"fmt"
	"path"
	"regexp"
	"strings"

	"dvmigrate/duckstage"
)

// Script is a file with views and macros of the user's own, for the SELECTs of the tables
// to use. It holds CREATE VIEW and CREATE MACRO statements, or one SELECT, which is a view
// by the file's name.
type Script struct {
	File string
	SQL  string
}

// ScriptError is an error about one script; a duckstage.SQLError inside has its place in
// the file.
type ScriptError struct {
	File string
	Err  error
}

func (e *ScriptError) Error() string { return fmt.Sprintf("%s: %v", e.File, e.Err) }

// Unwrap gives the error about the script.
func (e *ScriptError) Unwrap() error { return e.Err }

// definition is one view or macro.
type definition struct {
	file, name string
	create     string
	drop       string
	statement  duckstage.Statement
	moved      int // how much longer than the user's text create is before the rest of it
	err        error
}

var creates = regexp.MustCompile(`(?is)^create\s+(?:or\s+replace\s+)?(?:temp(?:orary)?\s+)?(view|macro|function)\s+(?:if\s+not\s+exists\s+)?("(?:[^"]|"")+"|\w+)`)

var ofTable = regexp.MustCompile(`(?is)\)\s*as\s+table\b`)

// definitions reads the scripts.
func definitions(scripts []Script) ([]*definition, error) {
	var out []*definition
	var faults []error
	for _, s := range scripts {
		statements := duckstage.Statements(s.SQL)
		for _, st := range statements {
			d, err := define(s.File, st, len(statements) == 1)
			if err != nil {
				faults = append(faults, &ScriptError{File: s.File, Err: err})
				continue
			}
			out = append(out, d)
		}
	}
	return out, errors.Join(faults...)
}

func define(file string, st duckstage.Statement, alone bool) (*definition, error) {
	m := creates.FindStringSubmatch(st.SQL)
	first := strings.ToLower(strings.FieldsFunc(st.SQL, func(r rune) bool { return r == '(' || r == ' ' || r == '\n' || r == '\t' || r == '\r' })[0])
	switch {
	case m == nil && alone && (first == "select" || first == "with" || first == "from" || first == "values"):
		name := strings.TrimSuffix(path.Base(strings.ReplaceAll(file, `\`, "/")), ".sql")
		head := "CREATE OR REPLACE TEMP VIEW " + duckstage.Ident(name) + " AS "
		return &definition{file: file, name: name, create: head + st.SQL, moved: len(head), drop: "DROP VIEW IF EXISTS temp." + duckstage.Ident(name), statement: st}, nil
	case m == nil:
		return nil, &duckstage.SQLError{Kind: "Parser", Message: "here are CREATE VIEW and CREATE MACRO expected, or one SELECT alone", Line: st.Line, Column: st.Column}
	}
	kind, name := strings.ToUpper(m[1]), m[2]
	if name[0] == '"' {
		name = strings.ReplaceAll(name[1:len(name)-1], `""`, `"`)
	}
	drop := "MACRO"
	if kind == "VIEW" {
		drop = "VIEW"
	} else if ofTable.MatchString(st.SQL) {
		drop = "MACRO TABLE"
	}
	head := "CREATE OR REPLACE TEMP " + kind + " " + duckstage.Ident(name)
	return &definition{file: file, name: name, create: head + st.SQL[len(m[0]):], moved: len(head) - len(m[0]), drop: "DROP " + drop + " IF EXISTS temp." + duckstage.Ident(name), statement: st}, nil
}

// library makes the views and macros on the connection, whatever their order: one that
// needs another waits for it. end removes them again.
func library(ctx context.Context, c *duckstage.Conn, scripts []Script) (end []string, err error) {
	waiting, err := definitions(scripts)
	if err != nil {
		return nil, err
	}
	known := map[string]string{}
	for _, d := range waiting {
		low := strings.ToLower(d.name)
		if other, twice := known[low]; twice {
			return nil, &ScriptError{File: d.file, Err: &duckstage.SQLError{Kind: "Catalog", Message: d.name + " is there already, in " + other, Line: d.statement.Line, Column: d.statement.Column}}
		}
		known[low] = d.file
		if low == "ref" || low == "existing" || low == "owner" || low == "party_address" || low == "file" {
			return nil, &ScriptError{File: d.file, Err: &duckstage.SQLError{Kind: "Catalog", Message: d.name + " is dvmigrate's own", Line: d.statement.Line, Column: d.statement.Column}}
		}
		var sources int64
		if err := c.Row(ctx, []any{&sources}, "SELECT count(*) FROM information_schema.tables WHERE table_schema = 'source' AND lower(table_name) = lower(?)", d.name); err != nil {
			return nil, fmt.Errorf("look for sources: %w", err)
		}
		if sources > 0 {
			return nil, &ScriptError{File: d.file, Err: &duckstage.SQLError{Kind: "Catalog", Message: d.name + " is the name of a source", Line: d.statement.Line, Column: d.statement.Column}}
		}
	}
	for len(waiting) > 0 {
		var left []*definition
		for _, d := range waiting {
			if _, d.err = c.Exec(ctx, d.create); d.err != nil {
				left = append(left, d)
			} else {
				end = append(end, d.drop)
			}
		}
		if len(left) == len(waiting) {
			return end, explain(left)
		}
		waiting = left
	}
	return end, nil
}

// missing is how DuckDB says that a view or macro is not there.
var missing = regexp.MustCompile(`(?:Table|View|Macro|Function) with name "?([^"\s]+?)"? does not exist`)

// explain says why definitions cannot be made. Of those that only miss another of them
// nothing is said: they are right once that is. Where all miss one another, it says the circle.
func explain(left []*definition) error {
	byName := map[string]*definition{}
	for _, d := range left {
		byName[strings.ToLower(d.name)] = d
	}
	needs := func(d *definition) *definition {
		var e *duckstage.SQLError
		if errors.As(d.err, &e) {
			if m := missing.FindStringSubmatch(e.Message); m != nil {
				return byName[strings.ToLower(m[1])]
			}
		}
		return nil
	}
	var faults []error
	for _, d := range left {
		if needs(d) == nil {
			faults = append(faults, &ScriptError{File: d.file, Err: d.place()})
		}
	}
	if len(faults) > 0 {
		return errors.Join(faults...)
	}
	d, passed := left[0], map[*definition]bool{}
	for !passed[d] { // into the circle
		passed[d], d = true, needs(d)
	}
	circle := d.name
	for next := needs(d); ; next = needs(next) {
		circle += " needs " + next.name
		if next == d {
			break
		}
		circle += ", and " + next.name
	}
	return &ScriptError{File: d.file, Err: &duckstage.SQLError{Kind: "Catalog", Message: circle + ": none of them can be made first", Line: d.statement.Line, Column: d.statement.Column}}
}

// place moves the place of the definition's error into the user's file.
func (d *definition) place() error {
	var e *duckstage.SQLError
	if !errors.As(d.err, &e) {
		return d.err
	}
	moved := *e
	switch {
	case e.Line == 0:
		moved.Line, moved.Column = d.statement.Line, d.statement.Column
	case e.Line == 1:
		moved.Line, moved.Column = d.statement.Line, max(e.Column-d.moved+d.statement.Column-1, 1)
	default:
		moved.Line = e.Line + d.statement.Line - 1
	}
	return &moved
}
