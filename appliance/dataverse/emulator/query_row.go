package emulator

import (
	"slices"
	"strings"

	"dvmigrate/appliance/dataverse/schema"
)

// projection is how a row of a table is answered: the selected columns, what is
// expanded, and the annotations asked for.
type projection struct {
	t       *table
	cols    []*column // in the order they are answered
	names   []string  // as selected, for the context; nil for all
	expand  []expansion
	api     string
	formats bool // OData.Community.Display.V1.FormattedValue
	targets bool // Microsoft.Dynamics.CRM.lookuplogicalname
	navs    bool // Microsoft.Dynamics.CRM.associatednavigationproperty
	full    bool // odata.metadata=full
}

// expansion is one expanded navigation property.
type expansion struct {
	nav    string
	label  string    // in the context: nav and its cast
	rel    *relation // of a single-valued one
	as     *table    // the row it leads to, of a derived type
	single *column   // the lookup of a single-valued one
	each   func(*tx, schema.GUID) []schema.GUID
	ref    bool
	query  *boundQuery // of the rows at the other end; for an owner's by target
	owners map[*table]*boundQuery
	link   string // the query options of its nextLink
}

// newProjection binds $select and $expand to a table. nested says that it is
// inside another $expand.
func (c *call) newProjection(t *table, o options, nested bool) (*projection, error) {
	p := &projection{t: t, api: c.api,
		formats: c.prefer.wants("OData.Community.Display.V1.FormattedValue"),
		targets: c.prefer.wants("Microsoft.Dynamics.CRM.lookuplogicalname"),
		navs:    c.prefer.wants("Microsoft.Dynamics.CRM.associatednavigationproperty"),
		full:    c.level == fullMetadata}
	if err := p.choose(o.columns); err != nil {
		return nil, err
	}
	for _, item := range o.expand {
		x, err := c.newExpansion(t, item, nested)
		if err != nil {
			return nil, err
		}
		p.expand = append(p.expand, x)
	}
	return p, nil
}

// choose binds $select. The primary key comes along in any case, and a money
// column brings the row's currency (section 1.5). A lookup's navigation property stands
// for the lookup, as in the list of columns that the service makes of $select; one of a
// collection adds nothing.
func (p *projection) choose(names []string) error {
	t := p.t
	if names == nil {
		for _, c := range t.cols {
			if !c.NoRead && !c.hidden() {
				p.cols = append(p.cols, c)
			}
		}
		return nil
	}
	p.names = names
	add := func(c *column) {
		if c != nil && !slices.Contains(p.cols, c) {
			p.cols = append(p.cols, c)
		}
	}
	for _, name := range names {
		prop, known := t.props[name]
		c := t.find(name)
		if !known || c != nil && (c.NoRead || c.hidden()) {
			return errNoProperty(t, name)
		}
		if rel := t.navs[name]; c == nil && rel != nil {
			c = rel.col
		}
		add(c)
		if prop.col != nil && c.Type == schema.Money {
			add(t.currency)
		}
	}
	add(t.id)
	return nil
}

func (c *call) newExpansion(t *table, item expandItem, nested bool) (x expansion, err error) {
	x = expansion{nav: item.nav, label: item.nav, ref: item.ref}
	name, cast, casts := strings.Cut(item.nav, "/")
	if rel := t.navs[name]; rel != nil {
		x.nav, x.rel, x.single = name, rel, rel.col
		of := rel.target
		if casts {
			if x.as, err = castOf(rel.leadsTo(), cast); err != nil {
				return x, err
			}
			of = x.as
		}
		if of != nil {
			x.query, err = c.bindQuery(of, item.opts, true)
			return x, err
		}
		return x, c.expandPrincipal(&x, item.opts)
	}
	x.nav = name
	each, of, err := t.collection(item.nav)
	if err != nil {
		return x, err
	}
	if item.ref {
		return x, errURL("Expand with $ref is only supported on lookup type navigation property.")
	}
	if _, nn := t.nn[item.nav]; nn && nested {
		return x, errURL("Expanding the many-to-many navigation property '%s' inside another $expand is not supported.", item.nav)
	}
	if len(item.opts.expand) > 0 && (item.opts.order != nil || item.opts.top >= 0) {
		return x, errURL("$orderby and $top are not supported with a nested $expand.")
	}
	x.each = each
	x.link = nestedLink(item.opts)
	x.query, err = c.bindQuery(of, item.opts, true)
	return x, err
}

// expandPrincipal binds the options to either kind of owner. What may be selected is the
// id, which is all that a principal has (section 12.6).
func (c *call) expandPrincipal(x *expansion, o options) (err error) {
	for _, name := range o.columns {
		if name != "ownerid" {
			return errPrincipal(name)
		}
	}
	if o.columns != nil {
		x.label += "(" + strings.Join(o.columns, ",") + ")"
		o.columns = []string{}
	}
	x.owners = map[*table]*boundQuery{}
	for _, target := range x.rel.col.targets {
		if x.owners[target], err = c.bindQuery(target, o, true); err != nil {
			return err
		}
	}
	return nil
}

// nestedLink rebuilds the options of an expanded collection for its nextLink.
func nestedLink(o options) string {
	var parts []string
	for _, p := range o.raw {
		parts = append(parts, p.name+"="+escapeOption(p.value))
	}
	return strings.Join(parts, "&")
}

// context is what follows the set in @odata.context: (name,parent(fullname)).
func (p *projection) context() string {
	parts := slices.Clone(p.names)
	for _, x := range p.expand {
		switch {
		case x.query != nil:
			parts = append(parts, x.label+or(x.query.proj.context(), "()"))
		case strings.HasSuffix(x.label, ")"):
			parts = append(parts, x.label)
		default:
			parts = append(parts, x.label+"()")
		}
	}
	if len(parts) == 0 {
		return ""
	}
	return "(" + strings.Join(parts, ",") + ")"
}

// appendRow appends a row as a JSON object; head is what stands before its
// properties (a context), without braces.
func (p *projection) appendRow(dst []byte, tx *tx, r row, head []byte) []byte {
	dst = append(dst, '{')
	if len(head) > 0 {
		dst = append(append(dst, head...), ',')
	}
	dst = p.appendHead(dst, p.t, r.id, r.version)
	for _, c := range p.cols {
		dst = p.appendProperty(dst, tx, c.wire, c, r.value(c))
	}
	if p.t.isPrincipal() && p.t.find("ownerid") == nil {
		dst = p.appendProperty(dst, tx, "ownerid", p.t.id, guidValue(r.id))
	}
	for _, x := range p.expand {
		dst = p.appendExpansion(dst, tx, r, x)
	}
	return append(p.appendLinks(dst, r.id), '}')
}

// isPrincipal reports whether the table's OData key is ownerid (section 14.2).
func (t *table) isPrincipal() bool { return t.LogicalName == "systemuser" || t.LogicalName == "team" }

// appendProperty appends a property with the annotations asked for, which stand
// before it, and a comma before all.
func (p *projection) appendProperty(dst []byte, tx *tx, name string, c *column, v value) []byte {
	if p.formats {
		if text, ok := formatted(tx, c, v); ok {
			dst = appendNamed(dst, name+"@OData.Community.Display.V1.FormattedValue", text)
		}
	}
	if v.kind == kindRef && v.target != nil {
		if p.navs {
			if rel := c.relationTo(v.target); rel != nil {
				dst = appendNamed(dst, name+"@Microsoft.Dynamics.CRM.associatednavigationproperty", rel.Nav)
			}
		}
		if p.targets {
			dst = appendNamed(dst, name+"@Microsoft.Dynamics.CRM.lookuplogicalname", v.target.LogicalName)
		}
	}
	dst = p.appendType(dst, name, c, v)
	dst = append(dst, ',')
	dst = appendString(dst, name)
	dst = append(dst, ':')
	return v.appendJSON(dst, c)
}

func appendNamed(dst []byte, name, text string) []byte {
	dst = append(dst, ',')
	dst = appendString(dst, name)
	dst = append(dst, ':')
	return appendString(dst, text)
}

// relationTo is the lookup's relationship to one of its targets.
func (c *column) relationTo(target *table) *schema.Relationship {
	if r := c.t.Relationship(c.LogicalName, target.LogicalName); r != nil {
		return r
	}
	if c.Type == schema.Owner {
		return c.t.Relationship(c.LogicalName, "owner")
	}
	return nil
}

func (p *projection) appendExpansion(dst []byte, tx *tx, r row, x expansion) []byte {
	dst = append(dst, ',')
	dst = appendString(dst, x.nav)
	dst = append(dst, ':')
	if x.single != nil {
		return p.appendParent(dst, tx, r, x)
	}
	dst = append(dst, '[')
	for i, child := range x.query.among(tx, x.each(tx, r.id)) {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = x.query.proj.appendRow(dst, tx, child, nil)
	}
	dst = append(dst, ']')
	link := p.api + "/" + p.t.EntitySet + "(" + r.id.String() + ")/" + x.label + "?"
	if x.link != "" {
		link += x.link + "&"
	}
	return appendNamed(dst, x.nav+"@odata.nextLink", link+"$skiptoken="+escapeOption(cookie(2, "", false)))
}

// appendParent appends the row a lookup leads to, or null.
func (p *projection) appendParent(dst []byte, tx *tx, r row, x expansion) []byte {
	v := r.value(x.single)
	query := x.query
	if x.owners != nil && v.kind == kindRef {
		query = x.owners[v.target]
	}
	parent, ok := tx.led(x.rel, x.as, v)
	if !ok || query == nil {
		return append(dst, "null"...)
	}
	if x.ref {
		dst = append(dst, `{"@odata.id":`...)
		dst = appendString(dst, p.api+"/"+v.target.EntitySet+"("+v.guid.String()+")")
		return append(dst, '}')
	}
	var head []byte
	if x.owners != nil && !p.full {
		head = appendString([]byte(`"@odata.type":`), "#"+namespace+v.target.LogicalName)
	}
	return query.proj.appendRow(dst, tx, parent, head)
}
