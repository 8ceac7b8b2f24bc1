//go:build unix

package appliance

import (
	"bytes"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"dvmigrate/appliance/dataverse"
	"dvmigrate/appliance/dataverse/emulator"
	"dvmigrate/appliance/dataverse/schema"
)

// historiesVariable says how many random histories TestRandomHistories goes through; if it is not set 2 short ones, the
// same in every run. A history is one migration: supplies that add, change and remove rows, stagings, loads
// that come to their end, are stopped at once, are killed, lose answers, are throttled, retries,
// snapshots, the loss of the disk, and rollbacks, some of which are stopped and go on.
const historiesVariable = "DVMIGRATE_HISTORIES"

// historyFaults strike in some loads.
var historyFaults = []string{
	"kind=reset-after,p=0.2,seed=%d", "kind=503-after,p=0.2,seed=%d", "kind=reset-before,p=0.2,seed=%d", "kind=deadlock,p=0.2,seed=%d",
	"kind=half-batch,p=0.2,seed=%d", "kind=cut,p=0.2,seed=%d", "kind=429-time,nth=2,retry-after=1",
}

// TestRandomHistories: whatever happened on the way, at the end the target has exactly the rows
// that the source has, the ledger is sound and says the same, and nothing differs.
func TestRandomHistories(t *testing.T) {
	n, steps, seed := 2, 4, uint64(1)
	if text := os.Getenv(historiesVariable); text != "" {
		var err error
		steps, seed = 10, uint64(time.Now().UnixNano())
		if n, err = strconv.Atoi(text); err != nil {
			t.Fatalf("%s: %v", historiesVariable, err)
		}
	}
	if text := os.Getenv(historiesVariable + "_SEED"); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	did := map[string]int{}
	for i := range n {
		if !t.Run(fmt.Sprint(seed+uint64(i)), func(t *testing.T) { newHistory(t, seed+uint64(i)).live(did, steps) }) {
			return
		}
	}
	t.Logf("%d histories: %v", n, did)
}

type history struct {
	t    *testing.T
	r    *rand.Rand
	dir  string
	url  string
	e    *emulator.Server
	safe string // of snapshots

	accounts map[int]string // name and state
	contacts map[int]int    // its account
	links    map[[2]int]bool
	deals    map[int]deal
	next     int

	strike  atomic.Pointer[func()] // at a request that writes
	snaps   []string
	story   []string
	onTheGo int
}

// deal is an opportunity that belongs to an account, may follow another one, and is open, won or lost: closed by an
// action of its own, it refuses changes, and an owner.
type deal struct {
	name    string
	state   int
	account int
	follows int // the deal that it follows; 0: none
}

func newHistory(t *testing.T, seed uint64) *history {
	h := &history{t: t, r: rand.New(rand.NewPCG(seed, 0)), safe: t.TempDir(), accounts: map[int]string{}, contacts: map[int]int{}, links: map[[2]int]bool{}, deals: map[int]deal{}}
	s := cascadingSchema(t)
	opportunity := s.Table("opportunity")
	opportunity.Columns = append(opportunity.Columns, &schema.Column{LogicalName: "contoso_followsid", SchemaName: "contoso_FollowsId", Type: schema.Lookup, Targets: []string{"opportunity"}})
	opportunity.ManyToOne = append(opportunity.ManyToOne, schema.Relationship{SchemaName: "contoso_follows", Column: "contoso_followsid", Target: "opportunity", Nav: "contoso_FollowsId", Collection: "contoso_followed"})
	for i := range opportunity.ManyToOne {
		if r := &opportunity.ManyToOne[i]; r.Column == "parentaccountid" {
			r.Cascade = map[string]string{"Assign": "Cascade", "Delete": "Cascade"}
		}
	}
	h.url, h.e = emulatedAs(t, s, 8, func(_ http.ResponseWriter, r *http.Request) bool {
		// Not at links and deletes, whose lost answers are waited for as long as a request may last.
		strike := h.strike.Load()
		switch {
		case strike == nil:
		case strings.Contains(r.URL.Path, "Multiple"):
			(*strike)()
		case strings.HasSuffix(r.URL.Path, "/$batch"):
			body, err := io.ReadAll(r.Body)
			r.Body = io.NopCloser(bytes.NewReader(body))
			if err == nil && bytes.Contains(body, []byte("\nPATCH ")) && !bytes.Contains(body, []byte("\nDELETE ")) {
				(*strike)()
			}
		}
		return false
	})
	h.dir = goneProject(t, h.url, "account: {gone: delete, batch: 5}\n  contact: {gone: delete, batch: 5}\n  contactleads: {gone: delete}\n  lead: {gone: delete}\n  opportunity: {gone: delete, batch: 5}\nguard: {gone: 0%, fewer: 0%}")
	// A new name of an account brings another owner, who would take its contacts along.
	owner := func(of string) string {
		return fmt.Sprintf("existing('systemuser', CASE ascii(right(%s, 1)) %% 2 WHEN 0 THEN '%s' ELSE '%s' END) AS ownerid", of, annID, schema.GUID(emulator.UserID))
	}
	var text strings.Builder
	if err := s.Write(&text); err != nil {
		t.Fatal(err)
	}
	edit(t, filepath.Join(h.dir, "migration.yaml"), "  links: {path", "  deals: {path: d.csv, types: text}\n  links: {path")
	for name, content := range map[string]string{
		"schema.json":               text.String(),
		"transform/opportunity.sql": "SELECT key AS legacy_key, key AS stepname, name, parent AS parentaccountid, follows AS contoso_followsid, state::INTEGER AS statecode, CASE state WHEN '0' THEN 1 WHEN '1' THEN 3 ELSE 4 END AS statuscode, " + owner("name") + " FROM deals",
		"transform/account.sql":     "SELECT key AS legacy_key, key AS accountnumber, name, state::INTEGER AS statecode, 1 + state::INTEGER AS statuscode, " + owner("name") + " FROM accounts",
		"transform/contact.sql":     "SELECT key AS legacy_key, key AS lastname, parent AS parentcustomerid, ownerid FROM (SELECT key, ref('account', parent) AS parent, " + owner("key") + " FROM contacts)",
	} {
		if err := os.WriteFile(filepath.Join(h.dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return h
}

// live goes through the history and requires its end.
func (h *history) live(did map[string]int, most int) {
	steps := map[string]func(){"load": h.load, "faults": h.faults, "stop": h.stop, "kill": h.kill, "snapshot": h.snapshot, "lose": h.lose, "supply": h.supply, "rollback": h.rollback}
	names := []string{"load", "faults", "faults", "stop", "kill", "snapshot", "lose", "supply", "supply", "supply", "rollback"}
	defer func() {
		if h.t.Failed() || testing.Verbose() {
			h.t.Logf("the history: %v", h.story)
		}
	}()
	h.supply()
	for range (most+1)/2 + h.r.IntN((most+1)/2) {
		name := names[h.r.IntN(len(names))]
		h.story = append(h.story, name)
		did[name]++
		began := time.Now()
		steps[name]()
		h.story = append(h.story, time.Since(began).Round(10*time.Millisecond).String())
		if h.t.Failed() {
			break
		}
	}
	if !h.t.Failed() { // at least one delta is of what was loaded
		h.load()
		h.supply()
		h.end()
	}
}

// supply changes the source and stages it. What was in flight is settled first, as a person
// would who reads the refusal.
func (h *history) supply() {
	h.snaps = nil // those before the last staging bring back less than what the target was given
	h.change()
	h.stage()
}

func (h *history) change() {
	r := h.r
	pick := func(m map[int]string) int { keys := slices.Sorted(maps.Keys(m)); return keys[r.IntN(len(keys))] }
	for range 4 + r.IntN(12) {
		if len(h.accounts) < 3 || r.IntN(3) == 0 {
			h.accounts[h.next] = fmt.Sprintf("new %d,%d", h.next, r.IntN(2))
			h.next++
		}
		switch k := pick(h.accounts); r.IntN(7) {
		case 6: // of one that has contacts
			if cs := slices.Sorted(maps.Keys(h.contacts)); len(cs) > 0 {
				k = h.contacts[cs[r.IntN(len(cs))]]
			}
			fallthrough
		case 0:
			h.accounts[k] = fmt.Sprintf("renamed %d,%d", r.IntN(1000), r.IntN(2))
		case 1: // gone, with who belongs to it
			delete(h.accounts, k)
			for c, a := range h.contacts {
				if a == k {
					delete(h.contacts, c)
				}
			}
			maps.DeleteFunc(h.deals, func(_ int, d deal) bool { return d.account == k })
		case 2:
			h.contacts[r.IntN(20)] = k
		case 3:
			delete(h.contacts, r.IntN(20))
		default:
			if cs := slices.Sorted(maps.Keys(h.contacts)); len(cs) > 0 {
				l := [2]int{cs[r.IntN(len(cs))], r.IntN(8)}
				if h.links[l] = !h.links[l]; !h.links[l] {
					delete(h.links, l)
				}
			}
		}
	}
	for range r.IntN(8) {
		k := 1 + r.IntN(9)
		d, there := h.deals[k]
		switch {
		case !there:
			d = deal{account: pick(h.accounts)}
			fallthrough
		case r.IntN(3) == 0:
			d.name, d.state = fmt.Sprint("deal ", r.IntN(1000)), r.IntN(3)
		case r.IntN(2) == 0:
			d.name = fmt.Sprint("again ", r.IntN(1000))
		default:
			if d.follows = 1 + r.IntN(9); d.follows == k {
				d.follows = 0
			}
		}
		if h.deals[k] = d; r.IntN(8) == 0 {
			delete(h.deals, k)
		}
	}
	for k, d := range h.deals {
		if _, there := h.deals[d.follows]; !there {
			d.follows = 0
			h.deals[k] = d
		}
	}
	for l := range h.links {
		if _, there := h.contacts[l[0]]; !there {
			delete(h.links, l)
		}
	}
}

// followed is the key of the deal that a deal follows.
func (d deal) followed() string {
	if d.follows == 0 {
		return ""
	}
	return fmt.Sprint("D", d.follows)
}

// write writes the sources as they are now, their rows in any order.
func (h *history) write() {
	file := func(name string, rows [][]string) {
		h.r.Shuffle(len(rows)-1, func(i, k int) { rows[i+1], rows[k+1] = rows[k+1], rows[i+1] })
		f, err := os.Create(filepath.Join(h.dir, name))
		if err == nil {
			err = errors.Join(csv.NewWriter(f).WriteAll(rows), f.Close())
		}
		if err != nil {
			h.t.Fatal(err)
		}
	}
	accounts, contacts, leads, links := [][]string{{"key", "name", "state"}}, [][]string{{"key", "parent"}}, [][]string{{"key"}}, [][]string{{"c", "l"}}
	deals := [][]string{{"key", "name", "state", "parent", "follows"}}
	for _, k := range slices.Sorted(maps.Keys(h.deals)) {
		d := h.deals[k]
		deals = append(deals, []string{fmt.Sprint("D", k), d.name, fmt.Sprint(d.state), fmt.Sprint("A", d.account), d.followed()})
	}
	for _, k := range slices.Sorted(maps.Keys(h.accounts)) {
		accounts = append(accounts, append([]string{fmt.Sprint("A", k)}, strings.Split(h.accounts[k], ",")...))
	}
	for _, k := range slices.Sorted(maps.Keys(h.contacts)) {
		contacts = append(contacts, []string{fmt.Sprint("C", k), fmt.Sprint("A", h.contacts[k])})
	}
	for i := range 8 {
		leads = append(leads, []string{fmt.Sprint("L", i)})
	}
	for c := range 20 {
		for l := range 8 {
			if h.links[[2]int{c, l}] {
				links = append(links, []string{fmt.Sprint("C", c), fmt.Sprint("L", l)})
			}
		}
	}
	file("a.csv", accounts)
	file("c.csv", contacts)
	file("l.csv", leads)
	file("n.csv", links)
	file("d.csv", deals)
}

func (h *history) stage() {
	h.write()
	p := h.open(Staging)
	defer p.Close()
	if p.refuseInFlight() != nil {
		h.finish(p)
	}
	if _, err := p.Stage(h.t.Context(), nil, func(string, float64) {}); err != nil {
		h.t.Fatal(err)
	}
}

func (h *history) open(mode Mode) *Project {
	p, err := Open(h.t.Context(), h.dir, mode, Options{Env: targetAt(h.url)})
	if err != nil {
		h.t.Fatal(err)
	}
	return p
}

// finish loads without faults until nothing waits, and takes up what failed.
func (h *history) finish(p *Project) {
	for range 5 {
		r, err := p.Load(h.t.Context(), h.t.Context(), LoadOptions{SnapshotEvery: -1})
		if err != nil {
			h.t.Fatalf("load: %v", err)
		}
		if r.Summary.Error+r.Summary.Held == 0 {
			return
		}
		if _, err := p.Retry(h.t.Context(), FailureFilter{}); err != nil {
			h.t.Fatal(err)
		}
	}
	list, _ := p.Failures(h.t.Context(), FailureFilter{Limit: 5})
	h.t.Fatalf("records fail again and again: %+v", list.Errors)
}

func (h *history) load() {
	p := h.open(Loading)
	defer p.Close()
	h.finish(p)
}

// faults loads once while some kinds of faults strike.
func (h *history) faults() {
	for range 1 + h.r.IntN(2) {
		rule := historyFaults[h.r.IntN(len(historyFaults))]
		if strings.Contains(rule, "%d") {
			rule = fmt.Sprintf(rule, h.r.IntN(1000))
		}
		h.story = append(h.story, rule)
		f, err := emulator.ParseFault(rule)
		if err != nil {
			h.t.Fatal(err)
		}
		h.e.Order(f)
	}
	defer h.e.ClearFaults()
	p := h.open(Loading)
	defer p.Close()
	for again := 0; ; again++ { // one read that fails at each of its tries ends a load, and a scheduler begins another
		_, err := p.Load(h.t.Context(), h.t.Context(), LoadOptions{SnapshotEvery: -1})
		if err == nil {
			return
		}
		if kind := dataverse.KindOf(err); again == 5 || kind != dataverse.Transient && kind != dataverse.RolledBack {
			h.t.Fatalf("load: %v", err)
		}
	}
}

// at calls do at one of the next requests that write, the first to the most-th.
func (h *history) at(most int, do func()) (off func()) {
	var n atomic.Int64
	nth := int64(1 + h.r.IntN(most))
	strike := func() {
		if n.Add(1) == nth {
			do()
		}
	}
	h.strike.Store(&strike)
	return func() { h.strike.Store(nil) }
}

// stop stops a load at once, so that answers go unheard.
func (h *history) stop() {
	ctx, cancel := context.WithCancel(h.t.Context())
	defer cancel()
	defer h.at(6, cancel)()
	p := h.open(Loading)
	defer p.Close()
	if _, err := p.Load(ctx, ctx, LoadOptions{SnapshotEvery: -1}); err != nil && ctx.Err() == nil {
		h.t.Fatalf("load: %v", err)
	}
}

// kill kills the process of a load.
func (h *history) kill() {
	c := exec.Command(os.Args[0], "-test.run=^TestHistoryChild$", "-test.count=1")
	c.Env = append(os.Environ(), historyChildVariable+"="+h.dir+"|"+h.url)
	defer h.at(6, func() { _ = c.Process.Kill() })()
	out, err := c.CombinedOutput()
	if err != nil && c.ProcessState.ExitCode() != -1 {
		h.t.Fatalf("the load that was to be killed: %v\n%s", err, out)
	}
}

const historyChildVariable = "DVMIGRATE_HISTORY_CHILD"

// TestHistoryChild is a process that loads, for a history to kill.
func TestHistoryChild(t *testing.T) {
	dir, url, ok := strings.Cut(os.Getenv(historyChildVariable), "|")
	if !ok {
		t.Skip("is the child of a history")
	}
	p := reopen(t, dir, Loading, url)
	if _, err := p.Load(t.Context(), t.Context(), LoadOptions{SnapshotEvery: -1}); err != nil {
		t.Fatal(err)
	}
}

func (h *history) snapshot() {
	p := h.open(Loading)
	defer p.Close()
	info, err := p.Snapshot(h.t.Context(), []string{h.safe})
	if err != nil {
		h.t.Fatal(err)
	}
	h.snaps = append(h.snaps, info.ID)
}

// lose loses the disk: any of the snapshots since the last staging is restored, and the source is
// staged again.
func (h *history) lose() {
	if len(h.snaps) == 0 {
		return
	}
	id := h.snaps[h.r.IntN(len(h.snaps))]
	h.onTheGo++
	dest := filepath.Join(h.t.TempDir(), fmt.Sprint("restored", h.onTheGo))
	if _, err := Restore(h.t.Context(), RestoreOptions{From: h.safe, Dest: dest, ID: id}, Options{Env: targetAt(h.url)}); err != nil {
		h.t.Fatal(err)
	}
	h.dir = dest
	h.stage()
}

// rollback takes the last generation back, or all; what it took back waits for a load.
func (h *history) rollback() {
	h.snaps = nil // those before say that the target has what is taken back, which a load takes for an emptied target and asks
	p := h.open(Loading)
	defer p.Close()
	h.finish(p)
	o := RollbackOptions{Generation: []string{"last", "full"}[h.r.IntN(2)]}
	o.Load.SnapshotEvery = -1
	h.story = append(h.story, o.Generation)
	if h.r.IntN(2) == 0 {
		ctx, cancel := context.WithCancel(h.t.Context())
		off := h.at(2, cancel) // it sends few requests
		_, err := p.Rollback(ctx, ctx, o)
		off()
		stopped := ctx.Err() != nil
		cancel()
		if err == nil {
			return
		}
		if !stopped {
			h.t.Fatalf("rollback: %v", err)
		}
		h.story = append(h.story, "stopped")
		o = RollbackOptions{Load: o.Load}
	}
	if _, err := p.Rollback(h.t.Context(), h.t.Context(), o); err != nil {
		h.t.Fatalf("rollback: %v", err)
	}
}

// end stages and loads once more, and requires that all is as it should be.
func (h *history) end() {
	h.stage()
	p := h.open(Loading)
	defer p.Close()
	h.finish(p)
	want, got := map[string]string{}, map[string]string{}
	for k, v := range h.accounts {
		want[fmt.Sprint("A", k)] = v
	}
	for k, v := range h.contacts {
		want[fmt.Sprint("C", k)] = fmt.Sprint("A", v)
	}
	byID := map[string]string{}
	for _, row := range plainRows(h.t, h.url, "accounts") {
		key := fmt.Sprint(row["accountnumber"])
		byID[fmt.Sprint(row["accountid"])] = key
		if got[key] != "" {
			h.t.Errorf("%s is there twice", key)
		}
		got[key] = fmt.Sprint(row["name"], ",", row["statecode"])
	}
	for _, row := range plainRows(h.t, h.url, "contacts") {
		key := fmt.Sprint(row["lastname"])
		if got[key] != "" {
			h.t.Errorf("%s is there twice", key)
		}
		got[key] = byID[fmt.Sprint(row["_parentcustomerid_value"])]
	}
	for k, d := range h.deals {
		want[fmt.Sprint("D", k)] = fmt.Sprint(d.name, ",", d.state, ",A", d.account, ",", d.followed())
	}
	deals := plainRows(h.t, h.url, "opportunities")
	for _, row := range deals {
		byID[fmt.Sprint(row["opportunityid"])] = fmt.Sprint(row["stepname"])
	}
	for _, row := range deals {
		key := fmt.Sprint(row["stepname"])
		if got[key] != "" {
			h.t.Errorf("%s is there twice", key)
		}
		got[key] = fmt.Sprint(row["name"], ",", row["statecode"], ",", byID[fmt.Sprint(row["_parentaccountid_value"])], ",", byID[fmt.Sprint(row["_contoso_followsid_value"])])
	}
	if diff := cmp.Diff(want, got); diff != "" {
		h.t.Errorf("the target is not what the source is (-want +got):\n%s", diff)
	}
	if n := len(plainRows(h.t, h.url, "contactleadscollection")); n != len(h.links) {
		h.t.Errorf("%d links, want %d", n, len(h.links))
	}
	c, err := p.CheckLedger(h.t.Context())
	if err != nil || !c.Sound || !c.UndoSound {
		h.t.Errorf("the ledger: %v, %+v", err, c)
	}
	r, err := p.Reconcile(h.t.Context(), ReconcileOptions{Values: true, Limit: 5}, func(string, float64) {})
	if s := r.Summary; err != nil || s.Missing+s.Extra+s.Different+s.Duplicates > 0 {
		h.t.Errorf("reconcile: %v, %+v %+v", err, s, r.Tables)
	}
}
