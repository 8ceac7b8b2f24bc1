package emulator

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"dvmigrate/appliance/dataverse/schema"
)

// Change tracking (section 11). The first reading pages through the table; its
// last page carries a delta link with the row version at which the reading began,
// so that what changed meanwhile comes again. A delta lists the rows with a later
// version, by version, and after them what was deleted.

// trackExpiry is how long a delta token is good: organization.expirechangetrackingindays.
const trackExpiry = 7 * 24 * time.Hour

// deltaTime is the form of the time in a token: 919042!08/22/2017 08:10:44.
const deltaTime = "01/02/2006 15:04:05"

// delta is a delta token.
type delta struct {
	version int64
	at      time.Time
}

func (d delta) String() string {
	return strconv.FormatInt(d.version, 10) + "!" + d.at.UTC().Format(deltaTime)
}

func (c *call) parseDelta(token string) (delta, error) {
	version, at, ok := strings.Cut(token, "!")
	n, err1 := strconv.ParseInt(version, 10, 64)
	t, err2 := time.Parse(deltaTime, at)
	if !ok || err1 != nil || err2 != nil || n < 0 {
		return delta{}, errURL("The delta token '%s' is not valid.", clip(token))
	}
	if time.Unix(c.srv.store.now(), 0).Sub(t) > trackExpiry {
		return delta{}, errorf(http.StatusBadRequest, "0x80044352", "Version stamp associated with the client has expired. Please perform a full sync.")
	}
	return delta{n, t}, nil
}

// isTracking reports whether a $skiptoken goes on with a tracked reading.
func isTracking(token string) bool {
	_, tracking, err := readCookie(token)
	return err == nil && tracking
}

// trackQuery checks that the table and the options allow tracking.
func (c *call) trackQuery(t *table, o options) (*boundQuery, error) {
	for _, p := range o.raw {
		switch p.name {
		case "$filter", "$orderby", "$expand", "$top", "$apply":
			return nil, errURL("The \"%s\" query parameter isn't supported when Change Tracking is enabled.", p.name)
		}
	}
	if !t.ChangeTracking {
		return nil, errorf(http.StatusBadRequest, "0x80044355", "The entity '%s' does not have change tracking enabled.", t.LogicalName)
	}
	return c.bindQuery(t, o, false)
}

// withTracking turns change tracking on where the schema says of no table that it is.
func withTracking(s *schema.Schema) (*schema.Schema, error) {
	if slices.ContainsFunc(s.Tables, func(t *schema.Table) bool { return t.ChangeTracking }) {
		return s, nil
	}
	for _, t := range s.Tables {
		if t.Kind != schema.Standard && t.Kind != schema.Activity {
			continue
		}
		tracked := *t
		tracked.ChangeTracking = true
		var err error
		if s, err = s.With(&tracked); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// getChanges answers the first reading, a page of it, or a delta.
func (c *call) getChanges(t *table, o options) error {
	q, err := c.trackQuery(t, o)
	if err != nil {
		return err
	}
	var from position
	if o.token != "" {
		inner, _, err := readCookie(o.token)
		if err == nil {
			from, err = decodePosition(inner, 0)
		}
		if err != nil {
			return err
		}
	}
	if from.Page == 0 {
		if o.delta != "" {
			d, err := c.parseDelta(o.delta)
			if err != nil {
				return err
			}
			from = position{Since: d.version, Delta: true, Version: d.version}
		}
		if err := c.view(func(tx *tx) error { from.Until = tx.lastVersion(); return nil }); err != nil {
			return err
		}
	}
	if from.Delta {
		return c.answerDelta(q, from)
	}
	size, _ := c.pageSize(t, -1)
	p, err := c.readPage(q, nil, from, size)
	if err != nil {
		return err
	}
	if p.next != nil {
		p.next.Until = from.Until
	}
	return c.answerTracked(q, p, from, "")
}

// answerTracked answers a page, with the link to the next or, after the last, the
// delta link.
func (c *call) answerTracked(q *boundQuery, p page, from position, suffix string) error {
	body := append(c.contextOf(q.t.EntitySet+q.proj.context()+suffix), `,"value":[`...)
	body = append(append(body, p.rows...), ']')
	if p.next != nil {
		body = appendNamed(body, "@odata.nextLink", c.nextLink("$skiptoken", cookie(p.next.Page, p.next.encode(), true)))
	} else {
		token := delta{from.Until, time.Unix(c.srv.store.now(), 0)}
		body = appendNamed(body, "@odata.deltaLink", c.nextLink("$deltatoken", token.String()))
	}
	c.applied("odata.track-changes")
	c.applyPreferences()
	c.records = p.n
	c.res.status, c.res.body = http.StatusOK, append(body, '}')
	c.set("Content-Type", c.level.streamType())
	return nil
}

// change is a row that changed, or was deleted, after a version.
type change struct {
	id      schema.GUID
	version int64
}

// changes lists the rows changed after one version, up to another, in order of
// version.
func (c *call) changes(q *boundQuery, since, until int64) ([]change, error) {
	var list []change
	err := q.each(c, nil, schema.GUID{}, func(_ *tx, r row) bool {
		if r.version > since && r.version <= until {
			list = append(list, change{r.id, r.version})
		}
		return true
	})
	slices.SortFunc(list, func(a, b change) int { return compareInts(a.version, b.version) })
	return list, err
}

// deletions lists what was deleted after a version and is not there again.
func (c *call) deletions(t *table, since, until int64) (list []change, err error) {
	err = c.view(func(tx *tx) error {
		tx.scanDeleted(t, since, func(id schema.GUID, version int64) {
			if _, back := tx.row(t, id); !back && version <= until {
				list = append(list, change{id, version})
			}
		})
		return nil
	})
	return list, err
}

// answerDelta answers a page of changed rows; the deletions are on the last.
func (c *call) answerDelta(q *boundQuery, from position) error {
	rows, err := c.changes(q, from.Version, from.Until)
	if err != nil {
		return err
	}
	size, _ := c.pageSize(q.t, -1)
	p := page{}
	if len(rows) > size {
		rows = rows[:size]
		p.next = &position{Page: max(from.Page, 1) + 1, Since: from.Since, Until: from.Until, Delta: true, Version: rows[size-1].version}
	}
	err = c.view(func(tx *tx) error {
		for _, ch := range rows {
			if r, ok := tx.row(q.t, ch.id); ok {
				p.add(q, tx, r)
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	if p.next == nil {
		gone, err := c.deletions(q.t, from.Since, from.Until)
		if err != nil {
			return err
		}
		for _, ch := range gone {
			if p.n > 0 {
				p.rows = append(p.rows, ',')
			}
			p.n++
			p.rows = appendObject(p.rows, object{{"@odata.context", c.api + "/$metadata#" + q.t.EntitySet + "/$deletedEntity"},
				{"id", ch.id}, {"reason", "deleted"}})
		}
	}
	return c.answerTracked(q, p, from, "/$delta")
}

// countChanges answers set/$count?$deltatoken=…
func (c *call) countChanges(t *table, o options) error {
	q, err := c.trackQuery(t, o)
	if err != nil {
		return err
	}
	d, err := c.parseDelta(o.delta)
	if err != nil {
		return err
	}
	const all = 1<<63 - 1
	rows, err := c.changes(q, d.version, all)
	if err != nil {
		return err
	}
	gone, err := c.deletions(t, d.version, all)
	if err != nil {
		return err
	}
	c.res.status, c.res.body = http.StatusOK, strconv.AppendInt(nil, int64(len(rows)+len(gone)), 10)
	c.set("Content-Type", "text/plain")
	return nil
}
