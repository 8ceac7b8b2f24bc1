package duckstage

import (
	"context"
	"fmt"
	"strings"
)

// ColumnProfile is what the values of one column look like.
type ColumnProfile struct {
	Name      string       `json:"name"`
	SQLType   string       `json:"type"`
	Rows      int64        `json:"rows"`
	Filled    int64        `json:"filled"`   // neither null nor a text of blanks
	Distinct  int64        `json:"distinct"` // about so many; exact below a few thousand
	Unique    bool         `json:"unique"`   // every row has a value, and no two the same
	MinLength int64        `json:"minLength,omitempty"`
	MaxLength int64        `json:"maxLength,omitempty"`
	Min       string       `json:"min,omitempty"`
	Max       string       `json:"max,omitempty"`
	Top       []ValueCount `json:"top"`      // the most frequent values
	Patterns  []ValueCount `json:"patterns"` // the most frequent forms: a letter is A, a digit 9; of a sample
}

// ValueCount is a value and how many rows have it.
type ValueCount struct {
	Value string `json:"value"`
	Rows  int64  `json:"rows"`
}

// Share is the part of the rows that have a value, from 0 to 1.
func (p ColumnProfile) Share() float64 {
	if p.Rows == 0 {
		return 0
	}
	return float64(p.Filled) / float64(p.Rows)
}

const (
	// profileTop is how many values and patterns a profile names.
	profileTop = 5
	// profileSample is how many rows the patterns, and the values of a column with very
	// many, are counted in.
	profileSample = 100_000
	// profileExact is up to how many different values a column's are counted in all rows.
	profileExact = 100_000
	// profileWidth is how much of a value a profile shows.
	profileWidth = 80
)

// Profile looks at every column of a relation, which is named as SQL names it. Its main
// figures take one pass over the relation, the frequent values another for each column.
func (s *Stage) Profile(ctx context.Context, relation string, report func(done float64)) ([]ColumnProfile, error) {
	cols, err := s.Describe(ctx, "SELECT * FROM "+relation)
	if err != nil {
		return nil, err
	}
	out := make([]ColumnProfile, len(cols))
	if err := s.profileFigures(ctx, relation, cols, out); err != nil {
		return nil, err
	}
	for i := range out {
		if report != nil {
			report(float64(i+1) / float64(len(out)+1))
		}
		if err := s.profileValues(ctx, relation, &out[i]); err != nil {
			return nil, fmt.Errorf("column %s: %w", out[i].Name, err)
		}
	}
	return out, nil
}

func (s *Stage) profileFigures(ctx context.Context, relation string, cols []ColumnInfo, out []ColumnProfile) error {
	figures := []string{"count(*)"}
	var rows int64
	values := []any{&rows}
	type texts struct{ low, high *string }
	ends := make([]texts, len(cols))
	lengths := make([][2]*int64, len(cols))
	for i, c := range cols {
		p := &out[i]
		p.Name, p.SQLType, p.Top, p.Patterns = c.Name, c.SQLType, []ValueCount{}, []ValueCount{}
		v, text := Ident(c.Name), "CAST("+Ident(c.Name)+" AS VARCHAR)"
		figures = append(figures, filledCount(v, c.SQLType), "approx_count_distinct("+text+")", "min(length("+text+"))", "max(length("+text+"))",
			fmt.Sprintf("left(CAST(min(%s) AS VARCHAR), %d)", sortable(v, c.SQLType), profileWidth), fmt.Sprintf("left(CAST(max(%s) AS VARCHAR), %d)", sortable(v, c.SQLType), profileWidth))
		values = append(values, &p.Filled, &p.Distinct, &lengths[i][0], &lengths[i][1], &ends[i].low, &ends[i].high)
	}
	if err := s.Row(ctx, values, "SELECT "+strings.Join(figures, ", ")+" FROM "+relation); err != nil {
		return err
	}
	for i := range out {
		p := &out[i]
		p.Rows, p.Distinct = rows, min(p.Distinct, rows)
		if lengths[i][0] != nil {
			p.MinLength, p.MaxLength = *lengths[i][0], *lengths[i][1]
		}
		if ends[i].low != nil {
			p.Min, p.Max = *ends[i].low, *ends[i].high
		}
	}
	return nil
}

// filledCount counts the rows that have a value; a text of blanks is none, nor are no bytes.
func filledCount(v, sqlType string) string {
	switch sqlType {
	case "VARCHAR":
		return "count(nullif(trim(" + v + "), ''))"
	case "BLOB":
		return "count(nullif(" + v + ", ''::BLOB))"
	}
	return "count(" + v + ")"
}

// sortable is a column as something that has a least and a greatest value.
func sortable(v, sqlType string) string {
	if strings.HasSuffix(sqlType, "]") || strings.ContainsAny(sqlType, "( ") && !strings.HasPrefix(sqlType, "DECIMAL") && !strings.HasPrefix(sqlType, "TIME") || sqlType == "JSON" {
		return "CAST(" + v + " AS VARCHAR)"
	}
	return v
}

func (s *Stage) profileValues(ctx context.Context, relation string, p *ColumnProfile) error {
	text := "CAST(" + Ident(p.Name) + " AS VARCHAR)"
	sample := fmt.Sprintf("(SELECT %s AS v FROM %s USING SAMPLE reservoir(%d ROWS) REPEATABLE (1))", text, relation, profileSample)
	from := sample
	if p.Distinct <= profileExact || p.Rows <= profileSample {
		from = "(SELECT " + text + " AS v FROM " + relation + ")"
	}
	var err error
	if p.Top, err = s.valueCounts(ctx, "v", from); err != nil {
		return err
	}
	pattern := `regexp_replace(regexp_replace(regexp_replace(left(v, 40), '\p{Lu}', 'A', 'g'), '[\p{Ll}\p{Lt}\p{Lm}\p{Lo}]', 'a', 'g'), '\p{N}', '9', 'g')`
	// Neighbours of one kind count as one, so that names of all lengths are one form.
	pattern = `regexp_replace(regexp_replace(` + pattern + `, 'a+', 'a', 'g'), '9{5,}', '9…', 'g')`
	if p.Patterns, err = s.valueCounts(ctx, pattern, sample); err != nil {
		return err
	}
	if p.Filled == p.Rows && p.Rows > 0 && p.Distinct > p.Rows*8/10 {
		var repeated int64
		if err := s.Row(ctx, []any{&repeated}, fmt.Sprintf("SELECT count(*) FROM (SELECT hash(%s) AS h FROM %s GROUP BY h HAVING count(*) > 1)", text, relation)); err != nil {
			return err
		}
		if p.Unique = repeated == 0; p.Unique {
			p.Distinct = p.Rows // which was an estimate
		}
	}
	return nil
}

func (s *Stage) valueCounts(ctx context.Context, value, from string) ([]ValueCount, error) {
	out := []ValueCount{}
	query := fmt.Sprintf("SELECT left(k, %d), n FROM (SELECT %s AS k, count(*) AS n FROM %s WHERE v IS NOT NULL GROUP BY k) ORDER BY n DESC, k LIMIT %d", profileWidth, value, from, profileTop)
	err := s.Rows(ctx, query, nil, func(scan func(...any) error) error {
		var c ValueCount
		if err := scan(&c.Value, &c.Rows); err != nil {
			return err
		}
		out = append(out, c)
		return nil
	})
	return out, err
}
