package transform

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"dvmigrate/duckstage"
)

// Texts say what the texts of a column stand for: the SELECT gives the source's own text,
// and the row gets the value. Texts are compared without regard to case and to blanks at
// their ends; an empty one is no value. One that has no value holds its row, and is listed
// in dm.unmapped ("table", "column", file, "text", "rows").
type Texts struct {
	File    string            // where people say it, for messages
	Values  map[string]string // by text; "" = no value, on purpose
	Missing string            // SQL expression that takes the place of texts without a value; "": such rows are held
}

// faultText is the fault of a text that has no value.
const faultText = "DVM-MAP"

// mostUnmapped is how many texts of a column without a value are listed, the most frequent.
const mostUnmapped = 10_000

// unmappedTable lists the texts that had no value when the stage was last made.
const unmappedTable = `CREATE TABLE IF NOT EXISTS dm.unmapped ("table" VARCHAR, "column" VARCHAR, file VARCHAR, "text" VARCHAR, "rows" BIGINT)`

// blanks are cut from both ends of a text.
const blanks = "' ' || chr(9) || chr(10) || chr(13) || chr(160)"

// folded is a text as it is compared, and null if it is empty.
func folded(value string) string { return "nullif(lower(trim(" + value + ", " + blanks + ")), '')" }

// textName is the column with a text that has no value, and null otherwise.
func textName(i int) string { return fmt.Sprintf("dm_text_%d", i) }

// textJoin is the join that finds the values of column i, whose text is value.
func (j *job) textJoin(i int, value string) string {
	t, lines := j.Columns[i].Texts, []string{}
	for text, v := range t.Values {
		lines = append(lines, "("+duckstage.Quote(text)+", "+duckstage.Quote(v)+")")
	}
	if len(lines) == 0 {
		lines = []string{"(NULL, NULL)"}
	}
	slices.Sort(lines)
	alias := fmt.Sprintf("dm_texts_%d", i)
	return fmt.Sprintf(" LEFT JOIN (SELECT %s AS dm_given, min(dm_value) AS dm_value FROM (VALUES %s) v(dm_given_as, dm_value) WHERE dm_given_as IS NOT NULL GROUP BY dm_given) %s ON %[3]s.dm_given = %[4]s",
		folded("dm_given_as"), strings.Join(lines, ", "), alias, folded("CAST("+value+" AS VARCHAR)"))
}

// textValues are the value of column i, and its text where that has none.
func (j *job) textValues(i int, value string) (of, missing string) {
	alias := fmt.Sprintf("dm_texts_%d", i)
	text := "CAST(" + value + " AS VARCHAR)"
	return "TRY_CAST(nullif(" + alias + ".dm_value, '') AS " + j.Columns[i].SQLType + ")",
		"CASE WHEN " + alias + ".dm_given IS NULL AND " + folded(text) + " IS NOT NULL THEN trim(" + text + ", " + blanks + ") END"
}

// textFault is the fault of a text in column i that has no value.
func (j *job) textFault(i int) string {
	return "WHEN " + textName(i) + " IS NOT NULL THEN " + duckstage.Quote(faultText+" "+j.Columns[i].Name+": ") + " || " + j.noValue(i)
}

func (j *job) noValue(i int) string {
	return shown(textName(i)) + " || " + duckstage.Quote(" has no value in "+j.Columns[i].Texts.File)
}

// mapped reports whether texts of the table's columns stand for values.
func (j *job) mapped() bool {
	return slices.ContainsFunc(j.Columns, func(c Column) bool { return c.Texts != nil })
}

// recordUnmapped lists the texts that have no value, while the first pass's table is there.
func (s *staging) recordUnmapped(ctx context.Context, j *job) error {
	if _, err := s.c.Exec(ctx, `DELETE FROM dm.unmapped WHERE "table" = `+duckstage.Quote(j.Name)); err != nil {
		return err
	}
	for i, c := range j.Columns {
		if c.Texts == nil {
			continue
		}
		query := fmt.Sprintf("INSERT INTO dm.unmapped SELECT %s, %s, %s, %[4]s, count(*) AS n FROM %[5]s WHERE %[4]s IS NOT NULL GROUP BY %[4]s ORDER BY n DESC, %[4]s LIMIT %[6]d",
			duckstage.Quote(j.Name), duckstage.Quote(c.Name), duckstage.Quote(c.Texts.File), textName(i), j.raw, mostUnmapped)
		if _, err := s.c.Exec(ctx, query); err != nil {
			return err
		}
	}
	return nil
}
