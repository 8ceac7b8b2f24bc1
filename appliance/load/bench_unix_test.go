//go:build unix

package load_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"

	"dvmigrate/appliance/dataverse"
	"dvmigrate/appliance/load"
	"dvmigrate/appliance/mapping"
	"dvmigrate/appliance/plan"
	"dvmigrate/duckstage/column"
	"dvmigrate/ledger"
)

// readyStage hands out the same chunk again and again under new numbers, so that a
// benchmark measures the loader and not the stage.
type readyStage struct {
	batch *column.Batch
	count int
}

func (s *readyStage) Scan(_ context.Context, query string, _ []any, fn func(*column.Batch) error) error {
	var first, last int
	m := selectForm.FindStringSubmatch(query)
	fmt.Sscan(m[3], &first)
	fmt.Sscan(m[4], &last)
	for ; first < last; first += s.batch.Rows {
		seqs, ids := s.batch.Column(mapping.Seq), s.batch.Column(mapping.ID)
		s.batch.Rows = min(chunk, last-first)
		for i := range s.batch.Rows {
			seqs.Ints[i] = int64(first + i)
			ids.UUIDs[i] = id("account", first+i)
		}
		if err := fn(s.batch); err != nil {
			return err
		}
	}
	return nil
}

func (s *readyStage) Stream(ctx context.Context, query string, args []any, fn func(*column.Batch) error) error {
	return s.Scan(ctx, query, args, fn)
}

// BenchmarkLoad loads accounts of twelve columns into a server that takes every bulk
// request at once, with a ledger on the disk that holds t.TempDir. It reports records/s
// and, of the whole process with that server in it, the CPU time and the allocations a
// record.
func BenchmarkLoad(b *testing.B) {
	for _, batch := range []int{100, 500} {
		b.Run(fmt.Sprintf("batch=%d", batch), func(b *testing.B) {
			const records = 400_000
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				io.Copy(io.Discard, r.Body)
				w.WriteHeader(http.StatusNoContent)
			}))
			defer server.Close()
			client, err := dataverse.New(dataverse.Options{URL: server.URL, Token: token{}})
			if err != nil {
				b.Fatal(err)
			}
			defer client.Close()
			table, stage := benchTable(b)
			stage.count = records
			cpu, mallocs := usage()
			n := 0
			for b.Loop() {
				b.StopTimer()
				l := benchLedger(b, filepath.Join(b.TempDir(), "ledger"), records)
				if n == 0 {
					cpu, mallocs = usage()
				}
				b.StartTimer()
				loader := load.New(stage, l, client, load.Options{Plan: plan.Order([]*mapping.Table{table}), Tables: map[string]*mapping.Table{"account": table},
					Settings: func(string) load.Settings { return load.Settings{Batch: batch, Parallel: 16} }})
				if err := loader.Run(context.Background(), context.Background()); err != nil {
					b.Fatal(err)
				}
				n += records
				b.StopTimer()
				counts := l.Counts("account")
				if done := counts.Flag(ledger.Processed); done != records {
					b.Fatalf("%d records are done", done)
				}
				l.Close()
				b.StartTimer()
			}
			cpu2, mallocs2 := usage()
			b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "records/s")
			b.ReportMetric((cpu2-cpu)/float64(n), "cpu-µs/record")
			b.ReportMetric(float64(mallocs2-mallocs)/float64(n), "allocs/record")
		})
	}
}

// usage is the process's CPU time in microseconds and its allocations.
func usage() (cpu float64, mallocs uint64) {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(u.Utime.Sec+u.Stime.Sec)*1e6 + float64(u.Utime.Usec+u.Stime.Usec), m.Mallocs
}

func benchLedger(b *testing.B, path string, records uint32) *ledger.Ledger {
	ctx := context.Background()
	l, err := ledger.Open(ctx, path, ledger.Options{})
	if err != nil {
		b.Fatal(err)
	}
	if err := l.Define(ctx, ledger.Table{Name: "account", Number: 1, Count: records}); err != nil {
		b.Fatal(err)
	}
	if err := l.Plan(ctx, "account", []ledger.Planned{{Range: ledger.Range{To: records}, Action: ledger.Insert}}); err != nil {
		b.Fatal(err)
	}
	return l
}

func benchTable(b *testing.B) (*mapping.Table, *readyStage) {
	s, err := theSchema()
	if err != nil {
		b.Fatal(err)
	}
	names := []string{"name", "accountnumber", "telephone1", "emailaddress1", "address1_line1", "address1_city", "address1_postalcode", "address1_country",
		"numberofemployees", "revenue", "creditonhold", "ownerid"}
	selected := columns(append([]string{"legacy_key"}, names...)...)
	selected[len(selected)-1].SQLType = "STRUCT(a)"
	t, faults := mapping.Bind(s, "account", selected, func(n string) bool { return n == "account" })
	if len(faults) > 0 {
		b.Fatal(faults)
	}
	rows := &rows{mapped: t, count: chunk, owed: func(int) uint8 { return 0 }, value: func(column string, seq int) any {
		switch column {
		case mapping.ID:
			return id("account", seq)
		case "ownerid":
			return id("contact", seq%7)
		case "ownerid" + mapping.TargetSuffix:
			return "systemuser"
		case "numberofemployees", "revenue", "creditonhold":
			return seq % 2
		}
		return fmt.Sprintf("%s of number %d", column, seq)
	}}
	seqs := make([]int, chunk)
	for i := range seqs {
		seqs[i] = i
	}
	all := append([]string{mapping.Seq, mapping.Owed}, t.Encoder(mapping.Insert, nil).StageColumns()...)
	return t, &readyStage{batch: rows.batch(all, seqs)}
}
