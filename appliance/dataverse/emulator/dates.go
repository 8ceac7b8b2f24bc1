package emulator

import "time"

// parseDate reads yyyy-MM-dd as days since 1970.
func parseDate(s string) (int64, bool) {
	if len(s) != 10 {
		return 0, false
	}
	y, m, d, ok := dateParts(s)
	if !ok {
		return 0, false
	}
	return daysOf(y, m, d), true
}

// parseTime reads an ISO 8601 date and time as seconds since 1970 (section 4.4):
// with Z, an offset, or neither, which means UTC; the time may be missing; a
// fraction of a second is dropped.
func parseTime(s string) (int64, bool) {
	if len(s) < 10 {
		return 0, false
	}
	y, mo, d, ok := dateParts(s[:10])
	if !ok {
		return 0, false
	}
	sec := daysOf(y, mo, d) * 86400
	s = s[10:]
	if s == "" {
		return sec, true
	}
	if len(s) < 6 || s[0] != 'T' && s[0] != 't' || s[3] != ':' {
		return 0, false
	}
	h, ok1 := number(s[1:3], 23)
	m, ok2 := number(s[4:6], 59)
	if !ok1 || !ok2 {
		return 0, false
	}
	sec += int64(h)*3600 + int64(m)*60
	s = s[6:]
	if len(s) >= 3 && s[0] == ':' {
		n, ok := number(s[1:3], 59)
		if !ok {
			return 0, false
		}
		sec += int64(n)
		s = s[3:]
		if len(s) >= 2 && s[0] == '.' && digit(s[1]) {
			for s = s[2:]; s != "" && digit(s[0]); s = s[1:] {
			}
		}
	}
	off, ok := zoneOffset(s)
	return sec - off, ok
}

// zoneOffset reads "", Z, or +hh:mm, in seconds.
func zoneOffset(s string) (int64, bool) {
	if s == "" || s == "Z" || s == "z" {
		return 0, true
	}
	if len(s) != 6 || s[3] != ':' || s[0] != '+' && s[0] != '-' {
		return 0, false
	}
	h, ok1 := number(s[1:3], 14)
	m, ok2 := number(s[4:6], 59)
	off := int64(h)*3600 + int64(m)*60
	if s[0] == '-' {
		off = -off
	}
	return off, ok1 && ok2
}

func digit(c byte) bool { return c >= '0' && c <= '9' }

// number reads a number of digits only, up to a maximum.
func number(s string, most int) (int, bool) {
	n := 0
	for i := range len(s) {
		if !digit(s[i]) {
			return 0, false
		}
		n = n*10 + int(s[i]-'0')
	}
	return n, n <= most
}

func dateParts(s string) (y, m, d int, ok bool) {
	if s[4] != '-' || s[7] != '-' {
		return 0, 0, 0, false
	}
	y, ok1 := number(s[:4], 9999)
	m, ok2 := number(s[5:7], 12)
	d, ok3 := number(s[8:10], 31)
	if !ok1 || !ok2 || !ok3 || y < 1 || m < 1 || d < 1 {
		return 0, 0, 0, false
	}
	return y, m, d, d <= 28 || time.Date(y, time.Month(m), d, 0, 0, 0, 0, time.UTC).Day() == d
}

// daysOf is the number of days since 1970-01-01 in the Gregorian calendar.
func daysOf(y, m, d int) int64 {
	if m <= 2 {
		y--
		m += 12
	}
	era := y / 400
	yoe := y - era*400
	doy := (153*(m-3)+2)/5 + d - 1
	doe := yoe*365 + yoe/4 - yoe/100 + doy
	return int64(era)*146097 + int64(doe) - 719468
}
