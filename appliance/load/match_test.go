package load

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"dvmigrate/appliance/dataverse/schema"
	"dvmigrate/appliance/mapping"
)

// names is a target whose records are told apart by their names, by whatever rule it has.
type names struct {
	Target
	have     []string
	same     func(a, b string) bool
	requests int
}

func (n *names) Matching(_ context.Context, _ *schema.Table, _, conditions []string, fn func(json.RawMessage) error) error {
	n.requests++
	for i, have := range n.have {
		if !slices.ContainsFunc(conditions, func(c string) bool { return n.same(have, strings.TrimSuffix(strings.TrimPrefix(c, "name eq '"), "'")) }) {
			continue
		}
		if err := fn(fmt.Appendf(nil, `{"accountid":"00000000-0000-4000-8000-%012d","name":%q}`, i, have)); err != nil {
			return err
		}
	}
	return nil
}

// TestWhatTheServiceTakesForTheSame: what belongs to which key the service decides, also by
// rules that nobody here knows; two keys that are alike never answer for one another.
func TestWhatTheServiceTakesForTheSame(t *testing.T) {
	table := &mapping.Table{Schema: &schema.Table{LogicalName: "account", PrimaryID: "accountid"}, Match: []string{"name"}}
	byCase := func(a, b string) bool { return strings.EqualFold(a, b) }
	noAccents := func(a, b string) bool { return mapping.Collation{}.Key(a) == mapping.Collation{}.Key(b) }
	ignores := func(a, b string) bool { // what has no weight in an old collation
		return strings.EqualFold(strings.ReplaceAll(a, "Ș", ""), strings.ReplaceAll(b, "Ș", ""))
	}
	for name, c := range map[string]struct {
		have, keys []string
		same       func(a, b string) bool
		want       string
		requests   int
	}{
		"plain":                        {[]string{"A", "b", "c"}, []string{"a", "B", "d", "A"}, byCase, "a:[0] b:[1]", 1},
		"accents count":                {[]string{"Muller", "Müller"}, []string{"Müller", "muller", "x"}, byCase, "muller:[0] müller:[1]", 2},
		"accents do not count":         {[]string{"Müller"}, []string{"Müller", "muller", "x"}, noAccents, "muller:[0] müller:[0]", 2},
		"of two none is certain":       {[]string{"Muller", "Müller", "x"}, []string{"MÜLLER", "x"}, noAccents, "müller:[0 1] x:[2]", 1},
		"one that has none of its own": {[]string{"Strasse"}, []string{"Straße", "x", "y"}, noAccents, "straße:[0]", 1},
		"by a rule that nobody knows":  {[]string{"Șc", "x"}, []string{"a", "c", "x", "d", "e"}, ignores, "c:[0] x:[1]", 5},
	} {
		t.Run(name, func(t *testing.T) {
			target := &names{have: c.have, same: c.same}
			var keys []matchKey
			for _, k := range append(c.keys, "") {
				if k == "" {
					keys = append(keys, matchKey{})
					continue
				}
				keys = append(keys, matchKey{condition: "name eq '" + k + "'", same: fold(k)})
			}
			found, err := matches(t.Context(), target, table, keys)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, k := range slices.Sorted(maps.Keys(found)) {
				var of []int
				for _, id := range found[k] {
					of = append(of, int(id[15]))
				}
				got = append(got, fmt.Sprint(k, ":", of))
			}
			if diff := cmp.Diff([]any{c.want, c.requests}, []any{strings.Join(got, " "), target.requests}); diff != "" {
				t.Error(diff)
			}
		})
	}
}
