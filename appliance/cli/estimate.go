package cli

import (
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"dvmigrate/appliance"
	"dvmigrate/appliance/progress"
)

var estimateEntry = entry{name: "estimate", summary: "how long the load will take, from counts, limits and rates alone: no network",
	long: `The load is simulated: order, passes, parallel requests, the sliding windows of the target's
limits, and how the client adapts. Speeds come from loads of this project, calibrate, a
rehearsal, migration.yaml (estimate.rates, estimate.record), else from published orders of
magnitude; the column "basis" says which. See dvmigrate guide estimate.`,
	make: func() command { return &estimateCommand{} }}

type estimateCommand struct {
	users, servers, batch int
	window                time.Duration
	rates                 []string
	stated                map[string]float64
	noProfile             bool
	html, csv             string
	compare, writeGrade   bool
	ratesFrom, export     string
}

func (c *estimateCommand) AddFlags(f *pflag.FlagSet) {
	f.IntVar(&c.users, "users", 0, "with so many application users (default: as migration.yaml says)")
	f.IntVar(&c.servers, "servers", 0, "with so many web servers (default: as migration.yaml says)")
	f.IntVar(&c.batch, "batch", 0, "with so many records a bulk request (default: as migration.yaml says)")
	f.DurationVar(&c.window, "window", 0, "the time that the load may take, such as 26h (default: as migration.yaml says)")
	f.StringArrayVar(&c.rates, "rate", nil, "`table=records` a second, stated; goes before all else; may be given several times")
	f.StringVar(&c.ratesFrom, "rates-from", "", "what another project has measured, from its --export-rates `file`, where this one has no figure of its own")
	f.StringVar(&c.export, "export-rates", "", "write what this project's loads and calibrations have measured to this `file`, for the next project")
	f.BoolVar(&c.noProfile, "no-profile", false, "leave aside what loads, calibrate and rehearse have measured")
	f.StringVar(&c.html, "html", "", "write a page with Gantt chart, assumptions and what-if to this `file`")
	f.StringVar(&c.csv, "csv", "", "write the table to this `file`; - for standard output")
	f.BoolVar(&c.compare, "compare", false, "what was estimated before the last load, beside what it took")
	f.BoolVar(&c.writeGrade, "write-grade", false, "write the grade's score table to grade.json, to be edited")
}

func (c *estimateCommand) Validate(args []string) error {
	switch {
	case c.users < 0 || c.users > 64:
		return errors.New("--users is from 1 to 64")
	case c.servers < 0, c.batch < 0, c.batch > 1000, c.window < 0:
		return errors.New("--servers, --batch (up to 1000) and --window must be more than 0")
	}
	c.stated = map[string]float64{}
	for _, text := range c.rates {
		table, value, _ := strings.Cut(text, "=")
		rate, err := strconv.ParseFloat(value, 64)
		if err != nil || table == "" {
			return fmt.Errorf("--rate %s is not table=records a second, such as account=180", text)
		}
		if rate <= 0 || rate > 1e7 {
			return fmt.Errorf("--rate %s: a load at %s records a second never ends; say a number above 0, or leave it out", text, value)
		}
		c.stated[table] = rate
	}
	return noArgs(args)
}

func (c *estimateCommand) options() appliance.EstimateOptions {
	return appliance.EstimateOptions{Users: c.users, Servers: c.servers, Batch: c.batch, Window: c.window, Rates: c.stated, NoProfile: c.noProfile}
}

func (c *estimateCommand) Run(ctx context.Context, env *Env) error {
	if c.writeGrade || c.compare || c.export != "" {
		p, err := env.open(ctx, appliance.NoSchema, "estimate")
		if err != nil {
			return err
		}
		defer p.Close()
		if c.compare {
			return compareEstimate(env, p)
		}
		if c.export != "" {
			return exportRates(env, p, c.export)
		}
		return writeGrade(ctx, env, p.Config.Dir)
	}
	o := c.options()
	if c.ratesFrom != "" {
		var err error
		if o.Imported, err = appliance.ReadRates(c.ratesFrom); err != nil {
			return err
		}
	}
	v, err := appliance.View(ctx, env.dir, env.options("estimate"))
	if err != nil {
		return err
	}
	defer v.Close()
	e, err := v.Estimate(ctx, o)
	if err != nil {
		return err
	}
	if c.html != "" {
		if err := writeWith(c.html, func(w io.Writer) error { return writeEstimatePage(w, v.Settings().Name, e) }); err != nil {
			return err
		}
	}
	if c.csv == "-" && !env.json {
		return writeEstimateCSV(env.Stdout, e)
	}
	if c.csv != "" && c.csv != "-" {
		if err := writeWith(c.csv, func(w io.Writer) error { return writeEstimateCSV(w, e) }); err != nil {
			return err
		}
	}
	if env.json {
		return env.printJSON(struct {
			Version int `json:"version"`
			appliance.Estimate
		}{1, e})
	}
	printEstimate(env, e)
	for _, path := range []string{c.html, c.csv} {
		if path != "" {
			env.say("wrote %s", path)
		}
	}
	return nil
}

func exportRates(env *Env, p *appliance.Project, path string) error {
	f, err := p.ExportRates(path)
	if err != nil {
		return err
	}
	if env.json {
		return env.printJSON(f)
	}
	steps := 0
	for _, r := range f.Runs {
		steps += len(r.Tables)
	}
	env.say("wrote %s: %d rates of %d runs, with names of tables and the environment's address, and no data\nin the next project: dvmigrate estimate --rates-from %[1]s", path, steps, len(f.Runs))
	return nil
}

func writeGrade(ctx context.Context, env *Env, dir string) error {
	began := time.Now()
	path, err := appliance.WriteScoreTable(dir)
	if err := env.noted(ctx, "estimate --write-grade", began, err, path); err != nil {
		return err
	}
	env.say("wrote %s: edit limits and weights; estimate uses it from now on", path)
	return nil
}

// writeWith makes a file that only its owner may read.
func writeWith(path string, write func(io.Writer) error) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	return errors.Join(write(f), f.Close())
}

func printEstimate(env *Env, e appliance.Estimate) {
	var rows [][]string
	for _, r := range e.Rows {
		if r.Operations == 0 {
			continue
		}
		table := r.Table
		if r.Outside {
			table += " (before)"
		}
		rows = append(rows, []string{table, string(r.Pass), r.Action, count(r.Operations), count(r.Requests), fmt.Sprintf("%.0f", r.Rate),
			duration(r.Seconds), duration(r.Low) + " - " + duration(r.High), duration(r.Formula), string(r.Bound), r.Basis})
	}
	defer func() {
		for _, n := range e.Notes {
			env.say("note: %s", n)
		}
	}()
	if len(rows) == 0 {
		env.say("nothing waits to be loaded. What the last load took beside its estimate: dvmigrate estimate --compare")
		return
	}
	printTable(env.Stdout, []column{left("table"), left("pass"), left("action"), right("operations"), right("requests"), right("records/s"),
		right("time"), right("low - high"), right("formula"), left("bound by"), left("basis")}, rows)
	a := e.Assumptions
	env.say("\n%s in %s: %s (%s to %s), with %.0f %% buffer %s", progress.Counted(e.Operations, "operation"), progress.Counted(e.Requests, "request"), duration(e.Seconds), duration(e.Low), duration(e.High), a.Buffer, duration(e.Buffered))
	env.say("plain formula, operations / rate and buffer: %s; steps come one after the other, so that all of them are the critical path", duration(e.Formula))
	hint := ""
	if a.Hint > 0 {
		hint = fmt.Sprintf("; the environment recommends %d at once", a.Hint)
	}
	env.say("assumed: %d application user(s) on %d server(s); limits %s requests, %s execution time, %d at once, in %s; latency %s (%s)%s",
		a.Limits.Users, a.Limits.Servers, count(a.Limits.Requests), span(a.Limits.Execution), a.Limits.Concurrent, span(a.Limits.Window), a.Latency.Round(time.Millisecond/10), a.LatencySource, hint)
	switch {
	case e.Fits == nil || e.Operations == 0:
	case *e.Fits:
		env.say("fits the cutover window of %s", span(a.Window))
	case e.LeastChange != "":
		env.say("does not fit the cutover window of %s; the least change that makes it fit: %s", span(a.Window), e.LeastChange)
	}
	printWhatIf(env, e)
	env.say("\n%s; storage about %s database, %s files; %s operations a day where %s a day are granted", proposalLine(e), size(e.Storage.DatabaseBytes), size(e.Storage.FileBytes), count(e.Storage.PerDay), count(e.Storage.Entitlement))
	for _, s := range e.Proposal.Supplies {
		env.say("  %-11s %s  %12s operations  %s", s.Name, s.Start.Format("Mon 2006-01-02 15:04"), count(s.Records), duration(s.Seconds))
	}
	env.say("grade: %s (size %.1f, complexity %.1f, risk %.1f of 3); the score table: --html or --json, to edit it: --write-grade", e.Grade.Grade, e.Grade.Size, e.Grade.Complexity, e.Grade.Risk)
}

func proposalLine(e appliance.Estimate) string {
	if e.Proposal.Split {
		return fmt.Sprintf("proposed: a full load and weekly deltas (%.1f %% of the operations a week), since %s", 100*e.Proposal.Change, e.Proposal.Reason)
	}
	return "proposed: one full load, since " + e.Proposal.Reason
}

func printWhatIf(env *Env, e appliance.Estimate) {
	if len(e.WhatIf) == 0 {
		return
	}
	var rows [][]string
	for _, w := range e.WhatIf {
		fits := ""
		if w.Fits != nil {
			fits = map[bool]string{true: "yes", false: "no"}[*w.Fits]
		}
		rows = append(rows, []string{w.Change, duration(max(w.Seconds, 0)), saved(w.Saves), fits, w.Note})
	}
	env.say("")
	printTable(env.Stdout, []column{left("what if"), right("time"), right("saves"), left("fits"), left("note")}, rows)
}

// saved is a time that is saved, or lost.
func saved(seconds float64) string {
	if seconds < 0 {
		return "-" + duration(-seconds)
	}
	return duration(seconds)
}

func writeEstimateCSV(w io.Writer, e appliance.Estimate) error {
	out := csv.NewWriter(w)
	out.Write([]string{"table", "pass", "action", "message", "operations", "requests", "batch", "records_per_second", "start_seconds", "seconds", "seconds_low", "seconds_high", "seconds_formula",
		"throttled_share", "failed", "bound_by", "basis", "basis_note", "not_staged", "outside_window"})
	number := func(f float64) string { return strconv.FormatFloat(f, 'f', 3, 64) }
	for _, r := range e.Rows {
		out.Write([]string{r.Table, string(r.Pass), r.Action, r.Message, strconv.FormatInt(r.Operations, 10), strconv.FormatInt(r.Requests, 10), strconv.Itoa(r.Batch), number(r.Rate), number(r.Start),
			number(r.Seconds), number(r.Low), number(r.High), number(r.Formula), number(r.Throttled), strconv.FormatInt(r.Failed, 10), string(r.Bound), r.Basis, r.Note, strconv.FormatBool(r.Estimated), strconv.FormatBool(r.Outside)})
	}
	out.Flush()
	return out.Error()
}

func compareEstimate(env *Env, p *appliance.Project) error {
	c, err := p.Compare()
	if err != nil {
		return err
	}
	if env.json {
		return env.printJSON(c)
	}
	printComparison(env, c)
	env.say("\n%s of %s; kept in %s, and the next estimate uses it", c.Kind, c.Start.Local().Format("2006-01-02 15:04"), "work/profile.json")
	return nil
}

// printComparison prints predicted beside actual.
func printComparison(env *Env, c appliance.Comparison) {
	var rows [][]string
	line := func(s appliance.ComparedStep, table string) []string {
		off := ""
		if s.Actual > 0 && s.Predicted > 0 {
			if off = fmt.Sprintf("%+.1f %%", 100*(s.Predicted-s.Actual)/s.Actual); s.Predicted > 10*s.Actual {
				off = fmt.Sprintf("%s x", count(int64(s.Predicted/s.Actual)))
			}
		}
		return []string{table, string(s.Pass), s.Action, count(s.Expected), count(s.Records), duration(s.Predicted), duration(s.Actual), off, s.Note}
	}
	for _, s := range c.Steps {
		rows = append(rows, line(s, s.Table))
	}
	rows = append(rows, line(c.Total, "total"))
	printTable(env.Stdout, []column{left("table"), left("pass"), left("action"), right("operations expected"), right("done"), right("predicted"), right("actual"), right("off"), left("note")}, rows)
}
