package cli

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"dvmigrate/appliance/progress"
)

func TestWorkWithoutATerminalIsToldNowAndThen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		m := (&Env{Args: []string{"stage"}, Stderr: &out}).meter()
		for i := range 40 {
			m.percent("reading customers", float64(i))
			time.Sleep(time.Second)
		}
		m.clear()
		want := "stage 0s: reading customers 0 %\nstage 10s: reading customers 10 %, 1m30s left\nstage 20s: reading customers 20 %, 1m20s left\nstage 30s: reading customers 30 %, 1m10s left\n"
		if out.String() != want {
			t.Errorf("got\n%swant\n%s", out.String(), want)
		}
	})
}

func TestWorkForMachinesIsToldInLinesOfJSON(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		m := (&Env{Args: []string{"--json", "stage"}, Stderr: &out, Width: func() int { return 80 }, json: true}).meter()
		for i := range 25 {
			m.percent("reading <customers>", float64(i))
			time.Sleep(time.Second)
		}
		m.clear()
		lines := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
		if len(lines) != 2 {
			t.Fatalf("%d lines: %s", len(lines), out.String())
		}
		var one struct {
			Version  int
			Progress progress.Snapshot
		}
		if err := json.Unmarshal([]byte(lines[0]), &one); err != nil || one.Version != 1 || one.Progress.Phase != "stage" || one.Progress.Percent != 10 || one.Progress.Doing != "reading <customers>" {
			t.Errorf("%v: %s", err, lines[0])
		}
	})
}

// screen is a terminal that breaks lines which no longer fit when it becomes narrower.
type screen struct {
	rows  []string
	at    int
	width int
}

func (s *screen) Write(b []byte) (int, error) {
	text := string(b)
	for text != "" {
		switch {
		case strings.HasPrefix(text, "\x1b["):
			end := strings.IndexAny(text, "AKJ")
			switch n := 0; text[end] {
			case 'A':
				for _, c := range text[2:end] {
					n = 10*n + int(c-'0')
				}
				s.at = max(s.at-n, 0)
			case 'K':
				s.put("")
			case 'J':
				s.rows = s.rows[:min(s.at, len(s.rows))]
			}
			text = text[end+1:]
		case text[0] == '\n':
			s.at++
			text = text[1:]
		case text[0] == '\r':
			text = text[1:]
		default:
			end := strings.IndexAny(text, "\n\r\x1b")
			if end < 0 {
				end = len(text)
			}
			s.put(text[:end])
			text = text[end:]
		}
	}
	return len(b), nil
}

func (s *screen) put(text string) {
	for len(s.rows) <= s.at {
		s.rows = append(s.rows, "")
	}
	s.rows[s.at] = text
}

func (s *screen) resize(width int) {
	var rows []string
	at := s.at
	for i, row := range s.rows {
		for letters := []rune(row); len(letters) > width; letters = letters[width:] {
			rows, row = append(rows, string(letters[:width])), string(letters[width:])
			if i < s.at {
				at++
			}
		}
		rows = append(rows, row)
	}
	s.rows, s.at, s.width = rows, at, width
}

func TestANarrowerTerminalKeepsNoRemains(t *testing.T) {
	screen := &screen{width: 120}
	m := (&Env{Args: []string{"load"}, Stderr: screen, Width: func() int { return screen.width }}).meter()
	run := progress.Snapshot{Phase: "load", Elapsed: 100, Percent: progress.Unknown, Tables: []progress.Table{{Name: "account", State: progress.Running, Counts: progress.Counts{Total: 2_000_000, Done: 1_000_000, Failed: 5}}},
		Total: progress.Total{Counts: progress.Counts{Total: 2_000_000, Done: 1_000_000, Failed: 5}}}
	pulse := &progress.Pulse{Bottleneck: strings.Repeat("the service ", 20), Users: []progress.User{{InFlight: 4}}}
	for _, width := range []int{120, 80, 40, 25, 200, 60} {
		screen.resize(width)
		m.mu.Lock()
		m.last = time.Time{}
		m.show(run, pulse)
		m.mu.Unlock()
		heads := 0
		for _, row := range screen.rows {
			if strings.HasPrefix(row, "load ·") {
				heads++
			}
			if progress.Cells(row) >= width {
				t.Errorf("at %d: %q", width, row)
			}
		}
		if heads != 1 || !strings.HasPrefix(screen.rows[0], "load ·") {
			t.Errorf("at %d columns: %d headlines\n%s", width, heads, strings.Join(screen.rows, "\n"))
		}
	}
	m.clear()
	if len(screen.rows) != 0 {
		t.Errorf("after it: %q", screen.rows)
	}
}
