package ingest

import (
	"bytes"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/encoding/charmap"
)

// PaperSheet is a small table that people edit in a spreadsheet program and that is read
// back: a CSV file, or one sheet of a workbook.
type PaperSheet struct {
	Name string // of the sheet in its workbook; "" in a CSV file
	Rows []PaperRow
	Raw  [][]string // of a sheet in a workbook: its cells, by row and column; empty rows are nil
}

// PaperRow is a row by the names of the columns, which are in small letters.
type PaperRow struct {
	Line  int // in the file, or the row's number in the sheet
	Cells map[string]string
}

// ReadSheets reads every sheet of a .xlsx file, or the one of any other, which is taken
// for CSV as spreadsheet programs save it: with a comma, semicolon or tab between, in UTF-8
// or Windows-1252. Blanks around names and values are cut, and empty rows are left out. It
// is for files that fit in memory easily.
func ReadSheets(ctx context.Context, path string) ([]PaperSheet, error) {
	if strings.EqualFold(filepath.Ext(path), ".xlsx") {
		return readWorkbook(ctx, path)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	if b = bytes.TrimPrefix(b, []byte("\ufeff")); !utf8.Valid(b) {
		if b, err = charmap.Windows1252.NewDecoder().Bytes(b); err != nil {
			return nil, fmt.Errorf("%s: neither UTF-8 nor Windows-1252: %w", path, err)
		}
	}
	r := csv.NewReader(bytes.NewReader(b))
	first, _, _ := bytes.Cut(b, []byte("\n"))
	for _, other := range []byte{';', '\t'} {
		if bytes.Count(first, []byte{other}) > bytes.Count(first, []byte{byte(r.Comma)}) {
			r.Comma = rune(other)
		}
	}
	r.FieldsPerRecord = -1
	var s paperReader
	for {
		cells, err := r.Read()
		if errors.Is(err, io.EOF) {
			return []PaperSheet{{Rows: s.rows}}, nil
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		line, _ := r.FieldPos(0)
		s.add(line, cells)
	}
}

func readWorkbook(ctx context.Context, path string) ([]PaperSheet, error) {
	in := input{path: path, shown: path}
	var names []string
	read := func(name string, fn func(*sheet) error) error {
		return (&workbooks{src: &Source{Sheet: Sheet{Name: name}}}).sheet(in, func(s *sheet) error {
			names = s.names
			return fn(s)
		})
	}
	if err := read("", func(*sheet) error { return nil }); err != nil {
		return nil, err
	}
	var out []PaperSheet
	for _, name := range names {
		var p paperReader
		var raw [][]string
		err := read(name, func(s *sheet) error {
			for {
				r, ok, err := s.next(ctx)
				if err != nil || !ok {
					return err
				}
				_, last := s.span(r)
				cells := make([]string, last)
				for at, v := range r.cells {
					cells[at-1] = v.text
					if v.bad != "" {
						return fmt.Errorf("sheet %s: cell %s%d shows %s", name, columnLetters(at), r.number, v.bad)
					}
				}
				p.add(r.number, cells)
				for len(raw) < r.number-1 {
					raw = append(raw, nil)
				}
				raw = append(raw, cells)
			}
		})
		if err != nil {
			return nil, err
		}
		out = append(out, PaperSheet{Name: name, Rows: p.rows, Raw: raw})
	}
	return out, nil
}

// paperReader makes rows of lines, the first of which has the names.
type paperReader struct {
	head []string
	rows []PaperRow
}

func (p *paperReader) add(line int, cells []string) {
	row := PaperRow{Line: line, Cells: map[string]string{}}
	empty := true
	for _, name := range p.head {
		row.Cells[name] = ""
	}
	for i, text := range cells {
		text = strings.TrimSpace(text)
		empty = empty && text == ""
		if i < len(p.head) {
			row.Cells[p.head[i]] = text
		}
	}
	switch {
	case empty:
	case p.head == nil:
		for _, name := range cells {
			p.head = append(p.head, strings.ToLower(strings.TrimSpace(name)))
		}
	default:
		p.rows = append(p.rows, row)
	}
}
