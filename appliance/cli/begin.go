package cli

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/pflag"

	"dvmigrate/appliance/sample"
)

var initEntry = entry{name: "init", args: "[--sample] [DIR]", summary: "begin a project; with --sample a whole small one to try things on",
	long: `Without --sample it writes settings to fill in, and folders for sources and transforms.
The sample is an old CRM's extract: companies, people, leads, deals, products, tasks, machines
and links between them, with the ugly forms that real extracts have; settings, transforms,
maps and the target's schema with it.`,
	make: func() command { return &initCommand{} }}

type initCommand struct {
	sample bool
	o      sample.Options
	dir    string
}

func (c *initCommand) AddFlags(f *pflag.FlagSet) {
	f.BoolVar(&c.sample, "sample", false, "write the sample project")
	f.IntVar(&c.o.Records, "records", sample.DefaultRecords, "records of the sample, over all tables")
	f.IntVar(&c.o.Faults, "faults", 0, "rows of the sample made wrong on purpose, to see what becomes of them")
	f.Uint64Var(&c.o.Seed, "seed", 1, "another seed gives other names and numbers")
	f.BoolVar(&c.o.Force, "force", false, "write over a project that is there")
}

func (c *initCommand) Validate(args []string) error {
	if len(args) > 1 {
		return errors.New("say one folder")
	}
	switch {
	case !c.sample && (c.o.Records != sample.DefaultRecords || c.o.Faults != 0 || c.o.Seed != 1):
		return errors.New("--records, --faults and --seed are those of the sample: say --sample too")
	case c.o.Records == 0: // which would stand for the default
		return errors.New("--records is 0")
	}
	c.dir = ""
	if len(args) == 1 {
		c.dir = args[0]
	}
	return nil
}

func (c *initCommand) Run(_ context.Context, env *Env) error {
	dir := env.dir
	if c.dir != "" {
		dir = c.dir
	}
	if !c.sample {
		return c.begin(env, dir)
	}
	s, err := sample.Write(dir, c.o)
	if errors.Is(err, sample.ErrExists) {
		return fmt.Errorf("%w; choose another folder, or say --force", err)
	}
	if err != nil {
		return err
	}
	if env.json {
		return env.printJSON(map[string]any{"version": 1, "folder": dir, "records": s.Records, "sources": s.Sources, "tables": s.Tables, "faults": s.Faults})
	}
	var rows [][]string
	for _, name := range sortedKeys(s.Tables) {
		rows = append(rows, []string{name, count(s.Tables[name])})
	}
	printTable(env.Stdout, []column{left("table"), right("rows")}, rows)
	env.say("\nwrote the sample project into %s: %s rows", dir, count(s.Records))
	in := ""
	if dir != "." {
		in = "cd " + dir + " && "
	}
	env.say("next: %sdvmigrate check && dvmigrate stage", in)
	return nil
}

// begin writes an empty project.
func (c *initCommand) begin(env *Env, dir string) error {
	err := sample.WriteBegin(dir, c.o.Force)
	if errors.Is(err, sample.ErrExists) {
		return fmt.Errorf("%w; choose another folder, or say --force", err)
	}
	if err != nil {
		return err
	}
	if env.json {
		return env.printJSON(map[string]any{"version": 1, "folder": dir})
	}
	env.say("wrote a project to fill in into %s", dir)
	env.say("next: put the target's address into migration.yaml, then dvmigrate -C %s schema pull", dir)
	return nil
}
