package duckstage

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	duckdb "github.com/duckdb/duckdb-go/v2"
	"golang.org/x/sync/semaphore"
)

// Options are how a stage is opened. The zero value writes, and leaves the limits to
// DuckDB: 80 % of the memory, every core, nine tenths of the disk for temporary files.
type Options struct {
	Memory    string // such as "8GB": what DuckDB may hold; Go's own memory comes on top
	Temp      string // folder in which the stage makes its temporary folder; beside the file when empty
	TempLimit string // such as "100GB": what temporary files may take
	Threads   int
	ReadOnly  bool
	Set       [16]byte // the migration set; stored in a new stage, compared in an old one; zero: not compared
}

// Stage is an open stage. Its methods may be called by many goroutines at once.
//
// Everything that changes the file holds one unit of gate; a snapshot takes all of
// them, so that the file stands still while it is read. Readers need none: DuckDB
// gives each of them the state its transaction began with.
type Stage struct {
	path   string // "" in memory
	temp   string
	set    [16]byte
	ro     bool
	db     *sql.DB
	gate   *semaphore.Weighted
	fatal  atomic.Pointer[FatalError]
	closed atomic.Bool
	laid   atomic.Bool // the schemas exist: connections may name them
	calm   calm

	// file is the database file, opened for snapshots and closed after DuckDB. Closing
	// any descriptor of it earlier would drop DuckDB's lock (engines.md part I, 4, danger 2).
	file *os.File

	textMu sync.Mutex
	texts  map[string]*textFunc // registered, by name; guarded by textMu

	noteMu sync.Mutex
	note   logNote // as it is on the disk; guarded by noteMu
}

// writers is how many units gate has: more than there will ever be writers.
const writers = 1 << 20

// opened holds the files this process has open: fcntl locks do not guard a process
// against itself, and closing a second descriptor would drop the first one's lock.
var opened = struct {
	sync.Mutex
	paths map[string]bool
}{paths: map[string]bool{}}

// guards are set in every stage.
//
//   - join_filter_pushdown can undercount (duckdb#22075, open), common_subplan gave wrong
//     results up to 1.5.5 (duckdb#25819): a slower join is better than a wrong one.
//   - The bit-packing and run-length encoders write unreadable segments for rare patterns
//     (duckdb#22823, open): they are left out. So is the dictionary encoder: trying it
//     takes two fifths of the time of an ingest, and what FSST makes of the same text is
//     five percent larger (1 M rows of 12 columns: 3.2 s of CPU and 68 MB, 5.0 s and
//     65 MB with it, 2.4 s and 230 MB without any encoder).
var guards = []string{
	"SET GLOBAL disabled_optimizers='join_filter_pushdown,common_subplan'",
	"SET GLOBAL disabled_compression_methods='bitpacking,rle,dictionary'",
	"SET GLOBAL allow_community_extensions=false",
	"SET GLOBAL TimeZone='UTC'",
}

// sessionSettings are set on every connection: errors come as JSON with their place,
// and progress is counted but not printed.
var sessionSettings = []string{
	"SET errors_as_json=true",
	"SET enable_progress_bar=true",
	"SET enable_progress_bar_print=false",
	"SET progress_bar_time=0",
}

// Open opens the stage in the file at path, and makes one when there is none. It
// returns LockedError, ErrDamaged, ErrNotStage, ErrVersion or ErrOtherSet where they
// apply. What an interrupted run has left is removed, unless the stage is read-only.
func Open(ctx context.Context, path string, o Options) (*Stage, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("open stage: %w", err)
	}
	if strings.ContainsAny(path, "?#") {
		return nil, fmt.Errorf("open stage %s: the path must not contain '?' or '#'", path)
	}
	if _, err := os.Stat(path); err != nil && (o.ReadOnly || !errors.Is(err, os.ErrNotExist)) {
		return nil, fmt.Errorf("open stage: %w", err)
	}
	if !claimPath(path) {
		return nil, &LockedError{Path: path}
	}
	s := &Stage{path: path, set: o.Set, ro: o.ReadOnly, temp: tempFolder(path, o)}
	err = checkLog(path)
	if err == nil {
		err = s.open(ctx, o)
	}
	if err != nil {
		s.release()
		return nil, err
	}
	return s, nil
}

// OpenMemory opens an empty stage that has no file, for checks that need SQL but no
// data. Do not attach files to it (engines.md part I, 4, danger 1).
func OpenMemory(ctx context.Context, o Options) (*Stage, error) {
	s := &Stage{set: o.Set}
	if err := s.open(ctx, o); err != nil {
		s.release()
		return nil, err
	}
	return s, nil
}

// open does what both kinds of stage share.
func (s *Stage) open(ctx context.Context, o Options) error {
	s.gate = semaphore.NewWeighted(writers)
	dsn := s.path + "?autoinstall_known_extensions=false&autoload_known_extensions=false"
	if s.ro {
		dsn += "&access_mode=READ_ONLY"
	}
	connector, err := duckdb.NewConnector(dsn, s.prepareConn)
	if err != nil {
		return openError(s.path, err)
	}
	s.db = sql.OpenDB(connector)
	if s.path != "" {
		if s.file, err = os.Open(s.path); err != nil {
			return fmt.Errorf("open stage: %w", err)
		}
		if !s.ro {
			if err := os.Chmod(s.path, 0o600); err != nil {
				return fmt.Errorf("open stage: %w", err)
			}
		}
	}
	if err := s.configure(ctx, o); err != nil {
		return err
	}
	if err := s.bootstrap(ctx); err != nil {
		return err
	}
	s.laid.Store(true)
	s.db.SetMaxIdleConns(0) // the connections so far have no search path
	s.db.SetMaxIdleConns(idleConns)
	s.noteLog()
	return nil
}

// idleConns is how many connections are kept for reuse: opening one costs more than
// most small queries.
const idleConns = 8

// prepareConn is run by the driver on every new connection. Names are looked up among
// the relations first and then among the sources.
func (s *Stage) prepareConn(conn driver.ExecerContext) error {
	settings := sessionSettings
	if s.laid.Load() {
		settings = append(slices.Clip(settings), "SET search_path='main,source'")
	}
	for _, set := range settings {
		if _, err := conn.ExecContext(context.Background(), set, nil); err != nil {
			return fmt.Errorf("prepare connection: %w", err)
		}
	}
	return nil
}

// configure sets the limits and the guards, and empties the temporary folder, which
// keeps plain text after a crash (engines.md part I, 8).
func (s *Stage) configure(ctx context.Context, o Options) error {
	set := append([]string(nil), guards...)
	if o.Threads > 0 {
		set = append(set, "SET GLOBAL threads="+strconv.Itoa(o.Threads))
	}
	if o.Memory != "" {
		set = append(set, "SET GLOBAL memory_limit="+Quote(o.Memory))
	}
	if s.temp != "" {
		if !s.ro {
			if err := removeTemp(s.path, o); err != nil {
				return fmt.Errorf("empty temporary folder: %w", err)
			}
		}
		// DuckDB makes its own folder when it first needs it, but none above that.
		if err := os.MkdirAll(filepath.Dir(s.temp), 0o700); err != nil && !s.ro {
			return fmt.Errorf("make temporary folder: %w", err)
		}
		set = append(set, "SET GLOBAL temp_directory="+Quote(s.temp))
	}
	if o.TempLimit != "" { // in the DSN it is shown but not enforced (engines.md part I, 8)
		set = append(set, "SET GLOBAL max_temp_directory_size="+Quote(o.TempLimit))
	}
	for _, q := range set {
		if _, err := s.db.ExecContext(ctx, q); err != nil {
			return fmt.Errorf("configure stage: %w", s.explain(ctx, q, err))
		}
	}
	return nil
}

// Close closes the stage. It waits for a snapshot or a writer to end; scans must have
// ended before.
func (s *Stage) Close() error {
	if s.closed.Swap(true) {
		return nil
	}
	if err := s.gate.Acquire(context.Background(), writers); err != nil {
		return fmt.Errorf("close stage: %w", err)
	}
	defer s.gate.Release(writers) // who waited is told that the stage is closed
	return s.release()
}

// release closes DuckDB first and the file last, and gives the path free.
func (s *Stage) release() error {
	var err error
	if s.db != nil {
		err = s.db.Close()
	}
	if s.file != nil {
		s.file.Close()
	}
	if s.temp != "" && s.db != nil {
		os.RemoveAll(s.temp) // only what DuckDB has left there
	}
	if s.path != "" {
		opened.Lock()
		delete(opened.paths, s.path)
		opened.Unlock()
	}
	if err != nil {
		return fmt.Errorf("close stage: %w", err)
	}
	return nil
}

// Path is the stage's file; "" in memory.
func (s *Stage) Path() string { return s.path }

// Scratch makes a folder for files that are needed for a short while, its owner's only. What a
// crash leaves there is removed when the stage is opened again; that of a stage without a file is
// the system's to remove.
func (s *Stage) Scratch() (string, error) {
	if s.path == "" {
		dir, err := os.MkdirTemp("", "dvmigrate-")
		if err != nil {
			return "", fmt.Errorf("make a folder for temporary files: %w; TMPDIR names where they go", err)
		}
		return dir, nil
	}
	if err := os.MkdirAll(filepath.Dir(s.temp), 0o700); err != nil {
		return "", fmt.Errorf("scratch folder: %w", err)
	}
	dir, err := os.MkdirTemp(filepath.Dir(s.temp), filepath.Base(s.temp)+"-")
	if err != nil {
		return "", fmt.Errorf("scratch folder: %w", err)
	}
	return dir, nil
}

// usable says why the stage cannot be used, if so.
func (s *Stage) usable() error {
	if f := s.fatal.Load(); f != nil {
		return f
	}
	if s.closed.Load() {
		return ErrClosed
	}
	return nil
}

func claimPath(path string) bool {
	opened.Lock()
	defer opened.Unlock()
	if opened.paths[path] {
		return false
	}
	opened.paths[path] = true
	return true
}

// tempBase is how the names of a stage's temporary folders begin. They are never the
// folder the user names, so that emptying them removes nothing else.
func tempBase(path string, o Options) string {
	if o.Temp == "" {
		return path + ".tmp"
	}
	return filepath.Join(o.Temp, filepath.Base(path)+".tmp")
}

// tempFolder is this process's: readers of one file do not share theirs.
func tempFolder(path string, o Options) string {
	if o.ReadOnly {
		return tempBase(path, o) + "-" + strconv.Itoa(os.Getpid())
	}
	return tempBase(path, o)
}

// removeTemp removes what crashed processes have left. The write lock is held, so no
// other process has the stage open.
func removeTemp(path string, o Options) error {
	left, err := filepath.Glob(globEscape.Replace(tempBase(path, o)) + "*")
	if err != nil {
		return err
	}
	for _, dir := range left {
		if rest := strings.TrimPrefix(dir, tempBase(path, o)); rest == "" || rest[0] == '-' {
			if err := os.RemoveAll(dir); err != nil {
				return err
			}
		}
	}
	return nil
}

// globEscape makes a path match only itself. A backslash is the separator on Windows,
// where no escaping exists; there a '[' in the path just leaves old folders behind.
var globEscape = strings.NewReplacer("*", "[*]", "?", "[?]", "[", "[[]")
