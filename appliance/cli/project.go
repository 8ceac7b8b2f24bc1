package cli

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/spf13/pflag"

	"dvmigrate/appliance"
	"dvmigrate/appliance/config"
	"dvmigrate/appliance/progress"
)

// options are what the appliance is told of this process.
func (e *Env) options(command string) appliance.Options {
	log := e.log
	if path, err := filepath.Abs(log.File); err == nil && log.File != "" && log.File != config.LogStderr && log.File != config.LogNone {
		log.File = path // of this folder, not of the project's
	}
	return appliance.Options{Env: e.Getenv, Version: e.Version, Command: command, Args: e.Args, Logging: log, Stderr: e.Stderr,
		Warn:   func(message string) { fmt.Fprintln(e.Stderr, "warning: "+message) },
		Prompt: func(message string) { fmt.Fprintln(e.Stderr, message) }}
}

func (e *Env) open(ctx context.Context, mode appliance.Mode, command string) (*appliance.Project, error) {
	return appliance.Open(ctx, e.dir, mode, e.options(command))
}

// noted notes in the audit trail what a command did that had not the project open to
// change it, or that it failed with err, which is returned.
func (e *Env) noted(ctx context.Context, command string, began time.Time, err error, did string) error {
	return errors.Join(err, appliance.Note(context.WithoutCancel(ctx), e.dir, e.options(command), appliance.NewHappened(command, e.Args, began, err, did)))
}

// statusOf is the exit status that an error leads to.
func statusOf(err error) int {
	var exit *exitError
	var inUse *appliance.InUseError
	var signIn *appliance.SignInError
	switch {
	case errors.As(err, &exit):
		return exit.status
	case errors.As(err, &inUse):
		return Locked
	case errors.As(err, &signIn):
		return SignIn
	case errors.Is(err, appliance.ErrDrained), errors.Is(err, context.Canceled):
		return Interrupted
	}
	return Failed
}

// plan

var planEntry = entry{name: "plan", summary: "the order in which tables are loaded, with the reason for each", make: func() command { return &planCommand{} }}

type planCommand struct{}

func (c *planCommand) AddFlags(*pflag.FlagSet)      {}
func (c *planCommand) Validate(args []string) error { return noArgs(args) }

func (c *planCommand) Run(ctx context.Context, env *Env) error {
	v, err := appliance.View(ctx, env.dir, env.options("plan"))
	if err != nil {
		return err
	}
	defer v.Close()
	plan, err := v.Plan(ctx)
	if err != nil {
		return err
	}
	if env.json {
		return env.printJSON(map[string]any{"version": 1, "steps": plan.Steps})
	}
	var rows [][]string
	for i, s := range plan.Steps {
		rows = append(rows, []string{fmt.Sprint(i + 1), fmt.Sprint(s.Wave + 1), s.Table, string(s.Pass), s.Reason})
	}
	printTable(env.Stdout, []column{right("step"), right("wave"), left("table"), left("pass"), left("why")}, rows)
	return nil
}

// schema

var schemaEntry = entry{name: "schema", args: "pull [TABLE...] | config", summary: "pull the target's tables and columns; or print the settings' JSON Schema",
	long: `schema pull reads tables, columns, keys, relationships and choices from the environment and
writes the project's schema file, with which check, stage, estimate and the emulator work
offline. Without names it reads every table. What lookups point to is needed too.
schema config prints the JSON Schema of migration.yaml, for editors.`,
	make: func() command { return &schemaCommand{} }}

type schemaCommand struct {
	what   string
	tables []string
	output string
}

func (c *schemaCommand) AddFlags(f *pflag.FlagSet) {
	f.StringVarP(&c.output, "output", "o", "", "file to write instead of the project's schema file; - for the terminal")
}

func (c *schemaCommand) Validate(args []string) error {
	if len(args) == 0 || args[0] != "pull" && args[0] != "config" {
		return errors.New("say `schema pull` or `schema config`")
	}
	c.what, c.tables = args[0], args[1:]
	if c.what == "config" && len(c.tables) > 0 {
		return errors.New("`schema config` takes no argument")
	}
	return nil
}

func (c *schemaCommand) Run(ctx context.Context, env *Env) error {
	if c.what == "config" {
		_, err := env.Stdout.Write(config.JSONSchema())
		return err
	}
	meter, began := env.meter(), time.Now()
	s, path, err := appliance.PullSchema(ctx, env.dir, c.tables, env.options("schema pull"), func(done, total int) {
		meter.line(fmt.Sprintf("reading the schema: %d of %d tables", done, total))
	})
	meter.clear()
	if err != nil {
		return err
	}
	if c.output == "-" {
		return s.Write(env.Stdout)
	}
	if c.output != "" {
		path = c.output
	}
	err = appliance.WriteSchema(path, s)
	if err := env.noted(ctx, "schema pull", began, err, fmt.Sprintf("%d tables into %s", len(s.Tables), path)); err != nil {
		return err
	}
	if env.json {
		return env.printJSON(map[string]any{"version": 1, "tables": len(s.Tables), "file": path})
	}
	env.say("wrote %s: %s", path, progress.Counted(len(s.Tables), "table"))
	return nil
}
