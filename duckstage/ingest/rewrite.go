package ingest

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"unicode/utf8"
)

// lineColumn is the column that a rewritten file begins with: the number of the line
// in the original, so that what DuckDB refuses later can still be found there.
const lineColumn = "dm_line"

// replacement is what a decoder puts in place of bytes that mean nothing in the
// encoding. Such a row is set aside: the bytes are lost to who reads on.
var replacement = []byte("\uFFFD")

// rewriter copies files into ones that DuckDB reads: UTF-8, commas, doubled quotes,
// line ends, every row with the right number of fields. The others are set aside.
type rewriter struct {
	src      *Source
	columns  int
	dir      string
	bad      []BadLine
	badCount int64
	progress func(read int64)
}

// maxKept is how many bad lines are kept in memory; the rest are only counted.
const maxKept = 100_000

// file rewrites one file and returns where.
func (w *rewriter) file(ctx context.Context, number int, in input) (string, error) {
	r, err := openText(in.path, w.src.Encoding)
	if err != nil {
		return "", err
	}
	defer r.Close()
	path := filepath.Join(w.dir, strconv.Itoa(number)+".csv")
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return "", err
	}
	defer f.Close()
	out := bufio.NewWriterSize(f, 1<<20)
	if err := w.rows(ctx, in, &countingReader{r: r, report: w.progress}, out); err != nil {
		return "", fmt.Errorf("%s: %w", in.shown, err)
	}
	if err := out.Flush(); err != nil {
		return "", err
	}
	return path, f.Close()
}

func (w *rewriter) rows(ctx context.Context, in input, r io.Reader, out *bufio.Writer) error {
	rows := newSplitter(r, w.src)
	header := !w.src.NoHeader
	decoding := !isUTF8(w.src.Encoding)
	var line []byte
	for n := 0; rows.next(); n++ {
		if n&0xFFF == 0 && ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if header {
			header = false
			continue
		}
		row := rows.row()
		if !utf8.Valid(row) || decoding && bytes.Contains(row, replacement) {
			w.setAside(in, rows, "the line is not "+encodingName(w.src.Encoding)+": is that the file's encoding?")
			continue
		}
		line = strconv.AppendInt(line[:0], rows.line, 10)
		fields := 0
		rows.eachField(func(value []byte, quoted bool) {
			fields++
			line = appendField(append(line, ','), value, quoted)
		})
		if fields != w.columns {
			w.setAside(in, rows, fmt.Sprintf("the line has %d columns, %d are expected", fields, w.columns))
			continue
		}
		if _, err := out.Write(append(line, '\n')); err != nil {
			return err
		}
	}
	return rows.err()
}

func encodingName(encoding string) string {
	if encoding == "" {
		return "UTF-8"
	}
	return encoding
}

func (w *rewriter) setAside(in input, rows *splitter, message string) {
	w.badCount++
	if len(w.bad) < maxKept {
		text := strings.ToValidUTF8(string(rows.row()), "\uFFFD")
		w.bad = append(w.bad, BadLine{File: in.shown, Line: rows.line, Message: message, Text: text})
	}
}

// appendField writes a field, quoted where it must be or was.
func appendField(dst, value []byte, quoted bool) []byte {
	if !quoted && !bytes.ContainsAny(value, ",\"\r\n") {
		return append(dst, value...)
	}
	dst = append(dst, '"')
	for len(value) > 0 {
		at := bytes.IndexByte(value, '"')
		if at < 0 {
			dst = append(dst, value...)
			break
		}
		dst = append(append(dst, value[:at+1]...), '"')
		value = value[at+1:]
	}
	return append(dst, '"')
}

// countingReader reports how much was read.
type countingReader struct {
	r      io.Reader
	report func(int64)
	n      int64
}

func (c *countingReader) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	if c.report != nil {
		c.report(c.n)
	}
	return n, err
}
