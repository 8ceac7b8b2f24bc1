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

type jsonColumn struct{ name, typ string }

func (s jsonShape) of(name string) (typ string, ok bool) {
	for _, c := range s {
		if c.name == name {
			return c.typ, true
		}
	}
	return "", false
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

// jsonShape makes the shape of the columns that DuckDB has found.
func (r *run) jsonShape(ctx context.Context, c *duckstage.Conn, infos []duckstage.ColumnInfo, paths []string) (jsonShape, error) {
	if !r.src.isJSON() {
		return nil, nil
	}
	var out jsonShape
	for _, info := range infos {
		if info.Name == "dm_file" {
			continue
		}
		typ := asText(info.SQLType)
		_, formatted := r.src.format(info.Name)
		if declared := r.src.declared(info.Name); formatted || declared != "" && !strings.Contains(declared, "[") && !nested.MatchString(declared) {
			typ = "VARCHAR"
		}
		if long := r.long[info.Name]; long != "" {
			typ = long
		}
		out = append(out, jsonColumn{info.Name, typ})
	}
	if len(out) == 1 && out[0].name == "json" { // values that are no objects
		return nil, nil
	}
	renamed, err := r.renamedKeys(ctx, c, out, paths)
	if err != nil || renamed {
		return nil, err
	}
	return out, nil
}

// nested recognises types that have others within.
var nested = regexp.MustCompile(`(?i)^\s*(STRUCT|MAP|UNION|LIST|JSON)\b`)

// numbered is a name that DuckDB may have made of a key, because another differs from it
// in case alone.
var numbered = regexp.MustCompile(`^(.*)_[0-9]+$`)

// renamedKeys reports whether a column is not called as a key of the files is.
func (r *run) renamedKeys(ctx context.Context, c *duckstage.Conn, shape jsonShape, paths []string) (bool, error) {
	var odd []string
	for _, col := range shape {
		m := numbered.FindStringSubmatch(col.name)
		if m != nil && slices.ContainsFunc(shape, func(o jsonColumn) bool { return strings.EqualFold(o.name, m[1]) }) {
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
