package plan

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// WhatIf is what one change would bring.
type WhatIf struct {
	Change  string  `json:"change"`
	Kind    string  `json:"kind"`    // user, server, batch, bypass, table
	Seconds float64 `json:"seconds"` // in the window, without the buffer
	Saves   float64 `json:"savesSeconds"`
	Fits    *bool   `json:"fitsWindow,omitempty"`
	Note    string  `json:"note,omitempty"`
}

func cloneWork(work []Work) []Work { return slices.Clone(work) }

// more makes the work and assumptions of so many times the users.
func more(work []Work, a Assumptions, users int) ([]Work, Assumptions) {
	work = cloneWork(work)
	before := max(a.Limits.Users, 1)
	for i := range work {
		work[i].Parallel = work[i].Parallel * users / before
	}
	a.Limits.Users = users
	return work, a
}

// change makes other work and assumptions of these.
type change func([]Work, Assumptions) ([]Work, Assumptions)

func withBatch(n int) change {
	return func(work []Work, a Assumptions) ([]Work, Assumptions) {
		work = cloneWork(work)
		for i := range work {
			if work[i].Message == Bulk && work[i].Rate == 0 {
				work[i].Batch, work[i].Auto = n, false
			}
		}
		return work, a
	}
}

// bypassGain is the part of the server time that custom logic is taken to cost when
// nobody has measured it: a guess, and said to be one.
const bypassGain = 0.4

func bypassed(work []Work, a Assumptions) ([]Work, Assumptions) {
	work = cloneWork(work)
	for i, w := range work {
		factor := w.Bypass
		if factor == 0 {
			factor = 1 - bypassGain
		}
		work[i].PerRecord = time.Duration(float64(w.PerRecord) * factor)
		work[i].PerSingle = time.Duration(float64(w.PerSingle) * factor)
	}
	return work, a
}

// whatIfs simulates the changes that a team could make.
func whatIfs(work []Work, a Assumptions, e Estimate) []WhatIf {
	var out []WhatIf
	base := max(inside(work, a), 1e-9)
	add := func(kind, text, note string, c change) {
		out = append(out, whatIf(e, a, kind, text, note, e.Inside*inside(c(work, a))/base))
	}
	users := max(a.Limits.Users, 1)
	for _, n := range []int{users + 1, 2 * users} {
		if n > users+1 || n == users+1 && users > 0 {
			add("user", fmt.Sprintf("%d application users instead of %d", n, users), "", func(w []Work, a Assumptions) ([]Work, Assumptions) { return more(w, a, n) })
		}
		if users == 1 {
			break
		}
	}
	add("server", fmt.Sprintf("%d web servers instead of %d", max(a.Limits.Servers, 1)+1, max(a.Limits.Servers, 1)), "Microsoft decides how many there are", func(w []Work, a Assumptions) ([]Work, Assumptions) {
		a.Limits.Servers = max(a.Limits.Servers, 1) + 1
		return w, a
	})
	for _, n := range []int{50, 100, 500} {
		if slices.ContainsFunc(work, func(w Work) bool {
			return w.Message == Bulk && (w.Auto || w.Batch != n) && w.Rate == 0 && w.Operations > 0
		}) {
			add("batch", fmt.Sprintf("%d records a bulk request", n), "", withBatch(n))
		}
	}
	note := fmt.Sprintf("guessed: custom logic is %.0f %% of the server time; calibrate with and without it to know", 100*bypassGain)
	if slices.ContainsFunc(work, func(w Work) bool { return w.Bypass > 0 }) {
		note = "measured"
	}
	if slices.ContainsFunc(work, func(w Work) bool { return w.Rate == 0 && w.Operations > 0 }) {
		add("bypass", "custom logic bypassed (headers.bypass)", note, bypassed)
	}
	return append(out, movedOut(a, e)...)
}

func whatIf(e Estimate, a Assumptions, kind, text, note string, inside float64) WhatIf {
	w := WhatIf{Change: text, Kind: kind, Seconds: inside, Saves: e.Inside - inside, Note: note}
	if a.Window > 0 {
		fits := inside*buffer(a) <= a.Window.Seconds()
		w.Fits = &fits
	}
	return w
}

// movedOut is what it brings to load one of the five longest tables before the window:
// its steps fall away, as they come one after the other.
func movedOut(a Assumptions, e Estimate) []WhatIf {
	sums := tableSeconds(e)
	var out []WhatIf
	for _, t := range sums[:min(len(sums), 5)] {
		out = append(out, whatIf(e, a, "table", "without "+t.table+" in the window", "loaded before it, and its changes as a delta", e.Inside-t.seconds))
	}
	return out
}

type tableTime struct {
	table   string
	seconds float64
}

// tableSeconds are the tables inside the window, the longest first.
func tableSeconds(e Estimate) []tableTime {
	var sums []tableTime
	for _, r := range e.Rows {
		if r.Outside || r.Seconds == 0 {
			continue
		}
		i := slices.IndexFunc(sums, func(t tableTime) bool { return t.table == r.Table })
		if i < 0 {
			sums = append(sums, tableTime{table: r.Table})
			i = len(sums) - 1
		}
		sums[i].seconds += r.Seconds
	}
	slices.SortStableFunc(sums, func(a, b tableTime) int {
		if a.seconds > b.seconds {
			return -1
		}
		return 1
	})
	return sums
}

// leastChange names the smallest change that makes the work fit its window: what costs
// a setting first, then users, then what goes out of the window.
func leastChange(work []Work, a Assumptions, e Estimate) string {
	for _, kind := range []string{"batch", "bypass"} {
		for _, w := range e.WhatIf {
			if w.Kind == kind && w.Fits != nil && *w.Fits && !strings.HasPrefix(w.Note, "guessed") {
				return w.Change
			}
		}
	}
	if n := e.UsersToFit; n > 0 {
		return fmt.Sprintf("%d application users instead of %d", n, max(a.Limits.Users, 1))
	}
	left := e.Inside
	var out []string
	for _, t := range tableSeconds(e) {
		left -= t.seconds
		out = append(out, t.table)
		if left*buffer(a) <= a.Window.Seconds() {
			return "loading " + strings.Join(out, ", ") + " before the window, and only the changes in it"
		}
	}
	return "a full load weeks before and deltas since; only the last delta in the window"
}
