package ingest

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestReadSheets(t *testing.T) {
	dir := t.TempDir()
	want := []PaperSheet{{Rows: []PaperRow{{Line: 2, Cells: map[string]string{"text": "Größe", "value": "1"}}, {Line: 4, Cells: map[string]string{"text": "a\nb", "value": ""}}}}}
	for name, text := range map[string]string{
		"as it was written":               "\ufefftext,value\nGröße,1\n\n\"a\nb\",\n",
		"with semicolons, in the old way": "Text;Value\r\n Gr\xf6\xdfe ;1\r\n\r\n\"a\nb\";\r\n",
		"with tabs":                       "text\tvalue\nGröße\t1\n\t\n\"a\nb\"\t\n",
	} {
		path := filepath.Join(dir, "a.csv")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := ReadSheets(t.Context(), path)
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("%s: %v %s", name, err, diff)
		}
	}
	path := filepath.Join(workbook(t, "", inline(1, "Text", "Value")+inline(3, "x", "2")), "a.xlsx")
	got, err := ReadSheets(t.Context(), path)
	want = []PaperSheet{{Name: "Notes", Raw: [][]string{{"only"}}}, {Name: "Data", Raw: [][]string{{"", "Text", "Value"}, nil, {"", "x", "2"}},
		Rows: []PaperRow{{Line: 3, Cells: map[string]string{"": "", "text": "x", "value": "2"}}}}}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Error(err, diff)
	}
	path = filepath.Join(workbook(t, "", inline(1, "Text")+`<row r="2"><c r="B2" t="e"><v>#N/A</v></c></row>`), "a.xlsx")
	if _, err := ReadSheets(t.Context(), path); err == nil || !strings.Contains(err.Error(), "sheet Data: cell B2 shows #N/A") {
		t.Error(err)
	}
}
