package plan

import (
	"fmt"
	"math"
	"strings"
	"time"
)

// Window is the time that a cutover may take.
type Window struct {
	Start time.Time `json:"start"`
	End   time.Time `json:"end"`
	Zone  string    `json:"zone"`
	Note  string    `json:"note,omitempty"` // of a change of the clocks inside it
}

// Length is how long the window really is.
func (w Window) Length() time.Duration { return w.End.Sub(w.Start) }

var weekdays = map[string]time.Weekday{"sun": time.Sunday, "mon": time.Monday, "tue": time.Tuesday, "wed": time.Wednesday, "thu": time.Thursday, "fri": time.Friday, "sat": time.Saturday}

// ParseWindow reads "Sat 20:00/Sun 22:00", the first such window that begins after a
// moment, or "2026-12-12 20:00/2026-12-13 22:00", in the time of a zone.
func ParseWindow(text string, zone *time.Location, after time.Time) (Window, error) {
	from, to, ok := strings.Cut(text, "/")
	if !ok {
		return Window{}, fmt.Errorf("the window %q is not begin/end, such as \"Sat 20:00/Sun 22:00\" or \"2026-12-12 20:00/2026-12-13 22:00\"", text)
	}
	start, err := parseMoment(from, zone, after)
	if err != nil {
		return Window{}, fmt.Errorf("the window's begin: %w", err)
	}
	end, err := parseMoment(to, zone, start)
	if err != nil {
		return Window{}, fmt.Errorf("the window's end: %w", err)
	}
	if !end.After(start) {
		return Window{}, fmt.Errorf("the window ends %s, before it begins, %s", end.Format("Mon 2006-01-02 15:04"), start.Format("Mon 2006-01-02 15:04"))
	}
	w := Window{Start: start, End: end, Zone: zone.String()}
	_, before := start.Zone()
	_, later := end.Zone()
	if before != later {
		clock := w.Length() + time.Duration(later-before)*time.Second
		w.Note = fmt.Sprintf("the clocks in %s change inside the window: by the clock it has %s, in truth %s; all times below are the clock's, all durations true",
			zone, short(clock), short(w.Length()))
	}
	return w, nil
}

// short is a duration as 26 h, 25 h 30 min, 5 min or 40 s.
func short(d time.Duration) string {
	if d >= time.Minute {
		d = d.Round(time.Minute)
	}
	h, m := int(d.Hours()), int(d.Minutes())%60
	switch {
	case d > 0 && d < time.Minute:
		return fmt.Sprintf("%d s", int(math.Ceil(d.Seconds())))
	case h == 0:
		return fmt.Sprintf("%d min", m)
	case m == 0:
		return fmt.Sprintf("%d h", h)
	}
	return fmt.Sprintf("%d h %d min", h, m)
}

func parseMoment(text string, zone *time.Location, after time.Time) (time.Time, error) {
	text = strings.TrimSpace(text)
	if t, err := time.Parse("2006-01-02 15:04", text); err == nil {
		return exact(t.Year(), t.Month(), t.Day(), t.Hour(), t.Minute(), zone)
	}
	day, clock, _ := strings.Cut(text, " ")
	weekday, known := weekdays[strings.ToLower(day)[:min(len(day), 3)]]
	t, err := time.Parse("15:04", strings.TrimSpace(clock))
	if !known || err != nil {
		return time.Time{}, fmt.Errorf("%q is neither a weekday and time, such as Sat 20:00, nor a date and time, such as 2026-12-12 20:00", text)
	}
	from := after.In(zone)
	for i := range 8 {
		d := from.AddDate(0, 0, i)
		if d.Weekday() != weekday {
			continue
		}
		if m, err := exact(d.Year(), d.Month(), d.Day(), t.Hour(), t.Minute(), zone); err != nil || m.After(after) {
			return m, err
		}
	}
	return time.Time{}, fmt.Errorf("no %s follows %s", text, from.Format("2006-01-02 15:04")) // eight days have each weekday
}

// exact is a moment of the clock, refused when the clock skips it.
func exact(year int, month time.Month, day, hour, minute int, zone *time.Location) (time.Time, error) {
	t := time.Date(year, month, day, hour, minute, 0, 0, zone)
	if t.Hour() != hour || t.Minute() != minute || t.Day() != day {
		return t, fmt.Errorf("%04d-%02d-%02d %02d:%02d does not exist in %s: the clocks go forward over it", year, month, day, hour, minute, zone)
	}
	return t, nil
}
