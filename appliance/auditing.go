package appliance

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/url"
	"os"
	osuser "os/user"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"dvmigrate/ledger"
)

// The audit trail: every command that changes something of the project or of the target is noted in the
// ledger when it begins and when it ends. A begin without an end was killed.

// record notes that a command begins; end notes how it ended, with some words on what it did. Where it
// cannot be noted, the command is not to go on: what nobody could trace must not happen.
func (p *Project) record(ctx context.Context, command string, args []string) (end func(err error, did string), err error) {
	began := time.Now()
	e := p.auditEntry(command, args)
	begun, err := p.ledger.Record(ctx, e)
	if err != nil {
		return nil, p.explainTarget(fmt.Errorf("note in the audit trail that %s begins: %w", command, err))
	}
	p.o.Log.Info("begin", "command", command, "args", e.Args, "version", p.o.Version, "pid", e.PID, "user", e.User, "audit", begun.Seq)
	return func(err error, did string) {
		e.Event, e.Of, e.Duration, e.Time = ledger.AuditEnd, begun.Seq, time.Since(began), time.Time{}
		e.Args, e.Fingerprint = nil, p.fingerprint()
		e.Result, e.Failed = auditResult(err, did)
		e.Result = p.withoutSecrets(e.Result)
		level := slog.LevelInfo
		if e.Failed {
			level = slog.LevelError
		}
		p.o.Log.Log(context.WithoutCancel(ctx), level, "end", "command", command, "result", e.Result, "seconds", e.Duration.Seconds())
		if _, err := p.ledger.Record(context.WithoutCancel(ctx), e); err != nil {
			p.o.Log.Warn("the audit trail lacks the end of a command", "command", command, "error", err)
		}
	}, nil
}

// maxResult is how much of a message the audit trail keeps.
const maxResult = 300

// auditResult is how a command ended, in words.
func auditResult(err error, did string) (result string, failed bool) {
	switch {
	case err == nil:
		return strings.TrimSuffix("done: "+did, ": "), false
	case errors.Is(err, ErrDrained), errors.Is(err, context.Canceled):
		return strings.TrimSuffix("stopped on request: "+did, ": "), false
	}
	text := err.Error()
	if len(text) > maxResult {
		text = strings.ToValidUTF8(text[:maxResult], "") + "..."
	}
	return text, true
}

// auditEntry is an entry about this process.
func (p *Project) auditEntry(command string, args []string) ledger.AuditEntry {
	e := ledger.AuditEntry{Event: ledger.AuditBegin, Command: command, PID: os.Getpid(), Version: p.o.Version, Fingerprint: p.fingerprint()}
	e.Host, _ = os.Hostname() // empty where the machine has no name
	e.User = userName(p.o.Env)
	for _, arg := range args {
		e.Args = append(e.Args, p.withoutSecrets(arg))
	}
	return e
}

// userName is the user of the machine; who became root by sudo is named too.
func userName(env func(string) (string, bool)) string {
	name := ""
	if u, err := osuser.Current(); err == nil {
		name = u.Username
	}
	if env == nil {
		return name
	}
	if name == "" {
		name, _ = env("USER")
	}
	if by, ok := env("SUDO_USER"); ok && by != name {
		name += " (by " + by + ")"
	}
	return name
}

// withoutSecrets hides the project's secrets, and passwords in addresses, wherever they stand in a text.
func (p *Project) withoutSecrets(text string) string {
	text = scrubbed(text, p.Config.Secrets())
	flag, value, isFlag := strings.Cut(text, "=")
	if !isFlag {
		flag, value = "", text
	} else {
		flag += "="
	}
	if u, err := url.Parse(value); err == nil && u.User != nil {
		u.User = url.User(hidden)
		return flag + strings.Replace(u.String(), url.PathEscape(hidden), hidden, 1)
	}
	return text
}

// fingerprint is a hash over settings, transforms, maps and schema as they are in the project now; empty where
// one cannot be read.
func (p *Project) fingerprint() string {
	c := p.Config
	files := []string{filepath.Join(c.Dir, "migration.yaml"), c.Path(c.Schema)}
	transforms, err := filepath.Glob(filepath.Join(c.Path(c.Transforms), "*.sql"))
	if err != nil {
		return ""
	}
	maps, err := filepath.Glob(filepath.Join(c.Dir, mapsFolder, "*.*"))
	if err != nil {
		return ""
	}
	slices.Sort(transforms)
	slices.Sort(maps)
	all := sha256.New()
	for _, path := range slices.Concat(files, transforms, maps) {
		one := sha256.New()
		f, err := os.Open(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue // no schema was pulled yet
		}
		if err != nil {
			return ""
		}
		_, err = io.Copy(one, f)
		f.Close()
		if err != nil {
			return ""
		}
		fmt.Fprintf(all, "%s %x\n", filepath.Base(path), one.Sum(nil))
	}
	return hex.EncodeToString(all.Sum(nil))
}

// Happened is a command that is over and was not part of a Project's life, such as one that works on
// the settings' files alone.
type Happened struct {
	Command string        `json:"command"`
	Args    []string      `json:"args"`
	Result  string        `json:"result"`
	Failed  bool          `json:"failed"`
	Took    time.Duration `json:"took"`
}

// NewHappened is a command that began at that time and ended now.
func NewHappened(command string, args []string, began time.Time, err error, did string) Happened {
	h := Happened{Command: command, Args: args, Took: time.Since(began)}
	h.Result, h.Failed = auditResult(err, did)
	return h
}

// Note notes in the audit trail what happened: through the process that works on the project, or by
// opening its ledger for a moment. Before the first staging there is no ledger, and nothing is noted.
func Note(ctx context.Context, dir string, o Options, h Happened) error {
	if r := attach(dir, o); r != nil {
		defer r.Close()
		return r.ask(ctx, "note", h, new(uint64))
	}
	p, err := Open(ctx, dir, NoSchema, o)
	if err != nil {
		return err
	}
	if !exists(p.ledgerPath()) {
		return nil
	}
	if err := p.identify(Loading); err != nil {
		return err
	}
	p.ledger, err = ledger.Open(ctx, p.ledgerPath(), ledger.Options{Set: p.set, Logger: p.o.Log})
	if errors.Is(err, ledger.ErrLocked) {
		return p.inUse()
	}
	if err != nil {
		return p.explainLedger(err)
	}
	_, err = p.note(ctx, h)
	return errors.Join(err, p.Close())
}

// note is Note for a project that is open.
func (p *Project) note(ctx context.Context, h Happened) (uint64, error) {
	e := p.auditEntry(h.Command, h.Args)
	e.Time = time.Now().Add(-h.Took)
	begun, err := p.ledger.Record(ctx, e)
	if err != nil {
		return 0, err
	}
	e.Event, e.Of, e.Duration, e.Time, e.Args = ledger.AuditEnd, begun.Seq, h.Took, time.Time{}, nil
	e.Result, e.Failed = p.withoutSecrets(h.Result), h.Failed
	end, err := p.ledger.Record(ctx, e)
	return end.Seq, err
}

// AuditEntry is one entry of the audit trail.
type AuditEntry = ledger.AuditEntry

// AuditEnd is the event of an entry that says how a command ended.
const AuditEnd = ledger.AuditEnd

// CheckHead refuses what is not the head of an audit trail, as AuditPage.Head is written.
func CheckHead(text string) error {
	_, err := ledger.ParseAuditHead(text)
	return err
}

// AuditQuery asks for a part of the audit trail.
type AuditQuery struct {
	From  uint64   `json:"from"`  // number of the first entry; 0 = from the first
	Prove bool     `json:"prove"` // verify the whole chain
	Heads []string `json:"heads"` // heads that were noted, which the chain must have
}

// AuditPage is a part of the audit trail, and whether all of it is what was recorded.
type AuditPage struct {
	Entries []ledger.AuditEntry `json:"entries"` // at most 1,000; ask on from the last + 1
	Head    string              `json:"head"`    // number and hash of the newest entry
	Proven  uint64              `json:"proven"`  // entries that are in order
	Fault   string              `json:"fault,omitempty"`
}

// Audit implements Viewer.
func (p *Project) Audit(_ context.Context, q AuditQuery) (AuditPage, error) {
	page := AuditPage{Entries: []ledger.AuditEntry{}, Head: p.ledger.AuditHead().String()}
	if q.Prove {
		heads := make([]ledger.AuditHead, len(q.Heads))
		for i, text := range q.Heads {
			var err error
			if heads[i], err = ledger.ParseAuditHead(text); err != nil {
				return page, err
			}
		}
		var err error
		page.Proven, err = p.ledger.VerifyAudit(heads...)
		var chain *ledger.ChainError
		switch {
		case errors.As(err, &chain):
			page.Fault = chain.Error()
		case err != nil:
			return page, err
		}
	}
	list, err := p.ledger.Audit(q.From, 1000)
	page.Entries = append(page.Entries, list...)
	var chain *ledger.ChainError
	if errors.Is(err, ledger.ErrDamaged) { // what cannot be read is named as what it is
		if _, proof := p.ledger.VerifyAudit(); errors.As(proof, &chain) {
			page.Fault, err = chain.Error(), nil
		}
	}
	return page, err
}

// NotedHeads are the heads of the audit trail that the project's snapshots have, which the trail must
// have too. After a restore the trail goes on from the snapshot, so those taken between it and the
// restore do not count.
func NotedHeads(ctx context.Context, dir string, o Options, trail []ledger.AuditEntry) ([]string, error) {
	p, err := Open(ctx, dir, NoSchema, o)
	if err != nil {
		return nil, err
	}
	folder := p.Config.Path(p.Config.Snapshots.To)
	if !exists(folder) {
		return nil, nil
	}
	list, err := Snapshots(ctx, folder, p.Config, KeySource{}, o)
	if err != nil {
		return nil, err
	}
	var restored time.Time
	for _, e := range trail {
		if e.Command == "restore" && e.Event == ledger.AuditEnd {
			restored = e.Time
		}
	}
	var heads []string
	for _, s := range list {
		if s.Audit != "" && s.Project == p.Config.Name && s.Time.After(restored) {
			heads = append(heads, s.Audit)
		}
	}
	return heads, nil
}
