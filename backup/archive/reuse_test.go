package archive

import (
	"context"
	"testing"
)

// Damage in a large part that is taken over unread is found by one of the next snapshots.
func TestReusedPartIsCheckedInTurns(t *testing.T) {
	s := newStore(t)
	data := noise(1, 16*ChunkSize)
	m := save(t, s, map[string][]byte{"a": data})
	p := m.Parts[0]
	one := p.Chunks
	for len(p.Chunks) <= reuseWhole { // each chunk many times, at places of their own
		p.Chunks = append(p.Chunks, one...)
	}
	reuse := func() bool {
		t.Helper()
		w, err := s.Create(NewID(clock.AddDate(1, 0, 0)))
		if err != nil {
			t.Fatal(err)
		}
		defer w.Abort()
		ok, err := w.ReusePart(context.Background(), m, &p)
		if err != nil {
			t.Fatal(err)
		}
		return ok
	}
	if !reuse() {
		t.Error("a whole part was not taken over")
	}
	at := int64(headerSize) + 7*ChunkSize + 5
	flip(t, s.packPath(m.ID), at)
	found := false
	for range 50 { // seen with 1 - (15/16)^64 each time, since the chunk is there that often
		found = found || !reuse()
	}
	if !found {
		t.Error("damage was never seen")
	}
	flip(t, s.packPath(m.ID), at)
}
