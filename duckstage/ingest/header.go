package ingest

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"unicode/utf8"

	"github.com/klauspost/compress/zstd"
	"golang.org/x/text/encoding/ianaindex"
	"golang.org/x/text/encoding/unicode"
	"golang.org/x/text/transform"
)

// maxRecord is the longest row, in bytes, that the passes written in Go take.
const maxRecord = 64 << 20

// openText opens a file as UTF-8 without a byte order mark, unpacked.
func openText(path, encoding string) (io.ReadCloser, error) {
	f, err := openRaw(path)
	if err != nil {
		return nil, err
	}
	r, err := decoded(f, encoding)
	if err != nil {
		f.Close()
		return nil, err
	}
	return readCloser{r, f}, nil
}

// readCloser reads from one and closes another.
type readCloser struct {
	io.Reader
	io.Closer
}

// openRaw opens a file, unpacked.
func openRaw(path string) (io.ReadCloser, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	packed := bufio.NewReaderSize(f, 1<<20)
	switch filepath.Ext(strings.ToLower(path)) {
	case ".gz":
		r, err := gzip.NewReader(packed)
		if err != nil {
			f.Close()
			return nil, fmt.Errorf("unpack %s: %w: is it packed at all?", path, err)
		}
		return readCloser{r, f}, nil
	case ".zst":
		r, err := zstd.NewReader(packed, zstd.WithDecoderConcurrency(1))
		if err != nil {
			f.Close()
			return nil, fmt.Errorf("unpack %s: %w", path, err)
		}
		return readCloser{r, closers{r.IOReadCloser(), f}}, nil
	}
	return f, nil
}

// Unpacked reads what a reader of gzip's or zstd's form holds; nil where its first bytes are
// of neither.
func Unpacked(r *bufio.Reader) (io.ReadCloser, error) {
	head, err := r.Peek(4)
	switch {
	case err != nil:
		return nil, nil // too short for either
	case head[0] == 0x1f && head[1] == 0x8b:
		return gzip.NewReader(r)
	case string(head) == "\x28\xb5\x2f\xfd":
		d, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1))
		if err != nil {
			return nil, err
		}
		return d.IOReadCloser(), nil
	}
	return nil, nil
}

// closers closes several.
type closers []io.Closer

func (c closers) Close() error {
	var errs []error
	for _, one := range c {
		errs = append(errs, one.Close())
	}
	return errors.Join(errs...)
}

// markedUTF16 tells the encoding of files that begin with the mark of UTF-16, which no
// UTF-8 text can; "" where they do not.
func markedUTF16(inputs []input) (string, error) {
	found := ""
	for i, in := range inputs {
		r, err := openRaw(in.path)
		if err != nil {
			return "", err
		}
		var mark [2]byte
		_, err = io.ReadFull(r, mark[:])
		r.Close()
		if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
			return "", fmt.Errorf("%s: read first bytes: %w", in.shown, err)
		}
		is := map[[2]byte]string{{0xFF, 0xFE}: "utf-16le", {0xFE, 0xFF}: "utf-16be"}[mark]
		if i > 0 && is != found {
			return "", fmt.Errorf("%s is %s and %s is %s: files of one source have one encoding", inputs[0].shown, encodingName(found), in.shown, encodingName(is))
		}
		found = is
	}
	return found, nil
}

// decoded turns r into UTF-8. Bytes that are no UTF-8 stay as they are when that is the
// encoding: they are the line's fault, and it is set aside for them.
func decoded(r io.Reader, encoding string) (io.Reader, error) {
	if isUTF8(encoding) {
		buf := bufio.NewReaderSize(r, 1<<20)
		if mark, err := buf.Peek(3); err == nil && bytes.Equal(mark, []byte("\xEF\xBB\xBF")) {
			if _, err := buf.Discard(3); err != nil {
				return nil, err
			}
		}
		return buf, nil
	}
	if isUTF16(encoding) {
		order := unicode.LittleEndian
		if strings.HasSuffix(strings.ToLower(encoding), "be") {
			order = unicode.BigEndian
		}
		return transform.NewReader(r, unicode.UTF16(order, unicode.UseBOM).NewDecoder()), nil
	}
	enc, err := ianaindex.IANA.Encoding(ianaName(encoding))
	if err != nil || enc == nil {
		return nil, fmt.Errorf("encoding %q is not known", encoding)
	}
	return transform.NewReader(r, enc.NewDecoder()), nil
}

// ianaName maps the names people use to IANA's.
func ianaName(encoding string) string {
	name := strings.ToLower(strings.TrimSpace(encoding))
	switch name {
	case "latin-1", "latin1":
		return "ISO-8859-1"
	case "latin-9", "latin9":
		return "ISO-8859-15"
	case "cp1252", "ansi", "windows1252":
		return "windows-1252"
	case "sjis", "shift-jis", "shiftjis":
		return "Shift_JIS"
	}
	return encoding
}

func isUTF8(encoding string) bool {
	e := strings.ToLower(strings.TrimSpace(encoding))
	return e == "" || e == "utf-8" || e == "utf8"
}

func isUTF16(encoding string) bool {
	return strings.HasPrefix(strings.ReplaceAll(strings.ToLower(strings.TrimSpace(encoding)), "-", ""), "utf16")
}

// columns finds the names of the source's columns and checks every file's first line
// against them and against the delimiter.
func (src *Source) columns(inputs []input) ([]string, error) {
	names := src.Columns
	var header []string // of the first file
	for i, in := range inputs {
		fields, err := src.firstRecord(in)
		if err != nil {
			return nil, err
		}
		if !src.NoHeader && strings.ContainsAny(strings.Join(fields, ""), "\r\n") {
			src.longHeader = true
		}
		if hint := src.otherDelimiter(fields, len(names)); hint != "" {
			return nil, fmt.Errorf("%s: the first line has one column with %s, but is full of %s: set the delimiter to that", in.shown, word(src.Delimiter), hint)
		}
		switch {
		case src.NoHeader && len(fields) == 0: // an empty file is an empty table
		case src.NoHeader && len(fields) != len(names):
			return nil, fmt.Errorf("%s: the first line has %d columns, %d are listed", in.shown, len(fields), len(names))
		case src.NoHeader:
		case i == 0:
			if header = fields; len(names) == 0 {
				names = fields
			} else if len(fields) != len(names) {
				return nil, fmt.Errorf("%s: the header has %d columns (%s), in columns %d are listed", in.shown, len(fields), strings.Join(fields, ", "), len(names))
			}
		default:
			if err := sameHeader(header, fields); err != nil {
				return nil, fmt.Errorf("%s: %w, as in %s", in.shown, err, inputs[0].shown)
			}
		}
	}
	if err := checkNames(names); err != nil {
		return nil, fmt.Errorf("%w%s", err, src.nameAdvice(names))
	}
	return names, nil
}

// nameAdvice says what to do about a header that does not name all columns.
func (src *Source) nameAdvice(names []string) string {
	text := strings.Join(names, "")
	switch {
	case strings.Contains(text, "\x00"):
		return ": the file has zero bytes, as UTF-16 has: set encoding to utf-16le or utf-16be"
	case len(src.Columns) == 0 && utf8.ValidString(text):
		return ": list other names for all columns under columns, which go before those of the header"
	}
	return ""
}

// otherDelimiter names the delimiter a line was written with, when it is not the
// source's: the line is one field for us and would be several for another one.
func (src *Source) otherDelimiter(fields []string, want int) string {
	if len(fields) != 1 || want == 1 {
		return ""
	}
	best, most := "", 0
	for _, d := range []string{";", ",", "\t", "|"} {
		if n := strings.Count(fields[0], d); n > most && d != src.Delimiter {
			best, most = d, n
		}
	}
	return word(best)
}

// word names a delimiter in a message.
func word(delimiter string) string {
	switch delimiter {
	case "":
		return ""
	case "\t":
		return "tab"
	case ",":
		return "comma (,)"
	case ";":
		return "semicolon (;)"
	}
	return fmt.Sprintf("%q", delimiter)
}

// sameHeader compares a file's header with the names that are expected.
func sameHeader(want, got []string) error {
	for i := range max(len(want), len(got)) {
		switch {
		case i >= len(got):
			return fmt.Errorf("the header ends before column %d, %q", i+1, want[i])
		case i >= len(want):
			return fmt.Errorf("the header has an unexpected column %d, %q", i+1, got[i])
		case !strings.EqualFold(want[i], got[i]):
			return fmt.Errorf("column %d of the header is %q, expected is %q", i+1, got[i], want[i])
		}
	}
	return nil
}

// checkNames refuses names that cannot all be columns of one table.
func checkNames(names []string) error {
	seen := map[string]int{}
	for i, name := range names {
		low := strings.ToLower(name)
		switch {
		case strings.Contains(name, "\x00"):
			return fmt.Errorf("the name of column %d, %q, has a zero byte", i+1, name)
		case name == "":
			return fmt.Errorf("column %d has no name", i+1)
		case low == "dm_created_at" || low == "dm_file" || low == "dm_source":
			return fmt.Errorf("column %d is called %s, a name that the stage gives itself", i+1, name)
		case !utf8.ValidString(name):
			return fmt.Errorf("the name of column %d, %q, is not UTF-8: set the encoding", i+1, name)
		case seen[low] > 0:
			return fmt.Errorf("columns %d and %d are both called %q", seen[low], i+1, name)
		}
		seen[low] = i + 1
	}
	return nil
}

// firstRecord reads a file's first row; nil when the file is empty and may be.
func (src *Source) firstRecord(in input) ([]string, error) {
	r, err := openText(in.path, src.Encoding)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	records := newSplitter(r, src)
	if !records.next() {
		if err := records.err(); err != nil {
			return nil, fmt.Errorf("%s: read first line: %w", in.shown, err)
		}
		if src.NoHeader {
			return nil, nil
		}
		return nil, fmt.Errorf("%s: %w", in.shown, errors.New("the file is empty, a header was expected"))
	}
	fields := records.fields()
	for i := range fields {
		fields[i] = strings.TrimSpace(fields[i])
	}
	return fields, nil
}
