// Package cli is the command line: one file a command, flags on pflag, and exit
// statuses that are a contract:
//
//	0    done
//	1    failed
//	2    usage: an unknown command, a wrong flag
//	3    done, but some rows or records were set aside
//	4    a cutover waits at a gate
//	11   the project is in use by another process
//	12   sign-in failed
//	130  interrupted; what was begun is settled
//
// Everything outside the process (arguments, streams, environment, signals) comes
// in one Env, so that a test runs a command as a user does. Only main ends the
// process.
package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"

	"github.com/spf13/pflag"

	"dvmigrate/appliance"
)

// The exit statuses.
const (
	Done        = 0
	Failed      = 1
	Usage       = 2
	Rejects     = 3
	Waiting     = 4
	Locked      = 11
	SignIn      = 12
	Interrupted = 130
)

// Env is what is outside the process.
type Env struct {
	Args    []string // without the program's name
	Stdin   io.Reader
	Stdout  io.Writer
	Stderr  io.Writer
	Getenv  func(string) (string, bool)
	Version string
	// Drain ends at the first interrupt: finish what is begun. The context that Run
	// is given ends at the second.
	Drain context.Context
	// Width is the terminal's width in columns; 0 = Stderr is no terminal.
	Width func() int

	dir  string // -C
	json bool   // --json
	log  appliance.LogOptions
}

// command is one command of the program.
type command interface {
	// AddFlags declares the command's flags.
	AddFlags(f *pflag.FlagSet)
	// Validate checks the arguments that are not flags, and how flags go together.
	Validate(args []string) error
	// Run does the work.
	Run(ctx context.Context, env *Env) error
}

// Main runs the program for the process and returns its exit status.
func Main(version string) int {
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	drain, drained := context.WithCancel(ctx)
	defer drained()
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, stopSignals(signal.Ignored)...)
	if dir := temporaryFolder(os.Getenv("TMPDIR"), os.TempDir()); dir != "" {
		_ = os.Setenv("TMPDIR", dir) // for whoever asks os.TempDir; the environment is the only way to tell all of them
	}
	go func() {
		<-signals
		drained()
		stopping(os.Stderr, slices.Contains(os.Args, "--json"))
		<-signals
		stop()
	}()
	return Run(ctx, &Env{Args: os.Args[1:], Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr, Getenv: os.LookupEnv,
		Version: version, Drain: drain, Width: terminalWidth})
}

// stopping says what a first signal does.
func stopping(w io.Writer, machine bool) {
	const text = "stopping: finishing what is begun; once more to stop at once"
	if machine {
		_ = json.NewEncoder(w).Encode(map[string]any{"version": 1, "stopping": text})
		return
	}
	fmt.Fprintln(w, "\n"+text)
}

// stopSignals are the signals that end the work in good order. One is the hang-up of a session that
// broke off: without it a load over SSH would be killed amid its requests. It stays without effect
// where it has none, as below nohup, since to wait for it is to take it.
func stopSignals(ignored func(os.Signal) bool) []os.Signal {
	list := []os.Signal{os.Interrupt, syscall.SIGTERM}
	if !ignored(syscall.SIGHUP) {
		list = append(list, syscall.SIGHUP)
	}
	return list
}

// temporaryFolder is the folder for temporary files, "" for the usual one. Where the environment names
// none and the machine has none, as in an empty chroot or container, it is the folder that we are in:
// what is put there is its owner's only, and removed.
func temporaryFolder(named, usual string) string {
	if named != "" {
		return ""
	}
	if _, err := os.Stat(usual); !errors.Is(err, fs.ErrNotExist) {
		return ""
	}
	here, err := os.Getwd()
	if err != nil {
		return ""
	}
	return here
}

// Run runs one command line and returns its exit status.
func Run(ctx context.Context, env *Env) int {
	out := &output{w: env.Stdout}
	env.Stdout = out
	err := run(ctx, env)
	if !env.json { // the flags may not have been read, or not so far
		env.json = slices.Contains(env.Args, "--json")
	}
	if failed := out.failed.Load(); failed != nil && (err == nil || statusOf(err) == Rejects) {
		err = fmt.Errorf("print the result: %w", *failed)
	}
	if err == nil {
		return Done
	}
	status := statusOf(err)
	var quiet *exitError
	if !errors.As(err, &quiet) || quiet.err != nil {
		env.report(err)
	}
	return status
}

func run(ctx context.Context, env *Env) error {
	name, args := env.split()
	switch name {
	case "", "help":
		return help(env, args)
	}
	entry := find(name)
	if entry == nil {
		return usagef("unknown command %q%s\nrun `dvmigrate help` for the list of commands", name, didYouMean(name, names()))
	}
	c := entry.make()
	f := pflag.NewFlagSet(name, pflag.ContinueOnError)
	f.SetOutput(io.Discard)
	f.SortFlags = false
	c.AddFlags(f)
	env.addGlobals(f)
	err := f.Parse(args)
	if errors.Is(err, pflag.ErrHelp) {
		return entry.help(env, f)
	}
	if err != nil {
		return usagef("%s: %v\nrun `dvmigrate help %s` for its flags", name, err, name)
	}
	if err := c.Validate(f.Args()); err != nil {
		return usagef("%s: %v\nrun `dvmigrate help %s` for how it is used", name, err, name)
	}
	return c.Run(ctx, env)
}

// addGlobals declares the flags that every command has.
func (e *Env) addGlobals(f *pflag.FlagSet) {
	f.StringVarP(&e.dir, "dir", "C", orDefault(e.dir, "."), "the project's folder")
	f.BoolVar(&e.json, "json", e.json, "print JSON for machines (see dvmigrate guide json)")
	f.StringVar(&e.log.File, "log", e.log.File, "the log's `FILE`, - for standard error, none for no log (default: as migration.yaml says)")
	f.StringVar(&e.log.Level, "log-level", e.log.Level, "debug, info, warn or error (default: as migration.yaml says)")
	f.StringVar(&e.log.Format, "log-format", e.log.Format, "text or json (default: as migration.yaml says)")
	for _, name := range []string{"log", "log-level", "log-format"} { // the overview names them once for all commands
		_ = f.MarkHidden(name)
	}
}

// split finds the command's name: the first argument that is neither a global flag
// nor its value, since -C may stand before it.
func (e *Env) split() (name string, rest []string) {
	f := pflag.NewFlagSet("dvmigrate", pflag.ContinueOnError)
	f.SetOutput(io.Discard)
	f.SetInterspersed(false)
	e.addGlobals(f)
	showHelp := f.BoolP("help", "h", false, "")
	showVersion := f.Bool("version", false, "")
	if err := f.Parse(e.Args); err != nil {
		return e.Args[0], nil
	}
	switch {
	case *showVersion:
		return "version", f.Args()
	case *showHelp || f.NArg() == 0:
		return "help", f.Args()
	}
	return f.Arg(0), f.Args()[1:]
}

func orDefault(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

// exitError is an error with the exit status it leads to. Without a cause nothing
// is printed: the command has said all itself.
type exitError struct {
	status int
	err    error
}

func (e *exitError) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit status %d", e.status)
	}
	return e.err.Error()
}

func (e *exitError) Unwrap() error { return e.err }

func usagef(format string, args ...any) error {
	return &exitError{status: Usage, err: fmt.Errorf(format, args...)}
}

// rejects ends a command that did its work but set something aside.
func rejects() error { return &exitError{status: Rejects} }

// noArgs is the Validate of commands without arguments.
func noArgs(args []string) error {
	if len(args) > 0 {
		return fmt.Errorf("takes no argument, got %q", strings.Join(args, " "))
	}
	return nil
}
