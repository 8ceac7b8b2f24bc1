package load_test

import (
	"bytes"
	"context"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"dvmigrate/appliance/dataverse/emulator"
	"dvmigrate/appliance/load"
	"dvmigrate/ledger"
)

// slowCommit answers a share of the writes with a gateway's 504 at once, and lets them
// reach the service 20 seconds later (dataverse-web-api.md, trap 39).
type slowCommit struct {
	share float64
	mu    sync.Mutex
	rnd   *rand.Rand
	wg    sync.WaitGroup
	times int
}

func (s *slowCommit) setting(w *world, _ *emulator.Options) {
	w.wrap = func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			s.mu.Lock()
			strikes := r.Method != http.MethodGet && s.rnd.Float64() < s.share
			if strikes {
				s.times++
			}
			s.mu.Unlock()
			if !strikes {
				h.ServeHTTP(rw, r)
				return
			}
			body, _ := io.ReadAll(r.Body)
			again := r.Clone(context.Background())
			again.Body = io.NopCloser(bytes.NewReader(body))
			s.wg.Go(func() {
				time.Sleep(20 * time.Second)
				h.ServeHTTP(httptest.NewRecorder(), again)
			})
			rw.Header().Set("Content-Type", "text/html")
			rw.WriteHeader(http.StatusGatewayTimeout)
			io.WriteString(rw, "<html><head><title>504 Gateway Time-out</title></head></html>")
		})
	}
}

// TestCommittedLate: a request that was answered by a gateway, and is committed long
// after it was looked for and sent again, makes nothing twice and overwrites nothing.
func TestCommittedLate(t *testing.T) {
	for _, c := range []struct {
		name string
		s    load.Settings
	}{
		{"in bulk", load.Settings{Batch: 10}},
		{"by $batch", load.Settings{Batch: 10, Message: load.Batch}},
		{"one record a request", load.Settings{Batch: 10, Message: load.Single}},
	} {
		story(t, c.name, func(t *testing.T) {
			slow := &slowCommit{share: 0.2, rnd: rand.New(rand.NewPCG(7, 7))}
			w := newWorld(t, 60, settings(c.s), slow.setting)
			w.mustRun()
			slow.wg.Wait()
			w.wantLoaded()
			if s := w.server.Stats(); s.Created != int64(w.total()) {
				t.Errorf("%d records created, want %d", s.Created, w.total())
			}
			// Updates of all open accounts, with a second pass behind them.
			n := uint32(w.stage.tables["account"].count)
			var open []ledger.Planned
			for seq := range n {
				if w.value("account", "statecode", int(seq)) == 0 {
					open = append(open, ledger.Planned{Range: ledger.One(seq), Action: ledger.Update})
				}
			}
			if err := w.ledger.Plan(t.Context(), "account", open); err != nil {
				t.Fatal(err)
			}
			before := slow.times
			w.mustRun()
			slow.wg.Wait()
			w.wantLoaded()
			if slow.times == before {
				t.Error("no update was committed late: the test proves nothing")
			}
			for _, name := range tableNames {
				if f := w.reasons(name); len(f) > 0 {
					t.Errorf("%s: failed are %v", name, f)
				}
			}
		})
	}
}

// TestCommittedLateWithServerIDs: the same where only a column tells which row a record is
// of, with an alternate key that forbids a second one and without: then the load waits
// until no request can be at work before it decides.
func TestCommittedLateWithServerIDs(t *testing.T) {
	for _, message := range []load.Message{load.Bulk, load.Batch, load.Single} {
		story(t, itoa(int(message)), func(t *testing.T) {
			slow := &slowCommit{share: 0.2, rnd: rand.New(rand.NewPCG(7, 7))}
			w := newWorld(t, 60, serverIDs, settings(load.Settings{Batch: 10, Message: message}), slow.setting)
			w.mustRun()
			slow.wg.Wait()
			w.wantServerLoaded()
			if s := w.server.Stats(); s.Created != int64(w.total()) {
				t.Errorf("%d records created, want %d", s.Created, w.total())
			}
			if slow.times == 0 {
				t.Error("nothing was committed late: the test proves nothing")
			}
		})
	}
}
