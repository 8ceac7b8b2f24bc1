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
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"dvmigrate/appliance/config"
	"dvmigrate/appliance/guide"
)

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
	pages := guidePages()
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
	i := slices.IndexFunc(pages, func(p guide.Page) bool { return p.Name == c.page })
	if i < 0 {
		var known []string
		for _, p := range pages {
			known = append(known, p.Name)
		}
		return usagef("guide: no page %q%s\nrun `dvmigrate guide` for the list of pages", c.page, didYouMean(c.page, known))
	}
	if c.write != "" {
		return c.writeFiles(env)
	}
	p := pages[i]
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

// guidePages are the pages that were written, and the references that the program knows
// of itself, so that they lack nothing.
func guidePages() []guide.Page {
	return append(guide.Pages(), guide.Page{Name: "commands", Title: commandsTitle, Text: commandsText()}, guide.Page{Name: "settings", Title: settingsTitle, Text: settingsText()})
}

const (
	commandsTitle = "Reference of the commands"
	settingsTitle = "Reference of migration.yaml"
)

// commandsText is the reference of every command and flag, from their definitions.
func commandsText() string {
	var b strings.Builder
	fmt.Fprintf(&b, "# %s\n\nMade from the program itself. Every command takes `-C DIR`, the project's folder, and `--json`.\n", commandsTitle)
	for _, g := range groups() {
		fmt.Fprintf(&b, "\n## %s\n", strings.ToUpper(g.title[:1])+g.title[1:])
		for _, e := range g.entries {
			fmt.Fprintf(&b, "\n### %s\n\n    dvmigrate %s\n\n%s.\n", e.name, strings.TrimSpace(e.name+" "+e.args), strings.ToUpper(e.summary[:1])+e.summary[1:])
			if e.long != "" {
				fmt.Fprintf(&b, "\n%s\n", strings.TrimSpace(e.long))
			}
			f := pflag.NewFlagSet(e.name, pflag.ContinueOnError)
			f.SortFlags = false
			e.make().AddFlags(f)
			if text := f.FlagUsages(); text != "" {
				fmt.Fprintf(&b, "\n```\n%s```\n", text)
			}
		}
	}
	return b.String()
}

// settingsText is the reference of every key, from the settings' own definitions.
func settingsText() string {
	var b strings.Builder
	fmt.Fprintf(&b, "# %s\n\nMade from the program itself; `dvmigrate guide project` shows the keys in their place. NAME is a\nname of your own, [] an entry of a list.\n", settingsTitle)
	part := ""
	for _, k := range config.Reference() {
		p, _, inside := strings.Cut(k.Path, ".")
		if !inside && !strings.HasPrefix(k.Kind, "mapping") {
			p = "The project"
		}
		if p != part {
			fmt.Fprintf(&b, "\n## %s\n\n", p)
			part = p
		}
		notes := []string{k.Kind}
		if len(k.Options) > 0 {
			notes[0] = strings.Join(slices.DeleteFunc(slices.Clone(k.Options), func(o string) bool { return o == "" }), " | ")
		}
		if k.Needed {
			notes = append(notes, "needed")
		}
		if k.Default != "" {
			notes = append(notes, "default "+k.Default)
		}
		if k.Variable != "" {
			notes = append(notes, k.Variable)
		}
		fmt.Fprintf(&b, "- `%s` (%s): %s\n", k.Path, strings.Join(notes, "; "), k.Doc)
	}
	return b.String()
}
