package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"

	"github.com/spf13/pflag"
	"golang.org/x/term"
)

var versionEntry = entry{name: "version", summary: "the program's version", make: func() command { return &versionCommand{} }}

type versionCommand struct{}

func (c *versionCommand) AddFlags(*pflag.FlagSet)      {}
func (c *versionCommand) Validate(args []string) error { return noArgs(args) }

func (c *versionCommand) Run(_ context.Context, env *Env) error {
	v := map[string]any{"version": 1, "dvmigrate": env.Version, "go": runtime.Version(), "platform": runtime.GOOS + "/" + runtime.GOARCH}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, d := range info.Deps {
			switch d.Path {
			case "github.com/duckdb/duckdb-go/v2":
				v["duckdb-go"] = d.Version
			case "go.etcd.io/bbolt":
				v["bbolt"] = d.Version
			}
		}
	}
	if env.json {
		return env.printJSON(v)
	}
	env.say("dvmigrate %s (%s, %s, duckdb-go %v, bbolt %v)", env.Version, v["go"], v["platform"], v["duckdb-go"], v["bbolt"])
	return nil
}

var completionEntry = entry{name: "completion", args: "bash|zsh|fish", summary: "shell completion: source the output in your shell's start-up file", make: func() command { return &completionCommand{} }}

type completionCommand struct{ shell string }

func (c *completionCommand) AddFlags(*pflag.FlagSet) {}

func (c *completionCommand) Validate(args []string) error {
	if len(args) != 1 || args[0] != "bash" && args[0] != "zsh" && args[0] != "fish" {
		return errors.New("say bash, zsh or fish")
	}
	c.shell = args[0]
	return nil
}

func (c *completionCommand) Run(_ context.Context, env *Env) error {
	var b strings.Builder
	switch c.shell {
	case "bash", "zsh":
		if c.shell == "zsh" {
			b.WriteString("autoload -U +X bashcompinit && bashcompinit\n")
		}
		b.WriteString("_dvmigrate() {\n  local cur=${COMP_WORDS[COMP_CWORD]} word cmd=\n  for word in \"${COMP_WORDS[@]:1:COMP_CWORD-1}\"; do\n    case $word in\n")
		for _, name := range names() {
			fmt.Fprintf(&b, "    %s) cmd=%s ;;\n", name, name)
		}
		b.WriteString("    esac\n  done\n  case $cmd in\n")
		for _, name := range names() {
			fmt.Fprintf(&b, "  %s) COMPREPLY=($(compgen -W %q -- \"$cur\")) ;;\n", name, strings.Join(flagNames(name), " "))
		}
		fmt.Fprintf(&b, "  *) COMPREPLY=($(compgen -W %q -- \"$cur\")) ;;\n  esac\n}\ncomplete -o default -F _dvmigrate dvmigrate\n", strings.Join(names(), " "))
	case "fish":
		for _, g := range groups() {
			for _, e := range g.entries {
				fmt.Fprintf(&b, "complete -c dvmigrate -n __fish_use_subcommand -f -a %s -d %q\n", e.name, e.summary)
				for _, flag := range flagNames(e.name) {
					fmt.Fprintf(&b, "complete -c dvmigrate -n '__fish_seen_subcommand_from %s' -l %s\n", e.name, strings.TrimPrefix(flag, "--"))
				}
			}
		}
	}
	return env.printText(b.String())
}

// flagNames lists a command's flags in their long form.
func flagNames(name string) []string {
	e := find(name)
	if e == nil {
		return nil
	}
	f := pflag.NewFlagSet(name, pflag.ContinueOnError)
	e.make().AddFlags(f)
	(&Env{}).addGlobals(f)
	var out []string
	f.VisitAll(func(flag *pflag.Flag) {
		if !flag.Hidden {
			out = append(out, "--"+flag.Name)
		}
	})
	return out
}

// terminalWidth is the width of the terminal on standard error, as it is now: people resize
// windows. 0 = none, or one on which nothing can be drawn over.
func terminalWidth() int {
	width, _, err := term.GetSize(int(os.Stderr.Fd()))
	if err != nil || !onTerminal() {
		return 0
	}
	return width
}

// onTerminal finds out once whether standard error can be drawn on.
var onTerminal = sync.OnceValue(func() bool { return drawsOver(os.Stderr) })

// inputIsTerminal reports whether a person types.
func inputIsTerminal(r io.Reader) bool {
	f, ok := r.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}
