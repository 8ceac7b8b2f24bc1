package cli

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"dvmigrate/appliance/config"
)

// entry is a command in the list of commands.
type entry struct {
	name    string
	args    string // how its arguments are written
	summary string
	long    string // more, for its own help; lines of at most 90 characters
	make    func() command
}

// group is commands that belong together, in the order in which one uses them.
type group struct {
	title   string
	entries []entry
}

func groups() []group {
	return []group{
		{"begin", []entry{demoEntry, initEntry, schemaEntry, checkEntry}},
		{"prepare", []entry{stageEntry, targetEntry, profileEntry, draftEntry, optionsEntry, usersEntry, previewEntry, planEntry, estimateEntry, calibrateEntry, rehearseEntry, cutoverEntry}},
		{"load", []entry{emulatorEntry, loadEntry, deltaEntry, statusEntry, serveEntry, alertEntry, errorsEntry, retryEntry, repairsEntry, rollbackEntry, reconcileEntry, reportEntry, sqlEntry}},
		{"keep safe", []entry{snapshotEntry, snapshotsEntry, restoreEntry, discardEntry, auditEntry, ledgerEntry}},
		{"more", []entry{guideEntry, versionEntry, completionEntry}},
	}
}

func names() []string {
	var out []string
	for _, g := range groups() {
		for _, e := range g.entries {
			out = append(out, e.name)
		}
	}
	return append(out, "help")
}

func find(name string) *entry {
	for _, g := range groups() {
		for _, e := range g.entries {
			if e.name == name {
				return &e
			}
		}
	}
	return nil
}

func didYouMean(name string, known []string) string {
	if near := config.Nearest(name, known); near != "" {
		return fmt.Sprintf("; did you mean %q?", near)
	}
	return ""
}

// help prints the list of commands, or one command's help.
func help(env *Env, args []string) error {
	args = slices.DeleteFunc(slices.Clone(args), func(arg string) bool { return arg == "--json" })
	if len(args) == 0 {
		var b strings.Builder
		printOverview(&b)
		return env.printText(b.String())
	}
	e := find(args[0])
	if e == nil {
		return usagef("unknown command %q%s", args[0], didYouMean(args[0], names()))
	}
	f := pflag.NewFlagSet(e.name, pflag.ContinueOnError)
	f.SortFlags = false
	e.make().AddFlags(f)
	env.addGlobals(f)
	return e.help(env, f)
}

func printOverview(w io.Writer) {
	fmt.Fprint(w, `dvmigrate moves millions of records into Microsoft Dataverse: it stages source data in
DuckDB, keeps a ledger of every record, loads each exactly once, and recovers from a crash.

usage: dvmigrate [-C DIR] COMMAND [flags]

`)
	for _, g := range groups() {
		fmt.Fprintf(w, "%s\n", g.title)
		for _, e := range g.entries {
			fmt.Fprintf(w, "  %-11s %s\n", e.name, e.summary)
		}
	}
	fmt.Fprint(w, `
Every command takes -C DIR (the project's folder) and --json; those that work on a project keep a log
(--log FILE, --log-level, --log-format, `+"`dvmigrate guide monitoring`"+`). `+"`dvmigrate help COMMAND`"+` says more;
`+"`dvmigrate guide`"+` is the user guide. New here: `+"`dvmigrate demo`"+`, then `+"`dvmigrate init --sample DIR`"+`.
`)
}

func (e *entry) help(env *Env, f *pflag.FlagSet) error {
	w := &strings.Builder{}
	fmt.Fprintf(w, "dvmigrate %s: %s\n\nusage: dvmigrate %s [flags]\n", e.name, e.summary, strings.TrimSpace(e.name+" "+e.args))
	if e.long != "" {
		fmt.Fprintf(w, "\n%s\n", strings.TrimSpace(e.long))
	}
	fmt.Fprintf(w, "\nflags:\n%s", f.FlagUsages())
	return env.printText(w.String())
}

// sortedKeys are a map's keys in order.
func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
