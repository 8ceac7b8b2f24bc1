package appliance

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"dvmigrate/appliance/dataverse/schema"
	"dvmigrate/appliance/sample"
)

// TestDryRunIsRightToTheByte: a load sends the requests that a dry run has counted, no
// more, no fewer, none longer or shorter; and the dry run leaves no trace.
func TestDryRunIsRightToTheByte(t *testing.T) {
	var mu sync.Mutex
	var sent DryStep
	url := environment(t, 16, func(_ http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodGet {
			return false
		}
		body, _ := io.ReadAll(r.Body)
		r.Body = io.NopCloser(strings.NewReader(string(body)))
		if readsMarks(string(body)) { // when the load is over
			return false
		}
		mu.Lock()
		defer mu.Unlock()
		sent.Requests++
		sent.Bytes += int64(len(body))
		sent.Largest = max(sent.Largest, int64(len(body)))
		switch {
		case strings.HasSuffix(r.URL.Path, "$batch"):
			sent.Batch++
		case strings.HasSuffix(r.URL.Path, "Multiple"):
			sent.Bulk++
		default:
			sent.Single++
		}
		return false
	})
	dir := sampleProject(t, url, func(dir string) {
		edit(t, filepath.Join(dir, "migration.yaml"), "load: {parallel: 8}", "load: {parallel: 3, batch: 7}")
		edit(t, filepath.Join(dir, "migration.yaml"), "contoso_equipment: {batch: 50}", "lead: {message: single, headers: {tag: x, bypass: sync}}\n  contact: {message: batch}")
	}).Config.Dir
	p := reopen(t, dir, Staging, url)
	if _, err := p.Stage(t.Context(), nil, func(string, float64) {}); err != nil {
		t.Fatal(err)
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	ledgerBefore, err := os.ReadFile(p.ledgerPath())
	if err != nil {
		t.Fatal(err)
	}
	p = reopen(t, dir, DryRunning, url)
	dry, err := p.DryRun(t.Context(), t.Context(), LoadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	if sent.Requests > 0 {
		t.Errorf("a dry run sent %d requests", sent.Requests)
	}
	if len(dry.Misfits) > 0 || dry.Summary.Processed != dry.Summary.Source || dry.Records <= dry.Summary.Source {
		t.Errorf("dry run %+v", dry)
	}
	if found, _ := filepath.Glob(filepath.Join(p.Config.TempDir(), "dry-run-*")); len(found) > 0 || exists(p.pinPath()) {
		t.Errorf("left behind: %v, a pin: %v", found, exists(p.pinPath()))
	}
	ledgerAfter, err := os.ReadFile(p.ledgerPath())
	if err != nil || len(ledgerAfter) != len(ledgerBefore) {
		t.Errorf("the ledger had %d bytes and has %d, %v", len(ledgerBefore), len(ledgerAfter), err)
	}

	p = reopen(t, dir, Loading, url)
	r, err := p.Load(t.Context(), t.Context(), LoadOptions{SnapshotEvery: -1})
	if err != nil || r.Summary.Processed != r.Summary.Source || r.Summary != dry.Summary {
		t.Fatalf("load: %v, %+v; the dry run said %+v", err, r.Summary, dry.Summary)
	}
	want := DryStep{}
	for _, s := range dry.Tables {
		want.Requests, want.Bulk, want.Batch, want.Single = want.Requests+s.Requests, want.Bulk+s.Bulk, want.Batch+s.Batch, want.Single+s.Single
		want.Bytes, want.Largest = want.Bytes+s.Bytes, max(want.Largest, s.Largest)
	}
	if diff := cmp.Diff(want, sent); diff != "" {
		t.Errorf("what was counted and what was sent: %s", diff)
	}
	if dry.Records != r.Sent {
		t.Errorf("counted %d records, sent %d", dry.Records, r.Sent)
	}
}

// seed is the sample's own seed as bodies of creates, by table.
func seed(t *testing.T, s *schema.Schema) map[string]io.Reader {
	t.Helper()
	var tables map[string][]map[string]any
	if err := json.Unmarshal(sample.Seed(), &tables); err != nil {
		t.Fatal(err)
	}
	out := map[string]io.Reader{}
	for name, rows := range tables {
		table := s.Table(name)
		var lines bytes.Buffer
		for _, row := range rows {
			for _, r := range table.ManyToOne {
				if id, ok := row["_"+r.Column+"_value"]; ok {
					row[r.Nav+"@odata.bind"] = fmt.Sprintf("%s(%v)", s.Table(r.Target).EntitySet, id)
					delete(row, "_"+r.Column+"_value")
				}
			}
			if err := json.NewEncoder(&lines).Encode(row); err != nil {
				t.Fatal(err)
			}
		}
		out[name] = &lines
	}
	return out
}

func reopen(t *testing.T, dir string, mode Mode, url string) *Project {
	t.Helper()
	p, err := Open(t.Context(), dir, mode, Options{Env: targetAt(url)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p
}

// TestInspector: what does not fit the schema is found in every kind of request.
func TestInspector(t *testing.T) {
	s, err := schema.Read(bytes.NewReader(sample.Schema()))
	if err != nil {
		t.Fatal(err)
	}
	const id = "0f8fad5b-d9cb-469f-a165-70867728950e"
	typed := `"@odata.type":"Microsoft.Dynamics.CRM.account","accountid":"` + id + `",`
	cases := map[string]struct {
		body string
		want string
	}{
		"all in order":              {typed + `"name":"x","industrycode":1,"revenue":12.5,"ownerid@odata.bind":"teams(` + id + `)"`, ""},
		"null":                      {typed + `"name":null`, ""},
		"no such column":            {typed + `"nam":"x"`, "nam: the table has no such column"},
		"too long":                  {typed + `"name":"` + strings.Repeat("\U0001F600", 81) + `"`, "name: is longer than 160 characters"},
		"no such option":            {typed + `"industrycode":4711`, "industrycode: is an option that the column does not have: 4711"},
		"out of range":              {typed + `"revenue":-1e30`, "revenue: is outside the column's range"},
		"text for a number":         {typed + `"revenue":"12"`, "revenue: is text, the column is money"},
		"a number for text":         {typed + `"name":12`, "name: is a number, the column is text"},
		"a truth value for text":    {typed + `"name":true`, "name: is true or false, the column is text"},
		"a lookup by its column":    {typed + `"ownerid":"` + id + `"`, "ownerid: a lookup is written by its navigation property"},
		"no such navigation":        {typed + `"owner@odata.bind":"teams(` + id + `)"`, "owner@odata.bind: the table has no such navigation property"},
		"a lookup to another table": {typed + `"ownerid@odata.bind":"contacts(` + id + `)"`, "ownerid@odata.bind: does not name a record that the lookup may point to"},
		"a lookup that is no id":    {typed + `"ownerid@odata.bind":"teams(1)"`, "ownerid@odata.bind: does not name a record that the lookup may point to"},
		"another table's type":      {`"@odata.type":"Microsoft.Dynamics.CRM.contact"`, "@odata.type: is Microsoft.Dynamics.CRM.contact, not Microsoft.Dynamics.CRM.account"},
		"a column that is ignored":  {typed + `"createdon":"2020-01-01T00:00:00Z"`, "createdon: the service ignores a value for this column"},
		"a body that is cut off":    {typed + `"name":`, ": a body is not JSON: invalid character '}' looking for beginning of value"},
		"an id that is none":        {`"accountid":"1"`, "accountid: is no id"},
		"a list where a value is":   {typed + `"name":[]`, "name: is a []interface {}"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			for _, request := range []func(n *inspector){
				func(n *inspector) {
					n.request("POST", "accounts/Microsoft.Dynamics.CRM.CreateMultiple", []byte(`{"Targets":[{`+tc.body+`}]}`))
				},
				func(n *inspector) { n.request("POST", "accounts", []byte(`{`+tc.body+`}`)) },
				func(n *inspector) {
					n.part([]byte("Content-Type: application/http\r\n\r\nPOST /api/data/v9.2/accounts?tag=x HTTP/1.1\r\nContent-Type: application/json\r\n\r\n{" + tc.body + "}\r\n"))
				},
			} {
				n := &inspector{schema: s, misfits: map[string]*DryMisfit{}}
				request(n)
				var got []string
				for _, m := range n.misfits {
					if m.Table != "account" || m.Records != 1 {
						t.Errorf("%+v", m)
					}
					got = append(got, m.Column+": "+m.Problem)
				}
				if strings.Join(got, "\n") != tc.want {
					t.Errorf("got %q, want %q", got, tc.want)
				}
			}
		})
	}
	n := &inspector{schema: s, misfits: map[string]*DryMisfit{}}
	n.request("POST", "nonsense", []byte("{}"))
	n.part([]byte("nothing"))
	n.request("POST", "accounts", append([]byte("{}"), bytes.Repeat([]byte(" "), maxBody)...))
	n.request("POST", "leads("+id+")/contactleads_association/$ref", []byte(`{"@odata.id":"x"}`))
	if len(n.misfits) != 3 {
		t.Errorf("misfits %+v", n.misfits)
	}
}
