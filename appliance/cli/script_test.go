package cli

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"dvmigrate/duckstage"
)

// TestScripts runs the stories in testdata/script. Beside testscript's own commands
// there are:
//
//	exits STATUS COMMAND ...   run a command and require its exit status
//	start NAME COMMAND ...     run a command in the background
//	signal NAME SIG            send it a signal (KILL, INT, INT2 = twice)
//	says NAME TEXT             wait until it says so on its error output
//	finish NAME STATUS [SIG]   send it a signal and require its exit
//	                           status; -1 = killed. Its output becomes NAME.out and NAME.err
//	emulator [FLAG ...]        start `dvmigrate emulator` as the target, with its admin endpoint;
//	                           `emulator kill` ends it. $LISTEN is its address
//	fault RULE                 order a fault of it; `fault none` takes all off and lets go what they hold
//	stats PATH VALUE           require a figure of its /stats
//	once                       require that it holds what the ledger says is loaded, each once
//	export TABLE FILE          save its rows of a table, one JSON object a line
//	touch TABLE SET COLUMN OLD NEW   change the first record of it with that value, as somebody else
//	json FILE PATH VALUE       require a value in JSON (FILE may be stdout): .a.b, .a[0], x
//	                           for how many; VALUE may be >N
//	await PATH VALUE           ask `dvmigrate status --json` until a value is so
//	project DIR                copy the staged sample project
//	keep PATH ...              note what these files and folders hold
//	unharmed                   require that they still hold it
//	damage FILE OFFSET         turn 64 bytes over; an offset below 0 counts from the end
//	shorten FILE SIZE          cut a file off
//	replace FILE OLD NEW       replace a text, which must occur
//	secret TEXT                require that no file and no output has this text
//	stageformat DIR VALUE      make the stage of a project one of another format
//	stagehold DIR              open the stage of a project, as another program may; until the end,
//	                           or `stagehold none`
//	volume DIR SIZE            mount a file system in a file; `volume DIR readonly` has it turn
//	                           read-only, as a fault of the disk does, `volume DIR again` mends and
//	                           mounts it again (condition [volume])
//	tmpfs DIR SIZE             mount a small file system of its own (condition [tmpfs])
//
// The condition [shared] holds where the real data of other projects lie beside the
// repository, in $SHARED.
func TestScripts(t *testing.T) {
	shared, err := filepath.Abs("../../../shared/data")
	if err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		UpdateScripts:       os.Getenv("UPDATE_SCRIPTS") != "",
		RequireExplicitExec: true,
		Setup: func(e *testscript.Env) error {
			e.Setenv("DVMIGRATE_TARGET_URL", nowhere)
			e.Setenv("TZ", "UTC")
			e.Setenv("SHARED", shared)
			e.Values[storyKey{}] = &story{running: map[string]*background{}, kept: map[string][]byte{}}
			return nil
		},
		Condition: func(cond string) (bool, error) {
			switch cond {
			case "tmpfs":
				return canMount(t), nil
			case "volume":
				return hasVolumes(t), nil
			case "shared":
				_, err := os.Stat(shared)
				return err == nil, nil
			}
			return false, fmt.Errorf("unknown condition %q", cond)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits": cmdExits, "start": cmdStart, "signal": cmdSignal, "says": cmdSays, "finish": cmdFinish, "emulator": cmdEmulator, "fault": cmdFault, "export": cmdExport,
			"stats": cmdStats, "struck": cmdStruck, "once": cmdOnce, "touch": cmdTouch, "json": cmdJSON, "await": cmdAwait, "project": cmdProject, "keep": cmdKeep,
			"unharmed": cmdUnharmed, "damage": cmdDamage, "shorten": cmdShorten, "replace": cmdReplace, "secret": cmdSecret, "tmpfs": cmdTmpfs,
			"volume": cmdVolume, "stageformat": cmdStageFormat, "stagehold": cmdStageHold,
		},
	})
}

// story is what one script has running and remembers.
type story struct {
	running map[string]*background
	kept    map[string][]byte // file contents by path
	stage   *duckstage.Stage  // held by the script

	emulator *os.Process // the newest
}

// storyKey is where a script keeps its story.
type storyKey struct{}

type background struct {
	cmd      *exec.Cmd
	out, err said
}

// said is what a process has said so far.
type said struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *said) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

// Bytes are a copy.
func (s *said) Bytes() []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	return bytes.Clone(s.b.Bytes())
}

func storyOf(ts *testscript.TestScript) *story { return ts.Value(storyKey{}).(*story) }

// need stops the script unless it has at least n arguments and stands without `!`.
func need(ts *testscript.TestScript, neg bool, args []string, n int, usage string) {
	if neg || len(args) < n {
		ts.Fatalf("usage: %s", usage)
	}
}

func cmdExits(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, neg, args, 2, "exits STATUS COMMAND ...")
	err := ts.Exec(args[1], args[2:]...)
	requireStatus(ts, err, args[0])
	for _, word := range []string{"panic:", "goroutine ", "runtime error", "<nil>", "%!"} {
		if strings.Contains(strings.ReplaceAll(ts.ReadFile("stderr"), "damaged: panic:", ""), word) {
			ts.Fatalf("the program's answer has %q", word)
		}
	}
}

func requireStatus(ts *testscript.TestScript, err error, want string) {
	got := 0
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		got = exit.ExitCode()
	} else if err != nil {
		ts.Fatalf("run: %v", err)
	}
	if strconv.Itoa(got) != want {
		ts.Fatalf("exit status %d, want %s", got, want)
	}
}

// process is a command in the script's folder and environment.
func process(ts *testscript.TestScript, args []string) *exec.Cmd {
	c := exec.Command(args[0], args[1:]...)
	c.Dir = ts.MkAbs(".")
	c.Env = os.Environ()
	for _, name := range []string{"DVMIGRATE_TARGET_URL", "DVMIGRATE_TOKEN", "HOME", "TMPDIR", "TZ"} {
		c.Env = append(c.Env, name+"="+ts.Getenv(name))
	}
	return c
}

func cmdStart(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, neg, args, 2, "start NAME COMMAND ...")
	b := &background{cmd: process(ts, args[1:])}
	b.cmd.Stdout, b.cmd.Stderr = &b.out, &b.err
	ts.Check(b.cmd.Start())
	storyOf(ts).running[args[0]] = b
	ts.Defer(func() {
		_ = b.cmd.Process.Kill() // ended long ago, mostly
		_ = b.cmd.Wait()
	})
}

// started is a command in the background.
func started(ts *testscript.TestScript, name string) *background {
	b := storyOf(ts).running[name]
	if b == nil {
		ts.Fatalf("nothing was started as %s", name)
	}
	return b
}

func cmdSignal(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, neg, args, 2, "signal NAME SIGNAL")
	p := started(ts, args[0]).cmd.Process
	switch args[1] {
	case "KILL":
		ts.Check(p.Kill())
	case "INT":
		ts.Check(p.Signal(os.Interrupt))
	case "INT2":
		ts.Check(p.Signal(os.Interrupt))
		ts.Check(p.Signal(syscall.SIGTERM)) // a second SIGINT might melt into the first
	default:
		ts.Fatalf("signal %s is not known", args[1])
	}
}

func cmdSays(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, neg, args, 2, "says NAME TEXT")
	b := started(ts, args[0])
	until(ts, func() error {
		if !bytes.Contains(b.err.Bytes(), []byte(args[1])) {
			return fmt.Errorf("%s says nothing of %q", args[0], args[1])
		}
		return nil
	})
}

func cmdFinish(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, neg, args, 2, "finish NAME STATUS [SIGNAL]")
	b := started(ts, args[0])
	if len(args) > 2 {
		cmdSignal(ts, false, []string{args[0], args[2]})
	}
	tooLong := time.AfterFunc(patience, func() { _ = b.cmd.Process.Kill() })
	err := b.cmd.Wait()
	if !tooLong.Stop() {
		ts.Fatalf("%s did not end in %v; it said\n%s%s", args[0], patience, b.out.Bytes(), b.err.Bytes())
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]+".out"), b.out.Bytes(), 0o600))
	ts.Check(os.WriteFile(ts.MkAbs(args[0]+".err"), b.err.Bytes(), 0o600))
	ts.Logf("[%s stdout]\n%s[%s stderr]\n%s", args[0], b.out.Bytes(), args[0], b.err.Bytes())
	requireStatus(ts, err, args[1])
}

func cmdEmulator(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, neg, args, 0, "emulator [FLAG ...] | kill")
	if len(args) == 1 && args[0] == "kill" {
		e := storyOf(ts).emulator
		ts.Check(e.Kill())
		_, err := e.Wait() // its port is free then
		ts.Check(err)
		return
	}
	c := process(ts, append([]string{"dvmigrate", "emulator", "--json", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"}, args...))
	out, err := c.StdoutPipe()
	ts.Check(err)
	ts.Check(c.Start())
	storyOf(ts).emulator = c.Process
	ts.Defer(func() {
		_ = c.Process.Kill() // ended already, perhaps
		_ = c.Wait()
	})
	line, err := bufio.NewReader(out).ReadBytes('\n')
	ts.Check(err)
	var where struct{ URL, Admin string }
	ts.Check(json.Unmarshal(line, &where))
	ts.Setenv("DVMIGRATE_TARGET_URL", where.URL)
	ts.Setenv("ADMIN", where.Admin)
	ts.Setenv("LISTEN", strings.TrimPrefix(where.URL, "http://"))
	admin(ts, http.MethodPost, "/reset", "") // what is there from the start does not count
}

// admin asks the emulator's admin endpoint.
func admin(ts *testscript.TestScript, method, path, body string) []byte {
	req, err := http.NewRequest(method, ts.Getenv("ADMIN")+path, strings.NewReader(body))
	ts.Check(err)
	res, err := http.DefaultClient.Do(req)
	ts.Check(err)
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	ts.Check(err)
	if res.StatusCode >= 300 {
		ts.Fatalf("%s %s: %s: %s", method, path, res.Status, b)
	}
	return b
}

func cmdFault(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, neg, args, 1, "fault RULE | none")
	if len(args) > 1 {
		ts.Fatalf("a rule with blanks goes in single quotes")
	}
	if args[0] == "none" {
		admin(ts, http.MethodDelete, "/faults", "")
		return
	}
	admin(ts, http.MethodPost, "/faults", args[0])
}

func cmdExport(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, neg, args, 2, "export TABLE FILE")
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), admin(ts, http.MethodGet, "/export?table="+args[0], ""), 0o600))
}

func cmdTouch(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, neg, args, 5, "touch TABLE SET COLUMN OLD NEW")
	for line := range bytes.Lines(admin(ts, http.MethodGet, "/export?table="+args[0], "")) {
		var row map[string]any
		ts.Check(json.Unmarshal(line, &row))
		if row[args[2]] != args[3] {
			continue
		}
		body, err := json.Marshal(map[string]string{args[2]: args[4]})
		ts.Check(err)
		req, err := http.NewRequest(http.MethodPatch, fmt.Sprintf("%s/api/data/v9.2/%s(%s)", ts.Getenv("DVMIGRATE_TARGET_URL"), args[1], row[args[0]+"id"]), bytes.NewReader(body))
		ts.Check(err)
		req.Header.Set("Authorization", "Bearer somebody else")
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("If-Match", "*")
		res, err := http.DefaultClient.Do(req)
		ts.Check(err)
		res.Body.Close()
		if res.StatusCode != http.StatusNoContent {
			ts.Fatalf("touch %v: %s", args, res.Status)
		}
		return
	}
	ts.Fatalf("no %s has %s = %s", args[0], args[2], args[3])
}

func cmdStats(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, neg, args, 2, "stats PATH VALUE")
	requireJSON(ts, admin(ts, http.MethodGet, "/stats", ""), args[0], args[1])
}

// cmdStruck waits until the faults that were ordered have struck so often: with kind=delay a request is
// held by the emulator then.
func cmdStruck(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, neg, args, 1, "struck NUMBER")
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	until(ts, func() error {
		var faults []struct{ Struck int }
		ts.Check(json.Unmarshal(admin(ts, http.MethodGet, "/faults", ""), &faults))
		struck := 0
		for _, f := range faults {
			struck += f.Struck
		}
		if struck < want {
			return fmt.Errorf("faults have struck %d times, want %d", struck, want)
		}
		return nil
	})
}

// patience is how long a story waits for what has to come. Nothing is judged by it but that it came: a slow
// machine may take its time.
const patience = 4 * time.Minute

// until asks again and again until there is no error, or patience is over.
func until(ts *testscript.TestScript, ask func() error) {
	var last error
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if last = ask(); last == nil {
			return
		}
	}
	ts.Fatalf("in vain: %v", last)
}

// cmdOnce compares the emulator with the ledger's status: as many rows of each table
// as are loaded, as many ever created, and every row with a key of its own.
func cmdOnce(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, neg, args, 0, "once")
	var stats struct {
		Rows, Links                  map[string]int
		Created, Associated, Deleted int64
	}
	ts.Check(json.Unmarshal(admin(ts, http.MethodGet, "/stats", ""), &stats))
	b, err := process(ts, []string{"dvmigrate", "sql", "--json", "-c",
		"SELECT table_name, count(*) FILTER (flag IN ('S', 'P') OR pass <> 'main') AS loaded FROM flags GROUP BY ALL"}).Output()
	ts.Check(err)
	var tables []struct {
		Name   string `json:"table_name"`
		Loaded int64
	}
	ts.Check(json.Unmarshal(b, &tables))
	rows, links := int64(stats.Rows["opportunityclose"]), int64(0) // of opportunities that were closed
	for _, t := range tables {
		switch t.Name {
		case "contactleads", "contoso_equipment_contact":
			links += t.Loaded
			continue
		}
		rows += t.Loaded
		if int64(stats.Rows[t.Name]) != t.Loaded {
			ts.Fatalf("%s: the target has %d rows, the ledger says %d", t.Name, stats.Rows[t.Name], t.Loaded)
		}
	}
	target := int64(0)
	for _, n := range stats.Links {
		target += int64(n)
	}
	if stats.Created != rows || target != links || stats.Associated != links || stats.Deleted != 0 {
		ts.Fatalf("created %d rows and %d links (%d there), deleted %d; the ledger says %d and %d", stats.Created, stats.Associated, target, stats.Deleted, rows, links)
	}
}

func status(ts *testscript.TestScript) ([]byte, error) {
	return process(ts, []string{"dvmigrate", "status", "--json"}).Output()
}

// cmdAwait asks whoever works on the project, and only while somebody does: to ask
// otherwise would open the project, and keep out who is about to.
func cmdAwait(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, neg, args, 2, "await PATH VALUE")
	last := errors.New("nobody works on the project")
	until(ts, func() error {
		conn, err := net.Dial("unix", ts.MkAbs(filepath.Join("work", "control.sock")))
		if err != nil {
			return last // it says more
		}
		conn.Close()
		b, err := status(ts)
		if err == nil {
			err = checkJSON(b, args[0], args[1])
		}
		last = err
		return err
	})
}

func cmdJSON(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, neg, args, 3, "json FILE PATH VALUE")
	requireJSON(ts, []byte(ts.ReadFile(args[0])), args[1], args[2])
}

func requireJSON(ts *testscript.TestScript, b []byte, path, want string) {
	if err := checkJSON(b, path, want); err != nil {
		ts.Fatalf("%v in\n%s", err, b[:min(len(b), 4000)])
	}
}

func checkJSON(b []byte, path, want string) error {
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return fmt.Errorf("not JSON: %w", err)
	}
	for step := range strings.SplitSeq(strings.TrimLeft(strings.ReplaceAll(path, "[", ".["), "."), ".") {
		switch in := v.(type) {
		case map[string]any:
			v = in[step]
			if step == "length" {
				v = len(in)
			}
		case []any:
			i, err := strconv.Atoi(strings.Trim(step, "[]"))
			switch {
			case step == "length":
				v = len(in)
			case err != nil || i < 0 || i >= len(in):
				return fmt.Errorf("%s: no element %s", path, step)
			default:
				v = in[i]
			}
		default:
			return fmt.Errorf("%s: nothing at %s", path, step)
		}
	}
	got := fmt.Sprint(v)
	if least, ok := strings.CutPrefix(want, ">"); ok {
		a, err1 := strconv.ParseFloat(got, 64)
		b, err2 := strconv.ParseFloat(least, 64)
		if err1 != nil || err2 != nil || a <= b {
			return fmt.Errorf("%s is %s, want %s", path, got, want)
		}
		return nil
	}
	if got != want {
		return fmt.Errorf("%s is %q, want %q", path, got, want)
	}
	return nil
}
