package sample

import (
	"strconv"
	"strings"
)

// line builds one line of an extract, field by field, without allocating.
type line struct {
	b      []byte
	sep    byte
	fields int
}

func (l *line) reset() { l.b, l.fields = l.b[:0], 0 }

func (l *line) begin() {
	if l.fields > 0 {
		l.b = append(l.b, l.sep)
	}
	l.fields++
}

func (l *line) empty() { l.begin() }

// text appends a field, in quotes where it needs them.
func (l *line) text(s string) {
	l.begin()
	if strings.IndexByte(s, l.sep) < 0 && !strings.ContainsAny(s, "\"\r\n") {
		l.b = append(l.b, s...)
		return
	}
	l.b = append(l.b, '"')
	for i := range len(s) {
		if s[i] == '"' {
			l.b = append(l.b, '"')
		}
		l.b = append(l.b, s[i])
	}
	l.b = append(l.b, '"')
}

// join appends a field made of parts that need no quotes.
func (l *line) join(parts ...string) {
	l.begin()
	for _, s := range parts {
		l.b = append(l.b, s...)
	}
}

func (l *line) num(n int) {
	l.begin()
	l.b = strconv.AppendInt(l.b, int64(n), 10)
}

// key appends a field of prefix and n with leading zeros; nothing for n below 0.
func (l *line) key(prefix string, n, width int) {
	l.begin()
	if n >= 0 {
		l.b = appendPadded(append(l.b, prefix...), n, width)
	}
}

// cents appends an amount as 1234.56.
func (l *line) cents(n int) {
	l.begin()
	l.b = strconv.AppendInt(l.b, int64(n/100), 10)
	l.b = appendPadded(append(l.b, '.'), n%100, 2)
}

// centsDE appends an amount as 1.234,56.
func (l *line) centsDE(n int) {
	l.begin()
	var digits [20]byte
	d := strconv.AppendInt(digits[:0], int64(n/100), 10)
	for i, c := range d {
		if i > 0 && (len(d)-i)%3 == 0 {
			l.b = append(l.b, '.')
		}
		l.b = append(l.b, c)
	}
	l.b = appendPadded(append(l.b, ','), n%100, 2)
}

// date appends a day (since 1970-01-01) as 2024-05-31.
func (l *line) date(day int) {
	l.begin()
	l.b = appendISO(l.b, day)
}

// dateDE appends a day as 31.05.2024.
func (l *line) dateDE(day int) {
	l.begin()
	l.b = appendDE(l.b, day)
}

// clock appends a time of day, in minutes, to the field begun last.
func (l *line) clock(between string, minute int) {
	l.b = appendPadded(append(l.b, between...), minute/60, 2)
	l.b = appendPadded(append(l.b, ':'), minute%60, 2)
}

func appendISO(b []byte, day int) []byte {
	y, m, d := civil(day)
	b = appendPadded(b, y, 4)
	b = appendPadded(append(b, '-'), m, 2)
	return appendPadded(append(b, '-'), d, 2)
}

func appendDE(b []byte, day int) []byte {
	y, m, d := civil(day)
	b = appendPadded(b, d, 2)
	b = appendPadded(append(b, '.'), m, 2)
	return appendPadded(append(b, '.'), y, 4)
}

func appendPadded(b []byte, n, width int) []byte {
	at := len(b)
	for range width {
		b = append(b, '0')
	}
	for i := len(b) - 1; i >= at; i-- {
		b[i] = byte('0' + n%10)
		n /= 10
	}
	return b
}

// civil turns days since 1970-01-01 into a Gregorian date (Howard Hinnant,
// chrono-compatible low-level date algorithms); for days since 0000-03-01.
func civil(day int) (y, m, d int) {
	z := day + 719468
	era := z / 146097
	doe := z - era*146097
	yoe := (doe - doe/1460 + doe/36524 - doe/146096) / 365
	doy := doe - (365*yoe + yoe/4 - yoe/100)
	mp := (5*doy + 2) / 153
	d, m, y = doy-(153*mp+2)/5+1, mp+3, yoe+era*400
	if m > 12 {
		m -= 12
	}
	if m <= 2 {
		y++
	}
	return y, m, d
}
