package emulator

import (
	"net/http"
	"strings"
)

// postRef answers POST {set}({key})/{collection}/$ref: associate (section 5.1).
func (c *call) postRef() error {
	p := c.table.props[c.segs[1].name]
	if p.nav != nil {
		return errMethod(c.method)
	}
	key, err := c.refBody()
	if err != nil {
		return err
	}
	return c.associate(p, key)
}

// postMember answers POST {set}({key})/{collection}: create a row at the other end, as
// OData has it for collections.
func (c *call) postMember() error {
	p := c.table.props[c.segs[1].name]
	if p.nav != nil || c.segs[1].hasKey || len(c.segs) > 2 {
		return errMethod(c.method)
	}
	_, of, err := c.table.collection(c.segs[1].name)
	if err != nil {
		return err
	}
	return c.createRow(of, func(w *writer, rec *record) error {
		from, err := c.findRow(w.tx, c.table, c.segs[0].key)
		if err != nil {
			return err
		}
		to := rowKey{t: from.t, id: from.id}
		if p.collection != nil {
			rec.binds = append(rec.binds, bind{p.collection, to})
		} else {
			rec.links = append(rec.links, linkRefs{end: linkEnd{p.link.m, 1 - p.link.side}, refs: []rowKey{to}})
		}
		return nil
	})
}

// putRef answers PUT {set}({key})/{navigation}/$ref (section 5.2).
func (c *call) putRef() error {
	p := c.table.props[c.segs[1].name]
	if p.nav == nil {
		return errMethod(c.method)
	}
	key, err := c.refBody()
	if err != nil {
		return err
	}
	if err := p.nav.accepts(key.t); err != nil {
		return err
	}
	return c.updateOne(&record{t: c.table, binds: []bind{{p.nav, key}}})
}

// refBody reads {"@odata.id":"…"}.
func (c *call) refBody() (rowKey, error) {
	if err := c.checkContentType(); err != nil {
		return rowKey{}, err
	}
	s := scanner{b: c.body}
	ref := ""
	err := s.expect('{')
	for first := true; err == nil; first = false {
		var more bool
		if more, err = s.next('}', first); err != nil || !more {
			break
		}
		var name string
		if name, err = s.name(); err != nil {
			break
		}
		if name != "@odata.id" {
			err = s.skip(0)
			continue
		}
		var l jsonLiteral
		l, _, err = s.literal()
		ref = l.text
	}
	if err == nil {
		err = s.end()
	}
	if err == nil && ref == "" {
		err = s.fail("The property '@odata.id' was not found in the entity reference link.")
	}
	if err != nil {
		return rowKey{}, inPayload(c.table.EntitySet, err)
	}
	return c.parseRef(ref)
}

// associate links the row of the path with another, or points the other here.
func (c *call) associate(p property, key rowKey) error {
	c.records = 1
	return c.change(func(w *writer) error {
		from, err := c.findRow(w.tx, c.table, c.segs[0].key)
		if err != nil {
			return err
		}
		to, err := w.tx.find(key)
		if err != nil {
			return err
		}
		if p.collection != nil {
			if to.t != p.collection.from {
				return errSegment(key.t.EntitySet)
			}
			if err := w.update(to, &record{t: to.t, binds: []bind{{p.collection, rowKey{t: from.t, id: from.id}}}}); err != nil {
				return err
			}
			return c.noContent()
		}
		if to.t != p.link.m.tables[1-p.link.side] {
			return errSegment(key.t.EntitySet)
		}
		if err := w.mayLink(*p.link, from, to); err != nil {
			return err
		}
		if err := w.tx.link(*p.link, from.id, to.id); err != nil {
			return err
		}
		return c.noContent()
	})
}

// deleteRef answers DELETE on $ref: disassociate, by key in the path, by $id, or of
// a single-valued navigation (sections 5.1, 5.2).
func (c *call) deleteRef() error {
	p := c.table.props[c.segs[1].name]
	if p.nav != nil {
		if p.nav.col.Required == "system" {
			return errorf(http.StatusBadRequest, "0x80040200", "A required field '%s' is missing.", p.nav.col.LogicalName)
		}
		return c.updateOne(&record{t: c.table, binds: []bind{{rel: p.nav}}})
	}
	key, err := c.refTarget(p)
	if err != nil {
		return err
	}
	c.records = 1
	return c.change(func(w *writer) error {
		from, err := c.findRow(w.tx, c.table, c.segs[0].key)
		if err != nil {
			return err
		}
		to, err := w.tx.find(key)
		if err != nil {
			return err
		}
		if p.collection != nil {
			if v := to.value(p.collection.col); v.guid != from.id {
				return errNoRow(to.t, to.id)
			}
			if err := w.update(to, &record{t: to.t, binds: []bind{{rel: p.collection}}}); err != nil {
				return err
			}
			return c.noContent()
		}
		if !w.tx.unlink(*p.link, from.id, to.id) {
			return errNoRow(to.t, to.id)
		}
		return c.noContent()
	})
}

// refTarget is the far row of a disassociate.
func (c *call) refTarget(p property) (rowKey, error) {
	var far *table
	if p.link != nil {
		far = p.link.m.tables[1-p.link.side]
	} else {
		far = p.collection.from
	}
	if c.segs[1].hasKey {
		return parseKey(far, c.segs[1].key)
	}
	ref, ok := c.option("$id")
	if !ok {
		return rowKey{}, errURL("The DELETE request on a collection of references must name the reference with $id.")
	}
	key, err := c.parseRef(strings.TrimSpace(ref))
	if err == nil && key.t != far {
		err = errSegment(key.t.EntitySet)
	}
	return key, err
}
