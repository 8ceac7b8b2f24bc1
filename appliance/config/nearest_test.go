package config

import (
	"math"
	"testing"
	"time"
)

func TestNearest(t *testing.T) {
	known := []string{"sources", "schema", "stage", "snapshots", "target", "url"}
	for name, want := range map[string]string{
		"sorces": "sources", "source": "sources", "SOURCES": "sources", "tagret": "target", "snapshot": "snapshots",
		"ulr": "url", "shcema": "schema", "urlx": "url", "": "", "zzz": "", "xy": "", "completely": "", "größe": "",
	} {
		if got := Nearest(name, known); got != want {
			t.Errorf("Nearest(%q) = %q, want %q", name, got, want)
		}
	}
	if got := Nearest("größse", []string{"grosse", "größe"}); got != "größe" {
		t.Errorf("letters of more than a byte: %q", got)
	}
	if got := Nearest("abd", []string{"abc", "abe"}); got != "abc" {
		t.Errorf("of equally near names the first should win, not %q", got)
	}
	if got := Nearest("a", nil); got != "" {
		t.Errorf("with nothing known: %q", got)
	}
}

func TestDistance(t *testing.T) {
	for _, tc := range []struct {
		a, b string
		want int
	}{{"", "", 0}, {"", "abc", 3}, {"abc", "", 3}, {"abc", "abc", 0}, {"abc", "acb", 1}, {"kitten", "sitting", 3}, {"abcd", "badc", 2}, {"ca", "abc", 3}} {
		if got := distance([]rune(tc.a), []rune(tc.b)); got != tc.want {
			t.Errorf("distance(%q, %q) = %d, want %d", tc.a, tc.b, got, tc.want)
		}
	}
}

func TestSizes(t *testing.T) {
	for text, want := range map[string]Size{"0": 0, "0B": 0, "1B": 1, "4GB": 4e9, "4 gb": 4e9, "1.5KiB": 1536, "512MiB": 512 << 20, "100GiB": 100 << 30, "2TB": 2e12} {
		got, err := parseSize(text)
		if err != nil || got != want {
			t.Errorf("parseSize(%q) = %d, %v; want %d", text, got, err, want)
			continue
		}
		if again, err := parseSize(got.String()); err != nil || again != got {
			t.Errorf("%d is shown as %s, which reads as %d, %v", got, got, again, err)
		}
	}
	for size, want := range map[Size]string{4e9: "4GB", 100 << 30: "100GiB", 1500: "1500B", 1e6: "1MB", math.MaxInt64: "9223372036854775807B"} {
		if got := size.String(); got != want {
			t.Errorf("%d is shown as %s, want %s", int64(size), got, want)
		}
	}
	for _, text := range []string{"", "4", "-1GB", "GB", "4G", "4 XB", "1e3B", "999999999999TB"} {
		if got, err := parseSize(text); err == nil {
			t.Errorf("parseSize(%q) = %d", text, got)
		}
	}
}

func TestDurations(t *testing.T) {
	for text, want := range map[string]time.Duration{"0": 0, "0s": 0, "150s": 150 * time.Second, "1h30m": 90 * time.Minute, "60ms": 60 * time.Millisecond, "2d": 48 * time.Hour, "1d12h": 36 * time.Hour, "1.5d": 36 * time.Hour} {
		got, err := parseDuration(text)
		if err != nil || got != want {
			t.Errorf("parseDuration(%q) = %v, %v; want %v", text, got, err, want)
		}
		if again, err := parseDuration(durationText(got)); err != nil || again != got {
			t.Errorf("%v is shown as %s, which reads as %v, %v", got, durationText(got), again, err)
		}
	}
	for d, want := range map[time.Duration]string{48 * time.Hour: "48h", 90 * time.Minute: "1h30m", 150 * time.Second: "2m30s", time.Hour + time.Second: "1h0m1s", 0: "0"} {
		if got := durationText(d); got != want {
			t.Errorf("%v is shown as %s, want %s", d, got, want)
		}
	}
	for _, text := range []string{"", "5", "-5s", "1h-5m", "5y", "1h2d", "9999999d", "999999999h", "s"} {
		if got, err := parseDuration(text); err == nil {
			t.Errorf("parseDuration(%q) = %v", text, got)
		}
	}
}
