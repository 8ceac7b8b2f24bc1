package ingest

import (
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
)

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
	if s.since == -25569 && days == 60 {
		return value{bad: "29 February 1900, a day that never was"}
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
			s.w.lines = append(s.w.lines, int32(r.number))
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
				Message: fmt.Sprintf("cell %s%d of sheet %s is beyond the named columns: name its column, narrow `range`, or say in which `header_row` the names are", columnLetters(at), r.number, s.name)}
		}
	}
	return nil
}
