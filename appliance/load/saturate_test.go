package load_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"dvmigrate/appliance/dataverse"
	"dvmigrate/appliance/dataverse/emulator"
	"dvmigrate/appliance/dataverse/pace"
	"dvmigrate/appliance/dataverse/schema"
	"dvmigrate/appliance/load"
)

// team sends as several users, each time as the one with the fewest requests under way.
type team struct {
	*dataverse.Client
	all []*dataverse.Client
}

func (m *team) CreateMany(ctx context.Context, t *schema.Table, body []byte, records int) error {
	best := m.all[0]
	fewest := math.MaxInt
	for _, c := range m.all {
		if s := c.Limiter().Stats(); s.InFlight+s.Waiting < fewest {
			best, fewest = c, s.InFlight+s.Waiting
		}
	}
	return best.CreateMany(ctx, t, body, records)
}

type userToken struct {
	token
	name string
}

func (u userToken) Token(context.Context) (string, error) { return u.name, nil }

// TestLoadSaturatesLimits loads accounts for some simulated time through loader, client
// and HTTP into an emulator with the documented limits, and compares the records a
// second with what the limits allow. With DVMIGRATE_LONG set: requests of the sizes
// that are used, an hour each.
func TestLoadSaturatesLimits(t *testing.T) {
	const ms = time.Millisecond
	long := os.Getenv("DVMIGRATE_LONG") != ""
	for _, c := range []struct {
		name                  string
		users, batch, servers int
		record                time.Duration
		hint                  int
		short                 bool
	}{
		{"half a second a request", 1, 10, 1, 50 * ms, 0, true},
		{"more requests than allowed", 1, 1, 1, ms, 0, false},
		{"two users", 2, 10, 1, 100 * ms, 0, false},
		{"100 records of 5 ms", 1, 100, 1, 5 * ms, 0, false},
		{"500 records of 5 ms", 1, 500, 1, 5 * ms, 0, false},
		{"two users, 100 records of 5 ms", 2, 100, 1, 5 * ms, 0, false},
		{"eight users, 100 records of 20 ms", 8, 100, 1, 20 * ms, 0, false},
		{"100 records of 20 ms", 1, 100, 1, 20 * ms, 0, false},
		{"10 records of 0.2 ms", 1, 10, 1, ms / 5, 0, false},
		{"hint 4", 1, 100, 1, 5 * ms, 4, false},
		{"two servers", 1, 100, 2, 20 * ms, 0, false},
	} {
		if c.short == long {
			continue
		}
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				limits := emulator.DefaultLimits()
				limits.Servers = c.servers
				const latency = 20 * ms
				each := (time.Duration(c.batch)*c.record + latency).Seconds()
				perSecond := min(20, 4/(time.Duration(c.batch)*c.record).Seconds()) * float64(c.servers)
				perSecond = min(perSecond, float64(cmp.Or(c.hint, 52))/each) * float64(c.users) * float64(c.batch)
				d := 7 * time.Minute
				if long {
					d = time.Hour
				}
				w := newWorld(t, int(1.2*perSecond*d.Seconds()), settings(load.Settings{Batch: c.batch, Parallel: 60 * c.users}), func(w *world, o *emulator.Options) {
					o.Limits, o.Cost, o.Latency, o.DopHint, o.Discard = limits, emulator.Cost{PerRecord: c.record}, latency, c.hint, true
					for name, rows := range w.stage.tables {
						if name != "account" {
							rows.count = 0
						}
					}
				})
				m := w.team(c.users)
				var early, earlyThrottled atomic.Int64
				time.AfterFunc(time.Minute, func() {
					s := w.server.Stats()
					early.Store(s.Requests["CreateMultiple"])
					earlyThrottled.Store(s.Statuses["429"])
				})
				drain, stop := context.WithTimeout(context.Background(), d)
				defer stop()
				if err := load.New(w.stage, w.ledger, m, w.options).Run(context.Background(), drain); !errors.Is(err, load.ErrDrained) {
					t.Fatalf("load: %v, want it drained", err)
				}
				s := w.server.Stats()
				ratio := float64(s.Created) / d.Seconds() / perSecond
				throttled := float64(s.Statuses["429"]-earlyThrottled.Load()) / float64(s.Requests["CreateMultiple"]-early.Load())
				t.Logf("%.3f of the ceiling of %.0f records/s, %.2f %% throttled", ratio, perSecond, 100*throttled)
				if ratio < 0.97 || ratio > 1.03 || throttled > 0.005 {
					t.Errorf("%.3f of the ceiling, %.2f %% throttled; want at least 0.97 and at most 0.5 %%", ratio, 100*throttled)
				}
			})
		})
	}
}

// team makes clients of several users that have asked who they are, as every load does.
func (w *world) team(users int) *team {
	m := &team{Client: w.client}
	for i := range users {
		c, err := dataverse.New(dataverse.Options{URL: "http://127.0.0.1", Token: userToken{name: fmt.Sprintf("user-%d", i)},
			Dial: w.dial, Limiter: pace.New(pace.Options{})})
		if err != nil {
			w.t.Fatal(err)
		}
		if _, err := c.WhoAmI(context.Background()); err != nil {
			w.t.Fatal(err)
		}
		m.all = append(m.all, c)
		w.t.Cleanup(c.Close)
	}
	return m
}
