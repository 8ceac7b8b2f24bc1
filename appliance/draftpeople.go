package appliance

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"dvmigrate/appliance/dataverse/schema"
	"dvmigrate/appliance/mapping"
	"dvmigrate/duckstage"
)

// embedded are the people that a source of another table has in columns of its own, as
// customers have a contact_name and a contact_title: they become contacts.
type embedded struct {
	source  string
	columns map[string]SourceColumn // by what is left of the name without the prefix
	order   []string
}

// personPrefix is how the columns of a person begin in a row that is about something else.
var personPrefix = regexp.MustCompile(`(?i)^(contact_?person|primary_?contact|main_?contact|contact|kontakt|ansprechpartner)_?(first_?name|last_?name|full_?name|name|title|job_?title|position|phone|telephone|tel|mobile|fax|e?_?mail|email_?address|department|vorname|nachname|telefon|funktion)?$`)

// people finds those that the sources of tables which contacts point to have.
func (d *drafter) people() {
	contact := d.p.Schema.Table("contact")
	if contact == nil {
		return
	}
	for _, source := range d.sources {
		g := d.table[source]
		if g == nil || g.Table == contact || toTable(contact, g.Table.LogicalName) == nil {
			continue
		}
		e := embedded{source: source, columns: map[string]SourceColumn{}}
		for _, c := range d.columns[source] {
			m := personPrefix.FindStringSubmatch(c.Name)
			if m == nil || c.SQLType != "VARCHAR" || c.leave() != "" {
				continue
			}
			part := strings.ToLower(strings.ReplaceAll(m[2], "_", ""))
			if part == "" || part == "fullname" {
				part = "name"
			}
			if _, twice := e.columns[part]; !twice {
				e.columns[part] = c
				e.order = append(e.order, part)
			}
		}
		_, name := e.columns["name"]
		_, last := e.columns["lastname"]
		if _, nachname := e.columns["nachname"]; name || last || nachname {
			d.embedded = append(d.embedded, e)
		}
	}
}

// embeds reports whether a column of a source goes to its people.
func (d *drafter) embeds(source, column string) bool {
	return slices.ContainsFunc(d.embedded, func(e embedded) bool {
		return e.source == source && slices.ContainsFunc(e.order, func(part string) bool { return e.columns[part].Name == column })
	})
}

// toTable is the lookup by which a contact belongs to a record of the table; nil, if it cannot.
func toTable(contact *schema.Table, table string) *schema.Column {
	if c := contact.Column("parentcustomerid"); c != nil && slices.Contains(c.Targets, table) {
		return c
	}
	return nil
}

// person is the SELECT of a source's people.
func (d *drafter) person(e embedded, t *schema.Table, kept bool) *draftSQL {
	w := &draftSQL{d: d, source: e.source, t: t, alias: "s", kept: kept}
	key := d.key(e.source, w.alias)
	w.keyed = duckstage.Quote(e.source+"/") + " || " + d.plainKey(e.source, w.alias)
	var columns []mapping.FromColumn
	for _, part := range e.order {
		columns = append(columns, mapping.FromColumn{Name: part, SQLType: "VARCHAR"})
	}
	guesses := mapping.GuessColumns(t, "", columns)
	for _, part := range e.order {
		c := e.columns[part]
		value := "trim(" + w.alias + "." + identifier(c.Name) + ")"
		if part == "name" {
			w.add(fmt.Sprintf(`nullif(regexp_extract(%s, '^(.*\S)\s+\S+$', 1), '')`, value), "firstname", "all but the last word ???")
			w.add(fmt.Sprintf(`regexp_extract(%s, '(\S+)$', 1)`, value), "lastname", "")
			w.matched--
			if c.Share < 1 {
				w.where = fmt.Sprintf("WHERE nullif(%s, '') IS NOT NULL\n", value)
			}
			continue
		}
		if g, ok := guesses[part]; ok && !w.given(g.Column.LogicalName) && (g.Column.Type == schema.Text || g.Column.Type == schema.Memo) {
			w.add("nullif("+value+", '')", g.Column.LogicalName, "")
			continue
		}
		w.leave(c, fmt.Sprintf("%.0f %% filled", 100*c.Share))
	}
	table := d.table[e.source].Table.LogicalName
	col := toTable(t, table)
	w.add(refExpr(col, table, key), col.LogicalName, "")
	return w
}
