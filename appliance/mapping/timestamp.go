package mapping

import "time"

// appendTimestamp appends microseconds since 1970 as ISO 8601 in UTC, to the
// second: Dataverse keeps no parts of one (dataverse-web-api.md 4.4).
func appendTimestamp(dst []byte, micros int64) []byte {
	t := time.UnixMicro(micros).UTC()
	year, month, day := t.Date()
	hour, minute, second := t.Clock()
	dst = append(dst, byte('0'+year/1000%10), byte('0'+year/100%10), byte('0'+year/10%10), byte('0'+year%10), '-')
	dst = append(append2(append(append2(dst, int(month)), '-'), day), 'T')
	dst = append(append2(dst, hour), ':')
	dst = append(append2(dst, minute), ':')
	return append(append2(dst, second), 'Z')
}

func append2(dst []byte, n int) []byte { return append(dst, byte('0'+n/10), byte('0'+n%10)) }
