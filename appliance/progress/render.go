package progress

import (
	"fmt"
	"strings"
)

// quiet is how long nothing moves before that is said, in seconds.
const quiet = 60

// Render returns the lines that show a run on a terminal of width cells: what runs, a
// line for each table that runs, the total. No line is wider; where there is no room,
// the columns that matter least are left out. The lines hold no control characters,
// whatever names and texts hold.
func Render(s Snapshot, width int) []string {
	if width < 1 {
		return nil
	}
	lines := []string{fit(headline(s), width)}
	if len(s.Tables) == 0 {
		return lines
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
		parts = append(parts, fmt.Sprintf("%d of %d steps done", ended, n))
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
	case s.Total.Idle >= quiet:
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
	leftColumn
	troubleColumn
	columns
)

// importance is the order in which columns get room.
var importance = []int{nameColumn, percentColumn, leftColumn, troubleColumn, rateColumn, countColumn}

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
		countColumn:   grouped(c.settled()) + " of " + grouped(c.Total),
		rateColumn:    rate(speed) + "/s",
		leftColumn:    left(v, s),
		troubleColumn: troubles(c),
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
			case i == nameColumn || i == troubleColumn:
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
		parts = append(parts, grouped(c.Failed)+" failed")
	}
	if c.Held > 0 {
		parts = append(parts, grouped(c.Held)+" held")
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
	case s.Paused:
		return "paused"
	case v.Idle >= quiet:
		return "standing still"
	}
	return "measuring"
}

// Line returns the run as one plain line, for logs and where there is no terminal.
func Line(s Snapshot) string {
	var b strings.Builder
	b.WriteString(strings.TrimSpace(s.Phase + " " + spell(s.Elapsed)))
	if s.Doing != "" {
		b.WriteString(": " + s.Doing)
		if s.Percent >= 0 {
			fmt.Fprintf(&b, " %.0f %%", s.Percent)
		}
	}
	if c, v := s.Total.Counts, s.Total.Speed; len(s.Tables) > 0 {
		fmt.Fprintf(&b, ": %s of %s records (%s), ", grouped(c.settled()), grouped(c.Total), percent(c))
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
	return clean(b.String())
}
