package appliance

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"dvmigrate/appliance/config"
	"dvmigrate/appliance/plan"
	"dvmigrate/appliance/reconcile"
)

// Looker is what phases find out from stage, ledger and settings without changing them,
// so that a process which is at work can be asked for it too.
type Looker interface {
	// Settings are the project's. Who asks another process has read them anew.
	Settings() *config.Config
	Plan(ctx context.Context) (*plan.Plan, error)
	Estimate(ctx context.Context, o EstimateOptions) (Estimate, error)
	Cutover(ctx context.Context, o CutoverOptions) (Runbook, error)
	Preview(ctx context.Context, table string, keys []string, limit int) (Preview, error)
	Profile(ctx context.Context, only []string, watch StageWatch) (SourceProfile, error)
	CheckData(ctx context.Context, only []string, watch StageWatch) (DataCheck, error)
	// Options writes the sheets where it is told to.
	Options(ctx context.Context, only []string, write, workbook bool, watch StageWatch) (OptionsPlan, error)
	Repairs(ctx context.Context, only []string, limit int) (Repairs, error)
	// Report gathers what happened so far, from what is kept.
	Report(ctx context.Context) (Report, error)
	// Reconcile asks the target too, and keeps how the comparison ended.
	Reconcile(ctx context.Context, o ReconcileOptions, watch StageWatch) (reconcile.Result, error)
	// PlanRollback asks the target too, and says so where it could not.
	PlanRollback(ctx context.Context, o RollbackOptions, watch StageWatch) (RollbackPlan, error)
}

// Settings implements Looker.
func (p *Project) Settings() *config.Config { return p.Config }

// previewQuery is what Preview is asked.
type previewQuery struct {
	Table string   `json:"table"`
	Keys  []string `json:"keys"`
	Limit int      `json:"limit"`
}

// repairsQuery is what Repairs is asked.
type repairsQuery struct {
	Only  []string `json:"only"`
	Limit int      `json:"limit"`
}

// optionsQuery is what Options is asked.
type optionsQuery struct {
	Only     []string `json:"only"`
	Write    bool     `json:"write"`
	Workbook bool     `json:"workbook"`
}

// look answers on the control socket what a phase finds out. A process whose settings are
// not those of the file meanwhile, such as one that calibrates a sandbox, is not asked.
func (p *Project) look(mux *http.ServeMux) {
	looks(mux, p, "plan", func(ctx context.Context, _ any, _ StageWatch) (*plan.Plan, error) { return p.Plan(ctx) })
	looks(mux, p, "estimate", func(ctx context.Context, o EstimateOptions, _ StageWatch) (Estimate, error) {
		return p.Estimate(ctx, o)
	})
	looks(mux, p, "cutover", func(ctx context.Context, o CutoverOptions, _ StageWatch) (Runbook, error) { return p.Cutover(ctx, o) })
	looks(mux, p, "preview", func(ctx context.Context, q previewQuery, _ StageWatch) (Preview, error) {
		return p.Preview(ctx, q.Table, q.Keys, q.Limit)
	})
	looks(mux, p, "profile", p.Profile)
	looks(mux, p, "check-data", p.CheckData)
	looks(mux, p, "options", func(ctx context.Context, q optionsQuery, watch StageWatch) (OptionsPlan, error) {
		return p.Options(ctx, q.Only, q.Write, q.Workbook, watch)
	})
	looks(mux, p, "repairs", func(ctx context.Context, q repairsQuery, _ StageWatch) (Repairs, error) {
		return p.Repairs(ctx, q.Only, q.Limit)
	})
	looks(mux, p, "report", func(ctx context.Context, _ any, _ StageWatch) (Report, error) { return p.Report(ctx) })
	looks(mux, p, "reconcile", p.Reconcile)
	looks(mux, p, "rollback", p.PlanRollback)
	looks(mux, p, "graph", func(ctx context.Context, _ any, _ StageWatch) (Graph, error) { return p.Graph(ctx) })
	looks(mux, p, "rows", func(ctx context.Context, q RowsQuery, _ StageWatch) (RowsPage, error) { return p.Rows(ctx, q) })
	looks(mux, p, "ask", func(ctx context.Context, q askQuery, _ StageWatch) (Answer, error) {
		return p.Ask(ctx, q.Query, q.Limit)
	})
}

// notNow are the commands during which only status, errors, sql and the like are answered:
// calibrate signs in elsewhere, and what is being staged or drafted is not yet one whole.
var notNow = map[string]bool{"calibrate": true, "stage": true, "draft": true, "target pull": true}

// looks serves a question that is not answered during these commands.
func looks[Q, A any](mux *http.ServeMux, p *Project, name string, find func(context.Context, Q, StageWatch) (A, error)) {
	serves(mux, name, func(ctx context.Context, q Q, watch StageWatch) (a A, err error) {
		if notNow[p.o.Command] {
			return a, p.inUse()
		}
		return find(ctx, q, watch)
	})
}

// toldEvery is how often who asks is told how far the answer is.
const toldEvery = 200 * time.Millisecond

// tell writes progress as lines of their own.
func tell(w http.ResponseWriter) StageWatch {
	var last time.Time
	flush := http.NewResponseController(w)
	return func(what string, percent float64) {
		if time.Since(last) < toldEvery {
			return
		}
		last = time.Now()
		_ = json.NewEncoder(w).Encode(reply{Doing: what, Percent: percent}) // whoever asked is gone: the context ends it
		_ = flush.Flush()
	}
}

// Settings implements Looker.
func (r *remote) Settings() *config.Config { return r.config }

// Plan implements Looker.
func (r *remote) Plan(ctx context.Context) (p *plan.Plan, err error) {
	err = r.ask(ctx, "plan", nil, &p)
	return p, err
}

// Estimate implements Looker.
func (r *remote) Estimate(ctx context.Context, o EstimateOptions) (e Estimate, err error) {
	err = r.ask(ctx, "estimate", o, &e)
	return e, err
}

// Cutover implements Looker.
func (r *remote) Cutover(ctx context.Context, o CutoverOptions) (b Runbook, err error) {
	if err := r.ask(ctx, "cutover", o, &b); err != nil {
		return b, err
	}
	zone, err := time.LoadLocation(b.Window.Zone) // of which only the offset was told
	b.Window.Start, b.Window.End = b.Window.Start.In(zone), b.Window.End.In(zone)
	return b, err
}

// Preview implements Looker.
func (r *remote) Preview(ctx context.Context, table string, keys []string, limit int) (v Preview, err error) {
	err = r.ask(ctx, "preview", previewQuery{table, keys, limit}, &v)
	return v, err
}

// Profile implements Looker.
func (r *remote) Profile(ctx context.Context, only []string, watch StageWatch) (s SourceProfile, err error) {
	err = r.watch(ctx, "profile", only, &s, watch)
	return s, err
}

// CheckData implements Looker.
func (r *remote) CheckData(ctx context.Context, only []string, watch StageWatch) (d DataCheck, err error) {
	err = r.watch(ctx, "check-data", only, &d, watch)
	return d, err
}

// Options implements Looker.
func (r *remote) Options(ctx context.Context, only []string, write, workbook bool, watch StageWatch) (o OptionsPlan, err error) {
	err = r.watch(ctx, "options", optionsQuery{only, write, workbook}, &o, watch)
	return o, err
}

// Repairs implements Looker.
func (r *remote) Repairs(ctx context.Context, only []string, limit int) (v Repairs, err error) {
	err = r.ask(ctx, "repairs", repairsQuery{only, limit}, &v)
	return v, err
}

// Report implements Looker.
func (r *remote) Report(ctx context.Context) (rep Report, err error) {
	err = r.ask(ctx, "report", nil, &rep)
	return rep, err
}

// Reconcile implements Looker.
func (r *remote) Reconcile(ctx context.Context, o ReconcileOptions, watch StageWatch) (res reconcile.Result, err error) {
	err = r.watch(ctx, "reconcile", o, &res, watch)
	return res, err
}

// PlanRollback implements Looker.
func (r *remote) PlanRollback(ctx context.Context, o RollbackOptions, watch StageWatch) (plan RollbackPlan, err error) {
	err = r.watch(ctx, "rollback", o, &plan, watch)
	return plan, err
}

// answered is an error that another process met, with what a caller decides on.
func (r reply) answered() error {
	err := errors.New(r.Error)
	switch {
	case r.SignIn:
		return &SignInError{Err: err, told: true}
	case r.InUse != nil:
		return &InUseError{Owner: *r.InUse}
	}
	return err
}
