package appliance

import (
	"encoding/json"
	"fmt"
	"math"
	"math/big"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"dvmigrate/appliance/config"
	"dvmigrate/appliance/dataverse/emulator"
	"dvmigrate/appliance/dataverse/schema"
	"dvmigrate/appliance/sample"
)

// kindOfValue makes random texts for a column, as a source would have them, and says what
// the service has to give back (dataverse-web-api.md 4.1).
type kindOfValue struct {
	column *schema.Column
	make   func(r *rand.Rand) (source string, want any) // want: nil, bool, string, or *big.Rat
}

func some[T any](r *rand.Rand, values ...T) T { return values[r.IntN(len(values))] }

// rat reads a decimal; the empty text is none.
func rat(s string) *big.Rat {
	x, ok := new(big.Rat).SetString(s)
	if !ok {
		panic(s)
	}
	return x
}

func digits(r *rand.Rand, n int) string {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte('0' + r.IntN(10))
	}
	return string(b)
}

var alphabet = []string{"a", "Z", "0", " ", "\"", "'", "\\", "/", "\t", "\n", "\r\n", ";", ",", "<", "&", "%", "{", "}", "é", "ß", "Ž", "日", "本", "\u00a0", "\u2028", "\ufeff", "\ufffd",
	"😀", "𝒳", "👩‍👩‍👧", "\U0010ffff", "ا", "e\u0301", "null", "\u007f"}

// words is a text of at most so many UTF-16 units that no side trims.
func words(r *rand.Rand, most int) (string, any) {
	var b strings.Builder
	units := 2
	b.WriteByte('x')
	for n := r.IntN(most); units < n; {
		c := some(r, alphabet...)
		size := 0
		for _, x := range c {
			size += 1 + int(min(x>>16, 1))
		}
		if units += size; units <= most {
			b.WriteString(c)
		}
	}
	b.WriteByte('x')
	return b.String(), b.String()
}

// valueKinds are the column types of section 4 that travel with the row.
func valueKinds() []kindOfValue {
	col := func(name string, t schema.ColumnType, more func(*schema.Column)) *schema.Column {
		c := &schema.Column{LogicalName: "contoso_" + name, SchemaName: "contoso_" + name, Type: t}
		if more != nil {
			more(c)
		}
		return c
	}
	decimal := func(r *rand.Rand, most int64, scale int) (string, any) {
		sign := some(r, "", "-")
		whole := strconv.FormatInt(r.Int64N(most), 10)
		if r.IntN(5) == 0 {
			whole = some(r, strconv.FormatInt(most, 10), "0")
			return sign + whole, rat(sign + whole)
		}
		s := sign + whole
		if n := r.IntN(scale + 1); n > 0 {
			s += "." + digits(r, n)
		}
		return s, rat(s)
	}
	when := func(r *rand.Rand) time.Time {
		return some(r, time.Date(1753, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(9999, 12, 30, 23, 59, 59, 0, time.UTC), time.Date(2024, 2, 29, 12, 0, 0, 0, time.UTC),
			time.Unix(r.Int64N(4e9), 0), time.Unix(-r.Int64N(6e9), 0)).UTC()
	}
	moment := func(r *rand.Rand) (string, any) {
		at := when(r)
		want := at.Format(time.RFC3339)
		zone := time.FixedZone("", some(r, 0, 5*3600+1800, -8*3600)*int(min(1, max(0, 9000-at.Year())))*int(min(1, max(0, at.Year()-1800))))
		return some(r, at.Format("2006-01-02T15:04:05Z"), at.Format("2006-01-02 15:04:05"), at.In(zone).Format("2006-01-02T15:04:05-07:00")), want
	}
	whole := func(values ...int64) func(*rand.Rand) (string, any) {
		return func(r *rand.Rand) (string, any) {
			v := values[r.IntN(len(values))]
			if r.IntN(2) == 0 {
				low, high := values[0], values[1]
				v = low + int64(r.Uint64N(uint64(high-low)))
			}
			s := strconv.FormatInt(v, 10)
			return s, rat(s)
		}
	}
	options := []schema.Option{{Value: 100000000, Label: "a"}, {Value: 100000001, Label: "b"}, {Value: 100000002, Label: "c"}, {Value: -1, Label: "d"}}
	return []kindOfValue{
		{col("text", schema.Text, func(c *schema.Column) { c.MaxLength = 200 }), func(r *rand.Rand) (string, any) { return words(r, 200) }},
		{col("memo", schema.Memo, func(c *schema.Column) { c.MaxLength = 5000 }), func(r *rand.Rand) (string, any) { return words(r, 5000) }},
		{col("ascii", schema.Text, func(c *schema.Column) { c.MaxLength = 100; c.ASCII = true }), func(r *rand.Rand) (string, any) {
			s := "~" + digits(r, 1+r.IntN(98)) + `"`
			return s, s
		}},
		{col("whole", schema.Integer, nil), whole(math.MinInt32, math.MaxInt32, 0, -1)},
		{col("big", schema.BigInt, nil), whole(-1<<62, 1<<62, math.MinInt64, math.MaxInt64, 1<<53+1, -1<<53-1)},
		{col("decimal", schema.Decimal, func(c *schema.Column) { c.Precision = new(10) }), func(r *rand.Rand) (string, any) {
			return decimal(r, 99999999999, 10)
		}},
		{col("money", schema.Money, func(c *schema.Column) { c.Precision = new(4) }), func(r *rand.Rand) (string, any) {
			return decimal(r, 922337203685476, 4)
		}},
		{col("float", schema.Float, func(c *schema.Column) { c.Precision = new(5) }), func(r *rand.Rand) (string, any) {
			s := some(r, "0", "-100000000000", "100000000000", "0.00001", "1e3", "-2.5E-2", fmt.Sprintf("%d.%s", r.IntN(1e6)-5e5, digits(r, 5)))
			return s, rat(s)
		}},
		{col("yes", schema.YesNo, nil), func(r *rand.Rand) (string, any) {
			yes := r.IntN(2) == 0
			if yes {
				return some(r, "true", "1", "t", "TRUE"), true
			}
			return some(r, "false", "0", "f"), false
		}},
		{col("choice", schema.Choice, func(c *schema.Column) { c.Options = options }), oneOf(options)},
		{col("choices", schema.Choices, func(c *schema.Column) { c.Options = options }), func(r *rand.Rand) (string, any) {
			var all []string
			for _, i := range r.Perm(len(options))[:1+r.IntN(len(options))] {
				all = append(all, strconv.Itoa(int(options[i].Value)))
			}
			return strings.Join(all, ","), strings.Join(slices.Sorted(slices.Values(all)), ",")
		}},
		{col("userlocal", schema.DateTime, func(c *schema.Column) { c.DateBehavior = schema.UserLocal }), moment},
		{col("zoneless", schema.DateTime, func(c *schema.Column) { c.DateBehavior = schema.TimeZoneIndependent }), moment},
		{col("day", schema.DateTime, func(c *schema.Column) { c.DateBehavior = schema.DateOnly }), func(r *rand.Rand) (string, any) {
			s := when(r).Format(time.DateOnly)
			return s, s
		}},
		{col("guid", schema.UniqueID, nil), func(r *rand.Rand) (string, any) {
			s := fmt.Sprintf("%08x-%04x-4%03x-8%03x-%012x", r.Uint32(), r.IntN(1<<16), r.IntN(1<<12), r.IntN(1<<12), r.Int64N(1<<48))
			return some(r, s, strings.ToUpper(s)), s
		}},
	}
}

func oneOf(options []schema.Option) func(*rand.Rand) (string, any) {
	return func(r *rand.Rand) (string, any) {
		s := strconv.Itoa(int(some(r, options...).Value))
		return s, rat(s)
	}
}

// TestEveryTypeReadsBackEqual stages random values of every column type as text, loads
// them and reads them back by plain HTTP. DVMIGRATE_VALUES is the number of rows, 300
// where it is not set; DVMIGRATE_SEED another seed.
func TestEveryTypeReadsBackEqual(t *testing.T) {
	rows, seedOf := 300, 1
	for name, n := range map[string]*int{"DVMIGRATE_VALUES": &rows, "DVMIGRATE_SEED": &seedOf} {
		if text := os.Getenv(name); text != "" {
			var err error
			if *n, err = strconv.Atoi(text); err != nil {
				t.Fatal(err)
			}
		}
	}
	s, err := schema.Read(strings.NewReader(string(sample.Schema())))
	if err != nil {
		t.Fatal(err)
	}
	kinds := valueKinds()
	table := s.Table("contoso_equipment")
	for _, k := range kinds {
		table.Columns = append(slices.DeleteFunc(table.Columns, func(c *schema.Column) bool { return c.LogicalName == k.column.LogicalName }), k.column)
	}
	if s, err = schema.New(s.Tables, s.ManyToMany); err != nil {
		t.Fatal(err)
	}
	e, err := emulator.New(emulator.Options{Schema: s, Seed: seed(t, s)})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(e)
	defer func() { server.Close(); e.Close() }()

	r := rand.New(rand.NewPCG(uint64(seedOf), 0))
	want := map[string]map[string]any{}
	p := valuesProject(t, server.URL, s, kinds, func(key string) []string {
		row := map[string]any{}
		var texts []string
		for _, k := range kinds {
			text, value := "", any(nil)
			if r.IntN(10) > 0 {
				text, value = k.make(r)
			}
			texts, row[k.column.LogicalName] = append(texts, text), value
		}
		want[key] = row
		return texts
	}, rows)
	if _, err := p.Stage(t.Context(), nil, func(string, float64) {}); err != nil {
		t.Fatal(err)
	}
	requireAllLoaded(t, p)
	found := 0
	for _, row := range plainRows(t, server.URL, "contoso_equipments") {
		key, _ := row["contoso_serial"].(string)
		found++
		n, _ := strconv.Atoi(key)
		for name, value := range want[key] {
			if got := row[name]; !sameRead(s.Table("contoso_equipment").Column(name), value, got) {
				t.Errorf("%s of %s is %#v, want %#v", name, key, got, value)
			}
		}
		owner, parent, customer := "a0000000-0000-4000-8000-000000000011", row["_contoso_parentid_value"], "contact"
		if n%2 == 1 {
			owner = "b0000000-0000-4000-8000-000000000011"
		}
		if n%3 == 0 {
			customer = "account"
		}
		if row["_ownerid_value"] != owner {
			t.Errorf("owner of %s is %v", key, row["_ownerid_value"])
		}
		if state := fmt.Sprint(row["statecode"], row["statuscode"]); n%4 == 0 && state != "12" || n%4 > 0 && state != "01" {
			t.Errorf("state of %s is %v", key, state)
		}
		if (n == 0) != (parent == nil) {
			t.Errorf("parent of %s is %v", key, parent)
		}
		if got := row["_contoso_customerid_value@Microsoft.Dynamics.CRM.lookuplogicalname"]; got != customer {
			t.Errorf("customer of %s is of table %v, want %s", key, got, customer)
		}
	}
	if found != rows {
		t.Errorf("%d rows read back, want %d", found, rows)
	}
	var sums []string
	for _, k := range kinds {
		sums = append(sums, k.column.LogicalName)
	}
	p.Config.Reconcile = map[string]config.Comparison{"contoso_equipment": {Sums: sums, Groups: append(sums, "ownerid", "statecode", "contoso_parentid", "contoso_customerid")}}
	compared, err := p.Reconcile(t.Context(), ReconcileOptions{Values: true, Limit: 20}, func(string, float64) {})
	if err != nil || !compared.Pass || compared.Summary.Faults() > 0 {
		t.Errorf("what reads back equal is a mismatch: %v, %+v", err, compared)
	}
	figures := 0
	for _, table := range compared.Tables {
		for _, f := range table.Figures {
			if figures++; !f.Same {
				t.Errorf("figure %+v", f)
			}
		}
		for _, g := range table.Groups {
			if figures++; g.Staged != g.Target {
				t.Errorf("group %+v", g)
			}
		}
	}
	if figures < 2*len(kinds) {
		t.Errorf("%d figures of %d columns", figures, len(kinds))
	}
}

// valuesProject is a project with a table of the kinds' columns and some lookups.
func valuesProject(t *testing.T, url string, s *schema.Schema, kinds []kindOfValue, texts func(key string) []string, rows int) *Project {
	t.Helper()
	quote := func(s string) string {
		if s == "" {
			return ""
		}
		return `"` + strings.ReplaceAll(s, `"`, `""`) + `"`
	}
	var csv, sql strings.Builder
	csv.WriteString("key")
	sql.WriteString(`SELECT key AS legacy_key, key AS contoso_serial, nullif((key::INTEGER - 1)::VARCHAR, '-1') AS contoso_parentid,
		CASE key::INTEGER % 3 WHEN 0 THEN ref('account', 'A') ELSE ref('contact', 'C') END AS contoso_customerid,
		CASE key::INTEGER % 2 WHEN 0 THEN existing('systemuser', 'a0000000-0000-4000-8000-000000000011') ELSE existing('team', 'b0000000-0000-4000-8000-000000000011') END AS ownerid,
		CASE key::INTEGER % 4 WHEN 0 THEN 1 ELSE 0 END AS statecode, CASE key::INTEGER % 4 WHEN 0 THEN 2 ELSE 1 END AS statuscode`)
	for _, k := range kinds {
		csv.WriteString("," + k.column.LogicalName)
		sql.WriteString(", " + k.column.LogicalName)
	}
	for i := range rows {
		key := strconv.Itoa(i)
		csv.WriteString("\n" + key)
		for _, text := range texts(key) {
			csv.WriteString("," + quote(text))
		}
	}
	csv.WriteString("\n")
	sql.WriteString(" FROM things")
	dir := otherProject(t, url, s, map[string]string{
		"things.csv":                      csv.String(),
		"transform/contoso_equipment.sql": sql.String(),
		"transform/account.sql":           "SELECT 'A' AS legacy_key, 'An account' AS name", "transform/contact.sql": "SELECT 'C' AS legacy_key, 'A contact' AS lastname",
		"migration.yaml": "version: 1\nname: values\ntarget: {url: " + url + ", auth: none}\nsources:\n  things: {path: things.csv, types: text}\n"})
	return reopen(t, dir, Staging, url)
}

// requireAllLoaded loads what is staged, all of it.
func requireAllLoaded(t *testing.T, p *Project) {
	t.Helper()
	r, err := p.Load(t.Context(), t.Context(), LoadOptions{SnapshotEvery: -1})
	if err != nil || r.Summary.Processed != r.Summary.Source {
		list, _ := p.Failures(t.Context(), FailureFilter{Limit: 5})
		t.Fatalf("%v, %+v, %+v", err, r.Summary, list.Errors)
	}
}

// plainRows reads all rows of a set by plain HTTP.
func plainRows(t *testing.T, base, set string) (rows []map[string]any) {
	t.Helper()
	for next := base + "/api/data/v9.2/" + set; next != ""; {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, next, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer reader")
		req.Header.Set("Prefer", `odata.include-annotations="*"`)
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		var page struct {
			Value []map[string]any `json:"value"`
			Next  string           `json:"@odata.nextLink"`
		}
		d := json.NewDecoder(res.Body)
		d.UseNumber()
		err = d.Decode(&page)
		res.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		rows = append(rows, page.Value...)
		if next = page.Next; next != "" {
			if _, err := url.Parse(next); err != nil {
				t.Fatal(err)
			}
		}
	}
	return rows
}

// sameRead compares what the service gives with what was meant.
func sameRead(c *schema.Column, want, got any) bool {
	switch w := want.(type) {
	case nil:
		return got == nil
	case *big.Rat:
		n, ok := got.(json.Number)
		return ok && w.Cmp(rat(n.String())) == 0
	case string:
		text, ok := got.(string)
		if c.Type == schema.Choices {
			text = strings.Join(slices.Sorted(strings.SplitSeq(text, ",")), ",")
		}
		return ok && text == w
	}
	return want == got
}
