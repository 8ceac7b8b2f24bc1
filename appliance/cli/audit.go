package cli

import (
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"dvmigrate/appliance"
)

var auditEntry = entry{name: "audit", summary: "who changed what, when, and how it ended; proves that the list is whole",
	long: `Lists the newest commands that changed something, and verifies the whole trail: each entry carries
a hash over itself and all before it, so one that was changed, removed, inserted or moved is
found, and so is a cut end (exit status 1). Heads in the project's snapshots are compared too;
give others that were noted elsewhere with --expect. --export writes the whole trail, to .csv or as
one JSON object a line.`,
	make: func() command { return &auditCommand{} }}

type auditCommand struct {
	export string
	expect []string
	limit  int
}

func (c *auditCommand) AddFlags(f *pflag.FlagSet) {
	f.StringVar(&c.export, "export", "", "write the whole trail to this `FILE`; - for JSON lines on the terminal")
	f.StringSliceVar(&c.expect, "expect", nil, "a head that was noted earlier, as `NUMBER:HASH`: the trail must have it")
	f.IntVar(&c.limit, "limit", 20, "print at most so many commands, the newest; 0 for all")
}

func (c *auditCommand) Validate(args []string) error {
	for _, head := range c.expect {
		if err := appliance.CheckHead(head); err != nil {
			return fmt.Errorf("--expect: %w", err)
		}
	}
	if c.limit < 0 {
		return errors.New("--limit must not be negative")
	}
	return noArgs(args)
}

func (c *auditCommand) Run(ctx context.Context, env *Env) error {
	v, err := appliance.View(ctx, env.dir, env.options("audit"))
	if err != nil {
		return err
	}
	defer v.Close()
	page, trail, err := readTrail(ctx, env, v, c.expect)
	if err != nil {
		return err
	}
	if c.export != "" {
		if err := c.write(env, trail); err != nil {
			return err
		}
	}
	commands := foldTrail(trail)
	if c.limit > 0 && len(commands) > c.limit {
		commands = commands[len(commands)-c.limit:]
	}
	switch {
	case env.json && c.export != "-":
		err = env.printJSON(map[string]any{"version": 1, "head": page.Head, "entries": page.Proven, "whole": page.Fault == "", "fault": page.Fault, "commands": commands})
	case c.export == "":
		printTrail(env, commands, page)
	}
	if err == nil && page.Fault != "" {
		return &exitError{status: Failed, err: fmt.Errorf("%s\nwhat became of each record is not touched by that; find out who can write the ledger: `dvmigrate guide ledger`", page.Fault)}
	}
	return err
}

// readTrail reads and proves the whole trail.
func readTrail(ctx context.Context, env *Env, v appliance.Viewer, heads []string) (first appliance.AuditPage, trail []appliance.AuditEntry, err error) {
	for from := uint64(1); ; {
		page, err := v.Audit(ctx, appliance.AuditQuery{From: from})
		if err != nil {
			return first, nil, err
		}
		if len(page.Entries) == 0 {
			break
		}
		trail = append(trail, page.Entries...)
		from = trail[len(trail)-1].Seq + 1
	}
	noted, err := appliance.NotedHeads(ctx, env.dir, env.options("audit"), trail)
	if err != nil {
		return first, nil, err
	}
	first, err = v.Audit(ctx, appliance.AuditQuery{Prove: true, Heads: append(noted, heads...)})
	return first, trail, err
}

// auditedCommand is the begin and the end of a command in one.
type auditedCommand struct {
	Seq         uint64   `json:"seq"` // of its begin
	Time        string   `json:"time"`
	Command     string   `json:"command"`
	Args        []string `json:"args"`
	User        string   `json:"user"`
	Host        string   `json:"host"`
	PID         int      `json:"pid"`
	Program     string   `json:"program"` // version
	Fingerprint string   `json:"fingerprint"`
	Result      string   `json:"result"` // empty: it goes on, or was killed
	Failed      bool     `json:"failed"`
	Seconds     float64  `json:"seconds"`
	Hash        string   `json:"hash"` // of the last of its entries
	at          time.Time
}

// foldTrail joins begins and ends.
func foldTrail(trail []appliance.AuditEntry) []auditedCommand {
	out, at := []auditedCommand{}, map[uint64]int{}
	for _, e := range trail {
		if i, ok := at[e.Of]; ok && e.Event == appliance.AuditEnd {
			c := &out[i]
			c.Result, c.Failed, c.Seconds, c.Hash = e.Result, e.Failed, e.Duration.Seconds(), e.Hash
			continue
		}
		at[e.Seq] = len(out)
		args := e.Args
		if args == nil {
			args = []string{}
		}
		out = append(out, auditedCommand{Seq: e.Seq, Time: e.Time.Format(time.RFC3339), Command: e.Command, Args: args, User: e.User, Host: e.Host, PID: e.PID,
			Program: e.Version, Fingerprint: e.Fingerprint, Result: e.Result, Failed: e.Failed, Seconds: e.Duration.Seconds(), Hash: e.Hash, at: e.Time})
	}
	return out
}

func printTrail(env *Env, commands []auditedCommand, page appliance.AuditPage) {
	var rows [][]string
	for _, c := range commands {
		result, took := c.Result, duration(c.Seconds)
		if result == "" {
			result, took = "no end noted: it goes on, or was killed", ""
		}
		result, _, _ = strings.Cut(result, "\n")
		rows = append(rows, []string{strconv.FormatUint(c.Seq, 10), auditTime(c.at), c.User, c.Host, "dvmigrate " + strings.Join(c.Args, " "), took, shortHash(c.Fingerprint), result})
	}
	if len(rows) > 0 {
		printTable(env.Stdout, []column{right("entry"), left("begun"), left("user"), left("host"), left("command"), right("took"), left("project"), left("result")}, rows)
	}
	if page.Fault == "" {
		env.say("%s entries, each in its place and as it was recorded; head %s", count(int64(page.Proven)), page.Head)
	}
}

// write exports the trail.
func (c *auditCommand) write(env *Env, trail []appliance.AuditEntry) (err error) {
	out := env.Stdout
	if c.export != "-" {
		f, err := os.OpenFile(c.export, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
		if err != nil {
			return err
		}
		defer func() {
			if err = errors.Join(err, f.Close()); err == nil {
				env.say("wrote %s entries to %s", count(len(trail)), c.export)
			}
		}()
		out = f
	}
	if strings.EqualFold(filepath.Ext(c.export), ".csv") {
		return writeTrailCSV(out, trail)
	}
	for _, e := range trail {
		line, err := marshal(e)
		if err != nil {
			return err
		}
		if _, err := fmt.Fprintln(out, line); err != nil {
			return err
		}
	}
	return nil
}

func writeTrailCSV(out io.Writer, trail []appliance.AuditEntry) error {
	w := csv.NewWriter(out)
	rows := [][]string{{"seq", "time", "event", "of", "command", "args", "user", "host", "pid", "version", "fingerprint", "result", "failed", "seconds", "hash"}}
	for _, e := range trail {
		rows = append(rows, []string{strconv.FormatUint(e.Seq, 10), e.Time.Format(time.RFC3339Nano), e.Event, strconv.FormatUint(e.Of, 10), e.Command, strings.Join(e.Args, " "),
			e.User, e.Host, strconv.Itoa(e.PID), e.Version, e.Fingerprint, e.Result, strconv.FormatBool(e.Failed), strconv.FormatFloat(e.Duration.Seconds(), 'f', 3, 64), e.Hash})
	}
	return w.WriteAll(rows)
}
