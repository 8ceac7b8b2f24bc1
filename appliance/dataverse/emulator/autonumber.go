package emulator

import (
	"crypto/rand"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// firstNumber is the seed of an auto-number column that was never given one.
const firstNumber = 1000

// autoNumber makes the next value of an auto-number column from its format
// (section 4.10): text with {SEQNUM:n}, {RANDSTRING:n} and {DATETIMEUTC:format}.
func (tx *tx) autoNumber(c *column, now int64) string {
	var out strings.Builder
	rest := c.AutoNumber
	for {
		before, inner, ok := strings.Cut(rest, "{")
		out.WriteString(before)
		if !ok {
			return out.String()
		}
		inner, after, ok := strings.Cut(inner, "}")
		if !ok {
			return out.String()
		}
		name, arg, _ := strings.Cut(inner, ":")
		width, _ := strconv.Atoi(arg)
		switch name {
		case "SEQNUM":
			fmt.Fprintf(&out, "%0*d", width, tx.nextNumber(c))
		case "RANDSTRING":
			out.WriteString(randomText(width))
		case "DATETIMEUTC":
			out.WriteString(time.Unix(now, 0).UTC().Format(goLayout(arg)))
		}
		rest = after
	}
}

// nextNumber advances a column's sequence. Numbers given in a transaction that is
// undone are lost, as in the service.
func (tx *tx) nextNumber(c *column) int64 {
	n, ok := tx.s.numbers[c]
	if !ok {
		n = firstNumber - 1
	}
	n++
	tx.s.numbers[c] = n
	if tx.logging {
		tx.log = appendNumber(tx.log, c, n)
	}
	return n
}

func randomText(n int) string {
	const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
	b := make([]byte, n)
	rand.Read(b)
	for i := range b {
		b[i] = letters[int(b[i])%len(letters)]
	}
	return string(b)
}

// goLayout turns a .NET date format into Go's.
func goLayout(format string) string {
	return strings.NewReplacer("yyyy", "2006", "yy", "06", "MM", "01", "dd", "02", "HH", "15", "hh", "03", "mm", "04", "ss", "05").Replace(format)
}
