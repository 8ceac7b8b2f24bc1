package ingest

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// workbook writes a workbook with two sheets; rows is the XML of the second's.
func workbook(t *testing.T, properties, rows string) string {
	t.Helper()
	const main = `xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main" xmlns:r="http://schemas.openxmlformats.org/officeDocument/2006/relationships"`
	parts := map[string]string{
		"xl/workbook.xml": `<workbook ` + main + `>` + properties + `<sheets><sheet name="Notes" sheetId="1" r:id="rId1"/><sheet name="Data" sheetId="2" r:id="rId2"/></sheets></workbook>`,
		"xl/_rels/workbook.xml.rels": `<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships"><Relationship Id="rId1" Target="worksheets/sheet1.xml"/>` +
			`<Relationship Id="rId2" Target="/xl/worksheets/sheet2.xml"/></Relationships>`,
		"xl/styles.xml": `<styleSheet ` + main + `><numFmts><numFmt numFmtId="164" formatCode="dd\.mm\.yyyy"/><numFmt numFmtId="165" formatCode="0.0&quot;days&quot;"/><numFmt numFmtId="166" formatCode="[h]:mm"/></numFmts>` +
			`<cellXfs><xf numFmtId="0"/><xf numFmtId="164"/><xf numFmtId="22"/><xf numFmtId="165"/><xf numFmtId="21"/><xf numFmtId="166"/></cellXfs></styleSheet>`,
		"xl/sharedStrings.xml":     `<sst ` + main + `><si><t>id</t></si><si><r><t>Jö</t></r><r><t xml:space="preserve">rg </t></r><rPh sb="0" eb="1"><t>x</t></rPh></si><si><t>two_x000A_lines</t></si><si><t>007</t></si></sst>`,
		"xl/worksheets/sheet1.xml": `<worksheet ` + main + `><sheetData><row r="1"><c r="A1" t="inlineStr"><is><t>only</t></is></c></row></sheetData></worksheet>`,
		"xl/worksheets/sheet2.xml": `<worksheet ` + main + `><sheetData>` + rows + `</sheetData></worksheet>`,
	}
	return packed(t, "a.xlsx", parts)
}

// inline is a row of texts from column B.
func inline(number int, texts ...string) string {
	var b strings.Builder
	fmt.Fprintf(&b, `<row r="%d">`, number)
	for i, text := range texts {
		fmt.Fprintf(&b, `<c r="%s%d" t="inlineStr"><is><t>%s</t></is></c>`, columnLetters(i+2), number, text)
	}
	return b.String() + "</row>"
}

func TestWorkbook(t *testing.T) {
	t.Parallel()
	dir := workbook(t, "", inline(2, "A title")+
		`<row r="4">`+strings.TrimSuffix(strings.TrimPrefix(inline(4, "id", "name", "born", "seen", "active", "amount", "whole", "clock", "code"), `<row r="4">`), "</row>")+`</row>`+
		`<row r="5"><c r="B5"><v>1</v></c><c r="C5" t="s"><v>1</v></c><c r="D5" s="1"><v>45657</v></c><c r="E5" s="2"><v>45657.999988425922</v></c><c r="F5" t="b"><v>1</v></c><c r="G5" s="3"><v>0.1</v></c><c r="H5"><v>123456789012</v></c><c r="I5" s="4"><v>0.5</v></c><c r="J5" t="s"><v>3</v></c></row>`+
		`<row r="7"><c r="B7"><v>2</v></c><c r="C7" t="s"><v>2</v></c><c r="D7" s="1"><v>59</v></c><c r="E7" s="1"><v>61</v></c><c r="F7" t="b"><v>0</v></c><c r="G7"><v>5</v></c><c r="J7"><v>8</v></c></row>`+
		`<row r="8"><c r="B8"><v>3</v></c><c r="G8" t="e"><v>#DIV/0!</v></c></row>`+
		`<row r="9"><c r="B9"><v>4</v></c><c r="C9" t="str"><f>A1</f><v>formula</v></c><c r="K9"><v>1</v></c></row>`+
		`<row r="10"><c r="B10"><v>5</v></c><c r="D10" s="1"><v>60</v></c></row>`+
		`<row r="11"><c r="B11"><v>6</v></c></row>`)
	s := newStage(t)
	src := Source{Name: "a", Dir: dir, Paths: []string{"a.xlsx"}, Sheet: Sheet{Name: "data", Range: "B4:K10"}, MaxBadLines: 3}
	if res := ingest(t, s, src); res.Rows != 2 || res.Rejected != 3 {
		t.Errorf("result = %+v", res)
	}
	types := "SELECT string_agg(column_name || ' ' || data_type, ', ' ORDER BY column_index) FROM duckdb_columns() WHERE schema_name = 'source' AND table_name = 'a'"
	want := "id BIGINT, name VARCHAR, born DATE, seen TIMESTAMP, active BOOLEAN, amount DOUBLE, whole BIGINT, clock TIME, code VARCHAR, dm_created_at TIMESTAMP, dm_source VARCHAR"
	if got := table(t, s, types); got[0] != want {
		t.Errorf("types = %v", got)
	}
	got := table(t, s, "SELECT * EXCLUDE (dm_created_at, dm_source) FROM source.a")
	if diff := cmp.Diff([]string{"1|Jörg |2024-12-31|2024-12-31 23:59:59|true|0.1|123456789012|12:00:00|007", "2|two\nlines|1900-02-28|1900-03-01 00:00:00|false|5.0|8"}, got); diff != "" {
		t.Error(diff)
	}
	rejects := table(t, s, "SELECT file, line, message FROM dm.rejects ORDER BY line")
	if diff := cmp.Diff([]string{"a.xlsx|8|column amount: cell G8 of sheet Data shows the error #DIV/0!",
		"a.xlsx|9|cell K9 of sheet Data is beyond the named columns: name its column, narrow `range`, or say in which `header_row` the names are",
		"a.xlsx|10|column born: cell D10 of sheet Data shows the error 29 February 1900, a day that never was"}, rejects); diff != "" {
		t.Error(diff)
	}
	src.Sheet = Sheet{Name: "Data", HeaderRow: 4}
	src.Types = map[string]string{"code": "INTEGER", "id": "VARCHAR"}
	if res := ingest(t, s, src); res.Rows != 3 {
		t.Errorf("result = %+v", res)
	}
	if got := table(t, s, "SELECT id, code FROM source.a ORDER BY id"); !cmp.Equal(got, []string{"1|7", "2|8", "6"}) {
		t.Errorf("declared types = %v", got)
	}
	src.Types, src.MaxBadLines = map[string]string{"born": "INTEGER"}, 9
	ingest(t, s, src)
	if got := table(t, s, `SELECT line, message FROM dm.rejects WHERE message LIKE '%INTEGER'`); len(got) == 0 || got[0] != `5|column born: "2024-12-31" is not INTEGER` {
		t.Errorf("a value that is not of its type = %v", got)
	}
	if _, err := Preview(t.Context(), s, Source{Name: "b", Dir: dir, Paths: []string{"a.xlsx"}, Sheet: src.Sheet}); err != nil {
		t.Error(err)
	}
	if got := table(t, s, "SELECT data_type FROM duckdb_columns() WHERE schema_name = 'source' AND table_name = 'b' AND column_name = 'born'"); got[0] != "DATE" {
		t.Errorf("preview = %v", got)
	}
}

func TestWorkbookDatesOf1904(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	dir := workbook(t, `<workbookPr date1904="1"/>`, `<row r="1"><c r="A1" t="s"><v>0</v></c></row><row r="2"><c r="A2" s="1"><v>44195</v></c></row>`)
	ingest(t, s, Source{Name: "a", Dir: dir, Paths: []string{"a.xlsx"}, Sheet: Sheet{Name: "Data"}})
	if got := table(t, s, "SELECT id FROM source.a"); got[0] != "2024-12-31" {
		t.Errorf("date = %v", got)
	}
}

func TestBadWorkbooks(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	header := `<row r="1"><c r="A1" t="s"><v>0</v></c></row>`
	for _, c := range []struct {
		name, rows string
		sheet      Sheet
		want       string
	}{
		{"no such sheet", header, Sheet{Name: "Date"}, `a.xlsx: no sheet "Date": there are Notes, Data`},
		{"an empty sheet", "", Sheet{Name: "Data"}, "sheet Data is empty there"},
		{"a column without a name", `<row r="1"><c r="A1" t="s"><v>0</v></c><c r="C1" t="s"><v>3</v></c></row>`, Sheet{Name: "Data"}, "column B has no name in row 1"},
		{"names twice", `<row r="1"><c r="A1" t="s"><v>0</v></c><c r="B1" t="s"><v>0</v></c></row>`, Sheet{Name: "Data"}, `columns 1 and 2 are both called "id"`},
		{"a text that is not there", header + `<row r="2"><c r="A2" t="s"><v>9</v></c></row>`, Sheet{Name: "Data"}, `row 2: cell A2: it refers to shared text "9"`},
		{"damaged", header + `<row r="2"><c`, Sheet{Name: "Data"}, "sheet Data"},
		{"a range that is none", header, Sheet{Name: "Data", Range: "B2"}, `range "B2": write it like B4:F200`},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := Run(t.Context(), s, Source{Name: "a", Dir: workbook(t, "", c.rows), Paths: []string{"a.xlsx"}, Sheet: c.sheet}, nil)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error = %v, want %s", err, c.want)
			}
		})
	}
	dir := write(t, map[string]string{"a.xlsx": "id,name\n"})
	if _, err := Run(t.Context(), s, Source{Name: "a", Dir: dir, Paths: []string{"a.xlsx"}}, nil); err == nil || !strings.Contains(err.Error(), "not a workbook of the form .xlsx") {
		t.Errorf("error = %v", err)
	}
}
