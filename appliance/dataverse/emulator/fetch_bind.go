package emulator

import (
	"net/http"
	"slices"
	"strconv"

	"dvmigrate/appliance/dataverse/schema"
)

// fetchQuery is FetchXML bound to tables. nodes holds the entity and its links,
// parents before children; a joined row has one row a node.
type fetchQuery struct {
	xml     *fetchXML
	call    *call
	nodes   []*fetchNode
	outputs []fetchOutput
	orders  []fetchSort
	aggs    []aggregation
	keys    []fetchOutput // groupby
	sources []fetchOutput // of aggs: what each takes in
	filter  fetchTest     // of the entity: tried when all is joined
}

type fetchNode struct {
	t        *table
	alias    string
	parent   int
	from, to *column // this table's column, and the parent's
	outer    bool
	single   bool // only the first row that matches
	filter   fetchTest
	subs     []fetchSub               // links that only test this node's row
	byValue  map[string][]schema.GUID // from's values, where no index has them
}

// joined is a row of each node; one that an outer link did not find has no table.
type joined []row

// fetchOutput is one property of the answer.
type fetchOutput struct {
	node     int
	col      *column
	name     string
	grouping string    // dategrouping
	below    *relation // of rowaggregate: the hierarchy in which the row's children are counted
}

type fetchSort struct {
	out  fetchOutput
	name string // of an aggregate query: the alias
	desc bool
	raw  bool // a choice by its number and a lookup by its id
}

// value is what a row is sorted by: a choice's label and the name of a looked-up row,
// unless the query says useraworderby.
func (s fetchSort) value(tx *tx, j joined) value {
	v := s.out.value(j)
	if s.raw || v.isNull() {
		return v
	}
	switch s.out.col.Type {
	case schema.Choice, schema.State, schema.Status:
		return textValue(optionLabel(s.out.col, v.String()))
	case schema.Lookup, schema.Customer, schema.Owner:
		if v.kind == kindRef {
			return textValue(recordName(tx, v))
		}
	}
	return v
}

func (o fetchOutput) value(j joined) value {
	if j[o.node].t == nil {
		return value{}
	}
	v := j[o.node].value(o.col)
	if o.grouping == "" || v.isNull() {
		return v
	}
	t := v.time()
	switch o.grouping {
	case "day":
		return intValue(int64(t.Day()))
	case "week":
		_, week := t.ISOWeek()
		return intValue(int64(week))
	case "month":
		return intValue(int64(t.Month()))
	case "quarter":
		return intValue(int64(t.Month()+2) / 3)
	}
	return intValue(int64(t.Year()))
}

// bindFetch checks every name of the query.
func (c *call) bindFetch(f *fetchXML) (*fetchQuery, error) {
	q := &fetchQuery{xml: f, call: c}
	if err := q.addNode(&f.Entity, -1); err != nil {
		return nil, err
	}
	if err := q.bindEntity(&f.Entity, new(int)); err != nil {
		return nil, err
	}
	return q, nil
}

// addNode adds an entity and its links, in the order bindEntity walks them.
func (q *fetchQuery) addNode(e *fetchEntity, parent int) error {
	t := q.call.srv.model.byName[e.Name]
	if t == nil {
		return errNoTable(e.Name)
	}
	n := &fetchNode{t: t, alias: e.Alias, parent: parent}
	at := len(q.nodes)
	if parent >= 0 {
		if n.alias == "" {
			n.alias = e.Name + strconv.Itoa(at)
		}
		switch e.LinkType {
		case "", "inner", "natural":
		case "outer":
			n.outer = true
		case "matchfirstrowusingcrossapply":
			n.single = true
		default:
			return errFetch("Invalid link-type specified, valid values are: 'natural', 'inner', 'in', 'exists', 'matchfirstrowusingcrossapply', 'outer'. link-type = %s", e.LinkType)
		}
		if (t.isElastic() || q.nodes[parent].t.isElastic()) && len(e.Filters) > 0 {
			return errElasticLink()
		}
		var err error
		if n.from, err = t.fetchColumn(e.From); err != nil {
			return err
		}
		if n.to, err = q.nodes[parent].t.fetchColumn(e.To); err != nil {
			return err
		}
	}
	q.nodes = append(q.nodes, n)
	for i := range e.Links {
		if e.Links[i].joins() {
			if err := q.addNode(&e.Links[i], at); err != nil {
				return err
			}
		}
	}
	return nil
}

// fetchColumn finds a column by its logical name.
func (t *table) fetchColumn(name string) (*column, error) {
	if c := t.byName[name]; c != nil && !c.NoRead {
		return c, nil
	}
	return nil, errorf(http.StatusBadRequest, "0x80041103", "'%s' entity doesn't contain attribute with Name = '%s' and NameMapping = 'Logical'.", t.LogicalName, name)
}

// bindEntity binds what stands inside the element of node *next, then its links.
func (q *fetchQuery) bindEntity(e *fetchEntity, next *int) error {
	at := *next
	*next++
	n := q.nodes[at]
	if err := q.bindAttributes(e, at); err != nil {
		return err
	}
	for _, o := range e.Orders {
		s, err := q.bindOrder(o, at)
		if err != nil {
			return err
		}
		q.orders = append(q.orders, s)
	}
	var tests []fetchTest
	for i := range e.Filters {
		t, err := q.bindFilter(&e.Filters[i], at)
		if err != nil {
			return err
		}
		tests = append(tests, t)
	}
	if len(tests) > 0 {
		n.filter = func(tx *tx, j joined) bool {
			for _, t := range tests {
				if !t(tx, j) {
					return false
				}
			}
			return true
		}
	}
	if at == 0 {
		q.filter, n.filter = n.filter, nil
	}
	for i := range e.Links {
		if link := &e.Links[i]; !link.joins() {
			sub, err := q.bindSub(link, at)
			if err != nil {
				return err
			}
			n.subs = append(n.subs, sub)
		} else if err := q.bindEntity(link, next); err != nil {
			return err
		}
	}
	return nil
}

func (q *fetchQuery) bindOrder(o fetchOrder, at int) (fetchSort, error) {
	s := fetchSort{name: o.Alias, desc: isTrue(o.Descending), raw: isTrue(q.xml.RawOrder)}
	if o.Alias != "" {
		return s, nil
	}
	if o.EntityName != "" {
		var err error
		if at, err = q.nodeOf(o.EntityName); err != nil {
			return s, err
		}
	}
	col, err := q.nodes[at].t.fetchColumn(o.Attribute)
	s.out = fetchOutput{node: at, col: col}
	return s, err
}

// nodeOf finds the entity or link that a name or alias means.
func (q *fetchQuery) nodeOf(name string) (int, error) {
	at := slices.IndexFunc(q.nodes, func(n *fetchNode) bool {
		return n.alias == name || n.alias == "" && n.t.LogicalName == name
	})
	if at < 0 {
		return 0, errFetch("The entityname '%s' of a condition is the alias of no link-entity.", name)
	}
	return at, nil
}

func (q *fetchQuery) bindAttributes(e *fetchEntity, at int) error {
	n := q.nodes[at]
	if e.All != nil || at == 0 && len(e.Attributes) == 0 && e.None == nil && !isTrue(q.xml.Aggregate) {
		for _, c := range n.t.cols {
			if !c.NoRead && !c.hidden() {
				q.outputs = append(q.outputs, q.output(at, c, ""))
			}
		}
	}
	for _, a := range e.Attributes {
		c, err := n.t.fetchColumn(a.Name)
		if err != nil {
			return err
		}
		out := q.output(at, c, a.Alias)
		switch {
		case a.RowAggregate != "":
			if err := q.addRowAggregate(a, out); err != nil {
				return err
			}
		case !isTrue(q.xml.Aggregate):
			q.outputs = append(q.outputs, out)
		case a.Alias == "":
			return errFetch("An attribute of an aggregate query has no alias.")
		case isTrue(a.GroupBy):
			if out.grouping = a.DateGrouping; out.grouping != "" && valueKind(c) != kindTime && valueKind(c) != kindDate {
				return errFetch("The dategrouping of attribute '%s' needs a date.", a.Name)
			}
			q.keys = append(q.keys, out)
		default:
			if err := q.addAggregate(a, out); err != nil {
				return err
			}
		}
	}
	return nil
}

// output names a property: the alias given, else the column's own name for the
// entity and alias.name for a link.
func (q *fetchQuery) output(at int, c *column, alias string) fetchOutput {
	name := c.wire
	if at > 0 {
		name = q.nodes[at].alias + "." + c.LogicalName
	}
	return fetchOutput{node: at, col: c, name: or(alias, name)}
}

// addRowAggregate adds the count of a row's direct children in its table's hierarchy.
func (q *fetchQuery) addRowAggregate(a fetchAttribute, out fetchOutput) error {
	t := q.nodes[out.node].t
	switch out.below = t.selfRelation(); {
	case a.RowAggregate != "CountChildren":
		return errFetch("Row aggregate function '%s' is not known.", a.RowAggregate)
	case a.Alias == "" || isTrue(q.xml.Aggregate):
		return errFetch("The rowaggregate of attribute '%s' needs an alias, in a query without aggregate.", a.Name)
	case out.col != t.id || out.below == nil:
		return errFetch("The rowaggregate of attribute '%s' needs the primary key of an entity with a hierarchical relationship.", a.Name)
	}
	out.col = &column{Column: &schema.Column{Type: schema.Integer}}
	q.outputs = append(q.outputs, out)
	return nil
}

var fetchMethods = map[string]string{"count": "count", "countcolumn": "countcolumn", "sum": "sum", "avg": "average", "min": "min", "max": "max"}

func (q *fetchQuery) addAggregate(a fetchAttribute, out fetchOutput) error {
	agg := aggregation{method: fetchMethods[a.Aggregate], col: out.col, alias: a.Alias}
	if agg.method == "" {
		return errFetch("Aggregate function '%s' is not known.", a.Aggregate)
	}
	if agg.method == "countcolumn" && isTrue(a.Distinct) {
		agg.method = "countdistinct"
	}
	if err := checkAggregation(agg); err != nil {
		return err
	}
	q.aggs = append(q.aggs, agg)
	q.sources = append(q.sources, out)
	return nil
}
