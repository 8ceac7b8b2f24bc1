package plan

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"dvmigrate/appliance/dataverse/schema"
	"dvmigrate/appliance/mapping"
)

// table makes a mapped table whose lookups are given as column, target, column, target.
func table(name string, lookups ...string) *mapping.Table {
	t := &mapping.Table{Name: name, Schema: &schema.Table{LogicalName: name}}
	for i := 0; i < len(lookups); i += 2 {
		t.Lookups = append(t.Lookups, mapping.Lookup{Column: &schema.Column{LogicalName: lookups[i], Type: schema.Lookup},
			Targets: []mapping.Target{{Table: lookups[i+1], Staged: true}}})
	}
	return t
}

func link(name, t1, t2 string) *mapping.Table {
	return &mapping.Table{Name: name, Link: &schema.ManyToMany{Intersect: name, Table1: t1, Table2: t2}}
}

func withState(t *mapping.Table) *mapping.Table {
	t.Columns = append(t.Columns, mapping.Column{Column: &schema.Column{LogicalName: "statecode", Type: schema.State}})
	return t
}

type brief struct {
	Table    string
	Pass     Pass
	Wave     int
	Deferred []string
}

func TestOrder(t *testing.T) {
	outside := table("contact", "owner", "systemuser")
	outside.Lookups[0].Targets[0].Staged = false
	cases := []struct {
		name   string
		tables []*mapping.Table
		want   []brief
	}{
		{"what is pointed to comes first", []*mapping.Table{table("task", "regarding", "contact"), table("contact", "parent", "account"), table("account")},
			[]brief{{"account", Insert, 0, nil}, {"contact", Insert, 1, nil}, {"task", Insert, 2, nil}}},
		{"a lookup to a table that is not migrated does not count", []*mapping.Table{outside},
			[]brief{{"contact", Insert, 0, nil}}},
		{"a self-reference is deferred", []*mapping.Table{table("account", "parentaccountid", "account")},
			[]brief{{"account", Insert, 0, []string{"parentaccountid"}}, {"account", Lookups, 1, []string{"parentaccountid"}}}},
		{"in a cycle the table with fewer targets is first and leaves its lookup empty",
			[]*mapping.Table{table("contact", "parentcustomerid", "account", "originatingleadid", "lead"), table("account", "primarycontactid", "contact"), table("lead")},
			[]brief{{"lead", Insert, 0, nil}, {"account", Insert, 0, []string{"primarycontactid"}}, {"contact", Insert, 1, nil},
				{"account", Lookups, 2, []string{"primarycontactid"}}}},
		{"deferred lookups, then links, then states",
			[]*mapping.Table{link("contactleads", "contact", "lead"), withState(table("lead", "parentlead", "lead")), table("contact")},
			[]brief{{"contact", Insert, 0, nil}, {"lead", Insert, 0, []string{"parentlead"}}, {"lead", Lookups, 1, []string{"parentlead"}},
				{"contactleads", Link, 2, nil}, {"lead", State, 3, nil}}},
		{"a record is closed before the one it points to", []*mapping.Table{withState(table("quote", "opportunityid", "opportunity")), withState(table("opportunity"))},
			[]brief{{"opportunity", Insert, 0, nil}, {"quote", Insert, 1, nil}, {"quote", State, 4, nil}, {"opportunity", State, 5, nil}}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			var got []brief
			for _, s := range Order(c.tables).Steps {
				got = append(got, brief{s.Table, s.Pass, s.Wave, s.Deferred})
				if s.Reason == "" {
					t.Errorf("%s %s has no reason", s.Table, s.Pass)
				}
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Fatal(diff)
			}
		})
	}
}
