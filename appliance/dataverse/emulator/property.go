package emulator

import (
	"net/http"
	"strings"

	"dvmigrate/appliance/dataverse/schema"
)

// getProperty answers GET {set}({key})/{column} (section 3.6).
func (c *call) getProperty() error {
	if col := c.table.find(c.segs[1].name); col.Type == schema.File {
		return c.downloadFile(true)
	}
	v, col, err := c.readProperty()
	if err != nil {
		return err
	}
	return c.answerValue(c.table.EntitySet+"("+c.segs[0].key+")", v, col, false)
}

// answerValue answers one column of the row that at names, as JSON or raw; 204 when
// it is null.
func (c *call) answerValue(at string, v value, col *column, raw bool) error {
	switch {
	case v.isNull():
		return c.noContent()
	case raw:
		c.set("Content-Type", "text/plain")
		c.res.status, c.res.body = http.StatusOK, v.appendRaw(nil, col)
		return nil
	}
	body := appendString([]byte(`{"@odata.context":`), c.api+"/$metadata#"+at+"/"+col.wire)
	body = append(body, `,"value":`...)
	return c.json(http.StatusOK, append(v.appendJSON(body, col), '}'))
}

// getRawProperty answers GET {set}({key})/{column}/$value.
func (c *call) getRawProperty() error {
	if col := c.table.find(c.segs[1].name); col.Type == schema.File || col.Type == schema.Image {
		return c.downloadFile(false)
	}
	v, col, err := c.readProperty()
	if err != nil {
		return err
	}
	return c.answerValue("", v, col, true)
}

func (c *call) readProperty() (v value, col *column, err error) {
	col = c.table.find(c.segs[1].name)
	err = c.view(func(tx *tx) error {
		r, err := c.findRow(tx, c.table, c.segs[0].key)
		if err == nil {
			v = r.value(col)
		}
		return err
	})
	return v, col, err
}

// putProperty answers PUT {set}({key})/{column}.
func (c *call) putProperty() error {
	if col := c.table.find(c.segs[1].name); col.Type == schema.File || strings.HasPrefix(c.header.Get("Content-Type"), "application/octet-stream") {
		return c.uploadFile()
	}
	if err := c.checkContentType(); err != nil {
		return err
	}
	d := c.newDecoder(true)
	col := c.table.find(c.segs[1].name)
	rec := &record{t: c.table}
	err := d.expect('{')
	if err == nil {
		var name string
		if name, err = d.name(); err == nil && name != "value" {
			err = d.fail("A property with name '%s' was found when a property with name 'value' was expected.", name)
		}
	}
	if err == nil {
		err = d.column(rec, col, d.newStamp(c.table))
	}
	if err == nil {
		err = d.expect('}')
	}
	if err == nil {
		err = d.end()
	}
	if err != nil {
		return inPayload(c.table.EntitySet, err)
	}
	return c.updateOne(rec)
}

// deleteProperty answers DELETE {set}({key})/{column}: the column is cleared.
func (c *call) deleteProperty() error {
	col := c.table.find(c.segs[1].name)
	if col.Type == schema.File {
		return c.clearFile(col)
	}
	rec := &record{t: c.table}
	d := decoder{scanner: scanner{b: []byte("null")}, c: c, update: true}
	if err := d.column(rec, col, 1); err != nil {
		return err
	}
	if err := d.end(); err != nil {
		return err
	}
	return c.updateOne(rec)
}

// updateOne applies a record to the row that the path names, in the version that
// If-Match asks for (section 3.7).
func (c *call) updateOne(rec *record) error {
	c.records = 1
	return c.change(func(w *writer) error {
		old, err := c.findRow(w.tx, c.table, c.segs[0].key)
		if err != nil {
			return err
		}
		if err := matches(c.header.Get("If-Match"), old); err != nil {
			return err
		}
		if err := w.update(old, rec); err != nil {
			return err
		}
		return c.noContent()
	})
}

// putParties answers PUT {activities}({key})/{x}_activity_parties: the activity's
// parties are replaced (section 4.8).
func (c *call) putParties() error {
	rel := c.table.collections[c.segs[1].name]
	if rel == nil || rel != c.table.parties {
		return errMethod(c.method)
	}
	if err := c.checkContentType(); err != nil {
		return err
	}
	d := c.newDecoder(false)
	var recs []*record
	err := d.expect('{')
	if err == nil {
		_, err = d.name()
	}
	if err == nil {
		recs, err = d.records(rel.from, 0)
	}
	if err == nil {
		err = d.expect('}')
	}
	if err == nil {
		err = d.end()
	}
	if err != nil {
		return inPayload(c.table.EntitySet, err)
	}
	return c.change(func(w *writer) error {
		old, err := c.findRow(w.tx, c.table, c.segs[0].key)
		if err != nil {
			return err
		}
		for _, id := range w.tx.children(rel, old.id) {
			if party, ok := w.tx.row(rel.from, id); ok {
				w.tx.remove(party)
			}
		}
		if err := w.hang(&record{t: c.table, children: []childRecords{{rel: rel, recs: recs}}}, old.id); err != nil {
			return err
		}
		return c.noContent()
	})
}
