package appliance

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"dvmigrate/appliance/load"
	"dvmigrate/appliance/progress"
	"dvmigrate/ledger"
)

// RetryResult is how many records wait again.
type RetryResult struct {
	Version int            `json:"version"`
	Records int            `json:"records"`
	Tables  map[string]int `json:"tables"`
}

// Retry lets failed and held records wait again. Rows that do not fit the target
// stay held: only a new staging can mend them. Dependants of a failed record are
// held again by the next load if their parent still fails.
func (p *Project) Retry(ctx context.Context, f FailureFilter) (r RetryResult, err error) {
	if err := errors.Join(p.refuseRollback(), p.checkFilter(ctx, f)); err != nil {
		return r, err
	}
	end, err := p.record(ctx, "retry", p.o.Args)
	if err != nil {
		return r, err
	}
	defer func() { end(err, progress.Counted(r.Records, "record", "waits", "wait")+" again") }()
	return p.retry(ctx, f)
}

// checkFilter refuses what no failure could be chosen by.
func (p *Project) checkFilter(ctx context.Context, f FailureFilter) error {
	if err := f.validate(p.ledger); err != nil {
		return err
	}
	return p.knownKeys(ctx, f)
}

// retry is Retry without its entry in the audit trail.
func (p *Project) retry(ctx context.Context, f FailureFilter) (r RetryResult, err error) {
	r = RetryResult{Version: 1, Tables: map[string]int{}}
	filter := f.filter()
	if len(filter.Classes) == 0 {
		for c := range load.ClassNames() {
			if class := load.Class(c); class != load.ClassPrevalidate && class != load.ClassOrphan {
				filter.Classes = append(filter.Classes, uint8(c))
			}
		}
	}
	for _, t := range p.ledger.Tables() {
		if len(f.Tables) > 0 && !slices.Contains(f.Tables, t.Name) {
			continue
		}
		if f.single() {
			filter.Ranges = nil
			err := p.eachFailure(ctx, t.Name, f, func(e ledger.Failure) error {
				filter.Ranges = addRange(filter.Ranges, e.Seq)
				return nil
			})
			if err != nil {
				return r, fmt.Errorf("retry %s: %w", t.Name, err)
			}
			if len(filter.Ranges) == 0 {
				continue
			}
		}
		n, err := p.ledger.Retry(ctx, t.Name, filter)
		if n > 0 {
			r.Tables[t.Name] = n
			r.Records += n
		}
		if err != nil {
			return r, fmt.Errorf("retry %s: %w", t.Name, err)
		}
	}
	return r, nil
}
