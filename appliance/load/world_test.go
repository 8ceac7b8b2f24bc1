package load_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"dvmigrate/appliance/dataverse"
	"dvmigrate/appliance/dataverse/emulator"
	"dvmigrate/appliance/dataverse/pace"
	"dvmigrate/appliance/dataverse/schema"
	"dvmigrate/appliance/load"
	"dvmigrate/appliance/mapping"
	"dvmigrate/appliance/plan"
	"dvmigrate/appliance/sample"
	"dvmigrate/ledger"
)

// world is a small migration: six tables with a cycle, a self-reference, a polymorphic
// lookup, states, an N:N relationship and a table without bulk requests; a real ledger
// and the real client against the emulator, over pipes, so that a test can run in a
// synctest bubble where waiting takes no time.
type world struct {
	t       *testing.T
	server  *emulator.Server
	client  *dataverse.Client
	stage   *stage
	ledger  *ledger.Ledger
	path    string
	plan    *plan.Plan
	tables  map[string]*mapping.Table
	links   map[string]dataverse.Link
	options load.Options
	notes   *notes
	change  map[string]any // "table.column.seq" → value instead of the usual one
	wrap    func(http.Handler) http.Handler

	dial func(ctx context.Context, network, address string) (net.Conn, error) // to the server
}

// TestMain keeps ledgers in memory where the system has a place for that and TMPDIR does
// not say otherwise: a load waits for the disk, and its tests need not.
func TestMain(m *testing.M) {
	f, err := os.CreateTemp("/dev/shm", "dvmigrate")
	if err == nil {
		f.Close()
		os.Remove(f.Name())
	}
	if _, set := os.LookupEnv("TMPDIR"); !set && err == nil {
		os.Setenv("TMPDIR", "/dev/shm")
	}
	os.Exit(m.Run())
}

// tableNames are the tables, in the order of their numbers in the ledger.
var tableNames = []string{"account", "contact", "lead", "opportunity", "product", "contactleads"}

var selected = map[string][]mapping.Selected{
	"account":      columns("legacy_key", "name", "accountnumber", "parentaccountid", "primarycontactid", "numberofemployees", "revenue", "creditonhold", "statecode", "statuscode"),
	"contact":      append(columns("legacy_key", "lastname", "emailaddress1"), mapping.Selected{Name: "parentcustomerid", SQLType: "STRUCT(a)"}),
	"lead":         columns("legacy_key", "subject", "lastname", "parentaccountid", "qualifyingopportunityid", "statecode", "statuscode"),
	"opportunity":  columns("legacy_key", "name", "originatingleadid", "estimatedvalue", "statecode", "statuscode"),
	"product":      columns("legacy_key", "name", "productnumber"),
	"contactleads": columns("legacy_key", "contactid", "leadid"),
}

func columns(names ...string) (out []mapping.Selected) {
	for _, n := range names {
		out = append(out, mapping.Selected{Name: n, SQLType: "VARCHAR"})
	}
	return out
}

func id(table string, seq int) [16]byte {
	g := [16]byte{6: 0x40, 8: 0x80}
	g[0] = byte(slices.Index(tableNames, table) + 1)
	binary.BigEndian.PutUint32(g[12:], uint32(seq))
	return g
}

// theSchema is the sample's; it is never changed.
var theSchema = sync.OnceValues(readSchema)

func readSchema() (*schema.Schema, error) { return schema.Read(bytes.NewReader(sample.Schema())) }

// setting changes a world before it starts.
type setting func(*world, *emulator.Options)

func rowsOf(n int) map[string]int {
	return map[string]int{"account": n, "contact": n, "lead": n / 2, "opportunity": n / 2, "product": n / 4, "contactleads": n / 2}
}

func newWorld(t *testing.T, n int, more ...setting) *world {
	t.Helper()
	s, err := theSchema()
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, path: filepath.Join(t.TempDir(), "ledger"), tables: map[string]*mapping.Table{}, links: map[string]dataverse.Link{},
		notes: &notes{}, change: map[string]any{}, wrap: func(h http.Handler) http.Handler { return h }}
	w.stage = &stage{tables: map[string]*rows{}, book: func() *ledger.Ledger { return w.ledger }}
	var all []*mapping.Table
	for _, name := range tableNames {
		m, faults := mapping.Bind(s, name, selected[name], func(n string) bool { return slices.Contains(tableNames, n) })
		if len(faults) > 0 {
			t.Fatal(faults)
		}
		w.tables[name] = m
		all = append(all, m)
		if m.Link != nil {
			if w.links[name], err = dataverse.NewLink(s, m.Link); err != nil {
				t.Fatal(err)
			}
		}
	}
	w.plan = plan.Order(all)
	for name, count := range rowsOf(n) {
		w.stage.tables[name] = &rows{mapped: w.tables[name], count: count, owed: func(seq int) uint8 { return w.owed(name, seq) },
			value: func(column string, seq int) any { return w.value(name, column, seq) }}
	}
	w.options = load.Options{Plan: w.plan, Tables: w.tables, Links: w.links, Parallel: 4, Watch: w.notes,
		Settings: func(string) load.Settings { return load.Settings{Batch: 50} }}
	o := emulator.Options{Schema: s}
	for _, f := range more {
		f(w, &o)
	}
	w.serve(o)
	w.server.Reset() // the rows that are there from the start do not count
	w.openLedger()
	w.planAll()
	return w
}

// serve starts the emulator behind pipes.
func (w *world) serve(o emulator.Options) {
	var err error
	if w.server, err = emulator.New(o); err != nil {
		w.t.Fatal(err)
	}
	l := &pipes{conns: make(chan net.Conn), closed: make(chan struct{})}
	web := &http.Server{Handler: w.wrap(w.server)}
	var served sync.WaitGroup
	served.Go(func() { _ = web.Serve(l) })
	w.dial = l.dial
	w.client, err = dataverse.New(dataverse.Options{URL: "http://127.0.0.1", Token: token{}, Dial: l.dial,
		Limiter: pace.New(pace.Options{Start: 8}), Timeout: 30 * time.Second})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() {
		w.client.Close()
		web.Close()
		served.Wait()
		w.server.Close()
	})
}

func (w *world) openLedger() {
	l, err := ledger.Open(context.Background(), w.path, ledger.Options{})
	if err != nil {
		w.t.Fatal(err)
	}
	w.ledger = l
	w.t.Cleanup(func() {
		if err := l.Check(context.Background()); err != nil && !errors.Is(err, ledger.ErrClosed) {
			w.t.Errorf("the ledger is damaged: %v", err)
		}
		l.Close()
	})
}

// planAll plans every row to be inserted.
func (w *world) planAll() {
	ctx := context.Background()
	for i, name := range tableNames {
		n := uint32(w.stage.tables[name].count)
		if err := w.ledger.Define(ctx, ledger.Table{Name: name, Number: uint16(i + 1), Count: n}); err != nil {
			w.t.Fatal(err)
		}
		if n == 0 {
			continue
		}
		if err := w.ledger.Plan(ctx, name, []ledger.Planned{{Range: ledger.Range{From: 0, To: n}, Action: ledger.Insert}}); err != nil {
			w.t.Fatal(err)
		}
	}
}

// reopen closes the ledger as a process does that ends, and opens it again.
func (w *world) reopen() {
	w.t.Helper()
	if err := w.ledger.Close(); err != nil {
		w.t.Fatal(err)
	}
	w.openLedger()
}

func itoa(n int) string { return strconv.Itoa(n) }

func guid(table string, seq int) string { return schema.GUID(id(table, seq)).String() }

func (w *world) loader() *load.Loader {
	return load.New(w.stage, w.ledger, w.client, w.options)
}

func (w *world) run() error { return w.loader().Run(context.Background(), context.Background()) }

// mustRun loads and requires that it goes well.
func (w *world) mustRun() {
	w.t.Helper()
	if err := w.run(); err != nil {
		w.t.Fatalf("load: %v", err)
	}
}

// value is what the stage holds of a column.
func (w *world) value(table, column string, seq int) any {
	if v, ok := w.change[fmt.Sprintf("%s.%s.%d", table, column, seq)]; ok {
		return v
	}
	count := func(t string) int { return w.stage.tables[t].count }
	switch column {
	case mapping.ID:
		return id(table, seq)
	case "parentaccountid": // a tree
		if seq > 0 {
			return id("account", (seq-1)/2)
		}
	case "primarycontactid":
		if seq%3 == 0 && count("contact") > 0 {
			return id("contact", seq%count("contact"))
		}
	case "parentcustomerid":
		return id(w.value(table, "parentcustomerid__table", seq).(string), seq/2)
	case "parentcustomerid__table":
		if seq%5 == 0 {
			return "contact"
		}
		return "account"
	case "qualifyingopportunityid":
		if seq%2 == 0 {
			return id("opportunity", seq)
		}
	case "originatingleadid":
		return id("lead", seq)
	case "contactid":
		return id("contact", seq)
	case "leadid":
		return id("lead", (seq*7)%count("lead"))
	case "statecode":
		if seq%4 == 3 {
			return 1
		}
		return 0
	case "statuscode":
		closed := map[string]int{"account": 2, "lead": 3, "opportunity": 3}[table]
		if w.value(table, "statecode", seq) == 1 {
			return closed
		}
		return 1
	case "numberofemployees":
		return seq
	case "revenue", "estimatedvalue":
		return seq * 125
	case "creditonhold":
		return seq % 2
	case "accountnumber", "productnumber":
		return fmt.Sprintf("N-%05d", seq)
	default:
		return fmt.Sprintf("%s %s %d", table, column, seq)
	}
	return nil
}

func (w *world) owed(table string, seq int) (owed uint8) {
	for _, name := range w.plan.Deferred(table) {
		if w.value(table, name, seq) != nil {
			owed |= mapping.OwesLookups
		}
	}
	if w.tables[table].HasState() && w.value(table, "statecode", seq) != 0 {
		owed |= mapping.OwesState
	}
	return owed
}

// total is the number of records that come of the rows: one each, without links, and of
// each opportunity that is won the activity that closes it.
func (w *world) total() (n int) {
	for name, t := range w.stage.tables {
		if w.tables[name].Link == nil {
			n += t.count
		}
	}
	return n + w.won()
}

// won is the number of opportunities that are closed by an action.
func (w *world) won() (n int) {
	for seq := range w.stage.tables["opportunity"].count {
		if w.value("opportunity", "statecode", seq) != 0 {
			n++
		}
	}
	return n
}

// flags counts a table's records by flag.
func (w *world) flags(table string) map[string]int {
	out := map[string]int{}
	for s := range w.ledger.Spans(table, 0) {
		out[s.Flag.String()] += s.Len()
	}
	return out
}

func (w *world) wantFlags(table string, want map[string]int) {
	w.t.Helper()
	if got := w.flags(table); !maps.Equal(got, want) {
		w.t.Errorf("%s: flags %v, want %v", table, got, want)
	}
}

func (w *world) entry(table string, seq int) ledger.Entry {
	e, _ := w.ledger.Entry(table, uint32(seq))
	return e
}

// reasons are the messages of a table's failed and held records, by seq.
func (w *world) reasons(table string) map[int]ledger.Failure {
	list, err := w.ledger.Failures(table, 0, 1<<20)
	if err != nil {
		w.t.Fatal(err)
	}
	out := map[int]ledger.Failure{}
	for _, f := range list {
		out[int(f.Seq)] = f
	}
	return out
}

func (w *world) inFlight() (n int) {
	for _, name := range tableNames {
		n += w.flags(name)["F"]
	}
	return n
}

// wantLoaded requires that the target holds exactly the staged rows, but for those
// whose entry is failed or held, each column as it is staged, and each row once.
func (w *world) wantLoaded() {
	w.t.Helper()
	for _, name := range tableNames {
		t := w.stage.tables[name]
		if t.mapped.Link != nil {
			w.wantLinked(t)
			continue
		}
		got := w.export(name)
		for seq := range t.count {
			e := w.entry(name, seq)
			g := guid(name, seq)
			row, there := got[g]
			delete(got, g)
			switch {
			case e.Pass == ledger.Main && (e.Flag == ledger.Failed || e.Flag == ledger.Held):
				if there {
					w.t.Errorf("%s %d is in the target and in the ledger %v", name, seq, e)
				}
			case !there:
				w.t.Errorf("%s %d is not in the target and in the ledger %v", name, seq, e)
			case e.Flag == ledger.Processed:
				w.wantRow(name, seq, row)
			case e.Flag != ledger.Failed && e.Flag != ledger.Held:
				w.t.Errorf("%s %d is not done: %v", name, seq, e)
			}
		}
		for g := range got {
			w.t.Errorf("%s has a record that nobody staged: %s", name, g)
		}
	}
	if n := w.inFlight(); n > 0 {
		w.t.Errorf("%d records are in flight", n)
	}
}

func (w *world) wantLinked(t *rows) {
	w.t.Helper()
	want := 0
	for seq := range t.count {
		if w.entry(t.mapped.Name, seq).Flag == ledger.Processed {
			want++
		}
	}
	if got := w.server.Stats().Links[t.mapped.Link.SchemaName]; got != want {
		w.t.Errorf("%s: %d links in the target, want %d", t.mapped.Name, got, want)
	}
}

// wantRow compares a row of the target with the staged one.
func (w *world) wantRow(table string, seq int, row map[string]any) {
	w.t.Helper()
	t := w.tables[table]
	for _, c := range t.Columns {
		want := fmt.Sprint(w.value(table, c.LogicalName, seq))
		switch {
		case c.SQLType == "BOOLEAN":
			want = fmt.Sprint(want == "1")
		case strings.HasPrefix(c.SQLType, "DECIMAL"):
			want = fmt.Sprint(json.Number(fmt.Sprintf("%.2f", float64(w.value(table, c.LogicalName, seq).(int))/100)))
		}
		got := fmt.Sprint(row[c.LogicalName])
		if f, ok := row[c.LogicalName].(json.Number); ok && strings.HasPrefix(c.SQLType, "DECIMAL") {
			x, _ := f.Float64()
			got = fmt.Sprintf("%.2f", x)
		}
		if got != want {
			w.t.Errorf("%s %d: %s is %v, want %v", table, seq, c.LogicalName, got, want)
		}
	}
	for _, l := range t.Lookups {
		want := "<nil>"
		if g, ok := w.value(table, l.LogicalName, seq).([16]byte); ok {
			want = schema.GUID(g).String()
		}
		if got := fmt.Sprint(row["_"+l.LogicalName+"_value"]); got != want {
			w.t.Errorf("%s %d: %s is %v, want %v", table, seq, l.LogicalName, got, want)
		}
	}
}

// export reads the target's rows of a table by id; none may be there twice.
func (w *world) export(table string) map[string]map[string]any {
	w.t.Helper()
	var out bytes.Buffer
	if err := w.server.Export(&out, table); err != nil {
		w.t.Fatal(err)
	}
	found := map[string]map[string]any{}
	for lines := bufio.NewScanner(&out); lines.Scan(); {
		row := map[string]any{}
		d := json.NewDecoder(bytes.NewReader(lines.Bytes()))
		d.UseNumber()
		if err := d.Decode(&row); err != nil {
			w.t.Fatal(err)
		}
		g := row[w.tables[table].Schema.PrimaryID].(string)
		if found[g] != nil {
			w.t.Errorf("%s holds %s twice", table, g)
		}
		found[g] = row
	}
	return found
}

// copyLedger copies the ledger as a snapshot does.
func (w *world) copyLedger() []byte {
	var out bytes.Buffer
	if err := w.ledger.SnapshotTo(context.Background(), &out); err != nil {
		w.t.Fatal(err)
	}
	return out.Bytes()
}

// restoreLedger puts a copy in the ledger's place.
func (w *world) restoreLedger(copied []byte) {
	w.t.Helper()
	if err := w.ledger.Close(); err != nil {
		w.t.Fatal(err)
	}
	if err := os.Remove(w.path); err != nil {
		w.t.Fatal(err)
	}
	if err := (ledger.Store{Path: w.path}).RestoreFrom(context.Background(), bytes.NewReader(copied)); err != nil {
		w.t.Fatal(err)
	}
	w.openLedger()
}

// notes is a watcher that remembers.
type notes struct {
	mu    sync.Mutex
	texts []string
	sent  func() // called after each request's outcome is recorded
	done  int64
}

func (n *notes) Begin(string, string, int64) {}
func (n *notes) End(string, string)          {}

func (n *notes) Sent(_, _ string, done, _, _ int64) {
	n.mu.Lock()
	n.done += done
	sent := n.sent
	n.mu.Unlock()
	if sent != nil {
		sent()
	}
}

func (n *notes) Note(table, text string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.texts = append(n.texts, table+": "+text)
}

func (n *notes) has(part string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.ContainsFunc(n.texts, func(s string) bool { return strings.Contains(s, part) })
}

type token struct{}

func (token) Token(context.Context) (string, error) { return "test", nil }
func (token) Expire(string)                         {}

// pipes is a network between one client and one server.
type pipes struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func (p *pipes) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	here, there := net.Pipe()
	select {
	case p.conns <- there:
		return here, nil
	case <-p.closed:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error {
	p.once.Do(func() { close(p.closed) })
	return nil
}

func (p *pipes) Addr() net.Addr { return &net.TCPAddr{} }
