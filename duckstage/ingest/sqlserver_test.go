package ingest

import (
	"strings"
	"testing"
	"time"

	"dvmigrate/duckstage/column"
)

// TestSQLServerValues holds what is read against the forms in which the driver's
// documents say that values come; there is no server to test with.
func TestSQLServerValues(t *testing.T) {
	t.Parallel()
	v := &column.Vector{Type: column.UUID}
	if why := mssqlGUID(v, 0, []byte{0xFF, 0x19, 0x96, 0x6F, 0x86, 0x8B, 0x11, 0xD0, 0xB4, 0x2D, 0, 0xC0, 0x4F, 0xC9, 0x64, 0xFF}); why != "" || v.UUIDs[0] != [16]byte{0x6F, 0x96, 0x19, 0xFF, 0x8B, 0x86, 0xD0, 0x11, 0xB4, 0x2D, 0, 0xC0, 0x4F, 0xC9, 0x64, 0xFF} {
		t.Errorf("guid = %x, %s", v.UUIDs, why)
	}
	for name, want := range map[string]string{"TINYINT": "UTINYINT", "MONEY": "DECIMAL(19,4)", "DATETIMEOFFSET": "TIMESTAMP WITH TIME ZONE", "NVARCHAR": "VARCHAR", "ROWVERSION": "BLOB"} {
		if got := mssqlType(name, 0, 0); got != want {
			t.Errorf("%s = %s, want %s", name, got, want)
		}
	}
	v = &column.Vector{Type: column.Decimal, Scale: 4}
	if why := anyValue(v, 0, []byte("-12.3400")); why != "" || v.Wide[0] != column.FromInt64(-123400) {
		t.Errorf("money = %v, %s", v.Wide, why)
	}
	v = &column.Vector{Type: column.Timestamp}
	if why := anyValue(v, 0, time.Date(2024, 2, 29, 12, 0, 0, 500, time.FixedZone("", 7200))); why != "" || v.Ints[0] != time.Date(2024, 2, 29, 10, 0, 0, 0, time.UTC).UnixMicro() {
		t.Errorf("datetimeoffset = %v, %s", v.Ints, why)
	}
	v = &column.Vector{Type: column.Date}
	if why := anyValue(v, 0, time.Date(1, 1, 1, 0, 0, 0, 0, time.UTC)); why != "" || v.Ints[0] != -719162 {
		t.Errorf("date = %v, %s", v.Ints, why)
	}
}

func TestSQLServerThatIsNotThere(t *testing.T) {
	t.Parallel()
	for dsn, want := range map[string]string{
		"sqlserver://sa:geheim@127.0.0.1:1?database=x&encrypt=disable&dial+timeout=2": "SQL Server at 127.0.0.1:1",
		"server=x;password=geheim": "write it like sqlserver://",
	} {
		_, err := Run(t.Context(), newStage(t), Source{Name: "a", Database: &Database{Kind: SQLServer, DSN: dsn, Table: "t"}}, nil)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "geheim") {
			t.Errorf("error = %v, want %s", err, want)
		}
	}
}

func TestDecimals(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]int64{"0": 0, "-12.30": -1230, "+5": 500, ".5": 50, "7.": 700, "92233720368547758.07": 9223372036854775807, "1.500": 150} {
		if got, err := parseDecimal([]byte(text), 2); err != nil || got != column.FromInt64(want) {
			t.Errorf("%s = %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "-", ".", "1e5", "1.234", "1,5", "1.2.3", strings.Repeat("9", 40)} {
		if got, err := parseDecimal([]byte(text), 2); err == nil {
			t.Errorf("%s = %v", text, got)
		}
	}
}

// TestWatermarksOfSQLServer: the SQL that asks for the highest value, and that stands for one less the
// overlap. There is no server here, so that it is the text that is looked at.
func TestWatermarksOfSQLServer(t *testing.T) {
	for _, c := range []struct{ stored, highest, high, overlap, since string }{
		{mssqlType("ROWVERSION", 0, 0), "CASE WHEN max(CONVERT(bigint, [at])) < CONVERT(bigint, MIN_ACTIVE_ROWVERSION()) THEN max(CONVERT(bigint, [at])) ELSE CONVERT(bigint, MIN_ACTIVE_ROWVERSION()) - 1 END",
			"2147483648001", "", "CONVERT(binary(8), CONVERT(bigint, 2147483647001))"},
		{mssqlType("TIMESTAMP", 0, 0), "", "2001", "5000", "CONVERT(binary(8), CONVERT(bigint, 0))"},
		{mssqlType("DATETIME2", 0, 0), "CONVERT(varchar(40), max(CONVERT(datetime2(7), [at])), 126)", "2024-06-01T10:00:00.1234567", "", "CONVERT(datetime2(7), '2024-06-01T09:50:00.1234567', 126)"},
		{mssqlType("DATETIME", 0, 0), "", "2024-06-01T00:05:00", "30m", "CONVERT(datetime2(7), '2024-05-31T23:35:00', 126)"},
		{mssqlType("DATETIMEOFFSET", 0, 0), "CONVERT(varchar(40), max(CONVERT(datetimeoffset(7), [at])), 126)", "2024-06-01T10:00:00.1234567+02:00", "1h",
			"CONVERT(datetimeoffset(7), '2024-06-01T09:00:00.1234567+02:00', 126)"},
		{mssqlType("DATE", 0, 0), "CONVERT(varchar(40), max(CONVERT(date, [at])), 126)", "2024-06-01", "", "CONVERT(date, '2024-05-31', 126)"},
		{mssqlType("BIGINT", 0, 0), "max([at])", "5000", "10", "4990"},
	} {
		m := markOf(SQLServer, &sqlServer{}, dbColumn{field: field{name: "at", stored: c.stored}})
		if m.highest != c.highest && c.highest != "" {
			t.Errorf("%s: %s", c.stored, m.highest)
		}
		since, err := lessOverlap(c.high, c.overlap)
		if err != nil || strings.ReplaceAll(m.literal(since), "N'", "'") != c.since {
			t.Errorf("%s less %s: %s, %v; want %s", c.high, c.overlap, m.literal(since), err, c.since)
		}
	}
}
