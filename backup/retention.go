package backup

import (
	"errors"
	"time"

	"dvmigrate/backup/archive"
)

// Retention says which snapshots stay: the newest Last, and the newest of each of the
// latest Hourly hours, Daily days and Weekly weeks (ISO, from Monday) that have any, in
// UTC. A snapshot stays if one of them asks for it; the newest always stays.
type Retention struct {
	Last   int
	Hourly int
	Daily  int
	Weekly int
}

// defaultRetention is what Options get that ask for nothing.
var defaultRetention = Retention{Last: 6, Hourly: 24, Daily: 14}

// prune removes the snapshots that o.Keep does not ask for, and what crashes have left,
// and returns the IDs of the snapshots it has removed. The folder must be locked.
func prune(store *archive.Store, o *Options) (removed []string, err error) {
	all, err := list(store, store.CheckPacks)
	if err != nil {
		return nil, err
	}
	for _, id := range o.Keep.surplus(all) {
		if err := store.Remove(id); err != nil {
			return removed, err
		}
		removed = append(removed, id)
		o.logger().Info("snapshot removed", "id", id)
	}
	return removed, store.Sweep()
}

// surplus returns the IDs of the snapshots to remove, of all, newest first.
//
// A snapshot with a fault fills no place, lest damage push out what is whole. It goes
// when there are as many whole ones after it as Last asks for, but only if it is known
// to be damaged: one that this release or this moment cannot read stays.
func (r Retention) surplus(all []Snapshot) []string {
	if r == (Retention{}) {
		r = defaultRetention
	}
	r.Last = max(r.Last, 1)
	rules := []struct {
		places int
		period func(time.Time) [2]int
		last   [2]int
	}{
		{places: r.Hourly, period: hour},
		{places: r.Daily, period: day},
		{places: r.Weekly, period: week},
	}
	var surplus []string
	whole := 0
	for _, s := range all {
		if s.Fault != nil {
			if whole >= r.Last && errors.Is(s.Fault, archive.ErrDamaged) {
				surplus = append(surplus, s.ID)
			}
			continue
		}
		whole++
		keep := whole <= r.Last
		for i := range rules {
			rule := &rules[i]
			if p := rule.period(s.Time); rule.places > 0 && p != rule.last {
				rule.last = p
				rule.places--
				keep = true
			}
		}
		if !keep {
			surplus = append(surplus, s.ID)
		}
	}
	return surplus
}

// hour, day and week number the period that t lies in; none is the zero value.
func hour(t time.Time) [2]int { return [2]int{1 + int(t.Unix()/3600)} }

func day(t time.Time) [2]int { return [2]int{t.Year(), t.YearDay()} }

func week(t time.Time) [2]int {
	year, week := t.ISOWeek()
	return [2]int{year, week}
}
