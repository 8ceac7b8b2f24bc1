package sample

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"dvmigrate/appliance/dataverse/schema"
)

func readSchema(t *testing.T) *schema.Schema {
	t.Helper()
	s, err := schema.Read(bytes.NewReader(Schema()))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestTheSchemaIsInItsOwnForm(t *testing.T) {
	var out bytes.Buffer
	if err := readSchema(t).Write(&out); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(out.Bytes(), Schema()) {
		t.Error("reading and writing schema.json changes it")
	}
}

func TestTheSchemaHangsTogether(t *testing.T) {
	s := readSchema(t)
	for _, table := range s.Tables {
		name := table.LogicalName
		if strings.ToLower(table.SchemaName) != name || table.EntitySet == "" || table.Column(table.PrimaryID) == nil ||
			table.PrimaryName != "" && table.Column(table.PrimaryName) == nil {
			t.Errorf("%s: names do not fit: %+v", name, table)
		}
		for _, c := range table.Columns {
			checkColumn(t, s, table, c)
		}
		for _, r := range table.ManyToOne {
			if c := table.Column(r.Column); c == nil || !slices.Contains(c.Targets, r.Target) || s.Table(r.Target) == nil {
				t.Errorf("%s: relationship %+v fits no lookup", name, r)
			}
		}
		for _, k := range table.Keys {
			for _, c := range k.Columns {
				if table.Column(c) == nil {
					t.Errorf("%s: key %s has no column %s", name, k.LogicalName, c)
				}
			}
		}
	}
	for _, l := range s.ManyToMany {
		i := s.Table(l.Intersect)
		if i == nil || i.Kind != schema.Intersect || i.Column(l.Column1) == nil || i.Column(l.Column2) == nil || s.Table(l.Table1) == nil || s.Table(l.Table2) == nil {
			t.Errorf("N:N relationship %+v does not fit", l)
		}
	}
}

func checkColumn(t *testing.T, s *schema.Schema, table *schema.Table, c *schema.Column) {
	t.Helper()
	at := table.LogicalName + "." + c.LogicalName
	if strings.ToLower(c.SchemaName) != c.LogicalName {
		t.Errorf("%s: schema name %s", at, c.SchemaName)
	}
	for _, of := range []string{c.PartOf, c.CalculationOf} {
		if of != "" && table.Column(of) == nil {
			t.Errorf("%s belongs to %s, which is not there", at, of)
		}
	}
	if c.Type.IsLookup() && len(c.Targets) == 0 || c.Type == schema.Text && c.MaxLength == 0 || c.Type.HasOptions() && len(c.Options) == 0 ||
		c.Type == schema.DateTime && c.DateBehavior == "" || c.Type == schema.Money && table.Column("transactioncurrencyid") == nil {
		t.Errorf("%s lacks what its type needs: %+v", at, c)
	}
	for _, target := range c.Targets {
		if table.Relationship(c.LogicalName, target) == nil {
			t.Errorf("%s: no relationship to %s", at, target)
		}
	}
	if c.Default != nil && c.Option(*c.Default) == nil {
		t.Errorf("%s: default %d is no option", at, *c.Default)
	}
	for _, o := range c.Options {
		if c.Type == schema.Status && (o.State == nil || table.Column("statecode").Option(*o.State) == nil) {
			t.Errorf("%s: status %d has no state", at, o.Value)
		}
		if c.Type == schema.State {
			status := table.Column("statuscode").Option(*o.DefaultStatus)
			if status == nil || *status.State != o.Value {
				t.Errorf("%s: default status of state %d", at, o.Value)
			}
		}
	}
}

// result finds the name of a SELECT's column where a line ends with it.
var result = regexp.MustCompile(`(?m) AS ([a-z_0-9]+),?(?:\s*--.*)?$`)

func TestTransformsYieldColumnsThatCanBeWritten(t *testing.T) {
	s := readSchema(t)
	dir, summary := mustWrite(t, Options{Records: 50})
	names, _ := filepath.Glob(filepath.Join(dir, "transform", "*.sql"))
	if len(names) != len(summary.Tables) {
		t.Errorf("%d transforms for %d tables", len(names), len(summary.Tables))
	}
	plain := 0 // tables without bulk actions, so that the other ways are used too
	for _, name := range names {
		table := strings.TrimSuffix(filepath.Base(name), ".sql")
		if summary.Tables[table] == 0 || s.Table(table) == nil {
			t.Errorf("%s: no such table, or no rows", table)
			continue
		}
		if st := s.Table(table); !st.CanBulk("create") && st.Kind != schema.Intersect {
			plain++
		}
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		seen := map[string]bool{}
		for _, m := range result.FindAllStringSubmatch(string(text), -1) {
			column := m[1]
			if seen[column] {
				t.Errorf("%s yields %s twice", table, column)
			}
			seen[column] = true
			checkYield(t, s, table, column)
		}
		if !seen["legacy_key"] || s.Link(table) == nil && len(seen) < 10 {
			t.Errorf("%s yields %v", table, seen)
		}
	}
	if plain == 0 {
		t.Error("every table has bulk actions")
	}
}

func checkYield(t *testing.T, s *schema.Schema, table, column string) {
	t.Helper()
	if column == "legacy_key" {
		return
	}
	if l := s.Link(table); l != nil {
		if column != l.Column1 && column != l.Column2 {
			t.Errorf("%s yields %s", table, column)
		}
		return
	}
	if c := s.Table(table).Column(column); c == nil || !c.Writable(false) && !c.Writable(true) {
		t.Errorf("%s yields %s, which cannot be written", table, column)
	}
}

// builtIn are the records that the emulator holds by itself (its options.go).
var builtIn = map[string]string{
	"0a000000-0000-4000-8000-000000000001": "organization",
	"0b000000-0000-4000-8000-000000000001": "businessunit",
	"0c000000-0000-4000-8000-000000000001": "systemuser",
	"0d000000-0000-4000-8000-000000000001": "team",
	"0e000000-0000-4000-8000-000000000001": "transactioncurrency",
}

// seeded returns the table of each record that the target holds, by id.
func seeded(t *testing.T) (rows map[string][]map[string]any, tableOf map[string]string) {
	t.Helper()
	if err := json.Unmarshal(Seed(), &rows); err != nil {
		t.Fatal(err)
	}
	tableOf = map[string]string{}
	for id, table := range builtIn {
		tableOf[id] = table
	}
	s := readSchema(t)
	for table, list := range rows {
		for _, row := range list {
			id, _ := row[s.Table(table).PrimaryID].(string)
			if _, err := schema.ParseGUID(id); err != nil || tableOf[id] != "" {
				t.Errorf("%s: id %q: %v, used by %q", table, id, err, tableOf[id])
			}
			tableOf[id] = table
		}
	}
	return rows, tableOf
}

func TestTheSeedFitsTheSchema(t *testing.T) {
	s := readSchema(t)
	rows, tableOf := seeded(t)
	for table, list := range rows {
		for _, row := range list {
			for column, value := range row {
				name := column
				if lookup, ok := strings.CutSuffix(strings.TrimPrefix(column, "_"), "_value"); ok {
					name = lookup
					c := s.Table(table).Column(name)
					if id, _ := value.(string); c == nil || !slices.Contains(c.Targets, tableOf[id]) {
						t.Errorf("%s.%s points to %v, a %q", table, column, value, tableOf[id])
					}
				}
				if c := s.Table(table).Column(name); c == nil || !c.Writable(false) {
					t.Errorf("%s.%s cannot be set", table, column)
				}
			}
			for _, c := range s.Table(table).Columns {
				_, plain := row[c.LogicalName]
				_, lookup := row["_"+c.LogicalName+"_value"]
				if c.Required == schema.SystemRequired && c.Writable(false) && c.Default == nil && !plain && !lookup {
					t.Errorf("%s lacks %s: %v", table, c.LogicalName, row)
				}
			}
		}
	}
}

// existing finds what a transform says is in the target already.
var existing = regexp.MustCompile(`existing\('([a-z]+)', '([0-9a-f-]{36})'\)`)

func TestTransformsAndMapsNameRecordsThatExist(t *testing.T) {
	_, tableOf := seeded(t)
	found := 0
	dir, _ := mustWrite(t, Options{Records: 50})
	for name, text := range contents(t, dir) {
		for _, m := range existing.FindAllStringSubmatch(text, -1) {
			found++
			if tableOf[m[2]] != m[1] {
				t.Errorf("%s: %s is in %q", name, m[0], tableOf[m[2]])
			}
		}
	}
	if found == 0 {
		t.Error("no transform names one")
	}
	for _, row := range readMap(t, dir, "user") {
		if row["id"] != "" && tableOf[row["id"]] != row["target"] {
			t.Errorf("maps/user.csv: %v is in %q", row, tableOf[row["id"]])
		}
	}
	for _, row := range readMap(t, dir, "currency") {
		if tableOf[row["id"]] != "transactioncurrency" {
			t.Errorf("maps/currency.csv: %v is in %q", row, tableOf[row["id"]])
		}
	}
}
