package cli

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/pflag"

	"dvmigrate/appliance/config"
	"dvmigrate/appliance/guide"
	"dvmigrate/appliance/sample"
	"dvmigrate/duckstage"
)

func TestTheReferencesLackNothing(t *testing.T) {
	pages := guidePages()
	for _, name := range guide.Generated {
		if !slices.ContainsFunc(pages, func(p guide.Page) bool { return p.Name == name && strings.HasPrefix(p.Text, "# "+p.Title+"\n") }) {
			t.Errorf("no page %s", name)
		}
	}
	text := commandsText()
	for _, name := range names() {
		e := find(name)
		if e == nil { // help
			continue
		}
		i := strings.Index(text, "\n### "+name+"\n")
		if i < 0 {
			t.Errorf("no command %s", name)
			continue
		}
		part, _, _ := strings.Cut(text[i+5:], "\n### ")
		f := pflag.NewFlagSet(name, pflag.ContinueOnError)
		e.make().AddFlags(f)
		f.VisitAll(func(flag *pflag.Flag) {
			if !flag.Hidden && !strings.Contains(part, "--"+flag.Name) {
				t.Errorf("%s: no flag --%s", name, flag.Name)
			}
			if value, _ := pflag.UnquoteUsage(flag); strings.Contains(value, " ") { // a command quoted in the text
				t.Errorf("%s: --%s takes %q, says its help", name, flag.Name, value)
			}
		})
	}
	text = settingsText()
	for _, k := range config.Reference() {
		if !strings.Contains(text, "- `"+k.Path+"` (") {
			t.Errorf("no key %s", k.Path)
		}
	}
}

// example is a block of code in a page.
type example struct {
	page  string
	line  int
	lines []string
}

// examples are the indented and fenced blocks of all pages, of the README and of that of the sample.
func examples(t *testing.T) []example {
	t.Helper()
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if _, err := sample.Write(dir, sample.Options{Records: 50, Seed: 1, Force: true}); err != nil {
		t.Fatal(err)
	}
	ofSample, err := os.ReadFile(filepath.Join(dir, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	texts := map[string]string{"README": string(readme), "README of the sample": string(ofSample)}
	for _, p := range guidePages() {
		if p.Name != "commands" { // its usage lines are no examples
			texts[p.Name] = p.Text
		}
	}
	var out []example
	for _, page := range sortedKeys(texts) {
		var open *example
		fenced := false
		for i, line := range strings.Split(texts[page], "\n") {
			fence := strings.HasPrefix(line, "```")
			if fence {
				fenced = !fenced
			}
			switch {
			case !fence && (fenced || strings.HasPrefix(line, "    ")):
				text := strings.TrimPrefix(line, "    ")
				if open != nil && open.lines[len(open.lines)-1] == "" && strings.HasPrefix(text, "dvmigrate ") != strings.HasPrefix(open.lines[0], "dvmigrate ") {
					out, open = append(out, *open), nil // another one, after an empty line
				}
				if open == nil {
					open = &example{page: page, line: i + 1}
				}
				open.lines = append(open.lines, text)
			case open != nil && (fence || strings.TrimSpace(line) != ""):
				out, open = append(out, *open), nil
			case open != nil:
				open.lines = append(open.lines, "")
			}
		}
		if open != nil {
			out = append(out, *open)
		}
	}
	return out
}

// words splits a command line as a shell does, as far as the guide needs it.
func words(line string) (out []string) {
	for _, m := range regexp.MustCompile(`"([^"]*)"|'([^']*)'|((?:[^\s"']|"[^"]*"|'[^']*')+)`).FindAllStringSubmatch(line, -1) {
		word := m[1] + m[2] + m[3]
		if m[3] != "" {
			word = strings.NewReplacer(`"`, "", "'", "").Replace(m[3])
		}
		out = append(out, word)
	}
	return out
}

var (
	commandStart = regexp.MustCompile("(?:^|[ ;&|(`$])(?:\\.{0,2}/)?dvmigrate ")
	commandEnd   = regexp.MustCompile("  +|`|;| \\|| >| &&| #|\\)$|\\)\\\"| 2>|, or |\\.\\.\\.")
)

// commandLines are the calls of the program in a text; the comment after one is cut off.
func commandLines(text string) (out []string) {
	for _, at := range commandStart.FindAllStringIndex(text, -1) {
		rest := text[at[1]:]
		quoted := strings.NewReplacer("'", "\x00", `"`, "\x00")
		if end := commandEnd.FindStringIndex(rest); end != nil {
			// An end within quotes is none.
			for end != nil && strings.Count(quoted.Replace(rest[:end[0]]), "\x00")%2 == 1 {
				next := commandEnd.FindStringIndex(rest[end[1]:])
				if next == nil {
					end = nil
					break
				}
				end = []int{end[1] + next[0], end[1] + next[1]}
			}
			if end != nil {
				rest = rest[:end[0]]
			}
		}
		out = append(out, strings.TrimRight(rest, " .,:\\"))
	}
	return out
}

// parseCommand checks a call against the command's flags; what is in capitals stands for
// something else.
func parseCommand(line string, validate bool) error {
	args := words(line)
	env := &Env{Args: args}
	name, rest := env.split()
	e := find(name)
	if name == "help" || name == strings.ToUpper(name) {
		return nil
	}
	if e == nil {
		return usagef("there is no command %q", name)
	}
	c := e.make()
	f := pflag.NewFlagSet(name, pflag.ContinueOnError)
	f.SetOutput(io.Discard)
	c.AddFlags(f)
	env.addGlobals(f)
	if err := f.Parse(rest); err != nil {
		return err
	}
	if !validate {
		return nil
	}
	return c.Validate(f.Args())
}

// placeholder is what stands for something else, so that a command's own checks refuse it; what
// stands in quotes, such as SQL, is meant as it is.
var (
	placeholder = regexp.MustCompile(`[\[<]|\b[A-Z]{3,}\b`)
	inQuotes    = regexp.MustCompile(`"[^"]*"|'[^']*'`)
)

func TestCommandsInTheGuideAreCommands(t *testing.T) {
	checked := 0
	for _, x := range examples(t) {
		for i, line := range x.lines {
			for _, command := range commandLines(line) {
				checked++
				if err := parseCommand(command, !placeholder.MatchString(inQuotes.ReplaceAllString(command, ""))); err != nil {
					t.Errorf("%s, line %d: dvmigrate %s: %v", x.page, x.line+i, command, err)
				}
			}
		}
	}
	inline := regexp.MustCompile("`dvmigrate ([^`\n]+)`")
	for _, p := range guidePages() {
		for _, m := range inline.FindAllStringSubmatch(p.Text, -1) {
			for _, command := range commandLines("dvmigrate " + m[1]) {
				checked++
				if err := parseCommand(command, false); err != nil {
					t.Errorf("%s: `dvmigrate %s`: %v", p.Name, command, err)
				}
			}
		}
	}
	if checked < 200 {
		t.Errorf("only %d commands were found", checked)
	}
}

func TestSettingsInTheGuideLoad(t *testing.T) {
	known := map[string]bool{}
	for _, k := range config.Reference() {
		top, _, _ := strings.Cut(k.Path, ".")
		known[top] = true
	}
	key := regexp.MustCompile(`^([a-z_]+):( |$)`)
	checked := 0
	for _, x := range examples(t) {
		m := key.FindStringSubmatch(x.lines[0])
		if m == nil || !known[m[1]] {
			continue
		}
		text := strings.Join(x.lines, "\n") + "\n"
		for _, need := range []string{"version: 1\n", "name: x\n"} {
			if word, _, _ := strings.Cut(need, " "); !strings.HasPrefix(text, word) && !strings.Contains(text, "\n"+word) {
				text = need + text
			}
		}
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, config.File), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		checked++
		if _, err := config.Load(dir, func(name string) (string, bool) {
			return "https://hooks.example/x", !strings.HasPrefix(name, "DVMIGRATE_")
		}); err != nil {
			t.Errorf("%s, line %d: %v\n%s", x.page, x.line, err, text)
		}
	}
	if checked < 15 {
		t.Errorf("only %d settings were found", checked)
	}
}

func TestSQLInTheGuideIsSQL(t *testing.T) {
	stage, err := duckstage.Open(t.Context(), filepath.Join(t.TempDir(), "s.duckdb"), duckstage.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer stage.Close()
	start := regexp.MustCompile(`^(SELECT|FROM|WITH|CASE) `)
	checked := 0
	for _, x := range examples(t) {
		if !start.MatchString(x.lines[0]) {
			continue
		}
		for _, statement := range strings.Split(strings.Join(x.lines, "\n"), ";\n") {
			statement = strings.TrimSuffix(strings.TrimSpace(statement), ";")
			if statement == "" {
				continue
			}
			if strings.HasPrefix(statement, "CASE") {
				statement = "SELECT " + statement
			}
			checked++
			var text string
			if err := stage.Row(t.Context(), []any{&text}, "SELECT json_serialize_sql("+duckstage.Quote(statement)+")::VARCHAR"); err != nil || strings.Contains(text, `"error":true`) {
				t.Errorf("%s, line %d: %v %s\n%s", x.page, x.line, err, text, statement)
			}
		}
	}
	if checked < 10 {
		t.Errorf("only %d statements were found", checked)
	}
}

// TestThePatternsFitTheSample binds each statement of the page to the sample's sources and
// the target's schema.
func TestThePatternsFitTheSample(t *testing.T) {
	name := regexp.MustCompile(`^-- transform/([a-z_]+)\.sql$`)
	dir := t.TempDir()
	if _, err := sample.Write(dir, sample.Options{Records: 50, Seed: 1, Force: true}); err != nil {
		t.Fatal(err)
	}
	checked := 0
	for _, x := range examples(t) {
		m := name.FindStringSubmatch(x.lines[0])
		if x.page != "patterns" || m == nil {
			continue
		}
		path := filepath.Join(dir, "transform", m[1]+".sql")
		before, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(strings.Join(x.lines, "\n")), 0o600); err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		env := &Env{Args: []string{"-C", dir, "check"}, Stdin: strings.NewReader(""), Stdout: &out, Stderr: &out, Drain: t.Context(), Version: "test", Getenv: func(string) (string, bool) { return "", false }}
		if status := Run(t.Context(), env); status != 0 {
			t.Errorf("line %d, %s: status %d\n%s", x.line, m[1], status, out.String())
		}
		checked++
		if err := os.WriteFile(path, before, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if checked < 8 {
		t.Errorf("only %d statements were found", checked)
	}
}
