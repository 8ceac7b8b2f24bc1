package appliance

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"dvmigrate/ledger"
)

// A rollback brings the target back to the state before a generation. It goes by the journal of
// changes, work/undo.log, which says what each generation made and what records had before it changed
// them, and by the ledger, which says what of that came to pass. It is planned in the ledger: what was
// made is to be deleted, what was changed is to be updated; and then claimed, sent and settled as a load is.
// While it is not finished, work/rollback.json says so, and nothing else may change the ledger. When it
// is, the records stand as they stood before they were loaded: they wait. So a corrected load can begin,
// and what status, errors and reconcile say is true. There is no flag for what was rolled back.

// The files of a rollback in the work folder.
const (
	undoFile     = "undo.log"        // the journal of changes: it holds customers' data
	rollbackFile = "rollback.json"   // a rollback that is not finished
	behindFile   = "rolledback.json" // tables of which <table>_before is not so any more
)

func (p *Project) workFile(name string) string { return filepath.Join(p.work(), name) }

// openUndo opens the journal of changes, for what the newest generation does. What is wrong with it, short of
// what makes it another file, does not keep a load from going on: note is told.
func (p *Project) openUndo(ctx context.Context, note func(table, text string)) (*ledger.Undo, error) {
	all, err := p.ledger.Generations()
	if err != nil {
		return nil, err
	}
	newest, loaded := uint32(0), false
	for _, g := range all {
		newest, loaded = max(newest, g.Number), loaded || !g.Begun.IsZero()
	}
	path := p.workFile(undoFile)
	missing := loaded && !exists(path)
	u, err := ledger.OpenUndo(path, p.set, p.ledger.Journaled(), newest)
	if err != nil {
		return nil, p.explainUndo(err)
	}
	if err := p.ledger.Accompany(ctx, u); err != nil {
		u.Close()
		return nil, err
	}
	if missing {
		note("", "the journal of changes, "+path+", was missing and begins anew: what was loaded until now cannot be rolled back")
	}
	if damage := p.undoDamage(u); len(damage) > 0 {
		note("", fmt.Sprintf("the journal of changes is damaged (%s): some of what was loaded cannot be rolled back; see dvmigrate ledger check. What is loaded now is kept as always", strings.Join(damage, "; ")))
	}
	return u, nil
}

// readUndo reads the journal of changes, to look at it.
func (p *Project) readUndo() (*ledger.Undo, error) {
	u, err := ledger.ReadUndo(p.workFile(undoFile), p.set, p.ledger.Journaled())
	return u, p.explainUndo(err)
}

func (p *Project) explainUndo(err error) error {
	if errors.Is(err, ledger.ErrOtherSet) || errors.Is(err, ledger.ErrNotLedger) || errors.Is(err, ledger.ErrFormat) {
		err = fmt.Errorf("%w\nit is not this project's journal of changes, or its beginning is damaged; put back the project's own, or put it away to go on without: what was loaded until now can then not be rolled back", err)
	}
	return err
}

// undoDamage says what of the journal of changes is damaged, and what of that is lost.
func (p *Project) undoDamage(u *ledger.Undo) (out []string) {
	name := func(number uint32) string { return fmt.Sprint("generation ", number) }
	if all, err := p.ledger.Generations(); err == nil {
		name = func(number uint32) string {
			for _, g := range all {
				if g.Number >= number {
					return g.Name()
				}
			}
			return "the newest generation"
		}
	}
	for _, d := range u.Damages() {
		text := d.String()
		if first, last := name(d.First), name(d.Last); first != last {
			text += " (" + first + " to " + last + ")"
		} else {
			text += " (" + first + ")"
		}
		out = append(out, text)
	}
	return out
}

// rollbackNote is work/rollback.json.
type rollbackNote struct {
	Version   int                       `json:"version"`
	Begun     time.Time                 `json:"begun"`
	Since     uint32                    `json:"since"` // the first generation that goes back
	Name      string                    `json:"name"`  // of it
	Tables    []string                  `json:"tables"`
	Keyed     bool                      `json:"keyed,omitempty"` // only the records of Keys
	Keys      map[string][]ledger.Range `json:"keys,omitempty"`
	Overwrite bool                      `json:"overwrite,omitempty"`
	Along     map[string][]ledger.Range `json:"along,omitempty"` // links that go with the records that they link (takeAlong)
	Apart     []string                  `json:"apart,omitempty"` // tables whose records are in partitions of their own
	Stage     string                    `json:"stage"`           // planning, sending, finishing, leaving
	List      string                    `json:"list,omitempty"`  // file of what did not go back
	Lost      int64                     `json:"lost,omitempty"`
	Aside     int64                     `json:"aside,omitempty"` // records that waited for another load when it was planned, and are none of its
	Done      map[string][]ledger.Range `json:"done,omitempty"`  // from finishing on
	Left      map[string][]ledger.Range `json:"left,omitempty"`
}

// How far a rollback is.
const (
	rollbackPlanning  = "planning"  // the ledger is being told; nothing was sent
	rollbackSending   = "sending"   // the records go back
	rollbackFinishing = "finishing" // what went back is made to wait for a load
	rollbackLeaving   = "leaving"   // what did not go back is made what it was
)

// rolling reads the rollback that is not finished; nil: there is none.
func (p *Project) rolling() (*rollbackNote, error) {
	var n rollbackNote
	there, err := readNote(p.workFile(rollbackFile), &n)
	if !there && err == nil {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the rollback that is under way, %s: %w", p.workFile(rollbackFile), err)
	}
	return &n, nil
}

func (p *Project) keepRolling(n *rollbackNote) error {
	return keepNote(p.workFile(rollbackFile), n)
}

// refuseRollback refuses what must not happen while a rollback is under way.
func (p *Project) refuseRollback() error {
	n, err := p.rolling()
	if n != nil {
		err = fmt.Errorf("a rollback of %s, begun %s, is not finished; `dvmigrate rollback` goes on with it, `dvmigrate rollback --stop` ends it as it is",
			n.Name, n.Begun.Local().Format("2006-01-02 15:04"))
	}
	return err
}

// refuseUnsettled refuses what needs to know what the target has: a rollback that is not finished, or else
// what a load has left in flight.
func (p *Project) refuseUnsettled() error {
	return cmp.Or(p.refuseRollback(), p.refuseInFlight())
}

// goesBack is how many records wait to be deleted or to get back what they had, and in the tables of a rollback
// also those that are none of its.
func (p *Project) goesBack(n *rollbackNote) (waiting int64) {
	for _, t := range n.Tables {
		c := p.ledger.Counts(t)
		waiting += int64(c.Of(ledger.Unprocessed, ledger.Main, ledger.Delete) + c.Of(ledger.Unprocessed, ledger.Main, ledger.Update))
	}
	return waiting
}

// RollbackOptions say what goes back.
type RollbackOptions struct {
	Generation string                   // the first that goes back, with all that came after it: full, "delta 2", its number, or last
	Tables     []string                 // none = all
	Wave       int                      // tables of this wave of the plan, from 1; 0 = all
	Keys       []string                 // legacy keys; none = all
	Below      bool                     // with Keys: also what the target deletes with their records
	Overwrite  bool                     // also what others have changed since
	Stop       bool                     // ends the one that is under way as it is
	Offline    bool                     // PlanRollback goes by ledger and journal alone
	Confirm    func(RollbackPlan) error `json:"-"`
	Load       LoadOptions

	pageFrom int // of so many records on PlanRollback reads whole tables; 0 = as load does: tests have few
}

// scoped reports whether it is said what goes back.
func (o *RollbackOptions) scoped() bool {
	return o.Generation != "" || len(o.Tables)+len(o.Keys)+o.Wave > 0 || o.Below
}
