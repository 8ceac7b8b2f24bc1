package mapping

import (
	"encoding/json"
	"math"
	"strings"
	"testing"
	"time"
)

// quoted is s as a JSON string.
func quoted(s string) []byte {
	return append(appendEscaped([]byte{'"'}, []byte(s)), '"')
}

// TestEscapesAtEveryPlace puts every byte that may need an escape at every place of a
// text, beside bytes that look like one when eight are compared at once.
func TestEscapesAtEveryPlace(t *testing.T) {
	special := []string{`"`, `\`, "\n", "\r", "\t", "\x00", "\x1f", " ", "!", "#", "[", "]", "\x7f", "é", "€", "😀", "\u00a2", "\u00dc"}
	for _, a := range special {
		for _, b := range special {
			for at := range 20 {
				for _, rest := range []int{0, 1, 20 - at} {
					s := strings.Repeat("x", at) + a + b + strings.Repeat("y", rest)
					got := quoted(s)
					var back string
					if err := json.Unmarshal(got, &back); err != nil || back != s {
						t.Fatalf("%q is written as %s: %v", s, got, err)
					}
				}
			}
		}
	}
}

// TestDatesAreThoseOfTheCalendar compares every day of eight thousand years, and the
// seconds around each midnight, with the time package.
func TestDatesAreThoseOfTheCalendar(t *testing.T) {
	first := time.Date(1, 1, 1, 0, 0, 0, 0, time.UTC).Unix() / secondsPerDay
	last := time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC).Unix() / secondsPerDay
	var got, want []byte
	for day := first; day <= last; day++ {
		want = time.Unix(day*secondsPerDay, 0).UTC().AppendFormat(want[:0], time.DateOnly)
		if got = appendDate(got[:0], day); string(got) != string(want) {
			t.Fatalf("day %d is %s, want %s", day, got, want)
		}
		if day%97 != 0 {
			continue
		}
		for _, micros := range []int64{-1, 0, 1, 59_999_999, 3_600_000_000, 45_296_123_456} {
			at := day*secondsPerDay*microsPerSecond + micros
			want = time.UnixMicro(at).UTC().AppendFormat(want[:0], "2006-01-02T15:04:05Z")
			if got = appendTimestamp(got[:0], at); string(got) != string(want) && at >= first*secondsPerDay*microsPerSecond {
				t.Fatalf("%d is %s, want %s", at, got, want)
			}
		}
	}
}

// TestValuesOutsideOfJSONAndTheCalendar: a sort of value that no column takes is written so
// that the service refuses it, and neither changed to another nor fatal.
func TestValuesOutsideOfJSONAndTheCalendar(t *testing.T) {
	day := func(year int) int64 {
		return floorDiv(time.Date(year, 3, 15, 0, 0, 0, 0, time.UTC).Unix(), secondsPerDay)
	}
	for year, want := range map[int]string{-43: "-0043-03-15", 0: "0000-03-15", 12024: "12024-03-15", 5_000_007: "5000007-03-15"} {
		if got := string(appendDate(nil, day(year))); got != want {
			t.Errorf("%d: %s, want %s", year, got, want)
		}
	}
	for _, at := range []int64{math.MaxInt64, -math.MaxInt64} { // infinity, as the stage holds it
		if got := string(appendTimestamp(nil, at)); got != time.UnixMicro(at).UTC().Format("2006-01-02T15:04:05Z") {
			t.Errorf("%d: %s", at, got)
		}
	}
	for want, x := range map[string]float64{`"NaN"`: math.NaN(), `"INF"`: math.Inf(1), `"-INF"`: math.Inf(-1), "0.1": 0.1} {
		if got := string(appendFloat(nil, x)); got != want {
			t.Errorf("%v: %s, want %s", x, got, want)
		}
	}
}
