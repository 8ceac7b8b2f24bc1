package appliance

import (
	"path/filepath"
	"runtime"
	"slices"
	"time"

	"dvmigrate/appliance/config"
	"dvmigrate/appliance/progress"
)

// gauge reads the machine's figures; rates are those since it was read before.
type gauge struct {
	folders [][2]string // what each is for, and its path
	last    counters
}

// counters are what only ever grows, at one moment.
type counters struct {
	at             time.Time
	busy, all      float64
	own            time.Duration
	received, sent float64
}

func newGauge(c *config.Config) *gauge {
	g := &gauge{folders: [][2]string{{"stage and ledger", c.Path(c.Work)}, {"temporary files", c.TempDir()}}}
	if !config.Distant(c.Snapshots.To) {
		g.folders = append(g.folders, [2]string{"snapshots", c.Path(c.Snapshots.To)})
	}
	return g
}

// read takes the figures of now.
func (g *gauge) read() progress.Machine {
	now := counters{at: time.Now(), own: processTime()}
	now.busy, now.all = busyTicks()
	now.received, now.sent = networkBytes()
	m := progress.Machine{CPU: progress.Unknown, Own: progress.Unknown, Cores: runtime.NumCPU(), Received: progress.Unknown, Sent: progress.Unknown, Disks: []progress.Disk{}}
	m.Memory, m.Available, m.OwnMemory = memoryOf()
	before := g.last
	if passed := now.at.Sub(before.at).Seconds(); !before.at.IsZero() && passed > 0 {
		if now.all > before.all {
			m.CPU = min(max((now.busy-before.busy)/(now.all-before.all), 0), 1)
		}
		m.Own = max((now.own-before.own).Seconds()/passed, 0)
		if now.received+now.sent > 0 {
			m.Received, m.Sent = max(now.received-before.received, 0)/passed, max(now.sent-before.sent, 0)/passed
		}
	}
	g.last = now
	for _, f := range g.folders {
		path := f[1]
		for !exists(path) && path != filepath.Dir(path) { // what is not made yet will be on its parent's disk
			path = filepath.Dir(path)
		}
		left, size := diskOf(path)
		if i := sameDisk(m.Disks, left, size); i >= 0 {
			m.Disks[i].Use += ", " + f[0]
			continue
		}
		m.Disks = append(m.Disks, progress.Disk{Use: f[0], Path: f[1], Left: left, Size: size})
	}
	return m
}

// sameDisk finds the disk that this seems to be too; -1 = it is none of them. What is left
// may have changed between two looks.
func sameDisk(disks []progress.Disk, left, size int64) int {
	return slices.IndexFunc(disks, func(d progress.Disk) bool {
		return d.Size == size && d.Left-left < size/100 && left-d.Left < size/100
	})
}
