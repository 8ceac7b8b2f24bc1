package appliance

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"dvmigrate/appliance/dataverse/schema"
	"dvmigrate/appliance/mapping"
	"dvmigrate/appliance/plan"
	"dvmigrate/duckstage"
	"dvmigrate/duckstage/column"
)

// Preview is a table's records as Dataverse would get them.
type Preview struct {
	Version int             `json:"version"`
	Table   string          `json:"table"`
	Records []PreviewRecord `json:"records"`
}

// PreviewRecord is one staged row with what is sent for it.
type PreviewRecord struct {
	LegacyKey string           `json:"legacyKey"`
	RecordID  string           `json:"recordId"`
	Held      string           `json:"held,omitempty"`    // why it is not sent
	Repairs   string           `json:"repairs,omitempty"` // what a policy mended
	Requests  []PreviewRequest `json:"requests"`
}

// PreviewRequest is what one pass sends for a record, as a single request would carry it.
type PreviewRequest struct {
	Pass   string          `json:"pass"`
	Method string          `json:"method"`
	Path   string          `json:"path"` // from the API's root
	Body   json.RawMessage `json:"body"`
}

// Preview shows the records of one table. Keys names rows by their legacy key; without,
// the first limit rows are shown.
func (p *Project) Preview(ctx context.Context, table string, keys []string, limit int) (Preview, error) {
	v := previewed{p: p, Preview: Preview{Version: 1, Table: table, Records: []PreviewRecord{}}, at: map[int64]int{}}
	b, err := p.bindStaged(ctx)
	if err != nil {
		return v.Preview, err
	}
	if v.t = b.byName[table]; v.t == nil {
		return v.Preview, b.unknownTable(table)
	}
	if err := v.find(ctx, keys, limit); err != nil || len(v.seqs) == 0 {
		return v.Preview, err
	}
	if v.t.Link != nil {
		return v.Preview, v.links(ctx)
	}
	for _, w := range previewWrites {
		if w.pass == plan.State { // follows the files
			if err := v.files(ctx); err != nil {
				return v.Preview, err
			}
		}
		if err := v.requests(ctx, w, v.t.Encoder(w.write, b.plan.Deferred(table))); err != nil {
			return v.Preview, err
		}
	}
	return v.Preview, nil
}

// previewWrite is what a pass writes.
type previewWrite struct {
	pass  plan.Pass
	write mapping.Write
	owes  int64 // what a row owes that needs the pass; 0: each row does
}

// previewWrites are the passes in their order.
var previewWrites = []previewWrite{
	{plan.Insert, mapping.Insert, 0},
	{plan.Lookups, mapping.Lookups, mapping.OwesLookups},
	{plan.Files, mapping.Files, mapping.OwesFiles},
	{plan.State, mapping.State, mapping.OwesState},
}

// previewed is a preview that is being made, with what the stage says of its rows.
type previewed struct {
	Preview
	p    *Project
	t    *mapping.Table
	at   map[int64]int // where a row's record is, by the row's number
	owed []int64       // of each record
	seqs []string      // of all rows, for SQL
}

// record is that of a row.
func (v *previewed) record(seq int64) *PreviewRecord { return &v.Records[v.at[seq]] }

// find reads the rows that are to be shown.
func (v *previewed) find(ctx context.Context, keys []string, limit int) error {
	where := ""
	if len(keys) > 0 {
		quoted := make([]string, len(keys))
		for i, k := range keys {
			quoted[i] = duckstage.Quote(k)
		}
		where, limit = " WHERE legacy_key IN ("+strings.Join(quoted, ", ")+")", len(keys)
	}
	query := fmt.Sprintf("SELECT dm_seq, legacy_key, dm_id::VARCHAR, dm_hold, dm_repairs, dm_owed FROM %s%s ORDER BY dm_seq LIMIT %d", duckstage.Ident(v.Table), where, limit)
	return v.p.stage.Rows(ctx, query, nil, func(scan func(...any) error) error {
		var r PreviewRecord
		var seq, owes int64
		var held, repairs *string
		if err := scan(&seq, &r.LegacyKey, &r.RecordID, &held, &repairs, &owes); err != nil {
			return err
		}
		r.Held, r.Repairs, r.Requests = textOf(held), textOf(repairs), []PreviewRequest{}
		v.at[seq] = len(v.Records)
		v.Records, v.owed, v.seqs = append(v.Records, r), append(v.owed, owes), append(v.seqs, fmt.Sprint(seq))
		return nil
	})
}

// requests adds what one pass sends for the rows that need it.
func (v *previewed) requests(ctx context.Context, w previewWrite, enc *mapping.Encoder) error {
	if enc.Empty() {
		return nil
	}
	var closer *mapping.Closer
	if w.write == mapping.State {
		closer = v.t.Closer()
	}
	return v.rows(ctx, enc, closer, func(rows *mapping.Rows, closings *mapping.ClosingRows, seq int64, i int) {
		if w.owes != 0 && v.owed[v.at[seq]]&w.owes == 0 {
			return
		}
		values := rows.AppendTarget(nil, i)
		if w.write == mapping.Files && mapping.ClearsAll(enc.UpdateBody(nil, values)) {
			return
		}
		r := v.record(seq)
		q := PreviewRequest{Pass: string(w.pass), Method: "POST", Path: v.t.Schema.EntitySet, Body: v.t.WithParties(enc.CreateBody(nil, values), rows.AppendParties(nil, i))}
		if w.write != mapping.Insert {
			q.Method, q.Path, q.Body = "PATCH", fmt.Sprintf("%s(%s)", v.t.Schema.EntitySet, r.RecordID), enc.UpdateBody(nil, values)
		}
		if closings != nil {
			if c, needed := closings.Closing(i); needed {
				q.Method, q.Path, q.Body = "POST", c.Path, c.Body
			}
		}
		r.Requests = append(r.Requests, q)
	})
}

// rows encodes the rows that are shown. closer may be nil.
func (v *previewed) rows(ctx context.Context, enc *mapping.Encoder, closer *mapping.Closer,
	each func(rows *mapping.Rows, closings *mapping.ClosingRows, seq int64, i int)) error {
	names := append([]string{mapping.Seq}, enc.StageColumns()...)
	if closer != nil {
		names = append(names, closer.StageColumns()...)
	}
	var columns []string
	for _, name := range names {
		if quoted := mapping.Ident(name); !slices.Contains(columns, quoted) {
			columns = append(columns, quoted)
		}
	}
	query := "SELECT " + strings.Join(columns, ", ") + " FROM " + mapping.Ident(v.Table) + " WHERE dm_seq IN (" + strings.Join(v.seqs, ",") + ") ORDER BY dm_seq"
	return v.p.stage.Scan(ctx, query, nil, func(b *column.Batch) error {
		rows, err := enc.Rows(b)
		if err != nil {
			return err
		}
		var closings *mapping.ClosingRows
		if closer != nil {
			if closings, err = closer.Rows(b); err != nil {
				return err
			}
		}
		for i := range b.Rows {
			each(rows, closings, b.Columns[0].Ints[i], i)
		}
		return nil
	})
}

// links adds the requests that link two records each.
func (v *previewed) links(ctx context.Context) error {
	link := v.t.Link
	set1, set2 := v.p.Schema.Table(link.Table1), v.p.Schema.Table(link.Table2)
	if set1 == nil || set2 == nil {
		return fmt.Errorf("the schema lacks %s or %s, the ends of the relationship", link.Table1, link.Table2)
	}
	return v.rows(ctx, v.t.Encoder(mapping.Insert, nil), nil, func(rows *mapping.Rows, _ *mapping.ClosingRows, seq int64, i int) {
		id1, id2 := rows.LinkIDs(i)
		r := v.record(seq)
		r.Requests = append(r.Requests, PreviewRequest{Pass: string(plan.Link), Method: "POST", Path: fmt.Sprintf("%s(%s)/%s/$ref", set1.EntitySet, id1, link.Nav1), Body: refBody(set2.EntitySet, id2)})
	})
}

func refBody(set string, id schema.GUID) json.RawMessage {
	return fmt.Appendf(nil, `{"@odata.id":"%s(%s)"}`, set, id)
}

// files adds what the files pass sends, with what the stage says of each file instead of its
// content.
func (v *previewed) files(ctx context.Context) error {
	for _, c := range v.t.Files() {
		if c.IsAttachment() { // goes with the record
			continue
		}
		query := fmt.Sprintf("SELECT dm_seq, %[1]s FROM %[2]s WHERE dm_seq IN (%[3]s) AND %[1]s IS NOT NULL", mapping.Ident(c.LogicalName), mapping.Ident(v.Table), strings.Join(v.seqs, ","))
		err := v.p.stage.Rows(ctx, query, nil, func(scan func(...any) error) error {
			var seq int64
			var file string
			if err := scan(&seq, &file); err != nil {
				return err
			}
			r := v.record(seq)
			path := fmt.Sprintf("%s(%s)", v.t.Schema.EntitySet, r.RecordID)
			if !c.IsNote() {
				path += "/" + c.LogicalName
			}
			r.Requests = append(r.Requests, PreviewRequest{Pass: string(plan.Files), Method: "PATCH", Path: path, Body: []byte(file)})
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}
