package guide

import (
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"dvmigrate/appliance/config"
)

func TestEveryFileIsAPage(t *testing.T) {
	found, err := fs.Glob(files, "*.md")
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	for _, name := range names {
		want = append(want, name+".md")
	}
	slices.Sort(want)
	if !slices.Equal(found, want) {
		t.Errorf("files %v, pages %v", found, want)
	}
}

func TestPagesFitATerminal(t *testing.T) {
	for _, p := range Pages() {
		lines := strings.Split(strings.TrimSuffix(p.Text, "\n"), "\n")
		limit := 120
		if p.Name == "project" { // a reference of every key
			limit = 200
		}
		if len(lines) >= limit || !strings.HasPrefix(p.Text, "# "+p.Title+"\n") || p.Title == "" || !strings.HasSuffix(p.Text, "\n") {
			t.Errorf("%s: %d lines, title %q", p.Name, len(lines), p.Title)
		}
		for i, l := range lines {
			if len([]rune(l)) > 100 && !strings.HasPrefix(l, "|") || strings.ContainsRune(l, '\t') {
				t.Errorf("%s: line %d has %d characters or a tab", p.Name, i+1, len([]rune(l)))
			}
		}
	}
}

func TestPagesPointToPages(t *testing.T) {
	mention := regexp.MustCompile("`dvmigrate guide ([a-z-]+)`")
	for _, p := range Pages() {
		for _, m := range mention.FindAllStringSubmatch(p.Text, -1) {
			if !slices.Contains(slices.Concat(names, Generated), m[1]) || m[1] == p.Name {
				t.Errorf("%s mentions the page %q", p.Name, m[1])
			}
		}
	}
}

func TestTheSettingsPageHasEveryKey(t *testing.T) {
	page := read("project")
	var walk func(reflect.Type)
	walk = func(typ reflect.Type) {
		switch typ.Kind() {
		case reflect.Map:
			walk(typ.Elem())
		case reflect.Struct:
			for f := range typ.Fields() {
				key := f.Tag.Get("json")
				if key == "" || key == "-" {
					continue
				}
				if !regexp.MustCompile(`(?m)[ {]` + key + `:`).MatchString(page.Text) {
					t.Errorf("project.md does not show %s", key)
				}
				walk(f.Type)
			}
		}
	}
	walk(reflect.TypeFor[config.Config]())
}

// TestSettingsOfMonitoringAreRead: the page's examples are settings that are taken as they stand.
func TestSettingsOfMonitoringAreRead(t *testing.T) {
	page := read("monitoring")
	var blocks []string
	for block := range strings.SplitSeq(page.Text, "\n\n") {
		if strings.HasPrefix(block, "    log:") || strings.HasPrefix(block, "    alerts:") {
			blocks = append(blocks, strings.ReplaceAll("\n"+block, "\n    ", "\n"))
		}
	}
	if len(blocks) != 2 {
		t.Fatalf("%d examples", len(blocks))
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, config.File), []byte("version: 1\nname: x"+strings.Join(blocks, "")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := config.Load(dir, func(name string) (string, bool) { return "https://h.example/x", !strings.HasPrefix(name, "DVMIGRATE_") })
	if err != nil {
		t.Fatal(err)
	}
	if c.Log.Format != "json" || len(c.Alerts.To) != 4 || c.Alerts.Finish != "window" {
		t.Errorf("read as %+v %+v", c.Log, c.Alerts)
	}
}
