package archive

import (
	"errors"
	"fmt"
)

// index finds the chunks that the folder has already.
type index struct {
	packs  []Pack         // what Chunk.Pack of an entry counts in
	byID   map[string]int // pack ID to its place in packs
	chunks map[Hash]Chunk
	open   openPacks
}

// sparse is the share of a pack, as one part in so many, below which its chunks are
// stored anew rather than used again: else a handful of chunks that never change would
// keep every large old pack in the folder for ever.
const sparse = 4

// newIndex reads all manifests, the newest first, for a snapshot like m. A damaged one
// adds nothing, nor does one of another version or with another data key.
func (s *Store) newIndex(like *Manifest) (*index, error) {
	x := &index{byID: make(map[string]int), chunks: make(map[Hash]Chunk)}
	ids, err := s.IDs()
	if err != nil {
		return nil, err
	}
	for _, id := range ids {
		m, err := s.Outline(id)
		if err == nil && (m.version != like.version || m.Key != like.Key) {
			continue
		}
		if err == nil {
			m, err = s.Manifest(id)
		}
		if errors.Is(err, ErrDamaged) || errors.Is(err, ErrVersion) || errors.Is(err, ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("look up what is stored: %w", err)
		}
		x.add(m)
	}
	x.open = openPacks{store: s, manifest: &Manifest{version: like.version, Key: like.Key, Packs: x.packs}}
	return x, nil
}

// add takes in the chunks of m. How much of a pack is in use is judged by the newest
// manifest that names it, which is the one that is added first.
func (x *index) add(m *Manifest) {
	used := m.usedBytes()
	dense := make([]bool, len(m.Packs))
	place := make([]int, len(m.Packs))
	for i, p := range m.Packs {
		at, known := x.byID[p.ID]
		if !known {
			at = -1
			if used[i] >= (p.Size-m.packHeader())/sparse {
				at = len(x.packs)
				x.packs = append(x.packs, p)
			}
			x.byID[p.ID] = at
		}
		place[i], dense[i] = at, at >= 0
	}
	for i := range m.Parts {
		for _, c := range m.Parts[i].Chunks {
			if !dense[c.Pack] {
				continue
			}
			if _, known := x.chunks[c.Hash]; !known {
				c.Pack = uint32(place[c.Pack])
				x.chunks[c.Hash] = c
			}
		}
	}
}

// usedBytes returns for each pack of m how many of its bytes m needs.
func (m *Manifest) usedBytes() []int64 {
	type place struct {
		pack   uint32
		offset int64
	}
	used := make([]int64, len(m.Packs))
	seen := make(map[place]bool)
	for i := range m.Parts {
		for j := range m.Parts[i].Chunks {
			c := &m.Parts[i].Chunks[j]
			if at := (place{c.Pack, c.Offset}); !seen[at] {
				seen[at] = true
				used[c.Pack] += int64(c.Stored)
			}
		}
	}
	return used
}

// find returns where content of that hash is stored and still intact. The buffer has
// a capacity of maxStored. Several goroutines may search.
func (x *index) find(h Hash, buf []byte) (Chunk, bool) {
	c, ok := x.chunks[h]
	if !ok {
		return Chunk{}, false
	}
	one := Part{Chunks: []Chunk{c}}
	b, err := x.open.read(&one, 0, buf)
	return c, err == nil && c.intact(b) == nil
}
