package emulator

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"dvmigrate/appliance/dataverse/schema"
)

// fetchTest tells whether a joined row satisfies a filter.
type fetchTest func(tx *tx, j joined) bool

func (q *fetchQuery) bindFilter(f *fetchFilter, at int) (fetchTest, error) {
	either := f.Type == "or"
	var tests []fetchTest
	for i := range f.Conditions {
		t, err := q.bindCondition(&f.Conditions[i], at)
		if err != nil {
			return nil, err
		}
		tests = append(tests, t)
	}
	for i := range f.Filters {
		t, err := q.bindFilter(&f.Filters[i], at)
		if err != nil {
			return nil, err
		}
		tests = append(tests, t)
	}
	for i := range f.Links {
		sub, err := q.bindSub(&f.Links[i], at)
		if err != nil {
			return nil, err
		}
		tests = append(tests, func(tx *tx, j joined) bool { return j[at].t != nil && sub.holds(tx, j[at]) })
	}
	if len(tests) == 0 {
		return func(*tx, joined) bool { return true }, nil
	}
	return func(tx *tx, j joined) bool {
		for _, t := range tests {
			if t(tx, j) == either {
				return either
			}
		}
		return !either
	}, nil
}

// bindCondition compiles one condition, on the entity it stands in or on the link
// that entityname names.
func (q *fetchQuery) bindCondition(c *fetchCondition, at int) (fetchTest, error) {
	if c.EntityName != "" {
		var err error
		if at, err = q.nodeOf(c.EntityName); err != nil {
			return nil, err
		}
	}
	col, err := q.nodes[at].t.fetchColumn(c.Attribute)
	if err != nil {
		return nil, err
	}
	out := fetchOutput{node: at, col: col}
	if c.ValueOf != "" {
		return q.bindValueOf(c, out)
	}
	if fn := fetchIdentities[c.Operator]; fn != "" {
		return q.bindIdentity(c, fn, out)
	}
	test, err := q.bindOperator(c, col)
	if err != nil {
		return nil, err
	}
	return func(_ *tx, j joined) bool { return test(out.value(j)) }, nil
}

// bindValueOf compiles the comparison with another column: of the same row, or of a
// link when it is written alias.column.
func (q *fetchQuery) bindValueOf(c *fetchCondition, out fetchOutput) (fetchTest, error) {
	other := fetchOutput{node: out.node}
	name := c.ValueOf
	if alias, column, ok := strings.Cut(name, "."); ok {
		var err error
		if other.node, err = q.nodeOf(alias); err != nil {
			return nil, err
		}
		name = column
	}
	var err error
	if other.col, err = q.nodes[other.node].t.fetchColumn(name); err != nil {
		return nil, err
	}
	op := fetchComparators[c.Operator]
	if op == "" || edmType(out.col) != edmType(other.col) {
		return nil, errorf(http.StatusBadRequest, "0x80040203", "The condition operator '%s' cannot compare attribute '%s' with '%s'.", clip(c.Operator), c.Attribute, clip(c.ValueOf))
	}
	texts := q.call.srv.model.texts
	return func(_ *tx, j joined) bool { return texts.holds(op, out.value(j), other.value(j)) }, nil
}

// fetchIdentities are the operators about the caller and about hierarchies, by the
// query functions that they are.
var fetchIdentities = map[string]string{
	"eq-userid": "EqualUserId", "ne-userid": "NotEqualUserId", "eq-businessid": "EqualBusinessId", "ne-businessid": "NotEqualBusinessId",
	"eq-userteams": "EqualUserTeams", "eq-useroruserteams": "EqualUserOrUserTeams", "eq-useroruserhierarchy": "EqualUserOrUserHierarchy",
	"eq-useroruserhierarchyandteams": "EqualUserOrUserHierarchyAndTeams", "under": "Under", "eq-or-under": "UnderOrEqual",
	"not-under": "NotUnder", "above": "Above", "eq-or-above": "AboveOrEqual",
}

func (q *fetchQuery) bindIdentity(c *fetchCondition, fn string, out fetchOutput) (fetchTest, error) {
	var values []value
	for _, text := range c.texts() {
		v, ok := fetchValue(out.col, text)
		if !ok {
			return nil, errFetchValue(c, text)
		}
		values = append(values, v)
	}
	test := identityTest(fn, out.col, q.call.user, values)
	if test == nil {
		return nil, errFetchOperator(c, len(values))
	}
	return func(tx *tx, j joined) bool { return test(tx, out.value(j)) }, nil
}

// texts are the condition's values, however they are given.
func (c *fetchCondition) texts() []string {
	if c.Value != nil {
		return append([]string{*c.Value}, c.Values...)
	}
	return c.Values
}

func errFetchValue(c *fetchCondition, text string) *apiError {
	return errorf(http.StatusBadRequest, "0x80040203", "The value '%s' of condition '%s' is not valid for attribute '%s'.", clip(text), clip(c.Operator), c.Attribute)
}

func errFetchOperator(c *fetchCondition, n int) *apiError {
	return errFetch("The condition operator '%s' is not supported for attribute '%s' with %d values.", clip(c.Operator), c.Attribute, n)
}

var fetchComparators = map[string]string{"eq": "eq", "ne": "ne", "neq": "ne", "gt": "gt", "ge": "ge", "lt": "lt", "le": "le"}

// bindOperator compiles the comparison of one value.
func (q *fetchQuery) bindOperator(c *fetchCondition, col *column) (func(value) bool, error) {
	given, texts := c.texts(), q.call.srv.model.texts
	switch c.Operator {
	case "null":
		return value.isNull, nil
	case "not-null":
		return func(v value) bool { return !v.isNull() }, nil
	case "like", "not-like", "begins-with", "not-begin-with", "ends-with", "not-end-with":
		return bindLike(texts, c.Operator, given)
	}
	if test := q.bindDate(c.Operator, col, given); test != nil {
		return test, nil
	}
	values := make([]value, len(given))
	for i, text := range given {
		v, ok := fetchValue(col, text)
		if !ok {
			return nil, errFetchValue(c, text)
		}
		values[i] = v
	}
	if op := fetchComparators[c.Operator]; op != "" && len(values) == 1 {
		return func(v value) bool { return texts.holds(op, v, values[0]) }, nil
	}
	if test := setTest(texts, fetchSets[c.Operator], col, values); test != nil {
		return test, nil
	}
	return nil, errFetchOperator(c, len(values))
}

var fetchSets = map[string]string{"in": "In", "not-in": "NotIn", "between": "Between", "not-between": "NotBetween",
	"contain-values": "ContainValues", "not-contain-values": "DoesNotContainValues"}

// bindLike compiles the operators on text. like takes % for any text, _ for any
// character and [a-c] or [^a-c] for one of a set or one outside it.
func bindLike(k *collation, op string, texts []string) (func(value) bool, error) {
	if len(texts) != 1 {
		return nil, errFetch("The condition operator '%s' needs one value.", op)
	}
	pattern := k.fold(texts[0])
	switch op {
	case "begins-with", "not-begin-with":
		pattern += "%"
	case "ends-with", "not-end-with":
		pattern = "%" + pattern
	}
	want := !strings.HasPrefix(op, "not-")
	return func(v value) bool {
		return (!v.isNull() && likeMatch(pattern, k.fold(v.String()))) == want
	}, nil
}

// likeMatch matches a pattern of LIKE, going back to the last % where it must.
func likeMatch(pattern, text string) bool {
	p, t := []rune(pattern), []rune(text)
	star, mark := -1, 0
	i, j := 0, 0
	for j < len(t) {
		switch {
		case i < len(p) && p[i] == '%':
			star, mark = i, j
			i++
		case i < len(p) && likeOne(p[i:], t[j]) > 0:
			i, j = i+likeOne(p[i:], t[j]), j+1
		case star >= 0:
			mark++
			i, j = star+1, mark
		default:
			return false
		}
	}
	return strings.Trim(string(p[i:]), "%") == ""
}

// likeOne reports how many characters of the pattern match the one of the text: one,
// or a set between brackets; 0 where it does not match.
func likeOne(p []rune, c rune) int {
	end := slices.Index(p, ']')
	if p[0] != '[' || end < 2 {
		if p[0] == '_' || p[0] == c {
			return 1
		}
		return 0
	}
	set := p[1:end]
	not := set[0] == '^'
	if not {
		set = set[1:]
	}
	in := false
	for len(set) > 0 {
		from, to := set[0], set[0]
		set = set[1:]
		if len(set) > 1 && set[0] == '-' {
			to, set = set[1], set[2:]
		}
		in = in || from <= c && c <= to
	}
	if in == not {
		return 0
	}
	return end + 1
}

// bindDate compiles the operators about time, which are the query functions under
// other names: last-x-days is LastXDays.
func (q *fetchQuery) bindDate(op string, c *column, texts []string) func(value) bool {
	if k := valueKind(c); k != kindTime && k != kindDate {
		return nil
	}
	name := ""
	for part := range strings.SplitSeq(strings.Replace(op, "olderthan", "older-than", 1), "-") {
		if part != "" {
			name += strings.ToUpper(part[:1]) + part[1:]
		}
	}
	name = strings.Replace(name, "Seven", "7", 1)
	var values []value
	for _, text := range texts[:min(len(texts), 2)] {
		if n, err := strconv.Atoi(text); err == nil {
			values = append(values, intValue(int64(n)))
		} else if v, ok := fetchValue(c, text); ok {
			values = append(values, v)
		}
	}
	return dateTest(name, q.call.srv.store.now(), values)
}

// fetchValue reads a condition's text in the form of the column's values. A yes/no
// is 0, 1, false or true; a GUID may stand in braces; a date may have a time.
func fetchValue(c *column, text string) (value, bool) {
	switch valueKind(c) {
	case kindText:
		return textValue(text), true
	case kindBool:
		return boolValue(text == "1" || text == "true"), text == "0" || text == "1" || text == "true" || text == "false"
	case kindGUID, kindRef:
		g, err := schema.ParseGUID(strings.Trim(text, "{}"))
		return guidValue(g), err == nil
	case kindTime, kindDate:
		n, ok := parseTime(strings.Replace(text, " ", "T", 1))
		if valueKind(c) == kindDate {
			return value{kind: kindDate, n: time.Unix(n, 0).UTC().Truncate(24*time.Hour).Unix() / 86400}, ok
		}
		return value{kind: kindTime, n: n}, ok
	}
	return literalFor(c, literal{kind: litNumber, text: text})
}
