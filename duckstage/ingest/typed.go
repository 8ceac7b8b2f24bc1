package ingest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"dvmigrate/duckstage"
)

// Format is how a column's text is written, where SQL would not read it as it is.
type Format struct {
	Type      string   // SQL type; by what else is given when empty
	Decimal   string   // decimal mark: "," or "."
	Thousands string   // what stands between thousands: ".", ",", "'" or a blank
	Layouts   []string // of dates and times, such as %d.%m.%Y (strptime), in order of preference
}

// errTypes says that values do not fit their declared types, and that which lines they are in
// is not known but by rewriting the files.
var errTypes = errors.New("values do not fit their declared types")

// format finds the format of a column.
func (src *Source) format(column string) (Format, bool) {
	for name, f := range src.Formats {
		if strings.EqualFold(name, column) {
			return f, true
		}
	}
	return Format{}, false
}

// typedColumn is how a column of the stage is made of one that was read.
type typedColumn struct {
	name  string
	expr  string // "" = the column itself
	check bool   // a value of which the expression makes null is bad
	what  string // what a value should have been

	masked bool // no message shows its value
}

type typedList []typedColumn

// typedText types columns of delimited text, whose plain types DuckDB's reader knows.
func (src *Source) typedText(fields []field) (typedList, error) {
	out := make(typedList, len(fields))
	for i, f := range fields {
		out[i] = typedColumn{name: f.name}
		_, masked := src.maskOf(f.name)
		out[i].masked = masked || src.shifts()
		if format, ok := src.format(f.name); ok {
			var err error
			if out[i].expr, out[i].what, err = format.sql(duckstage.Ident(f.name)); err != nil {
				return nil, fmt.Errorf("types: %s: %w", f.name, err)
			}
			out[i].check = true
		} else if declared := src.declared(f.name); readAsText(declared) {
			out[i].expr, out[i].check, out[i].what = duckstage.CastText(duckstage.Ident(f.name), declared), true, declared
		}
	}
	return out, src.knownTypes(fields)
}

// readAsText reports whether a type is made of the text: where DuckDB's reader would round,
// forget an offset or a time, or take a code for a number, without a word.
func readAsText(declared string) bool {
	switch duckstage.BaseType(declared) {
	case "TIMESTAMP", "DATE", "DECIMAL":
		return true
	}
	return duckstage.IsWhole(declared) || duckstage.IsFloating(declared)
}

// cast makes a value of a declared type out of what is stored, null where it does not fit.
func cast(f field, declared string) string {
	column := duckstage.Ident(f.name)
	value := "TRY_CAST(" + column + " AS " + declared + ")"
	switch stored := duckstage.BaseType(f.stored); {
	case stored == "VARCHAR":
		return duckstage.CastText(column, declared)
	case duckstage.IsWhole(declared) && (stored == "DOUBLE" || stored == "FLOAT" || stored == "DECIMAL"):
		return "CASE WHEN " + value + " = " + column + " THEN " + value + " END"
	}
	return value
}

// typedFields types columns that have types of their own; a declared one wins.
func (src *Source) typedFields(fields []field) (typedList, error) {
	out, err := src.typedText(fields)
	if err != nil {
		return nil, err
	}
	for i, f := range fields {
		if _, ok := src.format(f.name); ok {
			continue
		}
		column := duckstage.Ident(f.name)
		switch declared := src.declared(f.name); {
		case declared != "":
			out[i].expr, out[i].check, out[i].what = cast(f, declared), true, declared
		case f.expr != "":
			out[i].check, out[i].what = f.what != "", f.what
			out[i].expr = strings.ReplaceAll(f.expr, "%s", column)
		case f.typ == "TIMESTAMP" && f.stored == "VARCHAR":
			out[i].expr, out[i].check, out[i].what = duckstage.CastMoment(column), f.what != "", f.what
		case f.typ != f.stored && f.what != "":
			out[i].expr, out[i].check, out[i].what = "TRY_CAST("+column+" AS "+f.typ+")", true, f.what
		case f.typ != f.stored:
			out[i].expr = "CAST(" + column + " AS " + f.typ + ")"
		}
	}
	return out, nil
}

func (src *Source) declared(column string) string {
	for name, t := range src.Types {
		if strings.EqualFold(name, column) {
			return t
		}
	}
	return ""
}

// typeNames puts the names that SQL gives declared types in the place of their other ones
// (INT8 is BIGINT), and refuses those that it does not know, by the name of their column.
func (src *Source) typeNames(ctx context.Context, stage *duckstage.Stage) error {
	named := func(column, typ string) (name string, err error) {
		if err := stage.Row(ctx, []any{&name}, "SELECT typeof(CAST(NULL AS "+typ+"))"); err != nil {
			return "", fmt.Errorf("types: %s: %q is no type that SQL knows, such as INTEGER, DECIMAL(18,2), DATE, TIMESTAMP, BOOLEAN, VARCHAR", column, typ)
		}
		return name, nil
	}
	var err error
	src.Types, src.Formats = maps.Clone(src.Types), maps.Clone(src.Formats)
	for _, column := range slices.Sorted(maps.Keys(src.Types)) {
		if src.Types[column], err = named(column, src.Types[column]); err != nil {
			return err
		}
	}
	for _, column := range slices.Sorted(maps.Keys(src.Formats)) {
		f := src.Formats[column]
		if f.Type == "" {
			continue
		}
		if f.Type, err = named(column, f.Type); err != nil {
			return err
		}
		src.Formats[column] = f
	}
	return nil
}

// knownTypes refuses a type for a column that is not there.
func (src *Source) knownTypes(fields []field) error {
	known := func(name string) error {
		if slices.ContainsFunc(fields, func(f field) bool { return strings.EqualFold(f.name, name) }) {
			return nil
		}
		names := make([]string, len(fields))
		for i, f := range fields {
			names[i] = f.name
		}
		return fmt.Errorf("a type is given for %q, which is no column: there are %s", name, shownList(names))
	}
	for name := range src.Types {
		if err := known(name); err != nil {
			return err
		}
	}
	for name := range src.Formats {
		if err := known(name); err != nil {
			return err
		}
	}
	return nil
}

// blank are what stands for a blank between thousands: the plain one, the one that does
// not break, and its narrow form.
const blank = "[ \u00A0\u202F]"

// sql writes the expression that makes the value of a column's text, and what it is.
func (f Format) sql(column string) (expr, what string, err error) {
	text := "trim(CAST(" + column + " AS VARCHAR))"
	switch {
	case len(f.Layouts) > 0 && (f.Decimal != "" || f.Thousands != ""):
		return "", "", errors.New("format is of dates, decimal and thousands of numbers: one column has not both")
	case len(f.Layouts) > 0:
		for _, layout := range f.Layouts {
			if !strings.Contains(layout, "%") {
				return "", "", fmt.Errorf("format %q has no parts such as %%d, %%m, %%Y, %%H", layout)
			}
		}
		typ := f.Type
		if typ == "" {
			typ = "DATE"
			if slices.ContainsFunc(f.Layouts, func(l string) bool { return strings.Contains(l, "%H") || strings.Contains(l, "%I") }) {
				typ = "TIMESTAMP"
			}
		}
		// Years of two digits go first: %Y would take 24 for a year of antiquity, and such
		// a year is an error whichever layout was meant.
		layouts := slices.Clone(f.Layouts)
		slices.SortStableFunc(layouts, func(a, b string) int {
			return strings.Count(b, "%y") - strings.Count(a, "%y")
		})
		parsed := fmt.Sprintf("try_strptime(nullif(%s, ''), %s)", text, list(layouts))
		return fmt.Sprintf("CAST(CASE WHEN year(%[1]s) >= 100 THEN %[1]s END AS %[2]s)", parsed, typ), "written " + strings.Join(f.Layouts, " or "), nil
	case f.Decimal == "" && f.Thousands == "":
		return "", "", errors.New("neither format nor decimal nor thousands is given")
	}
	decimal, typ := f.Decimal, f.Type
	if decimal == "" {
		decimal = "."
	}
	if typ == "" {
		typ = "DECIMAL(28,10)"
	}
	if decimal == f.Thousands {
		return "", "", fmt.Errorf("decimal and thousands are both %q", decimal)
	}
	group := ""
	switch f.Thousands {
	case "":
	case " ":
		group = blank
	case "'":
		group = "['\u2019]"
	default:
		group = regexp.QuoteMeta(f.Thousands)
	}
	whole := `\d*`
	if group != "" {
		whole = `(\d{1,3}(` + group + `\d{3})+|\d*)`
		text = fmt.Sprintf("regexp_replace(%s, %s, '', 'g')", text, duckstage.Quote(group))
	}
	// A minus behind the number is how SAP and others write it.
	plain := fmt.Sprintf("replace(%s, %s, '.')", text, duckstage.Quote(decimal))
	form := `[+-]?` + whole + `(` + regexp.QuoteMeta(decimal) + `\d*)?-?`
	signed := fmt.Sprintf("CASE WHEN ends_with(%[1]s, '-') THEN '-' || rtrim(%[1]s, '-') ELSE %[1]s END", plain)
	expr = fmt.Sprintf("CASE WHEN regexp_full_match(trim(CAST(%s AS VARCHAR)), %s) THEN %s END", column, duckstage.Quote(form), duckstage.CastText("("+signed+")", typ))
	what = "a number with decimal mark " + decimal
	if f.Thousands != "" {
		what += " and " + word(f.Thousands) + " between thousands"
	}
	return expr, what, nil
}

// selection writes the select list, with further columns at its end, and an expression
// that is null for a good row and says of a bad one what is wrong; "" where no row can be.
func (t typedList) selection(extra ...string) (list, bad string) {
	items := make([]string, 0, len(t)+len(extra))
	var checks []string
	for _, c := range t {
		column := duckstage.Ident(c.name)
		if c.expr == "" {
			items = append(items, column)
			continue
		}
		items = append(items, c.expr+" AS "+column)
		if c.check {
			shown := "left(CAST(" + column + " AS VARCHAR), 200)"
			if c.masked {
				shown = duckstage.Quote("a value that is not shown")
			}
			checks = append(checks, fmt.Sprintf("CASE WHEN trim(CAST(%[1]s AS VARCHAR)) <> '' AND (%[2]s) IS NULL THEN %[3]s || %[4]s END",
				column, c.expr, duckstage.Quote(c.name+"\x1f"+c.what+"\x1f"), shown))
		}
	}
	if len(checks) > 0 {
		bad = "coalesce(" + strings.Join(checks, ", ") + ")"
	}
	return strings.Join(append(items, extra...), ", "), bad
}

// makeTyped makes the new table. Rows with a value that does not fit are taken out again
// and kept as bad lines; where their lines are not known, errTypes is returned instead.
func (r *run) makeTyped(ctx context.Context, c *duckstage.Conn, b *built, list, bad, from string, numbered bool) error {
	table := "dm." + duckstage.Ident(b.table)
	select_ := "SELECT " + list
	if bad != "" {
		select_ += ", " + bad + " AS dm_bad"
	}
	query := select_ + " FROM " + from
	if !r.maskedParts {
		var err error
		if query, err = r.src.masked(ctx, c, query); err != nil {
			return err
		}
	}
	report := func(share float64) { r.report(r.progressFrom + int64(share*float64(r.total-r.progressFrom))) }
	if r.src.supplied() {
		report = nil // the rows have been counted as they came
	}
	if _, err := c.ExecProgress(ctx, report, "CREATE OR REPLACE TABLE "+table+" AS "+query); err != nil {
		return err
	}
	if bad != "" {
		if err := r.takeBadOut(ctx, c, b, table, numbered); err != nil {
			return err
		}
	}
	if hasLine := strings.HasSuffix(list, ", dm_line"); hasLine {
		if _, err := c.Exec(ctx, "ALTER TABLE "+table+" DROP COLUMN dm_line"); err != nil {
			return err
		}
	}
	if !r.src.supplied() {
		r.report(r.total)
	}
	return c.Row(ctx, []any{&b.rows}, "SELECT count(*) FROM "+table)
}

// takeBadOut removes the rows whose dm_bad is set, and that column.
func (r *run) takeBadOut(ctx context.Context, c *duckstage.Conn, b *built, table string, numbered bool) error {
	var count int64
	if err := c.Row(ctx, []any{&count}, "SELECT count(dm_bad) FROM "+table); err != nil {
		return err
	}
	if count > 0 && !numbered {
		ok, err := r.numberLines(ctx, c, table)
		defer func() { r.lineOf = nil }()
		if err != nil {
			return err
		}
		if !ok {
			return errTypes
		}
	}
	if count > 0 {
		if err := r.keepBad(ctx, c, b, table); err != nil {
			return err
		}
		b.rejected += count
	}
	if count == 0 {
		_, err := c.Exec(ctx, "ALTER TABLE "+table+" DROP COLUMN dm_bad")
		return err
	}
	// A new table, and not a DELETE: its rows are numbered without gaps.
	good := "dm." + duckstage.Ident("new_good_"+b.name)
	for _, q := range []string{
		"CREATE OR REPLACE TABLE " + good + " AS SELECT * EXCLUDE (dm_bad) FROM " + table + " WHERE dm_bad IS NULL",
		"DROP TABLE " + table,
		"ALTER TABLE " + good + " RENAME TO " + duckstage.Ident(b.table),
	} {
		if _, err := c.Exec(ctx, q); err != nil {
			return err
		}
	}
	return nil
}

// keepBad notes the bad rows of a table.
func (r *run) keepBad(ctx context.Context, c *duckstage.Conn, b *built, table string) error {
	infos, err := c.Describe(ctx, "SELECT * FROM "+table)
	if err != nil {
		return err
	}
	line, place, file, values, from, order := "0", "NULL", duckstage.Quote(r.src.shownName()), []string{}, table, "rowid"
	if len(r.inputs) == 1 {
		file = duckstage.Quote(r.inputs[0].shown)
	}
	for _, info := range infos {
		switch info.Name {
		case "dm_bad", "dm_created_at":
		case "dm_line":
			line = "dm_line"
		case "dm_file":
			file = "dm_file"
		default:
			values = append(values, fmt.Sprintf("CASE WHEN starts_with(dm_bad, %s) THEN split_part(dm_bad, '\x1f', 3) ELSE coalesce(CAST(%s AS VARCHAR), '') END",
				duckstage.Quote(info.Name+"\x1f"), duckstage.Ident(info.Name)))
		}
	}
	if len(b.key) > 0 && !r.src.anyMasked(b.key) {
		texts := make([]string, len(b.key))
		for i, k := range b.key {
			texts[i] = "CAST(" + duckstage.Ident(k) + " AS VARCHAR)"
		}
		place = "'key ' || " + strings.Join(texts, " || ', ' || ") + " || ': '"
	}
	if word, ok := map[string]string{Parquet: "row", JSON: "record", NDJSON: "", XLSX: "", CSV: ""}[r.src.Format]; ok && line == "0" { // they came in their order
		files := ""
		if file == "dm_file" && r.lineOf == nil {
			files = "PARTITION BY dm_file"
		}
		from, order = "(SELECT *, rowid AS dm_row, 1 + rowid - min(rowid) OVER ("+files+") AS dm_number FROM "+table+")", "dm_row"
		if line = "dm_number"; word != "" {
			line, place = "0", "'"+word+" ' || dm_number || ': '"
		}
	}
	query := fmt.Sprintf("SELECT dm_bad, %s, CAST(%s AS BIGINT), %s, concat_ws(', ', %s) FROM %s WHERE dm_bad IS NOT NULL ORDER BY %s LIMIT %d",
		place, line, file, strings.Join(values, ", "), from, order, maxKept)
	return c.Rows(ctx, query, nil, func(scan func(...any) error) error {
		var bad BadLine
		var why string
		var where *string
		if err := scan(&why, &where, &bad.Line, &bad.File, &bad.Text); err != nil {
			return err
		}
		if r.lineOf != nil {
			bad.Line = r.lineOf(bad.Line)
		}
		parts := strings.SplitN(why, "\x1f", 3)
		if len(parts) == 3 {
			bad.Column = parts[0]
			bad.Message = deref(where) + fmt.Sprintf("column %s: %q is not %s", parts[0], parts[2], parts[1])
		}
		b.bad = append(b.bad, bad)
		return nil
	})
}

// shownName names the source in a message about one of its rows.
func (src *Source) shownName() string {
	switch {
	case src.Database != nil:
		return src.Database.shown()
	case src.Dataverse != nil:
		return src.Dataverse.Table
	}
	return src.Name
}
