package appliance

import (
	"context"

	"dvmigrate/appliance/config"
	"dvmigrate/appliance/progress"
	"dvmigrate/appliance/reconcile"
)

// Reconcile compares what is in the target with what was loaded. values says
// whether the columns are compared too, limit how many mismatches of a table are
// kept. newTarget is the target's address said a second time, as in LoadOptions.
func (p *Project) Reconcile(ctx context.Context, values bool, limit int, newTarget string, watch func(table string, done, total int64)) (reconcile.Result, error) {
	b, err := p.bindStaged(ctx)
	if err != nil {
		return reconcile.Result{}, err
	}
	target, err := p.meet(ctx, 0, newTarget)
	if err != nil {
		return reconcile.Result{}, err
	}
	defer target.close()
	way, err := target.route(config.Headers{})
	if err != nil {
		return reconcile.Result{}, err
	}
	seqOf := p.targetSeq(b)
	r, err := reconcile.Run(ctx, p.stage, p.ledger, way, reconcile.Options{Tables: b.tables, Values: values, Limit: limit, Watch: watch,
		RecordSeq: seqOf, Kept: p.keptID(b), Staged: p.stagedID(b, seqOf)})
	if err != nil {
		return r, p.explainTarget(err)
	}
	return r, p.noteReconciled(ctx, r.Summary, values)
}

// Live is the state of a load that is running in this process; false when none is.
func (p *Project) Live() (progress.Snapshot, bool) {
	t := p.tracker.Load()
	if t == nil {
		return progress.Snapshot{}, false
	}
	return t.Snapshot(), true
}
