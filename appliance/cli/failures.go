package cli

import (
	"context"
	"errors"
	"path/filepath"
	"strings"

	"github.com/spf13/pflag"

	"dvmigrate/appliance"
	"dvmigrate/appliance/progress"
)

// filterFlags are the flags with which errors and retry choose records.
func filterFlags(f *pflag.FlagSet, filter *appliance.FailureFilter) {
	f.StringSliceVar(&filter.Tables, "table", nil, "only these tables")
	f.StringSliceVar(&filter.Classes, "class", nil, "only these classes of error, such as value, lookup, duplicate, parent (see dvmigrate guide errors)")
	f.StringArrayVar(&filter.Codes, "code", nil, "only these error codes of Dataverse, such as 0x80040237")
	f.StringArrayVar(&filter.Keys, "key", nil, "only the rows with these legacy keys")
	f.StringSliceVar(&filter.Flags, "flag", nil, "only E (refused) or H (held back)")
}

var errorsEntry = entry{name: "errors", args: "[export FILE]", summary: "records that failed or are held back: each with its reason, by cause, or as files to mend",
	long: `--groups gathers them by table, class, code, column and cause, with how many records are held
behind each: mend the largest first.

` + "`dvmigrate errors export FILE.csv`" + ` writes the rows of one table as the transform yields them,
each with its reason; a folder in place of FILE.csv gets a file for each table. Mend the
values there and give the file to ` + "`dvmigrate retry --from FILE.csv`" + `.`,
	make: func() command { return &errorsCommand{} }}

type errorsCommand struct {
	filter appliance.FailureFilter
	groups bool
	export string // the file; "" = none
}

func (c *errorsCommand) AddFlags(f *pflag.FlagSet) {
	filterFlags(f, &c.filter)
	f.IntVar(&c.filter.Limit, "limit", 100, "print at most so many; 0 for all")
	f.BoolVar(&c.groups, "groups", false, "by cause, the largest first, with examples")
}

func (c *errorsCommand) Validate(args []string) error {
	if c.filter.Limit < 0 {
		return errors.New("--limit must not be negative")
	}
	if len(args) == 2 && args[0] == "export" {
		if c.export = args[1]; c.groups {
			return errors.New("--groups does not go with export")
		}
		return nil
	}
	if len(args) == 1 && args[0] == "export" {
		return errors.New("say where to: dvmigrate errors export FILE.csv")
	}
	return noArgs(args)
}

func (c *errorsCommand) Run(ctx context.Context, env *Env) error {
	v, err := appliance.View(ctx, env.dir, env.options("errors"))
	if err != nil {
		return err
	}
	defer v.Close()
	if c.export != "" {
		return c.runExport(ctx, env, v)
	}
	if c.groups {
		return c.printGroups(ctx, env, v)
	}
	list, err := v.Failures(ctx, c.filter)
	if err != nil {
		return err
	}
	if env.json {
		return env.printJSON(list)
	}
	var rows [][]string
	for _, f := range list.Errors {
		rows = append(rows, []string{f.Table, f.LegacyKey, f.Flag, f.Class, f.Code, f.Message})
	}
	if len(rows) > 0 {
		printTable(env.Stdout, []column{left("table"), left("legacy key"), left("flag"), left("class"), left("code"), left("message")}, rows)
	}
	if more := list.Total - int64(len(list.Errors)); more > 0 {
		env.say("and %s more; --limit 0 prints all", count(more))
	}
	sayRest(env, list.Total, list.Rejected)
	return nil
}

// sayRest ends a list: that there is nothing in it, and what else was set aside.
func sayRest(env *Env, total, rejected int64) {
	if total == 0 {
		env.say("no record failed or is held back")
	}
	if rejected > 0 {
		env.say("%s of the sources could not be read: dvmigrate sql -c 'FROM dm.rejects'", progress.Counted(rejected, "line"))
	}
}

// printGroups prints the failures by cause.
func (c *errorsCommand) printGroups(ctx context.Context, env *Env, v appliance.Viewer) error {
	list, err := v.FailureGroups(ctx, c.filter)
	if err != nil {
		return err
	}
	if env.json {
		return env.printJSON(list)
	}
	shown := list.Groups
	if c.filter.Limit > 0 {
		shown = shown[:min(len(shown), c.filter.Limit)]
	}
	var rows [][]string
	for _, g := range shown {
		rows = append(rows, []string{g.Table, count(g.Records), count(g.Behind), g.Flag, g.Class, g.Code, g.Column, strings.Join(g.Keys, ", "), g.Example})
	}
	if len(rows) > 0 {
		printTable(env.Stdout, []column{left("table"), right("records"), right("held behind"), left("flag"), left("class"), left("code"), left("column"), left("legacy keys"), left("message, for example")}, rows)
	}
	if more := len(list.Groups) - len(shown); more > 0 {
		env.say("and %s more causes; --limit 0 prints all", count(more))
	}
	sayRest(env, list.Total, list.Rejected)
	return nil
}

// runExport writes the failures to files.
func (c *errorsCommand) runExport(ctx context.Context, env *Env, v appliance.Viewer) error {
	path, err := filepath.Abs(c.export)
	if err != nil {
		return err
	}
	done, err := v.ExportFailures(ctx, c.filter, path)
	if err != nil {
		return err
	}
	if env.json {
		return env.printJSON(done)
	}
	mendable := ""
	for _, f := range done.Files {
		env.say("%s: %s of %s", f.Path, progress.Counted(f.Records, "row"), f.Table)
		if mendable == "" && f.Records > 0 {
			mendable = f.Path
		}
		if f.Absent > 0 {
			env.say("  %s more are of rows that the transform does not yield any more", count(f.Absent))
		}
	}
	switch {
	case len(done.Files) == 0:
		env.say("no record failed or is held back")
	case mendable == "":
		env.say("there is no row to mend; dvmigrate errors says what to do")
	default:
		env.say("mend the values, not dm_table and legacy_key. Next: dvmigrate retry --from %s", mendable)
	}
	return nil
}

var retryEntry = entry{name: "retry", summary: "let failed and held records wait again; the next load sends them",
	long: `Records whose staged row does not fit the target stay held unless their class is named: mend
the source or the SQL and stage again, which releases them. Records held because of a failed
parent wait again too, and are held again if the parent still fails. What the target has is
never sent again.

With --from a file that ` + "`dvmigrate errors export`" + ` wrote comes back: values that were changed in it
take the place of what the transform yields, now and in later stagings, for as long as the
transform yields what it did when the file was read. Only the rows of the file wait again.

With --reconciled records wait again that the last ` + "`dvmigrate reconcile`" + ` found missing in the
target, or different: after it was emptied or restored, or others have changed it. What somebody else
has changed goes as on_conflict says; extra and double records are left alone.`,
	make: func() command { return &retryCommand{} }}

type retryCommand struct {
	filter appliance.FailureFilter
	from   string
	dry    bool

	reconciled bool // what the last comparison found missing or different
}

func (c *retryCommand) AddFlags(f *pflag.FlagSet) {
	filterFlags(f, &c.filter)
	f.StringVar(&c.from, "from", "", "a `FILE` of errors export whose values were mended")
	f.BoolVar(&c.reconciled, "reconciled", false, "what the last reconcile found missing or different; of --table only")
	f.BoolVar(&c.dry, "dry-run", false, "with --from: say what would be mended, and change nothing")
}

func (c *retryCommand) Validate(args []string) error {
	chosen := len(c.filter.Tables) + len(c.filter.Classes) + len(c.filter.Flags) + len(c.filter.Codes) + len(c.filter.Keys)
	switch {
	case c.from != "" && chosen > 0:
		return errors.New("--from takes all rows of its file; leave the other flags out")
	case c.reconciled && (c.from != "" || chosen > len(c.filter.Tables)):
		return errors.New("with --reconciled only --table chooses; leave the other flags out")
	case c.from == "" && c.dry:
		return errors.New("--dry-run goes with --from")
	}
	return noArgs(args)
}

// runFrom takes mended rows back.
func (c *retryCommand) runFrom(ctx context.Context, env *Env) error {
	p, err := env.open(ctx, appliance.Staging, "retry")
	if err != nil {
		return err
	}
	defer p.Close()
	meter := env.meter()
	r, err := p.RetryFrom(ctx, c.from, c.dry, func(what string, _ float64) { meter.line(what) })
	meter.clear()
	if err != nil {
		return err
	}
	if env.json {
		return env.printJSON(r)
	}
	env.say("%s: %s in the file, %s with mended values", r.Table, progress.Counted(r.Rows, "row"), count(r.Changed))
	for _, name := range sortedKeys(r.Columns) {
		env.say("  %s: %s", name, progress.Counted(r.Columns[name], "value"))
	}
	for i, l := range r.Left {
		if i == 10 {
			env.say("and %s more rows are left alone; --json lists all", count(len(r.Left)-i))
			break
		}
		env.say("line %d, '%s' is left alone: %s", l.Line, l.LegacyKey, l.Why)
	}
	switch {
	case c.dry:
		env.say("nothing has changed; without --dry-run these rows wait for the next load")
		return nil
	case r.Held > 0:
		env.say("%s not fit: dvmigrate errors --table %s", progress.Counted(r.Held, "row", "still does", "still do"), r.Table)
	}
	if r.Waiting > 0 {
		env.say("%s again. Next: dvmigrate load", progress.Counted(r.Waiting, "record", "waits", "wait"))
	}
	return nil
}

// runReconciled lets what was missing or different wait again.
func (c *retryCommand) runReconciled(ctx context.Context, env *Env) error {
	p, err := env.open(ctx, appliance.Staging, "retry")
	if err != nil {
		return err
	}
	defer p.Close()
	r, err := p.RetryReconciled(ctx, c.filter.Tables)
	if err != nil {
		return err
	}
	if env.json {
		return env.printJSON(r)
	}
	var rows [][]string
	for _, t := range r.Tables {
		rows = append(rows, []string{t.Name, count(t.Inserts), count(t.Updates), count(t.Left)})
	}
	if len(rows) == 0 {
		env.say("the last comparison found nothing missing or different")
		return nil
	}
	printTable(env.Stdout, []column{left("table"), right("missing, to insert"), right("different, to update"), right("left alone")}, rows)
	if r.Records > 0 {
		env.say("%s again. Next: dvmigrate load", progress.Counted(r.Records, "record", "waits", "wait"))
	}
	return nil
}

func (c *retryCommand) Run(ctx context.Context, env *Env) error {
	switch {
	case c.from != "":
		return c.runFrom(ctx, env)
	case c.reconciled:
		return c.runReconciled(ctx, env)
	}
	p, err := env.open(ctx, appliance.Loading, "retry")
	if err != nil {
		return err
	}
	defer p.Close()
	r, err := p.Retry(ctx, c.filter)
	if err != nil {
		return err
	}
	if env.json {
		return env.printJSON(r)
	}
	for _, name := range sortedKeys(r.Tables) {
		env.say("%s: %s again", name, progress.Counted(r.Tables[name], "record", "waits", "wait"))
	}
	if r.Records == 0 {
		env.say("nothing to retry")
	} else {
		env.say("next: dvmigrate load")
	}
	return nil
}
