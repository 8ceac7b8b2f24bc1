package appliance

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"dvmigrate/appliance/dataverse"
	"dvmigrate/appliance/dataverse/schema"
	"dvmigrate/appliance/load"
	"dvmigrate/appliance/mapping"
	"dvmigrate/appliance/progress"
	"dvmigrate/backup"
	"dvmigrate/ledger"
)

// How a load may end before all is done; the ledger knows how to go on.
var (
	ErrDrained       = load.ErrDrained
	ErrTooManyErrors = load.ErrTooManyErrors
	ErrLeftOver      = load.ErrLeftOver
)

// LoadOptions are what a load may say differently from the project's settings.
type LoadOptions struct {
	SnapshotEvery time.Duration // negative = none; 0 = as the settings say
	SnapshotTo    []string      // none = as the settings say
	Parallel      int           // requests at once; 0 = as the settings say
	PerUser       int           // requests at once as each application user; 0 = as the settings say
	NewTarget     string        // the target's address said a second time: it is meant, though it is another; "" = not said
	AcceptMissing bool          // go on though the target lacks most of what was loaded
}

// LoadResult is how a load ended.
type LoadResult struct {
	Version int           `json:"version"`
	Summary Counts        `json:"summary"`
	Tables  []TableStatus `json:"tables"`
	Sent    int64         `json:"sent"` // operations with an outcome in this run: a record counts once for each of its passes
	Failed  int64         `json:"failed"`
	Bytes   int64         `json:"bytes"` // of the bodies of the requests that wrote
	// Kept is how many records kept a value that somebody gave them in the target, by table and column.
	Kept      map[string]map[string]int64 `json:"kept,omitempty"`
	Seconds   float64                     `json:"seconds"`
	Snapshots int                         `json:"snapshots"`
	Stopped   string                      `json:"stopped,omitempty"` // why it ended before all was done
	Notes     []string                    `json:"notes,omitempty"`   // what is to be known of the journal of changes
}

// did is what a load did, in words.
func (r LoadResult) did() string {
	return fmt.Sprintf("%s, %d failed", progress.Counted(r.Sent, "operation"), r.Failed)
}

// Load sends what waits, until nothing does. When drain ends it finishes what is
// begun and returns load.ErrDrained. Snapshots are taken meanwhile.
func (p *Project) Load(ctx, drain context.Context, o LoadOptions) (r LoadResult, err error) {
	l := loadRun{p: p, o: o, begin: time.Now(), r: &r}
	r = LoadResult{Version: 1}
	alerter, finish := p.alerting(ctx, "load", o.SnapshotEvery)
	defer func() { finish(r.did(), err) }()
	end, err := p.record(ctx, "load", p.o.Args)
	if err != nil {
		return r, err
	}
	defer func() { end(err, r.did()) }()
	defer l.close()
	if err := l.prepare(ctx); err != nil {
		return r, err
	}
	l.measure(ctx)
	if err := l.meet(ctx, drain); err != nil {
		return r, err
	}
	if err := l.open(ctx); err != nil {
		return r, err
	}
	if err := p.meetRestored(ctx, drain, l.b, l.target, l.tracker); err != nil {
		r.Stopped = err.Error()
		return r, p.explainTarget(err)
	}
	run, err := l.start(ctx)
	if err != nil {
		return r, err
	}
	err = l.account(ctx, run, l.send(ctx, drain, alerter))
	return r, err
}

// followPace tells the tracker of requests and throttles, which the client absorbs, and
// of a target that is not there.
func followPace(ctx context.Context, target *users, tracker *progress.Tracker) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	var last uint64
	var away, noted time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		total, wait := target.throttled()
		if total > last {
			tracker.Throttled("", "", wait)
		}
		last = total
		switch since := target.away(); {
		case since.IsZero() && !noted.IsZero():
			tracker.Note("", fmt.Sprintf("the target answers again, after %v", time.Since(away).Round(time.Second)))
			noted = time.Time{}
		case !since.IsZero() && time.Since(since) > awayTime && time.Since(noted) > time.Minute:
			tracker.Note("", fmt.Sprintf("no answer from the target for %v; trying again", time.Since(since).Round(time.Second)))
			away, noted = since, time.Now()
		}
	}
}

// awayTime is how long a target may be gone before somebody is told.
const awayTime = 10 * time.Second

// parallel is the number of workers: as said, or as many as the limits could ever
// carry; the client's pace decides how many are really under way.
func (p *Project) parallel(o LoadOptions, users int) int {
	if o.Parallel > 0 {
		return o.Parallel
	}
	if p.Config.Load.Parallel > 0 {
		return p.Config.Load.Parallel
	}
	if o.PerUser > 0 {
		return o.PerUser * users
	}
	return p.Config.Limits.Concurrent * users
}

var messages = map[string]load.Message{"auto": load.Auto, "bulk": load.Bulk, "batch": load.Batch, "single": load.Single}

var onMatch = map[string]load.OnMatch{"error": load.MatchError, "update": load.MatchUpdate, "skip": load.MatchSkip}

var onConflict = map[string]load.OnConflict{"skip": load.ConflictSkip, "overwrite": load.ConflictOverwrite, "merge": load.ConflictMerge}

// ours are the users whose changes in the target are this migration's own; none where it
// writes as others, whose changes cannot be told from theirs.
func (p *Project) ours(u *users) []schema.GUID {
	if p.impersonates() {
		return nil
	}
	return u.ids
}

// findBefore finds the tables of which the stage says what the target holds of the rows that
// have changed.
func (p *Project) findBefore(ctx context.Context) (err error) {
	if p.before, err = p.tablesBefore(ctx); err != nil {
		return err
	}
	if p.reopens, err = p.deactivated(ctx); err != nil {
		return fmt.Errorf("look for records that are to be active again: %w", err)
	}
	return nil
}

func (p *Project) tablesBefore(ctx context.Context) (map[string]bool, error) {
	before := map[string]bool{}
	err := p.stage.Rows(ctx, "SELECT view_name FROM duckdb_views() WHERE database_name = current_database() AND schema_name = 'main' AND ends_with(view_name, ?)",
		[]any{load.BeforeSuffix}, func(scan func(...any) error) error {
			var name string
			err := scan(&name)
			before[strings.TrimSuffix(name, load.BeforeSuffix)] = true
			return err
		})
	if err != nil {
		return nil, fmt.Errorf("look for what the target holds: %w", err)
	}
	return before, nil
}

func (p *Project) loadSettings(table string) load.Settings {
	t := p.Config.Table(table)
	return load.Settings{Batch: int(t.Batch), Parallel: t.Parallel, Message: messages[t.Message], OnMatch: onMatch[t.OnMatch], OnConflict: onConflict[t.OnConflict], Before: p.before[table], Whole: p.wentBehind(table) || p.ledger.AsRestored(table), Reopens: p.reopens[table], Keep: p.Config.KeepsFormer(table), Gone: gonePolicy[t.Gone], ShardBy: t.ShardBy, CreatedBy: t.Impersonate == mapping.CreatedBy}
}

// snapshotEvery takes snapshots until ctx ends, and then says how many.
func (p *Project) snapshotEvery(ctx context.Context, o LoadOptions, tracker *progress.Tracker) <-chan int {
	done := make(chan int, 1)
	every := o.SnapshotEvery
	if every == 0 {
		every = p.Config.Snapshots.Every
	}
	if every <= 0 {
		done <- 0
		return done
	}
	go func() {
		n := 0
		_ = backup.Every(ctx, every, func(ctx context.Context) error {
			s, err := p.Snapshot(ctx, o.SnapshotTo)
			if err == nil {
				n++
				tracker.Note("", fmt.Sprintf("snapshot %s taken, %d bytes new", s.ID, s.Added))
			}
			return err
		}, func(err error) { tracker.Note("", "no snapshot: "+err.Error()) })
		done <- n
	}()
	return done
}

// explainTarget says what a person can do about a target that does not answer as
// it should, and about a ledger without room for the answers.
func (p *Project) explainTarget(err error) error {
	switch dataverse.KindOf(err) {
	case dataverse.Unreachable:
		if p.Config.Target.Loopback() && strings.HasPrefix(p.Config.Target.URL, "http://") { // it speaks no TLS
			return fmt.Errorf("%w\nis the emulator running? start it with `dvmigrate emulator` in another terminal", err)
		}
	case dataverse.SignIn:
		return &SignInError{Err: err, Impersonates: p.impersonates()}
	}
	switch {
	case errors.Is(err, ledger.ErrFull):
		return fmt.Errorf("%w\nfree space on the disk of %s and run `dvmigrate load` again: it looks up what was in flight and goes on", err, p.work())
	case errors.Is(err, ledger.ErrPoisoned):
		return fmt.Errorf("%w\nthe disk of %s refused a write; what is recorded there is right. See to the disk, then `dvmigrate ledger check`, and run `dvmigrate load` again: it looks up what was in flight and goes on", err, p.work())
	}
	return err
}

// SignInError says that the target does not know, or not admit, who sends.
type SignInError struct {
	Err          error
	Impersonates bool // the settings name a user to act as, who may be the unknown one
	told         bool // Err is all the text, as another process told it
}

func (e *SignInError) Error() string {
	if e.told {
		return e.Err.Error()
	}
	text := e.Err.Error() + "\nsign in again (DVMIGRATE_TOKEN, or target.auth in migration.yaml), and check that the application user exists in the environment and has a role"
	if e.Impersonates {
		text += "; and that the user exists whom headers.impersonate names"
	}
	return text
}

func (e *SignInError) Unwrap() error { return e.Err }
