package emulator

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"dvmigrate/appliance/dataverse/schema"
)

// bindCRMTest compiles a query function of the service (section 10.1). A lookup may
// be named as its column is, without _ and _value.
func (b binding) bindCRMTest(n crmTest) (predicate, error) {
	a, err := b.t.resolve(b.t.wirePath(n.path))
	if err != nil {
		return nil, err
	}
	values := make([]value, len(n.values))
	for i, l := range n.values {
		if takesNumber(n.fn) && (l.kind == litNumber || l.kind == litString) {
			x, err := strconv.Atoi(l.text)
			if err != nil {
				return nil, errorf(http.StatusBadRequest, "0x80040203", "The value '%s' of function '%s%s' is not valid for the property '%s'.", clip(l.text), namespace, n.fn, n.path)
			}
			values[i] = intValue(int64(x))
			continue
		}
		v, ok := textFor(a.col, l)
		if !ok {
			return nil, errorf(http.StatusBadRequest, "0x80040203", "The value '%s' of function '%s%s' is not valid for the property '%s'.", l.text, namespace, n.fn, n.path)
		}
		values[i] = v
	}
	test := setTest(b.t.texts, n.fn, a.col, values)
	if k := valueKind(a.col); test == nil && (k == kindTime || k == kindDate) {
		test = dateTest(n.fn, b.now, values)
	}
	if test != nil {
		return func(tx *tx, r row) bool { return test(a.value(tx, r)) }, nil
	}
	if test := identityTest(n.fn, a.col, b.user, values); test != nil {
		return func(tx *tx, r row) bool { return test(tx, a.value(tx, r)) }, nil
	}
	return nil, errURL("The function '%s%s' is not supported for the property '%s' with %d values.", namespace, n.fn, n.path, len(values))
}

// setTest is the functions that compare with a list of values; nil for others.
func setTest(texts *collation, fn string, c *column, values []value) func(value) bool {
	among := func(v value) bool {
		return slices.ContainsFunc(values, func(w value) bool { return !v.isNull() && !w.isNull() && texts.sameValues(v, w) })
	}
	switch fn {
	case "In", "NotIn":
		if k := valueKind(c); len(values) > 8 && k != kindDecimal && k != kindFloat {
			among = texts.amongMany(values)
		}
		return func(v value) bool { return among(v) == (fn == "In") }
	case "Between", "NotBetween":
		if len(values) != 2 {
			return nil
		}
		return func(v value) bool {
			return !v.isNull() && (texts.compareValues(v, values[0]) >= 0 && texts.compareValues(v, values[1]) <= 0) == (fn == "Between")
		}
	case "ContainValues", "DoesNotContainValues":
		if c.Type != schema.Choices {
			return nil
		}
		return func(v value) bool {
			has := slices.ContainsFunc(strings.Split(v.text, ","), func(part string) bool {
				return part != "" && among(textValue(part))
			})
			return has == (fn == "ContainValues")
		}
	}
	return nil
}

// amongMany looks values up in a set: a loader asks for hundreds at a time.
func (k *collation) amongMany(values []value) func(value) bool {
	set := make(map[value]bool, len(values))
	bare := func(v value) value {
		return value{n: v.n, text: k.key(v.text), guid: v.guid}
	}
	for _, v := range values {
		set[bare(v)] = true
	}
	return func(v value) bool { return !v.isNull() && set[bare(v)] }
}

// dateTest is the functions that compare with a span of time, which is counted
// in UTC; a week begins on Sunday. nil for others.
func dateTest(fn string, now int64, values []value) func(value) bool {
	var day time.Time
	x := 0
	if len(values) == 1 {
		if values[0].kind == kindInt {
			x = int(values[0].n)
		} else {
			day = values[0].time().Truncate(24 * time.Hour)
		}
	}
	if test := fiscalTest(fn, time.Unix(now, 0).UTC(), values); test != nil {
		return test
	}
	from, to, ok := dateSpan(fn, time.Unix(now, 0).UTC(), day, x)
	if !ok {
		return nil
	}
	return func(v value) bool {
		if v.isNull() {
			return false
		}
		t := v.time()
		return (!t.Before(from) && t.Before(to)) != (fn == "NotOn")
	}
}

// The ends of time, for spans that are open to one side.
var (
	always = time.Date(1, 1, 1, 0, 0, 0, 0, time.UTC)
	never  = time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)
)

// dateSpan is the time from, and up to but not including, that a function means.
func dateSpan(fn string, now, day time.Time, x int) (from, to time.Time, ok bool) {
	today := now.Truncate(24 * time.Hour)
	week := today.AddDate(0, 0, -int(today.Weekday()))
	month := time.Date(today.Year(), today.Month(), 1, 0, 0, 0, 0, time.UTC)
	year := time.Date(today.Year(), 1, 1, 0, 0, 0, 0, time.UTC)
	switch fn {
	case "On", "NotOn":
		return day, day.AddDate(0, 0, 1), !day.IsZero()
	case "OnOrAfter":
		return day, never, !day.IsZero()
	case "OnOrBefore":
		return always, day.AddDate(0, 0, 1), !day.IsZero()
	case "Today":
		return today, today.AddDate(0, 0, 1), true
	case "Yesterday":
		return today.AddDate(0, 0, -1), today, true
	case "Tomorrow":
		return today.AddDate(0, 0, 1), today.AddDate(0, 0, 2), true
	case "Last7Days":
		return today.AddDate(0, 0, -7), now.Add(time.Second), true
	case "Next7Days":
		return now, today.AddDate(0, 0, 8), true
	case "LastWeek", "ThisWeek", "NextWeek":
		n := 7 * shift(fn)
		return week.AddDate(0, 0, n), week.AddDate(0, 0, n+7), true
	case "LastMonth", "ThisMonth", "NextMonth":
		n := shift(fn)
		return month.AddDate(0, n, 0), month.AddDate(0, n+1, 0), true
	case "LastYear", "ThisYear", "NextYear":
		n := shift(fn)
		return year.AddDate(n, 0, 0), year.AddDate(n+1, 0, 0), true
	}
	return dateSpanOfX(fn, now, today, x)
}

func shift(fn string) int {
	switch fn[:4] {
	case "Last":
		return -1
	case "Next":
		return 1
	}
	return 0
}

// dateSpanOfX is LastX…, NextX… and OlderThanX… of a unit.
func dateSpanOfX(fn string, now, today time.Time, x int) (from, to time.Time, ok bool) {
	kind, unit, found := strings.Cut(fn, "X")
	if !found || x <= 0 {
		return from, to, false
	}
	move := func(t time.Time, n int) time.Time {
		switch unit {
		case "Minutes":
			return t.Add(time.Duration(n) * time.Minute)
		case "Hours":
			return t.Add(time.Duration(n) * time.Hour)
		case "Days":
			return t.AddDate(0, 0, n)
		case "Weeks":
			return t.AddDate(0, 0, 7*n)
		case "Months":
			return t.AddDate(0, n, 0)
		case "Years":
			return t.AddDate(n, 0, 0)
		}
		return time.Time{}
	}
	base := today
	if unit == "Minutes" || unit == "Hours" {
		base = now
	}
	switch kind {
	case "Last":
		from, to = move(base, -x), now.Add(time.Second)
	case "Next":
		from, to = now, move(base, x+1)
	case "OlderThan":
		from, to = always, move(now, -x)
	}
	return from, to, !from.IsZero() && !to.IsZero() || kind == "OlderThan" && !to.IsZero()
}
