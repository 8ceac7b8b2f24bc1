package appliance

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"dvmigrate/ledger"
)

// SignOff is somebody's word that a report was accepted, as the audit trail has it.
type SignOff struct {
	Name   string    `json:"name"`
	Time   time.Time `json:"time"`
	Digest string    `json:"digest"` // of the report that was signed
	Same   bool      `json:"same"`   // the figures are still those
	Entry  uint64    `json:"entry"`  // its number in the audit trail
	User   string    `json:"user"`   // of the machine it was given at
	Host   string    `json:"host"`
}

// signCommand is what the audit trail calls a sign-off.
const signCommand = "report --sign"

// maxSigner is the longest name that signs, in characters.
const maxSigner = 120

// CheckSigner refuses what is no name.
func CheckSigner(name string) error {
	switch {
	case strings.TrimSpace(name) == "":
		return errors.New("--sign takes the name of who accepts the report")
	case utf8.RuneCountInString(name) > maxSigner, strings.ContainsFunc(name, unicode.IsControl), !utf8.ValidString(name):
		return fmt.Errorf("--sign takes a name of at most %d characters on one line", maxSigner)
	}
	return nil
}

// Sign notes in the audit trail that name accepts the report, and returns it with that. A
// load that is running is an error: its figures are not those of the end.
func Sign(ctx context.Context, dir string, o Options, name string) (r Report, err error) {
	v, err := View(ctx, dir, o)
	if err != nil {
		return r, err
	}
	r, err = v.Report(ctx)
	if err = errors.Join(err, v.Close()); err != nil {
		return r, err
	}
	if r.Running != nil {
		return r, fmt.Errorf("`dvmigrate %s` is running (process %d), so the figures still change; sign when it is over", r.Running.Command, r.Running.PID)
	}
	did := signedWords(name, r.Digest)
	if err := Note(ctx, dir, o, NewHappened(signCommand, o.Args, time.Now(), nil, did)); err != nil {
		return r, err
	}
	if v, err = View(ctx, dir, o); err != nil {
		return r, err
	}
	again, err := v.Report(ctx)
	return again, errors.Join(err, v.Close())
}

// signedWords is what the audit trail says of a sign-off.
func signedWords(name, digest string) string {
	return "signed by " + strconv.Quote(name) + ", report " + digest
}

// signOff reads a sign-off from the audit trail; false for anything else.
func signOff(e ledger.AuditEntry) (SignOff, bool) {
	rest, ok := strings.CutPrefix(e.Result, "done: signed by ")
	if e.Command != signCommand || e.Event != AuditEnd || !ok {
		return SignOff{}, false
	}
	quoted, err := strconv.QuotedPrefix(rest)
	if err != nil {
		return SignOff{}, false
	}
	name, err := strconv.Unquote(quoted)
	if err != nil {
		return SignOff{}, false
	}
	return SignOff{Name: name, Time: e.Time, Digest: strings.TrimPrefix(rest[len(quoted):], ", report "), Entry: e.Seq, User: e.User, Host: e.Host}, true
}

// digest is a hash over what is signed: the figures and the target, but not what every
// later look adds, such as the trail's head and the time.
func (r *Report) digest() string {
	type generation struct {
		GenerationStatus
		Tables     []GenerationTable
		Steps      []ReportStep
		Runs       []ReportRun
		Reconciled string
	}
	part := struct {
		Project, Target, Organization string
		Summary                       Counts
		Tables                        []TableStatus
		Generations                   []generation
		Failures                      []FailureCount
		Repairs                       []RepairCount
		Rejected                      int64
	}{r.Project, r.Target, r.Organization, r.Summary, r.Tables, nil, r.Failures, r.Repairs, r.Rejected}
	for _, g := range r.Generations {
		compared := ""
		if g.Reconciled != nil {
			compared = g.Reconciled.Result
		}
		part.Generations = append(part.Generations, generation{g.GenerationStatus, g.Tables, g.Steps, g.Runs, compared})
	}
	b, err := json.Marshal(part)
	if err != nil {
		panic(err) // it is numbers and texts only
	}
	sum := sha256.Sum256(b)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// reportTrail adds what the audit trail knows: snapshots, comparisons, what was done about
// failures, who worked with which version, and the sign-offs.
func (p *Project) reportTrail(r *Report) error {
	people, versions := map[[2]string]*Person{}, map[string]*VersionSpan{}
	for from := uint64(0); ; {
		list, err := p.ledger.Audit(from, 1000)
		if err != nil {
			return fmt.Errorf("read the audit trail: %w", err)
		}
		for _, e := range list {
			if s, ok := signOff(e); ok {
				r.Signed = append(r.Signed, s)
			}
			if e.Event == AuditEnd && e.Command != signCommand {
				r.reported(e)
			}
			if e.Event == AuditEnd {
				continue
			}
			who := people[[2]string{e.User, e.Host}]
			if who == nil {
				who = &Person{User: e.User, Host: e.Host, First: e.Time}
				people[[2]string{e.User, e.Host}] = who
			}
			who.Commands, who.Last = who.Commands+1, e.Time
			v := versions[e.Version]
			if v == nil {
				v = &VersionSpan{Version: e.Version, First: e.Time}
				versions[e.Version] = v
			}
			v.Last = e.Time
		}
		if len(list) == 0 {
			break
		}
		from = list[len(list)-1].Seq + 1
	}
	for _, who := range people {
		r.People = append(r.People, *who)
	}
	slices.SortFunc(r.People, func(a, b Person) int { return a.First.Compare(b.First) })
	for _, v := range versions {
		r.Versions = append(r.Versions, *v)
	}
	slices.SortFunc(r.Versions, func(a, b VersionSpan) int { return cmp.Or(a.First.Compare(b.First), cmp.Compare(a.Version, b.Version)) })
	return nil
}

// reported adds a command that ended to the generation that was at work.
func (r *Report) reported(e ledger.AuditEntry) {
	g := r.generationAt(e.Time)
	if g == nil {
		return
	}
	c := ReportedCommand{Entry: e.Seq, Time: e.Time, Command: e.Command, Result: strings.TrimPrefix(e.Result, "done: "), Failed: e.Failed, User: e.User, Host: e.Host}
	switch {
	case e.Command == "snapshot" && !e.Failed:
		g.Snapshots = append(g.Snapshots, c)
	case e.Command == "reconcile":
		g.Reconciled = &c
	case e.Command == "retry", e.Command == "rollback", e.Command == "options plan", e.Command == "users plan":
		g.Mended = append(g.Mended, c)
	}
}
