package appliance

import (
	"context"
	"fmt"
	"slices"
	"time"

	"dvmigrate/appliance/plan"
	"dvmigrate/ledger"
)

// The runbook's words, for the command line.
type (
	Runbook      = plan.Runbook
	RunbookFixed = plan.Fixed
)

// UsualFixed are the usual durations of the tasks that no estimate gives.
func UsualFixed() RunbookFixed { return plan.UsualFixed() }

// CutoverOptions say what to plan for.
type CutoverOptions struct {
	Window   string    // "Sat 20:00/Sun 22:00", or with dates
	Zone     string    // IANA name
	After    time.Time // the window begins after it
	Fixed    RunbookFixed
	Estimate EstimateOptions
}

// Cutover writes the runbook of a cutover: what is loaded in the window is what the
// estimate proposes for it.
func (p *Project) Cutover(ctx context.Context, o CutoverOptions) (Runbook, error) {
	zone, err := time.LoadLocation(o.Zone)
	if err != nil || o.Zone == "" {
		return Runbook{}, fmt.Errorf("the time zone %q is not known; say one such as Europe/Berlin or UTC with --zone", o.Zone)
	}
	w, err := plan.ParseWindow(o.Window, zone, o.After)
	if err != nil {
		return Runbook{}, err
	}
	o.Estimate.Window, o.Estimate.GoLive = w.Length(), w.Start
	e, err := p.Estimate(ctx, o.Estimate)
	if err != nil {
		return Runbook{}, err
	}
	if e.Operations == 0 { // the last delta is not there yet
		if e.Proposal, err = p.likeLastDeltas(w.Start); err != nil {
			return Runbook{}, err
		}
	} else if all, err := p.ledger.Generations(); err != nil {
		return Runbook{}, err
	} else if n := len(all); !e.Proposal.Split && n > 0 && slices.ContainsFunc(all, func(g ledger.Generation) bool { return !g.Begun.IsZero() }) {
		e.Proposal.Supplies[0].Name = "what waits now, of " + all[n-1].Name() // and not a full load: one was begun before
	}
	b, err := plan.Cutover(p.Config.Name, w, o.Fixed, e.Proposal, e.LeastChange)
	if err != nil {
		return Runbook{}, err
	}
	if first := b.Dates[0].At; first.Before(o.After) {
		b.Notes = append(b.Notes, fmt.Sprintf("some dates are over: the first, %s, was %s; take a later window or shorten the lead", b.Dates[0].Name, first.Format("2006-01-02")))
	}
	b.Notes = append(b.Notes, e.Notes...)
	return b, nil
}

// likeLastDeltas expects the last delta to take as long as the longest of those before, with the
// estimate's buffer.
func (p *Project) likeLastDeltas(start time.Time) (plan.Proposal, error) {
	past, err := p.deltas()
	if err != nil {
		return plan.Proposal{}, err
	}
	if len(past) == 0 {
		return plan.Proposal{}, fmt.Errorf("nothing waits to be loaded, and there was no delta yet that says how long the last will take, so there is no cutover to plan; stage the next supply first")
	}
	next := plan.Supply{Name: "the last delta, as the longest of those before", Start: start}
	for _, d := range past[max(0, len(past)-lastDeltas):] {
		next.Records, next.Seconds = max(next.Records, d.Sent), max(next.Seconds, d.Load*(1+p.Config.Estimate.Buffer/100))
	}
	return plan.Proposal{Supplies: []plan.Supply{next}}, nil
}
