package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"dvmigrate/appliance"
)

// keepStaging stages, and stages again whenever something was saved. The project is
// open only while it does, so that others may look into the stage between.
func (c *stageCommand) keepStaging(ctx context.Context, env *Env) error {
	var watcher *appliance.Watcher
	todo := c.StageOptions
	for {
		// Begun before the staging, so that what is saved meanwhile is not missed. Settings
		// that cannot be read leave the former files to look at.
		p, err := env.open(ctx, appliance.NoSchema, "stage")
		if err == nil {
			watcher = p.Watcher()
			p.Close()
		} else if watcher == nil {
			return err
		}
		err = c.stageOnce(ctx, env, todo)
		if env.Drain.Err() != nil {
			return nil
		}
		var exit *exitError
		failed := err != nil && !(errors.As(err, &exit) && exit.status == Rejects)
		if failed {
			env.report(err)
			env.showPlaces(err)
		}
		env.say("watching; Ctrl-C ends it")
		saved, err := watcher.Next(env.Drain)
		if err != nil {
			env.say("no longer watching")
			return nil
		}
		env.say("\nsaved: %s", strings.Join(saved.Files, ", "))
		if failed { // it is still to be done
			todo = todo.With(saved.StageOptions)
		} else {
			todo = saved.StageOptions
		}
	}
}

func (c *stageCommand) stageOnce(ctx context.Context, env *Env, o appliance.StageOptions) error {
	p, err := env.open(ctx, appliance.Staging, "stage")
	if err != nil {
		return err
	}
	defer p.Close()
	return c.stage(env, p, o)
}

// showPlaces prints the lines of the project's files that an error is about.
func (e *Env) showPlaces(err error) {
	if e.json {
		return
	}
	for _, p := range appliance.Places(err) {
		e.showPlace(p.File, p.Line, p.Column)
	}
}

// showPlace prints the line, the one before it, and a mark below the column.
func (e *Env) showPlace(file string, line, column int) {
	if !filepath.IsAbs(file) {
		file = filepath.Join(e.dir, file)
	}
	text, err := os.ReadFile(file)
	lines := strings.Split(string(text), "\n")
	if err != nil || line < 1 || line > len(lines) {
		return
	}
	fmt.Fprintln(e.Stderr)
	for n := max(line-1, 1); n <= line; n++ {
		fmt.Fprintf(e.Stderr, "%5d | %s\n", n, strings.TrimRight(lines[n-1], "\r"))
	}
	if column > 0 {
		fmt.Fprintf(e.Stderr, "      | %s^\n", strings.Repeat(" ", column-1))
	}
}
