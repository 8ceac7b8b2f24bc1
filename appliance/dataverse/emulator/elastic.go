package emulator

import (
	"net/http"
	"slices"
	"strconv"
	"strings"

	"dvmigrate/appliance/dataverse/schema"
)

// Elastic tables (sections 3.3, 6.3): rows are addressed by id and partition, bulk
// actions keep what could be written, an upsert replaces the row, and writes answer
// with a session token, and rows expire. The emulator keeps ids unique in the table,
// not only in the partition.

// maxElasticRows is how many rows a bulk action on an elastic table may carry.
const maxElasticRows = 100

func (t *table) isElastic() bool { return t.Kind == schema.Elastic }

// errElasticLink refuses what would join an elastic table with another for a condition.
func errElasticLink() *apiError {
	return errorf(http.StatusBadRequest, "0x80048d0b", "Link entities are not supported")
}

// partitionOf is the partition a row is in: its own, or its id as text.
func (r row) partition() string {
	if c := r.t.byName["partitionid"]; c != nil {
		if v := r.value(c); !v.isNull() {
			return v.text
		}
	}
	return r.id.String()
}

// expired reports whether an elastic row's time to live is over: it is no longer
// seen. The row itself stays until its id is used again.
func (r row) expired() bool {
	if r.t.ttl == nil || r.data == nil {
		return false
	}
	ttl := r.s.columnAt(r.t, r.data, r.t.ttl)
	return ttl.n > 0 && float64(r.s.now()-r.s.columnAt(r.t, r.data, r.t.modifiedOn).n)*r.s.speed >= float64(ttl.n)
}

// inPartition notes the partition that a request names for a row: in the query or in
// the body beside the id. Without one it is the row's id.
func (k *rowKey) inPartition(c *call, rec *record) {
	if !k.t.isElastic() || k.partition != "" {
		return
	}
	if col := k.t.byName["partitionid"]; rec != nil && col != nil {
		for _, a := range rec.set {
			if a.col == col {
				k.partition = a.v.text
			}
		}
	}
	for _, p := range c.query {
		if strings.EqualFold(p.name, "partitionid") && c.method != http.MethodPost && c.method != http.MethodPatch {
			k.partition = strings.Trim(p.value, "'")
		}
	}
}

// addressing lists the alternate keys as the metadata has them: those of the schema, and
// that of an elastic table's id and partition.
func (t *table) addressing() []schema.Key {
	if !t.isElastic() || slices.ContainsFunc(t.Table.Keys, func(k schema.Key) bool { return k.SchemaName == partitionKey }) {
		return t.Table.Keys
	}
	return append(slices.Clone(t.Table.Keys), schema.Key{LogicalName: strings.ToLower(partitionKey), SchemaName: partitionKey, Columns: []string{t.PrimaryID, "partitionid"}})
}

// partitionKey is the name of that key.
const partitionKey = "KeyForNoSqlEntityWithPKPartitionId"

// elasticKey reads id and partition between the brackets of a URL: the alternate key
// KeyForNoSqlEntityWithPKPartitionId (section 6.3).
func elasticKey(t *table, pairs []param, text string) (k rowKey, ok bool) {
	k = rowKey{t: t, text: text}
	if !t.isElastic() || len(pairs) != 2 {
		return k, false
	}
	for _, p := range pairs {
		switch p.name {
		case t.PrimaryID:
			id, err := schema.ParseGUID(p.value)
			if err != nil {
				return k, false
			}
			k.id = id
		case "partitionid":
			k.partition = strings.ReplaceAll(strings.Trim(p.value, "'"), "''", "'")
		}
	}
	return k, !k.id.IsZero() && k.partition != ""
}

// postElastic answers a bulk action on an elastic table: what can be written stays,
// and the error says what could not, row by row, to a client that asks for
// annotations.
func (a bulkAction) postElastic(c *call, recs []*record) error {
	if len(recs) > maxElasticRows {
		return errorf(http.StatusBadRequest, "0x80040203", "The number of targets in %s on the entity %s exceeds the maximum of %d.", a.name, c.table.LogicalName, maxElasticRows)
	}
	ids := make([]schema.GUID, len(recs))
	var details []byte
	var first *apiError
	err := c.change(func(w *writer) error {
		for i, rec := range recs {
			save := w.tx.save()
			err := c.srv.faults.throttleRow(c)
			if err == nil {
				ids[i], err = w.bulk(a.action, rec)
			}
			if err == nil {
				continue
			}
			e, ok := err.(*apiError)
			if !ok {
				return err
			}
			w.tx.rollback(save)
			if first == nil || e.status == http.StatusTooManyRequests && first.status != e.status {
				first = e
			}
			details = appendBulkDetail(details, i, rec.id, e)
		}
		return nil
	})
	if err != nil {
		return err
	}
	c.sessionToken()
	if first == nil {
		if a.action != "create" {
			return c.noContent()
		}
		return c.json(http.StatusOK, c.appendIDs(nil, a.name, ids))
	}
	e := *first
	e.details = [][2]string{{"@Microsoft.PowerApps.CDS.ErrorDetails.Plugin.BulkApiErrorDetails", "[" + string(details) + "]"}}
	return &e
}

// appendBulkDetail appends what became of one row, with the status of the store
// behind elastic tables.
func appendBulkDetail(dst []byte, index int, id schema.GUID, e *apiError) []byte {
	if len(dst) > 0 {
		dst = append(dst, ',')
	}
	status := e.status
	if status == http.StatusPreconditionFailed {
		status = http.StatusConflict
	}
	return appendObject(dst, object{{"RequestIndex", index}, {"Id", id}, {"StatusCode", status}})
}

// sessionToken answers a write with the token that lets a read see it.
func (c *call) sessionToken() {
	if c.res.header == nil {
		c.res.header = http.Header{}
	}
	c.res.header["x-ms-session-token"] = []string{"240:8#" + strconv.FormatInt(c.srv.lastID.Add(1), 10) + "#7=-1"}
}

// postDeleteMultiple answers DeleteMultiple, which only elastic tables have.
func (c *call) postDeleteMultiple() error {
	if !c.table.isElastic() {
		return errNotImplemented("DeleteMultiple")
	}
	a := bulkAction{"DeleteMultiple", "delete"}
	recs, err := c.decodeTargets(a)
	if err != nil {
		return inPayload(c.table.EntitySet, err)
	}
	c.records = len(recs)
	if err := c.view(func(tx *tx) error { return c.may(tx, "Delete", c.table) }); err != nil {
		return err
	}
	err = a.postElastic(c, recs)
	delete(c.res.header, "x-ms-session-token")
	return err
}

// onlyElastic reports whether all calls of a change set are on elastic tables: the
// ones before a failure stay then (section 6.3).
func onlyElastic(calls []*call) bool {
	for _, c := range calls {
		if c.table == nil || !c.table.isElastic() {
			return false
		}
	}
	return len(calls) > 0
}
