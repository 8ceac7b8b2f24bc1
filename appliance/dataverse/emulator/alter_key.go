package emulator

import (
	"net/http"
	"slices"
	"strconv"
	"strings"

	"dvmigrate/appliance/dataverse/schema"
)

// addKey makes an alternate key; the emulator's index is there at once.
func (a *alteration) addKey(t *schema.Table, w *wireKey) (string, error) {
	k := schema.Key{LogicalName: strings.ToLower(w.SchemaName), SchemaName: w.SchemaName, Columns: w.KeyAttributes}
	if k.LogicalName == "" || len(k.Columns) == 0 || len(k.Columns) > 16 || len(t.Keys) >= 10 {
		return "", errMetadata("An alternate key needs a SchemaName and 1 to 16 KeyAttributes, and a table has 10 at most.")
	}
	if t.Kind == schema.Elastic {
		return "", errMetadata("The elastic entity %s can have no other alternate key than its own.", t.LogicalName)
	}
	if slices.ContainsFunc(t.Keys, func(o schema.Key) bool { return o.LogicalName == k.LogicalName }) {
		return "", errMetadata("A key with the name %s already exists.", w.SchemaName)
	}
	for _, name := range k.Columns {
		i := slices.IndexFunc(t.Columns, func(c *schema.Column) bool { return c.LogicalName == name })
		if i < 0 {
			return "", errorf(404, "0x80041103", "'%s' entity doesn't contain attribute with Name = '%s'.", t.LogicalName, name)
		}
		switch t.Columns[i].Type {
		case schema.Decimal, schema.Integer, schema.Text, schema.DateTime, schema.Lookup, schema.Choice:
		default:
			return "", errMetadata("The attribute %s is of a type that no key can have.", name)
		}
	}
	t.Keys = append(t.Keys, k)
	return k.LogicalName, nil
}

// buildKey makes the key's index, which is what makes the key active (section 3.4). Where
// rows have the same values it fails: nobody can address rows by the key until another
// try succeeds. The service builds in the background; here it is done when a call is.
func (c *call) buildKey(a *alteration, t *schema.Table, k *schema.Key) error {
	id := metadataID("key", t.LogicalName, k.LogicalName)
	a.failed = slices.DeleteFunc(a.failed, func(g schema.GUID) bool { return g == id })
	k.Inactive = false
	if now := c.srv.model.byName[t.LogicalName]; now != nil && c.srv.store.hasSame(now, k.Columns) {
		k.Inactive, a.failed = true, append(a.failed, id)
	}
	return nil
}

// reactivateKey answers the action that tries again to build an index that failed.
func (c *call) reactivateKey() error {
	var body struct{ EntityLogicalName, EntityKeyLogicalName string }
	if err := c.wire(&body); err != nil {
		return err
	}
	err := c.alter(func(a *alteration) error {
		t := a.table(body.EntityLogicalName)
		if t == nil {
			return errNoTable(body.EntityLogicalName)
		}
		for i := range t.Keys {
			if t.Keys[i].LogicalName == body.EntityKeyLogicalName {
				return c.buildKey(a, t, &t.Keys[i])
			}
		}
		return errorf(http.StatusNotFound, "0x80040217", "EntityKey with name %s does not exist on the entity %s.", clip(body.EntityKeyLogicalName), t.LogicalName)
	})
	if err != nil {
		return err
	}
	return c.noContent()
}

// hasSame reports whether two rows have the same values in the columns, as a unique index
// sees them: one with a null is like no other.
func (s *store) hasSame(t *table, columns []string) bool {
	seen, same := map[string]bool{}, false
	_ = s.view(func(tx *tx) error {
		tx.scan(t, schema.GUID{}, func(r row) bool {
			var b strings.Builder
			for _, name := range columns {
				c := t.byName[name]
				if c == nil || r.value(c).isNull() {
					return true
				}
				b.WriteString(strconv.Quote(t.texts.key(r.value(c).String())))
			}
			same = seen[b.String()]
			seen[b.String()] = true
			return !same
		})
		return nil
	})
	return same
}
