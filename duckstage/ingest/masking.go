package ingest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"dvmigrate/duckstage"
	"dvmigrate/duckstage/mask"
)

// Mask says how a column is masked. That happens while the source is read: no value of
// it reaches the stage, nor a message.
type Mask struct {
	Kind string // of package mask
	By   string // of a date: the column that says whose it is
	Days int    // of a date: by how many days it moves at most
}

// maskFunction is the name in SQL of what masks.
const maskFunction = "dm_mask"

// registerMask makes the mask function known to the stage.
func (src *Source) registerMask(ctx context.Context, stage *duckstage.Stage) error {
	if len(src.Masks) == 0 {
		return nil
	}
	if len(src.MaskKey) < mask.MinKey {
		return fmt.Errorf("the key for masking has %d bytes, and needs %d", len(src.MaskKey), mask.MinKey)
	}
	if err := stage.BlocksApart(ctx); err != nil {
		return fmt.Errorf("keep the stage's blocks apart: %w", err)
	}
	masker := mask.New(src.MaskKey)
	return stage.RegisterText(ctx, duckstage.TextFunc{Name: maskFunction, Args: 3, Call: func(args []string) (string, bool) {
		return masker.Call(args[0], args[1], args[2])
	}})
}

// MaskNote says how the source is masked: which key (not the key), which columns, how.
// Two sources whose notes name one key can be joined. "" = not at all.
func (src *Source) MaskNote() string {
	if len(src.Masks) == 0 {
		return ""
	}
	note := struct {
		Key     string          `json:"key"`
		Columns map[string]Mask `json:"columns"`
	}{mask.New(src.MaskKey).KeyID(), src.Masks}
	text, err := json.Marshal(note)
	if err != nil { // texts and numbers can be written
		panic(err)
	}
	return string(text)
}

// MaskFact is the name of the stage's own fact about how a source was masked, whose value
// is its MaskNote.
func MaskFact(source string) string { return "mask of " + source }

// ClearFact is the name of the fact that a source was staged without a mask before; its
// value is the time until which it was.
func ClearFact(source string) string { return "in the clear " + source }

// noteMask keeps how the source is masked, in the transaction that puts it in place.
func (r *run) noteMask(ctx context.Context, c *duckstage.Conn) error {
	note, was := r.src.MaskNote(), r.wasMasked
	if note == was {
		return nil
	}
	if was == "" && r.wasStaged {
		if err := c.SetMeta(ctx, ClearFact(r.src.Name), r.arrival.Format("2006-01-02T15:04:05Z")); err != nil {
			return err
		}
	}
	return c.SetMeta(ctx, MaskFact(r.src.Name), note)
}

// formerMask reads how the source was masked before.
func (r *run) formerMask(ctx context.Context, stage *duckstage.Stage) error {
	var staged int64
	err := stage.Row(ctx, []any{&r.wasMasked, &staged}, "SELECT coalesce((SELECT value FROM dm.meta WHERE key = ?), ''), (SELECT count(*) FROM dm.sources WHERE name = ? OR starts_with(name, ? || '_'))",
		MaskFact(r.src.Name), r.src.Name, r.src.Name)
	r.wasStaged = staged > 0
	return err
}

// maskOf finds the mask of a column.
func (src *Source) maskOf(column string) (Mask, bool) {
	for name, m := range src.Masks {
		if strings.EqualFold(name, column) {
			return m, true
		}
	}
	return Mask{}, false
}

// anyMasked reports whether one of the columns has a mask.
func (src *Source) anyMasked(columns []string) bool {
	return slices.ContainsFunc(columns, func(c string) bool { _, masked := src.maskOf(c); return masked })
}

// knownMasks refuses a mask for a column that is not there, or by one.
func (src *Source) knownMasks(columns []string) error {
	known := func(name string) bool {
		return slices.ContainsFunc(columns, func(c string) bool { return strings.EqualFold(c, name) })
	}
	for name, m := range src.Masks {
		if !known(name) {
			return &MaskError{Column: name, Unknown: name, Known: columns, text: fmt.Sprintf("mask: %s is no column", name)}
		}
		if m.By != "" && !known(m.By) {
			return &MaskError{Column: name, Unknown: m.By, Known: columns, text: fmt.Sprintf("mask: %s: by: %s is no column", name, m.By)}
		}
	}
	return nil
}

// MaskError is a mask that does not go with its source.
type MaskError struct {
	Column  string   // whose mask it is
	Unknown string   // the column that is not there; "" where it is the type that does not go
	Known   []string // those that are
	text    string
}

func (e *MaskError) Error() string {
	if e.Unknown == "" {
		return e.text
	}
	return e.text + "; its columns are " + shownList(e.Known)
}

// Short is the error without the list of columns.
func (e *MaskError) Short() string { return e.text }

// masked selects what query selects, masked.
func (src *Source) masked(ctx context.Context, c *duckstage.Conn, query string) (string, error) {
	if len(src.Masks) == 0 {
		return query, nil
	}
	infos, err := c.Describe(ctx, query)
	if err != nil {
		return "", err
	}
	replaced, err := src.maskList(infos)
	if err != nil || len(replaced) == 0 {
		return query, err
	}
	return "SELECT * REPLACE (" + strings.Join(replaced, ", ") + ") FROM (" + query + ")", nil
}

// maskList writes the masks of those columns that have one.
func (src *Source) maskList(infos []duckstage.ColumnInfo) ([]string, error) {
	var out []string
	for _, info := range infos {
		expr, ok, err := src.maskSQL(info)
		if err != nil {
			return nil, err
		}
		if ok {
			out = append(out, expr+" AS "+duckstage.Ident(info.Name))
		}
	}
	return out, nil
}

// maskSQL writes the masked value of a column; false where it has no mask.
func (src *Source) maskSQL(info duckstage.ColumnInfo) (expr string, ok bool, err error) {
	m, ok := src.maskOf(info.Name)
	if !ok {
		return "", false, nil
	}
	if expr, err = m.sql(duckstage.Ident(info.Name), info.SQLType); err != nil {
		return "", false, &MaskError{Column: info.Name, text: fmt.Sprintf("mask: %s: %v", info.Name, err)}
	}
	return expr, true, nil
}

// MaskedColumns writes for each of the columns that has a mask, by its name in infos, the SQL
// of the masked value, and makes the function that it calls known to the stage: what masks
// must have made of rows that were read without.
func MaskedColumns(ctx context.Context, stage *duckstage.Stage, src Source, infos []duckstage.ColumnInfo) (map[string]string, error) {
	if err := src.registerMask(ctx, stage); err != nil {
		return nil, err
	}
	out := map[string]string{}
	for _, info := range infos {
		expr, ok, err := src.maskSQL(info)
		if err != nil {
			return nil, err
		}
		if ok {
			out[info.Name] = expr
		}
	}
	return out, nil
}

// integerDigits are the most digits that a value of a type has.
var integerDigits = map[string]int{"TINYINT": 3, "UTINYINT": 3, "SMALLINT": 5, "USMALLINT": 5, "INTEGER": 10, "UINTEGER": 10, "BIGINT": 19, "UBIGINT": 20, "HUGEINT": 39}

// sql writes the masked value of a column of this type.
func (m Mask) sql(column, sqlType string) (string, error) {
	text := "CAST(" + column + " AS VARCHAR)"
	call := func(value, how, person string) string {
		return maskFunction + "(" + value + ", " + duckstage.Quote(how) + ", " + person + ")"
	}
	base, _, _ := strings.Cut(sqlType, "(")
	digits, integer := integerDigits[base]
	switch {
	case m.Kind == mask.Blank:
		return "NULL::" + sqlType, nil
	case m.Kind == mask.Date:
		person := "coalesce(CAST(" + duckstage.Ident(m.By) + " AS VARCHAR), '')"
		switch {
		case sqlType == "VARCHAR":
			return call(column, fmt.Sprintf("date:%d", m.Days), person), nil
		case sqlType == "DATE", strings.HasPrefix(sqlType, "TIMESTAMP"):
			days := call("''", fmt.Sprintf("days:%d", m.Days), person)
			return fmt.Sprintf("TRY(CAST(%s + to_days(CAST(%s AS INTEGER)) AS %s))", column, days, sqlType), nil
		}
	case sqlType == "VARCHAR":
		return call(column, m.Kind, "''"), nil
	case sqlType == "UUID" && m.Kind == mask.ID:
		return "TRY_CAST(" + call(text, m.Kind, "''") + " AS UUID)", nil
	case integer || base == "DECIMAL" || base == "DOUBLE" || base == "FLOAT":
		if m.Kind == mask.Number || m.Kind == mask.ID || m.Kind == mask.Phone {
			return "TRY_CAST(" + call(text, fmt.Sprintf("%s:%d", mask.Number, digits), "''") + " AS " + sqlType + ")", nil
		}
	}
	goes := "blank does"
	switch {
	case integer || base == "DECIMAL" || base == "DOUBLE" || base == "FLOAT":
		goes = "number, id and blank do"
	case sqlType == "DATE", strings.HasPrefix(sqlType, "TIMESTAMP"):
		goes = "date and blank do"
	case sqlType == "UUID":
		goes = "id and blank do"
	}
	return "", fmt.Errorf("its type is %s, which %s does not go with; %s", sqlType, m.Kind, goes)
}

// keptLabel is a part's label as the stage keeps it: ranges are said in values of the key,
// which may be masked.
func (r *run) keptLabel(label string) string {
	if len(r.src.Masks) == 0 || label == "" {
		return label
	}
	return mask.New(r.src.MaskKey).Seal(label)
}

// readLabel reads it. The parts of another key are not found, as the extract names the key.
func (r *run) readLabel(kept string) (string, error) {
	if len(r.src.Masks) == 0 || kept == "" {
		return kept, nil
	}
	return mask.New(r.src.MaskKey).Unseal(kept)
}

// notShown stands for what might be an original value.
const notShown = "(not shown: the source has masked columns)"

// shifts reports whether a value may stand in another's column: in delimited text, where a
// separator too many or too few moves the rest of the line.
func (src *Source) shifts() bool { return len(src.Masks) > 0 && src.Format == CSV }

// hide takes out of a bad line what might be an original value.
func (src *Source) hide(b BadLine) BadLine {
	if len(src.Masks) == 0 {
		return b
	}
	if b.Text != "" {
		b.Text = notShown
	}
	if _, masked := src.maskOf(b.Column); masked {
		b.Message = "column " + b.Column + ": the value does not fit; it is masked and not shown"
	} else if b.Column != "" && src.shifts() {
		b.Message = "column " + b.Column + ": the value does not fit; it is not shown, as it may be a masked column's in a line that is shifted"
	} else if b.Column == "" {
		b.Message = "the row does not fit; it has masked columns and is not shown"
	}
	return b
}

// hideError does that with an error of DuckDB about values.
func (src *Source) hideError(err error) error {
	var e *duckstage.SQLError
	if len(src.Masks) == 0 || !errors.As(err, &e) {
		return err
	}
	switch e.Kind {
	case "Binder", "Catalog", "Parser", "IO", "Out of Memory":
		return err
	}
	hidden := *e
	hidden.Message = strings.ToLower(e.Kind) + " error about a value, which is not shown, since the source has masked columns"
	return &hidden
}
