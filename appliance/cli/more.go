package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"

	"github.com/spf13/pflag"
	"golang.org/x/term"

	"dvmigrate/appliance/guide"
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

var guideEntry = entry{name: "guide", args: "[PAGE]", summary: "the user guide; without a page, the list of pages", make: func() command { return &guideCommand{} }}

type guideCommand struct{ page, write string }

func (c *guideCommand) AddFlags(f *pflag.FlagSet) {
	f.StringVar(&c.write, "write", "", "write the files that ship with the page into this `folder`: those of monitoring")
}

func (c *guideCommand) Validate(args []string) error {
	if len(args) > 1 {
		return errors.New("say one page")
	}
	if len(args) == 1 {
		c.page = args[0]
	}
	if c.write != "" && len(guide.Files(c.page)) == 0 {
		return errors.New("--write goes with the page monitoring, which has files")
	}
	return nil
}

func (c *guideCommand) Run(_ context.Context, env *Env) error {
	pages := guide.Pages()
	if c.page == "" {
		if env.json {
			return env.printJSON(map[string]any{"version": 1, "pages": pages})
		}
		var rows [][]string
		for _, p := range pages {
			rows = append(rows, []string{p.Name, p.Title})
		}
		printTable(env.Stdout, []column{left("page"), left("about")}, rows)
		env.say("\nread one with `dvmigrate guide PAGE`")
		return nil
	}
	p, ok := guide.Find(c.page)
	if !ok {
		var known []string
		for _, p := range pages {
			known = append(known, p.Name)
		}
		return usagef("guide: no page %q%s\nrun `dvmigrate guide` for the list of pages", c.page, didYouMean(c.page, known))
	}
	if c.write != "" {
		return c.writeFiles(env)
	}
	if env.json {
		return env.printJSON(map[string]any{"version": 1, "page": p})
	}
	_, err := io.WriteString(env.Stdout, p.Text)
	return err
}

// writeFiles writes what ships with the page, and over no file that is another one.
func (c *guideCommand) writeFiles(env *Env) error {
	if err := os.MkdirAll(c.write, 0o755); err != nil {
		return err
	}
	var written []string
	for _, f := range guide.Files(c.page) {
		path := filepath.Join(c.write, f.Name)
		switch there, err := os.ReadFile(path); {
		case err == nil && !bytes.Equal(there, f.Data):
			return fmt.Errorf("%s is there already and is another one; move it away, or choose another folder", path)
		case err != nil && !errors.Is(err, fs.ErrNotExist):
			return err
		}
		if err := os.WriteFile(path, f.Data, 0o644); err != nil {
			return err
		}
		written = append(written, path)
	}
	if env.json {
		return env.printJSON(map[string]any{"version": 1, "files": written})
	}
	for _, path := range written {
		env.say("wrote %s", path)
	}
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
	_, err := io.WriteString(env.Stdout, b.String())
	return err
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
