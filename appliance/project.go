package appliance

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"dvmigrate/appliance/config"
	"dvmigrate/appliance/dataverse"
	"dvmigrate/appliance/dataverse/schema"
	"dvmigrate/appliance/mapping"
	"dvmigrate/appliance/plan"
	"dvmigrate/appliance/progress"
	"dvmigrate/backup"
	"dvmigrate/duckstage"
	"dvmigrate/ledger"
)

// Options of Open, besides what the project's own settings say.
type Options struct {
	Env     func(string) (string, bool) // the process's environment
	Version string                      // of this program, kept with snapshots
	Command string                      // what this process does, told to others that find the project in use
	Args    []string                    // its arguments, for the audit trail
	Log     *slog.Logger                // nil: as the settings say
	Logging LogOptions                  // what flags say otherwise
	Stderr  io.Writer                   // of the process; nil = none
	looking bool                        // secrets are not needed: View
	Warn    func(message string)        // tells a person what is not as it should be; nil = nobody is there
	Prompt  func(message string)        // shows a person what to do to sign in; nil = nobody is there
}

// Project is one migration project, opened by this process alone.
type Project struct {
	Config *config.Config
	Schema *schema.Schema

	// AcceptLoss lets a staging go on though more rows are gone than the guard allows.
	AcceptLoss bool

	o      Options
	set    [16]byte // the project's id: record ids are made from it
	stage  *duckstage.Stage
	ledger *ledger.Ledger

	keysOnce sync.Once
	keys     *backup.Keyring // of the snapshots
	keysErr  error

	predicted atomic.Pointer[[]Prediction] // for the load that runs
	observe   func(dataverse.Exchange)     // of the clients that are made; nil = nobody measures

	before  map[string]bool // tables with the relation of load.BeforeSuffix
	reopens map[string]bool // tables with rows in dm.deactivated

	dry *dryCopy // of the ledger, which then stands in ledger's place; nil = none

	log *logWriter // nil = none

	alerter atomic.Pointer[alerter]   // of the load or delta that runs; nil = none
	snapped atomic.Pointer[time.Time] // when the newest snapshot of this process was taken
	tally   atomic.Pointer[tally]     // of the load that runs; nil = none
	newest  newest

	owns        bool                             // owner.json is this process's
	tracker     atomic.Pointer[progress.Tracker] // of a load that is running
	pulse       atomic.Pointer[pulse]            // of it
	steering    atomic.Pointer[steering]         // of it
	stopControl func()
}

// InUseError says that another process works on the project.
type InUseError struct {
	Owner Owner
	Stage bool // only the stage is, by a program that need not be dvmigrate: Owner.Command is its file
}

func (e *InUseError) Error() string {
	if e.Stage {
		return fmt.Sprintf("the stage is in use by %s (process %d); wait for it to end, or close the file there", e.Owner.Command, e.Owner.PID)
	}
	if e.Owner.PID == 0 {
		return "the project is in use by another dvmigrate process; wait for it to end"
	}
	where := ""
	if host, _ := os.Hostname(); e.Owner.Host != "" && e.Owner.Host != host {
		where = " on " + e.Owner.Host
	}
	return fmt.Sprintf("the project is in use by `dvmigrate %s` (process %d%s, since %s); wait for it to end, or stop it with Ctrl-C",
		e.Owner.Command, e.Owner.PID, where, e.Owner.Since.Local().Format("2006-01-02 15:04"))
}

// ErrNotStaged says that there is nothing staged yet.
var ErrNotStaged = errors.New("nothing is staged yet; run `dvmigrate stage` first")

// Mode is how a phase needs the project.
type Mode uint8

// The modes.
const (
	// Settings: configuration and schema only; nothing is locked.
	Settings Mode = iota
	// NoSchema: configuration only, as before the schema was ever pulled.
	NoSchema
	// Staging: stage and ledger for writing, made when there are none.
	Staging
	// Loading: the ledger for writing, the stage for reading; both must exist.
	Loading
	// DryRunning: as Loading, but on a copy of the ledger, so that nothing changes.
	DryRunning
	// Viewing: stage and ledger for reading. Nothing changes by a byte, and several
	// processes may do it at once.
	Viewing
)

// Open reads the project in dir and opens what the mode needs. Errors: config.Faults,
// *InUseError, ErrNotStaged, and those of ledger and duckstage.
func Open(ctx context.Context, dir string, mode Mode, o Options) (*Project, error) {
	read := config.Load
	if o.looking {
		read = config.LoadToLook
	}
	c, err := read(dir, o.Env)
	if err != nil {
		return nil, err
	}
	p := &Project{Config: c, o: o}
	if o.Log == nil {
		p.o.Log = slog.New(slog.DiscardHandler)
	}
	if mode == NoSchema {
		return p, nil
	}
	if p.Schema, err = readSchema(c.Path(c.Schema)); err != nil {
		return nil, err
	}
	if mode == Settings {
		return p, nil
	}
	if o.Log == nil && (mode == Staging || mode == Loading) {
		if err := p.keepLog(); err != nil {
			return nil, err
		}
	}
	if err := p.open(ctx, mode); err != nil {
		p.Close()
		return nil, err
	}
	if o.Warn != nil {
		for _, w := range p.openToOthers() {
			o.Warn(w)
		}
	}
	return p, nil
}

func (p *Project) open(ctx context.Context, mode Mode) error {
	staged, booked := exists(p.stagePath()), exists(p.ledgerPath())
	switch {
	case !staged && !booked && mode != Staging:
		return ErrNotStaged
	case staged && !booked: // the ledger is made before the stage
		return p.halfGone("ledger", p.ledgerPath())
	}
	if err := p.identify(mode); err != nil {
		return err
	}
	// The ledger's lock is the project's: it is taken first and given back last.
	err := p.openLedger(ctx, mode)
	if errors.Is(err, ledger.ErrLocked) {
		return p.inUse()
	}
	if err != nil {
		return p.explainLedger(err)
	}
	if mode != Viewing {
		if err := p.takeOwnership(); err != nil { // a full disk; the lock is what counts
			p.o.Log.Warn("others will not learn who works on the project", "error", err)
		}
	}
	if !staged && len(p.ledger.Tables()) > 0 {
		return p.halfGone("stage", p.stagePath())
	} else if !staged && mode != Staging { // the first staging was killed at once
		return ErrNotStaged
	}
	p.stage, err = duckstage.Open(ctx, p.stagePath(), p.stageOptions(mode != Staging))
	if err != nil {
		return p.explainStage(err)
	}
	if mode == DryRunning { // nobody may look in: what the copy says is not so
		if err := p.openCopy(ctx); err != nil {
			return err
		}
		return p.registerLedger(ctx)
	}
	if err := p.registerLedger(ctx); err != nil {
		return err
	}
	if mode != Viewing {
		p.stopControl = p.serveControl()
	}
	return nil
}

// readersTime is how long who wants to change something waits for those who only look, as
// a console does: they do not keep the files for long.
const readersTime = 10 * time.Second

// openLedger opens the ledger, for which it waits longer when only readers have it.
func (p *Project) openLedger(ctx context.Context, mode Mode) error {
	o := ledger.Options{Set: p.set, Logger: p.o.Log, ReadOnly: mode == Viewing}
	var err error
	p.ledger, err = ledger.Open(ctx, p.ledgerPath(), o)
	if !errors.Is(err, ledger.ErrLocked) || o.ReadOnly {
		return err
	}
	look := o
	look.ReadOnly, look.LockTimeout = true, time.Millisecond
	if l, second := ledger.Open(ctx, p.ledgerPath(), look); second != nil || l.Close() != nil {
		return err // somebody writes
	}
	o.LockTimeout = readersTime
	p.ledger, err = ledger.Open(ctx, p.ledgerPath(), o)
	return err
}

// halfGone says that stage or ledger is missing beside the other: alone, the other
// does not know which record of the target is whose.
func (p *Project) halfGone(what, path string) error {
	return fmt.Errorf("the %s %s is gone, and without it nothing says which record is loaded\n%s, or remove the folder %s to begin anew with a target that has none of the records",
		what, path, p.restoreHint(), p.work())
}

// restoreHint is what to do where the project's files are of no use any more.
func (p *Project) restoreHint() string {
	return fmt.Sprintf("restore the newest snapshot into an empty folder with `dvmigrate restore --from %s DEST` and go on there", p.Config.Path(p.Config.Snapshots.To))
}

// Close closes what Open opened. The ledger comes last.
func (p *Project) Close() error {
	var errs []error
	if p.stopControl != nil {
		p.stopControl()
		p.stopControl = nil
	}
	if p.stage != nil {
		errs = append(errs, p.stage.Close())
		p.stage = nil
	}
	if p.dry != nil {
		errs = append(errs, p.closeCopy())
	}
	if p.ledger != nil {
		p.dropOwnership()
		errs = append(errs, p.ledger.Close())
		p.ledger = nil
	}
	if p.log != nil {
		p.log.Close()
	}
	return errors.Join(errs...)
}

func (p *Project) work() string       { return p.Config.Path(p.Config.Work) }
func (p *Project) stagePath() string  { return filepath.Join(p.work(), "stage.duckdb") }
func (p *Project) ledgerPath() string { return filepath.Join(p.work(), "ledger.bolt") }

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func (p *Project) stageOptions(readOnly bool) duckstage.Options {
	s := p.Config.Stage
	o := duckstage.Options{Temp: p.Config.TempDir(), Threads: s.Threads, ReadOnly: readOnly, Set: p.set}
	if s.Memory > 0 {
		o.Memory = s.Memory.String()
	}
	if s.TempLimit > 0 {
		o.TempLimit = s.TempLimit.String()
	}
	return o
}

// projectID is work/project.json: what makes this project this one.
type projectID struct {
	Version int    `json:"version"`
	Name    string `json:"name"`
	Set     string `json:"set"` // 32 hexadecimal digits
}

// identify reads the project's id, or makes one when staging begins.
func (p *Project) identify(mode Mode) error {
	path := filepath.Join(p.work(), "project.json")
	var id projectID
	switch there, err := readNote(path, &id); {
	case !there && err == nil && mode == Staging:
		return p.newIdentity(path)
	case !there && err == nil:
		return fmt.Errorf("%s is missing: it names the project that stage and ledger belong to\n%s", path, p.restoreHint())
	case err != nil:
		return fmt.Errorf("read %s: %w\n%s", path, err, p.restoreHint())
	}
	if len(id.Set) != 2*len(p.set) {
		return fmt.Errorf("read %s: set is not 32 hexadecimal digits\n%s", path, p.restoreHint())
	}
	if _, err := hex.Decode(p.set[:], []byte(id.Set)); err != nil {
		return fmt.Errorf("read %s: set: %w\n%s", path, err, p.restoreHint())
	}
	return nil
}

func (p *Project) newIdentity(path string) error {
	if exists(p.stagePath()) || exists(p.ledgerPath()) {
		return fmt.Errorf("%s is missing, but a stage or a ledger is there\n%s, or remove the folder %s to begin anew with a target that has none of the records", path, p.restoreHint(), p.work())
	}
	if err := os.MkdirAll(p.work(), 0o700); err != nil {
		return fmt.Errorf("make the work folder: %w", err)
	}
	rand.Read(p.set[:])
	return keepNote(path, projectID{Version: 1, Name: p.Config.Name, Set: hex.EncodeToString(p.set[:])})
}

func (p *Project) explainLedger(err error) error {
	switch {
	case errors.Is(err, ledger.ErrOtherSet):
		return fmt.Errorf("%w than project.json and the stage beside it\nput back the project's own ledger, or %s", err, p.restoreHint())
	case errors.Is(err, ledger.ErrFormat):
		return fmt.Errorf("%w\nnothing was changed; go on with the release of dvmigrate that wrote it", err)
	case errors.Is(err, ledger.ErrDamaged), errors.Is(err, ledger.ErrNotLedger):
		return fmt.Errorf("%w\nnothing was changed; %s", err, p.restoreHint())
	case errors.Is(err, syscall.EROFS): // as Linux leaves a disk that had a fault
		return fmt.Errorf("%w\nthe disk of %s is read-only: see why (dmesg), mount it writable again and run again; nothing was changed", err, p.work())
	}
	return err
}

func (p *Project) explainStage(err error) error {
	var locked *duckstage.LockedError
	switch {
	case errors.As(err, &locked):
		return &InUseError{Owner: Owner{PID: locked.PID, Command: locked.Process}, Stage: true}
	case errors.Is(err, duckstage.ErrOtherSet):
		return fmt.Errorf("%w than project.json and the ledger beside it\nput back the project's own stage, or %s", err, p.restoreHint())
	case errors.Is(err, duckstage.ErrVersion):
		return fmt.Errorf("%w\nnothing was changed; go on with the release of dvmigrate that wrote it", err)
	case errors.Is(err, duckstage.ErrDamaged), errors.Is(err, duckstage.ErrNotStage):
		return fmt.Errorf("%w\nnothing was changed; %s", err, p.restoreHint())
	}
	return err
}

func readSchema(path string) (*schema.Schema, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("the schema file %s is missing; `dvmigrate schema pull` reads it from the environment", path)
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	s, err := schema.Read(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return s, nil
}

// errNoTransforms says that the project has no transforms yet.
var errNoTransforms = errors.New("no transforms")

// transformFile is one transform of the project.
type transformFile struct {
	table string
	path  string // relative to the project folder, for messages
	sql   string
}

// transformFiles reads the project's transforms, in order of table name.
func (p *Project) transformFiles() ([]transformFile, error) {
	dir := p.Config.Path(p.Config.Transforms)
	scripts, err := p.sqlFiles(dir)
	if err != nil {
		return nil, err
	}
	if len(scripts) == 0 {
		return nil, fmt.Errorf("%w in %s: one SELECT a target table is expected there, in <table>.sql; `dvmigrate draft` writes first ones", errNoTransforms, dir)
	}
	files := make([]transformFile, len(scripts))
	for i, s := range scripts {
		files[i] = transformFile{table: strings.TrimSuffix(filepath.Base(s.File), ".sql"), path: s.File, sql: s.SQL}
	}
	return files, nil
}

// bound is the project's tables as they are mapped, with the order in which they
// are loaded.
type bound struct {
	tables []*mapping.Table
	byName map[string]*mapping.Table
	plan   *plan.Plan
}

// unknownTable is the error for a name that none of the tables has.
func (b *bound) unknownTable(name string) error {
	known := make([]string, len(b.tables))
	for i, t := range b.tables {
		known[i] = t.Name
	}
	return unknownName("table", name, known)
}

func newBound(tables []*mapping.Table) *bound {
	b := &bound{tables: tables, byName: map[string]*mapping.Table{}, plan: plan.Order(tables)}
	for _, t := range tables {
		b.byName[t.Name] = t
	}
	for _, t := range tables {
		for i := range t.Lookups {
			b.noteKept(t.Lookups[i].Targets)
		}
		for i := range t.Parties {
			b.noteKept(t.Parties[i].Targets)
		}
	}
	return b
}

// noteKept marks the targets whose records' ids may be others than the stage's.
func (b *bound) noteKept(targets []mapping.Target) {
	for k := range targets {
		t := &targets[k]
		t.Kept = t.Staged && b.byName[t.Table] != nil && b.byName[t.Table].KeptIDs()
	}
}
