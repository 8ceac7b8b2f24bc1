package cli

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"dvmigrate/appliance"
	"dvmigrate/appliance/dataverse/emulator"
	"dvmigrate/appliance/sample"
)

var demoEntry = entry{name: "demo", summary: "the whole way in a minute: stage, load, kill, resume, lose the disk, restore, prove",
	long: `Everything happens in a temporary folder, with the commands that you would type, against the
emulator on this machine: no network. The emulator is told to lose answers and to throttle.`,
	make: func() command { return &demoCommand{} }}

type demoCommand struct {
	records int
	keep    bool
}

const demoFaults = 24 // rows made wrong on purpose

func (c *demoCommand) AddFlags(f *pflag.FlagSet) {
	f.IntVar(&c.records, "records", 20_000, "records of the sample")
	f.BoolVar(&c.keep, "keep", false, "keep the folder, and say where it is")
}

func (c *demoCommand) Validate(args []string) error {
	if c.records < 5000 || c.records > 200_000 {
		return errors.New("--records is from 5000 to 200000, so that there is time to kill the load")
	}
	return noArgs(args)
}

// demoLimit is how long the demo may take; it needs a small part of it.
const demoLimit = 5 * time.Minute

func (c *demoCommand) Run(ctx context.Context, env *Env) error {
	ctx, cancel := context.WithTimeout(ctx, demoLimit)
	defer cancel()
	d, err := newDemo(ctx, env, c.records)
	if err != nil {
		return err
	}
	defer d.end(c.keep)
	for _, step := range []struct {
		title string
		do    func(context.Context) error
	}{
		{"a sample CRM's extract, with rows made wrong on purpose", d.sample},
		{"check settings, schema and SQL; stage; estimate", d.prepare},
		{"a Dataverse on this machine, which loses answers and throttles", d.startEmulator},
		{"load, and kill -9 the loader half-way", d.killHalfWay},
		{"load again: it looks up what was in flight and goes on; then the disk is lost", d.loseDisk},
		{"restore the snapshot, which is older than the target, and load on", d.restore},
		{"compare the target with what was staged", d.reconcile},
	} {
		d.say("\n%s", step.title)
		if err := step.do(ctx); err != nil {
			return fmt.Errorf("demo: %w", err)
		}
	}
	return d.prove()
}

// demo is one run of the demo. Each command is a process of its own, as if typed.
type demo struct {
	env     *Env
	self    string // this program
	dir     string // temporary; holds all else
	project string
	records int
	begin   time.Time

	server     *exec.Cmd
	url, admin string

	written   sample.Summary
	kills     int
	inFlight  int64 // records in flight when the loader was killed
	ahead     int64 // records that the target had and the snapshot did not know
	compared  reconcileReport
	last      appliance.Status
	emulation emulator.Stats
}

// reconcileReport is what the demo reads of reconcile's answer.
type reconcileReport struct {
	Summary struct {
		Source, Target, Missing, Extra, Different, Duplicates int64
	} `json:"summary"`
}

func newDemo(ctx context.Context, env *Env, records int) (*demo, error) {
	self, err := program()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "dvmigrate-demo-")
	if err != nil {
		return nil, fmt.Errorf("make a folder for the demo: %w; TMPDIR names where it goes", err)
	}
	return &demo{env: env, self: self, dir: dir, project: filepath.Join(dir, "crm"), records: records, begin: time.Now()}, nil
}

// program is the path of this program, also where there is no /proc to tell it.
func program() (string, error) {
	if self, err := os.Executable(); err == nil {
		return self, nil
	}
	self, err := exec.LookPath(os.Args[0])
	if err != nil {
		return "", fmt.Errorf("find this program's own file: %w", err)
	}
	return filepath.Abs(self)
}

func (d *demo) say(format string, args ...any) { fmt.Fprintf(d.env.Stdout, format+"\n", args...) }

// end stops what still runs and removes the folder.
func (d *demo) end(keep bool) {
	if d.server != nil {
		_ = d.server.Process.Kill()
		_ = d.server.Wait()
	}
	if keep {
		d.say("kept: %s", d.dir)
		return
	}
	_ = os.RemoveAll(d.dir)
}

func (d *demo) snapshots() string { return filepath.Join(d.dir, "snapshots") }

// command is one dvmigrate process on the project.
func (d *demo) command(ctx context.Context, args ...string) *exec.Cmd {
	d.say("  $ dvmigrate %s", strings.ReplaceAll(strings.Join(args, " "), d.dir+string(filepath.Separator), ""))
	c := exec.CommandContext(ctx, d.self, append(args, "-C", d.project)...)
	c.Stdin = strings.NewReader("") // not /dev/null, which a chroot may lack
	c.Env = append(os.Environ(), "DVMIGRATE_TARGET_URL="+d.url, "DVMIGRATE_TOKEN=")
	return c
}

// run runs one command to its end. Rows set aside are expected.
func (d *demo) run(ctx context.Context, args ...string) ([]byte, error) {
	c := d.command(ctx, args...)
	var out, errs bytes.Buffer
	c.Stdout, c.Stderr = &out, &errs
	err := c.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() == Rejects {
		err = nil
	}
	if err != nil {
		return nil, fmt.Errorf("dvmigrate %s: %w\n%s%s", args[0], err, out.String(), errs.String())
	}
	return out.Bytes(), nil
}

// show runs a command and prints the last lines of its answer.
func (d *demo) show(ctx context.Context, lines int, args ...string) error {
	out, err := d.run(ctx, args...)
	if err != nil {
		return err
	}
	all := strings.Split(strings.TrimSpace(string(out)), "\n")
	for _, line := range all[max(0, len(all)-lines):] {
		d.say("    %s", line)
	}
	return nil
}

func (d *demo) sample(context.Context) error {
	s, err := sample.Write(d.project, sample.Options{Records: d.records, Faults: demoFaults, Seed: 1})
	d.written = s
	d.say("  $ dvmigrate init --sample crm --records %d --faults %d", d.records, demoFaults)
	d.say("    %s rows in %d files for %d tables", count(s.Records), len(s.Sources), len(s.Tables))
	return err
}

func (d *demo) prepare(ctx context.Context) error {
	if err := d.show(ctx, 1, "check"); err != nil {
		return err
	}
	if err := d.show(ctx, 2, "stage"); err != nil {
		return err
	}
	return d.show(ctx, 3, "estimate")
}

func (d *demo) startEmulator(ctx context.Context) error {
	c := d.command(ctx, "emulator", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--json", "--latency", "20ms", "--cost-record", "400us",
		"--fault", "kind=reset-after,message=CreateMultiple,every=20", "--fault", "kind=429-requests,message=CreateMultiple,every=45,retry-after=1")
	out, err := c.StdoutPipe()
	if err != nil {
		return err
	}
	c.Stderr = d.env.Stderr
	if err := c.Start(); err != nil {
		return err
	}
	d.server = c
	var where struct{ URL, Admin string }
	if err := json.NewDecoder(bufio.NewReader(out)).Decode(&where); err != nil {
		return fmt.Errorf("start the emulator: %w", err)
	}
	d.url, d.admin = where.URL, where.Admin
	d.say("    it listens on %s", d.url)
	return nil
}

// loadUntil starts a load and kills it when the share of records is processed.
func (d *demo) loadUntil(ctx context.Context, share float64, args ...string) error {
	c := d.command(ctx, append([]string{"load", "--json"}, args...)...)
	c.Stdout, c.Stderr = io.Discard, io.Discard
	if err := c.Start(); err != nil {
		return err
	}
	ended := make(chan struct{})
	go func() {
		_ = c.Wait()
		close(ended)
	}()
	for {
		select {
		case <-ended:
			return fmt.Errorf("the load ended before it could be killed (%s)", c.ProcessState)
		case <-ctx.Done():
			<-ended
			return ctx.Err()
		case <-time.After(50 * time.Millisecond):
		}
		s, err := d.status(ctx)
		if err != nil {
			continue // it is just starting
		}
		// What counts is that records are in flight in the middle of the load.
		if done := s.Summary.Source - s.Summary.Unprocessed; s.Running != nil && s.Summary.InFlight > 0 && float64(done) >= share*float64(s.Summary.Source) {
			_ = c.Process.Kill()
			<-ended
			d.kills++
			return d.killed(ctx)
		}
	}
}

// killed notes how the killed load left things.
func (d *demo) killed(ctx context.Context) error {
	s, err := d.status(ctx)
	if err != nil {
		return err
	}
	d.last = s
	d.inFlight += s.Summary.InFlight
	d.say("    kill -9: %s of %s records are in the target, %s were in flight", count(s.Summary.Processed+s.Summary.Success), count(s.Summary.Source), count(s.Summary.InFlight))
	return nil
}

func (d *demo) status(ctx context.Context) (appliance.Status, error) {
	v, err := appliance.View(ctx, d.project, d.env.options("demo"))
	if err != nil {
		return appliance.Status{}, err
	}
	defer v.Close()
	return v.Status(ctx)
}

func (d *demo) killHalfWay(ctx context.Context) error {
	return d.loadUntil(ctx, 0.4, "--snapshot-every", "1s", "--snapshot-to", d.snapshots())
}

func (d *demo) loseDisk(ctx context.Context) error {
	if _, err := d.run(ctx, "snapshot", "--to", d.snapshots()); err != nil {
		return err
	}
	before := d.last.Summary.Processed + d.last.Summary.Success
	if err := d.loadUntil(ctx, 0.7, "--snapshot-every", "-1s"); err != nil {
		return err
	}
	d.ahead = d.last.Summary.Processed + d.last.Summary.Success - before
	d.say("  $ rm -rf crm")
	return os.RemoveAll(d.project)
}

func (d *demo) restore(ctx context.Context) error {
	restored := filepath.Join(d.dir, "restored")
	d.project = d.dir // of no matter to restore
	if err := d.show(ctx, 2, "restore", "--from", d.snapshots(), restored); err != nil {
		return err
	}
	d.project = restored
	d.say("    the target is ahead of it by %s records", count(d.ahead))
	return d.show(ctx, 2, "load")
}

func (d *demo) reconcile(ctx context.Context) error {
	out, err := d.run(ctx, "reconcile", "--json")
	if err != nil {
		return err
	}
	if err := json.Unmarshal(out, &d.compared); err != nil {
		return err
	}
	if d.last, err = d.status(ctx); err != nil {
		return err
	}
	res, err := http.Get(d.admin + "/stats")
	if err != nil {
		return err
	}
	defer res.Body.Close()
	return json.NewDecoder(res.Body).Decode(&d.emulation)
}

// prove prints the table of what was shown, and fails when something was not.
func (d *demo) prove() error {
	s, c := d.last.Summary, d.compared.Summary
	aside := s.Error + s.Held
	lost := s.Source - c.Target - aside
	throttled := int64(0)
	for kind, n := range d.emulation.Faults {
		if strings.HasPrefix(string(kind), "429") {
			throttled += n
		}
	}
	if d.env.json {
		if err := d.env.printJSON(map[string]any{"version": 1, "source": s.Source, "target": c.Target, "setAside": aside, "duplicates": c.Duplicates,
			"lost": lost, "different": c.Different, "kills": d.kills, "seconds": time.Since(d.begin).Seconds()}); err != nil {
			return err
		}
	} else {
		d.say("\nwhat was proved")
		printTable(d.env.Stdout, []column{left("  what"), right("records"), left("how")}, [][]string{
			{"  rows in the source", count(s.Source), "staged from files; bad lines set aside with their number"},
			{"  rows in the target", count(c.Target), "read back from the emulator and compared column by column"},
			{"  set aside", count(aside), "made wrong on purpose; each with its reason, none sent twice"},
			{"  lost", count(lost), "source = target + set aside"},
			{"  duplicates", count(c.Duplicates), ""},
			{"  different", count(c.Different), ""},
			{"  in flight when killed", count(s.InFlight + d.inFlight), fmt.Sprintf("%d times kill -9; looked up in the target, not sent blindly", d.kills)},
			{"  target ahead of the snapshot", count(d.ahead), "after the disk was lost; found there, not loaded twice"},
			{"  answers lost", count(d.emulation.Faults[emulator.FaultResetAfter]), "requests applied whose answer never came; settled by reading back"},
			{"  throttled", count(throttled), "answers 429; waited as asked, no record failed for it"},
		})
	}
	if lost != 0 || c.Duplicates != 0 || c.Different != 0 || c.Missing != 0 || c.Extra != 0 || s.Unprocessed+s.InFlight+s.Success != 0 {
		return fmt.Errorf("demo: something was not as it should be: missing %d, extra %d, different %d, duplicates %d, lost %d, unfinished %d",
			c.Missing, c.Extra, c.Different, c.Duplicates, lost, s.Unprocessed+s.InFlight+s.Success)
	}
	d.say("\nall of it in %s. Where to look next:", duration(time.Since(d.begin).Seconds()))
	d.say("  dvmigrate init --sample my-crm    the same project, to play with")
	d.say("  dvmigrate guide start             the first ten minutes")
	return nil
}
