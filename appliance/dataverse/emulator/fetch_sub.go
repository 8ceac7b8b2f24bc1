package emulator

import "dvmigrate/appliance/dataverse/schema"

// fetchSub is a link-entity that brings no columns and tells only which rows of the
// entity above it stay: exists and in beside other links, any, not any, all and not
// all inside a filter.
type fetchSub struct {
	q    *fetchQuery // its first node is the link's table
	kind string
}

// joins reports whether the link adds columns and rows to the result.
func (e *fetchEntity) joins() bool {
	switch e.LinkType {
	case "exists", "in", "any", "not any", "all", "not all":
		return false
	}
	return true
}

// bindSub binds a link of the entity at a node as a query of its own.
func (q *fetchQuery) bindSub(e *fetchEntity, at int) (fetchSub, error) {
	s := fetchSub{q: &fetchQuery{xml: &fetchXML{}, call: q.call}, kind: e.LinkType}
	if e.joins() {
		return s, errFetch("Invalid link-type specified, valid values are: 'any', 'not any', 'all', 'not all'. link-type = %s", e.LinkType)
	}
	if err := s.q.addNode(e, -1); err != nil {
		return s, err
	}
	n := s.q.nodes[0]
	if n.t.isElastic() || q.nodes[at].t.isElastic() {
		return s, errElasticLink()
	}
	var err error
	if n.from, err = n.t.fetchColumn(e.From); err != nil {
		return s, err
	}
	if n.to, err = q.nodes[at].t.fetchColumn(e.To); err != nil {
		return s, err
	}
	bare := *e
	bare.Attributes, bare.All, bare.None, bare.Orders = nil, nil, &struct{}{}, nil
	return s, s.q.bindEntity(&bare, new(int))
}

// holds reports whether a row stays. all is as the service has it: there are rows
// at the other end, and none of them satisfies the filter; not all is any.
func (s fetchSub) holds(tx *tx, r row) bool {
	n := s.q.nodes[0]
	rows := n.matches(tx, r.value(n.to))
	found := false
	for _, child := range rows {
		if !n.passes(tx, child) {
			continue
		}
		j := make(joined, len(s.q.nodes))
		j[0] = child
		if !s.q.join(tx, j, 1, stopAtFirst) {
			found = true
			break
		}
	}
	switch s.kind {
	case "not any":
		return !found
	case "all":
		return len(rows) > 0 && !found
	}
	return found
}

// stopAtFirst ends a join as soon as it has found a row: join then answers false.
func stopAtFirst(*tx, joined) bool { return false }

// passes tries the links that only test.
func (n *fetchNode) passes(tx *tx, r row) bool {
	for _, s := range n.subs {
		if !s.holds(tx, r) {
			return false
		}
	}
	return true
}

// indexed lists the rows of the entity that its conditions leave, where an index can
// tell; nil when all have to be looked at.
func (q *fetchQuery) indexed() (ids []schema.GUID, err error) {
	var terms []node
	for i := range q.xml.Entity.Filters {
		if n := q.nodes[0].t.filterNode(&q.xml.Entity.Filters[i]); n != nil {
			terms = append(terms, n)
		}
	}
	if len(terms) == 0 {
		return nil, nil
	}
	n := terms[0]
	if len(terms) > 1 {
		n = logical{terms: terms}
	}
	err = q.call.view(func(tx *tx) error {
		if found, ok := q.nodes[0].t.candidates(tx, n); ok {
			ids = append([]schema.GUID{}, found...)
		}
		return nil
	})
	return ids, err
}

// filterNode is what of a filter an index could answer, as a $filter has it: no row
// that the filter takes is missed. nil when nothing is known of it.
func (t *table) filterNode(f *fetchFilter) node {
	var terms []node
	either := f.Type == "or"
	for i := range f.Conditions {
		n := t.conditionNode(&f.Conditions[i])
		if n == nil && either {
			return nil
		}
		if n != nil {
			terms = append(terms, n)
		}
	}
	for i := range f.Filters {
		n := t.filterNode(&f.Filters[i])
		if n == nil && either {
			return nil
		}
		if n != nil {
			terms = append(terms, n)
		}
	}
	switch {
	case len(terms) == 0 || either && len(f.Links) > 0:
		return nil
	case len(terms) == 1:
		return terms[0]
	}
	return logical{or: either, terms: terms}
}

func (t *table) conditionNode(c *fetchCondition) node {
	col := t.byName[c.Attribute]
	if col == nil || c.EntityName != "" || c.ValueOf != "" || c.Operator != "eq" && c.Operator != "in" {
		return nil
	}
	p := path{col.wire}
	var terms []node
	for _, text := range c.texts() {
		v, ok := fetchValue(col, text)
		if !ok {
			return nil
		}
		lit := literal{kind: litString, text: text}
		switch v.kind {
		case kindText:
		case kindGUID:
			lit = literal{kind: litGUID, text: v.guid.String()}
		case kindInt, kindDecimal:
			lit = literal{kind: litNumber, text: v.String()}
		default:
			return nil
		}
		terms = append(terms, comparison{"eq", operand{path: p}, operand{lit: lit}})
	}
	switch len(terms) {
	case 0:
		return nil
	case 1:
		return terms[0]
	}
	return logical{or: true, terms: terms}
}
