package cli

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"dvmigrate/appliance/progress"
)

// meter shows how long work goes: lines that are drawn over on a terminal, a plain
// line now and then elsewhere, nothing under --json.
type meter struct {
	env   *Env
	mu    sync.Mutex
	lines int       // drawn on the terminal and still there
	last  time.Time // of the last plain line
}

// plainEvery is how often a plain line is printed where there is no terminal.
const plainEvery = 10 * time.Second

func (e *Env) meter() *meter { return &meter{env: e} }

func (m *meter) width() int {
	if m.env.json || m.env.Width == nil {
		return 0
	}
	return m.env.Width()
}

// line shows one line of progress.
func (m *meter) line(text string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if width := m.width(); width > 0 {
		m.draw([]string{cut(text, width-1)})
		return
	}
	m.plain(text)
}

// percent shows what is being done and how far it is; negative = not known.
func (m *meter) percent(what string, percent float64) {
	if percent >= 0 {
		what = fmt.Sprintf("%s %.0f %%", what, percent)
	}
	m.line(what)
}

func (m *meter) plain(text string) {
	if m.env.json || time.Since(m.last) < plainEvery {
		return
	}
	m.last = time.Now()
	fmt.Fprintln(m.env.Stderr, text)
}

func cut(s string, width int) string {
	r := []rune(s)
	if width > 0 && len(r) > width {
		return string(r[:width])
	}
	return s
}

// draw replaces what was drawn before.
func (m *meter) draw(lines []string) {
	var b strings.Builder
	if m.lines > 0 {
		fmt.Fprintf(&b, "\x1b[%dA", m.lines)
	}
	for _, l := range lines {
		b.WriteString("\r\x1b[K" + l + "\n")
	}
	b.WriteString("\x1b[J")
	m.lines = len(lines)
	fmt.Fprint(m.env.Stderr, b.String())
}

// clear removes what was drawn.
func (m *meter) clear() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.lines > 0 {
		fmt.Fprintf(m.env.Stderr, "\x1b[%dA\r\x1b[J", m.lines)
		m.lines = 0
	}
}

// follow shows a tracker's state twice a second until ctx ends, and its events as
// they come.
func (m *meter) follow(ctx context.Context, snapshot func() (progress.Snapshot, bool)) {
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	var seen uint64
	for {
		select {
		case <-ctx.Done():
			if s, ok := snapshot(); ok {
				m.events(s, &seen)
			}
			m.clear()
			return
		case <-tick.C:
		}
		s, ok := snapshot()
		if !ok {
			continue
		}
		m.events(s, &seen)
		m.mu.Lock()
		if width := m.width(); width > 0 {
			m.draw(progress.Render(s, width-1))
		} else {
			m.plain(progress.Line(s))
		}
		m.mu.Unlock()
	}
}

// events prints what happened since the last look, above the moving lines.
func (m *meter) events(s progress.Snapshot, seen *uint64) {
	if m.env.json {
		return
	}
	for _, e := range s.Since(*seen) {
		*seen = e.Seq
		if e.Kind != progress.Noted && e.Kind != progress.Narrowed {
			continue
		}
		m.clear()
		where := ""
		if e.Table != "" {
			where = e.Table + ": "
		}
		fmt.Fprintf(m.env.Stderr, "  %s%s\n", where, e.Text)
	}
}
