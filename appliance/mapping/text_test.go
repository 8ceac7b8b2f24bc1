package mapping

import (
	"encoding/json"
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
