package appliance

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"dvmigrate/duckstage"
	"dvmigrate/ledger"
)

// LedgerReport is what a check of the ledger looked at and found.
type LedgerReport struct {
	Version int  `json:"version"`
	Sound   bool `json:"sound"`
	ledger.Report
	Audit     string `json:"audit"`            // number and hash of the newest audit entry
	UndoSound bool   `json:"undoSound"`        // of the journal of changes, which a rollback needs and a load does not
	UndoBytes int64  `json:"undoBytes"`        // its size
	Advice    string `json:"advice,omitempty"` // what to do, where it is not sound
}

// LedgerStats is what takes how much room in the ledger.
type LedgerStats struct {
	Version   int    `json:"version"`
	Path      string `json:"path"`
	UndoBytes int64  `json:"undoBytes"` // size of the journal of changes, beside it
	ledger.Stats
}

// CheckLedger checks the ledger of the project in dir, also one that is damaged, without changing it. A
// process that works on the project is asked.
func CheckLedger(ctx context.Context, dir string, o Options) (LedgerReport, error) {
	if r := attach(dir, o); r != nil {
		defer r.Close()
		return r.CheckLedger(ctx)
	}
	p, err := Open(ctx, dir, NoSchema, o)
	if err != nil {
		return LedgerReport{}, err
	}
	if !exists(p.ledgerPath()) {
		if !exists(p.stagePath()) {
			return LedgerReport{}, ErrNotStaged
		}
		return LedgerReport{}, p.halfGone("ledger", p.ledgerPath())
	}
	found, err := ledger.Examine(ctx, p.ledgerPath())
	if errors.Is(err, ledger.ErrLocked) {
		return LedgerReport{}, p.inUse()
	}
	if err != nil {
		return LedgerReport{}, err
	}
	if fault := found.Err(); fault != nil && !errors.Is(fault, ledger.ErrTampered) {
		r := p.ledgerReport(found)
		r.UndoSound, r.UndoBytes = true, p.undoSize()
		r.Parts = append(r.Parts, &ledger.Part{Name: "journal of changes", Unit: "entries", Faults: []string{}, Skipped: "the ledger cannot be read"})
		return r, nil
	}
	whole, err := Open(ctx, dir, Viewing, o)
	if err != nil {
		return LedgerReport{}, err
	}
	defer whole.Close()
	if err := whole.compareStage(ctx, &found); err != nil {
		return LedgerReport{}, err
	}
	return whole.checkUndo(p.ledgerReport(found)), nil
}

// CheckLedger implements Viewer.
func (p *Project) CheckLedger(ctx context.Context) (LedgerReport, error) {
	found, err := p.ledger.Examine(ctx)
	if err == nil {
		err = p.compareStage(ctx, &found)
	}
	return p.checkUndo(p.ledgerReport(found)), err
}

// checkUndo adds the journal of changes: its checksums, that the ledger knows the records of each entry, and that
// it knows of each record that was loaded, which is said and is no fault: a project may have lived without.
func (p *Project) checkUndo(r LedgerReport) LedgerReport {
	u, err := p.readUndo() // before the tables are listed, so that none of its records is new to them
	if err != nil {
		u = &ledger.Undo{}
	}
	part := u.Examine(p.ledger.Tables())
	r.Parts, r.UndoBytes = append(r.Parts, part), u.Size()
	if err != nil {
		part.Faults = append(part.Faults, err.Error())
	}
	var unknown int64
	for _, t := range p.ledger.Tables() {
		s := p.backSetsOf(u, &rollbackNote{Stage: rollbackPlanning}, t.Name)
		unknown += int64(s.Unknown.Len())
	}
	switch {
	case unknown > 0 && u.Began().IsZero():
		part.Note = fmt.Sprintf("there is none; the %d records that were loaded cannot be rolled back", unknown)
	case unknown > 0:
		part.Note = fmt.Sprintf("it does not know of %d records that were loaded; they cannot be rolled back", unknown)
	case u.Torn() > 0:
		part.Note = fmt.Sprintf("a kill has left %d bytes half written at its end, which do not count", u.Torn())
	}
	switch r.UndoSound = len(part.Faults) == 0; {
	case r.UndoSound:
	case err != nil:
		r.Advice = strings.TrimPrefix(r.Advice+"\nput back the project's own journal of changes, or put it away to go on without: what was loaded until now can then not be rolled back", "\n")
	default:
		r.Advice = strings.TrimPrefix(r.Advice+"\nwhat is damaged in "+p.workFile(undoFile)+" is lost to a rollback and to nothing else: loads go on, and dvmigrate rollback --dry-run counts what stays", "\n")
	}
	return r
}

func (p *Project) ledgerReport(found ledger.Report) LedgerReport {
	r := LedgerReport{Version: 1, Sound: true, Report: found, Audit: found.Audit.String()}
	for _, part := range found.Parts {
		r.Sound = r.Sound && len(part.Faults) == 0
	}
	switch err := found.Err(); {
	case r.Sound:
	case errors.Is(err, ledger.ErrTampered):
		r.Advice = "somebody changed the audit trail; what became of each record is not touched by that. Find out who can write " + p.ledgerPath() +
			", and compare with the trail in a snapshot: `dvmigrate guide ledger`"
	case errors.Is(err, ledger.ErrFormat):
		r.Advice = "go on with the release of dvmigrate that wrote it"
	case err == nil:
		r.Advice = "stage and ledger are not of one moment: put back the one that belongs to the other, or " + p.restoreHint()
	default:
		r.Advice = p.restoreHint() + "; keep the damaged file until then"
	}
	return r
}

// compareStage compares the ledger's tables with the stage's.
func (p *Project) compareStage(ctx context.Context, r *ledger.Report) error {
	tables, err := p.stagedTables(ctx)
	if err != nil {
		return err
	}
	part := &ledger.Part{Name: "rows of the stage against records", Unit: "rows", Faults: []string{}}
	fault := func(format string, args ...any) { part.Faults = append(part.Faults, fmt.Sprintf(format, args...)) }
	booked := map[string]ledger.Table{}
	for _, t := range r.Tables {
		booked[t.Name] = t
	}
	for _, t := range tables {
		b, ok := booked[t.Name]
		delete(booked, t.Name)
		if !ok || b.Generation != t.Generation {
			part.Skipped = "the last staging of " + t.Name + " was cut off before the ledger knew of it: the next stage or load goes on with it"
			continue
		}
		var rows, beyond int64
		query := fmt.Sprintf("SELECT count(*), count(*) FILTER (dm_seq >= %d) FROM %s", b.Count, duckstage.Ident(t.Name))
		if err := p.stage.Row(ctx, []any{&rows, &beyond}, query); err != nil {
			return err
		}
		part.Checked += rows
		switch {
		case b.Number != t.Number:
			fault("table %s has number %d in the ledger and %d in the stage", t.Name, b.Number, t.Number)
		case b.Count != t.Next:
			fault("table %s has %d records in the ledger and %d in the stage", t.Name, b.Count, t.Next)
		case beyond > 0 || rows > int64(b.Count):
			fault("table %s has %d rows in the stage, %d of them without a record", t.Name, rows, max(beyond, rows-int64(b.Count)))
		}
	}
	for name := range booked {
		fault("table %s is in the ledger and not in the stage", name)
	}
	r.Parts = append(r.Parts, part)
	return nil
}

// LedgerStats implements Viewer.
func (p *Project) LedgerStats(context.Context) (LedgerStats, error) {
	s, err := p.ledger.Stats()
	return LedgerStats{Version: 1, Path: p.ledgerPath(), UndoBytes: p.undoSize(), Stats: s}, err
}

// undoSize is how much room the journal of changes takes; 0 where there is none.
func (p *Project) undoSize() int64 {
	info, err := os.Stat(p.workFile(undoFile))
	if err != nil {
		return 0
	}
	return info.Size()
}

// Compaction is what compacting a ledger gave back.
type Compaction struct {
	Version int   `json:"version"`
	Before  int64 `json:"before"` // size of the file
	After   int64 `json:"after"`
}

// CompactLedger writes the ledger anew without its free pages. Nobody else may work on the project.
func CompactLedger(ctx context.Context, dir string, o Options) (Compaction, error) {
	c, began := Compaction{Version: 1}, time.Now()
	p, err := Open(ctx, dir, NoSchema, o)
	if err != nil {
		return c, err
	}
	if !exists(p.ledgerPath()) {
		return c, ErrNotStaged
	}
	if err := p.identify(Loading); err != nil {
		return c, err
	}
	c.Before, c.After, err = ledger.Store{Path: p.ledgerPath(), Set: p.set}.Compact(ctx)
	if errors.Is(err, ledger.ErrLocked) {
		return c, p.inUse()
	}
	if err != nil {
		return c, p.explainLedger(err)
	}
	return c, Note(ctx, dir, o, NewHappened("ledger compact", o.Args, began, nil, fmt.Sprintf("%d bytes before, %d after", c.Before, c.After)))
}
