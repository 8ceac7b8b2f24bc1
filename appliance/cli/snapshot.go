package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/pflag"

	"dvmigrate/appliance"
)

var snapshotEntry = entry{name: "snapshot", summary: "copy ledger, stage and settings, compressed and verified; also while a load runs", make: func() command { return &snapshotCommand{} }}

type snapshotCommand struct{ to string }

func (c *snapshotCommand) AddFlags(f *pflag.FlagSet) {
	f.StringVar(&c.to, "to", "", "folder of the snapshots (default: as migration.yaml says)")
}

func (c *snapshotCommand) Validate(args []string) error { return noArgs(args) }

func (c *snapshotCommand) Run(ctx context.Context, env *Env) error {
	v, err := appliance.View(ctx, env.dir, env.options("snapshot"))
	if err != nil {
		return err
	}
	defer v.Close()
	if c.to != "" { // whoever takes it may work in another folder
		if c.to, err = filepath.Abs(c.to); err != nil {
			return err
		}
	}
	s, err := v.TakeSnapshot(ctx, c.to)
	if err != nil {
		return err
	}
	if env.json {
		return env.printJSON(map[string]any{"version": 1, "snapshot": s})
	}
	env.say("snapshot %s: %s, of which %s are new in the folder; verified", s.ID, size(s.Size), size(s.Added))
	return nil
}

var snapshotsEntry = entry{name: "snapshots", summary: "list the snapshots", make: func() command { return &snapshotsCommand{} }}

type snapshotsCommand struct{ from string }

func (c *snapshotsCommand) AddFlags(f *pflag.FlagSet) {
	f.StringVar(&c.from, "from", "", "folder of the snapshots (default: as migration.yaml says)")
}

func (c *snapshotsCommand) Validate(args []string) error { return noArgs(args) }

func (c *snapshotsCommand) Run(ctx context.Context, env *Env) error {
	dir := c.from
	if dir == "" {
		p, err := env.open(ctx, appliance.NoSchema, "snapshots")
		if err != nil {
			return err
		}
		dir = p.Config.Path(p.Config.Snapshots.To)
	} else if _, err := os.Stat(dir); err != nil {
		return fmt.Errorf("list snapshots: %w", err)
	}
	list, err := appliance.Snapshots(dir)
	if err != nil {
		return err
	}
	if env.json {
		return env.printJSON(map[string]any{"version": 1, "folder": dir, "snapshots": list})
	}
	if len(list) == 0 {
		env.say("no snapshots in %s", dir)
		return nil
	}
	var rows [][]string
	for _, s := range list {
		done, fault := "", s.Fault
		if s.Summary != nil {
			done = count(s.Summary.Processed) + " of " + count(s.Summary.Source)
		}
		rows = append(rows, []string{s.ID, s.Time.Local().Format(time.DateTime), size(s.Size), size(s.Added), done, fault})
	}
	printTable(env.Stdout, []column{left("snapshot"), left("taken"), right("size"), right("new"), right("records processed"), left("damage")}, rows)
	return nil
}

var restoreEntry = entry{name: "restore", args: "--from DIR DEST", summary: "bring a snapshot back into an empty folder; then load goes on",
	long: `The target may be ahead of the snapshot: the next load reads back what it has, loads nothing
twice and loses nothing.`,
	make: func() command { return &restoreCommand{} }}

type restoreCommand struct{ o appliance.RestoreOptions }

func (c *restoreCommand) AddFlags(f *pflag.FlagSet) {
	f.StringVar(&c.o.From, "from", "", "folder of the snapshots")
	f.StringVar(&c.o.ID, "id", "", "which snapshot (default: the newest)")
}

func (c *restoreCommand) Validate(args []string) error {
	if c.o.From == "" {
		return errors.New("say where the snapshots are: --from DIR")
	}
	if len(args) != 1 {
		return errors.New("say where the project is to be restored to: one folder, empty or new")
	}
	c.o.Dest = args[0]
	return nil
}

func (c *restoreCommand) Run(ctx context.Context, env *Env) error {
	s, err := appliance.Restore(ctx, c.o, env.options("restore"))
	if err != nil {
		return err
	}
	if env.json {
		return env.printJSON(map[string]any{"version": 1, "snapshot": s, "folder": c.o.Dest})
	}
	env.say("restored snapshot %s of %s into %s (%s)", s.ID, s.Time.Local().Format(time.DateTime), c.o.Dest, size(s.Size))
	env.say("next: dvmigrate -C %s load", c.o.Dest)
	return nil
}
