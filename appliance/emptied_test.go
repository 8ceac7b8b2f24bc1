package appliance

import (
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"dvmigrate/appliance/dataverse/emulator"
	"dvmigrate/ledger"
)

// emptiable is an environment whose place another one takes, which was never loaded, as soon as
// emptied says so.
func emptiable(t *testing.T) (url string, fresh *emulator.Server, emptied *atomic.Bool) {
	emptied = &atomic.Bool{}
	_, fresh = emulated(t, 16, nil)
	url = environment(t, 16, func(w http.ResponseWriter, r *http.Request) bool {
		if !emptied.Load() {
			return false
		}
		fresh.ServeHTTP(w, r)
		return true
	})
	return url, fresh, emptied
}

// entries are what the ledger says of all records.
func entries(p *Project) (all []string) {
	for _, t := range p.ledger.Tables() {
		for s := range p.ledger.Spans(t.Name, 0) {
			all = append(all, t.Name+" "+s.String()+" "+s.Changed().String())
		}
	}
	return all
}

// stageChanges stages a new contact, a changed account, and no more.
func stageChanges(t *testing.T, dir, url string) *Project {
	t.Helper()
	edit(t, filepath.Join(dir, "a.csv"), "account 2,", "account two,")
	edit(t, filepath.Join(dir, "c.csv"), "C7,A7\n", "C7,A7\nC+,\n")
	p := reopen(t, dir, Staging, url)
	if _, err := p.Stage(t.Context(), nil, func(string, float64) {}); err != nil {
		t.Fatal(err)
	}
	if n := p.waiting(); n != 2 {
		t.Fatalf("%d records wait, want 2", n)
	}
	return p
}

// TestEmptiedTarget: what waits is not sent to a target that has lost all that was loaded, unless that
// is meant. The ids of accounts are those of Dataverse, the others are ours.
func TestEmptiedTarget(t *testing.T) {
	url, fresh, emptied := emptiable(t)
	dir := goneProject(t, url, "account: {ids: server, match: accountnumber}")
	stageAndLoad(t, dir, url)
	p := stageChanges(t, dir, url)
	emptied.Store(true)
	was, before := entries(p), fresh.Stats()
	_, err := p.Load(t.Context(), t.Context(), LoadOptions{SnapshotEvery: -1})
	want := &EmptiedError{Tables: []Probed{{"account", 8, 8}, {"contact", 8, 8}, {"lead", 8, 8}}, Asked: 24, Gone: 24}
	var got *EmptiedError
	if !errors.As(err, &got) || cmp.Diff(want, got) != "" {
		t.Fatalf("load: %v, want %v", err, want)
	}
	for _, text := range []string{"24 of 24 records", "contact 8 of 8", "dvmigrate reconcile", "dvmigrate retry --reconciled", "--accept-missing"} {
		if !strings.Contains(err.Error(), text) {
			t.Errorf("no %s in: %v", text, err)
		}
	}
	if d := cmp.Diff(was, entries(p)); d != "" {
		t.Errorf("the ledger has changed: %s", d)
	}
	r, err := p.Delta(t.Context(), t.Context(), DeltaOptions{Load: LoadOptions{SnapshotEvery: -1}, Stage: func(string, float64) {}, Step: func(string) {}})
	var stopped *DeltaStopped
	if !errors.As(err, &stopped) || !errors.As(err, &got) || r.Load != nil {
		t.Errorf("delta: %v, load %+v", err, r.Load)
	}
	if after := fresh.Stats(); after.Created != before.Created || after.Updated != before.Updated {
		t.Errorf("the target was written to: %+v, before %+v", after, before)
	}
	l, err := p.Load(t.Context(), t.Context(), LoadOptions{SnapshotEvery: -1, AcceptMissing: true})
	if err != nil || l.Failed != 1 || l.Summary.Unprocessed != 0 || fresh.Stats().Created != before.Created+1 {
		t.Errorf("load that accepts it: %v, %+v", err, l)
	}
}

// TestFewMissing: that users have deleted a few records stops nobody, nor does a table that may not be read.
func TestFewMissing(t *testing.T) {
	var hide atomic.Bool
	var asked atomic.Int64
	url := environment(t, 16, func(w http.ResponseWriter, r *http.Request) bool {
		if hide.Load() && asked.Load() == 0 && strings.HasSuffix(r.URL.Path, "/$batch") { // of all tables at once
			asked.Add(1)
			w.WriteHeader(http.StatusForbidden)
			fmt.Fprint(w, `{"error":{"code":"0x80040220","message":"Principal user is missing prvReadLead privilege"}}`)
			return true
		}
		if r.Method == http.MethodGet && strings.Contains(r.URL.RawQuery, "filter") {
			asked.Add(1)
		}
		if r.Method != http.MethodGet || !hide.Load() || !strings.HasSuffix(r.URL.Path, "/leads") {
			return false
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusForbidden)
		fmt.Fprint(w, `{"error":{"code":"0x80040220","message":"Principal user is missing prvReadLead privilege"}}`)
		return true
	})
	dir := goneProject(t, url, "lead: {}")
	stageAndLoad(t, dir, url)
	p := stageChanges(t, dir, url)
	for _, row := range plainRows(t, url, "contacts") {
		if row["lastname"] == "C3" || row["lastname"] == "C5" {
			sendRaw(t, http.MethodDelete, fmt.Sprintf("%s/api/data/v9.2/contacts(%s)", url, row["contactid"]), "")
		}
	}
	if n := strings.Count(keysIn(t, url, "contacts", "lastname"), "C"); n != 6 {
		t.Fatalf("%d contacts are left, want 6", n)
	}
	hide.Store(true)
	asked.Store(0)
	r, err := p.Load(t.Context(), t.Context(), LoadOptions{SnapshotEvery: -1})
	if err != nil || r.Summary.Unprocessed+r.Summary.Error != 0 {
		t.Errorf("load: %v, %+v", err, r.Summary)
	}
	if asked.Load() < 4 {
		t.Errorf("the target was asked %d times", asked.Load())
	}
}

// TestOneTableEmptied: a load also stops where one table of many was emptied, which it finds by one request, and
// not where a record of it is left.
func TestOneTableEmptied(t *testing.T) {
	var requests, batches atomic.Int64
	url := environment(t, 16, func(_ http.ResponseWriter, r *http.Request) bool {
		requests.Add(1)
		if strings.HasSuffix(r.URL.Path, "/$batch") {
			batches.Add(1)
		}
		return false
	})
	dir := goneProject(t, url, "lead: {}")
	supply(t, dir, 60)
	stageAndLoad(t, dir, url)
	p := stageChanges(t, dir, url)
	b, err := p.bindStaged(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	target, err := p.meet(t.Context(), 0, "")
	if err != nil {
		t.Fatal(err)
	}
	defer target.close()
	look := func() error {
		t.Helper()
		requests.Store(0)
		batches.Store(0)
		err := p.refuseEmptied(t.Context(), t.Context(), b, target)
		if requests.Load() != 1 || batches.Load() != 1 {
			t.Errorf("%d requests, %d of them $batch", requests.Load(), batches.Load())
		}
		return err
	}
	if err := look(); err != nil {
		t.Errorf("all is there: %v", err)
	}
	probed := map[string]bool{}
	for _, c := range p.probeSample(b) {
		for _, seq := range c.seqs {
			probed[fmt.Sprint(c.table.Name, seq)] = true
		}
	}
	kept := ""
	for i, row := range plainRows(t, url, "leads") {
		name := fmt.Sprint(row["subject"])
		if kept == "" && probed["lead"+strings.TrimPrefix(name, "L")] && i > 9 {
			kept = fmt.Sprint(row["leadid"])
			continue
		}
		sendRaw(t, http.MethodDelete, fmt.Sprintf("%s/api/data/v9.2/leads(%s)", url, row["leadid"]), "")
	}
	if err := look(); kept == "" || err != nil {
		t.Errorf("one lead is left, %q: %v", kept, err)
	}
	sendRaw(t, http.MethodDelete, fmt.Sprintf("%s/api/data/v9.2/leads(%s)", url, kept), "")
	var got *EmptiedError
	err = look()
	if want := (&EmptiedError{Tables: []Probed{{"lead", 20, 20}}, Asked: 60, Gone: 20}); !errors.As(err, &got) || cmp.Diff(want, got) != "" {
		t.Fatalf("%v, want %v", err, want)
	}
	if text := err.Error(); !strings.Contains(text, "none of the records of a table") || !strings.Contains(text, "(lead 20 of 20)") {
		t.Error(text)
	}
}

// TestProbeSample: those that are asked for are spread over the tables and over each table's records that
// the target has, and are no others.
func TestProbeSample(t *testing.T) {
	url := environment(t, 16, nil)
	dir := goneProject(t, url, "lead: {}")
	supply(t, dir, 300)
	stageAndLoad(t, dir, url)
	p := stageChanges(t, dir, url)
	b, err := p.bindStaged(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	total := 0
	for _, c := range p.probeSample(b) {
		total += len(c.seqs)
		if len(c.seqs) != probeEach || c.seqs[0] > 10 || int(c.seqs[len(c.seqs)-1]) < 280 {
			t.Errorf("%s: %v", c.table.Name, c.seqs)
		}
		for i, seq := range c.seqs {
			e, _ := p.ledger.Entry(c.table.Name, seq)
			if !probed(e) || i > 0 && (seq <= c.seqs[i-1] || seq > c.seqs[i-1]+17) {
				t.Errorf("%s %d after %v: %v", c.table.Name, seq, c.seqs[:i], e)
			}
		}
	}
	if total != 3*probeEach {
		t.Errorf("%d records", total)
	}
	for e, want := range map[ledger.Entry]bool{
		{Action: ledger.Insert}:                            false, // waits, as after retry --reconciled
		{Action: ledger.Update}:                            true,
		{Action: ledger.Update, Flag: ledger.Failed}:       false, // perhaps since it is missing
		{Action: ledger.Delete, Flag: ledger.Processed}:    false,
		{Action: ledger.Insert, Flag: ledger.InFlight}:     false,
		{Action: ledger.Insert, Flag: ledger.Success}:      true,
		{Action: ledger.Nothing, Flag: ledger.Unprocessed}: false,
	} {
		if probed(e) != want {
			t.Errorf("%v: %v", e, !want)
		}
	}
}
