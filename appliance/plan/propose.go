package plan

import (
	"fmt"
	"math"
	"time"
)

// Proposal says whether to load in one piece or as a full load and deltas (method.md M8).
type Proposal struct {
	Split    bool     `json:"split"`
	Reason   string   `json:"reason"`
	Change   float64  `json:"changePerWeek"` // share of the records, over all tables
	Supplies []Supply `json:"supplies"`
}

// Supply is one load of the proposal.
type Supply struct {
	Name    string    `json:"name"`
	Start   time.Time `json:"start"`
	Records int64     `json:"records"`
	Seconds float64   `json:"seconds"` // with the buffer
	Frozen  bool      `json:"inFreeze"`
}

const (
	week      = 7 * 24 * time.Hour
	fullAhead = 4 * week // method.md M8: about a month before go-live
)

// Propose plans the loads backwards from goLive, when the source is frozen; zero means
// as soon as the full load and its deltas allow, begun at now. whole is their estimate.
func Propose(work []Work, a Assumptions, whole Estimate, change map[string]float64, split time.Duration, now, goLive time.Time) Proposal {
	p := Proposal{Split: whole.Buffered > split.Seconds(), Supplies: []Supply{}}
	full := Supply{Name: "full load", Records: whole.Operations, Seconds: whole.Buffered}
	ahead := fullAhead
	if long := time.Duration(whole.Buffered * float64(time.Second)); long > ahead-week { // the deltas begin when it is over
		ahead = time.Duration(math.Ceil(float64(long)/float64(week))+1) * week
	}
	if !p.Split {
		p.Reason = fmt.Sprintf("the whole load takes %s with the buffer, not more than the %s above which it is split", short(seconds(whole.Buffered)), short(split))
		if goLive.IsZero() {
			goLive = now
		}
		full.Start, full.Frozen = goLive, true
		p.Supplies = append(p.Supplies, full)
		return p
	}
	p.Reason = fmt.Sprintf("the whole load takes %s with the buffer, more than the %s above which it is split", short(seconds(whole.Buffered)), short(split))
	if goLive.IsZero() {
		goLive = now.Add(ahead)
	}
	full.Start = goLive.Add(-ahead)
	p.Supplies = append(p.Supplies, full)
	since := full.Start // the newest change that the target has
	n := 1
	for at := full.Start.Add(week); ; at = at.Add(week) {
		if at.Before(full.Start.Add(time.Duration(full.Seconds * float64(time.Second)))) { // the full load is under way
			continue
		}
		last := !at.Before(goLive)
		if last {
			at = goLive
		}
		s := changed(work, a, change, at.Sub(since).Hours()/week.Hours())
		s.Name, s.Start, s.Frozen = fmt.Sprintf("delta %d", n), at, last
		if last {
			s.Name = "last delta"
		}
		p.Supplies = append(p.Supplies, s)
		since = at
		n++
		if last {
			break
		}
	}
	weekly := changed(work, a, change, 1)
	p.Change = float64(weekly.Records) / max(float64(whole.Operations), 1)
	return p
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

// changed is the load of what has changed in so many weeks.
func changed(work []Work, a Assumptions, change map[string]float64, weeks float64) Supply {
	work = cloneWork(work)
	for i, w := range work {
		share := 1 - math.Pow(1-min(change[w.Table], 1), weeks)
		work[i].Operations = int64(math.Ceil(float64(w.Operations) * share))
		work[i].Outside = false
	}
	e := plain(work, a, 1, coarse(work))
	return Supply{Records: e.Operations, Seconds: e.Buffered}
}

// Storage is what the target will hold, and what the load takes of its entitlement.
type Storage struct {
	DatabaseBytes int64   `json:"databaseBytes"`
	FileBytes     int64   `json:"fileBytes"`
	Basis         string  `json:"basis"`
	Operations    int64   `json:"operations"`        // each counts as one Power Platform request
	PerDay        int64   `json:"operationsPerDay"`  // on the busiest day
	Entitlement   int64   `json:"entitlementPerDay"` // of a tenant's non-licensed users, at least
	Days          float64 `json:"entitlementDays"`   // that the operations would take within it
}

const (
	// poolPerDay is what application users of a tenant with Dynamics 365 Enterprise
	// licences share at least (dataverse-web-api.md 8.5).
	poolPerDay = 500_000
	// overhead is the database's size to that of the bodies: indexes, system columns,
	// audit. A guess, said to be one.
	overhead = 2.2
)

// StorageOf adds up what the work makes.
func StorageOf(work []Work, seconds float64) Storage {
	s := Storage{Entitlement: poolPerDay, Basis: fmt.Sprintf("bytes of a record's body, as loads measured or some staged rows have it, times %.1f for indexes and system columns (a guess); images, file columns, and what notes and attachments hold are files", overhead)}
	for _, w := range work {
		s.Operations += w.Operations
		if w.Pass == Files { // as they are, not as Base64
			s.FileBytes += int64(float64(w.Operations) * w.FileBytes)
		}
		if w.Action == "insert" || w.Action == "link" {
			s.DatabaseBytes += int64(float64(w.Operations) * (w.Bytes - w.FileBytes) * overhead)
			s.FileBytes += int64(float64(w.Operations) * w.FileBytes * 3 / 4)
		}
	}
	s.PerDay = s.Operations
	if days := seconds / 86400; days > 1 {
		s.PerDay = int64(float64(s.Operations) / days)
	}
	s.Days = float64(s.Operations) / poolPerDay
	return s
}
