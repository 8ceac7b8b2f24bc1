package cli

import (
	"bytes"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/pflag"
)

// emulatorWith is the command with the arguments given.
func emulatorWith(t *testing.T, args ...string) *emulatorCommand {
	t.Helper()
	c := &emulatorCommand{}
	f := pflag.NewFlagSet("emulator", pflag.ContinueOnError)
	c.AddFlags(f)
	if err := f.Parse(args); err != nil {
		t.Fatal(err)
	}
	return c
}

func TestEmulatorRefusesFlags(t *testing.T) {
	for text, want := range map[string]string{
		"--listen 0.0.0.0:8787":                        "loopback only",
		"--admin 127.0.0.1:8787":                       "one of its own",
		"--speed 0":                                    "above 0",
		"--spread everywhere":                          "round-robin or random",
		"--servers 0":                                  "at least 1",
		"--latency 5ms --latency-p99 1ms":              "less than the median",
		"--latency-p99 1ms":                            "needs --latency",
		"--cost-record -1ms":                           "--cost-record -1ms: it is less than nothing",
		"--limit-requests -1":                          "0 is no limit",
		"--limit-window -1s":                           "--limit-window",
		"--speed 60 --servers 2 --spread random":       "",
		"--latency 1ms --latency-p99 5ms --warm-up 1s": "",
	} {
		err := emulatorWith(t, strings.Fields(text)...).Validate(nil)
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
}

// TestEmulatorRefusesFiles: what is wrong with a file, rule or address is said with its
// name, before anything is served.
func TestEmulatorRefusesFiles(t *testing.T) {
	dir := t.TempDir()
	for name, content := range map[string]string{"list.json": `["prvReadAccount"]`, "noprv.json": `{"Loader":["ReadAccount"]}`, "null.json": `null`,
		"profile.json": `{"latency":{"median":"9ms","p99":"1ms"}}`, "unit.json": `{"request":"9"}`, "field.json": `{"costs":[{"tabel":"account"}]}`, "seed.json": `{"nothing":[]}`, "state": "something else"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	in := func(name string) string { return filepath.Join(dir, name) }
	for _, c := range []struct{ args, want string }{
		{"--roles " + in("list.json"), "it is not {role: [privilege, ...]}"},
		{"--roles " + in("noprv.json"), `role Loader: "ReadAccount" is not a privilege`},
		{"--roles " + in("null.json"), "null"},
		{"--roles " + in("none.json"), "none.json"},
		{"--profile " + in("profile.json"), "the p99 1ms is less than the median 9ms"},
		{"--profile " + in("unit.json"), "unit.json"},
		{"--profile " + in("field.json"), `unknown field "tabel"`},
		{"--seed " + in("seed.json"), "the schema has no table nothing"},
		{"--state " + in("state"), "it is not a state file of the emulator"},
		{"--fault kind=flood", `"flood" is none of`},
		{"--fault kind=502,table=acount", `no table "acount"`},
		{"--duplicate-rule contact", "table:column,column"},
		{"--duplicate-rule contact:nothing", "no stored column nothing"},
		{"--deadlock-parent contact", "table.column"},
		{"--custom-action x", "name=duration"},
		{"--schema " + in("none.json"), "none.json"},
	} {
		s, err := emulatorWith(t, strings.Fields(c.args)...).server(&Env{dir: dir, Stderr: new(bytes.Buffer)})
		if err == nil {
			s.Close()
		}
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %s", c.args, err, c.want)
		}
	}
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	address := taken.Addr().String()
	for _, c := range []struct{ args, want string }{{"--listen " + address, "--listen"}, {"--listen 127.0.0.1:0 --admin " + address, "--admin"}} {
		err := emulatorWith(t, strings.Fields(c.args)...).Run(t.Context(), &Env{dir: dir})
		if err == nil || !strings.Contains(err.Error(), "choose another address with "+c.want) {
			t.Errorf("%s: %v", c.args, err)
		}
	}
}

// TestEmulatorWarnsOfProfile: a rule for a table that is not there is said.
func TestEmulatorWarnsOfProfile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "p.json")
	if err := os.WriteFile(path, []byte(`{"costs":[{"table":"acount","record":"1ms"}]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	var said bytes.Buffer
	s, err := emulatorWith(t, "--profile", path).server(&Env{dir: dir, Stderr: &said})
	if err != nil {
		t.Fatal(err)
	}
	s.Close()
	if !strings.Contains(said.String(), "the schema has no table acount") {
		t.Errorf("said %q", said.String())
	}
}
