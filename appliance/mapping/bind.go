package mapping

import (
	"fmt"
	"slices"
	"strings"

	"dvmigrate/appliance/dataverse/schema"
)

// The columns of a stage table that are ours, not the target's.
const (
	LegacyKey = "legacy_key"    // the source's own id of the row
	createdAt = "dm_created_at" // when the row arrived in the stage
	Seq       = "dm_seq"        // the row's number in its table
	ID        = "dm_id"         // the record id
	CreatedBy = "createdby"     // who created the record: not sent, but the user to send it as
	Owed      = "dm_owed"       // bit set of the passes the row owes after its insert
)

// TargetSuffix is added to a lookup column's name for the column that names the
// table it points to, where it may be one of several.
const TargetSuffix = "__table"

// The bits of Owed.
const (
	OwesLookups = 1 << 1 // pass 1: lookups that were left empty because of a cycle
	OwesFiles   = 1 << 2 // pass 2: files, and images that no new record takes
	OwesState   = 1 << 3 // pass 3: a state or status reason other than a new record's
)

// Selected is one column that a transform's SELECT yields.
type Selected struct {
	Name    string
	SQLType string // as DESCRIBE prints it
}

// Column is one column of the record, apart from lookups.
type Column struct {
	*schema.Column
	SQLType string // the DuckDB type it has in the stage
	File    bool   // the SELECT yields file(path): the stage has where it lies (files.go)
	Late    bool   // not sent with the record but in the files pass
}

// Base64 reports whether the column takes bytes, as Base64 text: an image, or what a note or
// an attachment holds (dataverse-web-api.md 13.2, 13.3).
func (c *Column) Base64(table string) bool {
	return c.Type == schema.Image || table == "annotation" && c.LogicalName == "documentbody" || table == "activitymimeattachment" && c.LogicalName == "body"
}

// Lookup is one lookup column of the record.
type Lookup struct {
	*schema.Column
	Targets []Target
}

// Target is one table that a lookup may point to.
type Target struct {
	Table     string
	EntitySet string
	Nav       string // navigation property to bind, case-sensitive
	Staged    bool   // its rows are staged by this migration: the value is a legacy key
	Kept      bool   // its records' ids may be others than the stage's: Table.KeptIDs
}

// Polymorphic reports whether the lookup may point to several tables.
func (l *Lookup) Polymorphic() bool { return len(l.Targets) > 1 }

// Table is how one stage table becomes records of one Dataverse table, or links
// of one N:N relationship.
type Table struct {
	Name    string
	Schema  *schema.Table      // nil for an N:N link table the schema lists only as a relationship
	Link    *schema.ManyToMany // set for an N:N link table
	Columns []Column
	Lookups []Lookup
	Parties []Parties
	KeepID  bool // the SELECT yields the primary key: the source's GUIDs are kept

	PartyNav string // where there are Parties: the navigation property that takes them

	// Set after Bind, where the settings say so.
	ServerIDs bool     // Dataverse assigns the record ids
	Match     []string // columns that tell one record of the target from all others
}

// KeptIDs reports whether records may have other ids in the target than in the stage, so
// that who refers to them asks for the id that was kept.
func (t *Table) KeptIDs() bool { return t.ServerIDs || len(t.Match) > 0 }

// Fault is one thing in a SELECT that does not fit the table.
type Fault struct {
	Table   string
	Column  string
	Message string
	Unknown bool     // the column does not exist; Known lists those that do
	Known   []string // the names to suggest from
}

// Bind maps the columns that a transform for table yields. staged says which
// tables are part of this migration. Every fault is returned, not only the first;
// the Table is usable only when there is none.
func Bind(s *schema.Schema, table string, selected []Selected, staged func(string) bool) (*Table, []Fault) {
	b := binder{schema: s, staged: staged, out: &Table{Name: table, Schema: s.Table(table), Link: s.Link(table)}}
	if b.out.Schema == nil && b.out.Link == nil {
		return nil, []Fault{{Table: table, Message: "no such table in the schema", Unknown: true, Known: s.TableNames()}}
	}
	if !yields(selected, LegacyKey) {
		b.fault("", "the SELECT yields no column legacy_key, the source's own id of each row")
	}
	seen := map[string]bool{} // DuckDB does not tell names apart by case
	for _, c := range selected {
		low := strings.ToLower(c.Name)
		if seen[low] {
			b.fault(c.Name, "the SELECT yields it twice")
			continue
		}
		seen[low] = true
		switch {
		case c.Name == LegacyKey || c.Name == createdAt:
		case strings.HasPrefix(c.Name, "dm_") || strings.HasSuffix(c.Name, TargetSuffix):
			b.fault(c.Name, "names that begin with dm_ or end in __table are kept for dvmigrate's own columns")
		case b.out.Link != nil:
			b.bindLink(c)
		default:
			b.bindColumn(c)
		}
	}
	if l := b.out.Link; l != nil && len(b.out.Lookups) != 2 {
		b.fault("", fmt.Sprintf("a transform of the N:N relationship %s must yield %s and %s", l.SchemaName, l.Column1, l.Column2))
	}
	if yields(selected, "statuscode") && !yields(selected, "statecode") {
		b.fault("statuscode", "needs statecode beside it: Dataverse does not infer the state from the status reason")
	}
	if t := b.out.Schema; t != nil && b.out.Link == nil && t.Kind == schema.Intersect {
		b.fault("", "an intersect table is written through its N:N relationship, which the schema does not have")
	}
	return b.out, b.faults
}

func yields(selected []Selected, name string) bool {
	return slices.ContainsFunc(selected, func(c Selected) bool { return c.Name == name })
}

type binder struct {
	schema *schema.Schema
	staged func(string) bool
	out    *Table
	faults []Fault
}

func (b *binder) fault(column, message string) {
	b.faults = append(b.faults, Fault{Table: b.out.Name, Column: column, Message: message})
}

// bindLink binds one of the two columns of an N:N link, each a lookup to one end.
func (b *binder) bindLink(c Selected) {
	l := b.out.Link
	var end string
	switch c.Name {
	case l.Column1:
		end = l.Table1
	case l.Column2:
		end = l.Table2
	default:
		b.faults = append(b.faults, Fault{Table: b.out.Name, Column: c.Name, Unknown: true, Known: []string{LegacyKey, l.Column1, l.Column2},
			Message: fmt.Sprintf("not a column of the N:N relationship %s", l.SchemaName)})
		return
	}
	t := b.schema.Table(end)
	if t == nil {
		b.fault(c.Name, "points to table "+end+", which the schema does not have")
		return
	}
	b.out.Lookups = append(b.out.Lookups, Lookup{
		Column:  &schema.Column{LogicalName: c.Name, Type: schema.Lookup, Targets: []string{end}},
		Targets: []Target{{Table: end, EntitySet: t.EntitySet, Staged: b.staged(end)}},
	})
}

func (b *binder) bindColumn(c Selected) {
	t := b.out.Schema
	col := t.Column(c.Name)
	switch {
	case col == nil:
		b.faults = append(b.faults, Fault{Table: t.LogicalName, Column: c.Name, Unknown: true, Known: t.ColumnNames(),
			Message: "no such column in the schema"})
	case c.Name == t.PrimaryID:
		b.out.KeepID = true
	case c.Name == CreatedBy && col.Type.IsLookup():
		b.bindLookup(c, col)
	case col.Type == schema.PartyList:
		b.bindParties(c, col)
	case !col.Writable(false) && !col.Writable(true) && col.Type != schema.File:
		b.fault(c.Name, "Dataverse ignores values for this column ("+whyReadOnly(col)+"); leave it out")
	case col.NoWebAPI:
		b.fault(c.Name, "the Web API does not offer this column; leave it out")
	case col.Type.IsLookup():
		b.bindLookup(c, col)
	case isFile(c.SQLType) || col.Type == schema.File:
		b.bindFile(c, col)
	default:
		sql, ok := stageType(col)
		if !ok {
			b.fault(c.Name, fmt.Sprintf("columns of type %s cannot be loaded", col.Type))
			return
		}
		if isRef(c.SQLType) {
			b.fault(c.Name, fmt.Sprintf("ref() and existing() are for lookups; this column is of type %s", col.Type))
			return
		}
		late := col.Type == schema.Image && c.Name != t.PrimaryImage && c.Name != "entityimage" // no new record takes it (13.2)
		b.out.Columns = append(b.out.Columns, Column{Column: col, SQLType: sql, Late: late})
	}
}

func whyReadOnly(c *schema.Column) string {
	switch {
	case c.PartOf != "":
		return "derived from " + c.PartOf
	case c.CalculationOf != "":
		return "computed from " + c.CalculationOf
	case c.SourceType == 1:
		return "calculated"
	case c.SourceType == 2:
		return "a rollup"
	case c.SourceType == 3:
		return "a formula"
	}
	return "set by the service"
}

// isRef reports whether a SQL type is what ref() and existing() return.
func isRef(sqlType string) bool { return strings.HasPrefix(sqlType, "STRUCT(") }

func (b *binder) bindLookup(c Selected, col *schema.Column) {
	l := Lookup{Column: col}
	for _, name := range lookupTargets(b.out.Schema, col) {
		t := b.schema.Table(name)
		if t == nil {
			continue // a table that the project's schema leaves out cannot be pointed to
		}
		nav := col.LogicalName
		if r := b.out.Schema.Relationship(col.LogicalName, name); r != nil && col.Type != schema.Owner {
			nav = r.Nav
		} else if col.Type != schema.Owner && len(col.Targets) > 1 {
			nav = col.LogicalName + "_" + name
		}
		l.Targets = append(l.Targets, Target{Table: name, EntitySet: t.EntitySet, Nav: nav, Staged: b.staged(name)})
	}
	switch {
	case len(l.Targets) == 0:
		b.fault(c.Name, "points to "+strings.Join(col.Targets, ", ")+", which the schema does not have; pull the schema with that table")
	case len(l.Targets) > 1 && !isRef(c.SQLType):
		b.fault(c.Name, fmt.Sprintf("may point to %s: say which with ref('%s', key), or existing('%s', id) for a record that is there already",
			strings.Join(targetNames(l.Targets), " or "), l.Targets[0].Table, l.Targets[0].Table))
	default:
		b.out.Lookups = append(b.out.Lookups, l)
	}
}

// lookupTargets lists the tables that a lookup column may point to. An owner is
// a user or a team, whatever the metadata calls it (dataverse-web-api.md 4.7).
func lookupTargets(t *schema.Table, col *schema.Column) []string {
	if col.Type == schema.Owner {
		return []string{"systemuser", "team"}
	}
	if len(col.Targets) > 0 {
		return col.Targets
	}
	var names []string
	for _, r := range t.ManyToOne {
		if r.Column == col.LogicalName {
			names = append(names, r.Target)
		}
	}
	return names
}

func targetNames(targets []Target) []string {
	names := make([]string, len(targets))
	for i, t := range targets {
		names[i] = t.Table
	}
	return names
}

// stageType is the DuckDB type in which a column is staged: the narrowest that
// holds every value the column's type allows (dataverse-web-api.md 4.1).
func stageType(c *schema.Column) (string, bool) {
	switch c.Type {
	case schema.Text, schema.Memo, schema.Choices, schema.Image, schema.TableName:
		return "VARCHAR", true
	case schema.Integer, schema.Choice, schema.State, schema.Status:
		return "INTEGER", true
	case schema.BigInt:
		return "BIGINT", true
	case schema.Decimal: // +-1e11, 0 to 10 digits after the point
		return fmt.Sprintf("DECIMAL(%d,%d)", 12+precision(c, 10), precision(c, 10)), true
	case schema.Money: // +-922,337,203,685,477, at most 4 digits after the point
		p := 4
		if c.PrecisionSource == 0 {
			p = precision(c, 4)
		}
		return fmt.Sprintf("DECIMAL(%d,%d)", 15+p, p), true
	case schema.Float:
		return "DOUBLE", true
	case schema.YesNo:
		return "BOOLEAN", true
	case schema.DateTime:
		if c.DateBehavior == schema.DateOnly {
			return "DATE", true
		}
		return "TIMESTAMP", true
	case schema.UniqueID:
		return "UUID", true
	}
	return "", false
}

// precision is the column's digits after the point, most where the schema does
// not say.
func precision(c *schema.Column, most int) int {
	if c.Precision == nil || *c.Precision < 0 || *c.Precision > most {
		return most
	}
	return *c.Precision
}

// Lookup finds a lookup of the record by its column's name; nil when it has none
// such.
func (t *Table) Lookup(name string) *Lookup {
	for i := range t.Lookups {
		if t.Lookups[i].LogicalName == name {
			return &t.Lookups[i]
		}
	}
	return nil
}

// Yields reports whether the SELECT yields a column that is no lookup.
func (t *Table) Yields(name string) bool {
	return slices.ContainsFunc(t.Columns, func(c Column) bool { return c.LogicalName == name })
}

// HasState reports whether the SELECT yields a state or a status reason.
func (t *Table) HasState() bool { return slices.ContainsFunc(t.Columns, isState) }

func isState(c Column) bool { return c.Type == schema.State || c.Type == schema.Status }

// OwedSQL is the SQL expression, over a staged row's resolved columns, of the
// passes that the row owes after its insert, as a bit set. deferred names the
// lookups that the plan leaves to the second pass.
func (t *Table) OwedSQL(deferred []string) string {
	var lookups, files, states []string
	for _, name := range deferred {
		lookups = append(lookups, Ident(name)+" IS NOT NULL")
	}
	for _, c := range t.Columns {
		if c.Late {
			files = append(files, Ident(c.LogicalName)+" IS NOT NULL")
		}
		if isState(c) {
			states = append(states, fmt.Sprintf("coalesce(%s <> %d, false)", Ident(c.LogicalName), newRecordValue(t.Schema, c.Column)))
		}
	}
	var terms []string
	if len(lookups) > 0 {
		terms = append(terms, fmt.Sprintf("CASE WHEN %s THEN %d ELSE 0 END", strings.Join(lookups, " OR "), OwesLookups))
	}
	if len(files) > 0 {
		terms = append(terms, fmt.Sprintf("CASE WHEN %s THEN %d ELSE 0 END", strings.Join(files, " OR "), OwesFiles))
	}
	if len(states) > 0 {
		terms = append(terms, fmt.Sprintf("CASE WHEN %s THEN %d ELSE 0 END", strings.Join(states, " OR "), OwesState))
	}
	if len(terms) == 0 {
		return "0::UTINYINT"
	}
	return "(" + strings.Join(terms, " + ") + ")::UTINYINT"
}

// newRecordValue is the state or status reason that a record has when it is
// created without one: state 0 and that state's default status
// (dataverse-web-api.md 4.5).
func newRecordValue(t *schema.Table, c *schema.Column) int32 {
	if c.Type == schema.State {
		return 0
	}
	for _, s := range t.Columns {
		if s.Type != schema.State {
			continue
		}
		if o := s.Option(0); o != nil && o.DefaultStatus != nil {
			return *o.DefaultStatus
		}
	}
	return 1
}

// Quote writes a text as a SQL literal.
func Quote(text string) string { return "'" + strings.ReplaceAll(text, "'", "''") + "'" }

// Ident quotes a name as a SQL identifier.
func Ident(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }
