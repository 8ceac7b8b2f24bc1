package load_test

import (
	"bytes"
	"io"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"dvmigrate/appliance/dataverse/emulator"
	"dvmigrate/appliance/load"
)

var parentText = regexp.MustCompile(`parentcustomerid_\w+@odata\.bind":"(\w+\([0-9a-f-]+\))`)

// lockingParents is a database that locks the parents that contacts are written to point to,
// and undoes a request that meets a lock. It counts them.
func lockingParents(deadlocks *int) setting {
	return func(w *world, o *emulator.Options) {
		o.Latency = 50 * time.Millisecond
		var mu sync.Mutex
		locked := map[string]bool{}
		w.wrap = func(h http.Handler) http.Handler {
			return http.HandlerFunc(func(out http.ResponseWriter, r *http.Request) {
				body, _ := io.ReadAll(r.Body)
				r.Body = io.NopCloser(bytes.NewReader(body))
				var mine []string
				met := false
				mu.Lock()
				if strings.Contains(r.URL.Path, "contacts/Microsoft.Dynamics.CRM.") {
					for _, m := range parentText.FindAllStringSubmatch(string(body), -1) {
						met = met || locked[m[1]]
						mine = append(mine, m[1])
					}
				}
				if met {
					*deadlocks++
				} else {
					for _, p := range mine {
						locked[p] = true
					}
				}
				mu.Unlock()
				if met {
					out.Header().Set("Content-Type", "application/json")
					out.WriteHeader(http.StatusInternalServerError)
					_, _ = io.WriteString(out, `{"error":{"code":"0x80044150","message":" Sql error: Generic SQL error. CRM ErrorCode: -2147204784 Sql ErrorCode: -2146232060 Sql Number: 1205"}}`)
					return
				}
				h.ServeHTTP(out, r)
				mu.Lock()
				for _, p := range mine {
					delete(locked, p)
				}
				mu.Unlock()
			})
		}
	}
}

// TestShardByParent: two contacts lie side by side for each parent, and parents come back
// all along the table. Spread by parent, no request meets another's lock.
func TestShardByParent(t *testing.T) {
	for _, shard := range []string{"", "parentcustomerid"} {
		t.Run("by "+shard, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				deadlocks := 0
				w := newWorld(t, 400, settings(load.Settings{Batch: 10, Parallel: 6, ShardBy: shard}), lockingParents(&deadlocks), func(w *world, _ *emulator.Options) {
					for seq := range 400 {
						w.change["contact.parentcustomerid."+itoa(seq)] = id("account", seq*7%20)
						w.change["contact.parentcustomerid__table."+itoa(seq)] = "account"
					}
				})
				w.options.Settings = func(table string) load.Settings {
					s := load.Settings{Batch: 10, Parallel: 6}
					if table == "contact" {
						s.ShardBy = shard
					}
					return s
				}
				w.mustRun()
				w.wantLoaded()
				if shard == "" && deadlocks == 0 || shard != "" && deadlocks > 0 {
					t.Errorf("%d requests met a lock", deadlocks)
				}
				t.Logf("%d requests met a lock", deadlocks)
			})
		})
	}
}
