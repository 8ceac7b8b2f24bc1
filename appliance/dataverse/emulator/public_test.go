package emulator

import (
	"bufio"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// mustRunPublicClients is the environment variable that makes it an error when a
// public client cannot be installed: set where the proof must not be skipped.
const mustRunPublicClients = "DVMIGRATE_PUBLIC_CLIENTS"

// without skips the test, or fails it where the clients must run.
func without(t *testing.T, why string) {
	t.Helper()
	if os.Getenv(mustRunPublicClients) != "" {
		t.Fatal(why)
	}
	t.Skip(why)
}

// TestDynamicsWebAPI drives every request function of the npm package
// dynamics-web-api against the emulator (testdata/dynamics-web-api/run.mjs).
func TestDynamicsWebAPI(t *testing.T) {
	for _, program := range []string{"node", "npm"} {
		if _, err := exec.LookPath(program); err != nil {
			without(t, program+" is not installed")
		}
	}
	dir := t.TempDir()
	for _, name := range []string{"package.json", "package-lock.json", "run.mjs"} {
		b, err := os.ReadFile(filepath.Join("testdata", "dynamics-web-api", name))
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, name), b, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	install := exec.CommandContext(t.Context(), "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline")
	install.Dir = dir
	if out, err := install.CombinedOutput(); err != nil {
		without(t, "npm cannot install the client: "+err.Error()+"\n"+string(out))
	}
	srv, err := New(Options{Schema: world(t), CustomActions: map[string]time.Duration{"contoso_Recalculate": time.Hour}})
	if err != nil {
		t.Fatal(err)
	}
	web := httptest.NewServer(srv)
	defer web.Close()
	run := exec.CommandContext(t.Context(), "node", "run.mjs")
	run.Dir, run.Env = dir, append(os.Environ(), "EMULATOR_URL="+web.URL)
	out, err := run.CombinedOutput()
	lines := bufio.NewScanner(strings.NewReader(string(out)))
	tests := 0
	for lines.Scan() {
		if strings.HasPrefix(lines.Text(), "ok ") {
			tests++
		}
	}
	if err != nil || tests < 25 || !strings.Contains(string(out), ", 0 failed") {
		t.Errorf("%d tests passed, %v:\n%s", tests, err, out)
	}
}
