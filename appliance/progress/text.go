package progress

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode"
)

// wide are the ranges of letters that take two cells on a terminal (Unicode Standard
// Annex 11, wide and full width; what is used of it).
var wide = &unicode.RangeTable{
	R16: []unicode.Range16{
		{Lo: 0x1100, Hi: 0x115f, Stride: 1}, {Lo: 0x2e80, Hi: 0x303e, Stride: 1}, {Lo: 0x3041, Hi: 0xa4cf, Stride: 1},
		{Lo: 0xac00, Hi: 0xd7a3, Stride: 1}, {Lo: 0xf900, Hi: 0xfaff, Stride: 1}, {Lo: 0xfe30, Hi: 0xfe6f, Stride: 1},
		{Lo: 0xff00, Hi: 0xff60, Stride: 1}, {Lo: 0xffe0, Hi: 0xffe6, Stride: 1},
	},
	R32: []unicode.Range32{{Lo: 0x1f300, Hi: 0x1f64f, Stride: 1}, {Lo: 0x1f680, Hi: 0x1f6ff, Stride: 1}, {Lo: 0x1f900, Hi: 0x1f9ff, Stride: 1}, {Lo: 0x20000, Hi: 0x3fffd, Stride: 1}},
}

// cell returns how many cells of a terminal a letter takes.
func cell(r rune) int {
	switch {
	case unicode.In(r, unicode.Mn, unicode.Me):
		return 0
	case unicode.Is(wide, r):
		return 2
	}
	return 1
}

// cells returns how many cells a clean text takes.
func cells(text string) int {
	n := 0
	for _, r := range text {
		n += cell(r)
	}
	return n
}

// clean replaces what could move the cursor, change colours or turn the direction of
// writing, and what is no UTF-8. Texts come from servers and files.
func clean(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || unicode.In(r, unicode.Cf, unicode.Zl, unicode.Zp) {
			return '?'
		}
		return r
	}, strings.ToValidUTF8(text, "?"))
}

// Fit returns a text of one line that takes at most width cells and moves no cursor.
func Fit(text string, width int) string { return fit(text, width) }

// Cells returns how many cells of a terminal a text takes.
func Cells(text string) int { return cells(clean(text)) }

// fit returns text in at most width cells, with … at the end where something is
// missing. A letter is never parted from the marks on it.
func fit(text string, width int) string {
	text = clean(text)
	if cells(text) <= width {
		return text
	}
	n := 0
	for i, r := range text {
		if n+cell(r) > width-1 {
			return text[:i] + "…"
		}
		n += cell(r)
	}
	return text
}

// pad returns text in exactly width cells.
func pad(text string, width int) string {
	text = fit(text, width)
	return text + strings.Repeat(" ", max(0, width-cells(text)))
}

// Grouped writes a number with its thousands apart: 1,234,567.
func Grouped(n int64) string {
	digits := strconv.FormatInt(n, 10)
	sign := ""
	if n < 0 {
		sign, digits = "-", digits[1:]
	}
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return sign + digits
}

// Counted counts things in words: 1 record, 1,234 records. does says what one of them does, and what several
// do: 1 record waits, 2 records wait.
func Counted[N int | int64 | uint32](n N, one string, does ...string) string {
	text, verb := Grouped(int64(n))+" "+one, 0
	if n != 1 {
		text, verb = text+"s", 1
	}
	if len(does) > 0 {
		text += " " + does[verb]
	}
	return text
}

// rate writes records per second: one digit after the point where it is small.
func rate(perSecond float64) string {
	if perSecond > 0 && perSecond < 9.95 {
		return strconv.FormatFloat(perSecond, 'f', 1, 64)
	}
	return Grouped(int64(math.Round(perSecond)))
}

// spell writes a number of seconds in the two largest units, as exact as it is worth.
func spell(seconds float64) string {
	if seconds > 1000*86400 {
		return "over 1000d"
	}
	n := int64(math.Ceil(seconds))
	switch {
	case n < 60:
		return fmt.Sprintf("%ds", n)
	case n < 3600:
		return fmt.Sprintf("%dm%02ds", n/60, n%60)
	case n < 86400:
		return fmt.Sprintf("%dh%02dm", n/3600, n%3600/60)
	}
	return fmt.Sprintf("%dd%02dh", n/86400, n%86400/3600)
}
