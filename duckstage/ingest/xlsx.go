package ingest

import (
	"archive/zip"
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
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
	lines  []int32 // in which row of its sheet each row stands that was taken
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
		return nil, fmt.Errorf("%w%s", err, src.nameAdvice(names))
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
