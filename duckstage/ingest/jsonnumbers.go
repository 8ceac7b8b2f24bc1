package ingest

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"dvmigrate/duckstage"
)

// DuckDB reads a number of JSON with a fraction as DOUBLE, whatever the column is to be: of
// 12345678901234567.25 nothing behind the point is left. Where the settings give such a column
// a type that keeps more than fifteen digits, those numbers become texts in a copy of the file.

// roundable are the columns that DuckDB reads as DOUBLE and that the settings want otherwise, and
// those that become texts since some are.
func (r *run) roundable(infos []duckstage.ColumnInfo, shape jsonShape) map[string]bool {
	out := map[string]bool{}
	for _, info := range infos {
		if col, ok := shape.of(info.Name); ok && (info.SQLType == "DOUBLE" && col.typ == "VARCHAR" || info.SQLType == "JSON") && !duckstage.IsFloating(r.src.declared(info.Name)) {
			out[info.Name] = true
		}
	}
	return out
}

// exactNumbers gives the paths to read instead of those in which columns have long numbers.
func (r *run) exactNumbers(ctx context.Context, dir string, paths []string, columns map[string]bool) ([]string, error) {
	out := slices.Clone(paths)
	for i, path := range paths {
		long, err := hasLongNumber(ctx, path)
		if err == nil && long {
			out[i] = filepath.Join(dir, strconv.Itoa(i)+"-exact.json")
			err = quoteNumbers(ctx, path, out[i], columns)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", r.inputs[i].shown, err)
		}
	}
	return out, nil
}

// hasLongNumber reports whether a file has more digits in a row than DOUBLE keeps, in a number or
// elsewhere. It takes a tenth of the time of looking at what they are.
func hasLongNumber(ctx context.Context, path string) (bool, error) {
	f, err := openText(path, "")
	if err != nil {
		return false, err
	}
	defer f.Close()
	buf, run := make([]byte, 1<<18), 0
	for ctx.Err() == nil {
		n, err := f.Read(buf)
		for _, c := range buf[:n] {
			if c-'0' < 10 || c == '.' {
				if run++; run > fifteenDigits {
					return true, nil
				}
			} else {
				run = 0
			}
		}
		if errors.Is(err, io.EOF) {
			return false, nil
		}
		if err != nil {
			return false, err
		}
	}
	return false, context.Cause(ctx)
}

// quoteNumbers copies a file of JSON, with the long numbers of columns in quotes.
func quoteNumbers(ctx context.Context, path, to string, columns map[string]bool) error {
	f, err := openText(path, "")
	if err != nil {
		return err
	}
	defer f.Close()
	w, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer w.Close()
	q := numberQuoter{in: bufio.NewReaderSize(f, 1<<18), out: bufio.NewWriterSize(w, 1<<18), columns: columns}
	for n := 0; err == nil; n++ {
		if err = q.token(); n&0xFFFF == 0 && ctx.Err() != nil {
			err = context.Cause(ctx)
		}
	}
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return errors.Join(err, q.out.Flush(), w.Close())
}

// numberQuoter goes through JSON that need not be right: DuckDB says what is wrong with it.
type numberQuoter struct {
	in      *bufio.Reader
	out     *bufio.Writer
	columns map[string]bool

	within []byte // { and [ that are open
	key    bool   // a text would be a key
	wanted bool   // the value that comes next is one of a column
	text   []byte
}

// inRecord reports whether what comes belongs to a record: an object by itself, or in a list.
func (q *numberQuoter) inRecord() bool {
	return len(q.within) == 1 && q.within[0] == '{' || len(q.within) == 2 && q.within[0] == '[' && q.within[1] == '{'
}

// token copies one token, or what stands between two.
func (q *numberQuoter) token() error {
	c, err := q.in.ReadByte()
	if err != nil {
		return err
	}
	switch c {
	case '{', '[':
		q.within, q.key, q.wanted = append(q.within, c), c == '{', false
	case '}', ']':
		q.within, q.key, q.wanted = q.within[:max(len(q.within)-1, 0)], false, false
	case ',':
		q.key, q.wanted = len(q.within) > 0 && q.within[len(q.within)-1] == '{', false
	case ':':
		q.key = false
	case '"':
		return q.quoted()
	case '-', '0', '1', '2', '3', '4', '5', '6', '7', '8', '9':
		return q.number(c)
	}
	return q.out.WriteByte(c)
}

// quoted copies a text, and looks whether it is a column's name.
func (q *numberQuoter) quoted() error {
	q.text = append(q.text[:0], '"')
	name := q.key && q.inRecord()
	for escaped := false; ; {
		c, err := q.in.ReadByte()
		if err != nil {
			_, writeErr := q.out.Write(q.text)
			return errors.Join(err, writeErr)
		}
		q.text = append(q.text, c)
		if c == '"' && !escaped {
			break
		}
		escaped = c == '\\' && !escaped
		if !name && len(q.text) >= 1<<16 { // a long value: not to be kept
			if _, err := q.out.Write(q.text); err != nil {
				return err
			}
			q.text = q.text[:0]
		}
	}
	if name {
		var column string
		q.wanted = json.Unmarshal(q.text, &column) == nil && q.columns[column]
	}
	_, err := q.out.Write(q.text)
	return err
}

// number copies a number, in quotes if it is a column's and has more digits than DOUBLE keeps.
func (q *numberQuoter) number(first byte) error {
	q.text = append(q.text[:0], first)
	var err error
	for {
		var c byte
		if c, err = q.in.ReadByte(); err != nil {
			break
		}
		if (c < '0' || c > '9') && c != '.' && c != 'e' && c != 'E' && c != '+' && c != '-' {
			err = q.in.UnreadByte()
			break
		}
		q.text = append(q.text, c)
	}
	if q.wanted && digits(q.text) > fifteenDigits {
		q.text = append(append([]byte{'"'}, q.text...), '"')
	}
	_, writeErr := q.out.Write(q.text)
	return errors.Join(err, writeErr)
}

// digits counts the digits of a number from the first that is not zero.
func digits(number []byte) (n int) {
	for _, c := range number {
		switch {
		case c == 'e' || c == 'E':
			return n
		case c >= '1' && c <= '9', c == '0' && n > 0:
			n++
		}
	}
	return n
}
