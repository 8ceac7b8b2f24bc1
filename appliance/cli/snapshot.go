package cli

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/pflag"
	"golang.org/x/term"

	"dvmigrate/appliance"
	"dvmigrate/appliance/config"
	"dvmigrate/appliance/progress"
)

var snapshotEntry = entry{name: "snapshot", args: "[verify [ID] | keygen FILE]", summary: "copy ledger, stage and settings, compressed and verified; also while a load runs",
	long: `Without an argument it takes one. verify reads one back (the newest, or ID) and compares every
byte with what was written; --sample 20 reads one chunk in twenty. keygen makes a key pair: the
secret key goes into FILE, which you keep away from the snapshots, and its public key into
snapshots.encrypt.recipients. A copy goes to S3 or Azure with --to s3://BUCKET/PREFIX or
azblob://ACCOUNT/CONTAINER/PREFIX; their keys come from the environment: dvmigrate guide snapshots.`,
	make: func() command { return &snapshotCommand{} }}

type snapshotCommand struct {
	to     []string
	from   string
	keys   keyFlags
	sample int
	what   string // "", verify or keygen
	arg    string
}

func (c *snapshotCommand) AddFlags(f *pflag.FlagSet) {
	f.StringArrayVar(&c.to, "to", nil, "folder of the snapshots (default: as migration.yaml says); given again, or s3://BUCKET/PREFIX, azblob://ACCOUNT/CONTAINER/PREFIX: a place that gets a copy")
	f.StringVar(&c.from, "from", "", "verify: folder of the snapshots, or s3://..., azblob://... (default: as migration.yaml says)")
	f.IntVar(&c.sample, "sample", 1, "verify: read one chunk in so many, chosen at random")
	c.keys.add(f)
}

func (c *snapshotCommand) Validate(args []string) error {
	if len(args) == 0 {
		if c.from != "" || c.sample != 1 {
			return errors.New("--from and --sample are for `snapshot verify`")
		}
		return nil
	}
	c.what = args[0]
	switch {
	case c.what != "verify" && c.what != "keygen":
		return fmt.Errorf("%q is neither verify nor keygen", c.what)
	case c.what == "keygen" && len(args) != 2:
		return errors.New("say which new file gets the secret key: snapshot keygen FILE")
	case len(args) > 2:
		return fmt.Errorf("takes one argument, got %q", strings.Join(args[1:], " "))
	case c.sample < 1:
		return errors.New("--sample must be 1 or more")
	case len(c.to) > 0:
		return errors.New("--to is for taking a snapshot")
	}
	if len(args) == 2 {
		c.arg = args[1]
	}
	return nil
}

func (c *snapshotCommand) Run(ctx context.Context, env *Env) error {
	switch c.what {
	case "verify":
		return c.verify(ctx, env)
	case "keygen":
		return c.keygen(env)
	}
	v, err := appliance.Join(ctx, env.dir, env.options("snapshot"))
	if err != nil {
		return err
	}
	defer v.Close()
	for i := range c.to { // whoever takes it may work in another folder
		if c.to[i], err = placeName(c.to[i]); err != nil {
			return err
		}
	}
	meter := env.meter()
	s, err := v.TakeSnapshot(ctx, c.to, meter.percent)
	meter.clear()
	if err != nil {
		return err
	}
	if env.json {
		return env.printJSON(map[string]any{"version": 1, "snapshot": s})
	}
	env.say("snapshot %s: %s, of which %s are new in the folder; %sverified", s.ID, size(s.Size), size(s.Added), encryptedWord(s))
	env.say("its seal: %s", s.Seal)
	for _, copied := range s.Copies {
		env.say("copied to %s", copied)
	}
	return nil
}

// placeName makes a folder's name one that holds in another folder, too.
func placeName(place string) (string, error) {
	if config.Distant(place) {
		return place, nil
	}
	return filepath.Abs(place)
}

func encryptedWord(s appliance.SnapshotInfo) string {
	if s.Encrypted {
		return "encrypted, "
	}
	return ""
}

func (c *snapshotCommand) verify(ctx context.Context, env *Env) error {
	dir, settings, err := snapshotFolder(ctx, env, c.from)
	if err != nil {
		return err
	}
	begin := time.Now()
	s, err := appliance.VerifySnapshot(ctx, dir, c.arg, c.sample, settings, c.keys.source(env), env.options("snapshot"))
	if err != nil {
		return err
	}
	if env.json {
		return env.printJSON(map[string]any{"version": 1, "snapshot": s, "sample": c.sample, "seconds": time.Since(begin).Seconds()})
	}
	what := "every byte is what was written"
	if c.sample > 1 {
		what = fmt.Sprintf("one chunk in %d was read, and is what was written", c.sample)
	}
	env.say("snapshot %s of %s (%s): %s", s.ID, s.Time.Local().Format(time.DateTime), size(s.Size), what)
	return nil
}

func (c *snapshotCommand) keygen(env *Env) error {
	public, err := appliance.WriteIdentity(c.arg)
	if err != nil {
		return err
	}
	if env.json {
		return env.printJSON(map[string]any{"version": 1, "file": c.arg, "public": public})
	}
	env.say("wrote the secret key into %s: keep it away from this machine and from the snapshots; without it none can be restored", c.arg)
	env.say("put its public key into migration.yaml:\n  snapshots:\n    encrypt:\n      recipients: [%s]", public)
	return nil
}

// keyFlags are the flags of commands that read encrypted snapshots.
type keyFlags struct{ identity string }

func (k *keyFlags) add(f *pflag.FlagSet) {
	f.StringVar(&k.identity, "identity", "", "file with the secret key of encrypted snapshots (default: as DVMIGRATE_IDENTITY says)")
}

// source asks for a passphrase only where a person sits at a terminal.
func (k *keyFlags) source(env *Env) appliance.KeySource {
	s := appliance.KeySource{IdentityFile: k.identity}
	if in, ok := env.Stdin.(*os.File); ok && term.IsTerminal(int(in.Fd())) && !env.json {
		s.Ask = func() (string, error) {
			fmt.Fprint(env.Stderr, "the snapshot is encrypted; its passphrase (or Ctrl-C, and --identity FILE): ")
			b, err := term.ReadPassword(int(in.Fd()))
			fmt.Fprintln(env.Stderr)
			return string(b), err
		}
	}
	return s
}

// snapshotFolder returns the folder that a command looks into, and the settings of the
// project that it stands in, nil without one.
func snapshotFolder(ctx context.Context, env *Env, from string) (string, *config.Config, error) {
	p, err := env.open(ctx, appliance.NoSchema, "snapshots")
	switch {
	case from == "" && err != nil:
		return "", nil, err
	case from == "":
		return p.Config.Path(p.Config.Snapshots.To), p.Config, nil
	case err != nil: // the folder is all there is
		return from, nil, nil
	}
	return from, p.Config, nil
}

var snapshotsEntry = entry{name: "snapshots", summary: "list the snapshots", make: func() command { return &snapshotsCommand{} }}

type snapshotsCommand struct {
	from string
	keys keyFlags
}

func (c *snapshotsCommand) AddFlags(f *pflag.FlagSet) {
	f.StringVar(&c.from, "from", "", "folder of the snapshots, or s3://..., azblob://... (default: as migration.yaml says)")
	c.keys.add(f)
}

func (c *snapshotsCommand) Validate(args []string) error { return noArgs(args) }

func (c *snapshotsCommand) Run(ctx context.Context, env *Env) error {
	dir, settings, err := snapshotFolder(ctx, env, c.from)
	if err != nil {
		return err
	}
	if _, err := os.Stat(dir); c.from != "" && err != nil && !config.Distant(dir) {
		return fmt.Errorf("list snapshots: %w", err)
	}
	list, err := appliance.Snapshots(ctx, dir, settings, c.keys.source(env), env.options("snapshots"))
	if err != nil {
		return err
	}
	if env.json {
		return env.printJSON(map[string]any{"version": 1, "folder": dir, "snapshots": list})
	}
	if len(list) == 0 {
		env.say("no snapshots in %s", dir)
		return nil
	}
	var rows [][]string
	for _, s := range list {
		generation, done, full := "", "", size(s.Size)
		if s.Summary != nil {
			generation = count(int64(s.Generation))
			done = count(s.Summary.Processed) + " of " + count(s.Summary.Source)
		}
		if s.Locked {
			full = ""
		}
		rows = append(rows, []string{s.ID, age(time.Since(s.Time)), full, size(s.Added), generation, done, snapshotState(s)})
	}
	printTable(env.Stdout, []column{left("snapshot"), right("age"), right("size"), right("new"), right("generation"), right("records processed"), left("state")}, rows)
	return nil
}

func snapshotState(s appliance.SnapshotInfo) string {
	switch {
	case s.Fault != "":
		return "DAMAGED: " + s.Fault
	case s.Locked:
		return "encrypted, and no key that was given opens it (--identity FILE, or DVMIGRATE_PASSPHRASE)"
	case s.Encrypted:
		return "complete, encrypted"
	}
	return "complete"
}

// age is a time span in its two largest units that count.
func age(d time.Duration) string {
	switch {
	case d < time.Hour:
		return fmt.Sprintf("%dm %ds", int(d.Minutes()), int(d.Seconds())%60)
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh %dm", int(d.Hours()), int(d.Minutes())%60)
	}
	return fmt.Sprintf("%dd %dh", int(d.Hours())/24, int(d.Hours())%24)
}

var restoreEntry = entry{name: "restore", args: "--from DIR DEST", summary: "bring a snapshot back into an empty folder; then load goes on",
	long: `The target may be ahead of the snapshot: the next load reads back what it has, loads nothing
twice and loses nothing. An encrypted snapshot needs the secret key (--identity FILE) or the
passphrase (DVMIGRATE_PASSPHRASE; at a terminal you are asked for it). From s3:// and azblob://
the keys of the environment are used, AWS_ENDPOINT_URL and AWS_REGION too.`,
	make: func() command { return &restoreCommand{} }}

type restoreCommand struct {
	o    appliance.RestoreOptions
	keys keyFlags
}

func (c *restoreCommand) AddFlags(f *pflag.FlagSet) {
	f.StringVar(&c.o.From, "from", "", "folder of the snapshots, or s3://BUCKET/PREFIX, azblob://ACCOUNT/CONTAINER/PREFIX")
	f.StringVar(&c.o.ID, "id", "", "which snapshot (default: the newest)")
	f.StringVar(&c.o.Seal, "seal", "", "refuse it unless it has this seal, which snapshot printed: 64 hexadecimal digits")
	c.keys.add(f)
}

func (c *restoreCommand) Validate(args []string) error {
	if b, err := hex.DecodeString(c.o.Seal); err != nil || len(b) != 0 && len(b) != 32 {
		return errors.New("--seal is 64 hexadecimal digits, as `dvmigrate snapshot` and `dvmigrate snapshots --json` print it")
	}
	if c.o.From == "" {
		return errors.New("say where the snapshots are: --from DIR, or s3://BUCKET/PREFIX, azblob://ACCOUNT/CONTAINER/PREFIX")
	}
	if len(args) != 1 {
		return errors.New("say where the project is to be restored to: one folder, empty or new")
	}
	c.o.Dest = args[0]
	return nil
}

func (c *restoreCommand) Run(ctx context.Context, env *Env) error {
	c.o.Keys = c.keys.source(env)
	meter := env.meter()
	c.o.Watch = meter.percent
	s, err := appliance.Restore(ctx, c.o, env.options("restore"))
	meter.clear()
	if err != nil {
		return err
	}
	if env.json {
		return env.printJSON(map[string]any{"version": 1, "snapshot": s, "folder": c.o.Dest})
	}
	env.say("restored snapshot %s of the project %s of %s into %s (%s)", s.ID, s.Project, s.Time.Local().Format(time.DateTime), c.o.Dest, size(s.Size))
	if n := s.Summary; n != nil {
		env.say("%s of %s processed; the target may have more by now: the next load looks up the %s others there before it sends one (snapshot is %s old)",
			count(n.Processed), progress.Counted(n.Source, "record"), count(n.Source-n.Processed), age(time.Since(s.Time)))
	}
	env.say("next: dvmigrate -C %s load", c.o.Dest)
	return nil
}
