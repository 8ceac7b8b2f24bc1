package appliance

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
	"path/filepath"
	"time"

	"dvmigrate/appliance/config"
	"dvmigrate/appliance/progress"
)

// The control socket lets others look at a project while this process works on it:
// a Unix socket in the work folder, which only its owner may open (port.go says what
// there is where sockets are missing). It speaks HTTP
// with JSON bodies; SQL answers come as one JSON value a line.

// socketName is the control socket's name in the work folder.
const socketName = "control.sock"

// maxSocketPath is the longest address that a Unix socket takes on every system.
const maxSocketPath = 100

// socketPath is the control socket's address: relative where that is shorter.
func socketPath(work string) string {
	path := filepath.Join(work, socketName)
	if len(path) <= maxSocketPath {
		return path
	}
	if wd, err := os.Getwd(); err == nil {
		if rel, err := filepath.Rel(wd, path); err == nil && len(rel) < len(path) {
			return rel
		}
	}
	return path
}

// serveControl answers on the control socket until stop is called. Where no socket
// can be made, nobody can look in meanwhile, and nothing else is lost.
func (p *Project) serveControl() (stop func()) {
	listener, handler, file, err := p.listenControl(p.controlHandler())
	if err != nil {
		p.o.Log.Warn("no control socket", "error", err)
		return func() {}
	}
	server := &http.Server{Handler: handler, ReadHeaderTimeout: 5 * time.Second}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(listener) // ends with Close
	}()
	return func() {
		_ = server.Close()
		<-done
		os.Remove(file)
	}
}

func (p *Project) controlHandler() http.Handler {
	mux := http.NewServeMux()
	serves(mux, "status", func(ctx context.Context, _ any, _ StageWatch) (Status, error) { return p.Status(ctx) })
	serves(mux, "errors", func(ctx context.Context, f FailureFilter, _ StageWatch) (FailureList, error) {
		return p.Failures(ctx, f)
	})
	serves(mux, "error-groups", func(ctx context.Context, f FailureFilter, _ StageWatch) (FailureGroups, error) {
		return p.FailureGroups(ctx, f)
	})
	serves(mux, "error-export", func(ctx context.Context, q exportQuery, _ StageWatch) (Exported, error) {
		return p.ExportFailures(ctx, q.Filter, q.Path)
	})
	serves(mux, "snapshot", p.TakeSnapshot)
	serves(mux, "audit", func(ctx context.Context, q AuditQuery, _ StageWatch) (AuditPage, error) { return p.Audit(ctx, q) })
	serves(mux, "note", func(ctx context.Context, h Happened, _ StageWatch) (uint64, error) { return p.note(ctx, h) })
	serves(mux, "ledger-check", func(ctx context.Context, _ any, _ StageWatch) (LedgerReport, error) { return p.CheckLedger(ctx) })
	serves(mux, "ledger-stats", func(ctx context.Context, _ any, _ StageWatch) (LedgerStats, error) { return p.LedgerStats(ctx) })
	serves(mux, "figures", func(ctx context.Context, _ any, _ StageWatch) (progress.Figures, error) { return p.Figures(ctx) })
	serves(mux, "history", func(ctx context.Context, _ any, _ StageWatch) (progress.History, error) { return p.History(ctx) })
	serves(mux, "steer", func(ctx context.Context, s Steer, _ StageWatch) (string, error) {
		return p.Steer(context.WithoutCancel(ctx), s) // done is done, whoever has gone away
	})
	mux.HandleFunc("POST /sql", p.serveSQL)
	p.look(mux)
	return mux
}

// serves answers one question with lines of JSON that say how far it is, the last of which is
// the answer. It ends when who asked is gone.
func serves[Q, A any](mux *http.ServeMux, name string, find func(context.Context, Q, StageWatch) (A, error)) {
	mux.HandleFunc("POST /"+name, func(w http.ResponseWriter, r *http.Request) {
		var q Q
		if err := json.NewDecoder(r.Body).Decode(&q); err != nil {
			answer(w, nil, err)
			return
		}
		a, err := find(r.Context(), q, tell(w))
		answer(w, a, err)
	})
}

// reply is what the control socket answers: a value or an error, which may come after
// lines that say what is being done.
type reply struct {
	Value   json.RawMessage `json:"value,omitempty"`
	Error   string          `json:"error,omitempty"`
	SignIn  bool            `json:"signIn,omitempty"` // the error is a SignInError
	InUse   *Owner          `json:"inUse,omitempty"`  // or an InUseError
	Doing   string          `json:"doing,omitempty"`
	Percent float64         `json:"percent,omitempty"`
}

func answer(w http.ResponseWriter, v any, err error) {
	var r reply
	if err == nil {
		r.Value, err = json.Marshal(v)
	}
	if err != nil {
		r = reply{Error: err.Error()}
		var signIn *SignInError
		var inUse *InUseError
		if r.SignIn = errors.As(err, &signIn); !r.SignIn && errors.As(err, &inUse) {
			r.InUse = &inUse.Owner
		}
	}
	_ = json.NewEncoder(w).Encode(r) // whoever asked is gone
}

// sqlLine is one line of the answer to a statement.
type sqlLine struct {
	Names  []string `json:"names,omitempty"`
	Values []any    `json:"values,omitempty"`
	End    bool     `json:"end,omitempty"`   // the last line
	Error  string   `json:"error,omitempty"` // or this
}

func (p *Project) serveSQL(w http.ResponseWriter, r *http.Request) {
	var query string
	if err := json.NewDecoder(r.Body).Decode(&query); err != nil {
		answer(w, nil, err)
		return
	}
	out := json.NewEncoder(w)
	first := true
	err := p.SQL(r.Context(), query, func(names []string, values []any) error {
		line := sqlLine{Values: values}
		if first {
			line.Names, first = names, false
		}
		return out.Encode(line)
	})
	if err != nil {
		_ = out.Encode(sqlLine{Error: err.Error()})
		return
	}
	_ = out.Encode(sqlLine{End: true})
}

// remote is a project that another process has open.
type remote struct {
	http   http.Client
	config *config.Config
}

// attach connects to the process that works on the project in dir; nil when it
// does not answer.
func attach(dir string, o Options) *remote {
	c, err := config.LoadToLook(dir, o.Env)
	if err != nil {
		return nil
	}
	way := findControl(c.Path(c.Work))
	if way == nil {
		return nil
	}
	return &remote{http.Client{Transport: way}, c}
}

func (r *remote) post(ctx context.Context, what string, body any) (io.ReadCloser, error) {
	b, err := json.Marshal(body)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://project/"+what, bytes.NewReader(b))
	if err != nil {
		return nil, err
	}
	res, err := r.http.Do(req)
	if err != nil {
		return nil, fmt.Errorf("ask the process that works on the project: %w", err)
	}
	return res.Body, nil
}

func (r *remote) ask(ctx context.Context, what string, body, value any) error {
	return r.watch(ctx, what, body, value, func(string, float64) {})
}

// endedEarly is the error of an answer that breaks off: mostly the process is done, and gone.
func endedEarly(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errors.New("the process that worked on the project ended before it had answered: run this again")
	}
	return fmt.Errorf("ask the process that works on the project: %w", err)
}

// watch asks for what may take long, and tells how far it is.
func (r *remote) watch(ctx context.Context, what string, body, value any, watch StageWatch) error {
	in, err := r.post(ctx, what, body)
	if err != nil {
		return err
	}
	defer in.Close()
	for lines := json.NewDecoder(in); ; {
		var rep reply
		if err := lines.Decode(&rep); err != nil {
			return endedEarly(err)
		}
		switch {
		case rep.Error != "":
			return rep.answered()
		case rep.Value != nil:
			return json.Unmarshal(rep.Value, value)
		}
		watch(rep.Doing, rep.Percent)
	}
}

// Status implements Viewer.
func (r *remote) Status(ctx context.Context) (s Status, err error) {
	err = r.ask(ctx, "status", nil, &s)
	return s, err
}

// Failures implements Viewer.
// exportQuery is what the control socket is asked to export.
type exportQuery struct {
	Filter FailureFilter `json:"filter"`
	Path   string        `json:"path"`
}

func (r *remote) FailureGroups(ctx context.Context, f FailureFilter) (out FailureGroups, err error) {
	return out, r.ask(ctx, "error-groups", f, &out)
}

func (r *remote) ExportFailures(ctx context.Context, f FailureFilter, path string) (out Exported, err error) {
	return out, r.ask(ctx, "error-export", exportQuery{f, path}, &out)
}

func (r *remote) Failures(ctx context.Context, f FailureFilter) (list FailureList, err error) {
	err = r.ask(ctx, "errors", f, &list)
	return list, err
}

// TakeSnapshot implements Viewer.
func (r *remote) TakeSnapshot(ctx context.Context, to []string, watch StageWatch) (s SnapshotInfo, err error) {
	err = r.watch(ctx, "snapshot", to, &s, watch)
	return s, err
}

// Audit implements Viewer.
func (r *remote) Audit(ctx context.Context, q AuditQuery) (page AuditPage, err error) {
	err = r.ask(ctx, "audit", q, &page)
	return page, err
}

// CheckLedger implements Viewer.
func (r *remote) CheckLedger(ctx context.Context) (report LedgerReport, err error) {
	err = r.ask(ctx, "ledger-check", nil, &report)
	return report, err
}

// LedgerStats implements Viewer.
func (r *remote) LedgerStats(ctx context.Context) (stats LedgerStats, err error) {
	err = r.ask(ctx, "ledger-stats", nil, &stats)
	return stats, err
}

// SQL implements Viewer.
func (r *remote) SQL(ctx context.Context, query string, row func([]string, []any) error) error {
	in, err := r.post(ctx, "sql", query)
	if err != nil {
		return err
	}
	defer in.Close()
	d := json.NewDecoder(bufio.NewReader(in))
	d.UseNumber()
	var names []string
	for {
		var line sqlLine
		if err := d.Decode(&line); err != nil {
			return endedEarly(err)
		}
		switch {
		case line.Error != "":
			return errors.New(line.Error)
		case line.End:
			return nil
		case line.Names != nil:
			names = line.Names
		}
		if err := row(names, line.Values); err != nil {
			return err
		}
	}
}

// Close implements Viewer.
func (r *remote) Close() error {
	r.http.CloseIdleConnections()
	return nil
}
