package ledger

import (
	"context"
	"errors"
	"fmt"

	bolt "go.etcd.io/bbolt"
)

// Report is what a check of a whole ledger looked at and what it found.
type Report struct {
	Path   string    `json:"path"`
	Format uint16    `json:"format"`
	Epoch  uint64    `json:"epoch"`
	Clean  bool      `json:"clean"` // closed in order, or open now; else its process was killed
	Audit  AuditHead `json:"-"`
	Parts  []*Part   `json:"parts"`
	Tables []Table   `json:"-"` // as the file defines them
}

// Part is one thing that a check looks at.
type Part struct {
	Name    string   `json:"name"`
	Checked int64    `json:"checked"` // how many units
	Unit    string   `json:"unit"`
	Faults  []string `json:"faults"`            // the first maxFaults
	More    int64    `json:"more"`              // faults beyond these
	Skipped string   `json:"skipped,omitempty"` // why it could not be checked
	Note    string   `json:"note,omitempty"`    // what is to be known of it and no fault
	err     error    // of the first fault
}

// maxFaults is how many faults of a part are told one by one.
const maxFaults = 10

func (p *Part) fault(err error) {
	if p.err == nil {
		p.err = err
	}
	if len(p.Faults) < maxFaults {
		p.Faults = append(p.Faults, err.Error())
	} else {
		p.More++
	}
}

// part adds a part to the report.
func (r *Report) part(name, unit string) *Part {
	p := &Part{Name: name, Unit: unit, Faults: []string{}}
	r.Parts = append(r.Parts, p)
	return p
}

// Err is nil, or the first fault: ErrTampered when only the audit trail has one, else ErrDamaged (or what
// else the file is: ErrNotLedger, ErrFormat).
func (r *Report) Err() error {
	var first error
	for _, p := range r.Parts {
		switch {
		case p.err == nil:
		case errors.Is(p.err, ErrTampered):
			if first == nil {
				first = p.err
			}
		case errors.Is(p.err, ErrDamaged), errors.Is(p.err, ErrNotLedger), errors.Is(p.err, ErrFormat):
			return fmt.Errorf("check ledger %s: %w", r.Path, p.err)
		default:
			return fmt.Errorf("check ledger %s: %w: %w", r.Path, ErrDamaged, p.err)
		}
	}
	if first != nil {
		return fmt.Errorf("check ledger %s: %w", r.Path, first)
	}
	return nil
}

// Check checks the whole open ledger and says what it found first; see Examine.
func (l *Ledger) Check(ctx context.Context) error {
	r, err := l.Examine(ctx)
	if err == nil {
		err = r.Err()
	}
	return err
}

// Examine checks the whole open ledger: bbolt's own check, every checksum, that stored pages and counts
// equal those in memory and agree with each other, that each failed or held record has exactly one
// failure and no other record has one, error texts, runs, generations, and the audit trail. Changes wait
// meanwhile (about a second at 120 million records). An error says that it could not be done.
func (l *Ledger) Examine(ctx context.Context) (r Report, err error) {
	examine := func() error {
		r = Report{Path: l.path}
		return l.view(func(tx *bolt.Tx) error { return l.examine(ctx, tx, &r) })
	}
	if l.o.ReadOnly {
		return r, examine()
	}
	err = l.submit(ctx, &request{alone: examine})
	r.Clean = true
	return r, err
}

// Check checks the ledger file at path, as Examine does, and says what it found first.
func Check(ctx context.Context, path string) error {
	r, err := Examine(ctx, path)
	if err == nil {
		err = r.Err()
	}
	return err
}

// Examine checks the ledger file at path, which nobody may have open for writing (ErrLocked), without
// changing it: the structure of its pages by plain reads, then all that Ledger.Examine looks at. It goes
// on after a fault where that makes sense. An error says that the check could not be done.
func Examine(ctx context.Context, path string) (Report, error) {
	r := Report{Path: path}
	structure := r.part("page structure", "pages")
	db, f, err := openBolt(ctx, path, Options{ReadOnly: true})
	switch {
	case errors.Is(err, ErrDamaged), errors.Is(err, ErrNotLedger):
		structure.fault(err)
		return r, nil
	case err != nil:
		return r, fmt.Errorf("check ledger %s: %w", path, err)
	}
	l := &Ledger{path: path, db: db, file: f}
	err = l.view(func(tx *bolt.Tx) error {
		structure.Checked = tx.Size() / int64(db.Info().PageSize)
		return l.examine(ctx, tx, &r)
	})
	if errors.Is(err, ErrDamaged) || errors.Is(err, ErrNotLedger) || errors.Is(err, ErrFormat) {
		r.part("whole", "").fault(err)
		err = nil
	}
	return r, errors.Join(err, closeBolt(db, f, err))
}

// check is Check within start, where the audit trail is left out: a load must not be refused because
// somebody touched the trail.
func (l *Ledger) check(ctx context.Context) error {
	r := Report{Path: l.path}
	err := l.view(func(tx *bolt.Tx) error { return l.examine(ctx, tx, &r) })
	if err == nil {
		err = r.Err()
	}
	if errors.Is(err, ErrTampered) && !errors.Is(err, ErrDamaged) {
		return nil
	}
	return err
}
