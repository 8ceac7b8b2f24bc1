package duckstage

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// What Open refuses, beside what the file system does.
var (
	// ErrDamaged: the file was a stage, and its bytes are not what was written.
	ErrDamaged = errors.New("stage is damaged")
	// ErrNotStage: the file is something else, or a DuckDB file of somebody else.
	ErrNotStage = errors.New("not a stage")
	// ErrLog: the log beside the file does not belong to it; replayed, it would change the data.
	ErrLog = errors.New("this log does not belong to the stage; move it away, or restore a snapshot")
	// ErrVersion: another dvmigrate, or another DuckDB, wrote the stage in its own format.
	ErrVersion = errors.New("stage has another format")
	// ErrOtherSet: the stage belongs to another migration set.
	ErrOtherSet = errors.New("stage belongs to another migration set")
)

// ErrClosed is returned by a stage that was closed or that a fatal error has ended.
var ErrClosed = errors.New("stage is closed")

// ErrNotQuery is returned for a statement that does more than read.
var ErrNotQuery = errors.New("the statement is no query")

// LockedError says that another process has the stage open.
type LockedError struct {
	Path    string
	Process string // its executable; "" when this process has it open itself
	PID     int
}

func (e *LockedError) Error() string {
	if e.Process == "" {
		return fmt.Sprintf("stage %s is already open in this process", e.Path)
	}
	return fmt.Sprintf("stage %s is in use by %s (process %d)", e.Path, e.Process, e.PID)
}

// FatalError says that DuckDB has stopped working on the file. What was committed is
// safe; the stage must be opened again (engines.md part I, 4).
type FatalError struct {
	DiskFull bool
	Message  string
}

func (e *FatalError) Error() string {
	if e.DiskFull {
		return "disk is full: free space and run again; everything committed is kept (" + e.Message + ")"
	}
	return "stage stopped: run again; everything committed is kept (" + e.Message + ")"
}

// SQLError is a statement that DuckDB refused. Line and Column count from 1 within
// the text that was given; both are 0 when DuckDB named no place.
type SQLError struct {
	Kind    string // DuckDB's word: Parser, Binder, Catalog, Conversion …
	Message string
	Hint    string
	Line    int
	Column  int
}

func (e *SQLError) Error() string {
	var b strings.Builder
	if e.Line > 0 {
		fmt.Fprintf(&b, "line %d, column %d: ", e.Line, e.Column)
	}
	b.WriteString(e.Message)
	if e.Hint != "" {
		b.WriteString(" (" + e.Hint + ")")
	}
	return b.String()
}

// duckMessage is an error as DuckDB writes it with errors_as_json.
type duckMessage struct {
	Type     string `json:"exception_type"`
	Message  string `json:"exception_message"`
	Position string `json:"position"`
}

// parseMessage takes DuckDB's text apart, whether it is JSON (errors_as_json), JSON
// behind a prefix, or the plain "Kind Error: message" of errors raised at open.
func parseMessage(text string) duckMessage {
	if at := strings.Index(text, `{"exception_type"`); at >= 0 {
		var m duckMessage
		if json.Unmarshal([]byte(text[at:]), &m) == nil {
			return m
		}
	}
	kind, message, found := strings.Cut(text, " Error: ")
	if !found || strings.ContainsAny(kind, "\n{") {
		return duckMessage{Message: text}
	}
	return duckMessage{Type: kind, Message: message}
}

// lineColumn turns a byte offset into a line and a column in characters, from 1.
func lineColumn(text string, offset int) (line, col int) {
	offset = min(max(offset, 0), len(text))
	before := text[:offset]
	line = 1 + strings.Count(before, "\n")
	return line, 1 + len([]rune(before[strings.LastIndexByte(before, '\n')+1:]))
}

var systemName = regexp.MustCompile(`^Did you mean "(main\.)?(sqlite_|pg_|duckdb_)`)

// sqlError makes a SQLError of DuckDB's text about query.
func sqlError(query, text string) *SQLError {
	m := parseMessage(text)
	e := &SQLError{Kind: m.Type}
	message, rest, _ := strings.Cut(strings.TrimSpace(m.Message), "\n")
	e.Message = message
	// What follows the first line is advice ("Did you mean", "Candidate bindings"), and
	// where DuckDB has the position, not a picture of the line.
	if rest, _, _ = strings.Cut(rest, "\nLINE "); !strings.HasPrefix(rest, "LINE ") {
		e.Hint = strings.Join(strings.Fields(rest), " ")
	}
	if systemName.MatchString(e.Hint) { // of a table that is not there; no user means one of DuckDB's own
		e.Hint = ""
	}
	if at, err := strconv.Atoi(m.Position); err == nil {
		e.Line, e.Column = lineColumn(query, at)
	}
	return e
}

// explain turns what the driver returned for query into the errors of this package.
// A cancelled context wins over DuckDB's "interrupted".
func (s *Stage) explain(ctx context.Context, query string, err error) error {
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	text := err.Error()
	m := parseMessage(text)
	if strings.EqualFold(m.Type, "FATAL") || strings.Contains(text, "database has been invalidated") {
		fatal := &FatalError{Message: m.Message, DiskFull: isDiskFull(text)}
		if s.fatal.CompareAndSwap(nil, fatal) {
			return fatal
		}
		return s.fatal.Load()
	}
	if isDiskFull(text) {
		return fmt.Errorf("disk is full: free space and run again: %w", sqlError(query, text))
	}
	if s.path != "" && (strings.Contains(text, "Corrupt database file") || strings.Contains(text, "Could not read enough bytes") && strings.Contains(m.Message, s.path)) {
		return fmt.Errorf("%w: %w", ErrDamaged, sqlError(query, text)) // which opening does not see: blocks are read as they are needed
	}
	return sqlError(query, text)
}

func isDiskFull(text string) bool {
	return strings.Contains(text, "No space left on device") || strings.Contains(text, "disk full")
}

var lockHolder = regexp.MustCompile(`lock is held in (.+?) \(PID (\d+)\)`)

// openError sorts DuckDB's refusal to open path.
func openError(path string, err error) error {
	text := parseMessage(err.Error()).Message
	if m := lockHolder.FindStringSubmatch(err.Error()); m != nil {
		pid, _ := strconv.Atoi(m[2])
		return &LockedError{Path: path, Process: m[1], PID: pid}
	}
	switch {
	case strings.Contains(text, "Could not set lock on file"):
		return &LockedError{Path: path, Process: "another process"}
	case strings.Contains(text, "different configuration than existing connections"):
		return &LockedError{Path: path}
	case strings.Contains(text, "not a valid DuckDB database file"):
		return fmt.Errorf("open %s: %w: it is not a DuckDB file", path, ErrNotStage)
	case strings.Contains(text, "version number"):
		return fmt.Errorf("open %s: %w: %s", path, ErrVersion, text)
	case strings.Contains(text, "Could not read enough bytes"), strings.Contains(text, "Corrupt"),
		strings.Contains(text, "checksum"), strings.Contains(text, "replaying WAL"),
		strings.Contains(text, "Serialization"), strings.Contains(text, "INTERNAL"):
		return fmt.Errorf("open %s: %w: %s", path, ErrDamaged, text)
	}
	return fmt.Errorf("open %s: %w", path, err)
}
