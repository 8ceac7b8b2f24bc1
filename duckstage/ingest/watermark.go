package ingest

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"dvmigrate/duckstage"
)

// A watermark is a column of a database whose value grows with every change of a row: a time,
// a number from a sequence, SQL Server's rowversion. Each reading takes the rows from the
// highest value on that the reading before has seen, less an overlap, since a transaction that
// began before may commit after. What was seen is kept in the stage beside the rows it belongs
// to, so that an older snapshot comes back with its own, older, watermark. A row that is gone
// has no value any more: such a feed cannot tell.

// The usual overlaps. A transaction that stays open for longer than this, or behind so many
// others, needs a longer one.
const (
	usualTimeOverlap   = 10 * time.Minute
	usualNumberOverlap = 1000
)

// markState is what is kept of a reading: of what, and how far it came.
type markState struct {
	Server, From, Columns, Key, Mark string
	High                             string // "": no row had a value
	Extract                          string `json:",omitempty"` // of a reading that has begun
}

func markKey(source string) string      { return "watermark of " + source }
func markBegunKey(source string) string { return "watermark begun of " + source }

// planMark narrows a database's relation to what has changed since the last reading, and
// returns what is to be kept when it is read. whole says that all of it is read, and takes the
// place of what is there.
func (r *run) planMark(ctx context.Context, stage *duckstage.Stage, d *dbSupply, rel *relation) (now markState, whole bool, err error) {
	f := r.src.Feed
	at := slices.IndexFunc(d.columns, func(c dbColumn) bool { return strings.EqualFold(c.name, f.Watermark) })
	names := make([]string, len(d.columns))
	for i, c := range d.columns {
		names[i] = c.name
	}
	if at < 0 {
		return now, false, fmt.Errorf("%s has no column %q for the watermark: its columns are %s", d.of.shown(), f.Watermark, shownList(names))
	}
	if _, masked := r.src.maskOf(f.Watermark); masked {
		return now, false, fmt.Errorf("the watermark %s is masked, and the stage keeps its highest value as it is: mask another column, or take another for the watermark", f.Watermark)
	}
	now = markState{Server: d.server.identity(), From: d.from, Columns: strings.Join(names, ","), Key: strings.Join(f.Key, ","), Mark: d.columns[at].name}
	former, why, err := r.formerMark(ctx, stage, now)
	if err != nil {
		return now, false, err
	}
	m := markOf(d.of.Kind, d.server, d.columns[at])
	// The highest value is asked for before the rows are read: what is written meanwhile is
	// read by the next reading, a second time at worst.
	if now.High, err = d.highest(ctx, m); err != nil {
		return now, false, err
	}
	if why == "" && former.High != "" && lower(now.High, former.High) {
		why = fmt.Sprintf("its highest %s is %s and was %s: was the source restored?", now.Mark, cmp.Or(now.High, "nothing"), former.High)
	}
	if whole = why != "" || former.High == ""; whole {
		if why != "" {
			r.notes = append(r.notes, "all rows were read, and not what has changed alone: "+why)
		}
	} else {
		since, err := lessOverlap(former.High, f.Overlap)
		if err != nil {
			return now, false, fmt.Errorf("watermark %s: %w", now.Mark, err)
		}
		column := d.server.quote(now.Mark)
		d.from = "(SELECT * FROM " + d.from + " WHERE " + column + " >= " + m.literal(since) + " OR " + column + " IS NULL) dm_since"
		d.narrowed = true
		rel.extract += " since " + since // parts of another reading are no use
		r.notes = append(r.notes, fmt.Sprintf("read from %s %s on; rows that are gone cannot be seen by it", now.Mark, since))
	}
	if rel.extract == "" {
		return now, whole, nil
	}
	return now, whole, r.beginMark(ctx, stage, &now, rel)
}

// beginMark keeps how far a reading in parts sees, as one that goes on after a kill still
// counts as made when it began.
func (r *run) beginMark(ctx context.Context, stage *duckstage.Stage, now *markState, rel *relation) error {
	former, err := r.formerLabels(ctx, stage, rel)
	if err != nil {
		return err
	}
	now.Extract = rel.extract
	if len(former) > 0 {
		text, err := stage.Meta(ctx, markBegunKey(r.src.Name))
		var begun markState
		if err == nil && json.Unmarshal([]byte(cmp.Or(text, "{}")), &begun) == nil && begun.Extract == rel.extract {
			now.High = begun.High
			return nil
		}
		if err != nil {
			return err
		}
		if err := stage.With(ctx, func(c *duckstage.Conn) error { return r.dropParts(ctx, c, rel.name) }); err != nil {
			return err
		}
	}
	text, err := json.Marshal(now)
	if err != nil {
		return err
	}
	return stage.SetMeta(ctx, markBegunKey(r.src.Name), string(text))
}

// formerMark is what the last reading left. why says that it was of something else.
func (r *run) formerMark(ctx context.Context, stage *duckstage.Stage, now markState) (former markState, why string, err error) {
	text, err := stage.Meta(ctx, markKey(r.src.Name))
	if err != nil || text == "" {
		return former, "", err
	}
	if err := json.Unmarshal([]byte(text), &former); err != nil {
		return former, "the watermark was kept by another version", nil
	}
	for _, c := range []struct{ what, was, is string }{
		{"the database", former.Server, now.Server}, {"what is read of it", former.From, now.From}, {"the watermark", former.Mark, now.Mark},
		{"the row_key", former.Key, now.Key}, {"the list of columns", former.Columns, now.Columns},
	} {
		if c.was != c.is {
			return former, fmt.Sprintf("%s has changed since the last reading", c.what), nil
		}
	}
	var there int
	err = stage.Row(ctx, []any{&there}, "SELECT count(*) FROM dm.sources WHERE name = ?", r.src.Name)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return former, "", err
	}
	if there == 0 {
		return former, "what was read before is not in the stage", nil
	}
	return former, "", nil
}

// keepMark notes where the next reading begins; where there is no watermark, that it begins
// anew.
func (r *run) keepMark(ctx context.Context, c *duckstage.Conn, now markState) error {
	now.Extract = ""
	text, err := json.Marshal(now)
	if err != nil {
		return err
	}
	return c.SetMeta(ctx, markKey(r.src.Name), string(text))
}

// highest is the highest value of the watermark as text; "" when no row has one.
func (d *dbSupply) highest(ctx context.Context, m mark) (string, error) {
	rows, err := d.server.list(ctx, "SELECT "+m.highest+" FROM "+d.from)
	if err != nil {
		return "", d.server.explain(err)
	}
	if len(rows) == 0 {
		return "", nil
	}
	high := strings.TrimSpace(rows[0][0])
	if high == "" {
		return "", nil
	}
	if _, err := lessOverlap(high, ""); err != nil {
		return "", fmt.Errorf("%s: the watermark: %w", d.of.shown(), err)
	}
	return high, nil
}

// mark is how a database speaks of its watermark.
type mark struct {
	highest string // selects the highest value as a text that lessOverlap reads
	literal func(text string) string
}

// markOf knows the forms in which each kind of database writes and takes a time.
func markOf(kind string, s server, c dbColumn) mark {
	name := s.quote(c.name)
	m := mark{highest: "max(" + name + ")", literal: func(text string) string {
		if _, err := strconv.ParseInt(text, 10, 64); err == nil {
			return text
		}
		return s.literal(text)
	}}
	convert := func(to string) {
		m.literal = func(text string) string { return fmt.Sprintf("CONVERT(%s, %s, 126)", to, s.literal(text)) }
		m.highest = "CONVERT(varchar(40), max(CONVERT(" + to + ", " + name + ")), 126)"
	}
	switch {
	case kind == Postgres && c.stored == "TIMESTAMP WITH TIME ZONE":
		m.highest = "to_char(max(" + name + ") AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US')"
		m.literal = func(text string) string { return s.literal(text+"+00") + "::timestamptz" }
	case kind == Postgres && c.stored == "TIMESTAMP":
		m.highest = "to_char(max(" + name + "), 'YYYY-MM-DD HH24:MI:SS.US')"
	case kind == SQLServer && c.stored == "BLOB": // rowversion; what is not committed yet counts as not seen
		m.highest = "CASE WHEN max(CONVERT(bigint, " + name + ")) < CONVERT(bigint, MIN_ACTIVE_ROWVERSION()) THEN max(CONVERT(bigint, " + name + ")) ELSE CONVERT(bigint, MIN_ACTIVE_ROWVERSION()) - 1 END"
		m.literal = func(text string) string {
			if strings.HasPrefix(text, "-") { // a young database, less the overlap: as binary that would be the highest
				text = "0"
			}
			return "CONVERT(binary(8), CONVERT(bigint, " + text + "))"
		}
	case kind == SQLServer && c.stored == "TIMESTAMP WITH TIME ZONE":
		convert("datetimeoffset(7)")
	case kind == SQLServer && c.stored == "TIMESTAMP":
		convert("datetime2(7)")
	case kind == SQLServer && c.stored == "DATE":
		convert("date")
	}
	return m
}

// markLayout is the layout of a time as a database has written it, so that what is less by an
// overlap is written in the same form: SQLite compares times as texts.
func markLayout(text string) string {
	if len(text) < len("2006-01-02") || strings.Count(text[:10], "-") != 2 {
		return ""
	}
	layout := "2006-01-02"
	if len(text) == len(layout) {
		return layout
	}
	layout, rest := layout+text[10:11], text[11:]
	if len(rest) < len("15:04:05") {
		return ""
	}
	layout, rest = layout+"15:04:05", rest[len("15:04:05"):]
	if digits := len(rest) - len(strings.TrimLeft(rest, ".0123456789")); digits > 1 {
		layout, rest = layout+"."+strings.Repeat("0", digits-1), rest[digits:]
	}
	switch {
	case rest == "Z":
		layout += "Z07:00"
	case len(rest) == len("+00"):
		layout += "-07"
	case len(rest) == len("+00:00"):
		layout += "-07:00"
	case rest != "":
		return ""
	}
	return layout
}

// markTime reads a time as a database has written it.
func markTime(text string) (t time.Time, layout string, err error) {
	if layout = markLayout(text); layout != "" {
		t, err = time.Parse(layout, text)
	}
	if layout == "" || err != nil {
		return t, "", fmt.Errorf("%q is neither a whole number nor a time such as 2024-12-31 23:59:59", text)
	}
	return t, layout, nil
}

// lessOverlap is a value of the watermark less the overlap.
func lessOverlap(high, overlap string) (string, error) {
	if n, err := strconv.ParseInt(high, 10, 64); err == nil {
		less := int64(usualNumberOverlap)
		if overlap != "" {
			if less, err = strconv.ParseInt(overlap, 10, 64); err != nil {
				return "", fmt.Errorf("the overlap %s is a time, and the column holds numbers such as %s: write a whole number", overlap, high)
			}
		}
		return strconv.FormatInt(n-less, 10), nil
	}
	t, layout, err := markTime(high)
	if err != nil {
		return "", err
	}
	less := usualTimeOverlap
	if overlap != "" {
		if less, err = time.ParseDuration(overlap); err != nil {
			return "", fmt.Errorf("the overlap %s is a number, and the column holds times such as %s: write a duration such as 30m", overlap, high)
		}
	}
	return t.Add(-less).Format(layout), nil
}

// lower reports whether one value of a watermark is lower than another.
func lower(a, b string) bool {
	if a == "" {
		return b != ""
	}
	x, err1 := strconv.ParseInt(a, 10, 64)
	y, err2 := strconv.ParseInt(b, 10, 64)
	if err1 == nil && err2 == nil {
		return x < y
	}
	t, _, err1 := markTime(a)
	u, _, err2 := markTime(b)
	return err1 != nil || err2 != nil || t.Before(u)
}
