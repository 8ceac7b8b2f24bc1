package appliance

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"dvmigrate/appliance/dataverse/emulator"
	"dvmigrate/appliance/dataverse/schema"
	"dvmigrate/appliance/plan"
)

// papersSchema has contracts with two file columns, an image that no new record takes and
// a state; notes, and attachments.
func papersSchema(t *testing.T) *schema.Schema {
	t.Helper()
	text := func(name string, most int) string {
		return fmt.Sprintf(`{"name":%q,"schemaName":%[1]q,"type":"text","maxLength":%d}`, name, most)
	}
	file := func(name string) string {
		return fmt.Sprintf(`{"name":%q,"schemaName":%[1]q,"type":"file","noCreate":true,"noUpdate":true,"maxSizeKB":10240},`, name) + text(name+"_name", 255)
	}
	table := func(name, set string, columns ...string) string {
		columns = append(columns, fmt.Sprintf(`{"name":"%sid","schemaName":"Id","type":"uniqueid","required":"system","noUpdate":true}`, name))
		return fmt.Sprintf(`{"name":%[1]q,"schemaName":%[1]q,"entitySet":%[2]q,"primaryId":"%[1]sid","primaryName":"name","kind":"standard","ownership":"organization","bulk":["create","update"],"columns":[%[3]s]}`, name, set, strings.Join(columns, ","))
	}
	s, err := schema.Read(strings.NewReader(`{"version":1,"source":"test","tables":[` + strings.Join([]string{
		table("contract", "contracts", text("name", 100), file("paper"), file("draft"), `{"name":"scan","schemaName":"Scan","type":"image","maxSizeKB":1024}`,
			`{"name":"statecode","schemaName":"StateCode","type":"state","noCreate":true,"default":0,"options":[{"value":0,"label":"Open","defaultStatus":1},{"value":1,"label":"Closed","defaultStatus":2}]}`,
			`{"name":"statuscode","schemaName":"StatusCode","type":"status","options":[{"value":1,"label":"Open","state":0},{"value":2,"label":"Closed","state":1}]}`),
		table("annotation", "annotations", text("subject", 100), text("filename", 255), text("mimetype", 255), text("documentbody", 1<<28)),
		table("activitymimeattachment", "activitymimeattachments", text("subject", 100), text("filename", 255), text("body", 1<<28)),
	}, ",") + `]}`))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

var recordOf = regexp.MustCompile(`\([0-9a-f-]{36}\)`)

// requireFilesForetold: the estimate knows how many requests the files of a record take, and where they are stored.
func requireFilesForetold(t *testing.T, dir, url string) {
	t.Helper()
	p := reopen(t, dir, Staging, url)
	if _, err := p.Stage(t.Context(), nil, func(string, float64) {}); err != nil {
		t.Fatal(err)
	}
	e, err := p.Estimate(t.Context(), EstimateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, r := range e.Rows {
		if r.Pass == plan.Files {
			got = append(got, fmt.Sprintf("%s %d in %d", r.Table, r.Operations, r.Requests))
		}
	}
	slices.Sort(got)
	if text := strings.Join(got, ", "); text != "annotation 2 in 2, contract 2 in 6" || e.Storage.FileBytes < 30 {
		t.Errorf("estimate of files: %s; %d bytes", text, e.Storage.FileBytes)
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
}

// requireFilesMeasured: a load notes what the content of files took, for the report and the next estimate: by
// record and by request, of which a record with several files takes several.
func requireFilesMeasured(t *testing.T, dir, url string) {
	t.Helper()
	p := reopen(t, dir, Loading, url)
	profile, err := p.LoadProfile()
	if err != nil || len(profile.Runs) != 1 {
		t.Fatalf("%d runs, %v", len(profile.Runs), err)
	}
	var got []string
	for _, m := range profile.Runs[0].Tables {
		if m.Pass == plan.Files {
			got = append(got, fmt.Sprintf("%s %d in %d", m.Table, m.Records, m.Requests))
			if m.Sum <= 0 || m.Seconds <= 0 || m.Bytes == 0 {
				t.Errorf("%+v", m)
			}
		}
	}
	if text := strings.Join(got, ", "); text != "annotation 2 in 2, contract 2 in 6" {
		t.Errorf("files: %s", text)
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestOnlyChangedFilesAreSentAgain: of a row whose file alone has changed that file is sent and
// nothing else; of one that has changed otherwise, none of its files; one that has lost a file
// clears that column alone; and a record that is made active again is so, though it has files. The
// first time no file is asked for before it is sent.
func TestOnlyChangedFilesAreSentAgain(t *testing.T) {
	s := papersSchema(t)
	e, err := emulator.New(emulator.Options{Schema: s})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	var mu sync.Mutex
	var writes, asked []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet && strings.HasSuffix(r.URL.Path, "/$value") {
			mu.Lock()
			asked = append(asked, r.URL.Path)
			mu.Unlock()
		}
		if r.Method != http.MethodGet && !strings.HasSuffix(r.URL.Path, "$batch") {
			mu.Lock()
			writes = append(writes, r.Method+" "+recordOf.ReplaceAllString(strings.TrimPrefix(r.URL.Path, "/api/data/v9.2/"), ""))
			mu.Unlock()
		}
		e.ServeHTTP(w, r)
	}))
	defer server.Close()
	dir := otherProject(t, server.URL, s, map[string]string{
		"migration.yaml":                       "version: 1\nname: papers\ntarget: {url: " + server.URL + ", auth: none}\nsources: {c: {path: c.csv, types: text}}\n",
		"c.csv":                                "key,name,paper,draft,scan,state\nC1,one,1.pdf,1.txt,1.png,0\nC2,two,2.pdf,2.txt,2.png,1\n",
		"transform/contract.sql":               "SELECT key AS legacy_key, name, file(paper) AS paper, file(draft) AS draft, file(scan) AS scan, state::INTEGER AS statecode, 1 + state::INTEGER AS statuscode FROM c",
		"transform/annotation.sql":             "SELECT key AS legacy_key, name AS subject, file(paper) AS documentbody FROM c",
		"transform/activitymimeattachment.sql": "SELECT key AS legacy_key, name AS subject, file(draft) AS body FROM c"})
	folder := filepath.Join(dir, "files")
	if err := os.Mkdir(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	put := func(name, content string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(folder, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 2 {
		for kind, head := range map[string]string{"pdf": "pdf", "txt": "txt", "png": "\x89PNG"} {
			put(fmt.Sprintf("%d.%s", i+1, kind), fmt.Sprint(head, i+1))
		}
	}
	requireFilesForetold(t, dir, server.URL)
	stageAndLoad(t, dir, server.URL)
	requireFilesMeasured(t, dir, server.URL)
	if len(asked) > 0 { // a new record has no file: to ask doubles the requests
		t.Errorf("asked for %v", asked)
	}
	for _, c := range []struct {
		name   string
		change func()
		want   []string
	}{
		{"files alone", func() {
			put("1.pdf", "another") // of a contract and a note
			put("2.png", "\x89PNG other")
			put("2.txt", "another") // of a contract and an attachment
		}, []string{"PATCH activitymimeattachments", "PATCH annotations", "PATCH contracts/draft", "PATCH contracts/paper", "PATCH contracts/scan"}},
		{"names alone", func() { edit(t, filepath.Join(dir, "c.csv"), "one", "eins") }, []string{"PATCH activitymimeattachments", "POST annotations/Microsoft.Dynamics.CRM.UpdateMultiple", "POST contracts/Microsoft.Dynamics.CRM.UpdateMultiple"}},
		{"a file is gone", func() { edit(t, filepath.Join(dir, "c.csv"), "1.pdf,1.txt", "1.pdf,") }, []string{"DELETE contracts/draft", "PATCH activitymimeattachments"}},
		{"another state", func() { edit(t, filepath.Join(dir, "c.csv"), "2.png,1", "2.png,0") }, []string{"POST contracts/Microsoft.Dynamics.CRM.UpdateMultiple"}},
		{"a name, a file and the state", func() {
			put("2.pdf", "another")
			edit(t, filepath.Join(dir, "c.csv"), "two,2.pdf,2.txt,2.png,0", "zwei,2.pdf,2.txt,2.png,1")
		}, []string{"PATCH activitymimeattachments", "PATCH annotations", "PATCH contracts/paper", "POST annotations/Microsoft.Dynamics.CRM.UpdateMultiple",
			"POST contracts/Microsoft.Dynamics.CRM.UpdateMultiple", "POST contracts/Microsoft.Dynamics.CRM.UpdateMultiple"}},
	} {
		writes = nil
		c.change()
		stageAndLoad(t, dir, server.URL)
		if slices.Sort(writes); !slices.Equal(writes, c.want) {
			t.Errorf("%s: sent %q, want %q", c.name, writes, c.want)
		}
	}
	rows := plainRows(t, server.URL, "contracts")
	for _, row := range rows {
		if one := row["name"] == "eins"; (row["draft"] == nil) != one || row["paper"] == nil || row["scan"] == nil || fmt.Sprint(row["statecode"]) != map[bool]string{true: "0", false: "1"}[one] {
			t.Errorf("contract %v", row)
		}
	}
	if len(rows) != 2 {
		t.Errorf("%d contracts", len(rows))
	}
}
