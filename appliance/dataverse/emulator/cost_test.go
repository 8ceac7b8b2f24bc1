package emulator

import (
	"compress/gzip"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestProfile(t *testing.T) {
	p, err := ReadProfile(strings.NewReader(`{"latency":{"median":"40ms","p99":"300ms"},"request":"1ms","costs":[{"record":"5ms"},
		{"action":"CreateMultiple","request":"12ms","record":"2ms"},{"table":"account","record":"7ms"},{"table":"account","action":"CreateMultiple","record":"4ms"}]}`))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		table, action string
		rows          int
		want          time.Duration
	}{
		{"contact", "Create", 1, 5 * time.Millisecond}, {"contact", "CreateMultiple", 10, 32 * time.Millisecond},
		{"account", "Create", 1, 7 * time.Millisecond}, {"account", "CreateMultiple", 10, 52 * time.Millisecond},
	} {
		if got := p.Cost.of(c.table, c.action, c.rows); got != c.want {
			t.Errorf("%s of %d %s costs %v, want %v", c.action, c.rows, c.table, got, c.want)
		}
	}
	if _, err := ReadProfile(strings.NewReader(`{"latency":{"median":"40"}}`)); err == nil {
		t.Error("a duration without a unit was taken")
	}
	o := Options{Latency: p.Latency, LatencyP99: p.LatencyP99}
	drawn := make([]time.Duration, 20000)
	for i := range drawn {
		drawn[i] = o.latency()
	}
	slices.Sort(drawn)
	if m := drawn[len(drawn)/2]; m < 36*time.Millisecond || m > 44*time.Millisecond {
		t.Errorf("the median is %v", m)
	}
	if p99 := drawn[len(drawn)*99/100]; p99 < 250*time.Millisecond || p99 > 360*time.Millisecond {
		t.Errorf("the p99 is %v", p99)
	}
}

// TestSpeed runs the same load at 1 and at 60 times: the same requests are answered
// and refused, in a sixtieth of the time.
func TestSpeed(t *testing.T) {
	run := func(speed float64) (codes []int, took time.Duration, retry string) {
		synctest.Test(t, func(t *testing.T) {
			srv := limited(t, Options{Speed: speed, Limits: Limits{Execution: 20 * time.Second, Window: 300 * time.Second},
				Latency: 2 * time.Second, Cost: Cost{PerRequest: 4 * time.Second}})
			begin := time.Now()
			for range 12 {
				w := get(srv, "a")
				codes = append(codes, w.Code)
				if after := w.Header().Get("Retry-After"); after != "" {
					retry = after
					time.Sleep(srv.real(300 * time.Second))
				}
			}
			took = time.Since(begin)
		})
		return codes, took, retry
	}
	slow, slowTook, slowRetry := run(0)
	fast, fastTook, fastRetry := run(60)
	if !slices.Equal(slow, fast) || !slices.Contains(slow, 429) {
		t.Errorf("answers differ: %v %v", slow, fast)
	}
	if ratio := slowTook.Seconds() / fastTook.Seconds(); ratio < 59 || ratio > 61 {
		t.Errorf("%v against %v", slowTook, fastTook)
	}
	if slowRetry != "264" || fastRetry != "5" {
		t.Errorf("Retry-After is %s and %s", slowRetry, fastRetry)
	}
}

// TestGzip asks for compressed answers: large ones are, small ones are not.
func TestGzip(t *testing.T) {
	e := seeded(t)
	for path, want := range map[string]string{"$metadata": "gzip", "WhoAmI": ""} {
		req, _ := http.NewRequest("GET", e.url+"/"+path, nil)
		req.Header.Set("Authorization", "Bearer t")
		req.Header.Set("Accept-Encoding", "gzip")
		res, err := http.DefaultTransport.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		if got := res.Header.Get("Content-Encoding"); got != want {
			t.Fatalf("%s: Content-Encoding %q, want %q", path, got, want)
		}
		if want == "" {
			continue
		}
		z, err := gzip.NewReader(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		if b, err := io.ReadAll(z); err != nil || !strings.Contains(string(b), "<EntityType") {
			t.Errorf("%v", err)
		}
	}
}
