package transform

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestLaterStagingInAnyOrder: numbers follow the keys and rows follow the numbers, whatever
// order a source has; and keys that are there twice are found among the old and the new.
func TestLaterStagingInAnyOrder(t *testing.T) {
	table := plain
	later := func(values string) func(*testing.T) ([]string, error) {
		return func(t *testing.T) ([]string, error) {
			s := newStage(t)
			mustExec(t, s, "CREATE TABLE source.a AS SELECT * FROM (VALUES ('a', 'one', '1'), ('b', 'two', '2'), ('c', 'three', '3')) t(id, name, amount)")
			stageTables(t, s, table)
			mustExec(t, s, "CREATE OR REPLACE TABLE source.a AS SELECT * FROM (VALUES "+values+") t(id, name, amount)")
			if _, err := Run(t.Context(), s, nil, []Table{table}, nil); err != nil {
				return nil, err
			}
			return rows(t, s, "SELECT rowid, dm_seq, legacy_key, dm_change FROM dm.data_1_2 ORDER BY rowid"), nil
		}
	}
	for name, c := range map[string]struct {
		rows string
		want []string // rowid, number, key, change; nil: a key is there twice
	}{
		"the same order":              {"('a', 'one', '1'), ('b', 'TWO', '2'), ('c', 'three', '3')", []string{"0|0|a|N", "1|1|b|U", "2|2|c|N"}},
		"one gone, one new":           {"('d', 'four', '4'), ('b', 'two', '2'), ('c', 'three', '3')", []string{"0|1|b|N", "1|2|c|N", "2|3|d|I"}},
		"turned round":                {"('c', 'three', '9'), ('b', 'two', '2'), ('a', 'one', '1')", []string{"0|0|a|N", "1|1|b|N", "2|2|c|U"}},
		"an old key twice, in order":  {"('a', 'one', '1'), ('b', 'two', '2'), ('b', 'two', '2')", nil},
		"an old key twice, not so":    {"('b', 'two', '2'), ('a', 'one', '1'), ('b', 'two', '2')", nil},
		"a new key twice":             {"('a', 'one', '1'), ('d', 'two', '2'), ('d', 'two', '2')", nil},
		"a key that is missing":       {"('a', 'one', '1'), (NULL, 'two', '2')", nil},
		"nothing that was there, new": {"('e', 'five', '5')", []string{"0|3|e|I"}},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := later(c.rows)(t)
			var bad *KeyError
			if c.want == nil && !errors.As(err, &bad) || c.want != nil && err != nil {
				t.Fatalf("error %v", err)
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}
