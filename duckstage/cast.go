package duckstage

import (
	"fmt"
	"strings"
)

// TryCast casts a value, null where it does not fit. A decimal of more than 18 digits is
// cast as one of 18 first, which almost every value fits: DuckDB reads text into its
// 128-bit decimals some fifty times slower than into its 64-bit ones.
func TryCast(value, sqlType string) string {
	cast := "TRY_CAST(" + value + " AS " + sqlType + ")"
	var digits, scale int
	if n, _ := fmt.Sscanf(strings.ToUpper(sqlType), "DECIMAL(%d,%d)", &digits, &scale); n != 2 || digits <= 18 || scale > 18 {
		return cast
	}
	return fmt.Sprintf("coalesce(CAST(TRY_CAST(%s AS DECIMAL(18,%d)) AS %s), %s)", value, scale, sqlType, cast)
}

// CastMoment reads a text as a time in UTC. DuckDB's TIMESTAMP leaves the offset of
// 2024-05-31T08:15:00+02:00 unheeded; its type with a time zone heeds it, and takes seven
// times as long, so that only texts that may have one go there.
func CastMoment(text string) string {
	offset := fmt.Sprintf("contains(%[1]s, '+') OR strlen(%[1]s) > 19 AND NOT ends_with(%[1]s, 'Z') OR strlen(%[1]s) BETWEEN 17 AND 19 AND %[1]s[17] <> ':'", text)
	return fmt.Sprintf("CASE WHEN %[2]s THEN CAST(TRY_CAST(%[1]s AS TIMESTAMPTZ) AS TIMESTAMP) ELSE TRY_CAST(%[1]s AS TIMESTAMP) END", text, offset)
}

// wholeTypes are the types that have no fraction.
var wholeTypes = map[string]bool{"TINYINT": true, "SMALLINT": true, "INTEGER": true, "INT": true, "BIGINT": true, "HUGEINT": true,
	"UTINYINT": true, "USMALLINT": true, "UINTEGER": true, "UBIGINT": true, "UHUGEINT": true}

// BaseType is an SQL type in capitals without what stands in brackets.
func BaseType(sqlType string) string {
	base, _, _ := strings.Cut(strings.ToUpper(sqlType), "(")
	return strings.TrimSpace(base)
}

// IsWhole reports whether numbers of the type have no fraction.
func IsWhole(sqlType string) bool { return wholeTypes[BaseType(sqlType)] }

// IsCode is the predicate of a text that DuckDB takes for a number and that is somebody's
// code rather: 0x10 would be 16, 0b11 3, and 2024_01 202401.
func IsCode(text string) string { return "regexp_matches(" + text + ", '_|0[xXbB]')" }

// floating are the types whose numbers are not exact.
var floating = map[string]bool{"DOUBLE": true, "FLOAT": true}

// IsFloating reports whether numbers of the type are not exact.
func IsFloating(sqlType string) bool { return floating[BaseType(sqlType)] }

// CastText reads a text as a value of the type, null where that would not be what the text
// says: a plain cast makes 2 of 1.5 in a whole number, cuts decimals off, takes codes for
// numbers, and forgets the offset of a time and the time of a day.
func CastText(text, sqlType string) string {
	base := BaseType(sqlType)
	switch {
	case base == "TIMESTAMP":
		return CastMoment(text)
	case base == "DATE":
		return fmt.Sprintf("CASE WHEN strlen(%[1]s) > 10 AND regexp_matches(%[1]s, '%[2]s') THEN NULL ELSE TRY_CAST(%[1]s AS DATE) END", text, dayTime)
	case floating[base]: // 0x10 and 0b11 it refuses itself
		return fmt.Sprintf("CASE WHEN contains(%[1]s, '_') THEN NULL ELSE TRY_CAST(%[1]s AS %[2]s) END", text, sqlType)
	}
	scale, decimal := 0, base == "DECIMAL"
	if decimal {
		var digits int
		_, brackets, _ := strings.Cut(sqlType, "(")
		_, _ = fmt.Sscanf(strings.ReplaceAll(brackets, " ", ""), "%d,%d", &digits, &scale)
	}
	cast := TryCast(text, sqlType)
	if !decimal && !wholeTypes[base] {
		return cast
	}
	return fmt.Sprintf("CASE WHEN regexp_matches(%[1]s, '\\.\\d{%[3]d}\\d*[1-9]|[eE]-') AND (NOT regexp_matches(%[1]s, '[eE]') OR TRY_CAST(%[1]s AS DOUBLE) IS DISTINCT FROM CAST(%[2]s AS DOUBLE)) THEN NULL WHEN %[4]s THEN NULL ELSE %[2]s END", text, cast, scale, IsCode(text))
}

// dayTime finds a time of day in the text of a date, other than midnight.
const dayTime = `[0-9][T ]+(0?[1-9]|1[0-9]|2[0-9]|[0-9]+:0?[1-9]|[0-9]+:[1-5][0-9]|[0-9]+:[0-9]+:[0-9.]*[1-9])`
