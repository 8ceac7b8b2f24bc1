package cli

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// staged is a folder with the sample project of fixtureRecords records, staged once
// for all tests: they copy it.
var staged string

const fixtureRecords = "600"

// TestMain makes this test binary the command dvmigrate: the scripts run it, and so
// does whatever the command itself starts. It is TestSpeed's target too.
func TestMain(m *testing.M) {
	testscript.Main(stagedOnce{m}, map[string]func(){"dvmigrate": func() { os.Exit(Main("test")) }, "answer-at-once": answerAtOnce})
}

// stagedOnce stages the sample before the tests and removes it after them. It runs two
// tests for each core: they wait for disks, processes and answers more than they compute.
type stagedOnce struct{ m *testing.M }

func (s stagedOnce) Run() int {
	dir, err := os.MkdirTemp("", "dvmigrate-cli-test-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	staged = filepath.Join(dir, "crm")
	for _, args := range [][]string{{"init", "--sample", staged, "--records", fixtureRecords}, {"-C", staged, "stage"}} {
		if out, err := dvmigrate(args...).CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "dvmigrate %s: %v\n%s", strings.Join(args, " "), err, out)
			return 1
		}
	}
	flag.Parse()
	if f := flag.Lookup("test.parallel"); f.Value.String() == strconv.Itoa(runtime.GOMAXPROCS(0)) {
		_ = f.Value.Set(strconv.Itoa(2 * runtime.GOMAXPROCS(0)))
	}
	return s.m.Run()
}

// nowhere is an address of this machine at which nobody listens. It stands for the
// target wherever a test names none: the sample's own may be somebody's emulator.
const nowhere = "http://127.0.0.1:1"

// dvmigrate is one process of the program.
func dvmigrate(args ...string) *exec.Cmd {
	c := exec.Command("dvmigrate", args...)
	c.Env = append(os.Environ(), "DVMIGRATE_TARGET_URL="+nowhere, "DVMIGRATE_TOKEN=")
	return c
}

// copyStaged copies the staged sample project to dir.
func copyStaged(dir string) error { return os.CopyFS(dir, os.DirFS(staged)) }
