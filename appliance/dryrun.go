package appliance

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"dvmigrate/appliance/dataverse"
	"dvmigrate/appliance/dataverse/identity"
	"dvmigrate/appliance/dataverse/pace"
	"dvmigrate/appliance/dataverse/schema"
	"dvmigrate/appliance/load"
	"dvmigrate/appliance/plan"
	"dvmigrate/appliance/progress"
	"dvmigrate/ledger"
)

// A dry run is a load in all but two things: the ledger is a copy that is thrown away,
// and behind the client there is no network but a counter that takes every request for
// done. So what it counts is what a load would send, to the byte.

// DryRun is what a load would send.
type DryRun struct {
	Version  int         `json:"version"`
	Tables   []DryStep   `json:"tables"` // in the order in which they are sent
	Records  int64       `json:"records"`
	Requests int64       `json:"requests"`
	Bytes    int64       `json:"bytes"` // of request bodies
	Reads    int64       `json:"reads"` // requests that only read: records in flight, or maybe there already
	Summary  Counts      `json:"summary"`
	Misfits  []DryMisfit `json:"misfits"` // what does not fit the schema; the first of each kind
	Seconds  float64     `json:"seconds"`
}

// DryStep is one pass of one table.
type DryStep struct {
	Table    string `json:"table"`
	Pass     string `json:"pass"`
	Records  int64  `json:"records"`
	Requests int64  `json:"requests"`
	Bulk     int64  `json:"bulk"`   // of the requests: CreateMultiple, UpdateMultiple
	Batch    int64  `json:"batch"`  // $batch
	Single   int64  `json:"single"` // one record each
	Bytes    int64  `json:"bytes"`
	Largest  int64  `json:"largest"` // body, in bytes
}

// dryCopy is the copy of a ledger that a dry run works on.
type dryCopy struct {
	original *ledger.Ledger
	dir      string
}

// openCopy puts a copy of the ledger in its place.
func (p *Project) openCopy(ctx context.Context) error {
	if err := os.MkdirAll(p.Config.TempDir(), 0o700); err != nil {
		return fmt.Errorf("make the folder for temporary files: %w", err)
	}
	dir, err := os.MkdirTemp(p.Config.TempDir(), "dry-run-*")
	if err != nil {
		return err
	}
	p.dry = &dryCopy{original: p.ledger, dir: dir}
	path := filepath.Join(dir, "ledger.bolt")
	if err := copyLedger(ctx, p.ledger, path); err != nil {
		return err
	}
	l, err := ledger.Open(ctx, path, ledger.Options{Set: p.set})
	if err != nil {
		return err
	}
	p.ledger = l
	return nil
}

func copyLedger(ctx context.Context, l *ledger.Ledger, path string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	return errors.Join(l.SnapshotTo(ctx, f), f.Close())
}

// closeCopy puts the ledger itself back and removes the copy.
func (p *Project) closeCopy() error {
	d := p.dry
	p.dry = nil
	var err error
	if p.ledger != d.original {
		err = p.ledger.Close()
		p.ledger = d.original
	}
	return errors.Join(err, os.RemoveAll(d.dir))
}

// bindCopy is what a load needs of a project whose ledger is a copy.
func (p *Project) bindCopy(ctx context.Context) (b *bound, links map[string]dataverse.Link, err error) {
	if p.dry == nil {
		return nil, nil, errors.New("a trial needs a project that is open as DryRunning")
	}
	if err := p.sync(ctx); err != nil { // of the copy
		return nil, nil, err
	}
	if b, err = p.bindStaged(ctx); err != nil {
		return nil, nil, err
	}
	links, err = p.links(b)
	return b, links, err
}

// DryRun builds every request of a load, checks it against the schema and counts it.
// None is sent and the ledger stays as it is. The project is open as DryRunning.
func (p *Project) DryRun(ctx, drain context.Context, o LoadOptions) (DryRun, error) {
	begin := time.Now()
	r := DryRun{Version: 1, Tables: []DryStep{}, Misfits: []DryMisfit{}}
	b, links, err := p.bindCopy(ctx)
	if err != nil {
		return r, err
	}
	files, closeFiles, err := p.openFiles(b)
	if err != nil {
		return r, err
	}
	defer closeFiles()
	tracker := progress.New()
	tracker.Phase("dry run")
	p.tracker.Store(tracker)
	defer p.tracker.Store(nil)
	counter := newCounter(p.Schema, b.plan, tracker)
	target, err := p.nowhere(counter)
	if err != nil {
		return r, err
	}
	defer target.close()
	routes, err := p.routes(target, b)
	if err != nil {
		return r, err
	}
	err = load.New(p.stage, p.ledger, routes[""], load.Options{
		Plan: b.plan, Tables: b.byName, Links: links, Settings: p.drySettings(b), Parallel: p.parallel(o, 1), RecordSeq: p.recordSeq(), FirstID: p.firstID(), As: p.routesAs(target), Files: files, Collation: p.collation(false),
		Target: func(table string) load.Target { return routes[table] }, Watch: counter, Log: p.o.Log,
	}).Run(ctx, drain)
	tracker.Finish()
	counter.result(&r)
	s, statusErr := p.Status(ctx)
	r.Summary, r.Seconds = s.Summary, time.Since(begin).Seconds()
	return r, errors.Join(err, statusErr)
}

// drySettings are the settings of a load with requests of the size it starts from: nobody
// is there whose time would tell of a better one.
func (p *Project) drySettings(b *bound) func(table string) load.Settings {
	return func(table string) load.Settings {
		s := p.loadSettings(table)
		if s.Batch == 0 && s.Message != load.Batch {
			s.Batch = load.StartBatch(b.byName[table])
		}
		return s
	}
}

// nowhere is one user of an environment that is not there. The address stands in some
// bodies and so counts.
func (p *Project) nowhere(counter *counter) (*users, error) {
	token, err := identity.New(identity.Options{Kind: identity.None})
	if err != nil {
		return nil, err
	}
	address := p.Config.Target.Environment()
	if address == "" {
		address = "https://organization.crm.dynamics.com"
	}
	client, err := dataverse.New(dataverse.Options{URL: address, Token: token, HTTP: &http.Client{Transport: counter},
		Limiter: pace.New(pace.Options{Start: p.Config.Limits.Concurrent, Max: p.Config.Limits.Concurrent})})
	if err != nil {
		return nil, err
	}
	return &users{each: []*user{{client: client}}}, nil
}

// counter takes requests for done and counts them. It is the http.RoundTripper of a dry
// run and watches the load, which works on one step at a time.
type counter struct {
	*progress.Tracker // is told the same
	inspector         inspector

	mu    sync.Mutex // protects what follows
	now   *DryStep   // the step under way
	steps []*DryStep // in the plan's order
	reads int64
}

func newCounter(s *schema.Schema, order *plan.Plan, tracker *progress.Tracker) *counter {
	c := &counter{Tracker: tracker, inspector: inspector{schema: s, misfits: map[string]*DryMisfit{}}}
	for _, step := range order.Steps {
		c.steps = append(c.steps, &DryStep{Table: step.Table, Pass: string(step.Pass)})
	}
	return c
}

// Begin implements load.Watcher.
func (c *counter) Begin(table, pass string, total int64) {
	c.mu.Lock()
	found := false
	for _, s := range c.steps {
		if s.Table == table && s.Pass == pass {
			c.now, found = s, true
		}
	}
	if !found { // what is gone is not in the plan
		c.now = &DryStep{Table: table, Pass: pass}
		c.steps = append(c.steps, c.now)
	}
	c.mu.Unlock()
	c.Tracker.Begin(table, pass, total)
}

// Sent implements load.Watcher.
func (c *counter) Sent(table, pass string, done, failed, held int64) {
	c.mu.Lock()
	c.now.Records += done
	c.mu.Unlock()
	c.Tracker.Sent(table, pass, done, failed, held)
}

// RoundTrip implements http.RoundTripper: it sends nothing.
func (c *counter) RoundTrip(r *http.Request) (*http.Response, error) {
	var body []byte
	if r.Body != nil {
		var err error
		if body, err = io.ReadAll(r.Body); err != nil {
			return nil, err
		}
		r.Body.Close()
	}
	if r.Method == http.MethodGet {
		c.mu.Lock()
		c.reads++
		c.mu.Unlock()
		return answer200(r, "application/json", `{"value":[]}`), nil
	}
	_, path, _ := strings.Cut(r.URL.Path, "/v9.2/")
	c.count(path, int64(len(body)))
	if path == "$batch" {
		boundary := strings.TrimSuffix(strings.TrimPrefix(r.Header.Get("Content-Type"), `multipart/mixed; boundary="`), `"`)
		parts := bytes.Split(body, []byte("--"+boundary+"\r\n"))[1:]
		for _, part := range parts {
			c.inspector.part(part)
		}
		const done = "--done\r\nContent-Type: application/http\r\nContent-Transfer-Encoding: binary\r\n\r\nHTTP/1.1 204 No Content\r\nOData-Version: 4.0\r\nOData-EntityId: " + nobody + "\r\n\r\n\r\n"
		return answer200(r, "multipart/mixed; boundary=done", strings.Repeat(done, len(parts))+"--done--\r\n"), nil
	}
	if res := fileAnswer(r, path); res != nil {
		return res, nil
	}
	c.inspector.request(r.Method, path, body)
	if strings.HasSuffix(path, "CreateMultiple") {
		ids := strings.Repeat(`"`+nobodyID+`",`, bytes.Count(body, []byte(`{"@odata.type":`)))
		return answer200(r, "application/json", `{"Ids":[`+strings.TrimSuffix(ids, ",")+`]}`), nil
	}
	return &http.Response{StatusCode: http.StatusNoContent, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: http.Header{"Odata-Entityid": {nobody}}, Body: http.NoBody, Request: r}, nil
}

// nobody is the record that a dry run takes for each one whose id Dataverse assigns.
const nobodyID, nobody = "00000000-0000-4000-8000-000000000001", "records(" + nobodyID + ")"

func answer200(r *http.Request, media, body string) *http.Response {
	return &http.Response{StatusCode: http.StatusOK, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: http.Header{"Content-Type": {media}},
		Body: io.NopCloser(strings.NewReader(body)), ContentLength: int64(len(body)), Request: r}
}

// count counts one write.
func (c *counter) count(path string, size int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.now
	s.Requests++
	s.Bytes += size
	s.Largest = max(s.Largest, size)
	switch {
	case path == "$batch":
		s.Batch++
	case strings.HasSuffix(path, "Multiple"):
		s.Bulk++
	default:
		s.Single++
	}
}

// result adds up what was counted.
func (c *counter) result(r *DryRun) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range c.steps {
		if s.Requests == 0 {
			continue
		}
		r.Tables = append(r.Tables, *s)
		r.Records += s.Records
		r.Requests += s.Requests
		r.Bytes += s.Bytes
	}
	r.Reads = c.reads
	for _, key := range slices.Sorted(maps.Keys(c.inspector.misfits)) {
		r.Misfits = append(r.Misfits, *c.inspector.misfits[key])
	}
}
