package ledger

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// undoFiguresVariable turns TestUndoFigures on: how many former values of 12 columns are kept.
//
//	UNDO_FIGURES=10000000 go test ./ledger -run TestUndoFigures -v -timeout 60m
const undoFiguresVariable = "UNDO_FIGURES"

const (
	undoBatch   = 100 // records of an update
	undoWriters = 8
)

// TestUndoFigures measures size and speed of the journal of changes: keeping, opening, checking, reading all back.
// What keeping costs is set against writing the same text as it is, with the same syncs, in turn.
func TestUndoFigures(t *testing.T) {
	if os.Getenv(undoFiguresVariable) == "" {
		t.Skip("set " + undoFiguresVariable + " to measure")
	}
	n, err := strconv.Atoi(os.Getenv(undoFiguresVariable))
	must(t, err)
	const rounds = 10
	part := n / rounds / undoBatch
	path := filepath.Join(t.TempDir(), "undo")
	u := undoAt(t, path, 1)
	bare, err := os.Create(path + ".bare")
	must(t, err)
	defer bare.Close()
	var kept, plain time.Duration
	var text atomic.Int64
	for round := range rounds {
		kept += eachBatch(t, round*part, part, func(list []Image) error { return u.Keep("account", FoundNot, list) })
		var mu sync.Mutex
		plain += eachBatch(t, round*part, part, func(list []Image) error {
			var b []byte
			for _, m := range list {
				b = append(append(b, m.Had...), m.Wrote...)
			}
			text.Add(int64(len(b)))
			mu.Lock()
			defer mu.Unlock()
			if _, err := bare.Write(b); err != nil {
				return err
			}
			return bare.Sync()
		})
		must(t, bare.Truncate(0))
		_, err := bare.Seek(0, 0)
		must(t, err)
	}
	must(t, u.Close())
	records := float64(rounds * part * undoBatch)
	info, err := os.Stat(path)
	must(t, err)
	t.Logf("%.0f images of 12 columns, %d at once from %d sides: %.1f bytes each, %.2f GB in all; %.1f %% of the text", records, undoBatch, undoWriters,
		float64(info.Size())/records, float64(info.Size())/1e9, 100*float64(info.Size())/float64(text.Load()))
	t.Logf("kept: %.0f/s; the same text as it is, with as many syncs: %.0f/s; ratio %.2f", records/kept.Seconds(), records/plain.Seconds(), plain.Seconds()/kept.Seconds())

	begin := time.Now()
	u, err = ReadUndo(path, [16]byte{7}, Journaled{})
	must(t, err)
	opened := time.Since(begin)
	begin = time.Now()
	p := u.Examine([]Table{{Name: "account", Count: uint32(records)}})
	if len(p.Faults) > 0 {
		t.Errorf("%v", p.Faults)
	}
	t.Logf("opened, every checksum compared: %v, %.2f GB/s; entries against the ledger: %v", opened.Round(time.Millisecond), float64(info.Size())/1e9/opened.Seconds(), time.Since(begin).Round(time.Millisecond))
	begin = time.Now()
	read := 0
	for from := uint32(0); from < uint32(records); from += 65_536 {
		must(t, u.Images(1, "account", Range{from, from + 65_536}, func(Image) { read++ }))
	}
	if read != int(records) {
		t.Errorf("%d images were read", read)
	}
	t.Logf("read back in windows of 65,536: %.0f/s", float64(read)/time.Since(begin).Seconds())
}

// eachBatch makes batches of images and hands them out from some sides. The time is that of handing out.
func eachBatch(t *testing.T, first, batches int, keep func([]Image) error) time.Duration {
	t.Helper()
	lists := make([][]Image, batches)
	for b := range lists {
		for k := range undoBatch {
			lists[b] = append(lists[b], someImage(uint32((first+b)*undoBatch+k)))
		}
	}
	var next atomic.Int64
	var all sync.WaitGroup
	begin := time.Now()
	for range undoWriters {
		all.Go(func() {
			for i := next.Add(1) - 1; int(i) < batches; i = next.Add(1) - 1 {
				if err := keep(lists[i]); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
	return time.Since(begin)
}

// someImage is a company that gets a new name, address, turnover and owner: as different from its neighbours
// as such records are.
func someImage(seq uint32) Image {
	rnd := rand.New(rand.NewPCG(uint64(seq), 7))
	pick := func(list ...string) string { return list[rnd.IntN(len(list))] }
	one := func() []byte {
		return fmt.Appendf(nil, `{"_ownerid_value":"c%07x-0000-4000-8000-%012x","_ownerid_value@Microsoft.Dynamics.CRM.lookuplogicalname":"systemuser","address1_city":"%s","address1_line1":"%s %d","address1_postalcode":"%05d","creditlimit":%d.00,"emailaddress1":"info@k%07d.example","industrycode":%d,"name":"%s %s %d","numberofemployees":%d,"revenue":%d.%02d,"telephone1":"+49 %d %d","websiteurl":"https://www.k%07d.example"}`,
			rnd.IntN(40), rnd.IntN(40), pick("Berlin", "Hamburg", "Wien", "Zürich", "Mannheim", "Málaga", "Lyon", "Gent"), pick("Hauptstraße", "Am Mühlbach", "Lange Reihe", "Calle Mayor"), rnd.IntN(200), rnd.IntN(99999),
			rnd.IntN(900)*1000, seq, rnd.IntN(30), pick("Rhein", "Nord", "Alpen", "Main"), pick("Elektro GmbH", "Pumpen AG", "Metall KG", "Software SE"), rnd.IntN(5000), rnd.IntN(3000), rnd.IntN(9_000_000), rnd.IntN(100), rnd.IntN(9000), rnd.IntN(9_999_999), rnd.IntN(9_999_999))
	}
	return Image{Seq: seq, Had: one(), Wrote: one()}
}
