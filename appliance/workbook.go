package appliance

import (
	"archive/zip"
	"bytes"
	"encoding/xml"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"dvmigrate/appliance/dataverse/schema"
	"dvmigrate/appliance/progress"
)

// page is one sheet of a workbook that people get: a part of a report, or a choice's map,
// with the options' labels to choose from in the cells of target_text.
type page struct {
	name   string
	rows   [][]string // the first has the names
	number []bool     // columns whose cells are numbers where they look like one; shorter: the others are texts
	labels []schema.Option
	link   int // column whose cells are addresses, for a click; 0: none
}

// listSheet is the workbook's last sheet, with the labels that the others' cells offer. Its
// name has no dot, so that it is no map.
const listSheet = "options"

// listName is what that sheet is called where people have one of its name.
func listName(pages []page) string {
	name := listSheet
	for n := 2; slices.ContainsFunc(pages, func(g page) bool { return strings.EqualFold(g.name, name) }); n++ {
		name = fmt.Sprint(listSheet, n)
	}
	return name
}

const (
	xmlHead   = `<?xml version="1.0" encoding="UTF-8" standalone="yes"?>` + "\n"
	mainSpace = ` xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"`
	docSpace  = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
	packSpace = "http://schemas.openxmlformats.org/package/2006/"
	sheetType = "application/vnd.openxmlformats-officedocument.spreadsheetml.worksheet+xml"
	bookType  = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet.main+xml"
	styleType = "application/vnd.openxmlformats-officedocument.spreadsheetml.styles+xml"
	// A fill must say which (CT_Fill); the first two of a workbook are none and grey, whatever they say.
	plainStyle = `<styleSheet` + mainSpace + `><fonts count="2"><font/><font><b/></font></fonts><fills count="2"><fill><patternFill patternType="none"/></fill><fill><patternFill patternType="gray125"/></fill></fills><borders count="1"><border/></borders>` +
		`<cellStyleXfs count="1"><xf/></cellStyleXfs><cellXfs count="3"><xf/><xf fontId="1" applyFont="1"/><xf numFmtId="49" applyNumberFormat="1"/></cellXfs><cellStyles count="1"><cellStyle name="Normal" xfId="0" builtinId="0"/></cellStyles></styleSheet>`
)

// What a spreadsheet takes (Excel's specifications and limits).
const (
	cellUnits  = 32767 // of UTF-16 in a cell's text; of a workbook with more Excel says that it is damaged
	cellDigits = 15    // of a number; the others become 0
)

// writeWorkbook writes a workbook of the form .xlsx (ECMA-376) whole.
func writeWorkbook(path string, pages []page) error {
	count, listed := len(pages), listName(pages)
	if slices.ContainsFunc(pages, func(g page) bool { return len(g.labels) > 0 }) {
		pages = append(pages[:count:count], page{name: listed, rows: optionLists(pages)})
	}
	var types, sheets, relations strings.Builder
	parts := []struct{ name, text string }{}
	for i, g := range pages {
		file, id := fmt.Sprintf("worksheets/sheet%d.xml", i+1), fmt.Sprintf("rId%d", i+1)
		fmt.Fprintf(&types, `<Override PartName="/xl/%s" ContentType="%s"/>`, file, sheetType)
		fmt.Fprintf(&sheets, `<sheet name="%s" sheetId="%d" r:id="%s"/>`, escape(g.name), i+1, id)
		fmt.Fprintf(&relations, `<Relationship Id="%s" Type="%s/worksheet" Target="%s"/>`, id, docSpace, file)
		text := ""
		if i < count {
			text = g.xml(listed, columnName(i))
		} else {
			text = g.xml("", "")
		}
		parts = append(parts, struct{ name, text string }{"xl/" + file, text})
	}
	fmt.Fprintf(&types, `<Override PartName="/xl/workbook.xml" ContentType="%s"/><Override PartName="/xl/styles.xml" ContentType="%s"/>`, bookType, styleType)
	fmt.Fprintf(&relations, `<Relationship Id="rIdStyles" Type="%s/styles" Target="styles.xml"/>`, docSpace)
	parts = append(parts, []struct{ name, text string }{
		{"[Content_Types].xml", `<Types xmlns="` + packSpace + `content-types"><Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>` + types.String() + `</Types>`},
		{"_rels/.rels", `<Relationships xmlns="` + packSpace + `relationships"><Relationship Id="rId1" Type="` + docSpace + `/officeDocument" Target="xl/workbook.xml"/></Relationships>`},
		{"xl/workbook.xml", `<workbook` + mainSpace + ` xmlns:r="` + docSpace + `"><sheets>` + sheets.String() + `</sheets></workbook>`},
		{"xl/_rels/workbook.xml.rels", `<Relationships xmlns="` + packSpace + `relationships">` + relations.String() + `</Relationships>`},
		{"xl/styles.xml", plainStyle},
	}...)
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for _, p := range parts {
		w, err := z.Create(p.name)
		if err != nil {
			return err
		}
		if _, err := w.Write([]byte(xmlHead + p.text)); err != nil {
			return err
		}
	}
	if err := z.Close(); err != nil {
		return err
	}
	return writeFile(path, b.Bytes())
}

// optionLists has a column of labels for each page.
func optionLists(pages []page) [][]string {
	most := 0
	for _, g := range pages {
		most = max(most, len(g.labels))
	}
	rows := make([][]string, most+1)
	for r := range rows {
		rows[r] = make([]string, len(pages))
		for i, g := range pages {
			switch {
			case r == 0:
				rows[r][i] = g.name
			case r <= len(g.labels):
				rows[r][i] = g.labels[r-1].Label
			}
		}
	}
	return rows
}

// xml is the sheet; list is the column, of the sheet listed, of the labels that target_text offers.
func (g *page) xml(listed, list string) string {
	var b strings.Builder
	b.WriteString(`<worksheet` + mainSpace + `><sheetViews><sheetView workbookViewId="0"><pane ySplit="1" topLeftCell="A2" activePane="bottomLeft" state="frozen"/></sheetView></sheetViews>` +
		`<cols><col min="1" max="16384" width="24" customWidth="1"/></cols><sheetData>`)
	for r, cells := range g.rows {
		fmt.Fprintf(&b, `<row r="%d">`, r+1)
		for i, text := range cells {
			ref := fmt.Sprintf("%s%d", columnName(i), r+1)
			switch {
			case text == "":
			case r > 0 && i == g.link && i > 0:
				fmt.Fprintf(&b, `<c r="%s" t="str"><f>HYPERLINK(%s,"open")</f><v>open</v></c>`, ref, escape(`"`+strings.ReplaceAll(text, `"`, `""`)+`"`))
			case r > 0 && i < len(g.number) && g.number[i] && countable(text):
				fmt.Fprintf(&b, `<c r="%s"><v>%s</v></c>`, ref, text)
			default:
				style := 2 // text, so that 007 stays what it is when it is edited
				if r == 0 {
					style = 1
				}
				fmt.Fprintf(&b, `<c r="%s" t="inlineStr" s="%d"><is><t xml:space="preserve">%s</t></is></c>`, ref, style, escape(cellText(text)))
			}
		}
		b.WriteString(`</row>`)
	}
	b.WriteString(`</sheetData>`)
	if n := len(g.labels); list != "" && n > 0 && len(g.rows) > 1 {
		fmt.Fprintf(&b, `<dataValidations count="1"><dataValidation type="list" allowBlank="1" errorStyle="warning" showErrorMessage="1" sqref="%s2:%[1]s%d"><formula1>%s!$%s$2:$%[4]s$%d</formula1></dataValidation></dataValidations>`,
			columnName(labelColumn), len(g.rows), listed, list, n+1)
	}
	return b.String() + `</worksheet>`
}

// plainNumber is what a cell holds as a number; leading zeros would be lost.
var plainNumber = regexp.MustCompile(`^-?(0|[1-9][0-9]*)([.][0-9]+)?$`)

// countable reports whether a cell holds text as a number, and every digit of it.
func countable(text string) bool {
	digits := strings.TrimLeft(strings.Map(func(r rune) rune {
		if r >= '0' && r <= '9' {
			return r
		}
		return -1
	}, text), "0")
	return len(digits) <= cellDigits && plainNumber.MatchString(text)
}

// taggedUnit is what a spreadsheet reads as one character.
var taggedUnit = regexp.MustCompile(`_(x[0-9A-Fa-f]{4}_)`)

// cellText is text as a cell takes it: cut, if it is too long, and saying so.
func cellText(text string) string {
	if len(text) > cellUnits { // bytes, which are not fewer than units
		units := utf16.Encode([]rune(text))
		if n := len(units); n > cellUnits {
			end := fmt.Sprintf("… (cut, %s in all)", progress.Counted(int64(utf8.RuneCountInString(text)), "character"))
			keep := cellUnits - len(end)
			if utf16.IsSurrogate(rune(units[keep-1])) && utf16.IsSurrogate(rune(units[keep])) {
				keep-- // or half a character may be left
			}
			text = string(utf16.Decode(units[:keep])) + end
		}
	}
	return taggedUnit.ReplaceAllString(text, "_x005F_$1")
}

// labelColumn is where target_text stands among sheetColumns.
const labelColumn = 3

// columnName is the letters of a spreadsheet's column, from 0.
func columnName(i int) string {
	text := ""
	for n := i + 1; n > 0; n = (n - 1) / 26 {
		text = string(rune('A'+(n-1)%26)) + text
	}
	return text
}

func escape(text string) string {
	var b strings.Builder
	_ = xml.EscapeText(&b, []byte(text)) // a builder takes everything
	return b.String()
}
