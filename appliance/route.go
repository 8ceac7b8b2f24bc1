package appliance

import (
	"context"
	"encoding/json"

	"dvmigrate/appliance/dataverse"
	"dvmigrate/appliance/dataverse/schema"
)

// The requests of a route besides those of the way of records whose ids are ours.

func (r *route) CreateManyIDs(ctx context.Context, t *schema.Table, body []byte, records int) (ids []schema.GUID, err error) {
	err = r.call(ctx, func(c *dataverse.Client) (err error) {
		ids, err = c.CreateManyIDs(ctx, t, body, records)
		return err
	})
	return ids, err
}

func (r *route) CreateID(ctx context.Context, t *schema.Table, body []byte) (id schema.GUID, err error) {
	err = r.call(ctx, func(c *dataverse.Client) (err error) {
		id, err = c.CreateID(ctx, t, body)
		return err
	})
	return id, err
}

func (r *route) BatchIDs(ctx context.Context, ops []dataverse.Op) (ids []schema.GUID, errs []error, err error) {
	err = r.call(ctx, func(c *dataverse.Client) (err error) {
		ids, errs, err = c.BatchIDs(ctx, ops)
		return err
	})
	return ids, errs, err
}

// Matching reads as one user, as Rows does.
func (r *route) Matching(ctx context.Context, t *schema.Table, columns, conditions []string, fn func(row json.RawMessage) error) error {
	i, _ := r.users.pick()
	defer r.users.back(i)
	return r.users.each[i].client.Matching(ctx, t, columns, conditions, fn)
}

func (r *route) DeleteMany(ctx context.Context, t *schema.Table, body []byte, records int) error {
	return r.call(ctx, func(c *dataverse.Client) error { return c.DeleteMany(ctx, t, body, records) })
}

func (r *route) Do(ctx context.Context, op dataverse.Op) error {
	return r.call(ctx, func(c *dataverse.Client) error { return c.Do(ctx, op) })
}
