package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/spf13/pflag"

	"dvmigrate/appliance"
)

var previewEntry = entry{name: "preview", args: "TABLE", summary: "show staged rows as the requests that Dataverse would get; sends nothing",
	long: `Each row is shown with what every pass would send for it, as a single request would carry it (in
a load many travel together). A row that is held back is shown with the reason.`,
	make: func() command { return &previewCommand{} }}

type previewCommand struct {
	table string
	keys  []string
	limit int
}

func (c *previewCommand) AddFlags(f *pflag.FlagSet) {
	f.StringArrayVar(&c.keys, "key", nil, "show the row with this legacy key; may be given several times")
	f.IntVar(&c.limit, "limit", 3, "without --key: so many rows, the first ones")
}

func (c *previewCommand) Validate(args []string) error {
	if len(args) > 1 && len(c.keys) == 0 {
		return fmt.Errorf("takes the name of one table; a row is named as in --key %s", args[1])
	}
	if len(args) != 1 {
		return errors.New("takes the name of one table")
	}
	if c.limit < 1 || c.limit > 10_000 {
		return errors.New("--limit is from 1 to 10000")
	}
	c.table = args[0]
	return nil
}

func (c *previewCommand) Run(ctx context.Context, env *Env) error {
	v, err := appliance.View(ctx, env.dir, env.options("preview"))
	if err != nil {
		return err
	}
	defer v.Close()
	found, err := v.Preview(ctx, c.table, c.keys, c.limit)
	if err != nil {
		return err
	}
	if len(found.Records) == 0 && len(c.keys) > 0 {
		return fmt.Errorf("%s has no staged row with that legacy key", c.table)
	}
	if env.json {
		return env.printJSON(found)
	}
	for _, r := range found.Records {
		env.say("%s '%s', record %s", found.Table, r.LegacyKey, r.RecordID)
		if r.Held != "" {
			env.say("  held back: %s", r.Held)
		}
		if r.Repairs != "" {
			env.say("  repaired: %s", r.Repairs)
		}
		for _, q := range r.Requests {
			var body bytes.Buffer
			if err := json.Indent(&body, q.Body, "  ", "  "); err != nil {
				return err
			}
			env.say("  %s: %s %s\n  %s", q.Pass, q.Method, q.Path, body.String())
		}
		env.say("")
	}
	return nil
}
