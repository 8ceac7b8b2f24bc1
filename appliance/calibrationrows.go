package appliance

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"dvmigrate/appliance/dataverse"
	"dvmigrate/appliance/dataverse/schema"
	"dvmigrate/appliance/mapping"
	"dvmigrate/duckstage"
	"dvmigrate/duckstage/column"
)

// read takes rows from all over the stage's table: with their own values, but new ids,
// without alternate keys, and with lookups to records that are there or to none.
func (k *calibration) read(ctx context.Context, ids []schema.GUID) error {
	seqs, err := k.chosen(ctx, len(ids))
	if err != nil {
		return err
	}
	insert, update := k.encoder(mapping.Insert), k.encoder(mapping.Update)
	var columns []string
	for _, name := range append(insert.StageColumns(), update.StageColumns()...) {
		if name = mapping.Ident(name); !slices.Contains(columns, name) {
			columns = append(columns, name)
		}
	}
	query := "SELECT " + strings.Join(columns, ", ") + " FROM " + mapping.Ident(k.table.Name) + " WHERE dm_seq IN (" + strings.Join(seqs, ",") + ") ORDER BY dm_seq"
	there, err := k.existing(ctx, query)
	if err != nil {
		return err
	}
	return k.p.stage.Scan(ctx, query, nil, func(b *column.Batch) error {
		created, err := insert.Rows(b)
		if err != nil {
			return err
		}
		updated, err := update.Rows(b)
		if err != nil {
			return err
		}
		k.rewrite(b, ids, there)
		for i := range b.Rows {
			k.rows = append(k.rows, &sampleRow{id: created.ID(i), create: created.AppendTarget(nil, i), update: updated.AppendTarget(nil, i)})
		}
		return nil
	})
}

// chosen are the numbers of n rows, spread over the table where it has more.
func (k *calibration) chosen(ctx context.Context, n int) ([]string, error) {
	table := duckstage.Ident(k.table.Name)
	var all int64
	if err := k.p.stage.Row(ctx, []any{&all}, "SELECT count(*) FROM "+table); err != nil {
		return nil, err
	}
	var seqs []string
	for _, step := range []int64{max(all/int64(n), 1), 1} { // the second time where too many are held
		seqs = nil
		query := fmt.Sprintf("SELECT dm_seq FROM %s WHERE dm_hold IS NULL AND dm_seq %% %d = 0 ORDER BY dm_seq LIMIT %d", table, step, n)
		err := k.p.stage.Rows(ctx, query, nil, func(scan func(...any) error) error {
			var seq int64
			err := scan(&seq)
			seqs = append(seqs, fmt.Sprint(seq))
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("choose rows of %s: %w", k.table.Name, err)
		}
		if len(seqs) == n {
			break
		}
	}
	return seqs, nil
}

// eachLookup goes through the values of lookups that are not null.
func (k *calibration) eachLookup(b *column.Batch, fn func(v *column.Vector, i int, target *mapping.Target)) {
	for n := range k.table.Lookups {
		l := &k.table.Lookups[n]
		v, tables := b.Column(l.LogicalName), b.Column(l.LogicalName+mapping.TargetSuffix)
		if v == nil || v.Type != column.UUID {
			continue
		}
		for i := range b.Rows {
			if v.Null(i) {
				continue
			}
			target := &l.Targets[0]
			if tables != nil {
				name := string(tables.TextAt(i))
				if at := slices.IndexFunc(l.Targets, func(t mapping.Target) bool { return t.Table == name }); at >= 0 {
					target = &l.Targets[at]
				}
			}
			fn(v, i, target)
		}
	}
}

// existing asks the sandbox for the records that are not of this migration and that
// lookups of the rows point to.
func (k *calibration) existing(ctx context.Context, query string) (map[schema.GUID]struct{}, error) {
	ids := map[string][]schema.GUID{}
	err := k.p.stage.Scan(ctx, query, nil, func(b *column.Batch) error {
		k.eachLookup(b, func(v *column.Vector, i int, target *mapping.Target) {
			if id := schema.GUID(v.UUIDs[i]); !target.Staged && !slices.Contains(ids[target.Table], id) {
				ids[target.Table] = append(ids[target.Table], id)
			}
		})
		return nil
	})
	there := map[schema.GUID]struct{}{}
	for table, of := range ids {
		t := k.p.Schema.Table(table)
		if err != nil || t == nil {
			continue
		}
		found, e := k.client.Existing(ctx, t, of)
		if kind := dataverse.KindOf(e); kind == dataverse.Setup || kind == dataverse.NotFound { // not readable: not bound
			continue
		} else if e != nil {
			err = e
		}
		for id := range found {
			there[id] = struct{}{}
		}
	}
	return there, err
}

// rewrite gives the rows their ids, and takes from them what would not be true in the
// sandbox.
func (k *calibration) rewrite(b *column.Batch, ids []schema.GUID, there map[schema.GUID]struct{}) {
	from := len(k.rows)
	own := b.Column(mapping.ID)
	for i := range b.Rows {
		own.UUIDs[i] = ids[from+i]
	}
	k.eachLookup(b, func(v *column.Vector, i int, target *mapping.Target) {
		_, found := there[schema.GUID(v.UUIDs[i])]
		if of := k.kept[target.Table]; target.Staged && len(of) > 0 {
			v.UUIDs[i] = of[(from+i)%len(of)]
		} else if target.Staged || !found {
			v.SetNull(i, b.Rows)
		}
	})
	for _, key := range k.table.Schema.Keys {
		for _, name := range key.Columns {
			if v := b.Column(name); v != nil && k.table.Lookup(name) == nil {
				for i := range b.Rows {
					v.SetNull(i, b.Rows)
				}
			}
		}
	}
}
