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
	out := Preview{Version: 1, Table: table, Records: []PreviewRecord{}}
	b, err := p.bindStaged(ctx)
	if err != nil {
		return out, err
	}
	t := b.byName[table]
	if t == nil {
		var known []string
		for _, t := range b.tables {
			known = append(known, t.Name)
		}
		return out, unknownName("table", table, known)
	}
	where := ""
	if len(keys) > 0 {
		quoted := make([]string, len(keys))
		for i, k := range keys {
			quoted[i] = duckstage.Quote(k)
		}
		where, limit = " WHERE legacy_key IN ("+strings.Join(quoted, ", ")+")", len(keys)
	}
	query := fmt.Sprintf("SELECT dm_seq, legacy_key, dm_id::VARCHAR, dm_hold, dm_repairs, dm_owed FROM %s%s ORDER BY dm_seq LIMIT %d", duckstage.Ident(table), where, limit)
	at := map[int64]int{}
	var owed []int64
	var seqs []string
	err = p.stage.Rows(ctx, query, nil, func(scan func(...any) error) error {
		var r PreviewRecord
		var seq, owes int64
		var held, repairs *string
		if err := scan(&seq, &r.LegacyKey, &r.RecordID, &held, &repairs, &owes); err != nil {
			return err
		}
		r.Held, r.Repairs, r.Requests = textOf(held), textOf(repairs), []PreviewRequest{}
		at[seq] = len(out.Records)
		out.Records, owed, seqs = append(out.Records, r), append(owed, owes), append(seqs, fmt.Sprint(seq))
		return nil
	})
	if err != nil || len(seqs) == 0 {
		return out, err
	}
	writes := []struct {
		pass  plan.Pass
		write mapping.Write
		owes  int64
	}{{plan.Insert, mapping.Insert, 0}, {plan.Lookups, mapping.Lookups, mapping.OwesLookups}, {plan.Files, mapping.Files, mapping.OwesFiles}, {plan.State, mapping.State, mapping.OwesState}}
	if t.Link != nil {
		return out, p.previewLinks(ctx, t, seqs, at, &out)
	}
	for _, w := range writes {
		if w.pass == plan.State {
			if err := p.previewFiles(ctx, t, seqs, func(seq int64) *PreviewRecord { return &out.Records[at[seq]] }); err != nil {
				return out, err
			}
		}
		enc := t.Encoder(w.write, b.plan.Deferred(table))
		if enc.Empty() {
			continue
		}
		var closer *mapping.Closer
		if w.write == mapping.State {
			closer = t.Closer()
		}
		err := p.previewRows(ctx, enc, closer, table, seqs, func(rows *mapping.Rows, closings *mapping.ClosingRows, seq int64, i int) {
			k := at[seq]
			if w.owes != 0 && owed[k]&w.owes == 0 {
				return
			}
			record := rows.AppendTarget(nil, i)
			if w.write == mapping.Files && mapping.ClearsAll(enc.UpdateBody(nil, record)) {
				return
			}
			q := PreviewRequest{Pass: string(w.pass), Method: "POST", Path: t.Schema.EntitySet, Body: t.WithParties(enc.CreateBody(nil, record), rows.AppendParties(nil, i))}
			if w.write != mapping.Insert {
				q.Method, q.Path, q.Body = "PATCH", fmt.Sprintf("%s(%s)", t.Schema.EntitySet, out.Records[k].RecordID), enc.UpdateBody(nil, record)
			}
			if closings != nil {
				if c, needed := closings.Closing(i); needed {
					q.Method, q.Path, q.Body = "POST", c.Path, c.Body
				}
			}
			out.Records[k].Requests = append(out.Records[k].Requests, q)
		})
		if err != nil {
			return out, err
		}
	}
	return out, nil
}

// previewRows encodes the rows of these numbers. closer may be nil.
func (p *Project) previewRows(ctx context.Context, enc *mapping.Encoder, closer *mapping.Closer, table string, seqs []string,
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
	query := "SELECT " + strings.Join(columns, ", ") + " FROM " + mapping.Ident(table) + " WHERE dm_seq IN (" + strings.Join(seqs, ",") + ") ORDER BY dm_seq"
	return p.stage.Scan(ctx, query, nil, func(b *column.Batch) error {
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

// previewLinks shows what links two records.
func (p *Project) previewLinks(ctx context.Context, t *mapping.Table, seqs []string, at map[int64]int, out *Preview) error {
	set1, set2 := p.Schema.Table(t.Link.Table1), p.Schema.Table(t.Link.Table2)
	if set1 == nil || set2 == nil {
		return fmt.Errorf("the schema lacks %s or %s, the ends of the relationship", t.Link.Table1, t.Link.Table2)
	}
	return p.previewRows(ctx, t.Encoder(mapping.Insert, nil), nil, t.Name, seqs, func(rows *mapping.Rows, _ *mapping.ClosingRows, seq int64, i int) {
		id1, id2 := rows.LinkIDs(i)
		r := &out.Records[at[seq]]
		r.Requests = append(r.Requests, PreviewRequest{Pass: string(plan.Link), Method: "POST", Path: fmt.Sprintf("%s(%s)/%s/$ref", set1.EntitySet, id1, t.Link.Nav1), Body: refBody(set2.EntitySet, id2)})
	})
}

func refBody(set string, id schema.GUID) json.RawMessage {
	return fmt.Appendf(nil, `{"@odata.id":"%s(%s)"}`, set, id)
}

// previewFiles shows what the files pass sends, with what the stage says of each file
// instead of its content.
func (p *Project) previewFiles(ctx context.Context, t *mapping.Table, seqs []string, record func(seq int64) *PreviewRecord) error {
	for _, c := range t.Files() {
		if c.IsAttachment() { // goes with the record
			continue
		}
		query := fmt.Sprintf("SELECT dm_seq, %[1]s FROM %[2]s WHERE dm_seq IN (%[3]s) AND %[1]s IS NOT NULL", mapping.Ident(c.LogicalName), mapping.Ident(t.Name), strings.Join(seqs, ","))
		err := p.stage.Rows(ctx, query, nil, func(scan func(...any) error) error {
			var seq int64
			var file string
			if err := scan(&seq, &file); err != nil {
				return err
			}
			r := record(seq)
			path := fmt.Sprintf("%s(%s)", t.Schema.EntitySet, r.RecordID)
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
