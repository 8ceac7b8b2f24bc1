package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"dvmigrate/appliance"
)

// cutoverRunFlags are those of `cutover run`.
type cutoverRunFlags struct {
	load       loadCommand
	runbook    string
	confirm    []string
	noGo       string
	again      string
	restart    bool
	acceptLoss bool
}

func (c *cutoverRunFlags) addTo(f *pflag.FlagSet) {
	f.StringVar(&c.runbook, "runbook", "", "run: the runbook's JSON `file` (default: cutover/runbook.json in the project's folder)")
	f.StringArrayVar(&c.confirm, "confirm", nil, "run: a `gate` at which it goes on, for who is not at a terminal; several, in their order")
	f.StringVar(&c.noGo, "no-go", "", "run: call the cutover off, with the `reason`")
	f.StringVar(&c.again, "again", "", "run: do this `step` and all after it once more")
	f.BoolVar(&c.restart, "restart", false, "run: begin another cutover, when the last is over or was called off")
	addAcceptLoss(f, &c.acceptLoss)
	c.load.addSending(f)
}

func (c *cutoverRunFlags) given() bool {
	return c.runbook != "" || len(c.confirm) > 0 || c.noGo != "" || c.again != "" || c.restart
}

func (c *cutoverRunFlags) validate() error {
	if c.noGo != "" && (len(c.confirm) > 0 || c.again != "" || c.restart) {
		return errors.New("--no-go calls the cutover off, and goes with no other of its flags")
	}
	return c.load.Validate(nil)
}

// run goes on with the cutover. The project is closed while somebody is asked, so that
// status, errors and retry work meanwhile.
func (c *cutoverRunFlags) run(ctx context.Context, env *Env) error {
	for {
		r, err := c.once(ctx, env)
		var gate *appliance.AtGateError
		if errors.As(err, &gate) && !env.json && inputIsTerminal(env.Stdin) && c.ask(env, r, gate.Step) {
			c.confirm, c.again, c.restart = []string{gate.Step.Name}, "", false
			continue
		}
		if env.json && len(r.Steps) > 0 {
			if jerr := env.printJSON(r); jerr != nil {
				return jerr
			}
		} else if len(r.Steps) > 0 {
			printCutover(env, r, time.Now())
		}
		switch {
		case gate != nil:
			return &exitError{status: Waiting, err: gate}
		case err == nil && r.CalledOff != "" && !env.json:
			env.say("\nthe cutover is called off. How to go back:")
			for i, s := range r.Rollback.Steps {
				env.say("%d. %s", i+1, s)
			}
		}
		return err
	}
}

// once runs to the next gate that is not confirmed.
func (c *cutoverRunFlags) once(ctx context.Context, env *Env) (appliance.CutoverRun, error) {
	p, err := env.open(ctx, appliance.Staging, "cutover run")
	if err != nil {
		return appliance.CutoverRun{}, err
	}
	defer p.Close()
	p.AcceptLoss = c.acceptLoss
	defer c.load.console.beside(ctx, env, p)()
	defer giveMetrics(ctx, env, c.load.metrics, p)()
	runbook := c.runbook
	if runbook == "" {
		runbook = p.Config.Path(filepath.Join("cutover", "runbook.json"))
	}
	meter := env.meter()
	defer meter.watch(ctx, p)()
	return p.RunCutover(ctx, env.Drain, appliance.CutoverRunOptions{Runbook: runbook, Confirm: c.confirm, NoGo: c.noGo, Again: c.again, Restart: c.restart, Load: c.load.options(),
		Watch: meter.percent,
		Step: func(s appliance.CutoverStep) {
			meter.clear()
			if s.State != appliance.StepNoNeed {
				fmt.Fprintf(env.Stderr, "%s %s: %s%s\n", time.Now().Format("15:04:05 MST"), s.Name, s.State, strings.TrimSuffix(": "+s.Said, ": "))
			}
		}})
}

// ask asks a person at the terminal whether it goes on.
func (c *cutoverRunFlags) ask(env *Env, r appliance.CutoverRun, s appliance.CutoverStep) bool {
	left, needed, spare := r.Spare(time.Now())
	if s.NoReturn {
		fmt.Fprintln(env.Stderr, "\nTHE POINT OF NO RETURN")
	}
	fmt.Fprintf(env.Stderr, "\ngate %s: %s\n", s.Name, s.What)
	if s.Said != "" {
		fmt.Fprintln(env.Stderr, s.Said)
	}
	fmt.Fprintf(env.Stderr, "of the window %s are left, what follows takes %s: %s\ntype %s when it is so; anything else stops here: ", span(left), span(needed), spareText(spare), s.Name)
	line, err := bufio.NewReader(env.Stdin).ReadString('\n')
	return err == nil && strings.TrimSpace(line) == s.Name
}

// spareText is what a plan leaves over, or lacks.
func spareText(d time.Duration) string {
	if d < 0 {
		return span(-d) + " ARE MISSING"
	}
	return span(d) + " to spare"
}

// cutoverStatus shows how far the cutover is.
func cutoverStatus(ctx context.Context, env *Env) error {
	v, err := appliance.View(ctx, env.dir, env.options("cutover status"))
	if err != nil {
		return err
	}
	defer v.Close()
	r, err := appliance.ReadCutover(v.Settings())
	if err != nil {
		return err
	}
	if env.json {
		left, needed, spare := r.Spare(time.Now())
		return env.printJSON(struct {
			appliance.CutoverRun
			Left   float64 `json:"leftSeconds"`
			Needed float64 `json:"neededSeconds"`
			Spare  float64 `json:"spareSeconds"`
		}{r, left.Seconds(), needed.Seconds(), spare.Seconds()})
	}
	printCutover(env, r, time.Now())
	if s := r.Current(); s != nil && s.State == appliance.StepRunning && r.CalledOff == "" {
		now, err := v.Status(ctx)
		if err != nil {
			return err
		}
		if o := now.Running; o == nil || !strings.HasPrefix(o.Command, "cutover") {
			env.say("NOTHING IS RUNNING: the cutover was killed in the step %s; dvmigrate cutover run goes on with it", s.Name)
		}
	}
	return nil
}

// printCutover shows the steps, planned beside actual, and what is left of the window.
func printCutover(env *Env, r appliance.CutoverRun, now time.Time) {
	zone := r.Window.End.Location()
	at := func(t time.Time) string {
		if t.IsZero() {
			return ""
		}
		return t.In(zone).Format("Mon 15:04")
	}
	var rows [][]string
	for _, s := range r.Steps {
		name, took, state := s.Name, "", s.State
		if s.Gate {
			name = "[" + name + "]"
		}
		if s.NoReturn {
			name += " NO RETURN"
		}
		switch {
		case s.State == appliance.StepNoNeed:
		case !s.Ended.IsZero():
			took = span(s.Ended.Sub(s.Began))
		case !s.Began.IsZero():
			took = span(now.Sub(s.Began)) + " so far"
		}
		if s.By != "" {
			state += " by " + s.By
		}
		if s.Tries > 1 {
			state += fmt.Sprintf(", try %d", s.Tries)
		}
		planned := ""
		if s.Seconds > 0 {
			planned = span(time.Duration(s.Seconds * float64(time.Second)))
		}
		rows = append(rows, []string{name, at(s.Planned), planned, at(s.Began), took, state, firstLine(s.Said)})
	}
	printTable(env.Stdout, []column{left("step, [gate]"), left("planned"), right("takes"), left("began"), right("took"), left("state"), left("")}, rows)
	switch window, needed, spare := r.Spare(now); {
	case r.CalledOff != "":
		env.say("\ncalled off: %s", r.CalledOff)
	case !r.Ended.IsZero():
		env.say("\nover since %s", at(r.Ended))
	default:
		text := fmt.Sprintf("ends %s; of it %s are left", r.Window.End.In(zone).Format(runbookTime), span(window))
		if now.Before(r.Window.Start) {
			text = fmt.Sprintf("begins %s, and has %s", r.Window.Start.In(zone).Format(runbookTime), span(window))
		}
		env.say("\nthe window %s; what follows takes %s: %s (times of %s)", text, span(needed), spareText(spare), zone)
		if s := r.Current(); s != nil && !r.PastReturn() {
			env.say("the load must be over by %s; until the gate switch the cutover can be called off: dvmigrate cutover run --no-go REASON", r.Latest.In(zone).Format(runbookTime))
		}
	}
}
