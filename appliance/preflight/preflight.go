// Package preflight answers, before anything is sent: would every record be
// taken? It turns the schema's limits into SQL that the stage evaluates on every
// row (method.md M2.3), so that a row that Dataverse would refuse is found with its
// reason and costs no request.
//
// Each check has a stable id (DVM-LEN and so on, see Rules). Those that hold are
// evaluated while staging: a row that meets one is set aside. The others, and all
// again, are counted by `check --data`. A repair mends a row before it is judged, by
// a policy that the project states (method.md M7).
//
// It finds what metadata and the staged rows can tell. What only the service knows
// (plug-ins, privileges, alternate keys of records that are there already) it does
// not try to guess. Control characters the loader finds too, as it writes the text and
// at no cost, so that staging does not pay for a pattern match on every text.
package preflight

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"dvmigrate/appliance/dataverse/schema"
	"dvmigrate/appliance/mapping"
)

// The ids of the checks. They are part of messages, settings and reports, and never
// change their meaning.
const (
	Type       = "DVM-TYPE"    // not a value of the column's type (the stage's own)
	RecordID   = "DVM-ID"      // a kept record id that is missing or no GUID (the stage's own)
	Reference  = "DVM-LOOKUP"  // a lookup that cannot point there (the stage's own)
	Orphan     = "DVM-ORPHAN"  // a lookup to a row that is not staged (the stage's own)
	Length     = "DVM-LEN"     // longer than the column
	Range      = "DVM-RANGE"   // below the least or above the greatest value
	Date       = "DVM-DATE"    // outside of what Dataverse stores
	Choice     = "DVM-OPTION"  // no option of the choice
	Map        = "DVM-MAP"     // a text that its choice's map has no value for (the stage's own)
	Required   = "DVM-REQ"     // required by the service, and empty
	FileFault  = "DVM-FILE"    // a file that is missing, too large or of the wrong kind
	StatePair  = "DVM-STATE"   // a status reason of another state
	ASCII      = "DVM-ASCII"   // characters that an ASCII column does not take
	Characters = "DVM-CHAR"    // control characters, which the service refuses
	Future     = "DVM-FUTURE"  // a creation date that is still to come
	Unique     = "DVM-KEY"     // two rows with the same alternate key
	Accents    = "DVM-KEYACC"  // two rows whose alternate keys differ by accents only
	KeyText    = "DVM-KEYCHAR" // an alternate key that no URL can carry
	Business   = "DVM-REQBIZ"  // required by the business, and empty
	Currency   = "DVM-CURR"    // money without a currency
	Owner      = "DVM-OWNER"   // no owner: the loading user becomes it
	Ripple     = "DVM-RIPPLE"  // depends on a row that is held back
)

// Severity is what a check's finding means.
type Severity string

// The severities.
const (
	Hold    Severity = "hold"    // the row is set aside when it is staged
	Error   Severity = "error"   // the service would refuse the row; found by check --data
	Warning Severity = "warning" // the row is taken, but perhaps not as it was meant
)

// Rule describes one check.
type Rule struct {
	ID       string   `json:"id"`
	Severity Severity `json:"severity"`
	What     string   `json:"what"`
	Todo     string   `json:"todo"`
}

// Rules lists every check, in the order in which reports show them.
var Rules = []Rule{
	{Type, Hold, "the value is not of the column's type", "mend the transform, or set repair: {wrong_type: ...}"},
	{RecordID, Hold, "the record id is missing or is no GUID", "mend the transform, or leave ids to dvmigrate"},
	{Reference, Hold, "the lookup cannot point there", "mend ref() or existing() in the transform"},
	{Orphan, Hold, "the lookup points to a row that is not staged", "supply the row, yield NULL, or set repair: {no_target: ...}"},
	{Length, Hold, "the text is longer than the column", "shorten it, or set repair: {too_long: trim}"},
	{Range, Hold, "the number is outside of the column's range", "mend it, or set repair: {out_of_range: ...}"},
	{Date, Hold, "the date is outside of what Dataverse stores", "mend it, or set repair: {out_of_range: ...}"},
	{Choice, Hold, "the value is no option of the choice", "complete the map, or set repair: {not_option: ...}"},
	{Map, Hold, "the text has no value in the map of its choice", "add it to the sheet: dvmigrate options plan; or set repair: {not_option: ...}"},
	{Required, Hold, "the service requires a value", "supply one, or set repair: {empty: ...}"},
	{FileFault, Hold, "the file is missing, too large, or no image", "put it into the folder of the files, or mend file() in the transform"},
	{StatePair, Hold, "the status reason belongs to another state", "mend statecode and statuscode"},
	{ASCII, Hold, "the text has characters that are not ASCII", "replace them in the transform"},
	{Characters, Error, "the text has control characters, which the service refuses", "take them out with regexp_replace in the transform"},
	{Future, Error, "the creation date lies in the future", "mend overriddencreatedon"},
	{Unique, Error, "rows have the same alternate key, or match the same record (without regard to case and blanks at the end)", "merge the rows, or make the key unique"},
	{Accents, Error, "rows have alternate keys, or values of match, that differ by accents only (or ß for ss), which the environment does not tell apart (or most do not, while its language is not known)", "make the keys differ; `dvmigrate target pull` asks for the language"},
	{KeyText, Warning, "the alternate key has characters that no URL can carry: / < > * % & : \\ ? +", "address such records by their id"},
	{Business, Warning, "required by the business, and empty: the service takes it, people will complain", "supply a value, or set repair: {empty: ...}"},
	{Currency, Warning, "money without a currency gets the loading user's own", "yield transactioncurrencyid"},
	{Owner, Warning, "without an owner the loading user becomes it", "yield ownerid, or set repair: {empty: ...}"},
	{Ripple, Error, "the row depends on one that is held back, and will be held too", "mend the row that it depends on"},
}

// RuleOf finds a check by its id.
func RuleOf(id string) (Rule, bool) {
	for _, r := range Rules {
		if r.ID == id {
			return r, true
		}
	}
	return Rule{}, false
}

// Check is one condition under which a staged row would be refused, or not taken as it
// was meant.
type Check struct {
	ID      string
	Column  string
	Bad     string // SQL predicate over the staged row's columns; true = found
	Message string // SQL expression that says why; the column's name is put before it
}

// Checks lists the conditions that set a row of one table aside while it is staged,
// without those in skip.
func Checks(t *mapping.Table, skip []string) []Check {
	b := builder{skip: skip}
	for _, c := range t.Columns {
		b.column(c)
		if t.ServerIDs && slices.Contains(t.Match, c.LogicalName) {
			b.add(Required, c.LogicalName, mapping.Ident(c.LogicalName)+" IS NULL OR CAST("+mapping.Ident(c.LogicalName)+" AS VARCHAR) = ''",
				"'is empty, and without it nobody could tell the record from others (match)'")
		}
	}
	b.statePair(t)
	return b.checks
}

// builder gathers checks.
type builder struct {
	skip   []string
	checks []Check
}

func (b *builder) add(id, column, bad, message string) {
	for _, s := range b.skip {
		if s == id {
			return
		}
	}
	b.checks = append(b.checks, Check{ID: id, Column: column, Bad: bad, Message: message})
}

func (b *builder) column(c mapping.Column) {
	col, name := mapping.Ident(c.LogicalName), c.LogicalName
	if c.File {
		b.file(c)
		return
	}
	switch c.Type {
	case schema.Text, schema.Memo:
		if c.MaxLength > 0 {
			b.add(Length, name, tooLong(col, c.MaxLength), fmt.Sprintf("'longer than %d characters: ' || %s", c.MaxLength, units(col)))
		}
		if c.ASCII {
			b.add(ASCII, name, fmt.Sprintf("strlen(%s) <> length(%s)", col, col), "'has characters that are not ASCII, which the column does not take'")
		}
	case schema.Choice, schema.State, schema.Status:
		if len(c.Options) > 0 {
			b.add(Choice, name, noOption(col, c.Options), fmt.Sprintf("%s || ' is not an option; known are %s'", col, optionList(c.Options)))
		}
	case schema.Choices:
		if len(c.Options) > 0 {
			b.add(Choice, name, someOption(col, c.Options),
				fmt.Sprintf("%s || ' has a value that is not an option; known are %s'", col, optionList(c.Options)))
		}
		b.add(Choice, name, fmt.Sprintf("len(string_split(%s, ',')) > %d", col, maxSelections), fmt.Sprintf("'more than %d options are selected'", maxSelections))
	case schema.Integer, schema.BigInt, schema.Decimal, schema.Float, schema.Money:
		if c.Min != nil {
			b.add(Range, name, below(col, *c.Min), fmt.Sprintf("%s || ' is below the minimum %s'", col, number(*c.Min)))
		}
		if c.Max != nil {
			b.add(Range, name, above(col, *c.Max), fmt.Sprintf("%s || ' is above the maximum %s'", col, number(*c.Max)))
		}
	case schema.DateTime:
		b.add(Date, name, beforeFirst(col), fmt.Sprintf("%s || ' is before %s, the earliest date'", col, firstDate))
		b.add(Date, name, afterLast(col), fmt.Sprintf("%s || ' is after %s, the latest date'", col, lastDate))
	}
	if c.Required == schema.SystemRequired && c.Default == nil && !isOurs(c) {
		b.add(Required, name, col+" IS NULL", "'is required by Dataverse but empty'")
	}
}

// maxSelections is how many options of a multi-select choice a record may have
// (dataverse-web-api.md 4.1).
const maxSelections = 150

// The dates that Dataverse stores (dataverse-web-api.md 4.4).
const firstDate, lastDate = "1753-01-01", "9999-12-30"

// units is the length of a text as Dataverse counts it: in UTF-16 units, of which the
// characters beyond the basic plane take two (dataverse-web-api.md 4.2).
func units(col string) string {
	return fmt.Sprintf(`(length(%[1]s) + length(regexp_replace(%[1]s, '[^\x{10000}-\x{10FFFF}]', '', 'g')))`, col)
}

// tooLong tells a text that is longer. A UTF-16 unit is never less than a byte of UTF-8,
// so strlen settles most rows without counting characters; CASE, because AND would
// count all the same.
func tooLong(col string, limit int) string {
	return fmt.Sprintf("CASE WHEN strlen(%[1]s) > %[2]d THEN %[3]s > %[2]d ELSE false END", col, limit, units(col))
}

// someOption holds where one of several selected values is no option.
func someOption(col string, options []schema.Option) string {
	return fmt.Sprintf("len(list_filter(string_split(%s, ','), x -> TRY_CAST(x AS INTEGER) IS NULL OR TRY_CAST(x AS INTEGER) NOT IN (%s))) > 0", col, optionList(options))
}

func noOption(col string, options []schema.Option) string {
	return fmt.Sprintf("%s NOT IN (%s)", col, optionList(options))
}

func below(col string, least float64) string    { return col + " < " + number(least) }
func above(col string, greatest float64) string { return col + " > " + number(greatest) }
func beforeFirst(col string) string             { return col + " < DATE '" + firstDate + "'" }
func afterLast(col string) string               { return "CAST(" + col + " AS DATE) > DATE '" + lastDate + "'" }

// statePair checks that a status reason belongs to the state beside it, or without one to
// the state that a new record has (dataverse-web-api.md 4.5). A record that is matched may
// have another.
func (b *builder) statePair(t *mapping.Table) {
	var state, status *mapping.Column
	for i := range t.Columns {
		switch t.Columns[i].Type {
		case schema.State:
			state = &t.Columns[i]
		case schema.Status:
			status = &t.Columns[i]
		}
	}
	if state == nil || status == nil {
		return
	}
	byState := map[int32][]schema.Option{}
	var order []int32
	for _, o := range status.Options {
		if o.State == nil {
			continue
		}
		if byState[*o.State] == nil {
			order = append(order, *o.State)
		}
		byState[*o.State] = append(byState[*o.State], o)
	}
	stateCol, statusCol := mapping.Ident(state.LogicalName), mapping.Ident(status.LogicalName)
	var cases []string
	for _, s := range order {
		cases = append(cases, fmt.Sprintf("WHEN %s = %d THEN %s", stateCol, s, noOption(statusCol, byState[s])))
	}
	if len(t.Match) == 0 && len(byState[0]) > 0 {
		cases = append(cases, fmt.Sprintf("WHEN %s IS NULL THEN %s", stateCol, noOption(statusCol, byState[0])))
	}
	if len(cases) > 0 {
		b.add(StatePair, status.LogicalName, "CASE "+strings.Join(cases, " ")+" ELSE false END",
			fmt.Sprintf("%s || ' is no status reason of state ' || coalesce(CAST(%s AS VARCHAR), '0, which a record has without statecode')", statusCol, stateCol))
	}
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
