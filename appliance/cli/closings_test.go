package cli

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"dvmigrate/appliance/dataverse/emulator"
)

// closable are tables some of whose states only an action sets: the options of their state
// and of their status reason, each with its state.
var closable = []struct {
	name, set, state, status string
	closed                   []int // states that an action sets
}{
	{"opportunity", "opportunities", `0:1 1:3 2:4`, `1:0 3:1 4:2`, []int{1, 2}},
	{"incident", "incidents", `0:1 1:5 2:6`, `1:0 5:1 6:2`, []int{1}},
	{"quote", "quotes", `0:1 1:2 2:4 3:5`, `1:0 2:1 4:2 5:3`, []int{2, 3}},
	{"salesorder", "salesorders", `0:1 2:4 3:5`, `1:0 4:2 5:3`, []int{2, 3}},
}

// closablesSchema is the schema of these tables; a quote and an order point to an opportunity.
func closablesSchema() string {
	var tables []string
	options := func(text, key string) string {
		var out []string
		for _, pair := range strings.Fields(text) {
			value, of, _ := strings.Cut(pair, ":")
			out = append(out, fmt.Sprintf(`{"value":%s,"label":"V%s",%q:%s}`, value, value, key, of))
		}
		return "[" + strings.Join(out, ",") + "]"
	}
	for _, c := range closable {
		lookup, relation := "", ""
		if c.name == "quote" || c.name == "salesorder" {
			lookup = `,{"name":"opportunityid","schemaName":"OpportunityId","type":"lookup","targets":["opportunity"]}`
			relation = fmt.Sprintf(`,"manyToOne":[{"name":"opportunity_%ss","column":"opportunityid","target":"opportunity","nav":"opportunityid","collection":"opportunity_%ss"}]`, c.name, c.name)
		}
		tables = append(tables, fmt.Sprintf(`{"name":%[1]q,"schemaName":%[1]q,"entitySet":%[2]q,"primaryId":"%[1]sid","primaryName":"name","kind":"standard","ownership":"user",
			"bulk":["create","update"],"columns":[{"name":"%[1]sid","schemaName":"Id","type":"uniqueid","required":"system","noUpdate":true},
			{"name":"name","schemaName":"Name","type":"text","maxLength":100}%[3]s,
			{"name":"statecode","schemaName":"StateCode","type":"state","noCreate":true,"options":%[4]s,"default":0},
			{"name":"statuscode","schemaName":"StatusCode","type":"status","options":%[5]s}]%[6]s}`,
			c.name, c.set, lookup, options(c.state, "defaultStatus"), options(c.status, "state"), relation))
	}
	return `{"version":1,"source":"test","tables":[` + strings.Join(tables, ",") + `]}`
}

// TestKilledClosingIsExactlyOnce kills the loader at each write of the states of
// opportunities, cases, quotes and orders that only an action sets, before it is applied
// and after, and loads on: each record is closed once, by one activity, and a quote before
// its opportunity.
func TestKilledClosingIsExactlyOnce(t *testing.T) {
	project := filepath.Join(t.TempDir(), "closings")
	writeFiles(t, project, map[string]string{"migration.yaml": "version: 1\nname: closings\ntarget: {auth: none}\n", "schema.json": closablesSchema()})
	for _, c := range closable {
		states := strings.Fields(c.state)
		var rows []string
		for i := range 12 {
			state, status, _ := strings.Cut(states[i%len(states)], ":")
			rows = append(rows, fmt.Sprintf("('%s-%d', %s, %s, 'opportunity-%d')", c.name, i, state, status, i))
		}
		lookup := ""
		if c.name == "quote" || c.name == "salesorder" {
			lookup = ", parent AS opportunityid"
		}
		writeFiles(t, project, map[string]string{"transform/" + c.name + ".sql": fmt.Sprintf("SELECT key AS legacy_key, key AS name, state AS statecode, status AS statuscode%s\nFROM (VALUES %s) t (key, state, status, parent)\n",
			lookup, strings.Join(rows, ", "))})
	}
	mustRun(t, dvmigrate("-C", project, "stage"), 0)
	const firstClosing, last = 5, 10 // of the writes of this load
	for i := range 2 * (last - firstClosing + 1) {
		at, after := int64(firstClosing+i/2), i%2 == 1
		t.Run(fmt.Sprintf("write %d, applied %t", at, after), func(t *testing.T) {
			t.Parallel()
			dir := filepath.Join(t.TempDir(), "closings")
			if err := os.CopyFS(dir, os.DirFS(project)); err != nil {
				t.Fatal(err)
			}
			e, err := (&emulatorCommand{schema: filepath.Join(dir, "schema.json"), noLimits: true, closeByMessage: true}).server(&Env{dir: dir})
			if err != nil {
				t.Fatal(err)
			}
			target := &trap{Server: e, at: at, after: after}
			server := httptest.NewServer(target)
			defer server.Close()
			killLoad(t, dir, server.URL, target)
			mustRun(t, loadInto(dir, server.URL), 0)
			requireClosed(t, e)
		})
	}
}

// requireClosed requires that each record is in its state, and has one activity if an action
// brought it there.
func requireClosed(t *testing.T, e *emulator.Server) {
	t.Helper()
	activities := map[string]int{}
	want := map[string]int{}
	for _, c := range closable {
		states := strings.Fields(c.state)
		rows := rowsOf(t, e, c.name)
		if len(rows) != 12 {
			t.Errorf("%d records of %s, want 12", len(rows), c.name)
		}
		activity := map[string]string{"opportunity": "opportunityclose", "incident": "incidentresolution", "quote": "quoteclose", "salesorder": "orderclose"}[c.name]
		activities[activity] = len(rowsOf(t, e, activity))
		for _, row := range rows {
			var i int
			if _, err := fmt.Sscanf(row["name"].(string), c.name+"-%d", &i); err != nil {
				t.Fatal(err)
			}
			state, _, _ := strings.Cut(states[i%len(states)], ":")
			if got := fmt.Sprint(row["statecode"]); got != state {
				t.Errorf("%v has state %s, want %s", row["name"], got, state)
			}
			for _, s := range c.closed {
				if state == fmt.Sprint(s) {
					want[activity]++
				}
			}
		}
	}
	if fmt.Sprint(activities) != fmt.Sprint(want) {
		t.Errorf("closing activities %v, want %v", activities, want)
	}
}

// rowsOf are the rows of a table in the target.
func rowsOf(t *testing.T, e *emulator.Server, table string) (rows []map[string]any) {
	t.Helper()
	var b bytes.Buffer
	if err := e.Export(&b, table); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(&b)
	lines.Buffer(nil, 64<<20)
	for lines.Scan() {
		var row map[string]any
		if err := json.Unmarshal(lines.Bytes(), &row); err != nil {
			t.Fatal(err)
		}
		rows = append(rows, row)
	}
	return rows
}

func writeFiles(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}
