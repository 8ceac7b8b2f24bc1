package preflight

import (
	"fmt"
	"strconv"
	"strings"

	"dvmigrate/appliance/dataverse/schema"
	"dvmigrate/appliance/mapping"
)

// The words of a policy that are not values.
const (
	KeepHold = "hold"  // set the row aside: what happens without a policy
	Blank    = "blank" // leave the column empty
	Trim     = "trim"  // cut a text at its greatest length
	Clamp    = "clamp" // take the nearest value that is allowed
)

// Policy says what is done about faults of one column (method.md M7). Each part is "" or
// KeepHold, or one of the words above, or the value to take instead.
type Policy struct {
	TooLong    string // trim, blank
	NotOption  string // blank, or an option's value
	OutOfRange string // clamp, blank, or a value; numbers and dates
	WrongType  string // blank, or a value
	Empty      string // a value, or for a lookup a legacy key or a GUID
	NoTarget   string // of a lookup: blank, a legacy key, or a GUID
}

// Over is the policy with what it leaves open taken from another.
func (p Policy) Over(o Policy) Policy {
	first := func(a, b string) string {
		if a != "" {
			return a
		}
		return b
	}
	return Policy{TooLong: first(p.TooLong, o.TooLong), NotOption: first(p.NotOption, o.NotOption), OutOfRange: first(p.OutOfRange, o.OutOfRange),
		WrongType: first(p.WrongType, o.WrongType), Empty: first(p.Empty, o.Empty), NoTarget: first(p.NoTarget, o.NoTarget)}
}

// Repair mends a value before the row is judged.
type Repair struct {
	Column string
	Bad    string // SQL predicate over the row's values: it needs mending
	Value  string // SQL expression of the value it gets
	Note   string // SQL expression of what is noted in the row's repairs, without the column's name
}

// Repairs lists what the policies do to the plain columns of a table. policy gives the
// one of a column. A policy that does not go with the column's type is an error that
// names it.
func Repairs(t *mapping.Table, policy func(column string) Policy) ([]Repair, error) {
	var out []Repair
	for _, c := range t.Columns {
		if c.File { // the stage has no value of it
			continue
		}
		r := repairer{c: c, col: mapping.Ident(c.LogicalName)}
		if err := r.all(policy(c.LogicalName)); err != nil {
			return nil, fmt.Errorf("repair of %s: %w", c.LogicalName, err)
		}
		out = append(out, r.repairs...)
	}
	return out, nil
}

// WrongType is the SQL expression that stands in for values which are not of the
// column's type; "" where such rows are held.
func WrongType(c mapping.Column, p Policy) (string, error) {
	switch p.WrongType {
	case "", KeepHold:
		return "", nil
	case Blank:
		return "NULL", nil
	}
	return valueOf(c, p.WrongType)
}

// Missing is the SQL expression that stands in for texts of a choice which its map has no
// value for; "" where such rows are held.
func Missing(c mapping.Column, p Policy) (string, error) {
	switch p.NotOption {
	case "", KeepHold:
		return "", nil
	case Blank:
		return "NULL", nil
	}
	return valueOf(c, p.NotOption)
}

type repairer struct {
	c       mapping.Column
	col     string
	repairs []Repair
}

func (r *repairer) add(bad, value, note string) {
	r.repairs = append(r.repairs, Repair{Column: r.c.LogicalName, Bad: bad, Value: value, Note: note})
}

func (r *repairer) all(p Policy) error {
	for _, part := range []func(Policy) error{r.tooLong, r.notOption, r.outOfRange, r.empty} {
		if err := part(p); err != nil {
			return err
		}
	}
	return nil
}

func (r *repairer) tooLong(p Policy) error {
	if p.TooLong == "" || p.TooLong == KeepHold || r.c.MaxLength == 0 || r.c.Type != schema.Text && r.c.Type != schema.Memo {
		return nil
	}
	bad := tooLong(r.col, r.c.MaxLength)
	switch p.TooLong {
	case Trim: // a character beyond the basic plane is two units: in doubt shorter
		value := fmt.Sprintf("CASE WHEN %[2]s = length(%[1]s) THEN left(%[1]s, %[3]d) ELSE left(%[1]s, %[4]d) END", r.col, units(r.col), r.c.MaxLength, r.c.MaxLength/2)
		r.add(bad, value, fmt.Sprintf("'trimmed from ' || %s || ' to %d characters'", units(r.col), r.c.MaxLength))
	case Blank:
		r.add(bad, "NULL", fmt.Sprintf("'left empty: longer than %d characters'", r.c.MaxLength))
	default:
		return fmt.Errorf("too_long is %q; it may be hold, trim or blank", p.TooLong)
	}
	return nil
}

func (r *repairer) notOption(p Policy) error {
	if p.NotOption == "" || p.NotOption == KeepHold || len(r.c.Options) == 0 {
		return nil
	}
	bad := ""
	switch r.c.Type {
	case schema.Choice, schema.State, schema.Status:
		bad = noOption(r.col, r.c.Options)
	case schema.Choices:
		bad = someOption(r.col, r.c.Options)
	default:
		return nil
	}
	if p.NotOption == Blank {
		r.add(bad, "NULL", r.col+" || ' is not an option: left empty'")
		return nil
	}
	value, err := valueOf(r.c, p.NotOption)
	if err != nil {
		return err
	}
	r.add(bad, value, fmt.Sprintf("%s || ' is not an option: set to %s'", r.col, p.NotOption))
	return nil
}

func (r *repairer) outOfRange(p Policy) error {
	low, high, least, most := r.bounds()
	if p.OutOfRange == "" || p.OutOfRange == KeepHold || low == "" && high == "" {
		return nil
	}
	for _, end := range []struct{ bad, clamped string }{{low, least}, {high, most}} {
		if end.bad == "" {
			continue
		}
		value, shown := end.clamped, "the nearest that is allowed"
		switch p.OutOfRange {
		case Clamp:
		case Blank:
			value, shown = "NULL", "left empty"
		default:
			v, err := valueOf(r.c, p.OutOfRange)
			if err != nil {
				return err
			}
			value, shown = v, "set to "+p.OutOfRange
		}
		r.add(end.bad, value, fmt.Sprintf("CAST(%s AS VARCHAR) || %s", r.col, mapping.Quote(" is out of range: "+shown)))
	}
	return nil
}

// bounds are the predicates of a value that is too low and too high, and the nearest
// values that are allowed.
func (r *repairer) bounds() (low, high, least, most string) {
	switch r.c.Type {
	case schema.Integer, schema.BigInt, schema.Decimal, schema.Float, schema.Money:
		if r.c.Min != nil {
			low, least = below(r.col, *r.c.Min), number(*r.c.Min)
		}
		if r.c.Max != nil {
			high, most = above(r.col, *r.c.Max), number(*r.c.Max)
		}
	case schema.DateTime:
		return beforeFirst(r.col), afterLast(r.col), "DATE '" + firstDate + "'", "DATE '" + lastDate + "'"
	}
	return low, high, least, most
}

func (r *repairer) empty(p Policy) error {
	if p.Empty == "" || p.Empty == KeepHold {
		return nil
	}
	value, err := valueOf(r.c, p.Empty)
	if err != nil {
		return err
	}
	r.add(r.col+" IS NULL", value, mapping.Quote("was empty: set to "+p.Empty))
	return nil
}

// valueOf is a policy's value as SQL of the column's type.
func valueOf(c mapping.Column, value string) (string, error) {
	switch c.Type {
	case schema.Choice, schema.State, schema.Status:
		n, err := strconv.ParseInt(value, 10, 32)
		if err != nil {
			return "", fmt.Errorf("%q is not the number of an option", value)
		}
		if len(c.Options) > 0 && c.Option(int32(n)) == nil {
			return "", fmt.Errorf("%s is not an option; known are %s", value, optionList(c.Options))
		}
	case schema.Choices:
		for part := range strings.SplitSeq(value, ",") {
			n, err := strconv.ParseInt(strings.TrimSpace(part), 10, 32)
			if err != nil || len(c.Options) > 0 && c.Option(int32(n)) == nil {
				return "", fmt.Errorf("%q is not the number of an option; known are %s", part, optionList(c.Options))
			}
		}
	case schema.Integer, schema.BigInt, schema.Decimal, schema.Float, schema.Money:
		if _, err := strconv.ParseFloat(value, 64); err != nil {
			return "", fmt.Errorf("%q is not a number", value)
		}
	case schema.YesNo:
		if _, err := strconv.ParseBool(value); err != nil {
			return "", fmt.Errorf("%q is neither true nor false", value)
		}
	case schema.Text, schema.Memo:
		if n := len([]rune(value)); c.MaxLength > 0 && n > c.MaxLength {
			return "", fmt.Errorf("the value is itself longer than %d characters", c.MaxLength)
		}
	}
	return "CAST(" + mapping.Quote(value) + " AS " + c.SQLType + ")", nil
}
