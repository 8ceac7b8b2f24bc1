package cli

import (
	"dvmigrate/appliance/progress"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync/atomic"
	"time"
	"unicode/utf8"
)

// output is standard output; it keeps what came of writing there, so that a result which did not get
// there, as into a file on a full disk, is no success.
type output struct {
	w      io.Writer
	failed atomic.Pointer[error] // the first
}

func (o *output) Write(p []byte) (int, error) {
	n, err := o.w.Write(p)
	if err != nil {
		o.failed.CompareAndSwap(nil, &err)
	}
	return n, err
}

// printJSON prints a value for machines, indented, without escaping < and >.
func (e *Env) printJSON(v any) error {
	enc := json.NewEncoder(e.Stdout)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

// printText prints a text that is the whole result; under --json, within a document.
func (e *Env) printText(text string) error {
	if e.json || slices.Contains(e.Args, "--json") { // help comes before the flags are read
		return e.printJSON(map[string]any{"version": 1, "text": text})
	}
	_, err := io.WriteString(e.Stdout, text)
	return err
}

// marshal is a value as JSON on one line, without escaping < and >.
func marshal(v any) (string, error) {
	var b strings.Builder
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	err := enc.Encode(v)
	return strings.TrimSuffix(b.String(), "\n"), err
}

// report prints an error for people, or for machines under --json.
func (e *Env) report(err error) {
	if e.json {
		_ = json.NewEncoder(e.Stderr).Encode(map[string]any{"version": 1, "error": err.Error(), "status": statusOf(err)})
		return
	}
	fmt.Fprintf(e.Stderr, "dvmigrate: %s\n", err)
}

// say prints a line for people; under --json nothing, since only the result counts.
func (e *Env) say(format string, args ...any) {
	if !e.json {
		fmt.Fprintf(e.Stdout, format+"\n", args...)
	}
}

// column is one column of a printed table.
type column struct {
	title string
	right bool
}

func left(title string) column  { return column{title, false} }
func right(title string) column { return column{title, true} }

// printTable prints rows in columns as wide as their widest value.
func printTable(w io.Writer, columns []column, rows [][]string) {
	widths := make([]int, len(columns))
	for i, c := range columns {
		widths[i] = utf8.RuneCountInString(c.title)
	}
	for _, row := range rows {
		for i, v := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(v))
		}
	}
	line := func(cell func(i int) string) {
		var b strings.Builder
		for i, c := range columns {
			v := cell(i)
			pad := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(v))
			if i > 0 {
				b.WriteString("  ")
			}
			if c.right {
				b.WriteString(pad + v)
			} else {
				b.WriteString(v + pad)
			}
		}
		fmt.Fprintln(w, strings.TrimRight(b.String(), " "))
	}
	line(func(i int) string { return columns[i].title })
	for _, row := range rows {
		line(func(i int) string { return row[i] })
	}
}

// count prints a number with thousands set apart.
func count[N int | int64 | uint32](n N) string { return progress.Grouped(int64(n)) }

// size prints bytes in the unit that fits.
func size(n int64) string {
	const unit = 1024
	if n < unit {
		return fmt.Sprintf("%d B", n)
	}
	f, exp := float64(n)/unit, 0
	for f >= unit && exp < 4 {
		f /= unit
		exp++
	}
	return fmt.Sprintf("%.1f %ciB", f, "KMGTP"[exp])
}

// duration prints seconds as people say them: 42 s, 3 min 20 s, 5 h 12 min, 3 d 4 h.
func duration(seconds float64) string {
	s := int64(seconds + 0.5)
	switch {
	case seconds < 10:
		return fmt.Sprintf("%.1f s", seconds)
	case s < 60:
		return fmt.Sprintf("%d s", s)
	case s < 3600:
		return fmt.Sprintf("%d min %d s", s/60, s%60)
	case s < 86400:
		return fmt.Sprintf("%d h %d min", s/3600, s%3600/60)
	}
	return fmt.Sprintf("%d d %d h", s/86400, s%86400/3600)
}

// span is a length of time that somebody has set, in hours and minutes: 26 h, 1 h 30 min, 5 min.
func span(d time.Duration) string {
	h, m := int(d.Hours()), int(d.Minutes())%60
	switch {
	case d < time.Minute:
		return duration(d.Seconds())
	case h == 0:
		return fmt.Sprintf("%d min", m)
	case m == 0:
		return fmt.Sprintf("%d h", h)
	}
	return fmt.Sprintf("%d h %d min", h, m)
}
