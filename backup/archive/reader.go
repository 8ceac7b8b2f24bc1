package archive

import (
	"context"
	"io"

	"golang.org/x/sync/errgroup"
)

// ReadPart gives the content of a part to take. The reader returns io.EOF only after
// every byte before it has been checked against its hash and nothing is missing:
// whoever gets any other error must throw away what was read. What take leaves unread
// is read and checked after it. The reader is a WriterTo, so that io.Copy from it
// copies no buffers.
func (s *Store) ReadPart(ctx context.Context, m *Manifest, name string, take func(io.Reader) error) error {
	p, err := m.Part(name)
	if err != nil {
		return err
	}
	codec, err := newCodec(s.workers, m)
	if err != nil {
		return err
	}
	defer codec.close()
	open := &openPacks{store: s, manifest: m}
	defer open.close()

	r := newPartReader(2*s.workers + 2)
	g, gctx := errgroup.WithContext(ctx)
	stop, cancel := context.WithCancel(gctx)
	defer cancel()
	g.Go(func() error { return r.feed(stop, len(p.Chunks)) })
	for range s.workers {
		g.Go(func() error {
			for j := range r.work {
				j.fetch(open, codec, p)
				j.done <- struct{}{}
			}
			return nil
		})
	}
	err = take(r)
	if err == nil {
		_, err = r.WriteTo(io.Discard)
	}
	cancel()
	g.Wait() // its only error is that it was stopped
	if err == nil || r.err == nil || r.err == io.EOF {
		return err
	}
	return r.err // the first cause, however take has wrapped it
}

// readJob is one chunk under way. Its buffers are used again.
type readJob struct {
	index  int
	stored []byte
	buf    []byte
	raw    []byte // content, in stored or buf
	err    error
	done   chan struct{} // holds one when fetched
}

// fetch reads and checks the chunk.
func (j *readJob) fetch(open *openPacks, codec *codec, p *Part) {
	var b []byte
	if b, j.err = open.read(p, j.index, j.stored); j.err != nil {
		return
	}
	if j.raw, j.err = codec.decode(&p.Chunks[j.index], b, j.buf); j.err != nil {
		j.err = open.damage(p, j.index, j.err.Error(), nil)
	}
}

// partReader gives out chunks in order while later ones are being fetched. As in
// cutter, the channels hold as many jobs as there are.
type partReader struct {
	free, work, order chan *readJob
	job               *readJob // being given out, or nil
	rest              []byte   // of job, not yet given out
	err               error    // sticky, io.EOF at the end
	stopped           error    // why feed ended early; set before order is closed
}

func newPartReader(depth int) *partReader {
	r := &partReader{
		free:  make(chan *readJob, depth),
		work:  make(chan *readJob, depth),
		order: make(chan *readJob, depth),
	}
	for range depth {
		r.free <- &readJob{
			stored: make([]byte, maxStored),
			buf:    make([]byte, 0, ChunkSize),
			done:   make(chan struct{}, 1),
		}
	}
	return r
}

// feed hands out the chunks to be fetched.
func (r *partReader) feed(ctx context.Context, chunks int) error {
	defer close(r.order)
	defer close(r.work)
	for i := range chunks {
		select {
		case j := <-r.free:
			j.index = i
			r.order <- j
			r.work <- j
		case <-ctx.Done():
			r.stopped = context.Cause(ctx)
			return r.stopped
		}
	}
	return nil
}

// next makes the next chunk the current one.
func (r *partReader) next() error {
	if r.err != nil {
		return r.err
	}
	if r.job != nil {
		r.free <- r.job
		r.job = nil
	}
	j, ok := <-r.order
	switch {
	case !ok && r.stopped != nil:
		r.err = r.stopped
	case !ok:
		r.err = io.EOF
	default:
		<-j.done
		if r.err = j.err; r.err == nil {
			r.job, r.rest = j, j.raw
		}
	}
	return r.err
}

func (r *partReader) Read(b []byte) (int, error) {
	for len(r.rest) == 0 {
		if err := r.next(); err != nil {
			return 0, err
		}
	}
	n := copy(b, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}

// WriteTo writes everything that is left.
func (r *partReader) WriteTo(w io.Writer) (int64, error) {
	var total int64
	for {
		if len(r.rest) > 0 {
			n, err := w.Write(r.rest)
			total += int64(n)
			r.rest = r.rest[n:]
			if err != nil {
				return total, err
			}
		} else if err := r.next(); err == io.EOF {
			return total, nil
		} else if err != nil {
			return total, err
		}
	}
}
