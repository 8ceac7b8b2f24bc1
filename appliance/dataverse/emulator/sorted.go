package emulator

import (
	"encoding/binary"
	"sort"

	"dvmigrate/appliance/dataverse/schema"
)

// sqlOrder is a GUID rearranged so that comparing two gives SQL Server's order of
// uniqueidentifier, which is the order of the primary key (section 16: the last
// six bytes weigh most).
type sqlOrder struct{ hi, lo uint64 }

func orderOf(g schema.GUID) sqlOrder {
	last6 := uint64(binary.BigEndian.Uint32(g[10:14]))<<16 | uint64(binary.BigEndian.Uint16(g[14:16]))
	return sqlOrder{last6<<16 | uint64(binary.BigEndian.Uint16(g[8:10])), binary.LittleEndian.Uint64(g[0:8])}
}

func (o sqlOrder) guid() (g schema.GUID) {
	binary.LittleEndian.PutUint64(g[0:8], o.lo)
	binary.BigEndian.PutUint16(g[8:10], uint16(o.hi))
	binary.BigEndian.PutUint32(g[10:14], uint32(o.hi>>32))
	binary.BigEndian.PutUint16(g[14:16], uint16(o.hi>>16))
	return g
}

func (o sqlOrder) less(p sqlOrder) bool { return o.hi < p.hi || o.hi == p.hi && o.lo < p.lo }

// pair orders by its first id, then its second: parent and child, or the two ends
// of a link.
type pair struct{ a, b sqlOrder }

func (p pair) less(q pair) bool { return p.a.less(q.a) || p.a == q.a && p.b.less(q.b) }

type ordered[K any] interface {
	comparable
	less(K) bool
}

// sorted is an ordered map: chunks of up to chunkSize entries in order, found by
// their first keys. Two levels are enough for tens of millions of entries, hold no
// pointers beside the chunks' own, and fill to the brim when keys come in order.
type sorted[K ordered[K], V any] struct {
	firsts []K
	chunks []*chunk[K, V]
	n      int
}

const chunkSize = 256

type chunk[K any, V any] struct {
	n    int
	keys [chunkSize]K
	vals [chunkSize]V
}

func (c *chunk[K, V]) removeAt(i int) {
	copy(c.keys[i:c.n], c.keys[i+1:c.n])
	copy(c.vals[i:c.n], c.vals[i+1:c.n])
	c.n--
}

func (c *chunk[K, V]) insertAt(i int, k K, v V) {
	copy(c.keys[i+1:c.n+1], c.keys[i:c.n])
	copy(c.vals[i+1:c.n+1], c.vals[i:c.n])
	c.keys[i], c.vals[i] = k, v
	c.n++
}

// seek returns the chunk and place of the first key not less than k, and whether
// it is k. The place may be one past the chunk's end.
func (s *sorted[K, V]) seek(k K) (ci, i int, found bool) {
	if len(s.chunks) == 0 {
		return 0, 0, false
	}
	ci = sort.Search(len(s.firsts), func(i int) bool { return k.less(s.firsts[i]) }) - 1
	if ci < 0 {
		return 0, 0, false
	}
	c := s.chunks[ci]
	lo, hi := 0, c.n
	for lo < hi {
		mid := int(uint(lo+hi) >> 1)
		if c.keys[mid].less(k) {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return ci, lo, lo < c.n && c.keys[lo] == k
}

func (s *sorted[K, V]) get(k K) (v V, ok bool) {
	ci, i, found := s.seek(k)
	if !found {
		return v, false
	}
	return s.chunks[ci].vals[i], true
}

// set inserts k or replaces its value.
func (s *sorted[K, V]) set(k K, v V) {
	ci, i, found := s.seek(k)
	if found {
		s.chunks[ci].vals[i] = v
		return
	}
	s.n++
	if len(s.chunks) == 0 {
		s.insertChunk(0, new(chunk[K, V]))
	}
	c := s.chunks[ci]
	if c.n == chunkSize {
		if ci == len(s.chunks)-1 && i == chunkSize { // keys come in order: leave the chunk full
			c = new(chunk[K, V])
			ci, i = ci+1, 0
			s.insertChunk(ci, c)
		} else if right := s.split(ci); i > c.n {
			i -= c.n
			c = right
			ci++
		}
	}
	c.insertAt(i, k, v)
	s.firsts[ci] = c.keys[0]
}

func (s *sorted[K, V]) split(ci int) *chunk[K, V] {
	left, right := s.chunks[ci], new(chunk[K, V])
	half := left.n / 2
	right.n = copy(right.keys[:], left.keys[half:left.n])
	copy(right.vals[:], left.vals[half:left.n])
	left.n = half
	s.insertChunk(ci+1, right)
	return right
}

func (s *sorted[K, V]) insertChunk(ci int, c *chunk[K, V]) {
	s.chunks = append(s.chunks, nil)
	copy(s.chunks[ci+1:], s.chunks[ci:])
	s.chunks[ci] = c
	s.firsts = append(s.firsts, c.keys[0])
	copy(s.firsts[ci+1:], s.firsts[ci:])
	s.firsts[ci] = c.keys[0]
}

func (s *sorted[K, V]) remove(k K) bool {
	ci, i, found := s.seek(k)
	if !found {
		return false
	}
	s.n--
	c := s.chunks[ci]
	c.removeAt(i)
	if c.n == 0 {
		s.chunks = append(s.chunks[:ci], s.chunks[ci+1:]...)
		s.firsts = append(s.firsts[:ci], s.firsts[ci+1:]...)
		return true
	}
	s.firsts[ci] = c.keys[0]
	return true
}

// from calls fn for each entry whose key is not less than k, in order, until fn
// returns false.
func (s *sorted[K, V]) from(k K, fn func(K, V) bool) {
	ci, i, _ := s.seek(k)
	for ; ci < len(s.chunks); ci, i = ci+1, 0 {
		c := s.chunks[ci]
		for ; i < c.n; i++ {
			if !fn(c.keys[i], c.vals[i]) {
				return
			}
		}
	}
}
