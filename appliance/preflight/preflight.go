// Package preflight answers, before anything is sent: would every record be
// taken? It turns the schema's limits into SQL predicates that the stage
// evaluates on every row as it is staged (method.md M2.3), so that a row that
// Dataverse would refuse is set aside with its reason and costs no request.
//
// It finds what metadata can tell: length, range, choice values, dates before
// 1753, system-required columns left empty. What only the service knows (plug-ins,
// privileges, alternate keys of records that are there already) it does not try
// to guess; nor does it look for control characters: the loader does, as it writes the
// text and at no cost, where a pattern match on every text here would have its price.
package preflight

import (
	"fmt"
	"strconv"
	"strings"

	"dvmigrate/appliance/dataverse/schema"
	"dvmigrate/appliance/mapping"
)

// Check is one condition under which a staged row would be refused.
type Check struct {
	Column  string
	Bad     string // SQL predicate over the staged row's columns; true = refused
	Message string // SQL expression that says why; the column's name is put before it
}

// Checks lists the conditions for the records of one table.
func Checks(t *mapping.Table) []Check {
	var checks []Check
	for _, c := range t.Columns {
		checks = append(checks, columnChecks(c)...)
	}
	return checks
}

func columnChecks(c mapping.Column) []Check {
	col, name := mapping.Ident(c.LogicalName), c.LogicalName
	var checks []Check
	add := func(bad, message string) {
		checks = append(checks, Check{Column: name, Bad: bad, Message: message})
	}
	switch c.Type {
	case schema.Text, schema.Memo:
		// Length counts UTF-16 units (dataverse-web-api.md 4.2): two for a character
		// beyond U+FFFF. No text has more units than bytes, so strlen settles most rows
		// without counting.
		if c.MaxLength > 0 {
			units := fmt.Sprintf(`(length(%[1]s) + length(regexp_replace(%[1]s, '[^\x{10000}-\x{10FFFF}]', '', 'g')))`, col)
			add(fmt.Sprintf("CASE WHEN strlen(%s) > %d THEN %s > %d ELSE false END", col, c.MaxLength, units, c.MaxLength),
				fmt.Sprintf("'longer than %d characters: ' || %s", c.MaxLength, units))
		}
		if c.ASCII {
			add(fmt.Sprintf("strlen(%s) <> length(%s)", col, col), "'has characters that are not ASCII, which the column does not take'")
		}
	case schema.Choice, schema.State, schema.Status:
		if len(c.Options) > 0 {
			add(fmt.Sprintf("%s NOT IN (%s)", col, optionList(c.Options)),
				fmt.Sprintf("%s || ' is not an option; known are %s'", col, optionList(c.Options)))
		}
	case schema.Choices:
		if len(c.Options) > 0 {
			add(fmt.Sprintf(`len(list_filter(string_split(%s, ','), x -> TRY_CAST(x AS INTEGER) IS NULL OR TRY_CAST(x AS INTEGER) NOT IN (%s))) > 0`, col, optionList(c.Options)),
				fmt.Sprintf("%s || ' has a value that is not an option; known are %s'", col, optionList(c.Options)))
		}
	case schema.Integer, schema.BigInt, schema.Decimal, schema.Float, schema.Money:
		if c.Min != nil {
			add(fmt.Sprintf("%s < %s", col, number(*c.Min)), fmt.Sprintf("%s || ' is below the minimum %s'", col, number(*c.Min)))
		}
		if c.Max != nil {
			add(fmt.Sprintf("%s > %s", col, number(*c.Max)), fmt.Sprintf("%s || ' is above the maximum %s'", col, number(*c.Max)))
		}
	case schema.DateTime: // dataverse-web-api.md 4.4
		add(fmt.Sprintf("%s < DATE '1753-01-01'", col), fmt.Sprintf("%s || ' is before 1753-01-01, the earliest date'", col))
	}
	if c.Required == schema.SystemRequired && c.Default == nil && !isOurs(c) {
		add(col+" IS NULL", "'is required by Dataverse but empty'")
	}
	return checks
}

// isOurs reports whether an empty required column is filled by the service.
func isOurs(c mapping.Column) bool {
	return c.Type == schema.State || c.Type == schema.Status || c.Type == schema.UniqueID || c.AutoNumber != ""
}

func optionList(options []schema.Option) string {
	values := make([]string, len(options))
	for i, o := range options {
		values[i] = strconv.Itoa(int(o.Value))
	}
	return strings.Join(values, ", ")
}

// number writes a limit so that SQL compares it exactly with decimals.
func number(f float64) string { return strconv.FormatFloat(f, 'f', -1, 64) }
