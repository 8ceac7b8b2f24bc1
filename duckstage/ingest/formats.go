package ingest

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"dvmigrate/duckstage"
)

// isJSON reports whether the files are JSON of either form.
func (src *Source) isJSON() bool { return src.Format == JSON || src.Format == NDJSON }

// readOther is the table function for formats that bring their own types. All of a JSON
// file is looked at for its columns and their types: a sample would miss a key, or a text
// among numbers, that comes late. Where shape says what they are they are not looked for.
func (src *Source) readOther(paths []string, shape string) string {
	args := pathList(paths) + ", hive_partitioning=false, union_by_name=true"
	if len(paths) > 1 {
		args += ", filename='dm_file'"
	}
	switch src.Format {
	case Parquet:
		return "read_parquet(" + args + ")"
	case NDJSON:
		args += ", format='newline_delimited'"
	default:
		args += ", format='auto'"
	}
	if shape == "" {
		shape = fmt.Sprintf("sample_size=-1, maximum_sample_files=%d, %s", len(paths)+1, noDates)
	}
	return fmt.Sprintf("read_json(%s, %s, maximum_object_size=%d)", args, shape, maxRecord)
}

// loadOther fills the table from files that bring their own types.
func (r *run) loadOther(ctx context.Context, stage *duckstage.Stage, c *duckstage.Conn, paths []string) (int64, error) {
	dir, err := stage.Scratch()
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir)
	given := paths
	typed, shape, paths, err := r.ownTypes(ctx, c, dir, paths)
	if err != nil {
		return 0, r.explainFile(err)
	}
	list, bad := typed.selection(r.extras(paths, false)...)
	b := built{name: r.src.Name, table: r.building()}
	err = r.makeTyped(ctx, c, &b, list, bad, r.src.readOther(paths, shape.sql()), true)
	if err != nil && r.src.Format == NDJSON && !r.oneKey && twiceJSON.MatchString(err.Error()) {
		r.oneKey, r.bad, r.badCount = true, nil, 0 // of these lines DuckDB tells the first, and ends
		return r.loadOther(ctx, stage, c, given)
	}
	again := false
	if err == nil {
		again, err = r.longNumbers(ctx, c, "dm."+duckstage.Ident(b.table), shape, paths)
	}
	if err != nil {
		return 0, r.explainFile(err)
	}
	if again {
		r.bad, r.badCount = nil, 0
		return r.loadOther(ctx, stage, c, given)
	}
	r.bad, r.badCount = append(r.bad, b.bad...), r.badCount+b.rejected
	if b.rows == 1 && len(paths) == 1 {
		r.noteList(shape)
	}
	return b.rows, r.tooMany(b.rows)
}

// noteList says of a single record that it has a list of what the records may be, as the answers of
// many services have.
func (r *run) noteList(shape jsonShape) {
	for _, col := range shape {
		if strings.HasPrefix(col.typ, "STRUCT(") && strings.HasSuffix(col.typ, ")[]") {
			r.notes = append(r.notes, fmt.Sprintf("it has one record, with a list in %s; are those its records? In SQL: SELECT unnest(%[1]s, recursive := true) FROM %[2]s", duckstage.Ident(col.name), r.src.Name))
		}
	}
}

// ownTypes finds the columns of the files. JSON that DuckDB cannot read as it is, because of
// its encoding or of some lines, is copied first; the copies are then what is to be read.
func (r *run) ownTypes(ctx context.Context, c *duckstage.Conn, dir string, paths []string) (typedList, jsonShape, []string, error) {
	if err := r.sameColumns(ctx, c, paths); err != nil {
		return nil, nil, nil, err
	}
	marked, err := r.markedJSON()
	if err != nil {
		return nil, nil, nil, err
	}
	var infos []duckstage.ColumnInfo
	if !marked {
		infos, err = r.describe(ctx, c, paths)
	}
	if marked || r.oneKey || err != nil && r.src.Format == NDJSON && badJSON.MatchString(err.Error()) {
		copies := make([]string, len(paths))
		for i, in := range r.inputs {
			if copies[i], err = r.copyJSON(ctx, dir, i, in); err != nil {
				return nil, nil, nil, fmt.Errorf("%s: %w", in.shown, err)
			}
		}
		paths = copies
		infos, err = r.describe(ctx, c, paths)
	}
	if err != nil {
		return nil, nil, nil, err
	}
	shape, err := r.jsonShape(ctx, c, infos, paths)
	if err != nil {
		return nil, nil, nil, err
	}
	if long := r.roundable(infos, shape); len(long) > 0 {
		if paths, err = r.exactNumbers(ctx, dir, paths, long); err != nil {
			return nil, nil, nil, err
		}
	}
	fields := r.src.ownFields(infos, shape, len(paths) > 1)
	names := make([]string, len(fields))
	for i, f := range fields {
		names[i] = f.name
	}
	if err := errors.Join(checkNames(names), r.src.knownMasks(names), r.src.freePartition(names, r.inputs)); err != nil {
		return nil, nil, nil, err
	}
	typed, err := r.src.typedFields(fields)
	return typed, shape, paths, err
}

// sameKeys is DuckDB's refusal of an object within a record that has keys that differ in case alone.
var sameKeys = regexp.MustCompile(`Duplicate name "(.*)" in struct auto-detected in JSON`)

// describe finds the columns that DuckDB finds. Where it cannot say what objects have within, the
// columns are JSON, and so texts.
func (r *run) describe(ctx context.Context, c *duckstage.Conn, paths []string) ([]duckstage.ColumnInfo, error) {
	infos, err := c.Describe(ctx, "SELECT * FROM "+r.src.readOther(paths, ""))
	if err == nil {
		return infos, nil
	}
	m := sameKeys.FindStringSubmatch(err.Error())
	if m == nil {
		return nil, err
	}
	note := fmt.Sprintf("objects within its records have keys that differ from %s in case alone, so all values are texts; `types` may say more, and an object is read by ->>'key'", m[1])
	if !slices.Contains(r.notes, note) {
		r.notes = append(r.notes, note)
	}
	return c.Describe(ctx, "SELECT * FROM "+r.src.readOther(paths, fmt.Sprintf("sample_size=-1, maximum_sample_files=%d, maximum_depth=1", len(paths)+1)))
}

// markedJSON reports whether a file is JSON in another encoding than plain UTF-8: DuckDB
// takes the mark of UTF-8 for a value.
func (r *run) markedJSON() (bool, error) {
	if !r.src.isJSON() || !isUTF8(r.src.Encoding) {
		return r.src.isJSON(), nil
	}
	for _, in := range r.inputs {
		f, err := openRaw(in.path)
		if err != nil {
			return false, err
		}
		mark := make([]byte, 3)
		n, err := io.ReadFull(f, mark)
		f.Close()
		if n == 3 && string(mark) == "\xEF\xBB\xBF" {
			return true, nil
		}
		if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
			return false, fmt.Errorf("%s: read first bytes: %w", in.shown, err)
		}
	}
	return false, nil
}

// previewOther makes the table with the columns that the files bring, and no rows.
func (r *run) previewOther(ctx context.Context, stage *duckstage.Stage) error {
	dir, err := stage.Scratch()
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	paths := make([]string, len(r.inputs))
	for i, in := range r.inputs {
		paths[i] = in.path
	}
	err = stage.With(ctx, func(c *duckstage.Conn) error {
		typed, shape, paths, err := r.ownTypes(ctx, c, dir, paths)
		if err != nil {
			return err
		}
		if again, err := r.longNumbers(ctx, c, "", shape, paths); err != nil || again {
			if err == nil {
				typed, shape, paths, err = r.ownTypes(ctx, c, dir, paths)
			}
			if err != nil {
				return err
			}
		}
		list, _ := typed.selection(append(r.extras(paths, false), "NULL::VARCHAR AS dm_source")...)
		_, err = c.Exec(ctx, "CREATE OR REPLACE TABLE source."+duckstage.Ident(r.src.Name)+" AS SELECT "+list+" FROM "+r.src.readOther(paths, shape.sql())+" LIMIT 0")
		return err
	})
	if err != nil {
		return r.explainFile(err)
	}
	return r.previewMasks(ctx, stage, r.src.Name)
}

// ownFields are the columns that files bring. Where some values of a JSON column are texts
// and some are not, each is its text: as JSON a text would keep its quotes.
func (src *Source) ownFields(infos []duckstage.ColumnInfo, shape jsonShape, several bool) []field {
	var fields []field
	for _, info := range infos {
		if info.Name == "dm_file" && several {
			continue
		}
		f := field{name: info.Name, stored: info.SQLType, typ: info.SQLType}
		if col, ok := shape.of(info.Name); ok {
			f.stored, f.typ = col.typ, col.made()
		}
		if src.isJSON() && f.stored == "JSON" {
			f.typ, f.expr = "VARCHAR", "%s->>'$'"
		}
		fields = append(fields, f)
	}
	return fields
}

// freePartition refuses a column that the folders' names have, too.
func (src *Source) freePartition(names []string, inputs []input) error {
	if !src.Partition {
		return nil
	}
	shown := make([]string, len(inputs))
	for i, in := range inputs {
		shown[i] = in.shown
	}
	for _, key := range partitionKeys(shown) {
		if slices.ContainsFunc(names, func(n string) bool { return strings.EqualFold(n, key) }) {
			return fmt.Errorf("the files have a column %s, and so have the folders' names: leave partition out", key)
		}
	}
	return nil
}

// sameColumns refuses Parquet files of one source that have not the same columns.
func (r *run) sameColumns(ctx context.Context, c *duckstage.Conn, paths []string) error {
	if r.src.Format != Parquet {
		return nil
	}
	var first []string
	for i, path := range paths {
		infos, err := c.Describe(ctx, "SELECT * FROM read_parquet("+pathList([]string{path})+", hive_partitioning=false)")
		if err != nil {
			var e *duckstage.SQLError
			if errors.As(err, &e) {
				return fmt.Errorf("%s is no Parquet file, or not a whole one: %s", r.inputs[i].shown, r.shownPaths(e.Message))
			}
			return err
		}
		var names []string
		for _, info := range infos {
			names = append(names, strings.ToLower(info.Name))
		}
		slices.Sort(names)
		if first == nil {
			first = names
		}
		for _, name := range first {
			if !slices.Contains(names, name) {
				return fmt.Errorf("%s has no column %q, which %s has: files of one source have the same columns", r.inputs[i].shown, name, r.inputs[0].shown)
			}
		}
		for _, name := range names {
			if !slices.Contains(first, name) {
				return fmt.Errorf("%s has a column %q, which %s has not: files of one source have the same columns", r.inputs[i].shown, name, r.inputs[0].shown)
			}
		}
	}
	return nil
}

// badJSON is DuckDB's refusal of a text that is no JSON.
var badJSON = regexp.MustCompile(`Malformed JSON in file "([^"]*)", at byte (\d+) in (?:line|record/value) (\d+): (.*?)\.?\s*$`)

// explainFile says what DuckDB says of a file in our words.
func (r *run) explainFile(err error) error {
	if err == nil {
		return nil
	}
	var e *duckstage.SQLError
	if !errors.As(err, &e) {
		return err
	}
	if m := badJSON.FindStringSubmatch(e.Message); m != nil {
		return fmt.Errorf("%s: record %s is no JSON: %s: is the file whole? A list of objects is expected, or one object a line", r.shownPaths(m[1]), m[3], m[4])
	}
	text, _, _ := strings.Cut(r.shownPaths(e.Message), " (Try increasing")
	return errors.New(text)
}

// shownPaths puts the files' names as the user knows them into a message.
func (r *run) shownPaths(message string) string {
	for _, in := range r.inputs {
		message = strings.ReplaceAll(message, in.path, in.shown)
	}
	return message
}

// copyJSON copies a file into one that DuckDB reads: UTF-8 without a mark. Of one object a
// line, those that are none are set aside.
func (r *run) copyJSON(ctx context.Context, dir string, number int, in input) (string, error) {
	from, err := openText(in.path, r.src.Encoding)
	if err != nil {
		return "", err
	}
	defer from.Close()
	path := filepath.Join(dir, strconv.Itoa(number)+".json")
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return "", err
	}
	defer f.Close()
	out := bufio.NewWriterSize(f, 1<<20)
	if r.src.Format == JSON {
		_, err = io.Copy(out, from)
	} else {
		err = r.copyLines(ctx, in, from, out)
	}
	return path, errors.Join(err, out.Flush(), f.Close())
}

func (r *run) copyLines(ctx context.Context, in input, from io.Reader, out *bufio.Writer) error {
	lines := bufio.NewScanner(from)
	lines.Buffer(make([]byte, 1<<16), maxRecord)
	for n := int64(1); lines.Scan(); n++ {
		if n&0xFFF == 0 && ctx.Err() != nil {
			return context.Cause(ctx)
		}
		line := bytes.TrimSpace(lines.Bytes())
		why := ""
		switch {
		case len(line) == 0:
			continue
		case !utf8.Valid(line):
			why = "the line is not " + encodingName(r.src.Encoding) + ": set the encoding"
		case !json.Valid(line):
			why = "the line is no JSON: " + jsonFault(line)
		case line[0] != '{':
			why = "the line is no JSON object"
		case r.oneKey:
			if key := twiceKey(line); key != "" {
				why = fmt.Sprintf("an object of the line has the key %q twice", key)
			}
		}
		if why != "" {
			r.badCount++
			if len(r.bad) < maxKept {
				bad := BadLine{File: in.shown, Line: n, Message: why, Text: strings.ToValidUTF8(string(line[:min(len(line), 1000)]), "\uFFFD")}
				bad.Text = r.src.hide(bad).Text
				r.bad = append(r.bad, bad)
			}
			continue
		}
		if _, err := out.Write(line); err != nil {
			return err
		}
		if err := out.WriteByte('\n'); err != nil {
			return err
		}
	}
	return lines.Err()
}

// twiceJSON recognises DuckDB's refusal of an object that has a key twice.
var twiceJSON = regexp.MustCompile(`JSON transform error .* has duplicate key `)

// twiceKey is a key that an object of the line has twice; "" when there is none.
func twiceKey(line []byte) string {
	type level struct {
		keys  map[string]bool // nil: a list
		value bool            // what comes next is a value
	}
	var levels []level
	for d := json.NewDecoder(bytes.NewReader(line)); ; {
		token, err := d.Token()
		if err != nil {
			return ""
		}
		top := len(levels) - 1
		switch {
		case token == json.Delim('}') || token == json.Delim(']'):
			levels = levels[:top]
			continue
		case top >= 0 && levels[top].keys != nil && !levels[top].value:
			key := token.(string)
			if levels[top].keys[key] {
				return key
			}
			levels[top].keys[key], levels[top].value = true, true
			continue
		case top >= 0:
			levels[top].value = false
		}
		switch token {
		case json.Delim('{'):
			levels = append(levels, level{keys: map[string]bool{}})
		case json.Delim('['):
			levels = append(levels, level{})
		}
	}
}

// jsonFault says what is wrong with a line.
func jsonFault(line []byte) string {
	var into json.RawMessage
	err := json.Unmarshal(line, &into)
	var e *json.SyntaxError
	if errors.As(err, &e) {
		return fmt.Sprintf("%v, at byte %d", e, e.Offset)
	}
	return fmt.Sprint(err)
}
