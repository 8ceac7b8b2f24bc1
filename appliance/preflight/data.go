package preflight

import (
	"fmt"
	"slices"
	"strings"

	"dvmigrate/appliance/dataverse/schema"
	"dvmigrate/appliance/mapping"
)

// DataChecks lists every condition that `check --data` looks for in each staged row of
// a table, without those in skip: those that hold, and those that staging does not
// look for.
func DataChecks(t *mapping.Table, skip []string) []Check {
	b := builder{skip: skip, checks: Checks(t, skip)}
	yields := map[string]bool{}
	for _, c := range t.Columns {
		yields[c.LogicalName] = true
		b.data(c)
	}
	for _, p := range t.Parties {
		b.add(Characters, p.LogicalName, fmt.Sprintf(`regexp_matches(%s, '%s')`, mapping.Ident(p.LogicalName), refusedInJSON), "'control character in an address'")
	}
	for _, l := range t.Lookups {
		yields[l.LogicalName] = true
		if l.Type == schema.Owner {
			b.add(Owner, l.LogicalName, mapping.Ident(l.LogicalName)+" IS NULL", "'there is no owner'")
		} else if l.Required == schema.ApplicationRequired {
			b.add(Business, l.LogicalName, mapping.Ident(l.LogicalName)+" IS NULL", "'is empty'")
		}
	}
	if t.Link == nil {
		b.absent(t, yields)
		b.keyTexts(t, yields)
	}
	return b.checks
}

// refusedInJSON finds, in the text of an activity's parties, the characters that the service
// refuses, as JSON writes them.
const refusedInJSON = `(?:^|[^\\])(?:\\\\)*\\(?:[bf]|u00(?:0[0-8bBeEfF]|1[0-9a-fA-F]))|[\x{fffe}\x{ffff}]`

// data adds what staging does not look for in a column.
func (b *builder) data(c mapping.Column) {
	col, name := mapping.Ident(c.LogicalName), c.LogicalName
	if (c.Type == schema.Text || c.Type == schema.Memo) && !c.File { // dataverse-web-api.md 4.2
		const refused = `\x00-\x08\x0b\x0c\x0e-\x1f\x{fffe}\x{ffff}` // the same as mapping's
		b.add(Characters, name, fmt.Sprintf(`regexp_matches(%s, '[%s]')`, col, refused),
			fmt.Sprintf(`'control character at position ' || length(regexp_extract(%s, '^[^%s]*')) + 1`, col, refused))
	}
	if name == "overriddencreatedon" { // dataverse-web-api.md 4.13
		b.add(Future, name, col+" > (now() AT TIME ZONE 'UTC')", col+" || ' lies in the future'")
	}
	if c.Required == schema.ApplicationRequired && c.Default == nil && !isOurs(c) {
		b.add(Business, name, col+" IS NULL", "'is empty'")
	}
}

// absent adds what is found in every row, because the transform yields no such column.
func (b *builder) absent(t *mapping.Table, yields map[string]bool) {
	var money []string
	for _, c := range t.Columns {
		if c.Type == schema.Money {
			money = append(money, mapping.Ident(c.LogicalName)+" IS NOT NULL")
		}
	}
	if len(money) > 0 && t.Schema.Column("transactioncurrencyid") != nil { // dataverse-web-api.md 4.3
		bad := "(" + strings.Join(money, " OR ") + ")"
		if yields["transactioncurrencyid"] {
			bad += " AND transactioncurrencyid IS NULL"
		}
		b.add(Currency, "transactioncurrencyid", bad, "'money without a currency'")
	}
	if owner := t.Schema.Column("ownerid"); owner != nil && owner.Type == schema.Owner && !yields["ownerid"] {
		b.add(Owner, "ownerid", "true", "'there is no owner'")
	}
	for _, c := range t.Schema.Columns {
		if c.Required == schema.ApplicationRequired && c.Default == nil && c.AutoNumber == "" && c.Writable(false) && !yields[c.LogicalName] &&
			c.LogicalName != t.Schema.PrimaryID && c.Type != schema.State && c.Type != schema.Status && c.Type != schema.Owner {
			b.add(Business, c.LogicalName, "true", "'the transform does not yield it'")
		}
	}
}

// keyTexts adds what no URL can carry (dataverse-web-api.md 3.4).
func (b *builder) keyTexts(t *mapping.Table, yields map[string]bool) {
	for _, k := range t.Schema.Keys {
		for _, name := range k.Columns {
			c := t.Schema.Column(name)
			if c == nil || c.Type != schema.Text || !yields[name] {
				continue
			}
			col := mapping.Ident(name)
			b.add(KeyText, name, fmt.Sprintf(`regexp_matches(%s, '[/<>*%%&:\\?+]|^ | $')`, col), fmt.Sprintf("'''' || left(%s, 100) || ''' cannot stand in a URL'", col))
		}
	}
}

// KeyCheck is an alternate key, or what match names, whose values must not repeat among the
// staged rows.
type KeyCheck struct {
	Key     string   // what it is, for messages: the key contoso_x, or match
	Columns []string // of the staged table
	Value   string   // SQL expression of what the service compares; null where a part is null
	Folded  string   // the same as the collation has it: of most environments without accents
}

// KeyChecks lists the alternate keys of which the transform yields every column, and what match
// names. The service compares texts without regard to case and to blanks at the end
// (dataverse-web-api.md 3.4), and does not constrain rows with an empty part. Whether it
// tells accents apart depends on the language that the environment was made with.
func KeyChecks(t *mapping.Table, skip []string, collation mapping.Collation) []KeyCheck {
	if t.Link != nil || t.Schema == nil || slices.Contains(skip, Unique) && slices.Contains(skip, Accents) {
		return nil
	}
	var out []KeyCheck
	for _, k := range distinguishing(t) {
		var parts, folded []string
		whole := len(k.Columns) > 0
		for _, name := range k.Columns {
			part, text, ok := keyPart(t, name)
			parts, whole = append(parts, part), whole && ok
			if text {
				part = collation.KeySQL(mapping.Ident(name))
			}
			folded = append(folded, part)
		}
		if !whole {
			continue
		}
		out = append(out, KeyCheck{Key: k.LogicalName, Columns: k.Columns, Value: strings.Join(parts, " || chr(31) || "), Folded: strings.Join(folded, " || chr(31) || ")})
	}
	return out
}

// distinguishing are the alternate keys of a table, and what match names where that is none:
// rows that would match one record are held when they are loaded.
func distinguishing(t *mapping.Table) (keys []schema.Key) {
	match := slices.Sorted(slices.Values(t.Match))
	known := len(match) == 0
	for _, k := range t.Schema.Keys {
		k.LogicalName = "the key " + k.LogicalName
		known = known || slices.Equal(slices.Sorted(slices.Values(k.Columns)), match)
		keys = append(keys, k)
	}
	if !known {
		keys = append(keys, schema.Key{LogicalName: "match", Columns: t.Match})
	}
	return keys
}

// keyPart is what the service compares of a column, and whether that is a text.
func keyPart(t *mapping.Table, name string) (expr string, text, ok bool) {
	for _, c := range t.Columns {
		if c.LogicalName != name {
			continue
		}
		if c.Type == schema.Text || c.Type == schema.Memo {
			return "rtrim(lower(" + mapping.Ident(name) + "), ' ')", true, true // rtrim alone takes other blanks, too
		}
		return "CAST(" + mapping.Ident(name) + " AS VARCHAR)", false, true
	}
	if t.Lookup(name) != nil {
		return "CAST(" + mapping.Ident(name) + " AS VARCHAR)", false, true
	}
	return "", false, false
}
