package emulator

import (
	"net/http"
	"slices"
	"strconv"

	"dvmigrate/appliance/dataverse/schema"
)

// How a query is answered, in short: parseOptions reads the query options
// (query_options.go), bindQuery checks them against the table (query_bind.go),
// readPage reads a page of rows (query_page.go), and a projection writes each row
// (query_row.go). A write that answers with the row does
//
//	p, err := c.representation(t)       // before writing: a bad $select changes nothing
//	body := c.entityBody(tx, p, r)      // after it
//
// $apply is in query_apply.go, fetchXml in fetch*.go, sql in sql*.go, change tracking
// in track.go.

// maxCount is where $count stops (section 10.4).
const maxCount = 5000

// getSet answers a query of a table's rows.
func (c *call) getSet() error {
	switch c.table.LogicalName {
	case "sdkmessagefilter":
		return c.getMessageFilters()
	case "sdkmessage":
		return c.getMessages()
	}
	if statement, ok := c.option("sql"); ok {
		return c.getSQL(c.table, statement)
	}
	opts, err := parseOptions(c.query)
	if err == nil {
		err = c.viewOption(&opts)
	}
	if err != nil {
		return err
	}
	switch {
	case opts.fetchXML != "":
		return c.getFetched(c.table, opts.fetchXML)
	case opts.apply != "":
		return c.getApplied(c.table, opts)
	case opts.delta != "" || c.prefer.trackChanges || isTracking(opts.token):
		return c.getChanges(c.table, opts)
	}
	q, err := c.bindQuery(c.table, opts, false)
	if err != nil {
		return err
	}
	return c.answerPage(q, nil)
}

// getCount answers set/$count: a number as plain text, at most 5000 (10.4).
func (c *call) getCount() error {
	opts, err := parseOptions(c.query)
	if err != nil {
		return err
	}
	if opts.delta != "" {
		return c.countChanges(c.table, opts)
	}
	q, err := c.bindQuery(c.table, opts, false)
	if err != nil {
		return err
	}
	return c.answerCount(q, nil)
}

func (c *call) answerCount(q *boundQuery, ids []schema.GUID) error {
	n, err := c.count(q, ids, maxCount)
	if err != nil {
		return err
	}
	c.res.status, c.res.body = http.StatusOK, strconv.AppendInt(nil, int64(n), 10)
	c.set("Content-Type", "text/plain")
	return nil
}

// representation binds the call's $select and $expand for answering one row of
// the table.
func (c *call) representation(t *table) (*projection, error) {
	opts, err := parseOptions(c.query)
	if err != nil {
		return nil, err
	}
	if opts.filter != nil || opts.order != nil || opts.top >= 0 || opts.apply != "" || opts.count {
		return nil, errURL("The query options $filter, $orderby, $top, $count and $apply can be applied only to a collection.")
	}
	return c.newProjection(t, opts, false)
}

// entityBody makes the answer with one row.
func (c *call) entityBody(tx *tx, p *projection, r row) []byte {
	context := appendString([]byte(`"@odata.context":`), c.api+"/$metadata#"+c.resourceOf(p.t)+p.context()+"/$entity")
	return p.appendRow(nil, tx, r, context)
}

// etag is a row version as the ETag and If-Match headers carry it (3.7).
func etag(version int64) string { return `W/"` + strconv.FormatInt(version, 10) + `"` }

// getRow answers one row by key; with its etag in If-None-Match, 304 without a
// body, unless something is expanded or annotated (3.7).
func (c *call) getRow() error {
	p, err := c.representation(c.table)
	if err != nil {
		return err
	}
	return c.view(func(tx *tx) error {
		r, err := c.findRow(tx, c.table, c.segs[0].key)
		if err != nil {
			return err
		}
		return c.answerRow(tx, p, r)
	})
}

func (c *call) answerRow(tx *tx, p *projection, r row) error {
	tag := etag(r.version)
	c.set("ETag", tag)
	if c.header.Get("If-None-Match") == tag && len(p.expand) == 0 && c.prefer.annotations == nil {
		c.res.status = http.StatusNotModified
		return nil
	}
	c.applyPreferences()
	c.records = 1
	return c.json(http.StatusOK, c.entityBody(tx, p, r))
}

// getRelated answers what a row's navigation property leads to: rows, their $count, their
// references with $ref, or what the rest of the path names from there.
func (c *call) getRelated() error {
	nav := c.segs[1]
	rest := c.segs[2:]
	if nav.hasKey {
		return c.getMember(nav, rest)
	}
	name := nav.name
	rel := c.table.navs[name]
	var to *table
	if len(rest) > 0 && isType(rest[0].name) && !rest[0].hasKey {
		var err error
		if rel != nil {
			to, err = castOf(rel.leadsTo(), rest[0].name)
		} else {
			name += "/" + rest[0].name
		}
		if err != nil {
			return err
		}
		rest = rest[1:]
	}
	if rel != nil {
		if len(rest) == 0 || len(rest) == 1 && rest[0].name == "$ref" {
			return c.getParent(rel, to, len(rest) == 1)
		}
		return c.follow(rel, to, rest)
	}
	if len(rest) > 1 || len(rest) == 1 && rest[0].name != "$ref" && rest[0].name != "$count" {
		return errSegment(c.segs[len(c.segs)-1].name)
	}
	each, of, err := c.table.collection(name)
	if err != nil {
		return err
	}
	return c.getRelatedRows(each, of, rest)
}

func (c *call) getRelatedRows(each func(*tx, schema.GUID) []schema.GUID, of *table, rest []segment) error {
	opts, err := parseOptions(c.query)
	if err != nil {
		return err
	}
	if len(rest) == 1 && rest[0].name == "$ref" {
		opts.columns = []string{}
	}
	q, err := c.bindQuery(of, opts, false)
	if err != nil {
		return err
	}
	ids := []schema.GUID{}
	err = c.view(func(tx *tx) error {
		r, err := c.findRow(tx, c.table, c.segs[0].key)
		if err == nil {
			ids = append(ids, each(tx, r.id)...)
		}
		return err
	})
	switch {
	case err != nil:
		return err
	case len(rest) == 0:
		return c.answerPage(q, ids)
	case rest[0].name == "$count":
		return c.answerCount(q, ids)
	}
	return c.answerRefs(of, ids)
}

// answerRefs answers references to rows.
func (c *call) answerRefs(t *table, ids []schema.GUID) error {
	refs := []object{}
	for _, id := range ids {
		refs = append(refs, object{{"@odata.id", c.api + "/" + t.EntitySet + "(" + id.String() + ")"}})
	}
	body := append(c.contextOf("Collection($ref)"), `,"value":`...)
	return c.json(http.StatusOK, append(appendAny(body, refs), '}'))
}

// getParent answers the row a lookup leads to; 204 when it is null.
func (c *call) getParent(rel *relation, to *table, ref bool) error {
	return c.view(func(tx *tx) error {
		r, err := c.findRow(tx, c.table, c.segs[0].key)
		if err != nil {
			return err
		}
		parent, ok := tx.led(rel, to, r.value(rel.col))
		if !ok {
			return c.noContent()
		}
		if ref {
			body := c.contextOf("$ref")
			return c.json(http.StatusOK, append(appendNamed(body, "@odata.id", c.api+"/"+parent.t.EntitySet+"("+parent.id.String()+")"), '}'))
		}
		p, err := c.representation(parent.t)
		if err != nil {
			return err
		}
		return c.answerRow(tx, p, parent)
	})
}

// getMember answers one row of a collection, set(key)/collection(key), or what the rest of
// the path names from there.
func (c *call) getMember(nav segment, rest []segment) error {
	each, of, err := c.table.collection(nav.name)
	if err != nil {
		return errSegment(nav.name)
	}
	var member row
	err = c.view(func(tx *tx) error {
		r, err := c.findRow(tx, c.table, c.segs[0].key)
		if err != nil {
			return err
		}
		if member, err = c.findRow(tx, of, nav.key); err != nil {
			return err
		}
		if !slices.Contains(each(tx, r.id), member.id) {
			return errNoRow(of, member.id)
		}
		return nil
	})
	if err != nil {
		return err
	}
	return c.goOn(member, rest)
}

// viewOption puts the FetchXML of the saved or personal view that savedQuery or
// userQuery names in place of the other options.
func (c *call) viewOption(o *options) error {
	for option, name := range map[string]string{"savedQuery": "savedquery", "userQuery": "userquery"} {
		text, ok := c.option(option)
		if !ok {
			continue
		}
		id, err := schema.ParseGUID(text)
		if err != nil {
			return errorf(http.StatusBadRequest, "0x80040203", "The value '%s' of the query option '%s' is not a GUID.", clip(text), option)
		}
		missing := errorf(http.StatusNotFound, "0x80040217", "%s With Id = %s Does Not Exist", name, id)
		t := c.srv.model.byName[name]
		if t == nil || t.byName["fetchxml"] == nil {
			return missing
		}
		return c.view(func(tx *tx) error {
			r, ok := tx.row(t, id)
			if !ok {
				return missing
			}
			o.fetchXML = r.value(t.byName["fetchxml"]).text
			return nil
		})
	}
	return nil
}
