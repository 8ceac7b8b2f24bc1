package emulator

import (
	"net/http"
	"strings"

	"dvmigrate/appliance/dataverse/schema"
)

// postRow answers POST {set}: create (section 3.1).
func (c *call) postRow() error {
	return c.createRow(c.table, func(*writer, *record) error { return nil })
}

// createRow makes the row that the body describes, after join has added to it.
func (c *call) createRow(t *table, join func(*writer, *record) error) error {
	c.records = 1
	rec, err := c.decodeRow(t, false)
	if err != nil {
		return err
	}
	c.records = rowsOf([]*record{rec})
	if rec.ref != "" || t.LogicalName == "activityparty" {
		return errorf(http.StatusBadRequest, "0x80040800", "The 'Create' method does not support entities of type '%s'. MessageProcessorCache returned MessageProcessor.Empty.", t.LogicalName)
	}
	var id schema.GUID
	err = c.change(func(w *writer) error {
		if err := join(w, rec); err != nil {
			return err
		}
		id, err = w.create(rec)
		if e, ok := err.(*apiError); ok && e.code == "0x80040237" && id == rec.id {
			return errDuplicateID()
		}
		return err
	})
	if err != nil {
		return err
	}
	ref := t.EntitySet + "(" + id.String() + ")"
	c.ref = ref
	if c.prefer.representation {
		return c.represent(ref, http.StatusCreated)
	}
	c.res.entityID = c.api + "/" + ref
	return c.noContent()
}

// patchRow answers PATCH {set}({key}): update or upsert (sections 3.2, 3.3).
func (c *call) patchRow() error {
	c.records = 1
	key, err := parseKey(c.table, c.segs[0].key)
	if err != nil {
		return err
	}
	rec, err := c.decodeRow(c.table, true)
	if err != nil {
		return err
	}
	created := false
	var id schema.GUID
	ifMatch, createOnly := c.header.Get("If-Match"), c.header.Get("If-None-Match") == "*"
	key.inPartition(c, rec)
	err = c.change(func(w *writer) error {
		old, err := w.tx.find(key)
		if err != nil {
			if ifMatch != "" || c.prefer.noUpsert {
				return err
			}
			if rec, err = c.decodeRow(c.table, false); err != nil {
				return err
			}
			created = true
		} else if createOnly {
			return errDuplicateID()
		} else if err := matches(ifMatch, old); err != nil {
			return err
		}
		if ifMatch != "" && c.table.isElastic() {
			id = old.id
			return w.update(old, rec)
		}
		id, _, err = w.upsert(key, rec)
		return err
	})
	if err != nil {
		return err
	}
	ref := c.table.EntitySet + "(" + id.String() + ")"
	c.ref = ref
	if c.prefer.representation {
		if created {
			return c.represent(ref, http.StatusCreated)
		}
		return c.represent(ref, http.StatusOK)
	}
	c.res.entityID = c.api + "/" + c.table.EntitySet + "(" + escapeKey(c.segs[0].key) + ")"
	if key.key == nil && key.partition == "" {
		c.res.entityID = c.api + "/" + ref
	}
	return c.noContent()
}

// matches checks an If-Match header against a row (section 3.7).
func matches(ifMatch string, r row) error {
	if ifMatch == "" || ifMatch == "*" || ifMatch == r.etag() {
		return nil
	}
	return errVersion()
}

// etag is the row's version as an entity tag.
func (r row) etag() string { return `W/"` + intValue(r.version).String() + `"` }

// deleteRow answers DELETE {set}({key}) (section 3.5).
func (c *call) deleteRow() error {
	c.records = 1
	return c.change(func(w *writer) error {
		old, err := c.findRow(w.tx, c.table, c.segs[0].key)
		if err != nil {
			return err
		}
		if err := matches(c.header.Get("If-Match"), old); err != nil {
			return err
		}
		if err := c.may(w.tx, "Delete", old.t); err != nil {
			return err
		}
		if err := w.remove(old); err != nil {
			return err
		}
		return c.noContent()
	})
}

// represent answers a write with the row, read as a GET with the call's own query
// options would (return=representation).
func (c *call) represent(ref string, status int) error {
	set, key, _ := strings.Cut(strings.TrimSuffix(ref, ")"), "(")
	get := &call{srv: c.srv, method: http.MethodGet, api: c.api, path: ref, header: http.Header{}, prefer: c.prefer, level: c.level,
		user: c.user, caller: c.caller, table: c.srv.model.bySet[set], tx: c.tx, segs: []segment{{name: set, key: key, hasKey: true}}}
	for _, p := range c.query {
		if status == http.StatusCreated && c.method == http.MethodPost || p.name != "$expand" {
			get.query = append(get.query, p)
		}
	}
	get.prefer.representation = false
	if err := get.getRow(); err != nil {
		return err
	}
	c.res = get.res
	c.res.status = status
	c.applied("return=representation")
	return nil
}
