package load

import (
	"testing"

	"dvmigrate/appliance/dataverse/schema"
)

// TestInactive: which state records get whose rows are gone, and in which they count as inactive already.
func TestInactive(t *testing.T) {
	table := func(name string, kind schema.TableKind, states ...int32) *schema.Table {
		state := &schema.Column{LogicalName: "statecode", Type: schema.State}
		for _, v := range states {
			status := v * 10
			state.Options = append(state.Options, schema.Option{Value: v, DefaultStatus: &status})
		}
		s, err := schema.New([]*schema.Table{{LogicalName: name, SchemaName: name, EntitySet: name + "s", PrimaryID: name + "id", Kind: kind,
			Columns: []*schema.Column{{LogicalName: name + "id", Type: schema.UniqueID}, state}}}, nil)
		if err != nil {
			t.Fatal(err)
		}
		return s.Table(name)
	}
	for _, c := range []struct {
		table *schema.Table
		body  string // "": none
		open  []int64
	}{
		{table("account", "", 0, 1), `{"statecode":1,"statuscode":10}`, []int64{0}},
		{table("lead", "", 0, 1, 2), `{"statecode":2,"statuscode":20}`, []int64{0}},
		{table("appointment", schema.Activity, 0, 1, 2, 3), `{"statecode":2,"statuscode":20}`, []int64{0, 3}},
		{table("product", "", 0, 1, 2, 3), `{"statecode":1,"statuscode":10}`, []int64{0, 2, 3}},
		{table("incident", "", 0, 1, 2), `{"statecode":2,"statuscode":20}`, []int64{0}},
		{table("opportunity", "", 0, 1, 2), "", []int64{0}},
		{table("salesorder", "", 0, 1, 2, 3, 4), "", []int64{0, 1}},
		{table("quote", "", 0, 1, 2, 3), "", []int64{0, 1}},
		{table("contoso_thing", "", 0), "", []int64{0}},
	} {
		body, err := InactiveBody(c.table)
		if string(body) != c.body || (err == nil) != (c.body != "") {
			t.Errorf("%s: %s, %v, want %s", c.table.LogicalName, body, err, c.body)
		}
		for _, o := range c.table.Column("statecode").Options {
			want := true
			for _, open := range c.open {
				want = want && open != int64(o.Value)
			}
			if got := inactive(c.table, int64(o.Value)); got != want {
				t.Errorf("%s in state %d is inactive: %v", c.table.LogicalName, o.Value, got)
			}
		}
	}
}
