package ingest

import (
	"fmt"
	"net/url"
	"path/filepath"
	"slices"
	"strings"

	"dvmigrate/duckstage"
)

// pattern makes a path match only itself where DuckDB would read it as a pattern.
var pattern = strings.NewReplacer("*", "[*]", "?", "[?]", "[", "[[]")

// list writes texts as an SQL list.
func list(texts []string) string {
	quoted := make([]string, len(texts))
	for i, t := range texts {
		quoted[i] = duckstage.Quote(t)
	}
	return "[" + strings.Join(quoted, ", ") + "]"
}

func pathList(paths []string) string {
	escaped := make([]string, len(paths))
	for i, p := range paths {
		escaped[i] = pattern.Replace(p)
	}
	return list(escaped)
}

// Names of the connection's temporary tables that read_csv puts refused lines into.
const (
	rejectErrors = "dm_reject_errors"
	rejectScans  = "dm_reject_scans"
)

// readCSV is the table function that reads paths. Every setting is given, so that
// DuckDB guesses nothing.
func (src *Source) readCSV(paths, columns []string, rewritten bool) (string, error) {
	delim, quote, escape, header := src.Delimiter, src.Quote, src.Escape, !src.NoHeader
	if rewritten {
		delim, quote, escape, header = ",", `"`, `"`, false
		columns = slices.Insert(slices.Clone(columns), 0, lineColumn)
	}
	args := []string{
		pathList(paths),
		fmt.Sprintf("header=%v", header),
		"delim=" + duckstage.Quote(delim),
		"quote=" + duckstage.Quote(quote),
		"escape=" + duckstage.Quote(escape),
		"nullstr=" + list(append([]string{""}, src.Null...)),
		"strict_mode=true", "hive_partitioning=false", "null_padding=false", "skip=0", "comment=''",
		"store_rejects=true", "rejects_table=" + duckstage.Quote(rejectErrors), "rejects_scan=" + duckstage.Quote(rejectScans),
		fmt.Sprintf("rejects_limit=%d", src.rejectsLimit()),
	}
	if rewritten { // or it takes the first line end that it sees, in a quoted value too, for all of them
		args = append(args, `new_line='\n'`)
	}
	if src.longLines {
		args = append(args, fmt.Sprintf("max_line_size=%d", maxRecord))
	}
	args = append(args, "auto_detect=false", "columns={"+src.typesOf(columns)+"}")
	if len(paths) > 1 {
		args = append(args, "filename='dm_file'")
	}
	return "read_csv(" + strings.Join(args, ", ") + ")", nil
}

// rejectsLimit is how many refusals of a file DuckDB need record: enough to see that
// there are too many. Zero is no limit.
func (src *Source) rejectsLimit() int {
	if src.MaxBadLines < 0 || src.MaxBadShare > 0 {
		return 0
	}
	// One line may be refused for several columns.
	return 10*src.MaxBadLines + 100
}

// typesOf writes the fields of a struct of types: what is made of its text is text.
func (src *Source) typesOf(columns []string) string {
	fields := make([]string, len(columns))
	for i, c := range columns {
		t := src.declared(c)
		if _, ok := src.format(c); ok || t == "" || readAsText(t) {
			t = "VARCHAR"
		}
		fields[i] = duckstage.Quote(c) + ": " + duckstage.Quote(t)
	}
	return strings.Join(fields, ", ")
}

// partition reads the folders of a path that are named column=value.
func partition(path string) map[string]string {
	found := map[string]string{}
	folders := strings.Split(filepath.ToSlash(path), "/")
	for _, folder := range folders[:len(folders)-1] {
		if key, value, ok := strings.Cut(folder, "="); ok && key != "" {
			if plain, err := url.PathUnescape(value); err == nil {
				value = plain
			}
			found[key] = value
		}
	}
	return found
}

// partitionKeys are the columns that the paths' folders name, in a fixed order.
func partitionKeys(paths []string) []string {
	var keys []string
	for _, p := range paths {
		for key := range partition(p) {
			if !slices.Contains(keys, key) {
				keys = append(keys, key)
			}
		}
	}
	slices.Sort(keys)
	return keys
}
