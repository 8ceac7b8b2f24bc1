package backup

import (
	"context"
	"encoding/binary"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"testing"
)

// benchSize is the size of the part that the benchmarks take and restore.
const benchSize = 256 << 20

// benchFile makes a file like a DuckDB or a ledger: numbers that ascend, words that
// repeat, and a third that does not compress.
func benchFile(b *testing.B) string {
	b.Helper()
	rnd := rand.New(rand.NewPCG(1, 2))
	words := make([][]byte, 4096)
	for i := range words {
		words[i] = make([]byte, 4+rnd.IntN(12))
		for j := range words[i] {
			words[i][j] = byte('a' + rnd.IntN(26))
		}
	}
	data := make([]byte, 0, benchSize+64)
	for n := uint64(0); len(data) < benchSize; n++ {
		data = binary.BigEndian.AppendUint64(data, n)
		data = append(data, words[rnd.IntN(len(words))]...)
		data = append(data, words[rnd.IntN(len(words))]...)
		data = binary.LittleEndian.AppendUint64(data, rnd.Uint64())
	}
	name := filepath.Join(b.TempDir(), "part")
	if err := os.WriteFile(name, data[:benchSize], 0o600); err != nil {
		b.Fatal(err)
	}
	return name
}

// BenchmarkCopy is the measure for the others: the file copied and synced.
func BenchmarkCopy(b *testing.B) {
	name := benchFile(b)
	b.SetBytes(benchSize)
	for b.Loop() {
		from, err := os.Open(name)
		if err != nil {
			b.Fatal(err)
		}
		to, err := os.Create(filepath.Join(b.TempDir(), "copy"))
		if err != nil {
			b.Fatal(err)
		}
		// Hidden behind plain interfaces: else the kernel copies by itself, or not at all.
		if _, err := io.CopyBuffer(struct{ io.Writer }{to}, struct{ io.Reader }{from}, make([]byte, 1<<20)); err != nil {
			b.Fatal(err)
		}
		if err := to.Sync(); err != nil {
			b.Fatal(err)
		}
		from.Close()
		to.Close()
	}
}

func BenchmarkTakeFirst(b *testing.B) {
	p := &single{"part", benchFile(b)}
	b.SetBytes(benchSize)
	var s Snapshot
	for b.Loop() {
		var err error
		if s, err = Take(context.Background(), Options{Dir: filepath.Join(b.TempDir(), "snapshots")}, p); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(s.Added)/float64(s.Size), "stored/raw")
}

func BenchmarkTakeUnchanged(b *testing.B) {
	p := &single{"part", benchFile(b)}
	o := Options{Dir: b.TempDir()}
	if _, err := Take(context.Background(), o, p); err != nil {
		b.Fatal(err)
	}
	b.SetBytes(benchSize)
	for b.Loop() {
		if _, err := Take(context.Background(), o, p); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkRestore(b *testing.B) {
	dir := b.TempDir()
	if _, err := Take(context.Background(), Options{Dir: dir}, &single{"part", benchFile(b)}); err != nil {
		b.Fatal(err)
	}
	to := &single{"part", filepath.Join(b.TempDir(), "restored")}
	b.SetBytes(benchSize)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	n := 0
	for b.Loop() {
		if _, err := restoreFrom(context.Background(), dir, "", nil, to); err != nil {
			b.Fatal(err)
		}
		n++
	}
	runtime.ReadMemStats(&after)
	b.ReportMetric(float64(after.TotalAlloc-before.TotalAlloc)/float64(n)/(1<<20), "MiB-allocated/op")
}

func BenchmarkVerify(b *testing.B) {
	dir := b.TempDir()
	if _, err := Take(context.Background(), Options{Dir: dir}, &single{"part", benchFile(b)}); err != nil {
		b.Fatal(err)
	}
	b.SetBytes(benchSize)
	for b.Loop() {
		if _, err := Verify(context.Background(), dir, "", nil, 1); err != nil {
			b.Fatal(err)
		}
	}
}
