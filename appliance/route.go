package appliance

import (
	"context"
	"encoding/json"
	"time"

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

// ExistingEach reads as one user, as Rows does.
func (r *route) ExistingEach(ctx context.Context, asked []dataverse.Asked) ([]map[schema.GUID]time.Time, error) {
	i, _ := r.users.pick()
	defer r.users.back(i)
	return r.users.each[i].client.ExistingEach(ctx, asked)
}

func (r *route) DeleteMany(ctx context.Context, t *schema.Table, body []byte, records int) error {
	return r.call(ctx, func(c *dataverse.Client) error { return c.DeleteMany(ctx, t, body, records) })
}

func (r *route) Do(ctx context.Context, op dataverse.Op) error {
	return r.call(ctx, func(c *dataverse.Client) error { return c.Do(ctx, op) })
}

func (r *route) UploadFile(ctx context.Context, t *schema.Table, id schema.GUID, column string, f dataverse.Content) error {
	return r.call(ctx, func(c *dataverse.Client) error { return c.UploadFile(ctx, t, id, column, f) })
}

func (r *route) ClearFile(ctx context.Context, t *schema.Table, id schema.GUID, column string) error {
	return r.call(ctx, func(c *dataverse.Client) error { return c.ClearFile(ctx, t, id, column) })
}

func (r *route) UpdateNote(ctx context.Context, t *schema.Table, id schema.GUID, fields []byte, f dataverse.Content) error {
	return r.call(ctx, func(c *dataverse.Client) error { return c.UpdateNote(ctx, t, id, fields, f) })
}

func (r *route) UpdateAttachment(ctx context.Context, t *schema.Table, id schema.GUID, f dataverse.Content) error {
	return r.call(ctx, func(c *dataverse.Client) error { return c.UpdateAttachment(ctx, t, id, f) })
}

func (r *route) CreateAttachment(ctx context.Context, t *schema.Table, create []byte, f dataverse.Content) (id schema.GUID, err error) {
	err = r.call(ctx, func(c *dataverse.Client) (err error) {
		id, err = c.CreateAttachment(ctx, t, create, f)
		return err
	})
	return id, err
}

// FileOf reads as one user, as Rows does.
func (r *route) FileOf(ctx context.Context, t *schema.Table, id schema.GUID, column string) (name string, size int64, there bool, err error) {
	i, _ := r.users.pick()
	defer r.users.back(i)
	return r.users.each[i].client.FileOf(ctx, t, id, column)
}
