package cli

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"dvmigrate/appliance"
)

// trailLine is a command as somebody calls it on the staged sample, and what it leaves in
// the audit trail.
type trailLine struct {
	args   string // "URL" and "TMP" stand for the target and a folder beside the project
	noted  string // as the trail names it; "" = the command changes no byte of the project; opened = but of the ledger's count of openings
	status int
}

const opened = "(opened)"

// trailLines has every command of the program, in an order in which they can be called.
func trailLines() []trailLine {
	return []trailLine{
		{"help", "", 0}, {"version", "", 0}, {"guide start", "", 0}, {"completion bash", "", 0}, {"alert", "", 0}, {"alert test", "", 1}, // nobody is named
		{"init TMP/other", "", 0}, // another project, whose trail begins with its first stage
		{"schema config", "", 0}, {"schema pull account -o -", "", 0}, {"schema pull", "schema pull", 0},
		{"check", "", 0}, {"check --online", "", 0}, {"check --data", "", 0},
		{"stage", "stage", 0}, {"draft", "draft", 0},
		{"profile articles --html TMP/p.html", "", 0}, {"profile articles --write", "profile", 0},
		{"target pull", "target pull", 0}, {"users", opened, 0}, {"users plan", "users plan", 0},
		{"options", "", 0}, {"options plan", "options plan", 0},
		{"preview contact", "", 0}, {"plan", "", 0},
		{"estimate --html TMP/e.html --csv TMP/e.csv", "", 0}, {"estimate --write-grade", "estimate --write-grade", 0},
		{"cutover plan --zone UTC --window=Sat_20:00/Sun_22:00", "cutover plan", 0},
		{"cutover run", "cutover run", 4}, {"cutover status", "", 0},
		{"calibrate --dry-run --target URL --yes-this-is-a-sandbox URL", opened, 0},
		{"calibrate --target URL --yes-this-is-a-sandbox URL --records 10 --table lead", "calibrate", 0},
		{"rehearse --speed 100", "rehearse", 0},
		{"load --dry-run", opened, 0}, {"load", "load", 0}, {"estimate --compare", "", 0},
		{"delta", "stage", 0}, // nothing has changed, so there is no load to note
		{"status", "", 0}, {"errors", "", 0}, {"repairs --rows", "", 0}, {"retry", "retry", 0},
		{"rollback --generation full --dry-run", "", 0}, {"rollback --generation last --table task --yes sample-crm", "rollback", 0}, {"load", "load", 0},
		{"reconcile --ids-only", "reconcile", 0},
		{"report --html TMP/r.html --markdown TMP/r.md --xlsx TMP/r.xlsx", "", 0}, {"report --sign Ann_Example", "report --sign", 0},
		{"sql -c FROM_progress", "", 0}, {"sql -c DROP_TABLE_account", "", 1},
		{"snapshot --to TMP/snaps", "snapshot", 0}, {"snapshot verify --from TMP/snaps", "", 0}, {"snapshots --from TMP/snaps", "", 0},
		{"audit", "", 0}, {"audit --export TMP/trail.csv", "", 0},
		{"ledger check", "", 0}, {"ledger stats", "", 0}, {"ledger compact", "ledger compact", 0},
	}
}

// elsewhere are the commands that the lines leave out, each with its reason.
var elsewhere = map[string]string{
	"demo":     "works on a project of its own, with the commands that are here",
	"emulator": "a server without a project's stage or ledger",
	"serve":    "looks, until it is stopped; what its operator does is in the trail: TestServe",
	"restore":  "noted in the project that it makes: below",
	"discard":  "takes the trail along: below",
}

// TestEveryCommandIsAuditedOrChangesNothing: whoever adds a command says which of both it is.
func TestEveryCommandIsAuditedOrChangesNothing(t *testing.T) {
	t.Parallel()
	dir, e := stagedProject(t), newEmulator(t)
	server := httptest.NewServer(e)
	defer server.Close()
	tmp := t.TempDir()
	call := func(dir, args string) (int, string) {
		var out bytes.Buffer
		args = strings.NewReplacer("URL", server.URL, "TMP", tmp).Replace(args)
		list := strings.Fields(args)
		for i := range list {
			list[i] = strings.ReplaceAll(list[i], "_", " ")
		}
		list = append([]string{"-C", dir}, list...)
		env := &Env{Args: list, Stdin: strings.NewReader(""), Stdout: &out, Stderr: &out, Drain: t.Context(), Version: "test", Getenv: func(name string) (string, bool) {
			v, ok := map[string]string{"DVMIGRATE_TARGET_URL": server.URL, "DVMIGRATE_TOKEN": "t", "DVMIGRATE_LOAD_PARALLEL": "4"}[name]
			return v, ok
		}}
		return Run(t.Context(), env), out.String()
	}
	called, before := map[string]bool{}, trail(t, dir)
	for _, line := range trailLines() {
		called[strings.Fields(line.args)[0]] = true
		files := contents(t, dir)
		status, out := call(dir, line.args)
		if status != line.status {
			t.Fatalf("%s: exit status %d, want %d\n%s", line.args, status, line.status, out)
		}
		if line.noted == "" || line.noted == opened {
			for name, sum := range contents(t, dir) {
				if files[name] != sum && (line.noted == "" || filepath.Base(name) != "ledger.bolt") {
					t.Errorf("%s: changed %s, and is said to change nothing", line.args, name)
				}
			}
			continue
		}
		now := trail(t, dir)
		noted := now[len(before):]
		before = now
		if want := []string{line.noted + " begin", line.noted + " end"}; !slices.Equal(noted, want) {
			t.Errorf("%s: left %q in the trail, want %q", line.args, noted, want)
		}
	}
	if status, out := call(tmp, "restore --from TMP/snaps TMP/restored"); status != 0 {
		t.Fatal(out)
	}
	if last := trail(t, filepath.Join(tmp, "restored")); last[len(last)-1] != "restore end" {
		t.Errorf("the restored project's trail ends with %q", last[len(last)-1])
	}
	if status, out := call(dir, "discard --yes sample-crm --force --certificate TMP/c.json"); status != 0 {
		t.Fatal(out)
	}
	var c struct{ Certificate appliance.Certificate }
	b, err := os.ReadFile(filepath.Join(tmp, "c.json"))
	if err = errors.Join(err, json.Unmarshal(b, &c)); err != nil {
		t.Fatal(err)
	}
	if n, _, _ := strings.Cut(c.Certificate.AuditHead, ":"); n != fmt.Sprint(len(before)+2) {
		t.Errorf("the certificate names head %s of a trail of %d entries; the discard is not in it", c.Certificate.AuditHead, len(before))
	}
	for _, name := range names() {
		if !called[name] && elsewhere[name] == "" {
			t.Errorf("%s is neither audited nor said to change nothing: give it a line", name)
		}
	}
	for name := range elsewhere {
		if find(name) == nil || called[name] {
			t.Errorf("%s is said to be tested elsewhere", name)
		}
	}
}

// contents are the files of a project, each as a hash.
func contents(t *testing.T, dir string) map[string][32]byte {
	t.Helper()
	out := map[string][32]byte{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		out[strings.TrimPrefix(path, dir)] = sha256.Sum256(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// trail is what the audit trail names, each with its event.
func trail(t *testing.T, dir string) []string {
	t.Helper()
	v, err := appliance.View(t.Context(), dir, appliance.Options{Env: func(name string) (string, bool) { return nowhere, name == "DVMIGRATE_TARGET_URL" }})
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	page, err := v.Audit(t.Context(), appliance.AuditQuery{Prove: true})
	if err != nil || page.Fault != "" {
		t.Fatal(err, page.Fault)
	}
	var out []string
	for _, e := range page.Entries {
		out = append(out, e.Command+" "+string(e.Event))
	}
	return out
}
