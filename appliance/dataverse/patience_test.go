package dataverse

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"testing/synctest"
	"time"
)

// outage answers, but not between from and to after the start: then there is no
// connection, or a gateway's page when page is set.
type outage struct {
	began    time.Time
	from, to time.Duration
	page     bool
	answer   string
	met      int // requests in the outage
}

func (o *outage) RoundTrip(*http.Request) (*http.Response, error) {
	time.Sleep(10 * time.Millisecond)
	if d := time.Since(o.began); d < o.from || d >= o.to {
		return respond(200, o.answer), nil
	}
	o.met++
	if o.page {
		return respond(503, ""), nil
	}
	return nil, errors.New("no route to host")
}

// TestPatience: a network that is down for ten minutes ends nothing; one that stays
// down does, after Options.Patience.
func TestPatience(t *testing.T) {
	const whoAmI = `{"UserId":"00000000-0000-0000-0000-000000000001"}`
	for _, c := range []struct {
		name string
		page bool
		read bool
	}{{"a write without a connection", false, false}, {"a read without a connection", false, true}, {"a read that meets a page", true, true}} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o := &outage{began: time.Now(), from: time.Second, to: 10 * time.Minute, page: c.page, answer: whoAmI}
				client := newClient(t, "", o)
				ask := func() (err error) {
					if c.read {
						_, err = client.WhoAmI(t.Context())
						return err
					}
					o.answer = oneID
					return client.CreateMany(t.Context(), orders, oneOrder, 1)
				}
				if _, err := client.WhoAmI(t.Context()); err != nil {
					t.Fatal(err)
				}
				time.Sleep(2 * time.Second)
				if err := ask(); err != nil {
					t.Fatalf("after ten minutes: %v", err)
				}
				if took := time.Since(o.began); took < o.to || took > o.to+100*time.Second {
					t.Errorf("went on after %v, want soon after %v", took, o.to)
				}
				if o.met > 40 {
					t.Errorf("asked %d times in ten minutes", o.met)
				}
				o.from, o.to = 0, 1000*time.Hour
				began := time.Now()
				if err := ask(); err == nil || !KindOf(err).Certain() {
					t.Errorf("a service that never comes back: %v", err)
				}
				if took := time.Since(began); took < 30*time.Minute || took > 33*time.Minute {
					t.Errorf("gave up after %v, want the patience of 30 minutes", took)
				}
			})
		})
	}
}

// TestWrongAddressFailsAtOnce: a service that never answered is not waited for.
func TestWrongAddressFailsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &outage{began: time.Now(), to: time.Hour}
		c := newClient(t, "", o)
		_, err := c.WhoAmI(t.Context())
		wantError(t, err, Unreachable)
		if took := time.Since(o.began); o.met != 1 || took > time.Second {
			t.Errorf("%d tries in %v", o.met, took)
		}
	})
}

// TestGatewayPageHolds: after a gateway's page the next request waits a moment, longer
// each time, whoever sends it.
func TestGatewayPageHolds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newClient(t, "", transport(func(*http.Request) (*http.Response, error) { return respond(502, ""), nil }))
		for want := 0 * time.Second; want <= 64*time.Second; want = max(2*want, time.Second) {
			began := time.Now()
			wantError(t, c.CreateMany(t.Context(), orders, oneOrder, 1), Lost)
			if took, most := time.Since(began), min(want, time.Minute); took < most || took > most*11/10 {
				t.Errorf("held for %v, want %v", took, most)
			}
		}
	})
}

// TestStopping: what waits when new requests are no longer begun gives up at once and
// says so; what is under way is not touched, and a read has a moment more.
func TestStopping(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		throttle := true
		c := newClient(t, "", transport(func(r *http.Request) (*http.Response, error) {
			if throttle {
				return respond(429, fault1("0x80072321", "Combined execution time"), "Retry-After: 300"), nil
			}
			time.Sleep(30 * time.Second)
			return respond(200, oneID), r.Context().Err()
		}))
		for _, test := range []struct {
			read bool
			want time.Duration
		}{{false, 5 * time.Second}, {true, 5*time.Second + graceTime}} {
			stop, cancel := context.WithCancel(t.Context())
			time.AfterFunc(5*time.Second, cancel)
			ctx, began := Stopping(t.Context(), stop), time.Now()
			var err error
			if test.read {
				_, err = c.WhoAmI(ctx)
			} else {
				err = c.CreateMany(ctx, orders, oneOrder, 1)
			}
			if took := time.Since(began); !errors.Is(err, ErrStopping) || !KindOf(err).Certain() || took != test.want {
				t.Errorf("read %v: gave up after %v, want %v: %v", test.read, took, test.want, err)
			}
		}
		time.Sleep(6 * time.Minute)
		throttle = false
		stop, cancel := context.WithCancel(t.Context())
		time.AfterFunc(5*time.Second, cancel)
		if err := c.CreateMany(Stopping(t.Context(), stop), orders, oneOrder, 1); err != nil {
			t.Errorf("a request under way: %v", err)
		}
	})
}
