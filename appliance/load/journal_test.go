package load_test

import (
	"errors"
	"reflect"
	"sync"
	"testing"
	"testing/synctest"

	"dvmigrate/appliance/dataverse/emulator"
	"dvmigrate/appliance/load"
	"dvmigrate/ledger"
)

// fullJournal is a journal of changes for which the disk has room only so often.
type fullJournal struct {
	*ledger.Undo
	mu   sync.Mutex
	room int
}

func (j *fullJournal) take() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.room--; j.room < 0 {
		return ledger.ErrFull
	}
	return nil
}

func (j *fullJournal) Claimed(table string, action ledger.Action, ranges []ledger.Range) error {
	if err := j.take(); err != nil {
		return err
	}
	return j.Undo.Claimed(table, action, ranges)
}

func (j *fullJournal) Keep(table string, found ledger.Found, images []ledger.Image) error {
	if len(images) == 0 {
		return nil
	}
	if err := j.take(); err != nil {
		return err
	}
	return j.Undo.Keep(table, found, images)
}

// TestLoadWithoutRoomForTheJournal: where what a record has cannot be kept, the load stops and nothing is
// written over it; with room it goes on, and all can go back.
func TestLoadWithoutRoomForTheJournal(t *testing.T) {
	stops := 0
	for room, full := 0, true; full; room++ {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, 8, settings(load.Settings{Batch: 4, Parallel: 2, Keep: true}), func(w *world, o *emulator.Options) {
				w.change["opportunity.statecode.3"], w.change["opportunity.statuscode.3"] = 0, 1 // what is won cannot be won again here
			})
			w.journaled(1)
			w.mustRun()
			before := w.exportAll()
			u := w.journaled(2)
			w.changeAll()
			w.options.Undo = &fullJournal{Undo: u, room: room}
			err := w.run()
			if full = err != nil; full {
				stops++
			}
			if full && !errors.Is(err, ledger.ErrFull) {
				t.Errorf("room %d: %v", room, err)
			}
			changed := 0
			for _, name := range tableNames {
				kept := u.Since(2, name).Changed
				for seq := range w.stage.tables[name].count {
					if a, b := before[name][guid(name, seq)], w.exportAll()[name][guid(name, seq)]; !reflect.DeepEqual(a, b) {
						if changed++; !kept.Has(uint32(seq)) {
							t.Errorf("room %d: %s %d became %v, was %v, and that is not kept", room, name, seq, b, a)
						}
					}
				}
			}
			if room == 0 && changed > 0 {
				t.Errorf("%d records were changed without any room", changed)
			}
			w.reopen()
			w.options.Undo = u
			w.mustRun()
			if err := w.rollBack(w.wayBack(u, 2)); err != nil {
				t.Fatal(err)
			}
			w.wantSame(before, w.exportAll())
		})
		if t.Failed() || room > 100 {
			t.Fatalf("stopped with room for %d", room)
		}
	}
	if stops < 4 {
		t.Errorf("%d stops: the test proves nothing", stops)
	}
}
