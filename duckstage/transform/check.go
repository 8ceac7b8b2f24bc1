package transform

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"dvmigrate/duckstage"
)

// session prepares a connection for the user's SQL: where names are looked up, and the
// macros, which return one type so that they can be mixed in one column and one list.
const session = `SET search_path='source,main';
CREATE OR REPLACE TEMP MACRO ref(target, key) AS CASE WHEN key IS NULL THEN NULL
	ELSE {'dm_table': target::VARCHAR, 'dm_key': key::VARCHAR, 'dm_id': NULL::VARCHAR, 'dm_by': NULL::VARCHAR} END,
	(target, called, key) AS CASE WHEN key IS NULL THEN NULL
	ELSE {'dm_table': target::VARCHAR, 'dm_key': key::VARCHAR, 'dm_id': NULL::VARCHAR, 'dm_by': called::VARCHAR} END;
CREATE OR REPLACE TEMP MACRO existing(target, id) AS CASE WHEN id IS NULL THEN NULL
	ELSE {'dm_table': target::VARCHAR, 'dm_key': NULL::VARCHAR, 'dm_id': id::VARCHAR, 'dm_by': NULL::VARCHAR} END,
	(target, called, key) AS CASE WHEN key IS NULL THEN NULL
	ELSE {'dm_table': target::VARCHAR, 'dm_key': key::VARCHAR, 'dm_id': NULL::VARCHAR, 'dm_by': '` + atTarget + `' || called} END;
CREATE OR REPLACE TEMP MACRO owner(text) AS CASE WHEN text IS NULL THEN NULL
	ELSE {'dm_table': '` + byOwner + `', 'dm_key': text::VARCHAR, 'dm_id': NULL::VARCHAR, 'dm_by': '` + byOwner + `'} END;
CREATE OR REPLACE TEMP MACRO party_address(text) AS CASE WHEN text IS NULL OR trim(text::VARCHAR) = '' THEN NULL
	ELSE {'dm_table': '` + addressTable + `', 'dm_key': text::VARCHAR, 'dm_id': NULL::VARCHAR, 'dm_by': NULL::VARCHAR} END;
CREATE OR REPLACE TEMP MACRO file(path) AS CASE WHEN path IS NULL OR path::VARCHAR = '' THEN NULL
	ELSE {'dm_file': path::VARCHAR, 'dm_name': NULL::VARCHAR} END,
	(path, name) AS CASE WHEN path IS NULL OR path::VARCHAR = '' THEN NULL
	ELSE {'dm_file': path::VARCHAR, 'dm_name': nullif(name::VARCHAR, '')} END`

// endSession gives the connection back as it was.
const endSession = `SET search_path='main,source'; DROP MACRO IF EXISTS temp.ref; DROP MACRO IF EXISTS temp.existing; DROP MACRO IF EXISTS temp.owner; DROP MACRO IF EXISTS temp.party_address; DROP MACRO IF EXISTS temp.file`

// within runs fn with a connection for the user's SQL, which knows the user's views and
// macros.
func within(ctx context.Context, stage *duckstage.Stage, scripts []Script, fn func(*duckstage.Conn) error) error {
	return stage.With(ctx, func(c *duckstage.Conn) error {
		if _, err := c.Exec(ctx, session); err != nil {
			return fmt.Errorf("prepare transform: %w", err)
		}
		end, err := library(ctx, c, scripts)
		if err == nil {
			err = fn(c)
		}
		for _, q := range append(end, endSession) {
			if _, endErr := c.Exec(context.WithoutCancel(ctx), q); endErr != nil {
				err = errors.Join(err, endErr)
			}
		}
		return err
	})
}

// Describe calls each once with a function that returns the columns of a user's SELECT
// without running it, which it may call for any number of them.
func Describe(ctx context.Context, stage *duckstage.Stage, scripts []Script, each func(describe func(sql string) ([]duckstage.ColumnInfo, error)) error) error {
	return within(ctx, stage, scripts, func(c *duckstage.Conn) error {
		return each(func(sql string) ([]duckstage.ColumnInfo, error) { return c.Describe(ctx, sql) })
	})
}

// Read runs a query over the rows that a user's SELECT gives; query makes it, from being
// what stands after FROM.
func Read(ctx context.Context, stage *duckstage.Stage, scripts []Script, sql string, query func(from string) string, fn func(scan func(...any) error) error) error {
	one, err := duckstage.One(sql)
	if err != nil {
		return err
	}
	return within(ctx, stage, scripts, func(c *duckstage.Conn) error {
		q := query("(\n" + one + "\n) AS u")
		return inUserText(c.Rows(ctx, q, nil, fn), q, one)
	})
}

// job is a table on its way through Run.
type job struct {
	Table
	sql       string          // the SELECT without what follows it
	mendedSQL string          // the same with the values of dm.mends; "" where there are none
	given     map[string]bool // lower-case names of the SELECT's columns
	types     map[string]string
	number    uint16
	next      int64  // the first row number that was never given
	later     bool   // there is a staging before, whose rows have numbers already
	former    string // the table that staging's relation reads, in schema dm
	result    Result

	finds map[string][]find // by lookup or list: the ways in which its rows name others

	raw          string // the first pass's table
	data         string // the relation's table; the same as raw when one pass is enough
	seqs         string // of a later staging: rowid in raw (r), row number (seq), and what became of it (change)
	ascending    bool   // rows of a later staging lie in the order of their numbers
	fresh, there int64  // rows of a later staging that never had a number; that were in the one before
	before       bool   // the relation of what the target holds was made

	// Of a light table: what its relation selects from, and the table of schema dm that
	// reads; "" otherwise. Its data has the rows that are held, and nothing else.
	lightSQL, source string
	formerSource     string // the source of the staging before
}

// build checks the tables and makes the jobs.
func build(ctx context.Context, c *duckstage.Conn, tables []Table) ([]*job, []error) {
	var jobs []*job
	var faults []error
	for i, t := range tables {
		j, err := newJob(ctx, c, t)
		if err == nil && slices.ContainsFunc(tables[:i], func(o Table) bool { return strings.EqualFold(o.Name, t.Name) }) {
			err = errors.New("the table is there twice")
		}
		if err != nil {
			faults = append(faults, &TableError{Table: t.Name, File: t.File, Err: err})
			continue
		}
		jobs = append(jobs, j)
	}
	if len(faults) > 0 {
		return nil, faults
	}
	for _, j := range jobs {
		if err := j.checkTargets(ctx, c, jobs); err != nil {
			faults = append(faults, &TableError{Table: j.Name, File: j.File, Err: err})
		}
	}
	return jobs, faults
}

func newJob(ctx context.Context, c *duckstage.Conn, t Table) (*job, error) {
	cols, err := c.Describe(ctx, t.SQL)
	if err != nil {
		return nil, err
	}
	j := &job{Table: t, given: map[string]bool{}, types: map[string]string{}}
	if j.sql, err = duckstage.One(t.SQL); err != nil {
		return nil, err
	}
	for _, col := range cols {
		low := strings.ToLower(col.Name)
		if j.given[low] {
			return nil, fmt.Errorf("the SELECT has two columns called %s", col.Name)
		}
		j.given[low] = true
		j.types[low] = col.SQLType
	}
	if err := j.checkColumns(); err != nil {
		return nil, err
	}
	if err := j.checkExpressions(ctx, c); err != nil {
		return nil, err
	}
	return j, j.findMends(ctx, c, cols)
}

// checkColumns compares what the SELECT gives with what is asked for.
func (j *job) checkColumns() error {
	if !j.given["legacy_key"] {
		return errors.New("the SELECT has no column legacy_key: the source's own id of the row")
	}
	var seen []string
	need := func(name string) error {
		if !j.given[strings.ToLower(name)] {
			return fmt.Errorf("the SELECT has no column %s", name)
		}
		if indexFold(seen, name) >= 0 {
			return fmt.Errorf("column %s is there twice", name)
		}
		seen = append(seen, name)
		return nil
	}
	for _, col := range j.Columns {
		if err := need(col.Name); err != nil {
			return err
		}
	}
	for _, l := range j.Lookups {
		if err := need(l.Column); err != nil {
			return err
		}
		if len(l.Targets) == 0 {
			return fmt.Errorf("lookup %s has no target", l.Column)
		}
		if t := j.types[strings.ToLower(l.Column)]; strings.HasPrefix(t, "STRUCT") && !isReference(t) {
			return fmt.Errorf("lookup %s is a %s: use ref('table', key) or existing('table', id)", l.Column, t)
		} else if len(l.Targets) > 1 && !isReference(t) && t != nullType {
			return fmt.Errorf("lookup %s may point to several tables: use ref('table', key) or existing('table', id)", l.Column)
		}
	}
	if err := j.checkLists(need); err != nil {
		return err
	}
	if j.KeepID != "" && !j.given[strings.ToLower(j.KeepID)] {
		return fmt.Errorf("the SELECT has no column %s for the record id", j.KeepID)
	}
	return nil
}

// nullType is the type DuckDB gives to a column that is NULL in every row.
const nullType = `"NULL"`

// isReference reports whether a type is that of ref and existing.
func isReference(sqlType string) bool {
	return sqlType == reference
}

// checkExpressions lets DuckDB read the casts, the checks and the passes owed, over a
// relation of the right columns and no rows.
func (j *job) checkExpressions(ctx context.Context, c *duckstage.Conn) error {
	for _, col := range j.Columns {
		if err := describeExpr(ctx, c, "CAST(NULL AS "+col.SQLType+")", ""); err != nil {
			return fmt.Errorf("type %s of column %s: %w", col.SQLType, col.Name, err)
		}
	}
	relation := j.emptyRelation()
	for _, r := range j.Repairs {
		for _, expr := range []string{r.Bad, r.Value, r.Note} {
			if err := describeExpr(ctx, c, expr, relation); err != nil {
				return fmt.Errorf("repair of column %s, %s: %w", r.Column, expr, err)
			}
		}
	}
	for _, check := range j.Checks {
		for _, expr := range []string{check.Bad, check.Message} {
			if err := describeExpr(ctx, c, expr, relation); err != nil {
				return fmt.Errorf("check of column %s, %s: %w", check.Column, expr, err)
			}
		}
	}
	if j.Owed != "" {
		if err := describeExpr(ctx, c, "CAST("+j.Owed+" AS UTINYINT)", relation); err != nil {
			return fmt.Errorf("passes owed, %s: %w", j.Owed, err)
		}
	}
	return nil
}

func describeExpr(ctx context.Context, c *duckstage.Conn, expr, relation string) error {
	q := "SELECT (" + expr + "\n)"
	if relation != "" {
		q += " FROM (" + relation + ")"
	}
	_, err := c.Describe(ctx, q)
	return err
}

// emptyRelation selects nulls of the relation's columns.
func (j *job) emptyRelation() string {
	cols := []string{"''::VARCHAR AS legacy_key", "NULL::TIMESTAMP AS dm_created_at"}
	for _, col := range j.Columns {
		cols = append(cols, "NULL::"+col.SQLType+" AS "+duckstage.Ident(col.Name))
	}
	for _, l := range j.Lookups {
		cols = append(cols, "NULL::UUID AS "+duckstage.Ident(l.Column))
		if len(l.Targets) > 1 {
			cols = append(cols, "NULL::VARCHAR AS "+duckstage.Ident(l.Column+"__table"))
		}
	}
	for _, l := range j.Lists {
		cols = append(cols, "NULL::VARCHAR AS "+duckstage.Ident(l.Column))
	}
	return "SELECT " + strings.Join(cols, ", ")
}

// checkTargets looks for the relation of every staged target.
func (j *job) checkTargets(ctx context.Context, c *duckstage.Conn, jobs []*job) error {
	lookups := slices.Clone(j.Lookups)
	for _, l := range j.Lists {
		lookups = append(lookups, l.items())
	}
	for _, l := range lookups {
		for _, t := range l.Targets {
			if !t.Staged || slices.ContainsFunc(jobs, func(o *job) bool { return o.Name == t.Table }) {
				continue
			}
			if err := describeExpr(ctx, c, "legacy_key || dm_id::VARCHAR", "SELECT * FROM main."+duckstage.Ident(t.Table)); err != nil {
				return fmt.Errorf("lookup %s points to %s, which is not staged", l.Column, t.Table)
			}
		}
	}
	return nil
}
