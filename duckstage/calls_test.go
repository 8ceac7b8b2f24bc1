package duckstage

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestCalls(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		sql  string
		want []Call
	}{
		"texts first":   {"SELECT -- ref('no')\n  Ref ( 'account' , 'na''me', x) AS a", []Call{{"ref", []Text{{"account", 2, 10}, {"na'me", 2, 22}}, true}}},
		"only texts":    {"existing('uom','b')", []Call{{"existing", []Text{{"uom", 1, 11}, {"b", 1, 17}}, false}}},
		"inside":        {"[ref('a', ref('b', 1))]", []Call{{"ref", []Text{{"a", 1, 7}}, true}, {"ref", []Text{{"b", 1, 16}}, true}}},
		"in a text":     {"SELECT 'ref(''a'', 1)', \"ref('b')\", $$ref('c')$$, xref('d'), ref2('e'), my.ref('f') /* ref('g') */", nil},
		"begins with":   {"ref('a' || b, 'c')", []Call{{"ref", nil, true}}},
		"a column":      {"SELECT ref FROM t", nil},
		"unfinished":    {"ref('a", []Call{{"ref", nil, true}}},
		"nothing":       {"ref(", []Call{{"ref", nil, false}}},
		"ü counts once": {"SELECT 'ü', ref('ä', x)", []Call{{"ref", []Text{{"ä", 1, 18}}, true}}},
	} {
		if diff := cmp.Diff(c.want, Calls(c.sql, "ref", "existing")); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}
