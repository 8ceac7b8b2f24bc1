package ledger

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// The crash test: a child process claims and settles blocks of records and says so on a pipe after each
// call has returned; the parent kills it at random moments, opens the ledger and compares.

const (
	crashVariable = "LEDGER_CRASH_CHILD"
	crashKills    = 25
	crashWorkers  = 8
	crashBlock    = 50
	crashBlocks   = 12_000
)

// crashOutcome is what the child settles a block with: known to both sides.
func crashOutcome(block uint32) []Outcome {
	r := Range{block * crashBlock, (block + 1) * crashBlock}
	if block%3 != 0 {
		return []Outcome{{Range: r, Result: ResultSuccess, Next: Lookups}}
	}
	bad := r.From + block%crashBlock
	out := []Outcome{{Range: One(bad), Result: ResultFailed, Reason: Reason{Class: 5, HTTP: 400, Text: fmt.Sprintf("block %d", block)}}}
	if bad > r.From {
		out = append(out, Outcome{Range: Range{r.From, bad}, Result: ResultSuccess})
	}
	if bad+1 < r.To {
		out = append(out, Outcome{Range: Range{bad + 1, r.To}, Result: ResultSuccess})
	}
	return out
}

// crashChild is the process that is killed.
func crashChild(path string) int {
	ctx := context.Background()
	l, err := Open(ctx, path, Options{})
	if err != nil {
		fmt.Println("E", err)
		return 1
	}
	var wg sync.WaitGroup
	for w := range uint32(crashWorkers) {
		wg.Go(func() {
			for block := w; block < crashBlocks; block += crashWorkers {
				if e, _ := l.Entry("account", block*crashBlock+(block+1)%crashBlock); e.Flag != Unprocessed {
					continue
				}
				if err := l.Claim(ctx, "account", Main, []Range{{block * crashBlock, (block + 1) * crashBlock}}); err != nil {
					fmt.Println("E", err)
				}
				fmt.Println("C", block) // one write, so lines of workers do not mix
				if err := l.Settle(ctx, "account", crashOutcome(block)); err != nil {
					fmt.Println("E", err)
				}
				fmt.Println("S", block)
			}
		})
	}
	wg.Wait()
	for {
		fmt.Println("D", crashBlocks) // done before the kill, where this is faster than who kills: it waits for it
	}
}

// runUntilKilled runs the child and returns what it said before it was killed.
func runUntilKilled(t *testing.T, path string, after int) (claimed, settled map[uint32]bool) {
	t.Helper()
	child := exec.Command(os.Args[0])
	child.Env = append(os.Environ(), crashVariable+"="+path)
	pipe, err := child.StdoutPipe()
	must(t, err)
	must(t, child.Start())
	claimed, settled = map[uint32]bool{}, map[uint32]bool{}
	killed := false
	for lines, n := bufio.NewScanner(pipe), 0; lines.Scan(); n++ {
		var what string
		var block uint32
		if _, err := fmt.Sscan(lines.Text(), &what, &block); err != nil {
			t.Fatalf("child says %q", lines.Text())
		}
		switch what {
		case "C":
			claimed[block] = true
		case "S":
			settled[block] = true
		}
		if n == after {
			// A moment that is not tied to the line just read.
			time.AfterFunc(time.Duration(rand.IntN(3000))*time.Microsecond, func() { _ = child.Process.Kill() })
			killed = true
		}
	}
	if err := child.Wait(); err == nil || !killed {
		t.Fatal("the child ended by itself")
	}
	return claimed, settled
}

func TestKillLosesNothingAcknowledgedAndLeavesNoHalfBatch(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("kills processes for some seconds")
	}
	ctx, path := t.Context(), filepath.Join(t.TempDir(), "ledger.bolt")
	l, err := Open(ctx, path, Options{})
	must(t, err)
	must(t, l.Define(ctx, Table{Name: "account", Number: 1, Count: crashBlock * crashBlocks}))
	must(t, l.Plan(ctx, "account", []Planned{{Range{0, crashBlock * crashBlocks}, Insert}}))
	must(t, l.Close())

	done := map[uint32]bool{} // settled for certain
	total, doubtful := 0, 0
	for range crashKills {
		claimed, settled := runUntilKilled(t, path, 1+rand.IntN(400))
		l, err := Open(ctx, path, Options{}) // unclean, so this checks the whole store
		must(t, err)
		states := make([]Entry, 0, crashBlock*crashBlocks)
		for s := range l.Spans("account", 0) {
			for range s.Len() {
				states = append(states, s.Entry)
			}
		}
		for block := range uint32(crashBlocks) {
			state := blockState(t, states[block*crashBlock:(block+1)*crashBlock], block)
			switch {
			case settled[block] || done[block]:
				if state != "settled" {
					t.Fatalf("block %d was settled and is %s", block, state)
				}
				done[block] = true
			case claimed[block] && state == "waiting":
				t.Fatalf("block %d was claimed and waits", block)
			case state == "settled":
				done[block] = true // committed, and killed before it could say so
			case state == "in flight":
				doubtful++
				must(t, l.Settle(ctx, "account", []Outcome{{Range: Range{block * crashBlock, (block + 1) * crashBlock}, Result: ResultReleased}}))
			}
		}
		total += len(settled)
		must(t, l.Check(ctx))
		must(t, l.Close())
	}
	t.Logf("%d kills, %d blocks settled, %d blocks in doubt", crashKills, total, doubtful)
	if doubtful == 0 {
		t.Error("no kill hit a claimed block: the test proves little")
	}
}

// blockState says what a block is, and fails the test when it is not one thing as a whole.
func blockState(t *testing.T, entries []Entry, block uint32) string {
	t.Helper()
	want := make([]Entry, crashBlock)
	for _, o := range crashOutcome(block) {
		e := Entry{Action: Insert, Flag: Processed, Attempts: 1}
		switch {
		case o.Result == ResultFailed:
			e.Flag, e.Class = Failed, o.Reason.Class
		case o.Next != Main:
			e.Flag, e.Pass = Success, o.Next
		}
		for seq := o.From; seq < o.To; seq++ {
			want[seq-block*crashBlock] = e
		}
	}
	waits, flies, settled := true, true, true
	for i, e := range entries {
		e.Time = 0
		waits = waits && e == Entry{Action: Insert}
		flies = flies && e == Entry{Action: Insert, Flag: InFlight, Attempts: 1}
		settled = settled && e == want[i]
	}
	switch {
	case waits:
		return "waiting"
	case flies:
		return "in flight"
	case settled:
		return "settled"
	}
	t.Fatalf("block %d is half done: %v", block, entries)
	return ""
}
