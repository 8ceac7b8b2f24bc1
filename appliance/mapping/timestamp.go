package mapping

import "strconv"

const (
	microsPerSecond = 1_000_000
	secondsPerDay   = 86_400
)

// appendTimestamp appends microseconds since 1970 as ISO 8601 in UTC, to the
// second: Dataverse keeps no parts of one (dataverse-web-api.md 4.4).
func appendTimestamp(dst []byte, micros int64) []byte {
	seconds := floorDiv(micros, microsPerSecond)
	days := floorDiv(seconds, secondsPerDay)
	s := int(seconds - days*secondsPerDay)
	dst = append2(append(appendDate(dst, days), 'T'), s/3600)
	dst = append2(append(dst, ':'), s/60%60)
	return append(append2(append(dst, ':'), s%60), 'Z')
}

// appendDate appends days since 1970 as year, month and day, the year in four digits. A year
// that has more, or lies before Christ, is written as it is, for the service to refuse.
func appendDate(dst []byte, days int64) []byte {
	year, month, day := civil(days)
	if year < 0 {
		dst, year = append(dst, '-'), -year
	}
	if year > 9999 {
		dst = strconv.AppendInt(dst, int64(year/10_000), 10)
	}
	dst = append2(append2(dst, year/100%100), year%100)
	dst = append2(append(dst, '-'), month)
	return append2(append(dst, '-'), day)
}

// civil is the Gregorian date of a number of days since 1970. It counts in years that
// begin in March, so that the leap day is the last of its year, and in eras of 400.
func civil(days int64) (year, month, day int) {
	const daysPerEra = 146_097
	days += 719_468 // since 0000-03-01
	era := floorDiv(days, daysPerEra)
	d := days - era*daysPerEra
	y := (d - d/1460 + d/36_524 - d/146_096) / 365
	d -= 365*y + y/4 - y/100
	m := (5*d + 2) / 153
	day = int(d-(153*m+2)/5) + 1
	year = int(y + era*400)
	if month = int(m) + 3; month > 12 {
		month -= 12
		year++
	}
	return year, month, day
}

func floorDiv(a, b int64) int64 {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}

// append2 appends a number below 100 in two digits.
func append2(dst []byte, n int) []byte {
	const pairs = "00010203040506070809101112131415161718192021222324252627282930313233343536373839404142434445464748495051525354555657585960616263646566676869707172737475767778798081828384858687888990919293949596979899"
	return append(dst, pairs[2*n:2*n+2]...)
}
