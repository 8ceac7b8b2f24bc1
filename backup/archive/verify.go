package archive

import (
	"cmp"
	"context"
	"math/rand/v2"
	"slices"

	"golang.org/x/sync/errgroup"
)

// Depth says how far a check goes.
type Depth int

const (
	// Stored reads every stored byte and compares checksums: it finds what a disk or
	// a copy did to the files, at the speed of reading.
	Stored Depth = iota
	// Content also decompresses every chunk and compares its hash.
	Content
)

// Verify reads every chunk of the snapshot and checks it. The error is a *DamageError
// for the first damage found, in no particular order, or the reason ctx ended.
func (s *Store) Verify(ctx context.Context, m *Manifest, depth Depth) error {
	for i := range m.Parts {
		all := func(*Chunk) bool { return true }
		if err := s.verify(ctx, m, &m.Parts[i], all, depth); err != nil {
			return err
		}
	}
	return nil
}

// VerifySample is Verify to the content, of one chunk in sample, chosen at random; of all
// when sample is less than 2.
func (s *Store) VerifySample(ctx context.Context, m *Manifest, sample int) error {
	for i := range m.Parts {
		if err := s.verify(ctx, m, &m.Parts[i], oneIn(sample), Content); err != nil {
			return err
		}
	}
	return nil
}

// oneIn selects one chunk in so many, at random.
func oneIn(sample int) func(*Chunk) bool {
	return func(*Chunk) bool { return sample < 2 || rand.IntN(sample) == 0 }
}

// verify checks those chunks of a part that which selects, each place in a pack once
// and in the order of the disk.
func (s *Store) verify(ctx context.Context, m *Manifest, p *Part, which func(*Chunk) bool, depth Depth) error {
	v := &verifier{open: &openPacks{store: s, manifest: m}, part: p, depth: depth}
	defer v.open.close()
	var err error
	if v.codec, err = newCodec(s.workers, m); err != nil {
		return err
	}
	defer v.codec.close()

	// A group of neighbours per turn keeps the reads of each worker sequential.
	const turn = 16
	turns := make(chan []int)
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		defer close(turns)
		for t := range slices.Chunk(diskOrder(p.Chunks, which), turn) {
			select {
			case turns <- t:
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
		return nil
	})
	for range s.workers {
		g.Go(func() error { return v.work(turns) })
	}
	return g.Wait()
}

// diskOrder returns the indices of the selected chunks as they lie in the packs.
func diskOrder(chunks []Chunk, which func(*Chunk) bool) []int {
	var order []int
	for i := range chunks {
		if which(&chunks[i]) {
			order = append(order, i)
		}
	}
	slices.SortFunc(order, func(i, j int) int {
		a, b := &chunks[i], &chunks[j]
		return cmp.Or(cmp.Compare(a.Pack, b.Pack), cmp.Compare(a.Offset, b.Offset), cmp.Compare(i, j))
	})
	return slices.CompactFunc(order, func(i, j int) bool { return chunks[i] == chunks[j] })
}

// verifier is what the workers of one verify share.
type verifier struct {
	open  *openPacks
	codec *codec
	part  *Part
	depth Depth
}

func (v *verifier) work(turns <-chan []int) error {
	stored, raw := make([]byte, maxStored), make([]byte, ChunkSize)
	for t := range turns {
		for _, i := range t {
			b, err := v.open.read(v.part, i, stored)
			if err != nil {
				return err
			}
			c := &v.part.Chunks[i]
			if v.depth == Content {
				_, err = v.codec.decode(c, b, raw)
			} else {
				err = c.intact(b)
			}
			if err != nil {
				return v.open.damage(v.part, i, err.Error(), nil)
			}
		}
	}
	return nil
}
