package emulator

import (
	"net/http"
	"slices"
	"strings"

	"dvmigrate/appliance/dataverse/schema"
)

// appliedQuery is a $apply: filter(…), groupby((…),aggregate(…)) and aggregate(…),
// with slashes between (section 10.5). A filter comes before the others.
type appliedQuery struct {
	filters []node
	keys    []accessor
	names   []string // of the keys, as answered
	aggs    []aggregation
	grouped bool
	fetched bool // it is FetchXML, which may order by an aggregate
}

// getApplied answers a $apply.
func (c *call) getApplied(t *table, o options) error {
	if o.expand != nil || o.columns != nil || o.token != "" {
		return errURL("The query options $select, $expand and $skiptoken are not supported with $apply.")
	}
	a, err := c.parseApply(t, o.apply)
	if err != nil {
		return err
	}
	if o.filter != nil {
		a.filters = append(a.filters, o.filter)
	}
	for i, f := range a.filters {
		if i == 0 {
			o.filter = f
		} else {
			o.filter = logical{terms: []node{o.filter, f}}
		}
	}
	order := o.order
	o.order = nil
	q, err := c.bindQuery(t, o, false)
	if err != nil {
		return err
	}
	g := newGroups(c.srv.model.texts, a.aggs)
	vals := make([]value, len(a.aggs))
	keys := make([]value, len(a.keys))
	var tooMany error
	err = q.each(c, nil, schema.GUID{}, func(tx *tx, r row) bool {
		for i, k := range a.keys {
			keys[i] = k.value(tx, r)
		}
		for i, agg := range a.aggs {
			if agg.col != nil {
				vals[i] = r.value(agg.col)
			}
		}
		tooMany = g.add(keys, vals)
		return tooMany == nil
	})
	if err == nil {
		err = tooMany
	}
	if err != nil {
		return err
	}
	if len(g.list) == 0 && !a.grouped { // an aggregate of nothing is one row
		g.list = append(g.list, &group{totals: make([]total, len(a.aggs))})
	}
	if err := a.sort(g, order); err != nil {
		return err
	}
	if o.top >= 0 && o.top < len(g.list) {
		g.list = g.list[:o.top]
	}
	return c.answerGroups(t, a, g)
}

func (c *call) answerGroups(t *table, a *appliedQuery, g *groups) error {
	p := &projection{t: t, api: c.api, formats: c.prefer.wants("OData.Community.Display.V1.FormattedValue"),
		targets: c.prefer.wants("Microsoft.Dynamics.CRM.lookuplogicalname")}
	body := append(c.contextOf(t.EntitySet), `,"value":[`...)
	err := c.view(func(tx *tx) error {
		for i, of := range g.list {
			if i > 0 {
				body = append(body, ',')
			}
			var one []byte
			for j, agg := range a.aggs {
				one = p.appendFigure(one, agg, of.totals[j].result(agg))
			}
			for j, k := range a.keys {
				if !of.keys[j].isNull() {
					one = p.appendProperty(one, tx, a.names[j], k.col, of.keys[j])
				}
			}
			if len(one) == 0 {
				one = []byte{','}
			}
			one[0] = '{' // in place of the first comma
			body = append(append(body, one...), '}')
		}
		return nil
	})
	if err != nil {
		return err
	}
	c.applyPreferences()
	return c.json(http.StatusOK, append(body, "]}"...))
}

// appendFigure appends an aggregation's result, formatted when asked for.
func (p *projection) appendFigure(dst []byte, a aggregation, v value) []byte {
	col := a.col
	if v.kind == kindInt || !a.isMoney() {
		col = &column{Column: &schema.Column{Type: schema.Integer}}
	}
	if p.formats {
		if text, ok := formatted(nil, col, v); ok {
			dst = appendNamed(dst, a.alias+"@OData.Community.Display.V1.FormattedValue", text)
		}
	}
	dst = append(dst, ',')
	dst = appendString(dst, a.alias)
	dst = append(dst, ':')
	return v.appendJSON(dst, nil)
}

// sort orders the groups by keys and aliases.
func (a *appliedQuery) sort(g *groups, order []orderItem) error {
	pick := make([]func(*group) value, len(order))
	for i, o := range order {
		name := o.path.String()
		if k := slices.Index(a.names, name); k >= 0 {
			pick[i] = func(of *group) value { return of.keys[k] }
		} else if j := slices.IndexFunc(a.aggs, func(x aggregation) bool { return x.alias == name }); j >= 0 {
			if !a.fetched {
				return errURL("The query node SingleValueOpenPropertyAccess is not supported.")
			}
			pick[i] = func(of *group) value { return of.totals[j].result(a.aggs[j]) }
		} else {
			return errURL("Could not find a property named '%s' on the result of $apply.", name)
		}
	}
	slices.SortStableFunc(g.list, func(x, y *group) int {
		for i, o := range order {
			v, w := pick[i](x), pick[i](y)
			n := g.texts.compareNulls(v, w)
			if o.desc {
				n = -n
			}
			if n != 0 {
				return n
			}
		}
		return 0
	})
	return nil
}

func (c *call) parseApply(t *table, text string) (*appliedQuery, error) {
	a := &appliedQuery{}
	for i, step := range splitTop(text, '/') {
		name, inner, ok := strings.Cut(strings.TrimSpace(step), "(")
		if !ok || !strings.HasSuffix(inner, ")") {
			return nil, errSyntax(text, 0)
		}
		inner = inner[:len(inner)-1]
		if i > 0 && len(a.aggs)+len(a.keys) > 0 {
			return nil, unsupported("A transformation after groupby or aggregate")
		}
		var err error
		switch name {
		case "filter":
			aliases := map[string]string{}
			for _, p := range c.query {
				aliases[p.name] = p.value
			}
			var f node
			f, err = parseFilter(inner, aliases)
			a.filters = append(a.filters, f)
		case "groupby":
			err = a.groupBy(t, inner)
		case "aggregate":
			err = a.aggregate(t, inner)
		default:
			err = unsupported("The transformation '%s'", name)
		}
		if err != nil {
			return nil, err
		}
	}
	if len(a.aggs)+len(a.keys) == 0 {
		return nil, unsupported("$apply without groupby or aggregate")
	}
	return a, nil
}

// groupBy reads (a,b) or (a,b),aggregate(…).
func (a *appliedQuery) groupBy(t *table, text string) error {
	a.grouped = true
	parts := splitTop(text, ',')
	list := strings.TrimSpace(parts[0])
	if len(parts) > 2 || !strings.HasPrefix(list, "(") || !strings.HasSuffix(list, ")") {
		return errSyntax(text, 0)
	}
	for _, name := range splitList(list[1 : len(list)-1]) {
		acc, err := t.resolve(strings.Split(name, "/"))
		if err != nil {
			return err
		}
		name := acc.col.wire
		if acc.nav != nil { // the service names it after the table
			name = acc.col.t.LogicalName + "_" + acc.col.LogicalName
		}
		if k := valueKind(acc.col); k == kindTime || k == kindDate {
			return unsupported("Grouping by the date '%s'", acc.col.wire)
		}
		a.keys = append(a.keys, acc)
		a.names = append(a.names, name)
	}
	if len(parts) == 1 {
		return nil
	}
	inner, ok := strings.CutPrefix(strings.TrimSpace(parts[1]), "aggregate(")
	if !ok || !strings.HasSuffix(inner, ")") {
		return errSyntax(text, 0)
	}
	return a.aggregate(t, inner[:len(inner)-1])
}

// aggregate reads $count as n, revenue with sum as total.
func (a *appliedQuery) aggregate(t *table, text string) error {
	for _, item := range splitTop(text, ',') {
		words := strings.Fields(item)
		agg := aggregation{method: "count"}
		switch {
		case len(words) == 3 && words[0] == "$count" && words[1] == "as":
			agg.alias = words[2]
		case len(words) == 5 && words[1] == "with" && words[3] == "as":
			acc, err := t.resolve(strings.Split(words[0], "/"))
			if err != nil {
				return err
			}
			if acc.nav != nil || acc.as != nil {
				return unsupported("Aggregating the path '%s'", words[0])
			}
			agg.method, agg.col, agg.alias = words[2], acc.col, words[4]
			if !slices.Contains([]string{"sum", "average", "min", "max", "countdistinct"}, agg.method) {
				return unsupported("The aggregation method '%s'", agg.method)
			}
			if err := checkAggregation(agg); err != nil {
				return err
			}
		default:
			return errSyntax(text, 0)
		}
		a.aggs = append(a.aggs, agg)
	}
	return nil
}
