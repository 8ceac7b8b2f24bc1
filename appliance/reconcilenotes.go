package appliance

import (
	"fmt"
	"strings"
	"time"

	"dvmigrate/appliance/progress"
)

// ComparisonNotes say in sentences how a comparison was made, where that is not by reading
// every record in full, and what it therefore does not prove; whoever signs must know.
func ComparisonNotes(r Compared) []string {
	var notes, sampled []string
	note := func(format string, args ...any) { notes = append(notes, fmt.Sprintf(format, args...)) }
	unchanged := int64(0)
	for _, t := range r.Tables {
		if t.Quick && t.Others > 0 {
			note("%s has %s records more than were loaded, and figures that include them; compare row by row to know whose they are", t.Name, progress.Grouped(t.Others))
		}
		if t.Quick && t.Unsure > 0 {
			note("%s of %s need not have what is staged (the row is gone, failed or is held back), and the figures include them; compare row by row", progress.Counted(t.Unsure, "record"), t.Name)
		}
		if x := t.Resumed; x != nil {
			note("%s: a comparison that began at %s, %s ago, was interrupted when it had compared %d of %d ranges; of their records ids and versions were read again, and in full only what has changed since (--anew reads everything in full)",
				t.Name, x.Began.UTC().Format("2006-01-02 15:04 MST"), time.Since(x.Began).Round(time.Second), x.Done, x.Of)
		}
		if t.NoSizes != "" {
			note("the sizes of the files of %s were not compared: %s", t.Name, t.NoSizes)
		}
		if t.Sampled > 0 {
			sampled = append(sampled, t.Name+" "+progress.Grouped(t.Sampled))
		}
		unchanged += t.Unchanged
	}
	if len(sampled) > 0 {
		note("records chosen at random were compared, and nothing was looked for beside them: %s", strings.Join(sampled, ", "))
	}
	if unchanged > 0 {
		note("%s records have the version at which they were found equal before, and were not read in full", progress.Grouped(unchanged))
	}
	if r.Summary.Moving > 0 {
		note("a load is running: %s records that it changed meanwhile were not judged; compare again when it is over", progress.Grouped(r.Summary.Moving))
	}
	return notes
}
