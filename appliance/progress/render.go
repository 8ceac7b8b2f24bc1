package progress

import (
	"fmt"
	"strings"
)

// quiet is how long nothing moves before that is said, in seconds.
const quiet = 60

// Render returns the lines that show a run on a terminal of width cells: what runs, a
// line for each table that runs, the total. No line is wider; where there is no room,
// the parts that matter least go first. The lines hold no control characters, whatever
// names and texts hold.
func Render(s Snapshot, width int) []string {
	if width < 1 {
		return nil
	}
	lines := []string{fit(headline(s), width)}
	running, names := []Table{}, cells("total")
	for _, t := range s.Tables {
		if t.State == Running {
			running = append(running, t)
			names = max(names, cells(t.title()))
		}
	}
	names = min(names, max(5, width/3))
	if len(running) != 1 || len(s.Tables) > 1 { // with one table alone the total says it all
		for _, t := range running {
			lines = append(lines, row(t.title(), t.Counts, t.Speed, s, names, width))
		}
	}
	if len(s.Tables) > 0 {
		lines = append(lines, row("total", s.Total.Counts, s.Total.Speed, s, names, width))
	}
	return lines
}

// title names a pass of a table; the first pass, the insert, goes without saying.
func (t Table) title() string {
	if t.Pass == "" || t.Pass == "insert" {
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
	if n := len(s.Tables); n > 0 {
		ended := 0
		for _, t := range s.Tables {
			if t.State == Ended {
				ended++
			}
		}
		parts = append(parts, fmt.Sprintf("%d of %d tables and passes done", ended, n))
	}
	if s.Doing != "" {
		what := s.Doing
		if s.Percent >= 0 {
			what += fmt.Sprintf(" %.0f %%", s.Percent)
		}
		parts = append(parts, what)
	}
	if condition := condition(s); condition != "" {
		parts = append(parts, condition)
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

// row is the line of a table or of the total. Its parts are in the order in which they
// are given up, last first, where the line is too narrow for all.
func row(name string, c Counts, v Speed, s Snapshot, names, width int) string {
	line := pad(name, names) + "  " + percent(c)
	parts := []string{
		left(v, s),
		fmt.Sprintf("%s/s", rate(v.Rate)),
		troubles(c),
		grouped(c.settled()) + " of " + grouped(c.Total),
	}
	taken := 0
	room := width - cells(line)
	for taken < len(parts) && cells(parts[taken])+2 <= room {
		room -= gap(parts[taken])
		taken++
	}
	if taken == len(parts) && room >= 14 {
		line += "  " + bar(c, min(30, room-2))
	}
	for _, i := range []int{3, 1, 2, 0} { // as they are read
		if i < taken && parts[i] != "" {
			line += "  " + parts[i]
		}
	}
	return fit(line, width)
}

// gap is the room that a part takes with the space before it.
func gap(part string) int {
	if part == "" {
		return 0
	}
	return cells(part) + 2
}

func percent(c Counts) string {
	p := c.Percent()
	if p < 0 {
		return "  -  %"
	}
	if p > 99.9 && c.Remaining() > 0 {
		p = 99.9 // 100 is for what is done
	}
	return fmt.Sprintf("%5.1f%%", p)
}

func bar(c Counts, width int) string {
	full := int(max(0, c.Percent()) / 100 * float64(width-2))
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
		fmt.Fprintf(&b, ": %s of %s records (%s), ", grouped(c.settled()), grouped(c.Total), strings.TrimSpace(percent(c)))
		if s.Ended {
			fmt.Fprintf(&b, "%s/s on average", rate(v.Average))
		} else {
			fmt.Fprintf(&b, "%s/s", rate(v.Rate))
		}
		for _, part := range []string{troubles(c), left(v, s)} {
			if part != "" {
				b.WriteString(", " + part)
			}
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
