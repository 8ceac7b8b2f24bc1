package ledger

import (
	"errors"
	"fmt"
	"slices"
)

// pageSize is the number of records of one page; page number = seq >> pageBits.
const (
	pageBits = 12
	pageSize = 1 << pageBits
)

// page holds the entries of pageSize neighbouring records, in the form that is on disk: for each run
// of equal entries, in order, three minimal varints
//
//	length - 1
//	word
//	time, as a zigzag difference to the run before (to 0 for the first)
//
// Lengths add up to pageSize; neighbours differ. The empty page is pageSize times the zero entry.
// A page is never changed once made, so readers need no lock for one they hold.
type page string

// run is a stretch of equal entries within a page, in the form in which the writer changes it.
type run struct {
	end  uint16 // exclusive; the run begins where the one before ends
	word word
	time uint32
}

var errPage = errors.New("not a valid page")

// nextRun reads the run that begins at record lo, after a run of time t. rest is what follows it.
func (p page) nextRun(lo int, t uint32) (r run, rest page, err error) {
	length, n := uvarint(p)
	if n == 0 || length >= uint64(pageSize-lo) {
		return r, p, fmt.Errorf("length of the run at %d: %w", lo, errPage)
	}
	p = p[n:]
	w, n := uvarint(p)
	if n == 0 || w > uint64(maxWord) || !word(w).valid() {
		return r, p, fmt.Errorf("word of the run at %d: %w", lo, errPage)
	}
	p = p[n:]
	d, n := uvarint(p)
	diff := int64(d>>1) ^ -int64(d&1)
	if now := int64(t) + diff; n == 0 || now < 0 || now > 1<<32-1 {
		return r, p, fmt.Errorf("time of the run at %d: %w", lo, errPage)
	}
	r = run{end: uint16(lo + 1 + int(length)), word: word(w), time: uint32(int64(t) + diff)}
	return r, p[n:], nil
}

// parsePage checks that b is what encode writes, to the byte.
func parsePage(b []byte) (page, error) {
	p := page(b)
	lo, prev, rest := 0, run{}, p
	for lo < pageSize {
		r, next, err := rest.nextRun(lo, prev.time)
		if err != nil {
			return "", err
		}
		if lo > 0 && r.word == prev.word && r.time == prev.time {
			return "", fmt.Errorf("equal runs at %d: %w", lo, errPage)
		}
		lo, prev, rest = int(r.end), r, next
	}
	if rest != "" {
		return "", fmt.Errorf("%d bytes after the last run: %w", len(rest), errPage)
	}
	return p, nil
}

// runs yields the page's runs with the record each begins at. Only for pages that were parsed or encoded.
func (p page) runs(yield func(lo int, r run) bool) {
	if p == "" {
		yield(0, run{end: pageSize})
		return
	}
	lo, t := 0, uint32(0)
	for lo < pageSize {
		r, rest, err := p.nextRun(lo, t)
		if err != nil {
			panic(err) // unreachable: pages are checked when they are read and immutable from then on
		}
		if !yield(lo, r) {
			return
		}
		lo, t, p = int(r.end), r.time, rest
	}
}

// decode is the page as runs.
func (p page) decode() []run {
	var out []run
	for _, r := range p.runs {
		out = append(out, r)
	}
	return out
}

// encodePage is the reverse of decode.
func encodePage(runs []run) page {
	b := make([]byte, 0, 6*len(runs)+8)
	lo, t := 0, uint32(0)
	for _, r := range runs {
		b = appendUvarint(b, uint64(int(r.end)-lo-1))
		b = appendUvarint(b, uint64(r.word))
		diff := int64(r.time) - int64(t)
		b = appendUvarint(b, uint64(diff<<1)^uint64(diff>>63))
		lo, t = int(r.end), r.time
	}
	return page(b)
}

// editRuns applies change to every run, or part of one, within [from,to) and returns the new runs, which
// overwrite spare. change sees a stretch [lo,hi) of equal entries. runs is not changed.
func editRuns(spare, runs []run, from, to int, change func(lo, hi int, r run) (run, error)) ([]run, error) {
	out := slices.Grow(spare[:0], len(runs)+2)
	push := func(end int, r run) {
		r.end = uint16(end)
		if n := len(out); n > 0 && out[n-1].word == r.word && out[n-1].time == r.time {
			out[n-1].end = r.end
			return
		}
		out = append(out, r)
	}
	first, _ := slices.BinarySearchFunc(runs, from, func(r run, from int) int { return int(r.end) - from - 1 })
	out = append(out, runs[:first]...)
	lo := 0
	if first > 0 {
		lo = int(runs[first-1].end)
	}
	for i := first; i < len(runs); i++ {
		r := runs[i]
		end := int(r.end)
		if lo >= to {
			push(end, r)
			out = append(out, runs[i+1:]...)
			break
		}
		if lo < from {
			push(from, r)
			lo = from
		}
		hi := min(end, to)
		changed, err := change(lo, hi, r)
		if err != nil {
			return nil, err
		}
		push(hi, changed)
		if hi < end {
			push(end, r)
		}
		lo = end
	}
	return out, nil
}

// uvarint reads a minimal unsigned varint of at most 6 bytes; n is 0 when s does not begin with one.
// (encoding/binary takes padded ones too, and then what decodes would not encode to the same bytes.)
func uvarint[T ~string | ~[]byte](s T) (v uint64, n int) {
	for i := 0; i < len(s) && i < 6; i++ {
		b := s[i]
		v |= uint64(b&0x7f) << (7 * i)
		if b < 0x80 {
			if b == 0 && i > 0 {
				return 0, 0
			}
			return v, i + 1
		}
	}
	return 0, 0
}

func appendUvarint(b []byte, v uint64) []byte {
	for v >= 0x80 {
		b = append(b, byte(v)|0x80)
		v >>= 7
	}
	return append(b, byte(v))
}
