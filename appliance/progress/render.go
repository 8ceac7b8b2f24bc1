package progress

import (
	"fmt"
	"slices"
	"strings"
)

// quiet is how long nothing moves before that is said, in seconds.
const quiet = 60

// Render returns the lines that show a run on a terminal of width cells: what runs, how it
// sends and what sets its pace (of a pulse, which may be nil), a line for each table that
// runs, the total. No line is wider; where there is no room, the columns that matter least
// are left out. The lines hold no control characters, whatever names and texts hold.
func Render(s Snapshot, p *Pulse, width int) []string {
	if width < 1 {
		return nil
	}
	lines := []string{fit(headline(s), width)}
	if len(s.Tables) == 0 {
		if line := doingBar(s, width); line != "" {
			lines = append(lines, line)
		}
		return lines
	}
	if !s.Ended {
		for _, part := range pulseParts(s, p) {
			if n := len(lines); n > 1 && cells(lines[n-1])+cells(part)+3 <= width {
				lines[n-1] += " · " + clean(part)
				continue
			}
			lines = append(lines, fit(part, width))
		}
	}
	var rows []row
	for _, t := range s.Tables {
		if t.State == Running || len(s.Tables) == 1 {
			rows = append(rows, newRow(t.title(), t.Counts, t.Speed, s))
		}
	}
	if len(s.Tables) > 1 { // one alone is the total
		rows = append(rows, newRow("total", s.Total.Counts, s.Total.Speed, s))
	}
	return append(lines, grid(rows, width)...)
}

// pulseParts say how a run sends, and what sets its pace, unless that is said already.
func pulseParts(s Snapshot, p *Pulse) []string {
	if p == nil {
		return nil
	}
	var parts []string
	under := 0
	for _, u := range p.Users {
		under += u.InFlight
	}
	if n := len(p.Users); n > 0 {
		text := Counted(under, "request") + " under way"
		if n > 1 {
			text += " as " + Counted(n, "user")
		}
		if p.Latency > 0 {
			text += ", " + answerTime(p.Latency) + " an answer"
		}
		parts = append(parts, text)
	}
	if p.Bottleneck != "" && condition(s) == "" {
		parts = append(parts, "pace set by "+p.Bottleneck)
	}
	return parts
}

// answerTime writes the time of an answer, in seconds, as exact as it is worth.
func answerTime(seconds float64) string {
	if seconds < 1 {
		return fmt.Sprintf("%.0f ms", 1000*seconds)
	}
	return fmt.Sprintf("%.1f s", seconds)
}

// doingBar is the bar of what is being done where no records are counted.
func doingBar(s Snapshot, width int) string {
	if s.Percent < 0 || s.Doing == "" || width < shortestBar {
		return ""
	}
	line := bar(min(s.Percent, 100), min(width, longestBar))
	if s.Total.Left > 0 && !s.Ended {
		if text := "  " + spell(s.Total.Left) + " left"; cells(line)+cells(text) <= width {
			line += text
		}
	}
	return line
}

// title names a pass of a table; the first one, by whichever name, goes without saying.
func (t Table) title() string {
	switch t.Pass {
	case "", "main", "insert", "link":
		return t.Name
	}
	return t.Name + " (" + t.Pass + ")"
}

// headline says what the run as a whole is doing.
func headline(s Snapshot) string {
	parts := []string{}
	if s.Phase != "" {
		parts = append(parts, s.Phase)
	}
	parts = append(parts, spell(s.Elapsed))
	if condition := condition(s); condition != "" {
		parts = append(parts, condition)
	}
	if n := len(s.Tables); n > 0 {
		ended := 0
		for _, t := range s.Tables {
			if t.State == Ended {
				ended++
			}
		}
		parts = append(parts, fmt.Sprintf("%d of %s done", ended, Counted(n, "step")))
	}
	if s.Doing != "" {
		what := s.Doing
		if s.Percent >= 0 {
			what += fmt.Sprintf(" %.0f %%", s.Percent)
		}
		parts = append(parts, what)
	}
	return strings.Join(parts, " · ")
}

// condition says what keeps the run from moving, if anything does.
func condition(s Snapshot) string {
	switch {
	case s.Ended:
		return "finished"
	case s.Paused:
		return "paused"
	case s.Wait > 0:
		return "throttled by the service, goes on in " + spell(s.Wait)
	case s.Total.Idle >= quiet && s.Doing == "": // which says why no record has
		return "nothing has moved for " + spell(s.Total.Idle)
	}
	return ""
}

// The columns of a row, in the order in which they are read.
const (
	nameColumn = iota
	percentColumn
	barColumn
	countColumn
	rateColumn
	meanColumn
	leftColumn
	rangeColumn
	troubleColumn
	throttledColumn
	columns
)

// importance is the order in which columns get room.
var importance = []int{nameColumn, percentColumn, leftColumn, troubleColumn, rateColumn, countColumn, rangeColumn, throttledColumn, meanColumn}

// The bar takes what room is left, if that is enough to be a bar.
const (
	shortestBar = 12
	longestBar  = 30
)

// row is a line of the grid: a table that runs, or the total.
type row struct {
	text [columns]string
	done float64 // percent, for the bar
}

func newRow(name string, c Counts, v Speed, s Snapshot) row {
	speed := v.Rate
	if s.Ended {
		speed = v.Average
	}
	r := row{done: max(0, c.Percent())}
	r.text = [columns]string{
		nameColumn:    clean(name),
		percentColumn: percent(c),
		countColumn:   Grouped(c.settled()) + " of " + Grouped(c.Total),
		rateColumn:    rate(speed) + "/s",
		leftColumn:    left(v, s),
		troubleColumn: troubles(c),
	}
	if !s.Ended {
		r.text[rangeColumn], r.text[throttledColumn] = leftRange(v), throttledShare(v.Throttled, s)
		if mean := rate(v.Average); v.Average > 0 && mean != rate(speed) { // in the first minute they are one
			r.text[meanColumn] = "mean " + mean + "/s"
		}
	}
	return r
}

// grid sets the rows in columns as wide as their widest text.
func grid(rows []row, width int) []string {
	var widths [columns]int
	for _, r := range rows {
		for i, text := range r.text {
			widths[i] = max(widths[i], cells(text))
		}
	}
	widths[nameColumn] = min(widths[nameColumn], max(5, width/3))
	const gap = 2
	room, shown := width+gap, [columns]bool{}
	for _, i := range importance {
		if widths[i] == 0 {
			continue // nothing to show, as when there are no troubles
		}
		if widths[i]+gap > room {
			break
		}
		room, shown[i] = room-widths[i]-gap, true
	}
	if shown[countColumn] && room >= shortestBar+gap {
		widths[barColumn], shown[barColumn] = min(room-gap, longestBar), true
	}
	lines := make([]string, len(rows))
	for n, r := range rows {
		var parts []string
		for i, text := range r.text {
			switch {
			case !shown[i]:
			case i == barColumn:
				parts = append(parts, bar(r.done, widths[i]))
			case i == nameColumn || i == troubleColumn || i == rangeColumn || i == throttledColumn:
				parts = append(parts, pad(text, widths[i]))
			default:
				parts = append(parts, strings.Repeat(" ", widths[i]-cells(text))+text)
			}
		}
		lines[n] = fit(strings.TrimRight(strings.Join(parts, strings.Repeat(" ", gap)), " "), width)
	}
	return lines
}

func percent(c Counts) string {
	p := c.Percent()
	if p < 0 {
		return "-%"
	}
	if p > 99.9 && c.Remaining() > 0 {
		p = 99.9 // 100 is for what is done
	}
	return fmt.Sprintf("%.1f%%", p)
}

func bar(done float64, width int) string {
	full := int(done / 100 * float64(width-2))
	return "[" + strings.Repeat("#", full) + strings.Repeat("-", width-2-full) + "]"
}

func troubles(c Counts) string {
	var parts []string
	if c.Failed > 0 {
		parts = append(parts, Grouped(c.Failed)+" failed")
	}
	if c.Held > 0 {
		parts = append(parts, Grouped(c.Held)+" held")
	}
	return strings.Join(parts, ", ")
}

// left says how long the rest takes, or why that cannot be said.
func left(v Speed, s Snapshot) string {
	switch {
	case s.Ended:
		return ""
	case v.Left >= 0:
		return spell(v.Left) + " left"
	case s.Doing != "": // which is told, and sends nothing
		return ""
	case s.Paused:
		return "paused"
	case v.Idle >= quiet:
		return "standing still"
	}
	return "measuring"
}

// leftRange is how far the time left may be off, where that is worth saying.
func leftRange(v Speed) string {
	if v.Left <= 0 || v.LeftHigh < 1.1*v.LeftLow {
		return ""
	}
	low, high := spell(v.LeftLow), spell(v.LeftHigh)
	if low == high {
		return ""
	}
	return "(" + low + "-" + high + ")"
}

// throttledShare is how much of the run's time the service asked to wait.
func throttledShare(waited float64, s Snapshot) string {
	if waited <= 0 || s.Elapsed <= 0 {
		return ""
	}
	share := 100 * min(waited/s.Elapsed, 1)
	if share < 1 {
		return "<1% throttled"
	}
	return fmt.Sprintf("%.0f%% throttled", share)
}

// unit is what the total counts: a record that goes through several passes counts in each.
func unit(tables []Table) string {
	if slices.ContainsFunc(tables, func(t Table) bool { return t.title() != t.Name }) {
		return "operation"
	}
	return "record"
}

// Line returns the run as one plain line, for logs and where there is no terminal.
func Line(s Snapshot, p *Pulse) string {
	var b strings.Builder
	b.WriteString(strings.TrimSpace(s.Phase + " " + spell(s.Elapsed)))
	if s.Doing != "" {
		b.WriteString(": " + s.Doing)
		if s.Percent >= 0 {
			fmt.Fprintf(&b, " %.0f %%", s.Percent)
		}
		if len(s.Tables) == 0 && s.Total.Left > 0 && !s.Ended {
			b.WriteString(", " + spell(s.Total.Left) + " left")
		}
	}
	if c, v := s.Total.Counts, s.Total.Speed; len(s.Tables) > 0 {
		fmt.Fprintf(&b, ": %s of %s (%s), ", Grouped(c.settled()), Counted(c.Total, unit(s.Tables)), percent(c))
		if s.Ended {
			fmt.Fprintf(&b, "%s/s on average", rate(v.Average))
		} else {
			fmt.Fprintf(&b, "%s/s", rate(v.Rate))
		}
		if trouble := troubles(c); trouble != "" {
			b.WriteString(", " + trouble)
		}
		if rest := left(v, s); rest != "" && (v.Left >= 0 || condition(s) == "") { // the condition is the reason
			b.WriteString(", " + rest)
			if about := leftRange(v); about != "" && v.Left >= 0 {
				b.WriteString(" " + about)
			}
		}
		if share := throttledShare(v.Throttled, s); share != "" && !s.Ended {
			b.WriteString(", " + share)
		}
		var names []string
		for _, t := range s.Tables {
			if t.State == Running {
				names = append(names, t.title())
			}
		}
		if len(names) > 0 {
			b.WriteString(", on " + strings.Join(names, ", "))
		}
	}
	if condition := condition(s); condition != "" {
		b.WriteString("; " + condition)
	}
	if !s.Ended {
		for _, part := range pulseParts(s, p) {
			b.WriteString("; " + part)
		}
	}
	return clean(b.String())
}
