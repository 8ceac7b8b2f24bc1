package ingest

import (
	"archive/zip"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"path"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"
)

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
