package emulator

import (
	"math/big"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"dvmigrate/appliance/dataverse/schema"
)

// maxAggregate is how many rows an aggregate may take in (section 10.5).
const maxAggregate = 50_000

func errAggregateLimit() *apiError {
	return errorf(http.StatusBadRequest, "0x8004E023", "The maximum record limit is exceeded. Reduce the number of records.")
}

// aggregation is one figure of a group, for $apply and FetchXML alike.
type aggregation struct {
	method string  // count, countcolumn, countdistinct, sum, average, min or max
	col    *column // what is aggregated; nil for count
	alias  string
}

// groups gathers rows into groups by the values of their keys.
type groups struct {
	texts *collation
	aggs  []aggregation
	list  []*group
	index map[string]*group
	rows  int
	limit int
}

type group struct {
	keys   []value
	totals []total
}

// total is an aggregation under way.
type total struct {
	n        int
	sum      *big.Rat
	least    value
	most     value
	distinct map[string]bool
}

func newGroups(texts *collation, aggs []aggregation) *groups {
	return &groups{texts: texts, aggs: aggs, index: map[string]*group{}, limit: maxAggregate}
}

// add takes in one row: its keys, and one value an aggregation.
func (g *groups) add(keys, vals []value) error {
	if g.rows++; g.rows > g.limit {
		return errAggregateLimit()
	}
	var b strings.Builder
	for _, k := range keys {
		b.WriteString(strconv.Itoa(int(k.kind)) + g.texts.key(k.String()) + "\x00")
	}
	of := g.index[b.String()]
	if of == nil {
		of = &group{keys: slices.Clone(keys), totals: make([]total, len(g.aggs))}
		g.index[b.String()] = of
		g.list = append(g.list, of)
	}
	for i := range g.aggs {
		of.totals[i].add(g.texts, g.aggs[i], vals[i])
	}
	return nil
}

func (t *total) add(texts *collation, a aggregation, v value) {
	if a.method != "count" && v.isNull() {
		return
	}
	t.n++
	switch a.method {
	case "countdistinct":
		if t.distinct == nil {
			t.distinct = map[string]bool{}
		}
		t.distinct[texts.key(v.String())] = true
	case "sum", "average":
		if t.sum == nil {
			t.sum = new(big.Rat)
		}
		if n, ok := new(big.Rat).SetString(v.String()); ok {
			t.sum.Add(t.sum, n)
		}
	case "min":
		if t.least.isNull() || texts.compareValues(v, t.least) < 0 {
			t.least = v
		}
	case "max":
		if t.most.isNull() || texts.compareValues(v, t.most) > 0 {
			t.most = v
		}
	}
}

// result is the aggregation's value: null for a sum, average, least or most of
// nothing.
func (t *total) result(a aggregation) value {
	switch a.method {
	case "countdistinct":
		return intValue(int64(len(t.distinct)))
	case "min":
		return t.least
	case "max":
		return t.most
	case "sum", "average":
		if t.sum == nil {
			return value{}
		}
		sum := t.sum
		if a.method == "average" {
			sum = new(big.Rat).Quo(sum, new(big.Rat).SetInt64(int64(t.n)))
		}
		switch {
		case sum.IsInt() && valueKind(a.col) == kindInt:
			return intValue(sum.Num().Int64())
		case valueKind(a.col) == kindFloat:
			f, _ := sum.Float64()
			return floatValue(f)
		}
		d, _ := canonicalDecimal(sum.FloatString(10))
		return decimalValue(d)
	}
	return intValue(int64(t.n))
}

// checkAggregation says whether a method goes with a column's type.
func checkAggregation(a aggregation) error {
	switch valueKind(a.col) {
	case kindInt, kindDecimal, kindFloat:
		return nil
	case kindTime, kindDate:
		if a.method == "min" || a.method == "max" {
			return nil
		}
	}
	if a.method == "sum" || a.method == "average" || a.method == "min" || a.method == "max" {
		return errorf(http.StatusBadRequest, "0x80040203", "Aggregate %s is not supported for attribute of type %s.", a.method, attributeKinds[a.col.Type].code)
	}
	return nil
}

// isMoney reports whether a result is answered as money.
func (a aggregation) isMoney() bool { return a.col != nil && a.col.Type == schema.Money }
