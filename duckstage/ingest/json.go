package ingest

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"dvmigrate/duckstage"
)

// noDates keeps DuckDB from taking texts of JSON for dates: it tries 01-02-03, which is as
// likely an article's number, and 05-06-2024, which most of the world reads as the fifth of
// June, as month, day and year. No text has this form.
const noDates = `dateformat='%Y dvmigrate %j', timestampformat='%Y dvmigrate %j'`

// jsonShape says as what the columns of JSON are read: as what DuckDB finds, but texts as
// texts, and columns whose type the settings give as the text that the file has, so that
// nothing is lost before the type is made of it. It is empty for other formats, and where
// DuckDB calls columns otherwise than the file calls the keys.
type jsonShape []jsonColumn

type jsonColumn struct {
	name, typ string
	as        string // what is made of it once it is read; "": nothing else
}

func (c jsonColumn) made() string {
	if c.as != "" {
		return c.as
	}
	return c.typ
}

func (s jsonShape) of(name string) (c jsonColumn, ok bool) {
	at := slices.IndexFunc(s, func(c jsonColumn) bool { return c.name == name })
	if at < 0 {
		return c, false
	}
	return s[at], true
}

// sql is the argument of DuckDB's reader; "" has it find the columns itself.
func (s jsonShape) sql() string {
	if len(s) == 0 {
		return ""
	}
	columns := make([]string, len(s))
	for i, c := range s {
		columns[i] = duckstage.Quote(c.name) + ": " + duckstage.Quote(c.typ)
	}
	return "columns={" + strings.Join(columns, ", ") + "}"
}

// guessedText finds the types that DuckDB guesses from texts, wherever they stand in a
// type; a name before a type is followed by a blank, and quoted if it is odd.
var guessedText = regexp.MustCompile(`"(?:[^"]|"")*"|\b(?:UUID|DATE|TIME|TIMESTAMP|TIMESTAMP WITH TIME ZONE)([,)\[]|$)`)

// asText is a type of JSON with texts where DuckDB guessed more of them.
func asText(typ string) string {
	return guessedText.ReplaceAllStringFunc(typ, func(s string) string {
		switch last := s[len(s)-1:]; {
		case s[0] == '"':
			return s
		case strings.Contains(",)[", last):
			return "VARCHAR" + last
		}
		return "VARCHAR"
	})
}

// oddName are names that DuckDB quotes in a type, and emptyKey the sign in the rest of it of an
// empty one: the first of an object is left out, and a later one leaves two blanks.
var oddName, emptyKey = regexp.MustCompile(`"(?:[^"]|"")*"`), regexp.MustCompile(`STRUCT\([A-Z]+[,)\[(]|,  `)

// jsonShape makes the shape of the columns that DuckDB has found.
func (r *run) jsonShape(ctx context.Context, c *duckstage.Conn, infos []duckstage.ColumnInfo, paths []string) (jsonShape, error) {
	if !r.src.isJSON() {
		return nil, nil
	}
	was, err := r.formerTypes(ctx, c)
	if err != nil {
		return nil, err
	}
	var out jsonShape
	for _, info := range infos {
		if info.Name == "dm_file" && len(paths) > 1 {
			continue
		}
		typ := asText(info.SQLType)
		if emptyKey.MatchString(oddName.ReplaceAllLiteralString(info.SQLType, "n")) {
			typ = "JSON" // such a type is none that may be named
		}
		if was[info.Name] == info.SQLType {
			typ = info.SQLType
		}
		_, formatted := r.src.format(info.Name)
		if declared := r.src.declared(info.Name); formatted || declared != "" && info.SQLType != "BOOLEAN" && !strings.Contains(declared, "[") && !nested.MatchString(declared) {
			typ = "VARCHAR"
		}
		if long := r.long[info.Name]; long != "" {
			typ = long
		}
		out = append(out, jsonColumn{name: info.Name, typ: typ})
	}
	if len(out) == 1 && out[0].name == "json" { // values that are no objects
		return nil, nil
	}
	renamed, err := r.renamedKeys(ctx, c, out, paths)
	if err != nil || renamed {
		return nil, err
	}
	return out, r.keepTypes(ctx, c, out, was, paths)
}

// formerTypes are those columns, with their types, that this source was staged with before,
// of a type that DuckDB guessed from texts. They stay what they are: a key that was made of
// one would be another key as a text, and all of its records would be gone and new.
func (r *run) formerTypes(ctx context.Context, c *duckstage.Conn) (map[string]string, error) {
	var views int
	query := "SELECT count(*) FROM duckdb_views() WHERE schema_name = 'source' AND lower(view_name) = lower(" + duckstage.Quote(r.src.Name) + ")"
	if err := c.Row(ctx, []any{&views}, query); err != nil || views == 0 {
		return nil, err
	}
	infos, err := c.Describe(ctx, "SELECT * FROM source."+duckstage.Ident(r.src.Name))
	was := map[string]string{}
	for _, info := range infos {
		_, formatted := r.src.format(info.Name)
		if !formatted && r.src.declared(info.Name) == "" && !strings.HasPrefix(info.Name, "dm_") && asText(info.SQLType) != info.SQLType {
			was[info.Name] = info.SQLType
		}
	}
	return was, err
}

// isoTexts are the texts of which all countries make the same date or time, by its type.
var isoTexts = map[string]string{
	"DATE":      `[0-9]{4}-[0-9]{2}-[0-9]{2}`,
	"TIME":      `[0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]+)?)?`,
	"TIMESTAMP": `[0-9]{4}-[0-9]{2}-[0-9]{2}([ T].*)?`,
}

// keepTypes has columns be the dates and times that they were, if all of their texts are
// such, and says which columns depend on what was staged before.
func (r *run) keepTypes(ctx context.Context, c *duckstage.Conn, shape jsonShape, was map[string]string, paths []string) error {
	var maybe, asked []string
	for _, col := range shape {
		iso, former := isoTexts[was[col.name]], was[col.name]
		if iso == "" || col.typ != "VARCHAR" {
			continue
		}
		id := duckstage.Ident(col.name)
		maybe = append(maybe, col.name)
		asked = append(asked, fmt.Sprintf("coalesce(bool_and(regexp_full_match(%s, %s) AND %s IS NOT NULL), true)", id, duckstage.Quote(iso), duckstage.CastText(id, former)))
	}
	if len(maybe) > 0 {
		fits, into := make([]bool, len(maybe)), make([]any, len(maybe))
		for i := range fits {
			into[i] = &fits[i]
		}
		if err := c.Row(ctx, into, "SELECT "+strings.Join(asked, ", ")+" FROM "+r.src.readOther(paths, shape.sql())); err != nil {
			return err
		}
		for i, name := range maybe {
			if fits[i] {
				shape[slices.IndexFunc(shape, func(o jsonColumn) bool { return o.name == name })].as = was[name]
			}
		}
	}
	for _, col := range shape {
		former, now, note := was[col.name], col.made(), ""
		within := strings.ContainsAny(former, "([")
		switch {
		case former == "", now == former && within:
			continue
		case now == former:
			note = fmt.Sprintf("%[1]s stays %[2]s, as it was staged before; `types: {%[1]s: %[2]s}` says so for a new stage, too", col.name, former)
		case within:
			note = fmt.Sprintf("dates, times and UUIDs within %s are texts now, as the file has them: keys and lookups made of them change", col.name)
		default:
			note = fmt.Sprintf("%s was %s and is text now, as the file has it: keys and lookups made of it change; `types` may say how its texts are read", col.name, former)
		}
		if !slices.Contains(r.notes, note) { // files are read again for some of their faults
			r.notes = append(r.notes, note)
		}
	}
	return nil
}

// nested recognises types that have others within.
var nested = regexp.MustCompile(`(?i)^\s*(STRUCT|MAP|UNION|LIST|JSON)\b`)

// numbered is a name that DuckDB may have made of a key, because another differs from it
// in case alone, and unnamed one that it may have given an empty key.
var numbered, unnamed = regexp.MustCompile(`^(.*)_[0-9]+$`), regexp.MustCompile(`^C[0-9]+$`)

// renamedKeys reports whether a column is not called as a key of the files is.
func (r *run) renamedKeys(ctx context.Context, c *duckstage.Conn, shape jsonShape, paths []string) (bool, error) {
	var odd []string
	for _, col := range shape {
		m := numbered.FindStringSubmatch(col.name)
		if unnamed.MatchString(col.name) || m != nil && slices.ContainsFunc(shape, func(o jsonColumn) bool { return strings.EqualFold(o.name, m[1]) }) {
			odd = append(odd, duckstage.Quote(col.name))
		}
	}
	if len(odd) == 0 {
		return false, nil
	}
	format := "auto"
	if r.src.Format == NDJSON {
		format = "newline_delimited"
	}
	var known int
	err := c.Row(ctx, []any{&known}, fmt.Sprintf("SELECT count(DISTINCT k) FROM (SELECT unnest(json_keys(json)) AS k FROM read_json_objects(%s, format='%s', maximum_object_size=%d)) WHERE k IN (%s)",
		pathList(paths), format, maxRecord, strings.Join(odd, ", ")))
	return known < len(odd), err
}

// exactWhole is the first whole number after which a DOUBLE leaves some out.
const exactWhole = 1 << 53

// longNumbers looks for whole numbers that DuckDB has read as DOUBLE because they, or
// others of their column, need more than 64 bits or stand beside fractions, and that are
// no longer what the file says. Their columns are to be read again: as HUGEINT, or as the
// texts that the file has. table is what was read; "" before that.
func (r *run) longNumbers(ctx context.Context, c *duckstage.Conn, table string, shape jsonShape, paths []string) (again bool, err error) {
	if r.long != nil || len(shape) == 0 {
		return false, nil
	}
	var columns, large []string
	for _, col := range shape {
		if _, masked := r.src.maskOf(col.name); col.typ == "DOUBLE" {
			columns = append(columns, col.name)
			if masked { // the table has others
				table = ""
			}
			large = append(large, "max(abs("+duckstage.Ident(col.name)+"))")
		}
	}
	if len(columns) == 0 {
		return false, nil
	}
	if table != "" {
		var found bool
		query := fmt.Sprintf("SELECT coalesce(greatest(%s) >= %d, false) FROM %s", strings.Join(large, ", "), exactWhole, table)
		if err := c.Row(ctx, []any{&found}, query); err != nil || !found {
			return false, err
		}
	}
	texts := slices.Clone(shape)
	var asked []string
	into := make([]any, 0, 2*len(columns))
	lossy, whole := make([]bool, len(columns)), make([]bool, len(columns))
	for i, name := range columns {
		texts[slices.IndexFunc(texts, func(o jsonColumn) bool { return o.name == name })].typ = "VARCHAR"
		id := duckstage.Ident(name)
		asked = append(asked, fmt.Sprintf(`coalesce(bool_or(regexp_full_match(%[1]s, '-?[0-9]{16,}') AND TRY_CAST(TRY_CAST(%[1]s AS DOUBLE) AS HUGEINT)::VARCHAR IS DISTINCT FROM %[1]s), false), coalesce(bool_and(regexp_full_match(%[1]s, '-?[0-9]{1,38}')), false)`, id))
		into = append(into, &lossy[i], &whole[i])
	}
	if err := c.Row(ctx, into, "SELECT "+strings.Join(asked, ", ")+" FROM "+r.src.readOther(paths, texts.sql())); err != nil {
		return false, err
	}
	r.long = map[string]string{}
	for i, name := range columns {
		switch {
		case !lossy[i]:
		case whole[i]:
			r.long[name] = "HUGEINT"
		default:
			r.long[name] = "VARCHAR"
			r.notes = append(r.notes, fmt.Sprintf("%s has whole numbers of more than 15 digits beside fractions, so its values are texts; `types` may say more", name))
		}
	}
	return len(r.long) > 0, nil
}
