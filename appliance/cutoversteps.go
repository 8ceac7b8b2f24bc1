package appliance

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"dvmigrate/appliance/plan"
	"dvmigrate/appliance/progress"
	"dvmigrate/appliance/reconcile"
	"dvmigrate/ledger"
)

// CutoverRunOptions say how a cutover goes on.
type CutoverRunOptions struct {
	Runbook string   // the file that `cutover plan` wrote as JSON; read when a cutover begins
	Confirm []string // gates, in their order
	NoGo    string   // why the cutover is called off; "" = it is not
	Again   string   // a step that is done once more, with all after it
	Restart bool     // begin a new one, when the last is over or was called off
	Load    LoadOptions
	Watch   StageWatch
	Step    func(CutoverStep) // told of each step as it begins and ends
}

// RunCutover goes on with the cutover, or begins it. It ends at the first gate that is not
// confirmed, with an *AtGateError.
func (p *Project) RunCutover(ctx, drain context.Context, o CutoverRunOptions) (r CutoverRun, err error) {
	end, err := p.record(ctx, "cutover run", p.o.Args)
	if err != nil {
		return r, err
	}
	defer func() {
		var gate *AtGateError
		if errors.As(err, &gate) {
			end(nil, "waits at "+gate.Step.Name)
			return
		}
		end(err, "")
	}()
	if r, err = p.takeUpCutover(o); err != nil {
		return r, err
	}
	save := func() error { return p.keepCutover(r) }
	if o.Again != "" {
		if err := r.again(o.Again); err != nil {
			return r, err
		}
	}
	if o.NoGo != "" {
		return r, errors.Join(p.callOff(&r, o.NoGo), save())
	}
	w := cutoverWalk{run: &r, save: save, watch: o.Step, need: p.cutoverGates(&r), work: p.cutoverWork(ctx, drain, &r, o),
		confirmed: func(ctx context.Context, s CutoverStep) (string, error) {
			by := userName(p.o.Env)
			_, err := p.note(ctx, Happened{Command: "cutover gate", Args: []string{"cutover", "gate", s.Name}, Result: strings.TrimSuffix("confirmed: "+s.What+"; "+s.Said, "; ")})
			return by, err
		}}
	if err := save(); err != nil {
		return r, err
	}
	return r, w.walk(ctx, o.Confirm)
}

// takeUpCutover reads how far the cutover is, or begins one.
func (p *Project) takeUpCutover(o CutoverRunOptions) (CutoverRun, error) {
	r, err := ReadCutover(p.Config)
	begins := errors.Is(err, errNoCutover)
	switch {
	case err != nil && !begins:
		return r, err
	case begins && (o.NoGo != "" || o.Again != ""):
		return r, err
	case o.Restart && !begins:
		if r.Ended.IsZero() && r.CalledOff == "" {
			return r, fmt.Errorf("the cutover of %s is under way, at %s; call it off first, with --no-go and the reason", r.Begun.Format("2006-01-02 15:04"), r.Current().Name)
		}
		if err := os.Rename(cutoverPath(p.Config), filepath.Join(p.work(), "cutover-"+r.Begun.Format("20060102-150405")+".json")); err != nil {
			return r, err
		}
		begins = true
	case r.CalledOff != "":
		return r, fmt.Errorf("the cutover was called off: %s; --restart begins the next one by its own runbook", r.CalledOff)
	case !begins && !r.Ended.IsZero() && o.Again == "":
		return r, fmt.Errorf("the cutover is over since %s; --restart begins another", r.Ended.Format("2006-01-02 15:04"))
	}
	if !begins {
		return r, nil
	}
	b, err := readRunbook(o.Runbook)
	if err != nil {
		return r, err
	}
	if b.Project != p.Config.Name {
		return r, fmt.Errorf("the runbook %s is of the project %s, and this is %s", o.Runbook, b.Project, p.Config.Name)
	}
	return newCutover(b, time.Now().UTC()), nil
}

// readRunbook reads a runbook as `cutover plan` writes it.
func readRunbook(path string) (b plan.Runbook, err error) {
	there, err := readNote(path, &b)
	if !there && err == nil {
		return b, fmt.Errorf("there is no runbook %s; write it with `dvmigrate cutover plan --window ...`", path)
	}
	if err == nil && len(b.Tasks) == 0 {
		err = errors.New("it has no tasks")
	}
	if err != nil {
		return b, fmt.Errorf("read the runbook %s: %w; `dvmigrate cutover plan` writes it anew", path, err)
	}
	return b, nil
}

func (p *Project) keepCutover(r CutoverRun) error {
	if err := keepNote(cutoverPath(p.Config), r); err != nil {
		return fmt.Errorf("keep how far the cutover is: %w", err)
	}
	return nil
}

// callOff ends a cutover before its point of no return.
func (p *Project) callOff(r *CutoverRun, why string) error {
	if r.PastReturn() {
		return errors.New("the point of no return is passed: users work in the target; what is wrong there is mended there, and not by going back")
	}
	r.CalledOff, r.Ended = why, time.Now().UTC()
	return nil
}

// cutoverGates say what is known at the gates at which something is.
func (p *Project) cutoverGates(r *CutoverRun) map[string]func() (string, bool) {
	return map[string]func() (string, bool){
		"go-1": func() (string, bool) {
			over := time.Now().Add(r.expected())
			text := fmt.Sprintf("%s to be sent; the load is expected to take %v, until %s", progress.Counted(r.Waiting, "record", "is", "are"), r.expected().Round(time.Second), p.clock(r, over))
			if over.After(r.Latest) {
				text += fmt.Sprintf(", and must be over by %s: TOO LATE", p.clock(r, r.Latest))
			}
			return text, true
		},
		"mend": func() (string, bool) {
			r.Failed = p.failing()
			return progress.Counted(r.Failed, "record") + " failed or held back", r.Failed > 0
		},
		"differences": func() (string, bool) { return r.Compared, r.Differs },
		"go-2": func() (string, bool) {
			left, needed, spare := r.Spare(time.Now())
			return fmt.Sprintf("%s; %s failed or held back; %v of the window are left, %v are needed, %v to spare", r.Compared, progress.Counted(r.Failed, "record"),
				left.Round(time.Minute), needed.Round(time.Minute), spare.Round(time.Minute)), true
		},
	}
}

// clock is a moment as the window's people read it.
func (p *Project) clock(r *CutoverRun, t time.Time) string {
	return t.In(r.Window.End.Location()).Format("Mon 2006-01-02 15:04")
}

// failing is how many records failed or are held back.
func (p *Project) failing() (n int64) {
	for _, t := range p.ledger.Tables() {
		c := p.ledger.Counts(t.Name)
		n += int64(c.Flag(ledger.Failed) + c.Flag(ledger.Held))
	}
	return n
}

// waiting is how many records wait for a pass.
func (p *Project) waiting() (n int64) {
	for _, t := range p.ledger.Tables() {
		c := p.ledger.Counts(t.Name)
		for _, pass := range []ledger.Pass{ledger.Main, ledger.Lookups, ledger.Files, ledger.State} {
			n += int64(c.Waiting(pass))
		}
	}
	return n
}

// cutoverWork are the working steps.
func (p *Project) cutoverWork(ctx, drain context.Context, r *CutoverRun, o CutoverRunOptions) map[string]func(context.Context) (string, error) {
	send := func(ctx context.Context) (string, error) {
		if p.waiting() == 0 && p.refuseInFlight() == nil && !p.owesHeirs() {
			return "nothing is to be sent", nil
		}
		l, err := p.Load(ctx, drain, o.Load)
		if err != nil {
			return "", err
		}
		if n := p.waiting(); n > 0 {
			return "", fmt.Errorf("%s still", progress.Counted(n, "record", "waits", "wait"))
		}
		r.Failed = p.failing()
		g := p.newestGeneration()
		err = p.keepDelta(DeltaResult{Name: g.Name(), Changes: r.Changes, Load: &l})
		return fmt.Sprintf("%s; %d in all failed or held back", l.did(), r.Failed), err
	}
	return map[string]func(context.Context) (string, error){
		"stage": func(ctx context.Context) (string, error) { return p.cutoverStage(ctx, drain, r, o) },
		"load": func(ctx context.Context) (string, error) {
			if g := p.newestGeneration(); g.Number != r.Generation {
				return "", fmt.Errorf("%s was staged, or a snapshot was restored, since the go was given, which was not for that; go on with --again stage", g.Name())
			}
			return send(ctx)
		},
		"passes": send,
		"reconcile": func(context.Context) (string, error) {
			c, err := p.Reconcile(drain, ReconcileOptions{Values: true, Limit: 20, NewTarget: o.Load.NewTarget}, o.Watch)
			if err != nil {
				return "", err
			}
			r.Compared, r.Differs = comparedText(c), !c.Pass
			return r.Compared, nil
		},
		"close": p.cutoverSnapshot,
	}
}

func comparedText(c reconcile.Result) string {
	if c.Pass {
		return "reconcile passes: " + reconciledText(c)
	}
	return "RECONCILE DOES NOT PASS: " + reconciledText(c)
}

// newestGeneration is what was staged last.
func (p *Project) newestGeneration() (g ledger.Generation) {
	all, err := p.ledger.Generations()
	if err != nil || len(all) == 0 {
		return g
	}
	return all[len(all)-1]
}

// cutoverStage is a delta up to its load. What an interrupted load has left in flight is
// settled first.
func (p *Project) cutoverStage(ctx, drain context.Context, r *CutoverRun, o CutoverRunOptions) (string, error) {
	if p.refuseInFlight() != nil {
		if _, err := p.Load(ctx, drain, o.Load); err != nil {
			return "", err
		}
	}
	var d DeltaResult
	if err := p.deltaStage(drain, DeltaOptions{Stage: o.Watch}, &d); err != nil {
		return "", err
	}
	if err := p.deltaCheck(ctx); err != nil {
		return "", err
	}
	r.Expected = Expected{}
	if d.Waiting > 0 {
		if err := p.deltaExpect(ctx, 0, &d); err != nil {
			return "", err
		}
		r.Expected = *d.Expected
	}
	r.Changes, r.Waiting, r.Generation, r.Failed = d.Changes, d.Waiting, p.newestGeneration().Number, p.failing()
	said, err := p.cutoverSnapshot(ctx)
	return fmt.Sprintf("%s: %s to be sent; to insert %d, to update %d, to delete %d, the same %d, that do not fit %d; %d lines could not be read; %s",
		d.Name, progress.Counted(d.Waiting, "record", "is", "are"), d.Changes.Insert, d.Changes.Update, d.Changes.Delete, d.Changes.Same, d.Held, d.Rejected, said), err
}

func (p *Project) cutoverSnapshot(ctx context.Context) (string, error) {
	info, err := p.Snapshot(ctx, nil)
	if err != nil {
		return "", err
	}
	return "snapshot " + info.ID, nil
}
