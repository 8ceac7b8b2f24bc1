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

// runClients installs the npm packages of a folder of testdata and runs its scripts,
// each against an emulator of the test's world; at least so many tests of it must pass.
func runClients(t *testing.T, folder string, scripts map[string]int) {
	t.Helper()
	for _, program := range []string{"node", "npm"} {
		if _, err := exec.LookPath(program); err != nil {
			without(t, program+" is not installed")
		}
	}
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(filepath.Join("testdata", folder))); err != nil {
		t.Fatal(err)
	}
	install := exec.CommandContext(t.Context(), "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline")
	install.Dir = dir
	if out, err := install.CombinedOutput(); err != nil {
		without(t, "npm cannot install the clients: "+err.Error()+"\n"+string(out))
	}
	for script, least := range scripts {
		t.Run(script, func(t *testing.T) { runClient(t, dir, script, folder == "public-clients", least) })
	}
}

// runClient runs one script; loose says that its $batch lacks the last CRLF.
func runClient(t *testing.T, dir, script string, loose bool, least int) {
	srv, err := New(Options{Schema: world(t), LooseBatch: loose, CustomActions: map[string]time.Duration{"contoso_Recalculate": time.Hour}})
	if err != nil {
		t.Fatal(err)
	}
	web := httptest.NewServer(srv)
	defer web.Close()
	run := exec.CommandContext(t.Context(), "node", script)
	run.Dir, run.Env = dir, append(os.Environ(), "EMULATOR_URL="+web.URL)
	out, err := run.CombinedOutput()
	lines := bufio.NewScanner(strings.NewReader(string(out)))
	tests := 0
	for lines.Scan() {
		if strings.HasPrefix(lines.Text(), "ok ") {
			tests++
		}
	}
	if err != nil || tests < least || !strings.Contains(string(out), ", 0 failed") {
		t.Errorf("%d tests passed, %v:\n%s", tests, err, out)
	}
}

// TestDynamicsWebAPI drives every request function of the npm package
// dynamics-web-api against the emulator.
func TestDynamicsWebAPI(t *testing.T) {
	runClients(t, "dynamics-web-api", map[string]int{"run.mjs": 25})
}

// TestPublicClients drives every function of dataverse-webapi, which has a $batch and
// error handling of its own; xrm-webapi-client, from inside Dynamics' pages; @odata/client
// and o.js, which speak OData in general; and has the reader of OASIS, whose specification
// it is, read $metadata.
func TestPublicClients(t *testing.T) {
	runClients(t, "public-clients", map[string]int{"dataverse-webapi.mjs": 8, "odata-client.mjs": 5, "ojs.mjs": 5, "metadata.mjs": 3, "xrm-webapi-client.mjs": 9})
}
