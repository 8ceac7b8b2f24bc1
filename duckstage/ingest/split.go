package ingest

import (
	"bufio"
	"bytes"
	"io"
	"strings"
)

// splitter reads rows of delimited text whose delimiter and row end may be anything.
type splitter struct {
	scan   *bufio.Scanner
	delim  []byte
	quote  byte // 0: none
	escape byte
	line   int64 // of the row's first line, from 1
	next1  int64 // of the row after it
	sep    bool  // the first line may be Excel's
}

// newSplitter reads rows from UTF-8 text. Where the source names no row end, it is the
// end of a line.
func newSplitter(r io.Reader, src *Source) *splitter {
	s := &splitter{scan: bufio.NewScanner(r), delim: []byte(src.Delimiter), next1: 1, sep: src.sepLine}
	if src.Quote != "" {
		s.quote, s.escape = src.Quote[0], src.Escape[0]
	}
	s.scan.Buffer(make([]byte, 1<<16), maxRecord)
	s.scan.Split(func(data []byte, atEOF bool) (int, []byte, error) {
		return s.split(data, atEOF, []byte(src.RowEnd))
	})
	return s
}

// split is the scanner's: the token is the row without its end.
func (s *splitter) split(data []byte, atEOF bool, rowEnd []byte) (int, []byte, error) {
	if len(data) == 0 && atEOF {
		return 0, nil, nil
	}
	at, length := s.rowEnd(data, rowEnd)
	if at < 0 {
		if !atEOF {
			return 0, nil, nil
		}
		return len(data), data, nil
	}
	advance := at + length
	if len(rowEnd) > 0 {
		// A line end after the row's end belongs to it.
		rest := data[advance:]
		if len(rest) < 2 && !atEOF {
			return 0, nil, nil
		}
		switch {
		case bytes.HasPrefix(rest, []byte("\r\n")):
			advance += 2
		case len(rest) > 0 && (rest[0] == '\n' || rest[0] == '\r'):
			advance++
		}
	}
	s.next1 += int64(bytes.Count(data[at:advance], []byte{'\n'}))
	return advance, data[:at], nil
}

// rowEnd finds the first row end outside quotes and its length; -1 when there is none.
func (s *splitter) rowEnd(data, rowEnd []byte) (at, length int) {
	if s.quote == 0 && len(rowEnd) > 0 {
		return bytes.Index(data, rowEnd), len(rowEnd)
	}
	if len(rowEnd) == 0 { // most lines have nothing but their end to look for
		if n := bytes.IndexByte(data, '\n'); n >= 0 && (s.quote == 0 || bytes.IndexByte(data[:n], s.quote) < 0) {
			switch r := bytes.IndexByte(data[:n], '\r'); {
			case r < 0:
				return n, 1
			case r == n-1:
				return r, 2
			}
		}
	}
	start, quoted := true, false // start: of a field, where alone a quote opens
	for i := 0; i < len(data); i++ {
		c := data[i]
		switch {
		case quoted && c == s.escape && i+1 < len(data) && data[i+1] == s.quote:
			i++
		case quoted:
			quoted = c != s.quote
		case s.quote != 0 && start && c == s.quote:
			quoted, start = true, false
		case len(rowEnd) > 0 && bytes.HasPrefix(data[i:], rowEnd):
			return i, len(rowEnd)
		case len(rowEnd) == 0 && c == '\n':
			return i, 1
		case len(rowEnd) == 0 && c == '\r' && i+1 < len(data):
			if data[i+1] == '\n' {
				return i, 2
			}
			return i, 1
		case bytes.HasPrefix(data[i:], s.delim):
			start = true
			i += len(s.delim) - 1
		default:
			start = false
		}
	}
	return -1, 0
}

// next moves to the next row that is not an empty line.
func (s *splitter) next() bool {
	for {
		s.line = s.next1
		if !s.scan.Scan() {
			return false
		}
		s.next1 += int64(bytes.Count(s.scan.Bytes(), []byte{'\n'}))
		if s.sep && s.line == 1 && excelDelimiter(s.scan.Bytes()) != "" {
			continue
		}
		if len(s.scan.Bytes()) > 0 {
			return true
		}
	}
}

func (s *splitter) err() error { return s.scan.Err() }

// row is the row's text, valid until the next call of next.
func (s *splitter) row() []byte { return s.scan.Bytes() }

// fields takes the row apart.
func (s *splitter) fields() []string {
	var fields []string
	s.eachField(func(value []byte, _ bool) { fields = append(fields, string(value)) })
	return fields
}

// eachField calls fn with every field of the row: its value and whether it was quoted.
func (s *splitter) eachField(fn func(value []byte, quoted bool)) {
	row := s.row()
	for {
		if s.quote != 0 && len(row) > 0 && row[0] == s.quote {
			value, rest, more := s.quotedField(row)
			fn(value, true)
			if !more {
				return
			}
			row = rest
			continue
		}
		at := bytes.Index(row, s.delim)
		if at < 0 {
			fn(row, false)
			return
		}
		fn(row[:at], false)
		row = row[at+len(s.delim):]
	}
}

// quotedField reads the quoted field that row begins with. What follows its closing
// quote up to the delimiter is kept as it is.
func (s *splitter) quotedField(row []byte) (value, rest []byte, more bool) {
	i := 1
	for ; i < len(row); i++ {
		switch {
		case row[i] == s.escape && i+1 < len(row) && row[i+1] == s.quote:
			value = append(value, s.quote)
			i++
			continue
		case row[i] == s.quote:
		default:
			value = append(value, row[i])
			continue
		}
		break
	}
	tail := row[min(i+1, len(row)):]
	at := bytes.Index(tail, s.delim)
	if at < 0 {
		return append(value, tail...), nil, false
	}
	return append(value, tail[:at]...), tail[at+len(s.delim):], true
}

// excelDelimiter is the delimiter that a line such as sep=; tells Excel; "" when the line is
// none of these.
func excelDelimiter(line []byte) string {
	text := strings.Trim(strings.TrimRight(string(line), "\r\n"), `"`)
	if len(text) == len("sep=")+1 && strings.EqualFold(text[:4], "sep=") {
		return text[4:]
	}
	return ""
}
