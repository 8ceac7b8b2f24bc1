package appliance

import (
	"context"
	"fmt"
	"regexp"
	"slices"

	"dvmigrate/appliance/dataverse/schema"
	"dvmigrate/appliance/mapping"
	"dvmigrate/duckstage"
)

// reference is a column of keys of another source.
type reference struct {
	column *schema.Column
	other  string
	share  float64
	sure   bool // the name says so, too, and nothing else is likely
}

// refExpr is how a lookup gets the key of a staged row.
func refExpr(col *schema.Column, table, value string) string {
	if len(col.Targets) > 1 {
		return fmt.Sprintf("ref(%s, %s)", duckstage.Quote(table), value)
	}
	return value
}

// upward are words of columns that point to a row of the same source.
var upward = regexp.MustCompile(`(?i)parent|report|manager|superior|super|konzern|mutter|boss|chief|head|ober|leiter`)

// references finds the columns that hold keys of sources: their names are like the key's or
// the source's, or point upward, and their values are keys.
func (w *draftSQL) references(ctx context.Context) error {
	w.refs, w.joinable = map[string]reference{}, map[string]string{}
	taken := map[string]bool{}
	for _, c := range w.d.columns[w.source] {
		for _, other := range w.d.sources {
			g := w.d.table[other]
			if len(w.d.keys[other]) != 1 || c.leave() != "" || other == w.source && c.Name == w.d.keys[other][0] {
				continue
			}
			alike := mapping.KeyAlike(c.Name, other, w.d.keys[other][0])
			if other == w.source {
				alike = 0
				if upward.MatchString(c.Name) {
					alike = 1
				}
			}
			if alike < 0.6 {
				continue
			}
			var col *schema.Column
			likely := false
			if g != nil {
				col, likely = w.lookupTo(c.Name, g.Table.LogicalName, taken)
			}
			if col == nil && (other == w.source || alike < 0.75 || !keyName.MatchString(c.Name) || c.Name == w.d.keys[w.source][0]) {
				continue
			}
			share, chance, err := w.d.share(ctx, w.source, c.Name, other)
			if err != nil {
				return err
			}
			if chance && alike < 0.9 {
				continue
			}
			if col == nil {
				if share >= 0.9 {
					w.joinable[c.Name] = other
				}
				continue
			}
			if share >= 0.9 && share > w.refs[c.Name].share {
				if old := w.refs[c.Name].column; old != nil {
					delete(taken, old.LogicalName)
				}
				w.refs[c.Name], taken[col.LogicalName] = reference{col, other, share, likely && alike >= 0.75 && other != w.source}, true
			}
		}
	}
	return nil
}

// lookupTo is the table's lookup that may point to another and is most like a name; likely,
// if its name says so or there is no other.
func (w *draftSQL) lookupTo(name, target string, taken map[string]bool) (best *schema.Column, likely bool) {
	most, n := -1.0, 0
	for _, c := range w.t.Columns {
		if !c.Type.IsLookup() || c.Type == schema.Owner || !c.Writable(false) || c.NoWebAPI || taken[c.LogicalName] || !slices.Contains(c.Targets, target) {
			continue
		}
		n++
		score := max(mapping.Alike(name, c.LogicalName), mapping.Alike(name, c.DisplayName))
		if c.LogicalName == target+"id" || c.LogicalName == "customerid" || c.LogicalName == "parentcustomerid" || c.LogicalName == "parent"+target+"id" && target == w.t.LogicalName {
			score = max(score, 0.8)
		}
		if score > most || score == most && len(c.LogicalName) < len(best.LogicalName) {
			best, most = c, score
		}
	}
	return best, n == 1 || most >= 0.75
}

// referred reports whether a column is taken by a reference.
func (w *draftSQL) referred(col *schema.Column) bool {
	for _, r := range w.refs {
		if r.column == col {
			return true
		}
	}
	return false
}

// joining are lines of SQL by which the columns of a source are had whose keys a value is;
// and, where it has people, by which the value becomes an owner.
func (w *draftSQL) joining(other, value string) (sql []string) {
	w.joins++
	alias := fmt.Sprintf("j%d", w.joins)
	if g := w.d.table[other]; g != nil && w.t.Column("ownerid") != nil && !w.given("ownerid") {
		by := map[string]string{} // source columns by the target's
		for name, c := range g.Columns {
			by[c.Column.LogicalName] = alias + "." + identifier(name)
		}
		switch {
		case by["emailaddress1"] != "":
			sql = append(sql, "owner("+by["emailaddress1"]+") AS ownerid,")
		case by["firstname"] != "" && by["lastname"] != "":
			sql = append(sql, "owner(concat_ws(' ', "+by["firstname"]+", "+by["lastname"]+")) AS ownerid,")
		}
	}
	return append(sql, fmt.Sprintf("LEFT JOIN %[1]s AS %[2]s ON %[2]s.%[3]s = %[4]s", duckstage.Ident(other), alias, identifier(w.d.keys[other][0]), value))
}

// refer writes a reference.
func (w *draftSQL) refer(value string, c SourceColumn, r reference) {
	remark := fmt.Sprintf("%.0f %% are keys of %s", 100*r.share, r.other)
	if !r.sure {
		remark += " ???"
	}
	w.add(refExpr(r.column, w.d.table[r.other].Table.LogicalName, w.d.keyed(r.other, value)), r.column.LogicalName, remark)
}

// lookup writes a column that points to another table: to a staged source whose keys it
// holds, or to records that the target has.
func (w *draftSQL) lookup(ctx context.Context, c SourceColumn, col *schema.Column, value, sure string) error {
	for _, other := range w.d.sources {
		g := w.d.table[other]
		if g == nil || len(w.d.keys[other]) != 1 || !slices.Contains(col.Targets, g.Table.LogicalName) {
			continue
		}
		share, chance, err := w.d.share(ctx, w.source, c.Name, other)
		if err != nil {
			return err
		}
		if share < 0.5 || chance {
			continue
		}
		w.add(refExpr(col, g.Table.LogicalName, w.d.keyed(other, value)), col.LogicalName, remarks(sure, fmt.Sprintf("%.0f %% are keys of %s", 100*share, other)))
		return nil
	}
	target := "systemuser"
	if len(col.Targets) > 0 && col.Type != schema.Owner {
		target = col.Targets[0]
	}
	if col.Type == schema.Owner && c.Distinct <= 2 && yesOf(c) != "" {
		w.leave(c, "a yes or no by its values, so that it is nobody's name")
		return nil
	}
	expr, how := fmt.Sprintf("existing('%s', 'name', %s)", target, value), ""
	switch {
	case col.Type == schema.Owner:
		expr, how = "owner("+value+")", "by name, e-mail or "+OwnersSheet+" (users plan)"
	case target == "transactioncurrency":
		expr, how = "existing('transactioncurrency', 'isocurrencycode', "+value+")", "by its code"
	}
	if how != "" && w.d.pulled {
		w.add(expr, col.LogicalName, remarks(sure, how))
		return nil
	}
	if how != "" {
		how = "; `dvmigrate target pull` reads what there is"
	}
	w.ask(col.LogicalName, fmt.Sprintf("%s: perhaps %s%s%s", c.Name, col.LogicalName, how, examples(c)), expr+" AS "+col.LogicalName+",")
	return nil
}

// share is the part of a column's values that are keys of another source, of a sample;
// chance, if they are so few of so many keys that any small numbers would be.
func (d *drafter) share(ctx context.Context, source, column, other string) (share float64, chance bool, err error) {
	var all, found, keys int64
	query := fmt.Sprintf(`SELECT count(*), count(*) FILTER (v IN (SELECT CAST(%[1]s AS VARCHAR) FROM source.%[2]s)), (SELECT count(*) FROM source.%[2]s)
		FROM (SELECT DISTINCT CAST(%[3]s AS VARCHAR) AS v FROM source.%[4]s WHERE %[3]s IS NOT NULL LIMIT 10000)`,
		duckstage.Ident(d.keys[other][0]), duckstage.Ident(other), duckstage.Ident(column), duckstage.Ident(source))
	if err := d.p.stage.Row(ctx, []any{&all, &found, &keys}, query); err != nil || all == 0 {
		return 0, false, err
	}
	return float64(found) / float64(all), all <= 10 && all*50 < keys, nil
}
