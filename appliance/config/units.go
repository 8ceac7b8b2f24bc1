package config

import (
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// Size is a number of bytes.
type Size int64

// Batch is a number of records in one request, or AutoBatch.
type Batch int

// AutoBatch is as many records as prove best; auto in the file.
const AutoBatch Batch = -1

const batchWord = "auto"

// String returns the text that parseBatch reads.
func (b Batch) String() string {
	if b == AutoBatch {
		return batchWord
	}
	return strconv.Itoa(int(b))
}

// parseBatch reads auto, or a number that is not negative.
func parseBatch(text string) (Batch, error) {
	if text == batchWord {
		return AutoBatch, nil
	}
	n, err := strconv.ParseUint(text, 10, 31)
	if err != nil || len(text) > 1 && text[0] == '0' {
		return 0, fmt.Errorf("%q should be auto or a whole number", text)
	}
	return Batch(n), nil
}

const gigabyte Size = 1e9

// sizeUnits are the units of a size, in the sense DuckDB gives them: KB is 1000 bytes,
// KiB is 1024. Largest first within each kind, as String needs them.
var sizeUnits = []struct {
	name  string
	bytes Size
}{
	{"TB", 1e12}, {"GB", 1e9}, {"MB", 1e6}, {"KB", 1e3},
	{"TiB", 1 << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10},
	{"B", 1},
}

// sizeForm and durationForm are what sizes and durations look like, for the parsers
// and for editors alike.
const (
	sizeForm     = `^(0|[0-9]{1,12}(\.[0-9]{1,6})? ?([KMGTkmgt][iI]?)?[Bb])$`
	durationForm = `^(0|([0-9]{1,9}(\.[0-9]{1,6})?(d|h|ms|m|s))+)$`
)

var (
	sizePattern     = regexp.MustCompile(sizeForm)
	durationPattern = regexp.MustCompile(durationForm)
	dayPattern      = regexp.MustCompile(`^([0-9.]+)d`)
)

// parseSize reads a size such as 4GB, 512 MB, 1.5GiB or 0. A number other than 0 needs
// its unit.
func parseSize(text string) (Size, error) {
	if !sizePattern.MatchString(text) {
		return 0, fmt.Errorf("%q is not a size such as 512MB, 4GB or 2GiB", text)
	}
	number := strings.TrimRight(text, " KMGTkmgtiIBb")
	unit := strings.TrimLeft(strings.TrimPrefix(text, number), " ")
	n, err := strconv.ParseFloat(number, 64)
	if err != nil {
		return 0, fmt.Errorf("parse size %q: %w", text, err)
	}
	bytes := Size(1)
	for _, u := range sizeUnits {
		if strings.EqualFold(u.name, unit) {
			bytes = u.bytes
		}
	}
	n *= float64(bytes)
	if n >= math.MaxInt64 {
		return 0, fmt.Errorf("%q is too large", text)
	}
	return Size(math.Round(n)), nil
}

// String returns the size in the largest unit that needs no fraction, a text that
// parseSize and DuckDB both read: 4GB, 512MiB, 0.
func (s Size) String() string {
	if s == 0 {
		return "0"
	}
	best := sizeUnits[len(sizeUnits)-1]
	for _, u := range sizeUnits {
		if s%u.bytes == 0 && u.bytes > best.bytes {
			best = u
		}
	}
	return strconv.FormatInt(int64(s/best.bytes), 10) + best.name
}

// MarshalText returns String.
func (s Size) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// parseDuration reads a duration such as 150s, 1h30m, 60ms, 2d or 0; it is
// time.ParseDuration with days of 24 hours in front and nothing negative.
func parseDuration(text string) (time.Duration, error) {
	if !durationPattern.MatchString(text) {
		return 0, fmt.Errorf("%q is not a duration such as 90s, 15m, 1h30m or 2d", text)
	}
	rest, days := text, 0.0
	if m := dayPattern.FindStringSubmatch(text); m != nil {
		var err error
		if days, err = strconv.ParseFloat(m[1], 64); err != nil {
			return 0, fmt.Errorf("parse duration %q: %w", text, err)
		}
		rest = text[len(m[0]):]
	}
	var d time.Duration
	if rest != "" {
		var err error
		if d, err = time.ParseDuration(rest); err != nil {
			return 0, fmt.Errorf("%q is not a duration such as 90s, 15m, 1h30m or 2d", text)
		}
	}
	total := days*float64(24*time.Hour) + float64(d)
	if total >= math.MaxInt64 {
		return 0, fmt.Errorf("%q is too long", text)
	}
	return time.Duration(days*float64(24*time.Hour)) + d, nil
}

// durationText returns d as a person writes it: 48h, 1h30m, not 48h0m0s.
func durationText(d time.Duration) string {
	if d == 0 {
		return "0"
	}
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}
