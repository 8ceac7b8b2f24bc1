package appliance

import (
	"archive/zip"
	"bytes"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"dvmigrate/appliance/dataverse/emulator"
)

// writePackage writes a package of the Configuration Migration Tool: a contract with a file and an
// image, another without, and the files, at a time.
func writePackage(t *testing.T, path string, at time.Time, name string, files map[string][]byte, image []byte) {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	put := func(name string, content []byte) {
		w, err := z.CreateHeader(&zip.FileHeader{Name: name, Method: zip.Deflate, Modified: at})
		if err == nil {
			_, err = w.Write(content)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	put("data_schema.xml", []byte(`<entities><entity name="contract" primaryidfield="contractid"><fields><field name="name" type="string"/>
		<field name="paper" type="filedata"/><field name="draft" type="filedata"/><field name="scan" type="imagedata"/></fields></entity></entities>`))
	put("data.xml", fmt.Appendf(nil, `<entities><entity name="contract"><records>
		<record id="10000000-0000-0000-0000-000000000001"><field name="contractid" value="10000000-0000-0000-0000-000000000001"/><field name="name" value="%s"/>
			<field name="paper" value="AAAAAAAA-0000-0000-0000-000000000001" filename="plan.pdf"/><field name="draft" value="aaaaaaaa-0000-0000-0000-000000000002" filename="d &amp; e.txt"/><field name="scan" value="%s"/></record>
		<record id="10000000-0000-0000-0000-000000000002"><field name="contractid" value="10000000-0000-0000-0000-000000000002"/><field name="name" value="two"/></record>
		</records></entity></entities>`, name, base64.StdEncoding.EncodeToString(image)))
	for name, content := range files {
		put(name, content)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestFilesOfAPackage: a package's files and images go from the draft into the target as they
// are, without unpacking it; another export of the same sends none again.
func TestFilesOfAPackage(t *testing.T) {
	s := papersSchema(t)
	e, err := emulator.New(emulator.Options{Schema: s})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	var uploads atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPatch && (strings.HasSuffix(r.URL.Path, "/paper") || strings.HasSuffix(r.URL.Path, "/draft")) {
			uploads.Add(1)
		}
		e.ServeHTTP(w, r)
	}))
	defer server.Close()
	dir := otherProject(t, server.URL, s, map[string]string{"migration.yaml": "version: 1\nname: papers\ntarget: {url: " + server.URL + ", auth: none}\nsources: {edu: {path: p.zip, format: cmt}}\n"})
	large := bytes.Repeat([]byte("0123456789abcdef"), 300_000) // 4.8 MB: in chunks
	files := map[string][]byte{"files/aaaaaaaa-0000-0000-0000-000000000001.bin": large, `files\AAAAAAAA-0000-0000-0000-000000000002.bin`: []byte("draft")}
	image := append([]byte("\x89PNG\r\n\x1a\n"), large[:100]...)
	path := filepath.Join(dir, "p.zip")
	writePackage(t, path, time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC), "one", files, image)
	p := reopen(t, dir, Staging, server.URL)
	if _, err := p.Stage(t.Context(), nil, func(string, float64) {}); err != nil {
		t.Fatal(err)
	}
	if d, err := p.Draft(t.Context(), func(string, float64) {}); err != nil || len(d.Faults) > 0 || len(d.Open) > 0 {
		t.Fatalf("%v, %+v", err, d)
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	sql, err := os.ReadFile(filepath.Join(dir, "transform", "contract.sql"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"file(s.paper_path, s.paper_filename) AS paper", "file(s.draft_path, s.draft_filename) AS draft", " AS scan"} {
		if !strings.Contains(strings.Join(strings.Fields(string(sql)), " "), want) {
			t.Errorf("no %s in the draft:\n%s", want, sql)
		}
	}
	stageAndLoad(t, dir, server.URL)
	rows := plainRows(t, server.URL, "contracts")
	if len(rows) != 2 || uploads.Load() < 2 {
		t.Fatalf("%d contracts, %d uploads", len(rows), uploads.Load())
	}
	for _, row := range rows {
		one := row["name"] == "one"
		if one && (row["paper_name"] != "plan.pdf" || row["draft_name"] != "d & e.txt") {
			t.Errorf("names: %v", row)
		}
		for column, want := range map[string][]byte{"paper": large, "draft": []byte("draft"), "scan": image} {
			if got := content(t, fmt.Sprintf("%s/api/data/v9.2/contracts(%s)/%s/$value", server.URL, row["contractid"], column)); one && !bytes.Equal(got, want) || !one && len(got) > 0 {
				t.Errorf("%s of %v has %d bytes", column, row["name"], len(got))
			}
		}
	}
	uploads.Store(0)
	writePackage(t, path, time.Date(2024, 2, 1, 0, 0, 0, 0, time.UTC), "eins", files, image)
	stageAndLoad(t, dir, server.URL)
	if rows := plainRows(t, server.URL, "contracts"); uploads.Load() > 0 || rows[0]["name"] != "eins" && rows[1]["name"] != "eins" {
		t.Errorf("%d uploads, %v", uploads.Load(), rows)
	}
	delete(files, "files/aaaaaaaa-0000-0000-0000-000000000001.bin") // an export without files
	writePackage(t, path, time.Date(2024, 3, 1, 0, 0, 0, 0, time.UTC), "eins", files, image)
	p = reopen(t, dir, Staging, server.URL)
	defer p.Close()
	if _, err := p.Stage(t.Context(), nil, func(string, float64) {}); err != nil {
		t.Fatal(err)
	}
	var hold string
	if err := p.stage.Row(t.Context(), []any{&hold}, "SELECT dm_hold FROM contract WHERE dm_hold IS NOT NULL"); err != nil || !strings.Contains(hold, "edu:files/aaaaaaaa-0000-0000-0000-000000000001.bin") {
		t.Errorf("%q, %v", hold, err)
	}
}

// content is what a GET answers.
func content(t *testing.T, url string) []byte {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer reader")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	data, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return data
}
