package sample

import (
	"encoding/csv"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// data is a project's sources as read back, by file name without path and ending;
// the parts of the contacts are put together.
type data map[string][]map[string]string

// readTable reads a file with a header. Lines with a wrong number of fields are
// counted and left out.
func readTable(t *testing.T, name string, sep rune, windows bool) (rows []map[string]string, bad int) {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if windows {
		b = fromWindows1252(t, b)
	}
	r := csv.NewReader(strings.NewReader(string(b)))
	r.Comma, r.FieldsPerRecord = sep, -1
	lines, err := r.ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range lines[1:] {
		if len(line) != len(lines[0]) {
			bad++
			continue
		}
		row := map[string]string{}
		for i, column := range lines[0] {
			row[column] = line[i]
		}
		rows = append(rows, row)
	}
	return rows, bad
}

func fromWindows1252(t *testing.T, b []byte) []byte {
	t.Helper()
	back := map[byte]rune{}
	for r, c := range windows1252 {
		back[c] = r
	}
	var out []byte
	for _, c := range b {
		r := rune(c)
		if c >= 0x80 && c < 0xa0 || c == 0 {
			if r = back[c]; r == 0 {
				t.Fatalf("byte %#x is no character of the sample", c)
			}
		}
		out = append(out, string(r)...)
	}
	return out
}

func readMap(t *testing.T, dir, name string) []map[string]string {
	rows, bad := readTable(t, filepath.Join(dir, "maps", name+".csv"), ',', false)
	if bad > 0 {
		t.Errorf("maps/%s.csv has %d bad lines", name, bad)
	}
	return rows
}

func readSources(t *testing.T, dir string, s Summary) data {
	t.Helper()
	d := data{}
	for path, lines := range s.Sources {
		name := filepath.Base(path)
		file := filepath.Join(dir, filepath.FromSlash(path))
		stem := strings.TrimSuffix(strings.TrimSuffix(name, filepath.Ext(name)), "-1")
		stem = strings.TrimSuffix(stem, "-2")
		if strings.HasSuffix(name, ".ndjson") {
			d[stem] = readTasks(t, file)
			continue
		}
		sep := map[string]rune{"CUST.csv": ';', "deals.csv": ';', "machines.tsv": '\t'}[name]
		if sep == 0 {
			sep = ','
		}
		rows, bad := readTable(t, file, sep, name == "CUST.csv")
		if len(rows)+bad != lines {
			t.Errorf("%s has %d lines, the summary says %d", path, len(rows)+bad, lines)
		}
		if want := map[bool]int{true: s.Faults[BadLine]}[name == "leads.csv"]; bad != want {
			t.Errorf("%s has %d bad lines, want %d", path, bad, want)
		}
		d[stem] = append(d[stem], rows...)
	}
	return d
}

func readTasks(t *testing.T, name string) (rows []map[string]string) {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		var values map[string]any
		if err := json.Unmarshal([]byte(line), &values); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		row := map[string]string{}
		for k, v := range values {
			switch v := v.(type) {
			case string:
				row[k] = v
			case float64:
				row[k] = strconv.Itoa(int(v))
			}
		}
		rows = append(rows, row)
	}
	return rows
}

// keys are the names of the key columns, by source.
var keys = map[string]string{"CUST": "KDNR", "contacts": "PersonNo", "leads": "LeadNo", "deals": "DealNo", "articles": "ArtNo", "machines": "MachineNo", "activities": "id"}

// refs are the columns that point to a row of another source. A kind column, where
// there is one, must have the value is.
var refs = []struct{ from, column, kind, is, to string }{
	{from: "CUST", column: "KONZERN", to: "CUST"},
	{from: "CUST", column: "HAUPTKONTAKT", to: "contacts"},
	{from: "contacts", column: "CompanyNo", to: "CUST"},
	{from: "contacts", column: "ReportsTo", to: "contacts"},
	{from: "leads", column: "CustomerNo", to: "CUST"},
	{from: "leads", column: "PersonNo", to: "contacts"},
	{from: "deals", column: "CompanyNo", to: "CUST"},
	{from: "deals", column: "PersonNo", to: "contacts"},
	{from: "deals", column: "LeadNo", to: "leads"},
	{from: "machines", column: "HolderNo", kind: "HolderKind", is: "C", to: "CUST"},
	{from: "machines", column: "HolderNo", kind: "HolderKind", is: "P", to: "contacts"},
	{from: "machines", column: "PartOf", to: "machines"},
	{from: "machines", column: "ArtNo", to: "articles"},
	{from: "activities", column: "about_no", kind: "about", is: "company", to: "CUST"},
	{from: "activities", column: "about_no", kind: "about", is: "person", to: "contacts"},
	{from: "activities", column: "about_no", kind: "about", is: "deal", to: "deals"},
	{from: "person_leads", column: "PersonNo", to: "contacts"},
	{from: "person_leads", column: "LeadNo", to: "leads"},
	{from: "machine_operators", column: "MachineNo", to: "machines"},
	{from: "machine_operators", column: "PersonNo", to: "contacts"},
}

func TestTheDataAreRightButForTheFaultsCounted(t *testing.T) {
	for _, o := range []Options{{Records: 50}, {Records: 50, Faults: 5}, {Records: 333, Faults: 33}, {Records: 4000, Seed: 9}, {Records: 20000, Faults: 1000, Seed: 1}, {Records: 20000, Faults: 2000, Seed: 2}} {
		t.Run(strconv.Itoa(o.Records)+" records, "+strconv.Itoa(o.Faults)+" faults", func(t *testing.T) {
			dir, s := mustWrite(t, o)
			d := readSources(t, dir, s)
			byKey := checkKeys(t, d)
			wrong := checkValues(t, dir, d, s)
			checkRefs(t, d, s, byKey, wrong)
			checkCircles(t, d["CUST"], "KDNR", "KONZERN")
			checkCircles(t, d["contacts"], "PersonNo", "ReportsTo")
			checkCircles(t, d["machines"], "MachineNo", "PartOf")
		})
	}
}

func checkKeys(t *testing.T, d data) map[string]map[string]map[string]string {
	t.Helper()
	byKey := map[string]map[string]map[string]string{}
	for source, column := range keys {
		byKey[source] = map[string]map[string]string{}
		for _, row := range d[source] {
			if k := row[column]; k == "" || byKey[source][k] != nil {
				t.Errorf("%s: key %q is empty or there twice", source, k)
			}
			byKey[source][row[column]] = row
		}
	}
	for _, link := range []string{"person_leads", "machine_operators"} {
		seen := map[string]bool{}
		for _, row := range d[link] {
			k := row["MachineNo"] + "/" + row["PersonNo"] + "/" + row["LeadNo"]
			if seen[k] {
				t.Errorf("%s: %s is there twice", link, k)
			}
			seen[k] = true
		}
	}
	return byKey
}

// checkValues counts the wrong values of each kind and returns the rows that must
// not be pointed to, as source/key.
func checkValues(t *testing.T, dir string, d data, s Summary) map[string]bool {
	t.Helper()
	wrong, counts := map[string]bool{}, map[string]int{}
	note := func(kind, source string, row map[string]string) {
		counts[kind]++
		wrong[source+"/"+row[keys[source]]] = true
	}
	known := func(name, column string) func(string) bool {
		var values []string
		for _, row := range readMap(t, dir, name) {
			values = append(values, row[column])
		}
		return func(v string) bool { return v == "" || slices.Contains(values, v) }
	}
	branch, region, iso, login := known("industry", "text"), known("region", "code"), known("currency", "iso"), known("user", "login")
	for _, row := range d["CUST"] {
		if len([]rune(strings.TrimSpace(row["FIRMA"]+" "+row["FIRMA2"]))) > 160 {
			note(TooLong, "CUST", row)
		}
		if !branch(row["BRANCHE"]) {
			note(BadOption, "CUST", row)
		}
		if !region(row["REGION"]) || !iso(row["WHG"]) || !login(row["BETREUER"]) || german(row["UMSATZ"]) != nil || german(row["KREDITLIMIT"]) != nil {
			t.Errorf("company %v", row)
		}
		mustParse(t, "02.01.2006 15:04", row["ANGELEGT"])
	}
	for _, row := range d["contacts"] {
		if b := row["BirthDate"]; b != "" && b < "1753" {
			note(EarlyDate, "contacts", row)
		} else if b != "" {
			mustParse(t, time.DateOnly, b)
		}
		if row["CompanyNo"] != "" && d.company(row["CompanyNo"]) == nil {
			wrong["contacts/"+row["PersonNo"]] = true
		}
		mustParse(t, time.RFC3339, row["Created"])
	}
	for _, row := range d["deals"] {
		if german(row["Value"]) != nil {
			note(BadNumber, "deals", row)
		}
		mustParse(t, "02.01.2006", row["ExpectedClose"])
	}
	for _, row := range d["activities"] {
		if _, err := time.Parse(time.RFC3339, row["due"]); err != nil {
			note(BadDate, "activities", row)
		}
	}
	for i, row := range d["machines"] {
		if i > 0 && row["Serial"] == d["machines"][i-1]["Serial"] {
			note(DuplicateKey, "machines", row)
			wrong["machines/"+d["machines"][i-1]["MachineNo"]] = true
		}
	}
	for _, kind := range []string{TooLong, BadOption, EarlyDate, BadNumber, BadDate, DuplicateKey} {
		if counts[kind] != s.Faults[kind] {
			t.Errorf("%d faults of kind %s, the summary says %d", counts[kind], kind, s.Faults[kind])
		}
	}
	return wrong
}

// company finds a company by its number, which is its place in the file.
func (d data) company(key string) map[string]string {
	if n, err := strconv.Atoi(key); err == nil && n > 0 && n <= len(d["CUST"]) {
		return d["CUST"][n-1]
	}
	return nil
}

func german(text string) error {
	_, err := strconv.ParseFloat(strings.ReplaceAll(strings.ReplaceAll(text, ".", ""), ",", "."), 64)
	return err
}

func mustParse(t *testing.T, layout, text string) {
	t.Helper()
	if _, err := time.Parse(layout, text); err != nil {
		t.Error(err)
	}
}

func checkRefs(t *testing.T, d data, s Summary, byKey map[string]map[string]map[string]string, wrong map[string]bool) {
	t.Helper()
	orphans := 0
	for _, ref := range refs {
		used := 0
		for _, row := range d[ref.from] {
			key := row[ref.column]
			if key == "" || ref.kind != "" && row[ref.kind] != ref.is {
				continue
			}
			used++
			switch {
			case byKey[ref.to][key] != nil:
				if wrong[ref.to+"/"+key] {
					t.Errorf("%s.%s points to %s, which is wrong on purpose", ref.from, ref.column, key)
				}
			case ref.from == "contacts" && ref.column == "CompanyNo":
				orphans++
			default:
				t.Errorf("%s.%s points to %s, which is not there", ref.from, ref.column, key)
			}
		}
		if used == 0 && s.Records >= 2000 {
			t.Errorf("no row uses %s.%s to %s", ref.from, ref.column, ref.to)
		}
	}
	if orphans != s.Faults[Orphan] {
		t.Errorf("%d orphans, the summary says %d", orphans, s.Faults[Orphan])
	}
}

// checkCircles follows each row's parents; Dataverse refuses a circle of parents.
func checkCircles(t *testing.T, rows []map[string]string, key, parent string) {
	t.Helper()
	up := map[string]string{}
	for _, row := range rows {
		up[row[key]] = row[parent]
	}
	for start := range up {
		for at, steps := up[start], 0; at != ""; at, steps = up[at], steps+1 {
			if at == start || steps > len(up) {
				t.Fatalf("%s %s is above itself", parent, start)
			}
		}
	}
}
