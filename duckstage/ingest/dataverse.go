package ingest

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"dvmigrate/duckstage"
)

// Dataverse is a table of an environment that rows come from.
type Dataverse struct {
	URL      string // for messages
	Table    string // logical name
	Select   []string
	Filter   string // OData
	FetchXML string // instead of Select and Filter
	Delta    bool   // only what has changed since the last reading, merged into what was read then
	Parallel int
	Reader   recordReader
}

// recordReader reads an environment. Rows are JSON objects with the members of the Web
// API: a lookup x is _x_value.
type recordReader interface {
	// Columns describes the table's columns; selected names some, none means all that can
	// be read.
	Columns(ctx context.Context, table string, selected []string) ([]RecordColumn, error)
	// Slices cuts the records into pieces for reading side by side: filters, in an order
	// that is the same each time.
	Slices(ctx context.Context, table, filter string, n int) ([]string, error)
	Records(ctx context.Context, table string, selected []string, filter string, fn func(row json.RawMessage) error) error
	Fetch(ctx context.Context, table, query string, fn func(row json.RawMessage) error) error
	// Changes reads what changed since the token, all when it is empty or too old, and
	// returns the next. A row that is gone has only the members id and reason.
	Changes(ctx context.Context, table string, selected []string, token string, fn func(row json.RawMessage) error) (next string, all bool, err error)
	Close()
}

// RecordColumn is a column of an environment's table.
type RecordColumn struct {
	Name    string // logical
	Member  string // of a row
	SQLType string
	Primary bool
	Target  string // member with the table a lookup points to; "" = it can only be one
}

func (d *Dataverse) check() error {
	switch {
	case d.Table == "":
		return errors.New("an environment needs a table")
	case d.FetchXML != "" && (d.Filter != "" || len(d.Select) > 0):
		return errors.New("fetchxml says itself what is selected: leave out select and filter")
	case d.Delta && (d.FetchXML != "" || d.Filter != ""):
		return errors.New("changes are tracked of a whole table: leave out filter and fetchxml")
	case d.Reader == nil:
		return errors.New("there is no client for the environment")
	}
	return nil
}

// environmentSupply reads one table of an environment.
type environmentSupply struct {
	of      *Dataverse
	columns []RecordColumn
	members map[string]int // of a row, to the field it fills
	token   string         // of the changes that were read
	all     bool
	said    []string
}

func openEnvironment(src *Source) (supply, error) {
	return &environmentSupply{of: src.Dataverse}, nil
}

func (e *environmentSupply) workers() int    { return max(e.of.Parallel, 1) }
func (e *environmentSupply) notes() []string { return e.said }
func (e *environmentSupply) close()          { e.of.Reader.Close() }

// gone is the field that marks a record which was deleted.
const gone = "dm_gone"

func (e *environmentSupply) relations(ctx context.Context, src *Source) (_ []*relation, err error) {
	selected, linked := e.of.Select, []string(nil)
	if e.of.FetchXML != "" {
		if selected, linked, err = fetched(e.of.FetchXML, e.of.Table); err != nil {
			return nil, err
		}
	}
	if e.columns, err = e.of.Reader.Columns(ctx, e.of.Table, selected); err != nil {
		return nil, err
	}
	rel := &relation{name: src.Name}
	e.members = map[string]int{}
	add := func(name, member, typ, what string) {
		e.members[member] = len(rel.fields)
		rel.fields = append(rel.fields, field{name: name, stored: "VARCHAR", typ: typ, what: what})
	}
	for _, c := range e.columns {
		what := ""
		if c.SQLType != "VARCHAR" {
			what = "a value of its type"
		}
		add(c.Name, c.Member, c.SQLType, what)
		if c.Target != "" {
			add(c.Name+"_table", c.Target, "VARCHAR", "")
		}
	}
	for _, member := range linked {
		add(strings.ReplaceAll(member, ".", "_"), member, "VARCHAR", "")
	}
	return []*relation{rel}, nil
}

// fetched finds the attributes that a FetchXML query yields: of its table, and with an
// alias or of linked tables, by the members that a row has of them.
func fetched(query, table string) (own, linked []string, err error) {
	d := xml.NewDecoder(strings.NewReader(query))
	var aliases []string // of the tables around; "" = the query's own
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return own, linked, nil
		}
		if err != nil {
			return nil, nil, fmt.Errorf("fetchxml: %w", err)
		}
		switch t := token.(type) {
		case xml.StartElement:
			at := map[string]string{}
			for _, a := range t.Attr {
				at[a.Name.Local] = a.Value
			}
			switch t.Name.Local {
			case "entity":
				if at["name"] != table {
					return nil, nil, fmt.Errorf("fetchxml is of table %q, the source of %q", at["name"], table)
				}
				aliases = append(aliases, "")
			case "link-entity":
				if at["alias"] == "" {
					return nil, nil, fmt.Errorf("fetchxml: give the link-entity %s an alias, which names its columns", at["name"])
				}
				aliases = append(aliases, at["alias"]+".")
			case "attribute":
				switch {
				case at["alias"] != "":
					linked = append(linked, at["alias"])
				case len(aliases) > 0 && aliases[len(aliases)-1] == "":
					own = append(own, at["name"])
				case len(aliases) > 0:
					linked = append(linked, aliases[len(aliases)-1]+at["name"])
				}
			}
		case xml.EndElement:
			if (t.Name.Local == "entity" || t.Name.Local == "link-entity") && len(aliases) > 0 {
				aliases = aliases[:len(aliases)-1]
			}
		}
	}
}

// plan makes the parts: slices of the table, or one.
func (e *environmentSupply) plan(ctx context.Context, rel *relation, _ []string) error {
	names := make([]string, len(e.columns))
	for i, c := range e.columns {
		names[i] = c.Member
	}
	if e.of.FetchXML != "" {
		rel.parts = []part{{label: "fetchxml", read: func(ctx context.Context, _ int, out *sink) error {
			return e.of.Reader.Fetch(ctx, e.of.Table, e.of.FetchXML, func(row json.RawMessage) error { return e.row(row, out) })
		}}}
		return nil
	}
	slices, err := []string{e.of.Filter}, error(nil)
	if e.of.Parallel > 1 {
		if slices, err = e.of.Reader.Slices(ctx, e.of.Table, e.of.Filter, 4*e.of.Parallel); err != nil {
			return err
		}
	}
	for _, filter := range slices {
		rel.parts = append(rel.parts, part{label: filter, read: func(ctx context.Context, _ int, out *sink) error {
			return e.of.Reader.Records(ctx, e.of.Table, names, filter, func(row json.RawMessage) error { return e.row(row, out) })
		}})
	}
	return nil
}

// row fills one row from the members of a record.
func (e *environmentSupply) row(row json.RawMessage, out *sink) error {
	d := json.NewDecoder(bytes.NewReader(row))
	d.UseNumber()
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return errors.New("a record is not an object")
	}
	values := make([]any, len(out.b.Columns))
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return err
		}
		i, known := e.members[name.(string)]
		if !known {
			var skipped json.RawMessage
			if err := d.Decode(&skipped); err != nil {
				return err
			}
			continue
		}
		if err := d.Decode(&values[i]); err != nil {
			return err
		}
	}
	for i, value := range values {
		switch v := value.(type) {
		case nil:
			out.null(i)
		case string:
			out.cell(i).AppendText(v)
		case json.Number:
			out.cell(i).AppendText(v.String())
		case bool:
			out.cell(i).AppendText(strconv.FormatBool(v))
		default:
			text, err := json.Marshal(v)
			if err != nil {
				return err
			}
			out.cell(i).AppendText(string(text))
		}
	}
	return out.end()
}

// deltaKey is the stage's own fact with the token of a source's last reading.
func deltaKey(source string) string { return "changes of " + source }

// deltaState is what is kept of a reading of changes.
type deltaState struct {
	URL, Table, Columns, Token string
}

// planChanges makes the one part that reads what has changed since the last reading. It
// returns the column by which it is merged: rows that did not change stay as they arrived.
func (r *run) planChanges(ctx context.Context, stage *duckstage.Stage, e *environmentSupply, rel *relation) (primary string, err error) {
	names := make([]string, len(e.columns))
	for i, c := range e.columns {
		names[i] = c.Member
		if c.Primary {
			primary = c.Name
		}
	}
	if primary == "" {
		return "", fmt.Errorf("changes cannot be merged without the id of the record: select it too")
	}
	state := deltaState{URL: e.of.URL, Table: e.of.Table, Columns: strings.Join(names, ",")}
	former, err := r.formerChanges(ctx, stage, state)
	if err != nil {
		return "", err
	}
	rel.fields = append(rel.fields, field{name: gone, stored: "VARCHAR", typ: "VARCHAR"})
	e.members["reason"], e.members["id"] = len(rel.fields)-1, slices.IndexFunc(rel.fields, func(f field) bool { return f.name == primary })
	rel.parts = []part{{label: "changes", read: func(ctx context.Context, _ int, out *sink) error {
		var err error
		e.token, e.all, err = e.of.Reader.Changes(ctx, e.of.Table, names, former.Token, func(row json.RawMessage) error { return e.row(row, out) })
		return err
	}}}
	return primary, nil
}

// formerChanges is what the last reading left, if it was of the same.
func (r *run) formerChanges(ctx context.Context, stage *duckstage.Stage, now deltaState) (deltaState, error) {
	text, err := stage.Meta(ctx, deltaKey(r.src.Name))
	if err != nil || text == "" {
		return deltaState{}, err
	}
	var former deltaState
	if err := json.Unmarshal([]byte(text), &former); err != nil {
		return deltaState{}, nil // written by another version: read all again
	}
	if former.URL != now.URL || former.Table != now.Table || former.Columns != now.Columns {
		return deltaState{}, nil
	}
	var there int
	err = stage.Row(ctx, []any{&there}, "SELECT count(*) FROM dm.sources WHERE name = ?", r.src.Name)
	if errors.Is(err, sql.ErrNoRows) || there == 0 {
		return deltaState{}, err
	}
	return former, err
}

// mergeChanges makes of the changes, which the new table holds, the whole relation.
func (r *run) mergeChanges(ctx context.Context, c *duckstage.Conn, e *environmentSupply, b *built, primary string) error {
	table, merged, id := "dm."+duckstage.Ident(b.table), "dm."+duckstage.Ident("new_merged_"+b.name), duckstage.Ident(primary)
	latest := fmt.Sprintf("SELECT * EXCLUDE (%[1]s) FROM %[2]s n WHERE %[1]s IS NULL AND NOT EXISTS (SELECT 1 FROM %[2]s g WHERE g.%[3]s = n.%[3]s AND g.%[1]s IS NOT NULL)", gone, table, id)
	query := "CREATE OR REPLACE TABLE " + merged + " AS " + latest
	if !e.all {
		query = fmt.Sprintf("CREATE OR REPLACE TABLE %s AS SELECT * EXCLUDE (dm_source) FROM source.%s f WHERE NOT EXISTS (SELECT 1 FROM %s n WHERE n.%s = f.%s) UNION ALL %s",
			merged, duckstage.Ident(b.name), table, id, id, latest)
		var changed, deleted int64
		if err := c.Row(ctx, []any{&changed, &deleted}, fmt.Sprintf("SELECT count(*) FILTER (%[1]s IS NULL), count(%[1]s) FROM %[2]s", gone, table)); err != nil {
			return err
		}
		e.said = append(e.said, fmt.Sprintf("%d records of %s changed since the last staging, %d are gone", changed, e.of.Table, deleted))
	}
	for _, q := range []string{query, "DROP TABLE " + table, "ALTER TABLE " + merged + " RENAME TO " + duckstage.Ident(b.table)} {
		if _, err := c.Exec(ctx, q); err != nil {
			return err
		}
	}
	return c.Row(ctx, []any{&b.rows}, "SELECT count(*) FROM "+table)
}

// keepChanges notes where the next reading of changes begins.
func (r *run) keepChanges(ctx context.Context, c *duckstage.Conn, e *environmentSupply) error {
	names := make([]string, len(e.columns))
	for i, col := range e.columns {
		names[i] = col.Member
	}
	text, err := json.Marshal(deltaState{URL: e.of.URL, Table: e.of.Table, Columns: strings.Join(names, ","), Token: e.token})
	if err != nil {
		return err
	}
	return c.SetMeta(ctx, deltaKey(r.src.Name), string(text))
}
