package cli

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"dvmigrate/appliance/progress"
)

// meter shows how long work goes: lines that are drawn over on a terminal, a plain line now
// and then elsewhere, a line of JSON now and then under --json. All of it goes to standard
// error, so that standard output has the result alone.
type meter struct {
	env   *Env
	phase string // the command, for work that counts no records

	mu    sync.Mutex // protects what follows
	drawn []string   // on the terminal and still there
	last  time.Time  // of the last plain line
	began time.Time
	doing string // where no records are counted, since when, and at which percent then
	since time.Time
	from  float64
}

// plainEvery is how often a line is printed where there is no terminal.
const plainEvery = 10 * time.Second

// drawnEvery is how often lines are drawn anew.
const drawnEvery = 200 * time.Millisecond

func (e *Env) meter() *meter {
	m := &meter{env: e, began: time.Now()}
	m.phase, _ = e.split()
	if e.json { // who asked for JSON and waits less than that wants the result alone
		m.last = m.began
	}
	return m
}

func (m *meter) width() int {
	if m.env.json || m.env.Width == nil {
		return 0
	}
	return m.env.Width()
}

// line shows one line of progress.
func (m *meter) line(text string) { m.percent(text, progress.Unknown) }

// percent shows what is being done and how far it is; negative = not known.
func (m *meter) percent(what string, percent float64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := time.Now()
	if what != m.doing || percent < m.from {
		m.doing, m.since, m.from = what, now, percent
	}
	s := progress.Snapshot{Time: now, Phase: m.phase, Elapsed: now.Sub(m.began).Seconds(), Doing: what, Percent: percent}
	s.Total.Left = progress.Unknown
	if spent := now.Sub(m.since); percent-m.from >= 2 && spent >= 5*time.Second && percent < 100 {
		s.Total.Left = spent.Seconds() * (100 - percent) / (percent - m.from)
	}
	if width := m.width(); width > 0 && len(m.drawn) > 0 && now.Sub(m.last) < drawnEvery {
		return
	}
	m.show(s, nil)
}

// show draws a state, or prints it. The lock is held.
func (m *meter) show(s progress.Snapshot, p *progress.Pulse) {
	if width := m.width(); width > 0 {
		m.last = time.Now()
		m.draw(progress.Render(s, p, width-1), width)
		return
	}
	if time.Since(m.last) < plainEvery {
		return
	}
	m.last = time.Now()
	if !m.env.json {
		fmt.Fprintln(m.env.Stderr, progress.Line(s, p))
		return
	}
	s.Events = nil // they stand in the result, the log and the ledger
	if text, err := marshal(map[string]any{"version": 1, "progress": s, "pulse": p}); err == nil {
		fmt.Fprintln(m.env.Stderr, text)
	}
}

func cut(s string, width int) string {
	r := []rune(s)
	if width > 0 && len(r) > width {
		return string(r[:width])
	}
	return s
}

// draw replaces what was drawn before.
func (m *meter) draw(lines []string, width int) {
	var b strings.Builder
	b.WriteString(m.up(width))
	for _, l := range lines {
		b.WriteString("\r\x1b[K" + l + "\n")
	}
	b.WriteString("\x1b[J")
	m.drawn = lines
	fmt.Fprint(m.env.Stderr, b.String())
}

// up moves the cursor to the first of the lines that were drawn. A terminal that became
// narrower meanwhile has broken those that no longer fit, so that they take more rows.
func (m *meter) up(width int) string {
	rows := 0
	for _, l := range m.drawn {
		rows += 1 + max(progress.Cells(l)-1, 0)/max(width, 1)
	}
	if rows == 0 {
		return ""
	}
	return fmt.Sprintf("\x1b[%dA", rows)
}

// clear removes what was drawn.
func (m *meter) clear() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.drawn) > 0 {
		fmt.Fprint(m.env.Stderr, m.up(m.width())+"\r\x1b[J")
		m.drawn = nil
	}
}

// live is what a load that runs tells of itself.
type live interface {
	Look() (s progress.Snapshot, p *progress.Pulse, ok bool)
}

// watch shows a load until stop is called, which waits for the last of it.
func (m *meter) watch(ctx context.Context, of live) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	followed := make(chan struct{})
	go func() {
		defer close(followed)
		m.follow(ctx, of)
	}()
	return func() {
		cancel()
		<-followed
	}
}

// follow shows a load's state twice a second until ctx ends, and its events as they come.
func (m *meter) follow(ctx context.Context, of live) {
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	var seen uint64
	for {
		select {
		case <-ctx.Done():
			if s, _, ok := of.Look(); ok {
				m.events(s, &seen)
			}
			m.clear()
			return
		case <-tick.C:
		}
		s, p, ok := of.Look()
		if !ok {
			continue
		}
		m.events(s, &seen)
		m.mu.Lock()
		m.show(s, p)
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
		fmt.Fprintf(m.env.Stderr, "  %s\n", harmless(where+e.Text))
	}
}

// harmless is a text of one line that moves no cursor: it comes from a server.
func harmless(text string) string { return progress.Fit(text, progress.Cells(text)) }
