package archive

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"path/filepath"

	"golang.org/x/sync/errgroup"
)

// Writer writes one snapshot: WritePart or ReusePart for each part, then Commit.
// After an error only Abort is left. The caller holds the lock of the folder. It is
// not for several goroutines at once.
type Writer struct {
	store *Store
	m     Manifest
	codec *codec
	known *index

	pack     File // nil until the first new chunk
	packName string
	fresh    map[Hash]Chunk    // chunks of this snapshot's own pack
	packs    map[string]uint32 // pack ID to index in m.Packs
}

// PartSpec says what a part is called and how it is cut.
type PartSpec struct {
	Name        string // 1 to 255 bytes of printable UTF-8
	Fingerprint string // up to 255 bytes; kept for the caller, see ReusePart
	// FirstChunk is the length of the first chunk in bytes, ChunkSize if zero. A
	// DuckDB file has 12,288 bytes before its first block, and its chunks are its
	// blocks if they begin there (engines.md 6).
	FirstChunk int
}

// Create begins the snapshot id. It reads the manifests of the folder to know which
// chunks are stored already.
func (s *Store) Create(id string) (*Writer, error) {
	if _, ok := TimeOf(id); !ok {
		return nil, fmt.Errorf("create snapshot %q: not a valid ID", id)
	}
	m := Manifest{ID: id, version: version}
	if err := s.chooseKey(&m); err != nil {
		return nil, fmt.Errorf("create snapshot: %w", err)
	}
	known, err := s.newIndex(&m)
	if err != nil {
		return nil, err
	}
	c, err := newCodec(s.workers, &m)
	if err != nil {
		return nil, fmt.Errorf("create snapshot: %w", err)
	}
	return &Writer{
		store: s,
		m:     m,
		codec: c,
		known: known,
		fresh: make(map[Hash]Chunk),
		packs: make(map[string]uint32),
	}, nil
}

// chooseKey gives a new snapshot its data key, if it is to be encrypted.
func (s *Store) chooseKey(m *Manifest) error {
	ids, err := s.IDs()
	if err != nil {
		return err
	}
	var newest *Manifest
	for _, id := range ids {
		if o, err := s.Outline(id); err == nil && o.Encrypted() {
			newest = o
			break
		}
	}
	if m.key, err = s.keys.writing(newest); err != nil || m.key == nil {
		return err
	}
	m.Key, m.wrapped = m.key.id, m.key.wrapped
	return nil
}

// WritePart adds a part with everything that fill writes. Fill runs in the caller's
// goroutine; a write waits while as many chunks are under way as memory is meant for.
func (w *Writer) WritePart(ctx context.Context, spec PartSpec, fill func(io.Writer) error) error {
	if err := w.checkSpec(spec); err != nil {
		return err
	}
	c := newCutter(2*w.store.workers+2, spec.FirstChunk)
	part := Part{Name: spec.Name, Fingerprint: spec.Fingerprint}
	g, ctx := errgroup.WithContext(ctx)
	c.ctx = ctx
	for range w.store.workers {
		g.Go(func() error {
			for j := range c.work {
				w.process(j)
				j.done <- struct{}{}
			}
			return nil
		})
	}
	g.Go(func() error {
		for j := range c.order {
			<-j.done
			if err := w.add(&part, j); err != nil {
				return err
			}
			c.free <- j
		}
		return nil
	})
	err := fill(c)
	if err == nil {
		err = c.flush()
	}
	close(c.work)
	close(c.order)
	if werr := g.Wait(); werr != nil {
		return werr // what stopped fill, if fill failed too
	}
	if err != nil {
		return err
	}
	part.Digest = digest(part.Chunks)
	w.m.Parts = append(w.m.Parts, part)
	return nil
}

func (w *Writer) checkSpec(spec PartSpec) error {
	if !validName(spec.Name) {
		return fmt.Errorf("write part: name %q is not allowed", spec.Name)
	}
	if _, err := w.m.Part(spec.Name); err == nil {
		return fmt.Errorf("write part: there is a part %q already", spec.Name)
	}
	if len(spec.Fingerprint) > maxName || spec.FirstChunk < 0 || spec.FirstChunk > ChunkSize {
		return fmt.Errorf("write part %q: fingerprint or first chunk too long", spec.Name)
	}
	return nil
}

// writeJob is one chunk under way. Its buffers are used again.
type writeJob struct {
	buf   []byte        // content
	out   []byte        // room for the compressed form, or for looking at an older chunk
	seal  []byte        // room for the sealed form, once it is needed
	done  chan struct{} // holds one when processed
	chunk Chunk
	known bool   // chunk is a place in the index
	body  []byte // else what to store
}

func newWriteJob() *writeJob {
	return &writeJob{
		buf:  make([]byte, 0, ChunkSize),
		out:  make([]byte, 0, maxStored+1024), // what does not compress grows a little
		done: make(chan struct{}, 1),
	}
}

// cutter is the writer that fill gets: it cuts the stream into chunks. Three channels
// hold depth jobs each, which is how many there are, so only free can make it wait.
type cutter struct {
	ctx               context.Context // of the one WritePart call this lives in
	free, work, order chan *writeJob
	job               *writeJob // being filled, or nil
	limit             int       // of the job
}

func newCutter(depth, first int) *cutter {
	if first == 0 {
		first = ChunkSize
	}
	c := &cutter{
		free:  make(chan *writeJob, depth),
		work:  make(chan *writeJob, depth),
		order: make(chan *writeJob, depth),
		limit: first,
	}
	for range depth {
		c.free <- newWriteJob()
	}
	return c
}

func (c *cutter) Write(b []byte) (int, error) {
	n := 0
	for n < len(b) {
		if err := c.start(); err != nil {
			return n, err
		}
		k := min(len(b)-n, c.limit-len(c.job.buf))
		c.job.buf = append(c.job.buf, b[n:n+k]...)
		n += k
		if len(c.job.buf) == c.limit {
			c.send()
		}
	}
	return n, nil
}

// ReadFrom spares io.Copy a buffer: it reads straight into the chunks.
func (c *cutter) ReadFrom(r io.Reader) (int64, error) {
	var total int64
	for {
		if err := c.start(); err != nil {
			return total, err
		}
		have := len(c.job.buf)
		n, err := r.Read(c.job.buf[have:c.limit])
		total += int64(n)
		c.job.buf = c.job.buf[:have+n]
		if len(c.job.buf) == c.limit {
			c.send()
		}
		if err == io.EOF {
			return total, nil
		}
		if err != nil {
			return total, err
		}
	}
}

// start waits for a free job, if none is being filled.
func (c *cutter) start() error {
	if c.job != nil {
		return nil
	}
	select {
	case c.job = <-c.free:
		c.job.buf = c.job.buf[:0]
		return nil
	case <-c.ctx.Done():
		return context.Cause(c.ctx)
	}
}

func (c *cutter) send() {
	c.order <- c.job
	c.work <- c.job
	c.job, c.limit = nil, ChunkSize
}

// flush sends the last chunk and reports whether the call was stopped.
func (c *cutter) flush() error {
	if c.job != nil && len(c.job.buf) > 0 {
		c.send()
	}
	if c.ctx.Err() != nil {
		return context.Cause(c.ctx)
	}
	return nil
}

// process finds the chunk in the folder or makes what is to be stored. It runs in
// several goroutines.
func (w *Writer) process(j *writeJob) {
	h := w.codec.hash(j.buf)
	if j.chunk, j.known = w.known.find(h, j.out); j.known {
		return
	}
	if w.m.key != nil && j.seal == nil {
		j.seal = make([]byte, 0, maxStored)
	}
	body, flags := w.codec.encode(j.buf, h, j.out, j.seal)
	j.body = body
	j.chunk = Chunk{
		Hash:   h,
		Stored: uint32(len(body)),
		Raw:    uint32(len(j.buf)),
		CRC:    crc32.Checksum(body, castagnoli),
		Flags:  flags,
	}
}

// add appends the chunk to the part, and to the pack if it is new.
func (w *Writer) add(p *Part, j *writeJob) error {
	c := j.chunk
	if j.known {
		c.Pack = w.usePack(w.known.packs[c.Pack])
	} else if had, ok := w.fresh[c.Hash]; ok {
		c = had
	} else {
		if err := w.storeNew(&c, j.body); err != nil {
			return err
		}
		w.fresh[c.Hash] = c
	}
	p.Size += int64(c.Raw)
	p.Chunks = append(p.Chunks, c)
	return nil
}

// usePack returns the index of a pack in the manifest.
func (w *Writer) usePack(p Pack) uint32 {
	i, ok := w.packs[p.ID]
	if !ok {
		i = uint32(len(w.m.Packs))
		w.packs[p.ID] = i
		w.m.Packs = append(w.m.Packs, p)
	}
	return i
}

// storeNew appends one chunk to this snapshot's pack and says where it is.
func (w *Writer) storeNew(c *Chunk, body []byte) error {
	if w.pack == nil {
		name := w.store.packPath(w.m.ID)
		f, err := w.store.files.Create(name + tmpSuffix)
		if err != nil {
			return fmt.Errorf("create pack: %w", err)
		}
		w.pack, w.packName = f, name
		w.usePack(Pack{ID: w.m.ID, Size: w.m.packHeader()})
		if _, err := f.Write(header(packMagic, version, w.m.ID, w.m.Key)); err != nil {
			return fmt.Errorf("write pack: %w", err)
		}
	}
	c.Pack = w.packs[w.m.ID]
	own := &w.m.Packs[c.Pack]
	c.Offset = own.Size
	if _, err := w.pack.Write(body); err != nil {
		return fmt.Errorf("write pack: %w", err)
	}
	own.Size += int64(len(body))
	return nil
}

// ReusePart adds a part as it is in an earlier snapshot, without the owner's data being
// read: for a part whose fingerprint has not changed. It returns false, and adds
// nothing, if some of what that snapshot stored is damaged. Of a large part it looks at one
// chunk in sixteen, others each time: reading all of an unchanged stage every ten minutes
// would slow the load, and what a disk has done to it shows within hours.
func (w *Writer) ReusePart(ctx context.Context, m *Manifest, p *Part) (bool, error) {
	if m.version != w.m.version || m.Key != w.m.Key {
		return false, nil
	}
	if err := w.checkSpec(PartSpec{Name: p.Name, Fingerprint: p.Fingerprint}); err != nil {
		return false, err
	}
	which := oneIn(1)
	if len(p.Chunks) > reuseWhole {
		which = oneIn(16)
	}
	err := w.store.verify(ctx, m, p, which, Stored)
	if errors.Is(err, ErrDamaged) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	again := *p
	again.Chunks = make([]Chunk, len(p.Chunks))
	for i, c := range p.Chunks {
		c.Pack = w.usePack(m.Packs[c.Pack])
		again.Chunks[i] = c
	}
	w.m.Parts = append(w.m.Parts, again)
	return true, nil
}

// reuseWhole is the number of chunks, 256 MiB, up to which ReusePart looks at all.
const reuseWhole = 1024

// Commit finishes the pack, reads every new chunk back and decompresses it, and then
// lets the snapshot appear. When it returns nil the snapshot is durable.
func (w *Writer) Commit(ctx context.Context, meta json.RawMessage) (*Manifest, error) {
	w.m.Meta = meta
	if err := w.m.validate(); err != nil {
		return nil, fmt.Errorf("write manifest: it %w", err)
	}
	if w.pack != nil {
		pack := w.pack
		w.pack = nil // publish closes it
		if err := publish(w.store.files, pack, w.packName+tmpSuffix, w.packName); err != nil {
			return nil, fmt.Errorf("write pack: %w", err)
		}
	}
	if err := w.readBack(ctx); err != nil {
		return nil, fmt.Errorf("read back what was written: %w", err)
	}
	b := w.m.encode()
	if len(b) > maxManifest {
		return nil, fmt.Errorf("write manifest: %d bytes are more than it can have", len(b))
	}
	err := WriteFile(w.store.files, w.store.manifestPath(w.m.ID), func(f io.Writer) error {
		_, err := f.Write(b)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("write manifest: %w", err)
	}
	m, err := w.store.Manifest(w.m.ID)
	if err != nil {
		return nil, fmt.Errorf("read back what was written: %w", err)
	}
	w.close()
	return m, nil
}

func (w *Writer) readBack(ctx context.Context) error {
	own, ok := w.packs[w.m.ID]
	if !ok {
		return nil
	}
	for i := range w.m.Parts {
		isNew := func(c *Chunk) bool { return c.Pack == own }
		if err := w.store.verify(ctx, &w.m, &w.m.Parts[i], isNew, Content); err != nil {
			return err
		}
	}
	return nil
}

// Abort removes what was written, as far as that is possible; Sweep finds the rest.
func (w *Writer) Abort() {
	if w.pack != nil {
		w.pack.Close()
	}
	w.close()
	// The manifest first: a snapshot that cannot be made durable must not be seen.
	manifest := w.store.manifestPath(w.m.ID)
	if !w.store.removed(manifest) {
		return
	}
	w.store.removed(manifest + tmpSuffix)
	w.store.removed(w.store.packPath(w.m.ID) + tmpSuffix)
	w.store.removed(w.store.packPath(w.m.ID))
	w.store.files.SyncDir(filepath.Dir(manifest))
}

func (w *Writer) close() {
	w.codec.close()
	w.known.open.close()
}
