package appliance

import (
	"bytes"
	"fmt"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"dvmigrate/appliance/dataverse/emulator"
	"dvmigrate/appliance/dataverse/schema"
	"dvmigrate/appliance/plan"
	"dvmigrate/appliance/sample"
)

// rehearsed rehearses a project of these files, which is staged first.
func rehearsed(t *testing.T, s *schema.Schema, files map[string]string) Rehearsal {
	t.Helper()
	e, err := emulator.New(emulator.Options{Schema: s, Discard: true, AssumeBulk: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	server := httptest.NewServer(e)
	t.Cleanup(server.Close)
	dir := otherProject(t, server.URL, s, files)
	p := reopen(t, dir, Staging, server.URL)
	if r, err := p.Stage(t.Context(), nil, func(string, float64) {}); err != nil {
		t.Fatal(err)
	} else if _, held := r.Aside(); held > 0 {
		t.Fatalf("%d rows are held", held)
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	p = reopen(t, dir, DryRunning, server.URL)
	r, err := p.Rehearse(t.Context(), t.Context(), server.URL, 1)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestARehearsalOfFiles: file columns, images, notes and attachments are sent as in the load.
func TestARehearsalOfFiles(t *testing.T) {
	files := map[string]string{
		"migration.yaml":                       "version: 1\nname: papers\ntarget: {url: https://no.example, auth: none}\nfiles: .\nsources: {c: {path: c.csv, types: text}}\n",
		"c.csv":                                "key,name,paper,scan,state\nC1,one,1.pdf,1.png,0\nC2,two,2.pdf,2.png,1\n",
		"transform/contract.sql":               "SELECT key AS legacy_key, name, file(paper) AS paper, file(scan) AS scan, state::INTEGER AS statecode, 1 + state::INTEGER AS statuscode FROM c",
		"transform/annotation.sql":             "SELECT key AS legacy_key, name AS subject, file(paper) AS documentbody FROM c",
		"transform/activitymimeattachment.sql": "SELECT key AS legacy_key, name AS subject, file(paper) AS body FROM c"}
	for i := range 2 {
		files[fmt.Sprint(i+1, ".pdf")], files[fmt.Sprint(i+1, ".png")] = "pdf", "\x89PNG"
	}
	r := rehearsed(t, papersSchema(t), files)
	var got []string
	for _, x := range r.Steps {
		if x.Pass == plan.Files {
			got = append(got, fmt.Sprintf("%s %d of %d", x.Table, x.Records, x.Expected))
		}
	}
	slices.Sort(got)
	if text := strings.Join(got, ", "); text != "annotation 2 of 2, contract 2 of 2" || r.Summary.Processed != 6 {
		t.Errorf("%s; %+v", text, r.Summary)
	}
}

// TestARehearsalOfRecordsOfOthers: records that are created as the users of the source are so as the emulator's own.
func TestARehearsalOfRecordsOfOthers(t *testing.T) {
	s, err := schema.Read(bytes.NewReader(sample.Schema()))
	if err != nil {
		t.Fatal(err)
	}
	r := rehearsed(t, s, map[string]string{
		"migration.yaml":        "version: 1\nname: shared\ntarget: {url: https://no.example, auth: none}\nsources: {a: {path: a.csv, types: text}}\ntables: {account: {impersonate: createdby}}\n",
		"a.csv":                 "key,who\nA1,0f8fad5b-d9cb-469f-a165-70867728950e\nA2,\n",
		"transform/account.sql": "SELECT key AS legacy_key, key AS name, existing('systemuser', who) AS createdby FROM a"})
	if r.Summary.Processed != 2 {
		t.Errorf("%+v", r.Summary)
	}
}
