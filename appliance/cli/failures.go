package cli

import (
	"context"
	"errors"

	"github.com/spf13/pflag"

	"dvmigrate/appliance"
)

// filterFlags are the flags with which errors and retry choose records.
func filterFlags(f *pflag.FlagSet, filter *appliance.FailureFilter) {
	f.StringSliceVar(&filter.Tables, "table", nil, "only these tables")
	f.StringSliceVar(&filter.Classes, "class", nil, "only these classes of error, such as value, lookup, duplicate, parent (see `dvmigrate guide errors`)")
	f.StringSliceVar(&filter.Flags, "flag", nil, "only E (refused) or H (held back)")
}

var errorsEntry = entry{name: "errors", summary: "records that failed or are held back, each with its reason", make: func() command { return &errorsCommand{} }}

type errorsCommand struct{ filter appliance.FailureFilter }

func (c *errorsCommand) AddFlags(f *pflag.FlagSet) {
	filterFlags(f, &c.filter)
	f.IntVar(&c.filter.Limit, "limit", 100, "print at most so many; 0 for all")
}

func (c *errorsCommand) Validate(args []string) error {
	if c.filter.Limit < 0 {
		return errors.New("--limit must not be negative")
	}
	return noArgs(args)
}

func (c *errorsCommand) Run(ctx context.Context, env *Env) error {
	v, err := appliance.View(ctx, env.dir, env.options("errors"))
	if err != nil {
		return err
	}
	defer v.Close()
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
	if list.Total == 0 {
		env.say("no record failed or is held back")
	}
	if list.Rejected > 0 {
		env.say("%s lines of the sources could not be read: dvmigrate sql -c 'FROM dm.rejects'", count(list.Rejected))
	}
	return nil
}

var retryEntry = entry{name: "retry", summary: "let failed and held records wait again; the next load sends them",
	long: `Records whose staged row does not fit the target stay held unless their class is named: mend
the source or the SQL and stage again, which releases them. Records held because of a failed
parent wait again too, and are held again if the parent still fails.`,
	make: func() command { return &retryCommand{} }}

type retryCommand struct{ filter appliance.FailureFilter }

func (c *retryCommand) AddFlags(f *pflag.FlagSet)    { filterFlags(f, &c.filter) }
func (c *retryCommand) Validate(args []string) error { return noArgs(args) }

func (c *retryCommand) Run(ctx context.Context, env *Env) error {
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
		env.say("%s: %s records wait again", name, count(r.Tables[name]))
	}
	if r.Records == 0 {
		env.say("nothing to retry")
	} else {
		env.say("next: dvmigrate load")
	}
	return nil
}
