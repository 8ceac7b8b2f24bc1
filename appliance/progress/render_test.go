package progress

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "rewrite golden files")

// snapshots are runs as a person meets them.
func snapshots() map[string]Snapshot {
	account := Table{Name: "account", Pass: "insert", State: Running,
		Counts: Counts{Total: 2_345_678, Done: 1_234_000, Failed: 560, Held: 7}, Speed: Speed{Rate: 412.3, Average: 398, Left: 2698, LeftLow: 2600, LeftHigh: 3100, Throttled: 1200}}
	contact := Table{Name: "contact", Pass: "lookups", State: Running, Counts: Counts{Total: 10_000, Done: 100}, Speed: Speed{Rate: 7.25, Left: Unknown}}
	lead := Table{Name: "lead", Pass: "insert", State: Ended, Counts: Counts{Total: 50, Done: 50}}
	order := Table{Name: "salesorder", Pass: "insert", State: Waiting, Counts: Counts{Total: 5_000_000}, Speed: Speed{Left: Unknown}}
	load := Snapshot{Time: time.Unix(0, 0).UTC(), Phase: "load", Elapsed: 8000, Percent: Unknown, Tables: []Table{account, contact, lead, order},
		Total: Total{Counts{Total: 7_355_728, Done: 1_234_150, Failed: 560, Held: 7}, Speed{Rate: 419.6, Average: 401, Left: 14_588, LeftLow: 14_400, LeftHigh: 15_270, Throttled: 1200}}}
	with := func(change func(*Snapshot)) Snapshot {
		s := load
		change(&s)
		return s
	}
	return map[string]Snapshot{
		"nothing yet": {Percent: Unknown},
		"staging":     {Phase: "stage", Elapsed: 75, Doing: "reading customers", Percent: 42, Total: Total{Speed: Speed{Left: 100}}},
		"loading":     load,
		"one table":   with(func(s *Snapshot) { s.Tables = []Table{account}; s.Total = Total{account.Counts, account.Speed} }),
		"throttled":   with(func(s *Snapshot) { s.Wait = 11.4 }),
		"paused":      with(func(s *Snapshot) { s.Paused, s.Total.Left = true, Unknown }),
		"stalled":     with(func(s *Snapshot) { s.Total.Idle, s.Total.Left, s.Total.Rate = 300, Unknown, 0 }),
		"reading": with(func(s *Snapshot) {
			s.Doing, s.Total.Idle, s.Total.Left, s.Total.Rate = "reading what was changed in account, 5,000 records so far", 300, Unknown, 0
		}),
		"finished": with(func(s *Snapshot) { s.Ended, s.Tables = true, []Table{lead}; s.Total.Counts = lead.Counts }),
		"almost":   with(func(s *Snapshot) { s.Total.Done = 7_355_100 }),
		"nasty": with(func(s *Snapshot) {
			account.Name, contact.Name = "表の名前がとても長いものです", "e\u0301\u0301\x1b[31mred\u202e\xff\n"
			s.Tables, s.Doing = []Table{account, contact}, "reading \x1b]0;title\a\t"
		}),
	}
}

// pulses are those of the runs that have one.
func pulses() map[string]*Pulse {
	busy := &Pulse{Bottleneck: "the service's limit of execution time, for 2 users; more application users would raise it", Latency: 0.24, Users: []User{{InFlight: 18}, {InFlight: 12}}}
	return map[string]*Pulse{"loading": busy, "throttled": busy, "one table": {Users: []User{{InFlight: 1}}, Latency: 1.26}, "nasty": {Bottleneck: "\x1b[2J" + strings.Repeat("表", 99), Users: []User{{}}}, "finished": busy}
}

func TestRenderedText(t *testing.T) {
	var b strings.Builder
	for _, name := range []string{"nothing yet", "staging", "loading", "one table", "throttled", "paused", "stalled", "reading", "almost", "finished", "nasty"} {
		s := snapshots()[name]
		fmt.Fprintf(&b, "== %s\n-- line\n%s\n", name, Line(s, pulses()[name]))
		for _, width := range []int{200, 120, 80, 40} {
			fmt.Fprintf(&b, "-- %d\n%s\n", width, strings.Join(Render(s, pulses()[name], width), "\n"))
		}
	}
	golden := filepath.Join("testdata", "render.golden")
	if *update {
		if err := os.WriteFile(golden, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), b.String()); diff != "" {
		t.Errorf("go test ./appliance/progress -update rewrites it:\n%s", diff)
	}
}

func TestNoLineIsWiderThanTheTerminalNorMovesItsCursor(t *testing.T) {
	for name, s := range snapshots() {
		for width := range 200 {
			for _, line := range Render(s, pulses()[name], width) {
				if cells(line) > width {
					t.Errorf("%s: %d cells at %d: %q", name, cells(line), width, line)
				}
				harmless(t, line)
			}
		}
		if line := Line(s, pulses()[name]); strings.ContainsRune(line, '\n') {
			t.Errorf("%s: more than a line: %q", name, line)
		} else {
			harmless(t, line)
		}
	}
}

func harmless(t *testing.T, line string) {
	t.Helper()
	if !utf8.ValidString(line) {
		t.Errorf("not UTF-8: %q", line)
	}
	if i := strings.IndexFunc(line, func(r rune) bool { return unicode.IsControl(r) || unicode.Is(unicode.Cf, r) }); i >= 0 {
		t.Errorf("a control character: %q", line)
	}
}

func TestFit(t *testing.T) {
	for _, tc := range []struct {
		text  string
		width int
		want  string
	}{
		{"account", 7, "account"}, {"account", 6, "accou…"}, {"account", 1, "…"}, {"", 5, ""},
		{"表の名", 6, "表の名"}, {"表の名", 5, "表の…"}, {"表の名", 4, "表…"},
		{"e\u0301e\u0301e\u0301", 3, "e\u0301e\u0301e\u0301"}, {"e\u0301e\u0301e\u0301", 2, "e\u0301…"},
		{"a\tb\x1b", 9, "a?b?"}, {"\xff\xfe", 9, "?"},
	} {
		if got := fit(tc.text, tc.width); got != tc.want {
			t.Errorf("fit(%q, %d) = %q, want %q", tc.text, tc.width, got, tc.want)
		}
	}
}

func TestNumbersAndTimes(t *testing.T) {
	for n, want := range map[int64]string{0: "0", 999: "999", 1000: "1,000", 1234567: "1,234,567", -1234: "-1,234", -999: "-999"} {
		if got := Grouped(n); got != want {
			t.Errorf("Grouped(%d) = %s, want %s", n, got, want)
		}
	}
	for n, want := range map[int64]string{0: "0 records wait", 1: "1 record waits", 1200: "1,200 records wait"} {
		if got := Counted(n, "record", "waits", "wait"); got != want || Counted(n, "record") != strings.TrimSuffix(strings.TrimSuffix(got, " waits"), " wait") {
			t.Errorf("%d: %q and %q", n, got, Counted(n, "record"))
		}
	}
	for seconds, want := range map[float64]string{0: "0s", 0.2: "1s", 59: "59s", 59.5: "1m00s", 90: "1m30s", 3599: "59m59s", 3600: "1h00m", 86399: "23h59m", 200_000: "2d07h", 1e12: "over 1000d"} {
		if got := spell(seconds); got != want {
			t.Errorf("spell(%g) = %s, want %s", seconds, got, want)
		}
	}
	for perSecond, want := range map[float64]string{0: "0", 0.25: "0.2", 9.94: "9.9", 9.96: "10", 1234.5: "1,235"} {
		if got := rate(perSecond); got != want {
			t.Errorf("rate(%g) = %s, want %s", perSecond, got, want)
		}
	}
}
