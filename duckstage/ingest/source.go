package ingest

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Formats of a source.
const (
	CSV     = "csv" // any delimited text
	XLSX    = "xlsx"
	CMT     = "cmt" // a package of the Configuration Migration Tool: data.xml and data_schema.xml in a zip
	Parquet = "parquet"
	JSON    = "json"
	NDJSON  = "ndjson"
)

// NoQuote as Source.Quote says that quotation marks are ordinary characters.
const NoQuote = "none"

// Source is where rows come from. Only Name and Paths are required.
type Source struct {
	Name   string
	Dir    string   // what relative paths start from
	Paths  []string // files or patterns (filepath.Glob); every one must match something
	Format string   // CSV, Parquet, JSON or NDJSON; by the first file's extension when empty

	// Of delimited text.
	Delimiter string // one to many characters; comma, or tab for .tsv, when empty
	Quote     string // one character or NoQuote; '"' when empty
	Escape    string // one character; the quote itself when empty
	NoHeader  bool   // the first line is data; Columns names the columns
	Columns   []string
	Encoding  string   // IANA name; UTF-8 when empty
	Null      []string // texts that mean null, beside the empty one
	RowEnd    string   // what ends a row when it is not a line end, such as "&|"

	longLines  bool // lines may be as long as maxRecord
	sepLine    bool // the first line is Excel's, such as sep=;
	longHeader bool // a name in the header has a line end, as Excel's cells may: DuckDB reads no row then

	// Types are SQL types of columns that are not to stay text; a line with a value that
	// does not fit is set aside. AutoTypes lets DuckDB guess the others from a sample.
	Types     map[string]string
	AutoTypes bool

	// Formats say how the text of columns is written that are to have a type.
	Formats map[string]Format

	Feed      Feed      // it delivers changes alone
	Partition bool      // folders named column=value are columns
	Sheet     Sheet     // of a spreadsheet
	Database  *Database // rows come from a database instead of files
	Dataverse *Dataverse

	Masks   map[string]Mask // by column; of a package in every table
	MaskKey []byte          // of at least mask.MinKey bytes

	// MaxBadShare, if not zero, is the share of all lines that may be set aside, and
	// MaxBadLines does not count.
	MaxBadShare float64
	// MaxBadLines is how many lines may be set aside; below zero: any number.
	MaxBadLines int
}

// Result is what an ingest has done.
type Result struct {
	Rows     int64
	Rejected int64 // lines set aside
	Bytes    int64 // of the files as they are on disk
	Files    []string
	Seconds  float64

	Relations []Relation // of a source that has several, or one that is not a file
	Resumed   int64      // parts that an interrupted run had read already
	Notes     []string   // what the user should know of how it was read
}

// Relation is what was read into one table of schema source.
type Relation struct {
	Name     string
	Rows     int64
	Rejected int64
}

// BadLine is a line that was set aside.
type BadLine struct {
	File    string
	Line    int64 // from 1; of the first line when the row has several
	Column  string
	Message string
	Text    string
}

func (b BadLine) String() string {
	if b.Line == 0 {
		return b.File + ": " + b.Message
	}
	return fmt.Sprintf("%s line %d: %s", b.File, b.Line, b.Message)
}

// BadLinesError says that more lines were unreadable than the source allows.
type BadLinesError struct {
	Source string
	Count  int64
	Max    int
	Share  float64   // allowed share of Rows, instead of Max; 0: none was stated
	Rows   int64     // with the bad ones
	First  []BadLine // up to five
}

func (e *BadLinesError) Error() string {
	var b strings.Builder
	if e.Share > 0 {
		fmt.Fprintf(&b, "source %s: %d of %d lines (%.3g %%) cannot be read, %.3g %% are allowed", e.Source, e.Count, e.Rows, 100*float64(e.Count)/float64(e.Rows), 100*e.Share)
	} else {
		fmt.Fprintf(&b, "source %s: %d lines cannot be read, %d are allowed", e.Source, e.Count, e.Max)
	}
	for _, line := range e.First {
		b.WriteString("\n  " + line.String())
	}
	return b.String()
}

// input is a file of the source.
type input struct {
	path  string
	shown string // as the user knows it
	size  int64
	mtime time.Time
}

// inputs resolves the source's paths, sorted and without repetitions.
func (src *Source) inputs() ([]input, error) {
	var found []string
	for _, p := range src.Paths {
		if !filepath.IsAbs(p) {
			p = filepath.Join(src.Dir, p)
		}
		matches := []string{p}
		if _, err := os.Stat(p); errors.Is(err, fs.ErrNotExist) {
			if matches, err = filepath.Glob(p); err != nil {
				return nil, fmt.Errorf("path %s: %w", p, err)
			}
			if len(matches) == 0 {
				return nil, fmt.Errorf("%w %s", errNoFile, p)
			}
		}
		found = append(found, matches...)
	}
	if len(found) == 0 {
		return nil, errors.New("no path is given")
	}
	slices.Sort(found)
	found = slices.Compact(found)
	inputs := make([]input, len(found))
	for i, p := range found {
		info, err := os.Stat(p)
		if err != nil {
			return nil, err
		}
		if !info.Mode().IsRegular() {
			return nil, fmt.Errorf("%s is not a file", p)
		}
		inputs[i] = input{path: p, shown: src.shown(p), size: info.Size(), mtime: info.ModTime()}
	}
	return inputs, nil
}

// shown is a path relative to the project, where it lies in it.
func (src *Source) shown(path string) string {
	if rel, err := filepath.Rel(src.Dir, path); src.Dir != "" && err == nil && filepath.IsLocal(rel) {
		return filepath.ToSlash(rel)
	}
	return path
}

// normalize fills the defaults in and checks what can be checked without a file.
func (src Source) normalize(first string) (Source, error) {
	if src.Name == "" || strings.HasPrefix(strings.ToLower(src.Name), "dm_") {
		return src, fmt.Errorf("a source cannot be called %q", src.Name)
	}
	if !src.fromFiles() {
		return src, src.checkSupply()
	}
	ext := filepath.Ext(unpackedName(first))
	if src.Format == "" {
		switch ext {
		case ".parquet", ".pq":
			src.Format = Parquet
		case ".json":
			src.Format = JSON
		case ".ndjson", ".jsonl":
			src.Format = NDJSON
		case ".xlsx", ".xlsm":
			src.Format = XLSX
		default:
			src.Format = CSV
		}
	}
	switch src.Format {
	case CSV:
		return src.normalizeText(ext)
	case Parquet, JSON, NDJSON, XLSX, CMT:
		return src, nil
	}
	return src, fmt.Errorf("format %q is not known: csv, parquet, json, ndjson, xlsx or cmt", src.Format)
}

// fromFiles reports whether the source has files.
func (src *Source) fromFiles() bool { return src.Database == nil && src.Dataverse == nil }

// supplied reports whether the source's rows are read in Go.
func (src *Source) supplied() bool {
	return !src.fromFiles() || src.Format == XLSX || src.Format == CMT
}

// unpackedName is a file's name in small letters without the ending of its packing.
func unpackedName(path string) string {
	name := strings.ToLower(path)
	return strings.TrimSuffix(strings.TrimSuffix(name, ".gz"), ".zst")
}

func (src Source) normalizeText(ext string) (Source, error) {
	switch src.Delimiter {
	case "":
		src.Delimiter = ","
		if ext == ".tsv" {
			src.Delimiter = "\t"
		}
	case "tab", `\t`:
		src.Delimiter = "\t"
	}
	switch src.Quote {
	case "":
		src.Quote = `"`
	case NoQuote:
		src.Quote = ""
	}
	if src.Escape == "" || src.Quote == "" {
		src.Escape = src.Quote
	}
	if len(src.Quote) > 1 || len(src.Escape) > 1 {
		return src, errors.New("quote and escape must be one character each")
	}
	if src.NoHeader && len(src.Columns) == 0 {
		return src, errors.New("it has no header, so its columns must be listed")
	}
	if strings.ContainsAny(src.Delimiter, "\r\n") {
		return src, errors.New("the delimiter must not contain a line end")
	}
	src.RowEnd = strings.TrimRight(src.RowEnd, "\r\n")
	return src, nil
}

// rewritten reports whether the files must be rewritten before DuckDB can read them: it
// knows line ends only, delimiters of four bytes, and of encodings nothing that can be
// relied on but UTF-8 (its UTF-16 is little-endian, its Latin-1 without the upper controls).
func (src *Source) rewritten() bool {
	return src.RowEnd != "" || len(src.Delimiter) > 4 || !isUTF8(src.Encoding) || src.sepLine || src.longHeader
}
