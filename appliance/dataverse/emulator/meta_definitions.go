package emulator

import (
	"net/http"
	"slices"
	"strings"

	"dvmigrate/appliance/dataverse/schema"
)

// resource is what a path into the metadata has reached so far.
type resource struct {
	items    []definition
	single   bool
	declared string // the type the items are declared to have
	context  string // after $metadata#
}

// getDefinitions answers EntityDefinitions, GlobalOptionSetDefinitions and
// RelationshipDefinitions (sections 12.1 to 12.5): there is no paging.
func (c *call) getDefinitions() error {
	opts, err := parseOptions(c.query)
	if err != nil {
		return err
	}
	if opts.order != nil || opts.top >= 0 || opts.apply != "" {
		return errURL("The query options $orderby, $top and $apply are not supported on metadata.")
	}
	r, err := c.definitionsRoot()
	if err != nil {
		return err
	}
	for i, seg := range c.segs[1:] {
		if r.single && !strings.HasPrefix(seg.name, namespace) {
			if v, ok := r.items[0].props.get(seg.name); ok {
				return c.metadataValue(r, seg.name, v, c.segs[i+2:])
			}
		}
		if r, err = r.follow(seg); err != nil {
			return err
		}
	}
	return c.answerDefinitions(r, opts)
}

// definitionsRoot reaches the first segment, with or without a key.
func (c *call) definitionsRoot() (resource, error) {
	m, seg := c.srv.model, c.segs[0]
	r := resource{context: seg.name}
	switch seg.name {
	case "EntityDefinitions":
		r.declared = "EntityMetadata"
		// A table asked for by name is found without making all the others.
		if name, ok := quotedKey(seg, "LogicalName"); ok && m.byName[name] != nil {
			r.items = []definition{m.entity(m.byName[name])}
		} else {
			r.items = m.entities()
		}
	case "GlobalOptionSetDefinitions":
		r.declared, r.items = "OptionSetMetadataBase", m.globalChoices()
	default:
		r.declared, r.items = "RelationshipMetadataBase", m.relationships()
	}
	if !seg.hasKey {
		return r, nil
	}
	return r.pick(seg)
}

// quotedKey reads name='value' between a segment's brackets.
func quotedKey(seg segment, name string) (string, bool) {
	text, ok := strings.CutPrefix(seg.key, name+"='")
	if !seg.hasKey || !ok || !strings.HasSuffix(text, "'") {
		return "", false
	}
	return strings.ReplaceAll(text[:len(text)-1], "''", "'"), true
}

// pick keeps the item with the segment's key: a MetadataId, or the name that
// items of the kind are known by.
func (r resource) pick(seg segment) (resource, error) {
	property, text := "MetadataId", strings.TrimPrefix(seg.key, "MetadataId=")
	for _, name := range []string{"LogicalName", "SchemaName", "Name"} {
		if v, ok := quotedKey(seg, name); ok {
			property, text = name, v
		}
	}
	if property == "MetadataId" {
		if _, err := schema.ParseGUID(text); err != nil {
			return r, errURL("The key in the request URI is not valid for resource '%s%s'.", namespace, r.declared)
		}
	}
	i := slices.IndexFunc(r.items, func(d definition) bool { return d.isKey(property, text) })
	if i < 0 {
		return r, errorf(http.StatusNotFound, "0x80041102", "Could not find an entity with specified %s = '%s'.", property, text)
	}
	r.items, r.single = r.items[i:i+1], true
	return r, nil
}

// follow goes on to a cast or a navigation property.
func (r resource) follow(seg segment) (resource, error) {
	if cast, ok := strings.CutPrefix(seg.name, namespace); ok {
		return r.cast(cast, seg)
	}
	if !r.single {
		return r, errSegment(seg.name)
	}
	n, ok := r.items[0].nav(seg.name)
	if !ok {
		return r, errSegment(seg.name)
	}
	next := resource{items: n.items(), single: n.single, declared: n.declared, context: r.context + "/" + seg.name}
	if n.single && len(next.items) == 0 {
		return next, errorf(http.StatusNotFound, "0x80060888", "Resource not found for the segment '%s'.", seg.name)
	}
	if seg.hasKey {
		return next.pick(seg)
	}
	return next, nil
}

// cast keeps the items of one type. An abstract type cannot be cast to (12.3).
func (r resource) cast(name string, seg segment) (resource, error) {
	if !isCast(name) {
		return r, errSegment(seg.name)
	}
	items := []definition{}
	for _, d := range r.items {
		if d.typ == name {
			items = append(items, d)
		}
	}
	if r.single && len(items) == 0 {
		return r, errorf(http.StatusNotFound, "0x80060888", "Resource not found for the segment '%s'.", seg.name)
	}
	r.items, r.declared, r.context = items, name, r.context+"/"+seg.name
	if seg.hasKey {
		return r.pick(seg)
	}
	return r, nil
}

// isCast reports whether a collection of a base type may be cast to the type.
func isCast(name string) bool {
	switch name {
	case "OneToManyRelationshipMetadata", "ManyToManyRelationshipMetadata", "OptionSetMetadata", "BooleanOptionSetMetadata":
		return true
	}
	for _, k := range attributeKinds {
		if name == k.cast+attributeBase {
			return true
		}
	}
	return false
}

// metadataValue answers one property, as JSON or, with $value after it, as text.
func (c *call) metadataValue(r resource, name string, v any, rest []segment) error {
	o, complex := v.(object)
	switch {
	case len(rest) > 0 && (rest[0].name != "$value" || len(rest) > 1 || complex):
		return errSegment(rest[0].name)
	case v == nil:
		return c.noContent()
	case len(rest) > 0:
		c.set("Content-Type", "text/plain")
		c.res.status, c.res.body = http.StatusOK, appendText(nil, v)
		return nil
	}
	body := append(c.contextOf(r.context+"/"+name), `,"value":`...)
	if complex {
		body = append(c.contextOf(r.context+"/"+name), ',')
		return c.json(http.StatusOK, append(body, appendObject(nil, o)[1:]...))
	}
	return c.json(http.StatusOK, append(appendAny(body, v), '}'))
}

// appendText is appendAny without the quotes of a text.
func appendText(dst []byte, v any) []byte {
	switch v := v.(type) {
	case string:
		return append(dst, v...)
	case schema.GUID:
		return append(dst, v.String()...)
	}
	return appendAny(dst, v)
}

// contextOf begins an answer: {"@odata.context":"…/$metadata#fragment".
func (c *call) contextOf(fragment string) []byte {
	return appendString([]byte(`{"@odata.context":`), c.api+"/$metadata#"+fragment)
}

func (c *call) answerDefinitions(r resource, opts options) error {
	if err := opts.checkDefinitions(r.items, r.declared); err != nil {
		return err
	}
	context := r.context
	opts.typed = c.level == fullMetadata
	if names := opts.chosen(); len(names) > 0 {
		context += "(" + strings.Join(names, ",") + ")"
	}
	if r.single {
		body := append(c.contextOf(context+"/$entity"), ',')
		one, err := appendDefinition(nil, r.items[0], r.declared, opts)
		if err != nil {
			return err
		}
		return c.json(http.StatusOK, append(body, one[1:]...))
	}
	body := append(c.contextOf(context), `,"value":`...)
	body, err := appendDefinitions(body, r.items, r.declared, opts)
	if err != nil {
		return err
	}
	return c.json(http.StatusOK, append(body, '}'))
}

// chosen lists what is selected and expanded, as the context of an answer names it.
func (o options) chosen() []string {
	names := slices.Clone(o.columns)
	for _, e := range o.expand {
		names = append(names, e.nav+"("+strings.Join(e.opts.chosen(), ",")+")")
	}
	return names
}

// checkDefinitions refuses a $select or $expand of what the declared type lacks:
// a property of a derived type needs the cast (section 12.2).
func (o options) checkDefinitions(items []definition, declared string) error {
	if len(items) == 0 {
		return nil
	}
	known := items[0].props
	switch declared {
	case attributeBase:
		known = commonAttribute
	case "RelationshipMetadataBase":
		known = commonRelationship
	}
	for _, name := range o.columns {
		if _, ok := known.get(name); !ok && name != "MetadataId" {
			return errURL("Could not find a property named '%s' on type '%s%s'.", name, namespace, declared)
		}
	}
	for _, e := range o.expand {
		if _, ok := items[0].nav(e.nav); !ok || declared == attributeBase {
			return errURL("Could not find a property named '%s' on type '%s%s'.", e.nav, namespace, declared)
		}
	}
	return nil
}

// The properties of the base types, for their names.
var (
	commonAttribute    = attributeCommon(&table{Table: &schema.Table{}}, &column{Column: &schema.Column{}}, attributeKind{})
	commonRelationship = relationshipProps("", "")
)

func appendDefinitions(dst []byte, items []definition, declared string, opts options) ([]byte, error) {
	dst = append(dst, '[')
	first := true
	for _, d := range items {
		if opts.filter != nil {
			ok, err := d.props.holds(opts.filter, declared)
			if err != nil {
				return nil, err
			}
			if !ok {
				continue
			}
		}
		if !first {
			dst = append(dst, ',')
		}
		first = false
		var err error
		if dst, err = appendDefinition(dst, d, declared, opts); err != nil {
			return nil, err
		}
	}
	return append(dst, ']'), nil
}

// appendDefinition appends one item: what is selected, MetadataId in any case,
// and what is expanded.
func appendDefinition(dst []byte, d definition, declared string, opts options) ([]byte, error) {
	var props object
	if d.typ != declared || opts.typed {
		props = append(props, field{"@odata.type", "#" + namespace + d.typ})
	}
	if opts.columns == nil {
		props = append(props, d.props...)
	} else {
		for _, name := range opts.columns {
			if v, ok := d.props.get(name); ok && name != "MetadataId" {
				props = append(props, field{name, v})
			}
		}
		id, _ := d.props.get("MetadataId")
		props = append(props, field{"MetadataId", id})
	}
	dst = appendObject(dst, props)
	for _, e := range opts.expand {
		n, ok := d.nav(e.nav)
		if !ok {
			continue
		}
		items := n.items()
		if err := e.opts.checkDefinitions(items, n.declared); err != nil {
			return nil, err
		}
		dst = append(dst[:len(dst)-1], ',')
		dst = appendString(dst, e.nav)
		dst = append(dst, ':')
		var err error
		switch {
		case !n.single:
			dst, err = appendDefinitions(dst, items, n.declared, e.opts)
		case len(items) == 0:
			dst = append(dst, "null"...)
		default:
			dst, err = appendDefinition(dst, items[0], n.declared, e.opts)
		}
		if err != nil {
			return nil, err
		}
		dst = append(dst, '}')
	}
	return dst, nil
}
