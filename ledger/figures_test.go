package ledger

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// figuresVariable turns TestFigures on: the sizes to measure, such as "10000000,120000000". With pgbench
// and psql in the path and PGHOST (and what else they need) set, it measures the conventional way in the
// same run: flags in PostgreSQL, updated by 32 connections with a commit each batch.
//
//	LEDGER_FIGURES=10000000,120000000 go test ./ledger -run TestFigures -v -timeout 60m
const figuresVariable = "LEDGER_FIGURES"

const (
	figureTime    = 4 * time.Second
	figureRounds  = 5
	figureWorkers = 32
	postgresRows  = 10_000_000
)

func TestFigures(t *testing.T) {
	if os.Getenv(figuresVariable) == "" {
		t.Skip("set " + figuresVariable + " to measure")
	}
	postgres := newPostgres(t)
	var sizes []uint32
	var paths []string
	for text := range strings.SplitSeq(os.Getenv(figuresVariable), ",") {
		records, err := strconv.ParseUint(text, 10, 32)
		must(t, err)
		sizes = append(sizes, uint32(records))
		paths = append(paths, largeLedger(t, uint32(records)))
		measureOpen(t, paths[len(paths)-1], uint32(records))
	}
	// The sizes and PostgreSQL take turns, so that a neighbour's work strikes all of them; medians.
	for _, batch := range []uint32{100, 1000} {
		ours, ahead, theirs := make([][]float64, len(sizes)), make([][]float64, len(sizes)), make([][]float64, len(conventional))
		for range figureRounds {
			for i, path := range paths {
				ours[i] = append(ours[i], measureTransitions(t, copyOf(t, path), batch))
				ahead[i] = append(ahead[i], measureAhead(t, copyOf(t, path), batch))
			}
			for i, c := range conventional {
				if postgres {
					theirs[i] = append(theirs[i], measurePostgres(t, c.name, batch))
				}
			}
		}
		for i, records := range sizes {
			line := fmt.Sprintf("%d records, batch %d, %d in flight: %.2f M durable transitions/s (%.2f)", records, batch, figureWorkers, median(ours[i])/1e6, millions(ours[i]))
			line += fmt.Sprintf("; claimed ahead, as a load does: %.2f M/s (%.2f)", median(ahead[i])/1e6, millions(ahead[i]))
			if i > 0 {
				line += fmt.Sprintf("; %.0f %% less than at %d", 100*(1-median(ours[i])/median(ours[0])), sizes[0])
			}
			for k, c := range conventional {
				if postgres {
					line += fmt.Sprintf("; PostgreSQL %s, %d rows %.3f M/s (%.3f): %.1f x, ahead %.1f x", c.name, postgresRows, median(theirs[k])/1e6, millions(theirs[k]), median(ours[i])/median(theirs[k]), median(ahead[i])/median(theirs[k]))
				}
			}
			t.Log(line)
		}
	}
	for i, path := range paths {
		measureHotCopy(t, copyOf(t, path), sizes[i])
	}
}

// copyOf is a copy of a ledger that nobody has open: each measurement begins with the same.
func copyOf(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	must(t, err)
	again := path + ".again"
	must(t, os.WriteFile(again, b, 0o600))
	return again
}

func median(list []float64) float64 {
	sorted := slices.Sorted(slices.Values(list))
	return sorted[len(sorted)/2]
}

func millions(list []float64) []float64 {
	var out []float64
	for _, v := range list {
		out = append(out, v/1e6)
	}
	return out
}

// measureHotCopy copies the ledger while one writer claims and settles without a rest: how long the copy
// takes, and how long the writer waits for a change at the most, with the copy and before it.
func measureHotCopy(t *testing.T, path string, records uint32) {
	t.Helper()
	ctx := t.Context()
	l, err := Open(ctx, path, Options{})
	must(t, err)
	defer l.Close()
	waiting := l.Next("account", Main, 0, 1)
	table, _ := l.Table("account")
	next, copying, stop := waiting[0].From, atomic.Bool{}, make(chan struct{})
	waits := map[bool][]float64{} // milliseconds, by whether a copy is taken
	var wg sync.WaitGroup
	wg.Go(func() {
		for next+100 < table.Count {
			select {
			case <-stop:
				return
			default:
			}
			r, during, began := Range{next, next + 100}, copying.Load(), time.Now()
			next += 100
			if err := l.Claim(ctx, "account", Main, []Range{r}); err != nil {
				t.Error(err)
				return
			}
			claimed := time.Now()
			if err := l.Settle(ctx, "account", []Outcome{{Range: r, Result: ResultSuccess}}); err != nil {
				t.Error(err)
				return
			}
			during = during || copying.Load()
			waits[during] = append(waits[during], claimed.Sub(began).Seconds()*1e3, time.Since(claimed).Seconds()*1e3)
		}
	})
	var took []float64
	for range figureRounds {
		time.Sleep(time.Second) // the writer alone
		copying.Store(true)
		began := time.Now()
		must(t, l.SnapshotTo(ctx, io.Discard))
		took = append(took, time.Since(began).Seconds())
		copying.Store(false)
	}
	close(stop)
	wg.Wait()
	at := func(during bool, share float64) float64 {
		sorted := slices.Sorted(slices.Values(waits[during]))
		if len(sorted) == 0 {
			return 0
		}
		return sorted[int(share*float64(len(sorted)-1))]
	}
	t.Logf("%d records: hot copy %.2f s (%.2f); a change waits meanwhile p50 %.1f, p99 %.1f, at most %.1f ms; without a copy p50 %.1f, p99 %.1f, at most %.1f ms",
		records, median(took), took, at(true, 0.5), at(true, 0.99), at(true, 1), at(false, 0.5), at(false, 0.99), at(false, 1))
}

// largeLedger is a ledger of that size, two thirds of it settled 200 at a time, one in 200 failed.
func largeLedger(t *testing.T, records uint32) string {
	t.Helper()
	ctx, path := t.Context(), filepath.Join(t.TempDir(), "ledger.bolt")
	l, err := Open(ctx, path, Options{})
	must(t, err)
	must(t, l.Define(ctx, Table{Name: "account", Number: 1, Count: records}))
	must(t, l.Plan(ctx, "account", []Planned{{Range{0, records}, Insert}}))
	const piece = 100_000
	for from := uint32(0); from < records/3*2; from += piece {
		must(t, l.Claim(ctx, "account", Main, []Range{{from, from + piece}}))
		var out []Outcome
		for seq := from; seq < from+piece; seq += 200 {
			out = append(out,
				Outcome{Range: One(seq), Result: ResultFailed, Reason: Reason{Class: 1, HTTP: 404, Text: fmt.Sprintf("Contact With Id = %08x-d9cb-469f-a165-70867728950e Does Not Exist", seq)}},
				Outcome{Range: Range{seq + 1, seq + 200}, Result: ResultSuccess})
		}
		must(t, l.Settle(ctx, "account", out))
	}
	must(t, l.Close())
	return path
}

// measureOpen measures what a user waits for: open, what is next, counts, the newest failures.
func measureOpen(t *testing.T, path string, records uint32) {
	t.Helper()
	before := residentMemory()
	began := time.Now()
	l, err := Open(t.Context(), path, Options{})
	must(t, err)
	l.Next("account", Main, 0, 1000)
	c := l.Counts("account")
	opened := time.Since(began)
	began = time.Now()
	list, err := l.Newest("account", Filter{}, 1000)
	must(t, err)
	newest := time.Since(began)
	s, err := l.Stats()
	must(t, err)
	failures := c.Flag(Failed)
	t.Logf("%d records, %d failed: open + next + counts %v; the newest %d failures %v; used %.1f MB = %.3f bytes a record + 60 a failure; image %.1f MB, process grown by %.1f MB",
		records, failures, opened.Round(time.Millisecond), len(list), newest.Round(time.Millisecond), float64(s.File-s.Free)/1e6,
		(float64(s.File-s.Free)-60*float64(failures))/float64(records), float64(s.Memory)/1e6, float64(residentMemory()-before)/1e6)
	must(t, l.Close())
}

// residentMemory is the process's, in bytes; 0 where the system does not tell.
func residentMemory() int64 {
	b, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0
	}
	var size, resident int64
	_, _ = fmt.Sscan(string(b), &size, &resident)
	return resident * int64(os.Getpagesize())
}

// measureTransitions claims and settles what still waits, as a load does.
func measureTransitions(t *testing.T, path string, batch uint32) float64 {
	t.Helper()
	ctx := t.Context()
	l, err := Open(ctx, path, Options{})
	must(t, err)
	next, done := atomic.Uint32{}, atomic.Int64{}
	waiting := l.Next("account", Main, 0, 1)
	table, _ := l.Table("account")
	next.Store(waiting[0].From / batch)
	last := table.Count / batch
	began := time.Now()
	var wg sync.WaitGroup
	for range figureWorkers {
		wg.Go(func() {
			for time.Since(began) < figureTime {
				n := next.Add(1)
				if n >= last {
					return
				}
				r := Range{n * batch, (n + 1) * batch}
				if err := l.Claim(ctx, "account", Main, []Range{r}); err != nil {
					t.Error(err)
					return
				}
				if err := l.Settle(ctx, "account", []Outcome{{Range: r, Result: ResultSuccess}}); err != nil {
					t.Error(err)
					return
				}
				done.Add(2 * int64(batch))
			}
		})
	}
	wg.Wait()
	rate := float64(done.Load()) / time.Since(began).Seconds()
	must(t, l.Close())
	return rate
}

// conventional are the ways to keep flags in PostgreSQL that are measured: as columns of the staged rows,
// with the index that finds those of a flag; and the least that is possible, a table of nothing but
// flags, without an index that says what is next or what failed.
var conventional = []struct{ name, columns, index string }{
	{"staged", `'C' || lpad(seq::text, 9, '0') AS legacy_key, 'Customer number ' || seq AS name, 'Main Street ' || seq % 1000 AS street, 'City ' || seq % 5000 AS city,
		lpad((seq % 99999)::text, 5, '0') AS zip, 'customer' || seq || '@example.com' AS email, (seq % 1000000)::numeric(12, 2) AS amount, date '2000-01-01' + seq % 9000 AS born,`,
		"CREATE INDEX ON ledger_staged (flag)"},
	{"bare", "", "SELECT"},
}

// measureAhead is measureTransitions as package load goes about it: a block of batches is claimed in one
// request while the one before is sent, and outcomes are settled as they have come, several in one request.
func measureAhead(t *testing.T, path string, batch uint32) float64 {
	t.Helper()
	ctx := t.Context()
	l, err := Open(ctx, path, Options{})
	must(t, err)
	table, _ := l.Table("account")
	next := l.Next("account", Main, 0, 1)[0].From
	claimed, sent := make(chan Range, figureWorkers), make(chan Range, 2*figureWorkers)
	began := time.Now()
	var senders, settler sync.WaitGroup
	senders.Go(func() {
		defer close(claimed)
		for block := figureWorkers * batch; next+block <= table.Count && time.Since(began) < figureTime; next += block {
			if err := l.Claim(ctx, "account", Main, []Range{{next, next + block}}); err != nil {
				t.Error(err)
				return
			}
			for from := next; from < next+block; from += batch {
				claimed <- Range{from, from + batch}
			}
		}
	})
	for range figureWorkers {
		senders.Go(func() {
			for r := range claimed {
				sent <- r
			}
		})
	}
	done := 0
	settler.Go(func() {
		for r := range sent {
			out := []Outcome{{Range: r, Result: ResultSuccess}}
			for len(out) < cap(sent) && len(sent) > 0 {
				out = append(out, Outcome{Range: <-sent, Result: ResultSuccess})
			}
			if err := l.Settle(ctx, "account", out); err != nil {
				t.Error(err)
			}
			done += 2 * len(out) * int(batch)
		}
	})
	senders.Wait()
	close(sent)
	settler.Wait()
	rate := float64(done) / time.Since(began).Seconds()
	must(t, l.Close())
	return rate
}

// newPostgres makes the tables of the conventional ways; false when there is no PostgreSQL.
func newPostgres(t *testing.T) bool {
	t.Helper()
	if _, err := exec.LookPath("pgbench"); err != nil || os.Getenv("PGHOST") == "" {
		t.Log("no pgbench, or PGHOST is not set: no comparison")
		return false
	}
	for _, c := range conventional {
		table := "ledger_" + c.name
		command(t, "psql", "-v", "ON_ERROR_STOP=1", "-c", "DROP TABLE IF EXISTS "+table, "-c", fmt.Sprintf(`CREATE TABLE %s AS
			SELECT seq, %s 'I'::"char" AS action, 'U'::"char" AS flag, 0::smallint AS attempts, now() AS changed_at, NULL::text AS message FROM generate_series(0, %d) seq`, table, c.columns, postgresRows-1),
			"-c", "ALTER TABLE "+table+" ADD PRIMARY KEY (seq)", "-c", c.index, "-c", "VACUUM ANALYZE "+table, "-c", "CHECKPOINT")
		t.Cleanup(func() { command(t, "psql", "-c", "DROP TABLE "+table) })
	}
	return true
}

// measurePostgres claims and settles batches in PostgreSQL, each statement a commit. Each connection goes
// through rows of its own in order, as a load does, from some place on.
func measurePostgres(t *testing.T, name string, batch uint32) float64 {
	t.Helper()
	script := filepath.Join(t.TempDir(), "script.sql")
	share := postgresRows / figureWorkers / batch
	must(t, os.WriteFile(script, fmt.Appendf(nil, `\set i (:i + 1) %% %d
\set lo (:client_id * %d + :i) * %d
UPDATE ledger_%[4]s SET flag = 'F', attempts = attempts + 1, changed_at = now() WHERE seq >= :lo AND seq < :lo + %[3]d;
UPDATE ledger_%[4]s SET flag = 'P', changed_at = now() WHERE seq >= :lo AND seq < :lo + %[3]d;
`, share, share, batch, name), 0o600))
	out := command(t, "pgbench", "-n", "-c", strconv.Itoa(figureWorkers), "-j", "2", "-T", strconv.Itoa(int(figureTime.Seconds())),
		"-D", fmt.Sprintf("i=%d", rand.Uint32N(share)), "-f", script)
	_, rest, ok := strings.Cut(out, "tps = ")
	var tps float64
	if _, err := fmt.Sscan(rest, &tps); !ok || err != nil {
		t.Fatalf("pgbench says no rate:\n%s", out)
	}
	return tps * 2 * float64(batch)
}

func command(t *testing.T, name string, args ...string) string {
	t.Helper()
	var out bytes.Buffer
	c := exec.Command(name, args...)
	c.Stdout, c.Stderr = &out, &out
	if err := c.Run(); err != nil {
		t.Fatalf("%s: %v\n%s", name, err, &out)
	}
	return out.String()
}
