package appliance

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestMendedFilesOfSpreadsheets: what spreadsheets make of a file by saving it changes no value; a character set in
// which it would is refused.
func TestMendedFilesOfSpreadsheets(t *testing.T) {
	for name, x := range map[string]struct{ text, want string }{
		"as it was written":       {"\ufeffdm_table,legacy_key,dm_flag,name\naccount,007,H,\"Müller, \"\"X\"\"\"\n", `account 2 007 name=Müller, "X"`},
		"semicolons, other order": {"\ufeffname;dm_reason;legacy_key;dm_table\r\n\"a;b\r\nc\";;1;account\r\nd;;2;account\r\n", "account 2 1 name=a;b\nc | 4 2 name=d"},
		"a line that says so":     {"sep=;\r\ndm_table;legacy_key;name\r\naccount;1;a\r\n", "account 3 1 name=a"},
		"lines of empty cells":    {"dm_table,legacy_key,name,\naccount,1,a,\n,,,\naccount,2,b,\n,,,\n", "account 2 1 name=a | 4 2 name=b"},
		"a remark":                {"dm_table,legacy_key,name,dm_remark\naccount,1,a,done\n", "account 2 1 name=a"},
		"another character set":   {"dm_table;legacy_key;name\r\naccount;1;a\r\naccount;2;M\xfcller\r\n", ":3: the file is not in UTF-8"},
		"UTF-16":                  {"\xff\xfed\x00m\x00", ":1: the file is not in UTF-8"},
		"rows of two tables":      {"dm_table,legacy_key,name\naccount,1,a\ncontact,1,a\n", ":3: the row is of \"contact\", those before are of \"account\""},
		"a key twice":             {"sep=,\ndm_table,legacy_key,name\naccount,1,a\naccount,1,a\n", ":4: legacy key '1' stands in line 3 already"},
		"no row":                  {"dm_table,legacy_key,name\n,,\n", "has no row"},
	} {
		path := filepath.Join(t.TempDir(), "f.csv")
		if err := os.WriteFile(path, []byte(x.text), 0o600); err != nil {
			t.Fatal(err)
		}
		f, err := readMended(path)
		if err != nil {
			if !strings.Contains(err.Error(), x.want) {
				t.Errorf("%s: %v, want %s", name, err, x.want)
			}
			continue
		}
		var rows []string
		for _, r := range f.rows {
			var cells []string
			for i, v := range r.values {
				cells = append(cells, f.names[i]+"="+v)
			}
			rows = append(rows, strings.Join(append([]string{lineText(r.line), r.key}, cells...), " "))
		}
		if d := cmp.Diff(x.want, f.table+" "+strings.Join(rows, " | ")); d != "" {
			t.Errorf("%s: %s", name, d)
		}
	}
}

func lineText(n int) string { return string(rune('0' + n)) }
