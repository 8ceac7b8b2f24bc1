package appliance

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestWatcher: what is redone for each file that a staging is made of.
func TestWatcher(t *testing.T) {
	dir := otherProject(t, "http://127.0.0.1:1", nil, map[string]string{
		"migration.yaml": "version: 1\nname: x\ntarget: {auth: none}\nsources: {x: x.csv, codes: maps/codes.csv}\n", "x.csv": "a\n1\n", "maps/codes.csv": "a\n1\n",
		"transform/account.sql": "SELECT a AS legacy_key, 'x' AS name FROM x", "transform/contact.sql": "SELECT a AS legacy_key, 'x' AS lastname FROM x"})
	p := openMasked(t, dir, Settings)
	defer p.Close()
	all := []string{"account", "contact"}
	for _, c := range []struct {
		file string
		want StageOptions
	}{
		{"x.csv", StageOptions{Sources: []string{"x"}}},
		{"maps/codes.csv", StageOptions{Sources: []string{"codes"}}},
		{"transform/contact.sql", StageOptions{Tables: []string{"contact"}}},
		{"maps/contact.gendercode.csv", StageOptions{Tables: []string{"contact"}}},
		{"maps/lead.industrycode.csv", StageOptions{Tables: all}},
		{"maps/owners.csv", StageOptions{Tables: all}},
		{"maps/options.xlsx", StageOptions{Tables: all}},
		{"transform/lib/macros.sql", StageOptions{Tables: all}},
		{"schema.json", StageOptions{Tables: all}},
		{"migration.yaml", StageOptions{}},
	} {
		w := p.Watcher()
		path := filepath.Join(dir, filepath.FromSlash(c.file))
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		text, _ := os.ReadFile(path) // there may be none yet
		if err := os.WriteFile(path, append(text, ' '), 0o600); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(Saved{Files: []string{c.file}, StageOptions: c.want}, w.change(w.look())); diff != "" {
			t.Errorf("%s: %s", c.file, diff)
		}
	}
}
