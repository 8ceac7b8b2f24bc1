package emulator

import (
	"bytes"
	"errors"
	"net/http"
	"net/url"
	"strings"

	"dvmigrate/appliance/dataverse/schema"
)

// record is a decoded write body. Its texts may lie in the request's body.
type record struct {
	t     *table
	set   []assign
	id    schema.GUID // the primary key in the body; zero when it has none
	typed bool        // @odata.type was there
	ref   string      // @odata.id
	binds []bind
	// Only on create: rows to make before, rows to make after, links to make after.
	parents  []parentRecord
	children []childRecords
	links    []linkRefs

	replaces bool // an upsert of an elastic row: what is not set is emptied
	fresh    bool // of an UpsertMultiple: there was no such row when it began

	closing bool // made by an action that closes: the state may be one only it can set
}

type assign struct {
	col *column
	v   value
}

// bind is one lookup set by reference; null when key.t is nil.
type bind struct {
	rel *relation
	key rowKey
}

type parentRecord struct {
	rel *relation
	rec *record
}

type childRecords struct {
	rel  *relation
	recs []*record
	refs []rowKey // rows that exist already, to be pointed here
}

type linkRefs struct {
	end  linkEnd
	refs []rowKey
	recs []*record
}

// decoder reads write bodies for one call.
type decoder struct {
	scanner
	c      *call
	upsert bool // columns valid for either are taken
	update bool // columns not valid for update are ignored instead of those not valid for create
	seen   []uint32
	stamp  uint32
	// invalid is the first value that the service would not take. It is answered when the
	// whole body is read: what cannot be parsed, wherever it stands, comes before it.
	invalid error
}

// refuse ends the reading for a payload error, and only notes another.
func (d *decoder) refuse(e *apiError) error {
	if e.code == payloadCode {
		return e
	}
	if d.invalid == nil {
		d.invalid = e
	}
	return nil
}

// end requires that nothing but blanks follows, and says what is wrong with the values.
func (d *decoder) end() error {
	if err := d.scanner.end(); err != nil {
		return err
	}
	return d.invalid
}

func (c *call) newDecoder(update bool) *decoder {
	return &decoder{scanner: scanner{b: c.body}, c: c, update: update}
}

// decodeRow reads the call's body as one row of a table.
func (c *call) decodeRow(t *table, update bool) (*record, error) {
	if err := c.checkContentType(); err != nil {
		return nil, err
	}
	d := c.newDecoder(update)
	rec := &record{t: t}
	err := d.record(rec, 0)
	if err == nil {
		err = d.end()
	}
	return rec, inPayload(t.EntitySet, err)
}

func (c *call) checkContentType() error {
	c.body = bytes.TrimPrefix(c.body, []byte("\ufeff")) // as a reader of .NET's does
	ct := strings.ToLower(c.header.Get("Content-Type"))
	media, _, _ := strings.Cut(ct, ";")
	switch {
	case ct == "":
		return errPayload(c.setName(), "Microsoft.OData.ODataContentTypeException: A missing or empty content type header was found when trying to read a message. The content type header is required.")
	case strings.TrimSpace(media) != "application/json":
		return errorf(http.StatusUnsupportedMediaType, "0x80060888", "The content type '%s' is not supported when reading a message.", ct)
	}
	return nil
}

func (c *call) setName() string {
	if c.table != nil {
		return c.table.EntitySet
	}
	return ""
}

// inPayload frames malformed JSON as a payload error of the set.
func inPayload(set string, err error) error {
	var se *scanError
	if errors.As(err, &se) {
		return errPayload(set, se.text)
	}
	return err
}

// record reads an object into rec, whose table is known.
func (d *decoder) record(rec *record, depth int) error {
	if err := d.expect('{'); err != nil {
		return err
	}
	if depth > maxDepth {
		return d.fail("The depth limit for entries in nested expanded navigation links was reached.")
	}
	stamp := d.newStamp(rec.t)
	for first := true; ; first = false {
		more, err := d.next('}', first)
		if err != nil || !more {
			return err
		}
		name, err := d.name()
		if err != nil {
			return err
		}
		p, known := rec.t.props[name]
		switch {
		case p.col != nil:
			err = d.column(rec, p.col, stamp)
		case known:
			err = d.navigation(rec, name, p, depth)
		default:
			err = d.annotation(rec, name)
		}
		if err != nil {
			return err
		}
	}
}

// newStamp marks what record is being read, so that a column seen twice is noticed.
func (d *decoder) newStamp(t *table) uint32 {
	if len(d.seen) < len(t.cols) {
		d.seen = make([]uint32, len(t.cols))
	}
	d.stamp++
	return d.stamp
}

func (d *decoder) column(rec *record, col *column, stamp uint32) error {
	if len(d.seen) > col.idx {
		if d.seen[col.idx] == stamp {
			return errPayload(rec.t.EntitySet, "Microsoft.OData.ODataException: Multiple properties with the name '"+col.LogicalName+"' were detected in a resource value. In OData, duplicate property names are not allowed.")
		}
		d.seen[col.idx] = stamp
	}
	ignored := col != rec.t.id && (col.derived != notDerived || !d.writable(col))
	if ignored && (col.Type == schema.ManagedProp || col.Type == schema.Other) {
		return d.skip(0)
	}
	l, ok, err := d.literal()
	if err != nil {
		return err
	}
	if !ok {
		return errPayload(rec.t.EntitySet, "Microsoft.OData.ODataException: An unexpected node was found when reading the value of property '"+col.LogicalName+"'. A 'PrimitiveValue' node was expected.")
	}
	v, e := col.checked(l)
	if ignored { // but its type is looked at, as the payload is read before that is known
		if e != nil && e.code == payloadCode {
			return d.refuse(e)
		}
		return nil
	}
	if e != nil {
		return d.refuse(e)
	}
	if col == rec.t.id {
		if !v.isNull() && v.guid.IsZero() {
			return d.refuse(errorf(http.StatusBadRequest, "0x80040203", "Expected non-empty Guid."))
		}
		rec.id = v.guid
		return nil
	}
	if v.isNull() && (col.Required == schema.SystemRequired || col.Type == schema.State) && !d.hasDefault(col) {
		return d.refuse(errorf(http.StatusBadRequest, "0x80040200", "A required field '%s' is missing.", col.LogicalName))
	}
	rec.set = append(rec.set, assign{col, v})
	return nil
}

func (d *decoder) writable(col *column) bool {
	return col.takes(d.update) || d.upsert && col.takes(!d.update)
}

// takes reports whether a write uses a value for the column rather than ignoring it
// (section 3.1).
func (c *column) takes(update bool) bool {
	if c.system || update && c == c.t.overriddenCreatedOn || c.Type == schema.File || c.Type == schema.ManagedProp || c.Type == schema.Other {
		return false
	}
	if c.Type == schema.Image && !update && c.LogicalName != primaryImage(c.t.Table) {
		return false
	}
	return c.Writable(update)
}

// hasDefault reports whether null on create means the default.
func (d *decoder) hasDefault(col *column) bool {
	return !d.update && (col.Type == schema.State || col.Type == schema.Status || col.AutoNumber != "" || col.Default != nil)
}

// annotation reads a member that is no property: @odata.…, nav@odata.bind, or
// nothing the table knows.
func (d *decoder) annotation(rec *record, name string) error {
	prop, ann, has := strings.Cut(name, "@")
	switch {
	case !has:
		return errUnknownProperty(rec.t, name)
	case ann == "odata.bind":
		return d.bind(rec, prop)
	case prop == "" && ann == "odata.type":
		return d.typeName(rec)
	case prop == "" && ann == "odata.id":
		l, ok, err := d.literal()
		if err == nil && (!ok || l.kind != 's') {
			err = d.fail("The value of @odata.id is not a string.")
		}
		rec.ref = l.text
		return err
	}
	return d.skip(0)
}

func (d *decoder) typeName(rec *record) error {
	l, ok, err := d.literal()
	if err != nil {
		return err
	}
	name := strings.TrimPrefix(l.text, "#")
	if !ok || l.kind != 's' || name != namespace+rec.t.LogicalName {
		return errPayload(rec.t.EntitySet, "Microsoft.OData.ODataException: A type named '"+name+"' could not be resolved by the model or is not compatible with the expected type '"+namespace+rec.t.LogicalName+"'.")
	}
	rec.typed = true
	return nil
}

// bind reads the value of nav@odata.bind.
func (d *decoder) bind(rec *record, nav string) error {
	p := rec.t.props[nav]
	switch {
	case p.nav != nil:
		l, ok, err := d.literal()
		if err != nil {
			return err
		}
		if !ok || l.kind != 's' && l.kind != '0' {
			return errLiteral(rec.t, l.text, "Edm.String")
		}
		if l.kind == '0' {
			return d.unbind(rec, p.nav)
		}
		return d.bindTo(rec, p.nav, l.text)
	case p.collection != nil || p.link != nil:
		return d.bindMany(rec, p)
	}
	return errUndeclared(rec.t, nav)
}

func (d *decoder) bindTo(rec *record, rel *relation, ref string) error {
	if !d.writableLookup(rel.col) {
		return nil
	}
	key, err := d.c.parseRef(ref)
	if err != nil {
		return err
	}
	if err := rel.accepts(key.t); err != nil {
		return err
	}
	rec.binds = append(rec.binds, bind{rel, key})
	return nil
}

// writableLookup is writable for lookups: the owner may always be set.
func (d *decoder) writableLookup(col *column) bool {
	return col == col.t.owner || d.writable(col)
}

func (d *decoder) unbind(rec *record, rel *relation) error {
	if !d.writableLookup(rel.col) {
		return nil
	}
	if rel.col.Required == schema.SystemRequired {
		return d.refuse(errorf(http.StatusBadRequest, "0x80040200", "A required field '%s' is missing.", rel.col.LogicalName))
	}
	rec.binds = append(rec.binds, bind{rel: rel})
	return nil
}

// accepts reports whether the relation may point to a table: its own target, an
// activity where the target is activitypointer, a user or team for the owner.
func (r *relation) accepts(t *table) error {
	if r.target == t || r.target != nil && r.target.activities != nil && t.isActivity() {
		return nil
	}
	if r.target == nil {
		for _, target := range r.col.targets {
			if target == t {
				return nil
			}
		}
	}
	return errPayload(r.from.EntitySet, "Microsoft.OData.ODataException: The entity reference bound to '"+r.Nav+"' is of type '"+namespace+t.LogicalName+"', which the navigation property does not take.")
}

func (d *decoder) bindMany(rec *record, p property) error {
	if d.update {
		return errDeepUpdate(rec.t)
	}
	if err := d.expect('['); err != nil {
		return err
	}
	var keys []rowKey
	for first := true; ; first = false {
		more, err := d.next(']', first)
		if err != nil {
			return err
		}
		if !more {
			break
		}
		l, _, err := d.literal()
		if err != nil {
			return err
		}
		key, err := d.c.parseRef(l.text)
		if err != nil {
			return err
		}
		keys = append(keys, key)
	}
	if p.link != nil {
		rec.links = append(rec.links, linkRefs{end: *p.link, refs: keys})
	} else {
		rec.children = append(rec.children, childRecords{rel: p.collection, refs: keys})
	}
	return nil
}

func errDeepUpdate(t *table) error {
	return errPayload(t.EntitySet, "Microsoft.Crm.CrmException: Deep update of navigation properties is not allowed.")
}

// navigation reads the value of a navigation property or of a _x_value.
func (d *decoder) navigation(rec *record, name string, p property, depth int) error {
	if p.readOnly != nil {
		return errPayload(rec.t.EntitySet, "Microsoft.Crm.CrmException: CRM do not support direct update of Entity Reference properties, Use Navigation properties instead.")
	}
	switch open := d.peek(); {
	case p.nav != nil && open == 'n':
		if err := d.word("null"); err != nil {
			return err
		}
		return d.unbind(rec, p.nav)
	case p.nav != nil && open != '{', p.nav == nil && open != '[':
		return errPayload(rec.t.EntitySet, "Microsoft.OData.ODataException: A 'PrimitiveValue' node with non-null value was found when trying to read the value of the navigation property '"+name+"'; however, a 'StartArray' node, a 'StartObject' node, or a 'PrimitiveValue' node with null value was expected.")
	case d.update:
		return errDeepUpdate(rec.t)
	case p.nav != nil:
		if p.nav.target == nil {
			return errDeepUpdate(rec.t)
		}
		parent := &record{t: p.nav.target}
		rec.parents = append(rec.parents, parentRecord{p.nav, parent})
		return d.record(parent, depth+1)
	}
	return d.nestedRecords(rec, p, depth)
}

// nestedRecords reads an array of new rows under a collection.
func (d *decoder) nestedRecords(rec *record, p property, depth int) error {
	var t *table
	if p.link != nil {
		t = p.link.m.tables[1-p.link.side]
	} else {
		t = p.collection.from
	}
	recs, err := d.records(t, depth)
	if err != nil {
		return err
	}
	if p.link != nil {
		rec.links = append(rec.links, linkRefs{end: *p.link, recs: recs})
	} else {
		rec.children = append(rec.children, childRecords{rel: p.collection, recs: recs})
	}
	return nil
}

// records reads an array of objects.
func (d *decoder) records(t *table, depth int) ([]*record, error) {
	if err := d.expect('['); err != nil {
		return nil, err
	}
	var recs []*record
	capacity := 0
	for first := true; ; first = false {
		more, err := d.next(']', first)
		if err != nil || !more {
			return recs, err
		}
		rec := &record{t: t, set: make([]assign, 0, capacity)}
		if err := d.record(rec, depth+1); err != nil {
			return nil, err
		}
		capacity = len(rec.set)
		recs = append(recs, rec)
	}
}

// parseRef reads a reference to a row as it stands in a body: set(key), /set(key),
// an absolute URL, or $n inside a change set (section 4.6).
func (c *call) parseRef(text string) (rowKey, error) {
	if strings.HasPrefix(text, "$") {
		ref, ok := c.refs[text[1:]]
		if !ok {
			return rowKey{}, errURL("Content-ID Reference: '%s' does not exist in the batch context.", text)
		}
		text = ref
	}
	if _, rest, absolute := strings.Cut(text, apiPrefix); absolute {
		_, text, _ = strings.Cut(rest, "/")
	}
	text = strings.TrimPrefix(text, "/")
	set, key, ok := strings.Cut(text, "(")
	t := c.srv.model.bySet[set]
	if t == nil {
		return rowKey{}, errSegment(set)
	}
	if !ok || !strings.HasSuffix(key, ")") {
		return rowKey{}, errKeyURL(t)
	}
	key = key[:len(key)-1]
	if len(key) != 36 && strings.Contains(key, "%") {
		if plainKey, err := url.PathUnescape(key); err == nil {
			key = plainKey
		}
	}
	return parseKey(t, key)
}
