package preflight

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"dvmigrate/appliance/dataverse/schema"
	"dvmigrate/appliance/mapping"
)

func TestRepairs(t *testing.T) {
	text := schema.Column{LogicalName: "name", Type: schema.Text, MaxLength: 10}
	choice := schema.Column{LogicalName: "c", Type: schema.Choice, Options: []schema.Option{{Value: 1}, {Value: 3}}}
	number := schema.Column{LogicalName: "n", Type: schema.Integer, Min: p(0.0), Max: p(9.0)}
	state := schema.Column{LogicalName: "statecode", Type: schema.State, Options: []schema.Option{{Value: 0}, {Value: 1}}}
	several := schema.Column{LogicalName: "cs", Type: schema.Choices, Options: []schema.Option{{Value: 1}, {Value: 3}}}
	if _, err := schema.New([]*schema.Table{{LogicalName: "t", Columns: []*schema.Column{&choice, &state, &several}}}, nil); err != nil {
		t.Fatal(err)
	}
	cases := []struct {
		name   string
		col    schema.Column
		policy Policy
		want   []string // the values instead
		fault  string
	}{
		{"without a policy nothing is mended", text, Policy{}, nil, ""},
		{"hold mends nothing", text, Policy{TooLong: KeepHold, Empty: KeepHold}, nil, ""},
		{"a long text is left empty", text, Policy{TooLong: Blank}, []string{"NULL"}, ""},
		{"a policy for choices leaves a text alone", text, Policy{NotOption: "1", OutOfRange: Clamp}, nil, ""},
		{"a value that is no option is replaced", choice, Policy{NotOption: "3"}, []string{"CAST('3' AS INTEGER)"}, ""},
		{"what replaces it must be an option", choice, Policy{NotOption: "2"}, nil, "2 is not an option; known are 1, 3"},
		{"a state that is none is replaced", state, Policy{NotOption: "0"}, []string{"CAST('0' AS INTEGER)"}, ""},
		{"several values of which one is no option are left empty", several, Policy{NotOption: Blank}, []string{"NULL"}, ""},
		{"several values of which one is no option are replaced", several, Policy{NotOption: "1,3"}, []string{"CAST('1,3' AS INTEGER)"}, ""},
		{"several that replace them must be options", several, Policy{NotOption: "1,2"}, nil, "\"2\" is not the number of an option; known are 1, 3"},
		{"a number is clamped at both ends", number, Policy{OutOfRange: Clamp}, []string{"0", "9"}, ""},
		{"what replaces a number must be one", number, Policy{Empty: "none"}, nil, "is not a number"},
		{"what replaces a text must fit", text, Policy{Empty: "longer than ten"}, nil, "is itself longer than 10 characters"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			got, err := Repairs(&mapping.Table{Columns: []mapping.Column{{Column: &c.col, SQLType: "INTEGER"}}}, func(string) Policy { return c.policy })
			if c.fault != "" {
				if err == nil || !strings.Contains(err.Error(), c.fault) || !strings.Contains(err.Error(), c.col.LogicalName) {
					t.Fatalf("error %v, want one with %q", err, c.fault)
				}
				return
			}
			var values []string
			for _, r := range got {
				values = append(values, r.Value)
			}
			if diff := cmp.Diff(c.want, values); err != nil || diff != "" {
				t.Fatal(err, diff)
			}
		})
	}
}

func TestPolicyOverAnother(t *testing.T) {
	got := Policy{TooLong: KeepHold}.Over(Policy{TooLong: Trim, Empty: "x"})
	if want := (Policy{TooLong: KeepHold, Empty: "x"}); got != want {
		t.Errorf("%+v", got)
	}
}

func TestEveryRuleSaysWhatToDo(t *testing.T) {
	for _, r := range Rules {
		if found, ok := RuleOf(r.ID); !ok || found != r || r.What == "" || r.Todo == "" || r.Severity == "" {
			t.Errorf("%+v", r)
		}
	}
}
