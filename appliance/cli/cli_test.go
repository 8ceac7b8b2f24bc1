package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

func TestASessionThatBreaksOffEndsTheWorkInGoodOrder(t *testing.T) {
	never := func(os.Signal) bool { return false }
	if list := stopSignals(never); !slices.Contains(list, os.Signal(syscall.SIGHUP)) || !slices.Contains(list, os.Signal(syscall.SIGTERM)) {
		t.Errorf("it heeds %v", list)
	}
	nohup := func(s os.Signal) bool { return s == syscall.SIGHUP }
	if list := stopSignals(nohup); slices.Contains(list, os.Signal(syscall.SIGHUP)) {
		t.Errorf("below nohup it heeds %v", list)
	}
}

func TestTemporaryFilesHaveAFolderWhereTheMachineHasNone(t *testing.T) {
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	none := filepath.Join(t.TempDir(), "none")
	for _, c := range []struct{ name, named, usual, want string }{
		{"the machine has one", "", t.TempDir(), ""},
		{"it has none", "", none, here},
		{"it is named: whoever did so is told when it is not there", none, none, ""},
	} {
		if got := temporaryFolder(c.named, c.usual); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

type fullDisk struct{}

func (fullDisk) Write([]byte) (int, error) { return 0, errors.New("no space left on device") }

func TestAResultThatIsNotPrintedIsNoSuccess(t *testing.T) {
	for _, args := range [][]string{{"help"}, {"guide", "load"}, {"version"}, {"version", "--json"}} {
		var errs bytes.Buffer
		env := &Env{Args: args, Stdin: strings.NewReader(""), Stdout: fullDisk{}, Stderr: &errs, Drain: t.Context(), Version: "test", Getenv: func(string) (string, bool) { return "", false }}
		if status := Run(t.Context(), env); status != Failed || !strings.Contains(errs.String(), "no space left on device") {
			t.Errorf("%v: status %d: %s", args, status, errs.String())
		}
	}
}

func TestErrorsOfUsageAreJSONWhereAskedFor(t *testing.T) {
	for _, args := range [][]string{
		{"load", "--parallel", "x", "--json"}, {"statsu", "--json"}, {"--json", "statsu"}, {"load", "--nosuch", "--json"}, {"load", "extra", "--json"}, {"help", "nosuch", "--json"},
		{"init", "--faults", "5", "--json", "x"}, {"init", "--sample", "--records", "0", "--json", "x"},
	} {
		var out, errs bytes.Buffer
		env := &Env{Args: args, Stdin: strings.NewReader(""), Stdout: &out, Stderr: &errs, Drain: t.Context(), Version: "test", Getenv: func(string) (string, bool) { return "", false }}
		status := Run(t.Context(), env)
		var said struct {
			Error   string
			Status  int
			Version int
		}
		if err := json.Unmarshal(errs.Bytes(), &said); err != nil || status != Usage || said.Status != Usage || said.Error == "" || said.Version != 1 || out.Len() > 0 {
			t.Errorf("%v: status %d, %v: %s%s", args, status, err, out.String(), errs.String())
		}
	}
}

// TestEveryTextIsJSONWhereAskedFor: help and completion are results too, and so is what a signal is answered with.
func TestEveryTextIsJSONWhereAskedFor(t *testing.T) {
	for _, args := range [][]string{{"--json"}, {"help", "--json"}, {"help", "load", "--json"}, {"help", "--json", "load"}, {"load", "--help", "--json"}, {"load", "--json", "--help"}, {"completion", "fish", "--json"}, {"--json", "version"}} {
		var out, errs bytes.Buffer
		env := &Env{Args: args, Stdin: strings.NewReader(""), Stdout: &out, Stderr: &errs, Drain: t.Context(), Version: "test", Getenv: func(string) (string, bool) { return "", false }}
		status := Run(t.Context(), env)
		var said map[string]any
		if err := json.Unmarshal(out.Bytes(), &said); err != nil || status != Done || said["version"] != 1.0 || len(said) < 2 || errs.Len() > 0 {
			t.Errorf("%v: status %d, %v: %.200s%s", args, status, err, out.String(), errs.String())
		}
	}
	var line bytes.Buffer
	var said map[string]any
	if stopping(&line, true); json.Unmarshal(line.Bytes(), &said) != nil || said["stopping"] == nil {
		t.Errorf("a signal is answered with %q", line.String())
	}
}
