package reconcile

import (
	"crypto/sha256"
	"fmt"
	"time"
)

// A comparison that was interrupted does not begin anew. Of the slices that it had read to
// their end it left behind at which version each record was equal (changed.go), so that the
// next one reads of them only ids and versions, and in full what has another version, was
// loaded since or was not equal; the other slices it reads in full. So what it finds is true
// of now, however long ago the interrupted one began. Tables with parties and links have no
// versions to go by, and are read anew.

// resumeRows is how many records a slice of a very big table has, so that no more are lost.
const resumeRows = 2_000_000

// Proven is what an interrupted comparison has left of one table.
type Proven struct {
	Began  time.Time   `json:"began"`  // of the first one, if it was interrupted more than once
	Shape  string      `json:"shape"`  // SHA-256 of what was compared
	Bounds []time.Time `json:"bounds"` // between its slices, by createdon
	Done   []bool      `json:"done"`   // which of them were read to their end
}

// Slices counts those that are done.
func (p *Proven) Slices() (done, of int) {
	for _, d := range p.Done {
		if d {
			done++
		}
	}
	return done, len(p.Done)
}

// Progress keeps how far a comparison is, for the next one if this one is interrupted.
type Progress interface {
	// Proven is what an interrupted one has left of a table; nil: nothing.
	Proven(table string) *Proven
	// Keep keeps it after another slice, whose versions were noted before; it must be on
	// disk when it returns.
	Keep(table string, p *Proven) error
}

// resume finds what can be gone on with, or begins.
func (w *comparison) resume(shape string) {
	if w.o.Progress == nil || w.known == nil || w.began > 0 || w.shape.narrow {
		return
	}
	shape = fmt.Sprintf("%x", sha256.Sum256([]byte(shape)))
	p := w.o.Progress.Proven(w.table.Name)
	if p == nil || p.Shape != shape || len(p.Done) != len(p.Bounds)+1 || w.full {
		w.proven = &Proven{Began: time.Now().UTC().Truncate(time.Second), Shape: shape}
		return
	}
	w.proven, w.since = p, uint32(p.Began.Unix())
	if done, of := p.Slices(); done > 0 {
		w.result.Resumed = &Resumed{Began: p.Began, Done: done, Of: of}
	}
}

// sliced notes that a slice was read to its end.
func (w *comparison) sliced(i int) error {
	if w.proven == nil {
		return nil
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.proven.Done[i] = true
	return w.o.Progress.Keep(w.table.Name, w.proven)
}
