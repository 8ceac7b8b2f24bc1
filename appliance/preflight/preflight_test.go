package preflight

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"dvmigrate/appliance/dataverse/schema"
	"dvmigrate/appliance/mapping"
)

func p[T any](v T) *T { return &v }

func TestChecks(t *testing.T) {
	cases := []struct {
		name string
		col  schema.Column
		want []string // the predicates
	}{
		{"a text has its length", schema.Column{LogicalName: "name", Type: schema.Text, MaxLength: 160}, []string{`CASE WHEN strlen("name") > 160 THEN (length("name") + length(regexp_replace("name", '[^\x{10000}-\x{10FFFF}]', '', 'g'))) > 160 ELSE false END`}},
		{"a choice has its values", schema.Column{LogicalName: "c", Type: schema.Choice, Options: []schema.Option{{Value: 1}, {Value: 3}}}, []string{`"c" NOT IN (1, 3)`}},
		{"a choice whose options are not known is not checked", schema.Column{LogicalName: "c", Type: schema.Choice}, nil},
		{"a number has its range", schema.Column{LogicalName: "n", Type: schema.Money, Min: p(-922337203685477.0), Max: p(1e11)}, []string{`"n" < -922337203685477`, `"n" > 100000000000`}},
		{"a date is not before 1753", schema.Column{LogicalName: "d", Type: schema.DateTime}, []string{`"d" < DATE '1753-01-01'`, `CAST("d" AS DATE) > DATE '9999-12-30'`}},
		{"only a system-required column is required by the service", schema.Column{LogicalName: "b", Type: schema.YesNo, Required: schema.ApplicationRequired}, nil},
		{"a system-required column must have a value", schema.Column{LogicalName: "b", Type: schema.YesNo, Required: schema.SystemRequired}, []string{`"b" IS NULL`}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			var got []string
			for _, check := range Checks(&mapping.Table{Columns: []mapping.Column{{Column: &c.col}}}, nil) {
				got = append(got, check.Bad)
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Fatal(diff)
			}
		})
	}
}
