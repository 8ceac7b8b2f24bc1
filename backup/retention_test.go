package backup

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"dvmigrate/backup/archive"
)

func TestRetention(t *testing.T) {
	at := func(day, hour, minute int) time.Time { return time.Date(2026, 11, day, hour, minute, 0, 0, time.UTC) }
	every := func(from time.Time, step time.Duration, n int) (times []time.Time) {
		for i := range n {
			times = append(times, from.Add(time.Duration(i)*step))
		}
		return times
	}
	tests := []struct {
		name  string
		keep  Retention
		times []time.Time // oldest first
		want  []time.Time // kept, oldest first
	}{
		{
			name:  "the newest stays, whatever is asked for",
			keep:  Retention{Last: -3, Hourly: -1},
			times: every(at(1, 0, 0), time.Minute, 3),
			want:  []time.Time{at(1, 0, 2)},
		},
		{
			name:  "the last ones",
			keep:  Retention{Last: 2},
			times: every(at(1, 0, 0), time.Hour, 5),
			want:  []time.Time{at(1, 3, 0), at(1, 4, 0)},
		},
		{
			name:  "the newest of each hour",
			keep:  Retention{Hourly: 3},
			times: every(at(1, 0, 0), 20*time.Minute, 15), // to 4:40
			want:  []time.Time{at(1, 2, 40), at(1, 3, 40), at(1, 4, 40)},
		},
		{
			name:  "hours without a snapshot take no place",
			keep:  Retention{Hourly: 3},
			times: []time.Time{at(1, 1, 0), at(1, 9, 0), at(1, 9, 5), at(3, 0, 0)},
			want:  []time.Time{at(1, 1, 0), at(1, 9, 5), at(3, 0, 0)},
		},
		{
			name:  "the same hour of two days is two hours",
			keep:  Retention{Hourly: 2},
			times: []time.Time{at(1, 5, 0), at(2, 5, 0)},
			want:  []time.Time{at(1, 5, 0), at(2, 5, 0)},
		},
		{
			name:  "the newest of each day",
			keep:  Retention{Daily: 2},
			times: every(at(1, 6, 0), 12*time.Hour, 7), // to the 4th, 6:00
			want:  []time.Time{at(3, 18, 0), at(4, 6, 0)},
		},
		{
			name:  "weeks begin on Monday", // 2026-11-01 is a Sunday
			keep:  Retention{Weekly: 2},
			times: []time.Time{at(1, 23, 59), at(2, 0, 0), at(8, 23, 59), at(9, 0, 0)},
			want:  []time.Time{at(8, 23, 59), at(9, 0, 0)},
		},
		{
			name:  "one that two rules ask for fills a place of each",
			keep:  Retention{Last: 1, Hourly: 2, Daily: 2},
			times: []time.Time{at(1, 1, 0), at(2, 1, 0), at(2, 2, 0), at(2, 2, 30)},
			want:  []time.Time{at(1, 1, 0), at(2, 1, 0), at(2, 2, 30)},
		},
		{
			name:  "the default keeps 6, 24 hours and 14 days",
			times: every(at(1, 0, 0), 10*time.Minute, 20*24*6), // 20 days
			want: slices.Concat(
				every(at(7, 23, 50), 24*time.Hour, 13),
				every(at(20, 0, 50), time.Hour, 23),
				every(at(20, 23, 0), 10*time.Minute, 6),
			),
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var all []Snapshot
			for _, at := range slices.Backward(test.times) {
				all = append(all, Snapshot{ID: at.Format(time.RFC3339), Time: at})
			}
			surplus := test.keep.surplus(all)
			var got []string
			for _, s := range slices.Backward(all) {
				if !slices.Contains(surplus, s.ID) {
					got = append(got, s.ID)
				}
			}
			var want []string
			for _, at := range test.want {
				want = append(want, at.Format(time.RFC3339))
			}
			if !slices.Equal(got, want) {
				t.Errorf("keeps\n%v\nnot\n%v", got, want)
			}
		})
	}
}

func TestDamagedSnapshotFillsNoPlace(t *testing.T) {
	damage := &archive.DamageError{File: "x", Fault: "gone"}
	newer := fmt.Errorf("x: %w", ErrVersion)
	unread := errors.New("input/output error")
	all := []Snapshot{ // newest first
		{ID: "9", Fault: damage},
		{ID: "8"},
		{ID: "7", Fault: damage},
		{ID: "6"},
		{ID: "5", Fault: damage},
		{ID: "4", Fault: newer},
		{ID: "3", Fault: unread},
		{ID: "2"},
	}
	got := Retention{Last: 2}.surplus(all)
	if want := []string{"5", "2"}; !slices.Equal(got, want) {
		t.Errorf("removes %v, not %v", got, want)
	}
}

// Three days at a snapshot every half hour, in the bubble's time.
func TestRetentionInTheFolder(t *testing.T) {
	o := Options{Dir: t.TempDir(), Keep: Retention{Last: 3, Hourly: 5, Daily: 2}}
	ledger := &blob{name: "ledger", data: noise(1, 5000)}
	synctest.Test(t, func(t *testing.T) {
		for i := range 3 * 48 {
			time.Sleep(30 * time.Minute)
			ledger.data = append(noise(byte(i), 3000), ledger.data[3000:]...)
			mustTake(t, o, ledger)
		}
	})
	all, err := listIn(o.Dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, s := range all {
		got = append(got, s.Time.Format("02 15:04"))
	}
	// The last hour and day have one each by midnight of the 4th.
	want := []string{"04 00:00", "03 23:30", "03 23:00", "03 22:30", "03 21:30", "03 20:30"}
	if !slices.Equal(got, want) {
		t.Errorf("keeps %v, not %v", got, want)
	}
	checkFolder(t, o.Dir)
}

func TestTakeRemovesOldOnesAndRemains(t *testing.T) {
	o := Options{Dir: t.TempDir(), Keep: Retention{Last: 10}}
	data := noise(1, 20*archive.ChunkSize)
	var ids []string
	for i := range 5 {
		copy(data[i*archive.ChunkSize:], noise(byte(10+i), archive.ChunkSize))
		ids = append(ids, mustTake(t, o, &blob{name: "stage", data: data}).ID)
	}
	if err := os.WriteFile(filepath.Join(o.Dir, "left.pack.tmp"), []byte("by a crash"), 0o600); err != nil {
		t.Fatal(err)
	}
	o.Keep.Last = 2
	last := mustTake(t, o, &blob{name: "stage", data: data}).ID
	all, err := listIn(o.Dir, nil)
	if err != nil || len(all) != 2 || all[0].ID != last || all[1].ID != ids[4] {
		t.Errorf("there are %v, %v", all, err)
	}
	checkFolder(t, o.Dir) // the first pack is still needed, and nothing else is left
	if got := restored(t, o.Dir, "", "stage"); !slices.Equal(got, data) {
		t.Error("comes back different")
	}
}

// A snapshot that was taken stays taken when old ones cannot be removed.
func TestTroubleInRemovingOldOnesIsNotTroubleInTaking(t *testing.T) {
	o := Options{Dir: t.TempDir(), Keep: Retention{Last: 1}}
	mustTake(t, o, &blob{name: "ledger", data: []byte("one")})
	o.files = sticky{}
	mustTake(t, o, &blob{name: "ledger", data: []byte("two")})
	if all, err := listIn(o.Dir, nil); err != nil || len(all) != 2 {
		t.Errorf("listed %v, %v", all, err)
	}
	o.files = nil
	mustTake(t, o, &blob{name: "ledger", data: []byte("three")})
	if all, err := listIn(o.Dir, nil); err != nil || len(all) != 1 {
		t.Errorf("listed %v, %v", all, err)
	}
	checkFolder(t, o.Dir)
}

// sticky are files that cannot be removed.
type sticky struct{ archive.OS }

func (sticky) Remove(string) error { return errFault }
