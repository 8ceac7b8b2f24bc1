package ledger

import (
	"errors"
	"math/rand/v2"
	"path/filepath"
	"testing"
)

// TestIDsAreKept keeps random ids beside outcomes and compares with a map, also after
// opening anew, in a snapshot, and after a request that is refused as a whole.
func TestIDsAreKept(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "ledger")
	open := func() *Ledger {
		l, err := Open(t.Context(), path, Options{})
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	l := open()
	const records = 3000
	for i, name := range []string{"a", "b"} {
		if err := errors.Join(l.Define(t.Context(), Table{Name: name, Number: uint16(i + 1), Count: records}),
			l.Plan(t.Context(), name, []Planned{{Range: Range{0, records}, Action: Insert}})); err != nil {
			t.Fatal(err)
		}
	}
	want := map[string]map[uint32][16]byte{"a": {}, "b": {}}
	r := rand.New(rand.NewPCG(1, 2))
	for round := range 60 {
		name := []string{"a", "b"}[r.IntN(2)]
		from := uint32(r.IntN(records - 100))
		span := Range{from, from + uint32(r.IntN(100)) + 1}
		var ids []RecordID
		for seq := span.From; seq < span.To; seq++ {
			id := RecordID{Seq: seq}
			if r.IntN(8) > 0 {
				id.ID = [16]byte{byte(round), 1, byte(seq >> 8), byte(seq), 15: byte(len(name))}
			}
			ids = append(ids, id)
		}
		if err := errors.Join(l.Plan(t.Context(), name, []Planned{{Range: span, Action: Insert}}), l.Claim(t.Context(), name, Main, []Range{span})); err != nil {
			t.Fatal(err)
		}
		if err := l.SettleIDs(t.Context(), name, []Outcome{{Range: span, Result: ResultSuccess, Next: Main}}, ids); err != nil {
			t.Fatal(err)
		}
		for _, id := range ids {
			if want[name][id.Seq] = id.ID; id.ID == [16]byte{} {
				delete(want[name], id.Seq)
			}
		}
		bad := []RecordID{{Seq: span.From, ID: [16]byte{9: 9}}}
		if err := l.SettleIDs(t.Context(), name, []Outcome{{Range: span, Result: ResultSuccess}}, bad); !errors.Is(err, ErrTransition) {
			t.Fatalf("settled twice: %v", err)
		}
		if err := l.SettleIDs(t.Context(), name, nil, []RecordID{{Seq: records}}); !errors.Is(err, ErrRange) {
			t.Fatalf("an id beyond the table: %v", err)
		}
		if round%20 == 19 {
			if err := errors.Join(l.Check(t.Context()), l.Close(), Check(t.Context(), path)); err != nil {
				t.Fatal(err)
			}
			l = open()
		}
		for name, all := range want {
			n := 0
			for id, err := range l.IDs(name) {
				if err != nil || all[id.Seq] != id.ID {
					t.Fatalf("%s %d has id %v, %v, want %v", name, id.Seq, id.ID, err, all[id.Seq])
				}
				n++
			}
			if n != len(all) {
				t.Fatalf("%s has %d ids, want %d", name, n, len(all))
			}
			for range 50 {
				seq := uint32(r.IntN(records))
				if id, ok, err := l.ID(name, seq); err != nil || id != all[seq] || ok != (id != [16]byte{}) {
					t.Fatalf("%s %d has id %v, %v, %v, want %v", name, seq, id, ok, err, all[seq])
				}
			}
		}
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
}
