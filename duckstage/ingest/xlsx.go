package ingest

import (
	"archive/zip"
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Sheet says which cells of a workbook are read. The zero value reads the first sheet,
// from its first row that is not empty, which has the names.
type Sheet struct {
	Name      string
	Range     string // B4:F200, B:F
	HeaderRow int    // 0: the first that is not empty
}

// workbooks are spreadsheets of the form .xlsx (ECMA-376). They are read as a stream:
// only the table of shared texts is in memory.
type workbooks struct {
	src    *Source
	inputs []input
	area   area
}

// area is a part of a sheet; numbers count from 1, and 0 is no limit.
type area struct{ left, right, top, bottom int }

func openWorkbooks(src *Source, inputs []input) (supply, error) {
	w := &workbooks{src: src, inputs: inputs}
	var err error
	w.area, err = parseArea(src.Sheet.Range)
	return w, err
}

var areaForm = regexp.MustCompile(`^([A-Za-z]{1,3})(\d*):([A-Za-z]{1,3})(\d*)$`)

func parseArea(text string) (a area, err error) {
	if text == "" {
		return a, nil
	}
	m := areaForm.FindStringSubmatch(text)
	if m == nil {
		return a, fmt.Errorf("range %q: write it like B4:F200 or B:F", text)
	}
	a.left, a.right = columnNumber(m[1]), columnNumber(m[3])
	a.top, _ = strconv.Atoi("0" + m[2])
	a.bottom, _ = strconv.Atoi("0" + m[4])
	if a.left > a.right || a.bottom > 0 && a.top > a.bottom {
		return a, fmt.Errorf("range %q ends before it begins", text)
	}
	return a, nil
}

// columnNumber reads a column's letters: A is 1, AA is 27.
func columnNumber(letters string) int {
	n := 0
	for _, c := range strings.ToUpper(letters) {
		n = n*26 + int(c-'A') + 1
	}
	return n
}

func columnLetters(n int) string {
	text := ""
	for ; n > 0; n = (n - 1) / 26 {
		text = string(rune('A'+(n-1)%26)) + text
	}
	return text
}

func (w *workbooks) workers() int    { return 1 }
func (w *workbooks) notes() []string { return nil }
func (w *workbooks) close()          {}

// relations reads the names of the columns; their types come with the values.
func (w *workbooks) relations(ctx context.Context, src *Source) ([]*relation, error) {
	rel := &relation{name: src.Name}
	var names []string
	for i, in := range w.inputs {
		var found []string
		err := w.sheet(in, func(s *sheet) error {
			var err error
			found, err = s.header(ctx)
			return err
		})
		if err != nil {
			return nil, err
		}
		if i == 0 {
			names = found
		} else if err := sameHeader(names, found); err != nil {
			return nil, fmt.Errorf("%s: %w", in.shown, err)
		}
	}
	if len(src.Columns) > 0 {
		if !src.NoHeader && len(src.Columns) != len(names) {
			return nil, fmt.Errorf("%d columns are listed, the sheet has %d", len(src.Columns), len(names))
		}
		names = src.Columns
	}
	if err := checkNames(names); err != nil {
		return nil, err
	}
	for _, name := range names {
		rel.fields = append(rel.fields, field{name: name, stored: "VARCHAR", typ: "VARCHAR"})
	}
	kinds := make([]kindSet, len(names))
	for _, in := range w.inputs {
		rel.parts = append(rel.parts, part{label: in.shown, read: func(ctx context.Context, _ int, out *sink) error {
			out.shown = in.shown
			err := w.sheet(in, func(s *sheet) error { return s.rows(ctx, names, kinds, out) })
			for i, k := range kinds {
				rel.fields[i].typ = k.sqlType()
			}
			return err
		}})
	}
	if len(w.inputs) > 1 {
		for i := range rel.parts {
			inner, shown := rel.parts[i].read, w.inputs[i].shown
			rel.parts[i].read = func(ctx context.Context, worker int, out *sink) error {
				out.constant = shown
				return inner(ctx, worker, out)
			}
		}
		rel.fields = append(rel.fields, field{name: "dm_file", stored: "VARCHAR", typ: "VARCHAR"})
	}
	return []*relation{rel}, nil
}

// look finds the types without keeping rows.
func (w *workbooks) look(ctx context.Context, rel *relation) error {
	names := make([]string, 0, len(rel.fields))
	for _, f := range rel.fields {
		if f.name != "dm_file" {
			names = append(names, f.name)
		}
	}
	kinds := make([]kindSet, len(names))
	for _, in := range w.inputs {
		if err := w.sheet(in, func(s *sheet) error { return s.rows(ctx, names, kinds, nil) }); err != nil {
			return err
		}
	}
	for i, k := range kinds {
		rel.fields[i].typ = k.sqlType()
	}
	return nil
}

// kindSet is which kinds of value a column has shown.
type kindSet uint8

const (
	textKind kindSet = 1 << iota
	wholeKind
	numberKind
	boolKind
	dateKind
	momentKind // a date with a time
	timeKind   // a time without a date
)

// sqlType is the type that holds all kinds of a column.
func (k kindSet) sqlType() string {
	switch {
	case k == wholeKind:
		return "BIGINT"
	case k != 0 && k&^(wholeKind|numberKind) == 0:
		return "DOUBLE"
	case k == boolKind:
		return "BOOLEAN"
	case k == dateKind:
		return "DATE"
	case k != 0 && k&^(dateKind|momentKind) == 0:
		return "TIMESTAMP"
	case k == timeKind:
		return "TIME"
	}
	return "VARCHAR"
}

// sheet is one sheet that is being read.
type sheet struct {
	w      *workbooks
	shown  string
	name   string
	names  []string // of all sheets
	texts  []string // shared
	dates  []bool   // by style: whether a number is a date
	since  int      // day 0 of dates, as days since 1970
	d      *xml.Decoder
	bottom int
}

// sheet opens the workbook and calls fn with the sheet that is asked for.
func (w *workbooks) sheet(in input, fn func(*sheet) error) error {
	z, err := zip.OpenReader(in.path)
	if err != nil {
		return fmt.Errorf("%s: not a workbook of the form .xlsx, or one with a password: %w", in.shown, err)
	}
	defer z.Close()
	s := &sheet{w: w, shown: in.shown}
	target, err := s.book(&z.Reader)
	if err == nil {
		err = s.styles(&z.Reader)
	}
	if err == nil {
		err = s.shared(&z.Reader)
	}
	if err == nil {
		var f io.ReadCloser
		if f, err = z.Open(target); err == nil {
			defer f.Close()
			s.d = xml.NewDecoder(f)
			err = fn(s)
		}
	}
	var bad *BadLinesError
	if err != nil && !errors.As(err, &bad) {
		return fmt.Errorf("%s: %w", in.shown, err)
	}
	return err
}

// decode reads a whole small part of the workbook; one that is not there is empty.
func decode(z *zip.Reader, name string, into any) error {
	f, err := z.Open(name)
	if err != nil {
		return nil
	}
	defer f.Close()
	if err := xml.NewDecoder(f).Decode(into); err != nil {
		return fmt.Errorf("%s is damaged: %w", name, err)
	}
	return nil
}

// book finds the file of the sheet, and from when dates are counted.
func (s *sheet) book(z *zip.Reader) (string, error) {
	var book struct {
		Properties struct {
			Date1904 string `xml:"date1904,attr"`
		} `xml:"workbookPr"`
		Sheets []struct {
			Name string `xml:"name,attr"`
			ID   string `xml:"http://schemas.openxmlformats.org/officeDocument/2006/relationships id,attr"`
		} `xml:"sheets>sheet"`
	}
	if err := decode(z, "xl/workbook.xml", &book); err != nil {
		return "", err
	}
	if len(book.Sheets) == 0 {
		return "", errors.New("it has no sheets: is it a workbook of the form .xlsx?")
	}
	at, want, names := 0, s.w.src.Sheet.Name, []string(nil)
	for i, x := range book.Sheets {
		names = append(names, x.Name)
		if strings.EqualFold(x.Name, want) {
			at, want = i, ""
		}
	}
	if want != "" {
		return "", fmt.Errorf("no sheet %q: there are %s", want, strings.Join(names, ", "))
	}
	s.name, s.names = book.Sheets[at].Name, names
	s.since = -25569 // 1899-12-30
	if p := book.Properties.Date1904; p == "1" || p == "true" {
		s.since = -24107 // 1904-01-01
	}
	var relations struct {
		All []struct {
			ID     string `xml:"Id,attr"`
			Target string `xml:"Target,attr"`
		} `xml:"Relationship"`
	}
	if err := decode(z, "xl/_rels/workbook.xml.rels", &relations); err != nil {
		return "", err
	}
	for _, r := range relations.All {
		if r.ID == book.Sheets[at].ID {
			if strings.HasPrefix(r.Target, "/") {
				return r.Target[1:], nil
			}
			return path.Join("xl", r.Target), nil
		}
	}
	return "", fmt.Errorf("the file of sheet %q is missing", s.name)
}

// styles finds the styles in which numbers are dates.
func (s *sheet) styles(z *zip.Reader) error {
	var styles struct {
		Formats []struct {
			ID   int    `xml:"numFmtId,attr"`
			Code string `xml:"formatCode,attr"`
		} `xml:"numFmts>numFmt"`
		Cells []struct {
			Format int `xml:"numFmtId,attr"`
		} `xml:"cellXfs>xf"`
	}
	if err := decode(z, "xl/styles.xml", &styles); err != nil {
		return err
	}
	own := map[int]bool{}
	for _, f := range styles.Formats {
		own[f.ID] = dateFormat(f.Code)
	}
	for _, c := range styles.Cells {
		date, known := own[c.Format]
		if !known { // the built-in ones, with those of East Asia
			f := c.Format
			date = f >= 14 && f <= 22 || f >= 27 && f <= 36 || f >= 45 && f <= 47 || f >= 50 && f <= 58
		}
		s.dates = append(s.dates, date)
	}
	return nil
}

// dateFormat reports whether a number format shows a date or a time of day: it has one
// of their letters outside of quotes, brackets and escapes. Hours that go on beyond a
// day, [h], are a number.
func dateFormat(code string) bool {
	if strings.Contains(strings.ToLower(code), "[h") || strings.EqualFold(code, "general") {
		return false
	}
	for i := 0; i < len(code); i++ {
		switch c := code[i]; c {
		case '\\', '_', '*':
			i++
		case '"':
			if end := strings.IndexByte(code[i+1:], '"'); end >= 0 {
				i += end + 1
			}
		case '[':
			if end := strings.IndexByte(code[i:], ']'); end >= 0 {
				i += end
			}
		case ';':
			return false // the first section is that of ordinary numbers
		case 'd', 'D', 'm', 'M', 'y', 'Y', 'h', 'H', 's', 'S':
			return true
		}
	}
	return false
}

// shared reads the texts that cells refer to.
func (s *sheet) shared(z *zip.Reader) error {
	f, err := z.Open("xl/sharedStrings.xml")
	if err != nil {
		return nil // there are none
	}
	defer f.Close()
	d := xml.NewDecoder(f)
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("xl/sharedStrings.xml is damaged: %w", err)
		}
		if e, ok := token.(xml.StartElement); ok && e.Name.Local == "si" {
			text, err := richText(d, "si")
			if err != nil {
				return fmt.Errorf("xl/sharedStrings.xml is damaged: %w", err)
			}
			s.texts = append(s.texts, text)
		}
	}
}

// richText reads the text within an element up to its end: of all runs, without the
// readings of Asian characters.
func richText(d *xml.Decoder, end string) (string, error) {
	var b strings.Builder
	in := false
	for {
		token, err := d.Token()
		if err != nil {
			return "", err
		}
		switch t := token.(type) {
		case xml.StartElement:
			if t.Name.Local == "rPh" {
				if err := d.Skip(); err != nil {
					return "", err
				}
			}
			in = t.Name.Local == "t"
		case xml.CharData:
			if in {
				b.Write(t)
			}
		case xml.EndElement:
			if in = false; t.Name.Local == end {
				return unescape(b.String()), nil
			}
		}
	}
}

var escapedUnit = regexp.MustCompile(`_x([0-9A-Fa-f]{4})_`)

// unescape turns _x000D_ and its like into the characters they stand for.
func unescape(text string) string {
	if !strings.Contains(text, "_x") {
		return text
	}
	return escapedUnit.ReplaceAllStringFunc(text, func(m string) string {
		n, err := strconv.ParseUint(m[2:6], 16, 16)
		if err != nil || !utf8.ValidRune(rune(n)) || n == 0 {
			return m
		}
		return string(rune(n))
	})
}

// value is a cell's.
type value struct {
	text string
	kind kindSet
	bad  string // the error that it shows
}

// row is a row's number and its values by column number.
type row struct {
	number int
	cells  map[int]value
}

// next reads the next row within the area that is not empty; false at the end.
func (s *sheet) next(ctx context.Context) (row, bool, error) {
	for n := s.bottom; ; {
		if ctx.Err() != nil {
			return row{}, false, context.Cause(ctx)
		}
		token, err := s.d.Token()
		if errors.Is(err, io.EOF) {
			return row{}, false, nil
		}
		if err != nil {
			return row{}, false, fmt.Errorf("sheet %s is damaged: %w", s.name, err)
		}
		e, ok := token.(xml.StartElement)
		if !ok || e.Name.Local != "row" {
			continue
		}
		n++
		if r := attribute(e, "r"); r != "" {
			if n, err = strconv.Atoi(r); err != nil {
				return row{}, false, fmt.Errorf("sheet %s: a row is numbered %q", s.name, r)
			}
		}
		s.bottom = n
		if s.w.area.bottom > 0 && n > s.w.area.bottom {
			return row{}, false, nil
		}
		got := row{number: n, cells: map[int]value{}}
		if err := s.cells(got); err != nil {
			return row{}, false, fmt.Errorf("sheet %s row %d: %w", s.name, n, err)
		}
		if n >= s.w.area.top && len(got.cells) > 0 {
			return got, true, nil
		}
	}
}

// cells reads the cells up to the row's end.
func (s *sheet) cells(into row) error {
	at := 0
	for {
		token, err := s.d.Token()
		if err != nil {
			return err
		}
		switch t := token.(type) {
		case xml.EndElement:
			if t.Name.Local == "row" {
				return nil
			}
		case xml.StartElement:
			if t.Name.Local != "c" {
				continue
			}
			at++
			if ref := attribute(t, "r"); ref != "" {
				at = columnNumber(strings.TrimRight(ref, "0123456789"))
			}
			v, err := s.cell(t)
			if err != nil {
				return fmt.Errorf("cell %s%d: %w", columnLetters(at), into.number, err)
			}
			if (v.text != "" || v.bad != "") && at >= s.w.area.left && (s.w.area.right == 0 || at <= s.w.area.right) {
				into.cells[at] = v
			}
		}
	}
}

// cell reads one cell up to its end.
func (s *sheet) cell(c xml.StartElement) (v value, err error) {
	var raw string
	for {
		token, err := s.d.Token()
		if err != nil {
			return v, err
		}
		switch t := token.(type) {
		case xml.StartElement:
			switch t.Name.Local {
			case "v":
				if err := s.d.DecodeElement(&raw, &t); err != nil {
					return v, err
				}
			case "is":
				if v.text, err = richText(s.d, "is"); err != nil {
					return v, err
				}
				v.kind = textKind
			default:
				if err := s.d.Skip(); err != nil {
					return v, err
				}
			}
		case xml.EndElement:
			if raw == "" {
				return v, nil
			}
			return s.valueOf(attribute(c, "t"), attribute(c, "s"), raw)
		}
	}
}

// valueOf reads a cell's raw value by its type and style.
func (s *sheet) valueOf(kind, style, raw string) (value, error) {
	switch kind {
	case "s":
		i, err := strconv.Atoi(raw)
		if err != nil || i < 0 || i >= len(s.texts) {
			return value{}, fmt.Errorf("it refers to shared text %q, which there is not", raw)
		}
		return value{text: s.texts[i], kind: textKind}, nil
	case "str":
		return value{text: unescape(raw), kind: textKind}, nil
	case "b":
		return value{text: strconv.FormatBool(raw == "1" || raw == "true"), kind: boolKind}, nil
	case "e":
		return value{bad: raw}, nil
	case "d":
		return value{text: strings.TrimSuffix(strings.Replace(raw, "T", " ", 1), "Z"), kind: momentKind}, nil
	}
	number, err := strconv.ParseFloat(raw, 64)
	if err != nil {
		return value{}, fmt.Errorf("%q is not a number", raw)
	}
	if i, err := strconv.Atoi(style); err == nil && i >= 0 && i < len(s.dates) && s.dates[i] && number >= 0 && number < 2958466 {
		return s.moment(number), nil
	}
	if number == float64(int64(number)) && number > -1e15 && number < 1e15 {
		return value{text: strconv.FormatInt(int64(number), 10), kind: wholeKind}, nil
	}
	return value{text: strconv.FormatFloat(number, 'g', -1, 64), kind: numberKind}, nil
}

// moment turns days and their parts into a date, a time, or both. Of the system of 1900
// day 60 never was, so that days before are one later.
func (s *sheet) moment(number float64) value {
	const dayMillis = 86_400_000
	millis := int64(number*dayMillis + 0.5)
	days, rest := int(millis/dayMillis), millis%dayMillis
	clock := fmt.Sprintf("%02d:%02d:%02d", rest/3_600_000, rest/60_000%60, rest/1000%60)
	if rest%1000 != 0 {
		clock += fmt.Sprintf(".%03d", rest%1000)
	}
	if days == 0 {
		return value{text: clock, kind: timeKind}
	}
	if s.since == -25569 && days < 60 {
		days++
	}
	date := dayText(days + s.since)
	if rest == 0 {
		return value{text: date, kind: dateKind}
	}
	return value{text: date + " " + clock, kind: momentKind}
}

// header reads the names of the columns, and narrows the area to them.
func (s *sheet) header(ctx context.Context) ([]string, error) {
	if s.w.src.NoHeader {
		if len(s.w.src.Columns) == 0 {
			return nil, errors.New("it has no header, so its columns must be listed")
		}
		return s.w.src.Columns, nil
	}
	r, ok, err := s.headerRow(ctx)
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, fmt.Errorf("sheet %s is empty there, a row with the names of the columns was expected", s.name)
	}
	first, last := s.span(r)
	names := make([]string, 0, last-first+1)
	for at := first; at <= last; at++ {
		name := strings.TrimSpace(r.cells[at].text)
		if name == "" {
			return nil, fmt.Errorf("sheet %s: column %s has no name in row %d: name it, leave it out with `range`, or set `header_row`", s.name, columnLetters(at), r.number)
		}
		names = append(names, name)
	}
	return names, nil
}

func (s *sheet) headerRow(ctx context.Context) (row, bool, error) {
	for {
		r, ok, err := s.next(ctx)
		if err != nil || !ok || s.w.src.Sheet.HeaderRow == 0 || r.number == s.w.src.Sheet.HeaderRow {
			return r, ok, err
		}
		if r.number > s.w.src.Sheet.HeaderRow {
			return r, false, nil
		}
	}
}

// span is the first and the last column of a row that is read.
func (s *sheet) span(r row) (first, last int) {
	at := make([]int, 0, len(r.cells))
	for i := range r.cells {
		at = append(at, i)
	}
	return slices.Min(at), slices.Max(at)
}

// rows reads the rows into out, if it is not nil, and notes the kinds of their values.
func (s *sheet) rows(ctx context.Context, names []string, kinds []kindSet, out *sink) error {
	first := max(s.w.area.left, 1)
	if !s.w.src.NoHeader {
		r, ok, err := s.headerRow(ctx)
		if err != nil || !ok {
			return err
		}
		first, _ = s.span(r)
	}
	for {
		r, ok, err := s.next(ctx)
		if err != nil || !ok {
			return err
		}
		bad := s.fault(r, names, first)
		for i := range names {
			v, there := r.cells[first+i]
			if bad == nil && there {
				kinds[i] |= v.kind
			}
			switch {
			case out == nil:
			case there && v.text != "" && !slices.Contains(s.w.src.Null, v.text):
				out.cell(i).AppendText(v.text)
			default:
				out.null(i)
			}
		}
		if out == nil {
			continue
		}
		if bad != nil {
			err = out.reject(*bad)
		} else {
			if len(out.b.Columns) > len(names) {
				out.cell(len(names)).AppendText(out.constant)
			}
			err = out.end()
		}
		if err != nil {
			return err
		}
	}
}

// fault says why a row cannot be taken; nil when it can.
func (s *sheet) fault(r row, names []string, first int) *BadLine {
	for at, v := range r.cells {
		name := ""
		if i := at - first; i >= 0 && i < len(names) {
			name = names[i]
		}
		if v.bad != "" && name != "" {
			return &BadLine{File: s.shown, Line: int64(r.number), Column: name, Text: v.bad,
				Message: fmt.Sprintf("column %s: cell %s%d of sheet %s shows the error %s", name, columnLetters(at), r.number, s.name, v.bad)}
		}
		if name == "" {
			return &BadLine{File: s.shown, Line: int64(r.number), Text: v.text,
				Message: fmt.Sprintf("cell %s%d of sheet %s is beyond the named columns: name its column, or narrow `range`", columnLetters(at), r.number, s.name)}
		}
	}
	return nil
}
