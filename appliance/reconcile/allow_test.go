package reconcile

import (
	"slices"
	"testing"
)

func TestWhatIsAllowedPasses(t *testing.T) {
	s := openStage(t, names(8))
	book := entries{"contact": {loaded, loaded, loaded, loaded, loaded, loaded, loaded, failed}}
	target := rows{"contacts": {contact(0), contact(1), contact(2), contact(3), contact(4), {"contactid": id("contact", 5), "lastname": "other"}, contact(7)}}
	none := []string{"1 missing", "1 extra", "1 different"}
	tests := []struct {
		name  string
		rules Rules
		want  []string
	}{
		{"nothing is allowed where nothing is said", Rules{}, none},
		{"as many as are allowed pass", Rules{Missing: Bound{Number: 1, Text: "1"}, Extra: Bound{Number: 1, Text: "1"}, Different: Bound{Share: 0.15, Text: "15%"}}, nil},
		{"one more does not", Rules{Missing: Bound{Number: 0, Text: "0"}, Extra: Bound{Number: 1}, Different: Bound{Share: 0.14, Text: "14%"}},
			[]string{"1 missing, 0 allowed", "1 different, 14% allowed"}},
		{"a column that is ignored is not different", Rules{Ignore: []string{"lastname"}}, none[:2]},
	}
	for _, tt := range tests {
		got := run(t, s, book, target, bind(t, world(t), "contact", "lastname"), func(o *Options) {
			o.Rules = func(string) Rules { return tt.rules }
		})
		if !slices.Equal(got.Failures, tt.want) || got.Pass != (tt.want == nil) {
			t.Errorf("%s: %v %q, want %q", tt.name, got.Pass, got.Failures, tt.want)
		}
	}
}

// TestLooseColumn: blanks at the ends and case are no difference there, anything else is.
func TestLooseColumn(t *testing.T) {
	s := openStage(t, names(4))
	got := run(t, s, entries{"contact": many(loaded, 4)}, rows{"contacts": {contact(0), {"contactid": id("contact", 1), "lastname": " n1\t"},
		{"contactid": id("contact", 2), "lastname": "n 2"}, {"contactid": id("contact", 3)}}}, bind(t, world(t), "contact", "lastname"), func(o *Options) {
		o.Rules = func(string) Rules { return Rules{Loose: []string{"lastname"}} }
	})
	if got.Different != 2 || len(got.Columns) != 1 || got.Columns[0] != (ColumnCount{"lastname", ClassValue, 2}) {
		t.Errorf("%q, %+v", brief(got), got.Columns)
	}
}

// TestKeptMismatches: so many of each kind are handed on, all are counted and told by their rows, and where
// values are masked none of the target's is in any result.
func TestKeptMismatches(t *testing.T) {
	const n = 60
	s, book := openStage(t, names(n)), entries{"contact": many(loaded, n)}
	var have []row
	for i := uint32(20); i < n; i++ {
		have = append(have, row{"contactid": id("contact", i), "lastname": "a secret name"})
	}
	kinds := map[string]int{}
	var missing, different []uint64
	got := run(t, s, book, rows{"contacts": have}, bind(t, world(t), "contact", "lastname"), func(o *Options) {
		o.Limit, o.Keep, o.Hide = 2, 15, true
		o.Due = func(_ string, m, d []uint64) error { missing, different = m, d; return nil }
		o.Found = func(table string, seq int64, m Mismatch) error {
			kinds[m.Kind]++
			if m.Kind == Different && (seq < 20 || m.Got != "(not shown: 13 characters)") {
				t.Errorf("row %d: %+v", seq, m)
			}
			return nil
		}
	})
	if kinds[Missing] != 15 || kinds[Different] != 15 || got.Missing != 20 || got.Different != 40 {
		t.Errorf("kept %v, %q", kinds, brief(got))
	}
	if len(missing) != 1 || len(different) != 1 || missing[0] != 1<<20-1 || different[0] != 1<<60-1<<20 {
		t.Errorf("missing are %b, different %b", missing, different)
	}
}
