package cli

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/pflag"

	"dvmigrate/appliance"
	"dvmigrate/appliance/config"
)

var reconcileEntry = entry{name: "reconcile", summary: "compare what is in the target with what was loaded: missing, extra, different, duplicates", make: func() command { return &reconcileCommand{} }}

type reconcileCommand struct {
	countsOnly bool
	limit      int
	parallel   int
	changed    bool
	anew       bool
	sample     int64
	quick      bool
	samples    int
	html       string
	sheet      string
	newTarget  string
}

func (c *reconcileCommand) AddFlags(f *pflag.FlagSet) {
	f.BoolVar(&c.countsOnly, "ids-only", false, "compare which records are there, not their values")
	f.IntVar(&c.limit, "limit", 20, "mismatches shown for each table")
	f.IntVar(&c.parallel, "parallel", 0, "slices of a big table that are read at once; 0 = 4 for each user")
	f.BoolVar(&c.changed, "changed", false, "read in full only the records whose version is not that at which an earlier comparison found them equal")
	f.BoolVar(&c.anew, "anew", false, "after a comparison that was interrupted: read in full also what it had compared already")
	f.BoolVar(&c.quick, "quick", false, "compare counts, sums and groups only, which the service makes: no record is read")
	f.Int64Var(&c.sample, "sample", 0, "compare at most so many records of each table, chosen at random; 0 = all")
	f.IntVar(&c.samples, "samples", 20, "records of each table that the page and the workbook show whole, chosen at random; 0 for none")
	f.StringVar(&c.html, "html", "", "also write the comparison as a page to this `file`")
	f.StringVar(&c.sheet, "sheet", "", "also write a workbook for the sign-off, .xlsx, to this `file`")
	addNewTarget(f, &c.newTarget)
}

func (c *reconcileCommand) Validate(args []string) error {
	if c.sheet != "" && !strings.EqualFold(filepath.Ext(c.sheet), ".xlsx") {
		return errors.New("--sheet: give the file a name that ends in .xlsx")
	}
	if c.sample < 0 || c.sample > 0 && (c.changed || c.countsOnly || c.quick) || c.quick && (c.changed || c.countsOnly) {
		return errors.New("--quick, --sample (with a number of records), --changed and --ids-only are ways to compare: give one of them")
	}
	if c.anew && (c.sample > 0 || c.changed || c.countsOnly || c.quick) {
		return errors.New("--anew is for a comparison of every record and column: it goes with none of --quick, --sample, --changed and --ids-only")
	}
	for _, path := range []string{c.html, c.sheet} { // before hours of reading, not after them
		if info, err := os.Stat(filepath.Dir(path)); path != "" && (err != nil || !info.IsDir()) {
			return fmt.Errorf("%s: there is no folder for it", path)
		}
	}
	if c.sheet == "" && c.html == "" {
		c.samples = 0 // nobody would see them
	}
	return noArgs(args)
}

func (c *reconcileCommand) Run(ctx context.Context, env *Env) error {
	v, err := appliance.Join(ctx, env.dir, env.options("reconcile"))
	if err != nil {
		return err
	}
	defer v.Close()
	meter := env.meter()
	r, err := v.Reconcile(env.Drain, appliance.ReconcileOptions{Values: !c.countsOnly, Limit: c.limit, Parallel: c.parallel, Samples: c.samples, Changed: c.changed, Anew: c.anew, Sample: c.sample, Quick: c.quick, NewTarget: c.newTarget, Args: env.Args}, meter.percent)
	meter.clear()
	if errors.Is(err, context.Canceled) {
		return &exitError{status: Interrupted, err: errors.New("stopped on request; comparing changes nothing. `dvmigrate reconcile` goes on: of the ranges of records that were done it reads only ids and versions again (--anew reads everything in full)")}
	}
	if err != nil {
		return err
	}
	if err := c.writeFiles(v.Settings(), r); err != nil {
		return err
	}
	if env.json {
		err = env.printJSON(r)
	} else {
		printReconciled(env, r)
		for _, path := range []string{c.html, c.sheet} {
			if path != "" {
				env.say("wrote %s", path)
			}
		}
	}
	if err == nil && !r.Pass {
		return rejects()
	}
	return err
}

//go:embed reconcile.html
var reconcilePage string

// writeFiles writes the page and the workbook that were asked for.
func (c *reconcileCommand) writeFiles(s *config.Config, r appliance.Compared) error {
	if c.html != "" {
		data := map[string]any{"URL": s.Target.URL, "Result": r, "Notes": appliance.ComparisonNotes(r)}
		if err := writePage(c.html, reconcilePage, s.Name, data); err != nil {
			return err
		}
	}
	if c.sheet != "" {
		if err := appliance.WriteSignOff(c.sheet, s.Target.URL, r); err != nil {
			return fmt.Errorf("write the workbook: %w", err)
		}
	}
	return nil
}

// firstGroups are at most n of the groups.
func firstGroups(n int, groups []appliance.ComparedGroup) []appliance.ComparedGroup {
	return groups[:min(n, len(groups))]
}

func printReconciled(env *Env, r appliance.Compared) {
	s := r.Summary
	var rows, columns, bad [][]string
	for _, t := range r.Tables {
		verdict := "pass"
		if !t.Pass {
			verdict = "FAIL: " + strings.Join(t.Failures, "; ")
		}
		rows = append(rows, []string{t.Name, count(t.Source), count(t.Target), count(t.Missing), count(t.Extra), count(t.Different), count(t.Duplicates), count(t.Others), verdict})
		for _, c := range t.Columns {
			columns = append(columns, []string{t.Name, c.Column, c.Class, count(c.Records)})
		}
		for _, m := range t.Mismatches {
			bad = append(bad, []string{m.Table, visible(m.LegacyKey), m.RecordID, m.Kind, m.Column, visible(m.Want), visible(m.Got)})
		}
	}
	rows = append(rows, []string{"total", count(s.Source), count(s.Target), count(s.Missing), count(s.Extra), count(s.Different), count(s.Duplicates), "", ""})
	printTable(env.Stdout, []column{left("table"), right("loaded"), right("in target"), right("missing"), right("extra"), right("different"), right("duplicates"), right("not ours"), left("verdict")}, rows)
	printSources(env, r)
	printFigures(env, r)
	if len(columns) > 0 {
		env.say("")
		printTable(env.Stdout, []column{left("table"), left("column"), left("class"), right("differs in")}, columns)
	}
	if len(bad) > 0 {
		env.say("")
		printTable(env.Stdout, []column{left("table"), left("legacy key"), left("record id"), left("what"), left("column"), left("loaded"), left("in target")}, bad)
		env.say("\nall of them: dvmigrate sql -c 'FROM reconcile_<table>'")
	}
	part := false
	for _, t := range r.Tables {
		part = part || t.Quick || t.Sampled > 0
	}
	for _, note := range appliance.ComparisonNotes(r) {
		env.say("\n%s", note)
	}
	switch {
	case r.Pass && s.Faults() == 0 && part:
		env.say("\nwhat was looked at is as it was loaded; only a comparison of everything proves the rest")
	case r.Pass && s.Faults() == 0:
		env.say("\nthe target has what was loaded")
	case r.Pass:
		env.say("\nevery table passes: there is no more amiss than the settings allow")
	case s.Missing+s.Different > 0 && !part:
		env.say("\ndvmigrate retry --reconciled lets what is missing or different wait again, and dvmigrate load sends it")
	}
}

// printSources shows what became of the sources' lines, and what the settings say that the
// sources give.
func printSources(env *Env, r appliance.Compared) {
	var lines, figures [][]string
	for _, s := range r.Sources {
		verdict := "pass"
		if !s.Same {
			verdict = fmt.Sprintf("FAIL: %s were read", count(s.Rows))
		}
		lines = append(lines, []string{s.Name, count(s.Lines), count(s.SetAside), count(s.Staged), verdict})
	}
	for _, t := range r.Tables {
		for _, f := range t.SourceFigures {
			figures = append(figures, []string{t.Name, f.Name, f.Source, f.Staged, verdictOf(f.Same)})
		}
	}
	if len(lines) > 0 {
		env.say("")
		printTable(env.Stdout, []column{left("source"), right("lines"), right("set aside"), right("staged"), left("verdict")}, lines)
	}
	if len(figures) > 0 {
		env.say("")
		printTable(env.Stdout, []column{left("table"), left("figure"), right("in the source"), right("staged"), left("verdict")}, figures)
	}
}

// printFigures shows the sums and such of both sides, and the groups that differ.
func printFigures(env *Env, r appliance.Compared) {
	var figures, groups [][]string
	counted := 0
	for _, t := range r.Tables {
		for _, f := range t.Figures {
			if t.Source == 0 {
				continue // nothing was loaded: nothing to say
			}
			figures = append(figures, []string{t.Name, f.Column, f.Kind, f.Staged, f.Target, sameText(f.Same)})
		}
		for _, g := range t.Groups {
			if counted++; g.Staged != g.Target && len(groups) < 20 {
				groups = append(groups, []string{t.Name, g.Column, visible(orNone(g.Value)), count(g.Staged), count(g.Target)})
			}
		}
	}
	if len(figures) > 0 {
		env.say("")
		printTable(env.Stdout, []column{left("table"), left("column"), left("figure"), right("loaded"), right("in target"), left("")}, figures)
	}
	if len(groups) > 0 {
		env.say("")
		printTable(env.Stdout, []column{left("table"), left("group of"), left("value"), right("loaded"), right("in target")}, groups)
	} else if counted > 0 {
		env.say("\nall %s groups have as many records as were loaded", count(counted))
	}
}

// visible shows a value that others wrote in a table on the terminal: it must neither break
// the line nor move the cursor, nor look like another one for want of what cannot be seen.
func visible(text string) string {
	return harmless(strings.NewReplacer("\r\n", "⏎", "\n", "⏎", "\t", " ").Replace(text))
}

func verdictOf(same bool) string {
	if same {
		return "pass"
	}
	return "FAIL"
}

func sameText(same bool) string {
	if same {
		return "same"
	}
	return "differs"
}

func orNone(text string) string {
	if text == "" {
		return "(none)"
	}
	return text
}
