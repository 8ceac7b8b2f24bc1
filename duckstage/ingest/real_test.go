package ingest

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// sharedData finds the folder of real files: DVMIGRATE_SHARED, or a folder shared beside
// one of this folder's parents. The test is skipped where there is none.
func sharedData(t *testing.T) string {
	t.Helper()
	if dir := os.Getenv("DVMIGRATE_SHARED"); dir != "" {
		return filepath.Join(dir, "data", "adventureworks")
	}
	dir, err := filepath.Abs(".")
	if err != nil {
		t.Fatal(err)
	}
	for ; filepath.Dir(dir) != dir; dir = filepath.Dir(dir) {
		if data := filepath.Join(dir, "shared", "data", "adventureworks"); isDir(data) {
			return data
		}
	}
	t.Skip("no shared data")
	return ""
}

func isDir(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

// columnsOf reads the names of a file's columns from COLUMNS.md.
func columnsOf(t *testing.T, dir, file string) []string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, "COLUMNS.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, ok := strings.Cut(string(text), "- "+file+" (")
	_, rest, ok2 := strings.Cut(rest, "): ")
	if !ok || !ok2 {
		t.Fatalf("%s is not in COLUMNS.md", file)
	}
	line, _, _ := strings.Cut(rest, "\n")
	var names []string
	for part := range strings.SplitSeq(strings.ReplaceAll(line, "decimal(8, 2)", "decimal"), ", ") {
		name, _, _ := strings.Cut(part, " ")
		names = append(names, name)
	}
	return names
}

func TestRealFiles(t *testing.T) {
	t.Parallel()
	dir := sharedData(t)
	for _, c := range []struct {
		file  string
		bulk  bool // "+|" between columns and "&|" at line ends
		rows  int64
		check string
		want  string
	}{
		{"EmailAddress.csv", true, 19972, "SELECT count(DISTINCT EmailAddressID), min(EmailAddress) FROM source.EmailAddress", "19972|a0@adventure-works.com"},
		{"Store.csv", true, 701, "SELECT count(*) FROM source.Store WHERE starts_with(Demographics, '<StoreSurvey') AND ends_with(Demographics, '</StoreSurvey>') AND length(rowguid) = 36", "701"},
		{"PersonPhone.csv", true, 19972, "SELECT count(*) FROM source.PersonPhone WHERE TRY_CAST(ModifiedDate AS TIMESTAMP) IS NULL", "0"},
		{"Address.csv", false, 19614, "SELECT count(*) FROM source.Address WHERE length(rowguid) <> 36 OR TRY_CAST(ModifiedDate AS TIMESTAMP) IS NULL", "0"},
		{"CountryRegion.csv", false, 238, "SELECT Name FROM source.CountryRegion WHERE CountryRegionCode = 'CI'", "Côte d'Ivoire"},
		{"Employee.csv", false, 290, "SELECT LoginID FROM source.Employee WHERE BusinessEntityID = '1'", `adventure-works\ken0`},
		{"Product.csv", false, 504, "SELECT count(*) FROM source.Product WHERE TRY_CAST(ListPrice AS DECIMAL(10,2)) IS NULL", "0"},
	} {
		t.Run(c.file, func(t *testing.T) {
			s := newStage(t)
			src := Source{Name: strings.TrimSuffix(c.file, ".csv"), Dir: dir, Paths: []string{c.file}, Quote: NoQuote, NoHeader: true, Delimiter: "tab", Columns: columnsOf(t, dir, c.file)}
			if c.bulk {
				src.Delimiter, src.RowEnd = "+|", "&|"
			}
			if res := ingest(t, s, src); res.Rows != c.rows || res.Rejected != 0 {
				t.Errorf("result = %+v, want %d rows", res, c.rows)
			}
			if got := table(t, s, c.check); len(got) != 1 || got[0] != c.want {
				t.Errorf("%s = %q, want %q", c.check, got, c.want)
			}
		})
	}
}
