package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"dvmigrate/appliance"
)

var cutoverEntry = entry{name: "cutover", args: "plan | run | status", summary: "the cutover weekend: its runbook, its steps and gates, how far it is",
	long: `plan writes runbook.md, .html, .ics and .json into a folder. What is loaded in the window is what
dvmigrate estimate proposes for it: all of it, or the last delta. A load that does not fit is
said so, with the least change that makes it fit: exit status 3. No network.
run walks the technical steps of that runbook and stops at its gates, at which people say that it
goes on: on a terminal it asks; else it ends with exit status 4, and --confirm GATE goes on. After
a crash it goes on with the step it was in. Nothing is done out of order.
status shows planned and actual times, and what is left of the window; also beside a run.
See ` + "`dvmigrate guide cutover`" + `.`,
	make: func() command { return &cutoverCommand{} }}

type cutoverCommand struct {
	what              string
	window, zone, out string
	fixed             []string
	durations         appliance.RunbookFixed
	users             int
	walk              cutoverRunFlags
}

func (c *cutoverCommand) AddFlags(f *pflag.FlagSet) {
	f.StringVar(&c.window, "window", "", `plan: begin/end, such as "Sat 20:00/Sun 22:00" or "2026-12-12 20:00/2026-12-13 22:00"`)
	f.StringVar(&c.zone, "zone", "", "plan: the window's time zone, such as Europe/Berlin (default: this machine's)")
	f.StringVar(&c.out, "out", "", "plan: `folder` to write into (default: cutover in the project's folder)")
	f.StringArrayVar(&c.fixed, "fixed", nil, "plan: `task=duration` of a task that no estimate gives: freeze, extract, stage, goNoGo, mend, reconcile, accept, switch, rollback; several times")
	f.IntVar(&c.users, "users", 0, "plan: with so many application users (default: as migration.yaml says)")
	c.walk.addTo(f)
}

func (c *cutoverCommand) Validate(args []string) error {
	if len(args) != 1 || args[0] != "plan" && args[0] != "run" && args[0] != "status" {
		return errors.New("say what: cutover plan, run or status")
	}
	c.what = args[0]
	planned, walked := c.window != "" || c.zone != "" || c.out != "" || len(c.fixed) > 0 || c.users != 0, c.walk.given()
	switch {
	case c.what != "plan" && planned:
		return fmt.Errorf("--window, --zone, --out, --fixed and --users are for cutover plan, not for cutover %s", c.what)
	case c.what != "run" && walked:
		return fmt.Errorf("--confirm, --no-go, --again, --restart and --runbook are for cutover run, not for cutover %s", c.what)
	case c.what == "run":
		return c.walk.validate()
	case c.what == "status":
		return nil
	}
	if c.window == "" {
		return errors.New(`--window is missing, such as --window "Sat 20:00/Sun 22:00"`)
	}
	c.durations = appliance.UsualFixed()
	v := reflect.ValueOf(&c.durations).Elem()
	for _, text := range c.fixed {
		name, value, _ := strings.Cut(text, "=")
		d, err := time.ParseDuration(value)
		field := v.FieldByNameFunc(func(n string) bool { return strings.EqualFold(n, name) })
		if err != nil || d < 0 || !field.IsValid() {
			return fmt.Errorf("--fixed %s is not task=duration, such as accept=3h", text)
		}
		field.Set(reflect.ValueOf(d))
	}
	return nil
}

func (c *cutoverCommand) Run(ctx context.Context, env *Env) error {
	switch c.what {
	case "run":
		return c.walk.run(ctx, env)
	case "status":
		return cutoverStatus(ctx, env)
	}
	return c.plan(ctx, env)
}

func (c *cutoverCommand) plan(ctx context.Context, env *Env) error {
	v, err := appliance.View(ctx, env.dir, env.options("cutover plan"))
	if err != nil {
		return err
	}
	defer v.Close()
	zone := c.zone
	if zone == "" {
		if zone = time.Local.String(); zone == "Local" {
			zone = "UTC"
		}
	}
	b, err := v.Cutover(ctx, appliance.CutoverOptions{Window: c.window, Zone: zone, After: time.Now(), Fixed: c.durations, Estimate: appliance.EstimateOptions{Users: c.users}})
	if err != nil {
		return err
	}
	dir := c.out
	if dir == "" {
		dir = v.Settings().Path("cutover")
	}
	v.Close() // the trail is written to, which nobody may read meanwhile
	began := time.Now()
	if err := env.noted(ctx, "cutover plan", began, writeRunbook(dir, b, began), "into "+dir); err != nil {
		return err
	}
	if env.json {
		if err := env.printJSON(struct {
			Version int `json:"version"`
			appliance.Runbook
		}{1, b}); err != nil {
			return err
		}
	} else {
		io.WriteString(env.Stdout, runbookText(b))
		env.say("\nwrote runbook.md, .html, .ics and .json into %s", dir)
	}
	if !b.Fits {
		return rejects()
	}
	return nil
}

// writeRunbook writes the runbook in all its forms.
func writeRunbook(dir string, b appliance.Runbook, now time.Time) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	return errors.Join(
		writeWith(filepath.Join(dir, "runbook.json"), func(w io.Writer) error {
			e := json.NewEncoder(w)
			e.SetIndent("", "  ")
			return e.Encode(b)
		}),
		writeWith(filepath.Join(dir, "runbook.md"), func(w io.Writer) error { _, err := io.WriteString(w, runbookText(b)); return err }),
		writeWith(filepath.Join(dir, "runbook.html"), func(w io.Writer) error { return writeRunbookPage(w, b) }),
		writeWith(filepath.Join(dir, "runbook.ics"), func(w io.Writer) error { _, err := io.WriteString(w, runbookCalendar(b, now)); return err }))
}

const runbookTime = "Mon 2006-01-02 15:04"

// runbookText is the runbook in Markdown.
func runbookText(b appliance.Runbook) string {
	var s strings.Builder
	w := func(format string, args ...any) { fmt.Fprintf(&s, format+"\n", args...) }
	cell := func(t string) string { return strings.ReplaceAll(t, "|", "\\|") }
	w("# Cutover of %s\n", b.Project)
	w("Window: %s to %s (%s), %s. ", b.Window.Start.Format(runbookTime), b.Window.End.Format(runbookTime), b.Window.Zone, span(b.Window.Length()))
	if b.Fits {
		w("It fits, with %s to spare.", duration(b.Spare))
	} else {
		w("**It does not fit: %s are missing.**", duration(-b.Spare))
		if b.Advice != "" {
			w("What would make it fit: %s.", b.Advice)
		}
	}
	for _, n := range b.Notes {
		w("\n> %s", n)
	}
	w("\n## Before\n\n| when | kind | what | who |\n|---|---|---|---|")
	for _, d := range b.Dates {
		w("| %s | %s | %s | %s |", d.At.In(b.Window.Start.Location()).Format(runbookTime), d.Kind, cell(d.Name), d.Who)
	}
	w("\n## In the window\n\n| no. | start | takes | task | owner | check | sign-off | done |\n|---|---|---|---|---|---|---|---|")
	for _, t := range b.Tasks {
		name := cell(t.Name)
		switch {
		case t.NoReturn:
			name = "**POINT OF NO RETURN** " + name
		case t.Kind != "task":
			name = "**" + strings.ToUpper(t.Kind) + "** " + name
		}
		w("| %d | %s | %s | %s | %s | %s | %s | ☐ |", t.Number, t.Start.Format(runbookTime), span(t.Length()), name, t.Owner, cell(t.Check), t.SignOff)
	}
	w("\n## Rollback\n\nThe load must be over by **%s**. Called off when:\n", b.Rollback.Latest.Format(runbookTime))
	for _, t := range b.Rollback.Triggers {
		w("- %s", t)
	}
	w("\nHow:\n")
	for i, t := range b.Rollback.Steps {
		w("%d. %s", i+1, t)
	}
	return s.String()
}

const runbookHTML = `<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="color-scheme" content="light dark"><meta name="viewport" content="width=device-width, initial-scale=1"><title>Cutover of {{.Project}}</title>
<style>body{font:15px/1.45 system-ui,sans-serif;max-width:1120px;margin:2rem auto;padding:0 1rem;color:#1d2530}table{border-collapse:collapse;width:100%;font-size:.9rem}
th,td{border-bottom:1px solid #e5e9ef;padding:.35rem .5rem;text-align:left;vertical-align:top}th{color:#5a6675}.go{background:#fff7e0}.back{background:#fde8e6}.no{color:#b3261e}.yes{color:#1b7a3d}
.note{background:#fff7e0;border:1px solid #ead9a0;border-radius:6px;padding:.5rem .8rem;margin:.4rem 0}td.t{white-space:nowrap}@media(max-width:720px){table{display:block;overflow-x:auto}body{margin:1rem auto}}
@media(prefers-color-scheme:dark){body{color:#e3e8ee;background:#161b22}th{color:#9aa7b5}th,td{border-color:#323b46}.no{color:#ff8a80}.yes{color:#6fd08c}.go,.note{background:#332b12;border-color:#5d4f22}.back{background:#4a1f1c}}
@media print{body{margin:0;max-width:none}}</style></head><body>
<h1>Cutover of {{.Project}}</h1>
<p>{{at .Window.Start}} to {{at .Window.End}} ({{.Window.Zone}}). {{if .Fits}}<b class="yes">It fits, with {{duration .Spare}} to spare.</b>{{else}}<b class="no">It does not fit.</b> {{.Advice}}{{end}}</p>
{{range .Notes}}<div class="note">{{.}}</div>{{end}}
<h2>Before</h2><table><tr><th>when</th><th>kind</th><th>what</th><th>who</th></tr>{{range .Dates}}<tr><td class="t">{{at .At}}</td><td>{{.Kind}}</td><td>{{.Name}}</td><td>{{.Who}}</td></tr>{{end}}</table>
<h2>In the window</h2><table><tr><th>no.</th><th>start</th><th>takes</th><th>task</th><th>owner</th><th>check</th><th>sign-off</th></tr>
{{range .Tasks}}<tr class="{{if .NoReturn}}back{{else if ne .Kind "task"}}go{{end}}"><td>{{.Number}}</td><td class="t">{{at .Start}}</td><td class="t">{{span .Length}}</td><td>{{if .NoReturn}}<b>Point of no return.</b> {{end}}{{.Name}}</td><td>{{.Owner}}</td><td>{{.Check}}</td><td>{{.SignOff}}</td></tr>
{{end}}</table>
<h2>Rollback</h2><p>The load must be over by <b>{{at .Rollback.Latest}}</b>. Called off when:</p><ul>{{range .Rollback.Triggers}}<li>{{.}}</li>{{end}}</ul><p>How:</p><ol>{{range .Rollback.Steps}}<li>{{.}}</li>{{end}}</ol>
</body></html>
`

func writeRunbookPage(w io.Writer, b appliance.Runbook) error {
	zone := b.Window.Start.Location()
	t, err := template.New("runbook").Funcs(template.FuncMap{"duration": duration, "span": span, "at": func(t time.Time) string { return t.In(zone).Format(runbookTime) }}).Parse(runbookHTML)
	if err != nil {
		return err
	}
	return t.Execute(w, b)
}

// runbookCalendar is the runbook as iCalendar (RFC 5545). Times are in UTC, which every
// calendar shows in its own zone, so that no rule of summer time need be repeated here.
func runbookCalendar(b appliance.Runbook, now time.Time) string {
	var s strings.Builder
	line := func(name, value string) { s.WriteString(foldLine(name + ":" + value)) }
	utc := func(t time.Time) string { return t.UTC().Format("20060102T150405Z") }
	line("BEGIN", "VCALENDAR")
	line("VERSION", "2.0")
	line("PRODID", "-//dvmigrate//cutover plan//EN")
	line("CALSCALE", "GREGORIAN")
	event := func(id string, start, end time.Time, summary, text string) {
		line("BEGIN", "VEVENT")
		line("UID", fmt.Sprintf("%s-%s@%s.dvmigrate.invalid", id, utc(b.Window.Start), calendarName(b.Project)))
		line("DTSTAMP", utc(now))
		line("DTSTART", utc(start))
		if end.After(start) {
			line("DTEND", utc(end))
		}
		line("SUMMARY", calendarText(summary))
		line("DESCRIPTION", calendarText(text))
		line("END", "VEVENT")
	}
	for i, d := range b.Dates {
		event(fmt.Sprintf("date%d", i+1), d.At, d.At.Add(30*time.Minute), b.Project+": "+d.Name, d.Kind+"; "+d.Who)
	}
	for _, t := range b.Tasks {
		name := t.Name
		if t.NoReturn {
			name = "POINT OF NO RETURN: " + name
		}
		event(fmt.Sprintf("task%d", t.Number), t.Start, t.End(), fmt.Sprintf("%s %d: %s", b.Project, t.Number, name), fmt.Sprintf("Owner: %s\nCheck: %s\nSign-off: %s", t.Owner, t.Check, t.SignOff))
	}
	event("rollback", b.Rollback.Latest, b.Rollback.Latest, b.Project+": the load must be over, or roll back", strings.Join(b.Rollback.Triggers, "\n"))
	line("END", "VCALENDAR")
	return s.String()
}

// calendarText escapes a text value (RFC 5545 3.3.11).
func calendarText(s string) string {
	return strings.NewReplacer(`\`, `\\`, ";", `\;`, ",", `\,`, "\n", `\n`).Replace(s)
}

func calendarName(s string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' {
			return r
		}
		return '-'
	}, s)
}

// foldLine ends a line, and folds it so that no piece is longer than 75 bytes and no
// character is cut (RFC 5545 3.1).
func foldLine(s string) string {
	var out strings.Builder
	n := 0
	for _, r := range s {
		if n+len(string(r)) > 75 {
			out.WriteString("\r\n ")
			n = 1
		}
		out.WriteRune(r)
		n += len(string(r))
	}
	return out.String() + "\r\n"
}
