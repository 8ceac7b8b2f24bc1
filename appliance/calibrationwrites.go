package appliance

import (
	"context"

	"dvmigrate/appliance/dataverse"
	"dvmigrate/appliance/dataverse/schema"
	"dvmigrate/appliance/mapping"
)

func (k *calibration) createPart(ctx context.Context, from, to int, bulk bool) error {
	t, enc := k.table.Schema, k.encoder(mapping.Insert)
	if bulk {
		return k.client.CreateMany(ctx, t, targets(k.rows[from:to], func(r *sampleRow) []byte { return r.create }), to-from)
	}
	if to-from == 1 {
		return k.client.Create(ctx, t, enc.CreateBody(nil, k.rows[from].create))
	}
	return k.batch(ctx, from, to, func(i int) dataverse.Op { return dataverse.CreateOp(t, enc.CreateBody(nil, k.rows[i].create)) })
}

func (k *calibration) updatePart(ctx context.Context, from, to int, bulk bool) error {
	t, enc := k.table.Schema, k.encoder(mapping.Update)
	if bulk {
		return k.client.UpdateMany(ctx, t, targets(k.rows[from:to], func(r *sampleRow) []byte { return r.update }), to-from)
	}
	if to-from == 1 {
		return k.client.Update(ctx, t, k.rows[from].id, enc.UpdateBody(nil, k.rows[from].update))
	}
	return k.batch(ctx, from, to, func(i int) dataverse.Op {
		return dataverse.UpdateOp(t, k.rows[i].id, enc.UpdateBody(nil, k.rows[i].update))
	})
}

func (k *calibration) upsertPart(ctx context.Context, from, to int, bulk bool) error {
	t, enc := k.table.Schema, k.encoder(mapping.Update)
	if bulk {
		return k.client.UpsertMany(ctx, t, targets(k.rows[from:to], func(r *sampleRow) []byte { return r.update }), to-from)
	}
	return k.batch(ctx, from, to, func(i int) dataverse.Op {
		return dataverse.UpsertOp(t, k.rows[i].id, enc.UpdateBody(nil, k.rows[i].update))
	})
}

func (k *calibration) deletePart(ctx context.Context, from, to int, bulk bool) error {
	var ids []schema.GUID
	for _, r := range k.rows[from:to] {
		ids = append(ids, r.id)
	}
	return removeRecords(ctx, k.client, k.table.Schema, ids)
}

// batch sends a $batch; the first error of an operation stands for all.
func (k *calibration) batch(ctx context.Context, from, to int, op func(i int) dataverse.Op) error {
	ops := make([]dataverse.Op, 0, to-from)
	for i := from; i < to; i++ {
		ops = append(ops, op(i))
	}
	errs, err := k.client.Batch(ctx, ops)
	if err != nil {
		return err
	}
	for i, err := range errs {
		if err == nil {
			continue
		}
		if len(errs) == 1 || k.table.Link != nil {
			return err
		}
		if k.rows[from+i].dead = true; dataverse.KindOf(err) == dataverse.Lost {
			return err
		}
		if !k.told {
			k.note("%s: a record was refused and is left out: %v", k.table.Name, err)
		}
		k.told = true
	}
	return nil
}

// targets is the body of a bulk action.
func targets(rows []*sampleRow, item func(*sampleRow) []byte) []byte {
	body := []byte(`{"Targets":[`)
	for i, r := range rows {
		if i > 0 {
			body = append(body, ',')
		}
		body = append(body, item(r)...)
	}
	return append(body, "]}"...)
}

// encoder writes the records with ids of ours, also where Dataverse would assign them.
func (k *calibration) encoder(w mapping.Write) *mapping.Encoder {
	t := *k.table
	t.ServerIDs = false
	return t.Encoder(w, k.bound.plan.Deferred(t.Name))
}
