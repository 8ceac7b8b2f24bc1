package transform

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"dvmigrate/duckstage"
)

// Besides by legacy key and GUID a row may be named by any column that tells it apart:
// ref('account', 'accountnumber', value) among the rows that are staged,
// existing('systemuser', 'domainname', value) among the records of the target that were
// pulled into source.target_<table>, and owner(text) among its users and teams. Texts are
// compared without regard to case and blanks at the ends, and those of the target as its
// database compares them (Table.Same), if none is the same but for case and blanks: Müller is
// not Muller where both are there. What leads to several rows is a fault that names them; nothing
// is picked.

// PulledPrefix is what the relations of schema source with records of the target begin with.
const PulledPrefix = "target_"

// The marks by which a reference says how it names its row: a column of the staged rows as it
// is, one of pulled records behind atTarget, and owner().
const (
	atTarget = "@"
	byOwner  = "@owner"
)

// Owners are what owner() knows besides the users and teams that were pulled.
type Owners struct {
	File string            // where people say it, for messages
	Of   map[string]string // by what the source has: a user or team by domain name, e-mail, name or GUID; "" = nobody, on purpose
}

// candidatesShown is how many rows the fault of an ambiguous reference names.
const candidatesShown = 5

// find is one way in which a lookup's rows name others.
type find struct {
	by, table string
	pool      string // SELECT of k, id, of, n and names: the folded text, the record, its table, how many have it, and some of them
	exact     string // that by texts without regard to case alone, which goes before; "" where pool is it
}

// findsIn lists the ways in which the references from items, a relation with the columns
// dm_by and dm_table, name rows.
func (r *resolver) findsIn(ctx context.Context, c *duckstage.Conn, j *job, l Lookup, items string) ([]find, error) {
	var finds []find
	err := c.Rows(ctx, "SELECT DISTINCT dm_by, dm_table FROM ("+items+") WHERE dm_by IS NOT NULL ORDER BY ALL LIMIT 100", nil, func(scan func(...any) error) error {
		var f find
		err := scan(&f.by, &f.table)
		finds = append(finds, f)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read how %s names rows: %w", l.Column, err)
	}
	for i := range finds {
		f := &finds[i]
		at := slices.IndexFunc(l.Targets, func(t Target) bool { return t.Table == f.table })
		switch {
		case f.by == byOwner:
			f.pool, f.exact, err = r.owners(ctx, c, j, l)
		case at < 0:
			err = fmt.Errorf("lookup %s cannot point to table %s", l.Column, f.table)
		case strings.HasPrefix(f.by, atTarget):
			f.pool, f.exact, err = r.pulled(ctx, c, j, l.Targets[at], f.by[len(atTarget):])
		default:
			f.pool, err = r.stagedBy(ctx, c, l.Targets[at], f.by)
		}
		if err != nil {
			return nil, err
		}
	}
	return finds, nil
}

// keyOfColumns is the text by which rows are compared: of one column, or of several with
// commas between, as that of a list.
func keyOfColumns(by string, known []string, fold func(string) string) (string, error) {
	var parts []string
	for name := range strings.SplitSeq(by, ",") {
		name = strings.TrimSpace(name)
		i := indexFold(known, name)
		if i < 0 {
			return "", fmt.Errorf("has no column %s: there are %s", name, strings.Join(known, ", "))
		}
		parts = append(parts, "CAST("+duckstage.Ident(known[i])+" AS VARCHAR)")
	}
	if len(parts) == 1 {
		return fold(parts[0]), nil
	}
	return fold(listKey("[" + strings.Join(parts, ", ") + "]")), nil
}

// listKey is the text by which the values of a list, or of the text of one, are compared, each
// without blanks at its ends. A text that is none stays as it is, and is found nowhere.
func listKey(list string) string {
	return "coalesce(CAST(list_transform(TRY_CAST(" + list + " AS VARCHAR[]), lambda v: trim(v, " + blanks + ")) AS VARCHAR), CAST(" + list + " AS VARCHAR))"
}

// poolOf groups rows with the columns k, id, of and name.
func poolOf(rows string) string {
	return fmt.Sprintf("SELECT k, min(id) AS id, min(of) AS of, count(DISTINCT id) AS n, array_to_string(list_sort(list(DISTINCT name))[1:%d], ', ') AS names FROM (%s) WHERE k IS NOT NULL GROUP BY k", candidatesShown, rows)
}

// stagedBy is the pool of the staged rows by a column.
func (r *resolver) stagedBy(ctx context.Context, c *duckstage.Conn, t Target, by string) (string, error) {
	if !t.Staged {
		return "", fmt.Errorf("ref('%s', '%s', ...): %[1]s is not staged, so that its records are named with existing('%[1]s', '%[2]s', ...)", t.Table, by)
	}
	var known []string
	if at := slices.IndexFunc(r.jobs, func(j *job) bool { return j.Name == t.Table }); at >= 0 {
		for _, col := range r.jobs[at].Columns {
			known = append(known, col.Name)
		}
	} else {
		cols, err := c.Describe(ctx, "SELECT * FROM main."+duckstage.Ident(t.Table))
		if err != nil {
			return "", err
		}
		for _, col := range cols {
			known = append(known, col.Name)
		}
	}
	key, err := keyOfColumns(by, known, folded)
	if err != nil {
		return "", fmt.Errorf("ref('%s', '%s', ...): the transform of %[1]s %[3]w", t.Table, by, err)
	}
	return poolOf(fmt.Sprintf("SELECT %s AS k, dm_id AS id, %s AS of, legacy_key AS name FROM (%s)", key, duckstage.Quote(t.Table), r.rowsOf(t.Table))), nil
}

// pulledColumns are the columns of the records that were pulled of a table.
func pulledColumns(ctx context.Context, c *duckstage.Conn, table string) ([]string, error) {
	cols, err := c.Describe(ctx, "SELECT * FROM source."+duckstage.Ident(PulledPrefix+table))
	if err != nil {
		return nil, fmt.Errorf("no records of %s were pulled from the target: run `dvmigrate target pull`", table)
	}
	names := make([]string, len(cols))
	for i, col := range cols {
		names[i] = col.Name
	}
	return names, nil
}

// pulled are the pools of the records that were pulled, by a column.
func (r *resolver) pulled(ctx context.Context, c *duckstage.Conn, j *job, t Target, by string) (pool, exact string, err error) {
	known, err := pulledColumns(ctx, c, t.Table)
	if err != nil {
		return "", "", err
	}
	known = slices.DeleteFunc(known, func(name string) bool { return strings.HasPrefix(name, "dm_") })
	return j.pools(func(fold func(string) string) (string, error) {
		key, err := keyOfColumns(by, known, fold)
		if err != nil {
			return "", fmt.Errorf("existing('%s', '%s', ...): what was pulled of %[1]s %[3]w; `dvmigrate target pull` reads it if it is new", t.Table, by, err)
		}
		return poolOf(fmt.Sprintf("SELECT %s AS k, CAST(%s AS UUID) AS id, %s AS of, CAST(id AS VARCHAR) AS name FROM source.%s", key, duckstage.Ident(t.ID), duckstage.Quote(t.Table), duckstage.Ident(PulledPrefix+t.Table))), nil
	})
}

// pools makes a pool by texts as the target compares them, and the exact one if that is another.
func (j *job) pools(of func(fold func(string) string) (string, error)) (pool, exact string, err error) {
	if pool, err = of(j.foldedThere); err == nil && j.Same != nil {
		exact, err = of(folded)
	}
	return pool, exact, err
}

// Names of users and teams, the surest first.
var (
	userNames = []string{"systemuserid", "domainname", "internalemailaddress", "azureactivedirectoryobjectid", "fullname"}
	teamNames = []string{"teamid", "name"}
)

// owners are the pools of users and teams: by id, domain name, e-mail and name, the surest of
// which counts, users before teams and enabled ones before disabled ones; and what people
// say in their sheet before all.
func (r *resolver) owners(ctx context.Context, c *duckstage.Conn, j *job, l Lookup) (pool, exact string, err error) {
	var rows []string
	for _, of := range []struct {
		table, id, disabled, shown, where string
		names                             []string
	}{{"systemuser", "systemuserid", "isdisabled", "domainname", "", userNames}, {"team", "teamid", "", "name", "teamtype", teamNames}} {
		if !slices.ContainsFunc(l.Targets, func(t Target) bool { return t.Table == of.table }) {
			continue
		}
		known, err := pulledColumns(ctx, c, of.table)
		if err != nil {
			return "", "", err
		}
		disabled, shown, where := "false", "CAST("+of.id+" AS VARCHAR)", ""
		if of.disabled != "" && slices.Contains(known, of.disabled) {
			disabled = "coalesce(CAST(" + of.disabled + " AS BOOLEAN), false)"
		}
		if slices.Contains(known, of.shown) {
			shown = "concat_ws(' ', " + of.shown + ", " + shown + ")"
		}
		if of.where != "" && slices.Contains(known, of.where) { // an access team owns nothing
			where = " WHERE coalesce(" + of.where + ", 0) <> 1"
		}
		for _, name := range of.names {
			if slices.Contains(known, name) {
				rows = append(rows, fmt.Sprintf("SELECT CAST(%s AS VARCHAR) AS v, CAST(%s AS UUID) AS id, '%s' AS of, %s AS name, %d AS rank, %s AS off FROM source.%s%s",
					name, of.id, of.table, shown, len(rows), disabled, PulledPrefix+of.table, where))
			}
		}
	}
	if len(rows) == 0 {
		return "", "", fmt.Errorf("owner() is for lookups to users or teams, and %s is none", l.Column)
	}
	said := []string{"(NULL, NULL)"}
	if j.Owners != nil {
		for from, to := range j.Owners.Of {
			said = append(said, "("+duckstage.Quote(from)+", "+duckstage.Quote(to)+")")
		}
		slices.Sort(said)
	}
	// Whom the sheet names is looked for both ways at once, an exact name first, whatever the pool.
	const some = "min(id) AS id, min(of) AS of, count(DISTINCT id) AS n, array_to_string(list_sort(list(DISTINCT name))[1:5], ', ') AS names, bool_and(off) AS off"
	return j.pools(func(fold func(string) string) (string, error) {
		return "WITH named AS (SELECT * FROM (" + strings.Join(rows, " UNION ALL ") + ") WHERE v IS NOT NULL), " +
			"best AS (SELECT * FROM (SELECT *, " + fold("v") + " AS k FROM named) WHERE k IS NOT NULL QUALIFY rank() OVER (PARTITION BY k ORDER BY rank, off) = 1), " +
			"said AS (SELECT " + fold("f") + " AS k, min(t) AS t FROM (VALUES " + strings.Join(said, ", ") + ") v(f, t) WHERE f IS NOT NULL GROUP BY 1), " +
			"sent AS (SELECT said.k AS k, t, id, of, name, off FROM said JOIN named ON " + j.foldedThere("v") + " = " + j.foldedThere("t") +
			" QUALIFY rank() OVER (PARTITION BY said.k ORDER BY " + folded("v") + " <> " + folded("t") + ", rank, off) = 1), " +
			"pool AS (SELECT k, " + some + " FROM best GROUP BY k), heir AS (SELECT k, " + some + " FROM sent GROUP BY k) " +
			"SELECT said.k, h.id, h.of, CASE WHEN said.t = '' THEN -1 ELSE coalesce(h.n, 0) END AS n, coalesce(h.names, said.t) AS names, h.off, said.t FROM said LEFT JOIN heir h ON h.k = said.k" +
			" UNION ALL SELECT k, id, of, n, names, off, NULL FROM pool WHERE k NOT IN (SELECT k FROM said)", nil
	})
}

// foldedThere is a text as it is compared with those of the target, and null if it is empty.
func (j *job) foldedThere(value string) string {
	if j.Same == nil {
		return folded(value)
	}
	return "nullif(" + j.Same(value, "trim("+value+", "+blanks+")") + ", '')"
}

// foundSQL is what the ways of naming rows add to a lookup.
type foundSQL struct {
	joins, ids, of string // of: the table that owner() led to; "" where it is not used
	faults         []string
}

// tableOr is the table that a reference leads to.
func (q *foundSQL) tableOr(table string) string {
	if q.of == "" {
		return table
	}
	return "CASE WHEN " + table + " = '" + byOwner + "' THEN " + q.of + " ELSE " + table + " END"
}

// faultOr is the fault of a reference, by its own ways or by the others'.
func (q *foundSQL) faultOr(fault string) string {
	if len(q.faults) == 0 {
		return fault
	}
	return caseOf(append(q.faults, "ELSE "+fault))
}

// found joins the pools. by, key and table are what a reference says.
func (j *job) found(l Lookup, finds []find, prefix, by, key, table string) foundSQL {
	var q foundSQL
	for n, f := range finds {
		alias, exactly, folded := fmt.Sprintf("%s%d", prefix, n), folded, folded
		if strings.HasPrefix(f.by, atTarget) { // and so does byOwner
			folded = j.foldedThere
		}
		shownKey, key := shown(key), key
		if strings.Contains(f.by, ",") {
			key = listKey(key)
		}
		when := by + " = " + duckstage.Quote(f.by) + " AND " + table + " = " + duckstage.Quote(f.table)
		from := func(column string) string { return alias + "." + column }
		join := func(pool, alias string, fold func(string) string) {
			q.joins += " LEFT JOIN (" + pool + ") " + alias + " ON " + alias + ".k = CASE WHEN " + when + " THEN " + fold(key) + " END"
		}
		join(f.pool, alias, folded)
		if f.exact != "" {
			exact := alias + "x"
			join(f.exact, exact, exactly)
			from = func(column string) string {
				return "CASE WHEN " + exact + ".n IS NULL THEN " + alias + "." + column + " ELSE " + exact + "." + column + " END"
			}
		}
		many := from("n")
		q.ids += ", CASE WHEN (" + many + ") = 1 THEN " + from("id") + " END"
		when = "WHEN " + when + " AND " + folded(key) + " IS NOT NULL"
		add := func(fault, condition, text string) {
			q.faults = append(q.faults, when+" AND ("+many+") "+condition+" THEN "+duckstage.Quote(fault+" "+l.Column+": ")+" || "+text)
		}
		several := "(" + many + ") || "
		if f.by == byOwner {
			q.of, when = from("of"), "WHEN "+by+" = '"+byOwner+"' AND "+folded(key)+" IS NOT NULL"
			file := "maps/owners.csv"
			if j.Owners != nil {
				file = j.Owners.File
			}
			add(FaultLookup, "IS NULL", "'no user or team of the target is ' || "+shownKey+" || "+duckstage.Quote(": say in "+file+" who it is (dvmigrate users plan)"))
			add(FaultLookup, "= 0", shownKey+" || "+duckstage.Quote(" is '")+" || ("+from("t")+") || "+duckstage.Quote("' in "+file+", and that is no user or team of the target"))
			add(FaultLookup, "> 1", several+"' users or teams are ' || "+shownKey+" || ': ' || ("+from("names")+") || "+duckstage.Quote("; say which in "+file))
			if l.Owner {
				add(FaultLookup, "> 0 AND ("+from("off")+")", shownKey+" || ' is a disabled user, and none can be given records: ' || ("+from("names")+") || "+duckstage.Quote("; say in "+file+" who gets them"))
			}
			continue
		}
		column, fault, where := f.by, FaultOrphan, " among the staged rows"
		if strings.HasPrefix(f.by, atTarget) {
			column, fault, where = f.by[len(atTarget):], FaultLookup, " among the records that were pulled from the target (dvmigrate target pull reads them anew)"
		}
		add(fault, "IS NULL", duckstage.Quote("no "+f.table+" with "+column+" ")+" || "+shownKey+" || "+duckstage.Quote(where))
		add(FaultLookup, "> 1", several+duckstage.Quote(" "+f.table+" have "+column+" ")+" || "+shownKey+" || ': ' || ("+from("names")+")")
	}
	return q
}

// findAll looks in the first pass's table for the ways in which rows name others.
func (s *staging) findAll(ctx context.Context, j *job) error {
	j.finds = map[string][]find{}
	look := func(l Lookup, items string) (err error) {
		j.finds[l.Column], err = s.findsIn(ctx, s.c, j, l, items)
		return err
	}
	for i, l := range j.Lookups {
		if !isReference(j.types[strings.ToLower(l.Column)]) {
			continue
		}
		parts := partsOf(i)
		if err := look(l, "SELECT "+parts.by+" AS dm_by, "+parts.table+" AS dm_table FROM "+j.raw); err != nil {
			return err
		}
	}
	for i, l := range j.Lists {
		if err := look(l.items(), "SELECT p.dm_by, p.dm_table FROM (SELECT unnest("+listName(i)+") AS p FROM "+j.raw+")"); err != nil {
			return err
		}
	}
	return nil
}
