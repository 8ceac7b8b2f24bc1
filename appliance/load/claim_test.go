package load_test

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"regexp"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"dvmigrate/appliance/dataverse/emulator"
	"dvmigrate/appliance/dataverse/schema"
	"dvmigrate/appliance/load"
	"dvmigrate/ledger"
)

// counting counts what a load asks of the ledger.
type counting struct {
	*ledger.Ledger
	claims, settles int
}

func (c *counting) Claim(ctx context.Context, table string, pass ledger.Pass, ranges []ledger.Range) error {
	c.claims++ // never two at once
	return c.Ledger.Claim(ctx, table, pass, ranges)
}

func (c *counting) SettleIDs(ctx context.Context, table string, outcomes []ledger.Outcome, ids []ledger.RecordID) error {
	c.settles++ // the same
	return c.Ledger.SettleIDs(ctx, table, outcomes, ids)
}

var accountID = regexp.MustCompile(`"accountid":"01000000-0000-4000-8000-0000([0-9a-f]{8})"`)

// TestClaimsRunAhead: every record is in flight in the ledger when its request arrives,
// and yet a claim or a commit of outcomes serves several requests.
func TestClaimsRunAhead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n, batch = 4000, 10
		requests := 0
		w := newWorld(t, n, settings(load.Settings{Batch: batch, Parallel: 8}), func(w *world, o *emulator.Options) {
			o.Latency = time.Millisecond
			for name, rows := range w.stage.tables {
				if name != "account" {
					rows.count = 0
				}
			}
			w.wrap = func(h http.Handler) http.Handler {
				return http.HandlerFunc(func(out http.ResponseWriter, r *http.Request) {
					body, _ := io.ReadAll(r.Body)
					r.Body = io.NopCloser(bytes.NewReader(body))
					for _, m := range accountID.FindAllSubmatch(body, -1) {
						seq, _ := strconv.ParseUint(string(m[1]), 16, 32)
						if e, _ := w.ledger.Entry("account", uint32(seq)); e.Flag != ledger.InFlight {
							t.Errorf("account %d is sent and is %v in the ledger", seq, e)
						}
					}
					h.ServeHTTP(out, r)
				})
			}
			w.notes.sent = func() { requests++ }
		})
		w.options.FirstID = func(table string) schema.GUID { return id(table, 0) }
		book := &counting{Ledger: w.ledger}
		if err := load.New(w.stage, book, w.client, w.options).Run(t.Context(), t.Context()); err != nil {
			t.Fatal(err)
		}
		if requests < n/batch || book.claims > requests/4 || book.settles > requests/4 {
			t.Errorf("%d requests took %d claims and %d commits of outcomes", requests, book.claims, book.settles)
		}
		w.wantLoaded() // under the ids that follow from the first
		t.Logf("%d requests took %d claims and %d commits of outcomes", requests, book.claims, book.settles)
	})
}
