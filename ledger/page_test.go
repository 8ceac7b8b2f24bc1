package ledger

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// randomRuns is a page of random stretches.
func randomRuns(r *rand.Rand) []run {
	var out []run
	for lo := 0; lo < pageSize; {
		n := 1 + r.IntN(1+r.IntN(pageSize))
		e := Entry{Action: Insert, Flag: Failed, Attempts: uint8(r.IntN(maxAttempts + 1)), Class: uint8(r.IntN(256))}
		next := run{end: uint16(min(lo+n, pageSize)), word: e.word(), time: r.Uint32()}
		if k := len(out); k > 0 && out[k-1].word == next.word && out[k-1].time == next.time {
			continue
		}
		out = append(out, next)
		lo = int(next.end)
	}
	return out
}

func TestPageComesBackAsItWasEncoded(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 300 {
		want := randomRuns(r)
		p, err := parsePage([]byte(encodePage(want)))
		if err != nil {
			t.Fatal(err)
		}
		if got := p.decode(); !slices.Equal(got, want) {
			t.Fatalf("got %v, want %v", got, want)
		}
	}
	if got := page("").decode(); !slices.Equal(got, []run{{end: pageSize}}) {
		t.Errorf("the empty page is %v", got)
	}
}

// flat is the entry of every record of a page.
func flat(runs []run) (out [pageSize]run) {
	lo := 0
	for _, r := range runs {
		for ; lo < int(r.end); lo++ {
			out[lo] = run{word: r.word, time: r.time}
		}
	}
	return out
}

func TestEditRunsChangesTheRangeAndNothingElse(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	runs := []run{{end: pageSize}}
	for range 2000 {
		from := r.IntN(pageSize)
		to := from + 1 + r.IntN(min(pageSize-from, 1+r.IntN(200)))
		w, now := Entry{Action: Insert, Flag: Flag(r.IntN(2)), Attempts: 1}.word(), uint32(r.IntN(3))
		want := flat(runs)
		for i := from; i < to; i++ {
			want[i] = run{word: w, time: now}
		}
		covered := 0
		got, err := editRuns(nil, runs, from, to, func(lo, hi int, _ run) (run, error) {
			if lo < from || hi > to || lo >= hi {
				t.Fatalf("change of [%d,%d) sees [%d,%d)", from, to, lo, hi)
			}
			covered += hi - lo
			return run{word: w, time: now}, nil
		})
		if err != nil || covered != to-from {
			t.Fatalf("covered %d of %d: %v", covered, to-from, err)
		}
		if flat(got) != want {
			t.Fatalf("change of [%d,%d) to %d: got %v from %v", from, to, w, got, runs)
		}
		if _, err := parsePage([]byte(encodePage(got))); err != nil {
			t.Fatalf("the edited page is not in its shortest form: %v", err)
		}
		runs = got
	}
}

func FuzzPage(f *testing.F) {
	r := rand.New(rand.NewPCG(5, 6))
	for range 8 {
		f.Add([]byte(encodePage(randomRuns(r))))
	}
	f.Add([]byte{0xff, 0x1f, 0, 0})
	f.Add([]byte{0x80, 0x00, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := parsePage(b)
		if err != nil {
			return
		}
		if got := encodePage(p.decode()); string(got) != string(b) {
			t.Fatalf("%x decodes and encodes to %x", b, got)
		}
	})
}

func FuzzCounts(f *testing.F) {
	var c Counts
	c.add(Entry{Action: Insert, Flag: Failed, Class: 9}.word(), 5)
	c.add(0, 1)
	f.Add(c.encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := decodeCounts(b, 0)
		if err == nil && string(c.encode()) != string(b) {
			t.Fatalf("%x decodes and encodes to %x", b, c.encode())
		}
	})
}
