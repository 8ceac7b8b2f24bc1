package emulator

import (
	"compress/gzip"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
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

// TestSameAnswersAtAnySpeed drives hours of requests of two users to two servers,
// by a script of times, into all three limits, at real time, sixty and a thousand times
// faster: each request is answered alike, refusals with their waits too.
func TestSameAnswersAtAnySpeed(t *testing.T) {
	type answered struct {
		user, status, wait int
		code               string
	}
	run := func(speed float64) (all []answered, took time.Duration) {
		synctest.Test(t, func(t *testing.T) {
			srv := limited(t, Options{Speed: speed, Limits: Limits{Requests: 60, Execution: 40 * time.Second, Concurrency: 3, Servers: 2, Window: 300 * time.Second},
				Latency: 71 * time.Millisecond, Cost: Cost{Rules: []CostRule{{Action: "Retrieve", Request: ptr(4137 * time.Millisecond)}, {Action: "WhoAmI", Request: ptr(time.Millisecond)}}}})
			random := rand.New(rand.NewPCG(7, 7))
			all = make([]answered, 4000)
			var running sync.WaitGroup
			begin := time.Now()
			at := time.Duration(0) // of the emulator's time
			for i := range all {
				pause := time.Duration(1+random.IntN(2_000_000)) * time.Microsecond
				switch phase := i / 100 % 4; {
				case phase == 3 && i%100 == 0:
					pause += 400 * time.Second // a rest
				case phase == 0:
					pause /= 50 // a burst
				}
				at += pause
				time.Sleep(srv.real(at) - time.Since(begin))
				user, path := random.IntN(2), "WhoAmI"
				if random.IntN(4) < []int{3, 0, 2, 1}[i/100%4] {
					path = "accounts(" + acc1 + ")"
				}
				running.Go(func() {
					r := httptest.NewRequest("GET", "/api/data/v9.2/"+path, nil)
					r.Header.Set("Authorization", "Bearer "+strconv.Itoa(user))
					w := httptest.NewRecorder()
					srv.ServeHTTP(w, r)
					a := answer{w.Code, w.Header(), w.Body.String()}
					all[i] = answered{user: user, status: a.status, code: a.code()}
					if after := w.Header().Get("Retry-After"); after != "" && speed == 1 {
						all[i].wait, _ = strconv.Atoi(after)
					}
				})
				synctest.Wait() // requests arrive one after the other
			}
			running.Wait()
			took = time.Since(begin)
		})
		return all, took
	}
	real, realTook := run(1)
	seen := map[string]int{}
	longest := 0
	for i := range real {
		seen[real[i].code]++
		longest = max(longest, real[i].wait)
		real[i].wait = 0
	}
	for _, code := range []string{"", "0x80072321", "0x80072322", "0x80072326"} {
		if seen[code] < 20 {
			t.Errorf("%d answers %q of %v: the script does not try that", seen[code], code, seen)
		}
	}
	if longest < 60 {
		t.Errorf("the longest wait is %d s", longest)
	}
	for _, speed := range []float64{60, 1000} {
		fast, took := run(speed)
		if !slices.Equal(real, fast) {
			i := 0
			for real[i] == fast[i] {
				i++
			}
			t.Errorf("at %v times the speed request %d is answered %+v, not %+v", speed, i, fast[i], real[i])
		}
		if ratio := realTook.Seconds() / took.Seconds(); ratio < speed*0.999 || ratio > speed*1.001 {
			t.Errorf("at %v times the speed it took %v instead of %v", speed, took, realTook)
		}
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
