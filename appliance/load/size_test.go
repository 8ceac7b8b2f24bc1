package load_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"dvmigrate/appliance/dataverse/emulator"
	"dvmigrate/appliance/dataverse/schema"
	"dvmigrate/appliance/load"
	"dvmigrate/appliance/mapping"
	"dvmigrate/appliance/plan"
	"dvmigrate/appliance/sample"
)

// sizes are the records in the bulk requests that a service met, and what it does with them.
type sizes struct {
	table  *mapping.Table                  // instead of the world's accounts
	schema *schema.Schema                  // with it
	cost   func(records int) time.Duration // execution time
	most   int                             // with more records a request ends in an SQL timeout; 0: none does
	bad    int                             // one row in so many is refused

	mu   sync.Mutex
	list []int
	over int // requests with more than most
}

func (m *sizes) setting(w *world, o *emulator.Options) {
	o.Discard, o.Latency = true, 10*time.Millisecond
	for name, rows := range w.stage.tables {
		if name != "account" {
			rows.count = 0
		}
	}
	if m.table != nil {
		o.Schema, w.tables["account"], w.stage.tables["account"].mapped = m.schema, m.table, m.table
	}
	if m.bad > 0 {
		for seq := m.bad / 2; seq < w.stage.tables["account"].count; seq += m.bad {
			w.change["account.name."+itoa(seq)] = strings.Repeat("x", 161)
		}
	}
	w.options.Plan.Steps = slices.DeleteFunc(w.options.Plan.Steps, func(s plan.Step) bool {
		return s.Table != "account" || s.Pass == plan.Lookups || s.Pass == plan.State
	})
	w.wrap = func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			if !strings.Contains(r.URL.Path, "CreateMultiple") {
				h.ServeHTTP(rw, r)
				return
			}
			body, _ := io.ReadAll(r.Body)
			r.Body = io.NopCloser(bytes.NewReader(body))
			n := bytes.Count(body, []byte(`"@odata.type"`))
			m.mu.Lock()
			m.list = append(m.list, n)
			tooMany := m.most > 0 && n > m.most
			if tooMany {
				m.over++
			}
			m.mu.Unlock()
			if tooMany {
				time.Sleep(20 * time.Second)
				rw.Header().Set("Content-Type", "application/json")
				rw.WriteHeader(http.StatusInternalServerError)
				io.WriteString(rw, `{"error":{"code":"0x80044151","message":"SQL timeout expired."}}`)
				return
			}
			time.Sleep(m.cost(n))
			h.ServeHTTP(rw, r)
		})
	}
}

// rate loads n accounts with so many a request, 0 for as many as prove best, and returns
// the records a second of the first and the second half of them.
func (m *sizes) rate(t *testing.T, n, batch int) (first, second float64) {
	synctest.Test(t, func(t *testing.T) {
		m.list, m.over = nil, 0
		w := newWorld(t, n, settings(load.Settings{Batch: batch, Parallel: 4}), m.setting)
		if _, err := w.client.WhoAmI(context.Background()); err != nil {
			t.Fatal(err)
		}
		began, half, done := time.Now(), time.Time{}, int64(0)
		w.notes.sent = func() {
			w.notes.mu.Lock()
			defer w.notes.mu.Unlock()
			if half.IsZero() && w.notes.done >= int64(n/2) {
				half, done = time.Now(), w.notes.done
			}
		}
		w.mustRun()
		first, second = float64(done)/half.Sub(began).Seconds(), float64(w.notes.done-done)/time.Since(half).Seconds()
		if s := w.server.Stats(); s.Created != w.notes.done || s.Duplicates > 0 || w.inFlight() > 0 {
			t.Errorf("%d records created, %d done, %d twice, %d in flight", s.Created, w.notes.done, s.Duplicates, w.inFlight())
		}
		if batch == 0 {
			t.Log(first, second, w.notes.texts, m.steps())
		}
	})
	return first, second
}

// steps are the sizes in the order in which each was first used.
func (m *sizes) steps() (out []string) {
	count, order := map[int]int{}, []int{}
	for _, n := range m.list {
		if count[n]++; count[n] == 1 {
			order = append(order, n)
		}
	}
	for _, n := range order {
		out = append(out, fmt.Sprintf("%d: %d", n, count[n]))
	}
	return out
}

// last is the size that most of the last requests had.
func (m *sizes) last() int {
	count := map[int]int{}
	best := 0
	for _, n := range m.list[len(m.list)*3/4:] {
		if count[n]++; count[n] > count[best] {
			best = n
		}
	}
	return best
}

func linear(request, record time.Duration) func(int) time.Duration {
	return func(n int) time.Duration { return request + time.Duration(n)*record }
}

// TestBatchFindsItsSize: with a size of its own choice a load soon does nearly what the
// best fixed one does, whatever it is that makes it the best.
func TestBatchFindsItsSize(t *testing.T) {
	const ms = time.Millisecond
	for _, c := range []struct {
		name        string
		m           *sizes
		records     int
		best        []int // fixed sizes to compare with
		share       float64
		least, most int // of the size at the end
	}{
		{"a request costs much", &sizes{cost: linear(200*ms, ms)}, 100_000, []int{1000}, 0.9, 700, 1000},
		{"more than 280 end in a timeout", &sizes{cost: linear(1000*ms, 5*ms), most: 280}, 60_000, []int{280}, 0.9, 230, 280},
		{"a record costs what it costs", &sizes{cost: linear(0, 5*ms)}, 20_000, []int{100}, 0.97, 100, 300},
		{"large ones cost more", &sizes{cost: func(n int) time.Duration { return 100*ms + time.Duration(n+n*n/50)*ms }}, 60_000, []int{50, 75, 100}, 0.9, 50, 110},
		{"one row in a hundred is bad", &sizes{cost: linear(50*ms, 5*ms), bad: 100}, 20_000, []int{50, 100, 200}, 0.9, 20, 300},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			first, second := c.m.rate(t, c.records, 0)
			size, over := c.m.last(), c.m.over
			best := 0.0
			for _, n := range c.best {
				_, rate := c.m.rate(t, c.records/4, n)
				best = max(best, rate)
			}
			t.Logf("%d records a request in the end; %.3f of the best fixed size's rate, %.3f at first", size, second/best, first/best)
			if size < c.least || size > c.most {
				t.Errorf("%d records a request in the end, want %d to %d", size, c.least, c.most)
			}
			if second/best < c.share {
				t.Errorf("%.3f of the rate of the best fixed size, want %.2f", second/best, c.share)
			}
			if over > 3 {
				t.Errorf("%d requests were larger than the service can do", over)
			}
		})
	}
}

// TestWideTableStartsSmall: records with more than a hundred columns begin with 20 a
// request, and grow where that pays.
func TestWideTableStartsSmall(t *testing.T) {
	t.Parallel()
	s, m := wideAccounts(t)
	if got := load.StartBatch(m); got != 20 {
		t.Errorf("a wide table starts with %d records a request, want 20", got)
	}
	slow := sizes{table: m, schema: s, cost: linear(0, 50*time.Millisecond)}
	slow.rate(t, 1_000, 0)
	if slices.Max(slow.list) > 30 || slow.last() != 20 {
		t.Errorf("where that brings nothing it has up to %d records a request, %d in the end, want 20", slices.Max(slow.list), slow.last())
	}
	quick := sizes{table: m, schema: s, cost: linear(200*time.Millisecond, time.Millisecond)}
	quick.rate(t, 10_000, 0)
	if quick.list[0] != 20 || quick.last() < 150 {
		t.Errorf("where that pays it goes from %d records a request to %d, want 20 and 150 at least", quick.list[0], quick.last())
	}
}

// wideAccounts is the sample's schema with 110 more columns of account, and a mapping to
// all of them.
func wideAccounts(t *testing.T) (*schema.Schema, *mapping.Table) {
	t.Helper()
	var file map[string]any
	if err := json.Unmarshal(sample.Schema(), &file); err != nil {
		t.Fatal(err)
	}
	names := []string{"legacy_key", "name"}
	for _, table := range file["tables"].([]any) {
		table := table.(map[string]any)
		if table["name"] != "account" {
			continue
		}
		for i := range 110 {
			name := "new_text" + itoa(i)
			names = append(names, name)
			table["columns"] = append(table["columns"].([]any), map[string]any{"name": name, "schemaName": name, "type": "text", "maxLength": 100})
		}
	}
	text, err := json.Marshal(file)
	if err != nil {
		t.Fatal(err)
	}
	s, err := schema.Read(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	m, faults := mapping.Bind(s, "account", columns(names...), func(string) bool { return false })
	if len(faults) > 0 {
		t.Fatal(faults)
	}
	return s, m
}
