package load

import (
	"encoding/binary"
	"hash/fnv"

	"dvmigrate/appliance/dataverse/schema"
	"dvmigrate/appliance/mapping"
	"dvmigrate/duckstage/column"
)

// Rows of one sweep go to several jobs at once where a table says so: by the record they
// point to (Settings.ShardBy), so that no two requests under way have children of one
// parent, whose row the database locks; and by the user to create them as
// (Settings.CreatedBy), who stands in the request's headers.

// heap is which job a row goes to.
type heap struct {
	lane   int // whose jobs one worker sends, one after the other
	user   schema.GUID
	closes bool // its records are closed by an action (closing.go)
}

// maxHeaps is how many jobs are filled at once at most; beyond, all are sent as they are.
const maxHeaps = 512

// heapOf tells the job that row i goes to.
func (f *feeder) heapOf(b *column.Batch, i int) heap {
	var h heap
	if len(f.lanes) > 1 {
		switch v := b.Column(f.w.settings.ShardBy); {
		case v == nil:
		case v.Null(i): // has no parent
			f.orphans++
			h.lane = f.orphans % len(f.lanes)
		default:
			h.lane = laneOf(v.UUIDs[i], len(f.lanes))
		}
	}
	if f.w.byUser() {
		if v := b.Column(mapping.CreatedBy); v != nil && !v.Null(i) {
			h.user = v.UUIDs[i]
		}
	}
	return h
}

func laneOf(parent [16]byte, lanes int) int {
	sum := fnv.New64a()
	sum.Write(parent[:])
	return int(binary.BigEndian.Uint64(sum.Sum(nil)) % uint64(lanes))
}

// byUser reports whether the work creates its records as other users.
func (w *work) byUser() bool { return w.settings.CreatedBy && w.insert() }

// sharded reports whether each worker has rows of its own.
func (w *work) sharded() bool { return w.settings.ShardBy != "" && w.settings.Parallel > 1 }

// lanes are the channels of a sweep: one for all workers, or one for each.
func (w *work) lanes() []chan *job {
	if !w.sharded() {
		return []chan *job{make(chan *job)}
	}
	lanes := make([]chan *job, w.settings.Parallel)
	for i := range lanes {
		lanes[i] = make(chan *job, 1)
	}
	return lanes
}

// targetFor is where a job's requests go.
func (l *Loader) targetFor(w *work, j *job) (Target, error) {
	if j.user.IsZero() {
		return w.target, nil
	}
	return l.o.As(w.table.Name, j.user)
}
