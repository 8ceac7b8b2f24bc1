package cli

import (
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"dvmigrate/appliance/dataverse/emulator"
)

// filesProject is a project with every kind of file: in a file column, in an image that is
// not the primary one, as bytes in another, in notes and in attachments of both sizes.
func filesProject(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "files")
	id := func(table string) string {
		return fmt.Sprintf(`{"name":"%sid","schemaName":"Id","type":"uniqueid","required":"system","noUpdate":true}`, table)
	}
	text := func(name string, most int) string {
		return fmt.Sprintf(`{"name":%q,"schemaName":%q,"type":"text","maxLength":%d}`, name, name, most)
	}
	table := func(name, set string, columns ...string) string {
		return fmt.Sprintf(`{"name":%[1]q,"schemaName":%[1]q,"entitySet":%[2]q,"primaryId":"%[1]sid","primaryName":"name","kind":"standard","ownership":"organization","bulk":["create","update"],"columns":[%[3]s]}`,
			name, set, strings.Join(append(columns, id(name)), ","))
	}
	state := `{"name":"statecode","schemaName":"StateCode","type":"state","noCreate":true,"default":0,"options":[{"value":0,"label":"Open","defaultStatus":1},{"value":1,"label":"Closed","defaultStatus":2}]},` +
		`{"name":"statuscode","schemaName":"StatusCode","type":"status","options":[{"value":1,"label":"Open","state":0},{"value":2,"label":"Closed","state":1}]}`
	files := map[string]string{
		"migration.yaml": "version: 1\nname: files\ntarget: {auth: none}\nfiles: papers\n",
		"schema.json": `{"version":1,"source":"test","tables":[` + strings.Join([]string{
			table("contract", "contracts", text("name", 100), `{"name":"paper","schemaName":"Paper","type":"file","noCreate":true,"noUpdate":true,"maxSizeKB":10240}`, text("paper_name", 255),
				`{"name":"scan","schemaName":"Scan","type":"image","maxSizeKB":1024}`, `{"name":"stamp","schemaName":"Stamp","type":"image","maxSizeKB":1024}`, state),
			table("annotation", "annotations", text("subject", 100), text("filename", 255), text("mimetype", 255), text("documentbody", 1<<28)),
			table("activitymimeattachment", "activitymimeattachments", text("subject", 100), text("filename", 255), text("body", 1<<28)),
		}, ",") + `]}`,
		"transform/contract.sql": `SELECT i AS legacy_key, 'c' || i AS name, CASE WHEN i < 5 THEN file('a/' || i || '.pdf', 'Vertrag № ' || i || '.pdf') END AS paper,
			CASE WHEN i % 2 = 0 THEN file('scan.png') END AS scan, CASE WHEN i = 3 THEN from_base64('R0lGODlh') END AS stamp, i % 2 AS statecode, 1 + i % 2 AS statuscode FROM range(6) t (i)` + "\n",
		"transform/annotation.sql":             `SELECT i AS legacy_key, 'n' || i AS subject, file('a/' || i || '.pdf') AS documentbody FROM range(4) t (i)` + "\n",
		"transform/activitymimeattachment.sql": `SELECT i AS legacy_key, 's' || i AS subject, file('a/' || i || '.pdf') AS body FROM range(4) t (i)` + "\n",
		"papers/scan.png":                      "\x89PNG" + strings.Repeat("p", 100),
	}
	for i, size := range []int{0, 1, 1000, 2<<20 + 1, 5 << 20} {
		files[fmt.Sprintf("papers/a/%d.pdf", i)] = strings.Repeat(fmt.Sprint(i), size)
	}
	writeFiles(t, dir, files)
	return dir
}

// requireFiles requires that the target holds every file, whole and once.
func requireFiles(t *testing.T, e *emulator.Server) {
	t.Helper()
	base := func(size int) int { return (size + 2) / 3 * 4 }
	sizes := []int{0, 1, 1000, 2<<20 + 1}
	contracts := rowsOf(t, e, "contract")
	if len(contracts) != 6 {
		t.Errorf("%d contracts", len(contracts))
	}
	for _, row := range contracts {
		var i int
		if _, err := fmt.Sscanf(row["name"].(string), "c%d", &i); err != nil {
			t.Fatal(err)
		}
		if name := fmt.Sprintf("Vertrag № %d.pdf", i); i < 5 && (row["paper"] == nil || row["paper_name"] != name) || i == 5 && row["paper"] != nil {
			t.Errorf("contract %d has paper %v called %v", i, row["paper"], row["paper_name"])
		}
		if (row["scan"] != nil) != (i%2 == 0) || (row["stamp"] != nil) != (i == 3) || fmt.Sprint(row["statecode"]) != fmt.Sprint(i%2) {
			t.Errorf("contract %d: scan %v, stamp %v, state %v", i, row["scan"] != nil, row["stamp"] != nil, row["statecode"])
		}
	}
	for table, column := range map[string]string{"annotation": "documentbody", "activitymimeattachment": "body"} {
		rows := rowsOf(t, e, table)
		if len(rows) != 4 {
			t.Errorf("%d of %s", len(rows), table)
		}
		for _, row := range rows {
			var i int
			if _, err := fmt.Sscanf(row["subject"].(string)[1:], "%d", &i); err != nil {
				t.Fatal(err)
			}
			if body, _ := row[column].(string); len(body) != base(sizes[i]) || row["filename"] != fmt.Sprintf("%d.pdf", i) {
				t.Errorf("%s %d: %d characters of content called %v", table, i, len(body), row["filename"])
			}
		}
	}
}

func filesEmulator(t *testing.T, dir string) *emulator.Server {
	t.Helper()
	e, err := (&emulatorCommand{schema: filepath.Join(dir, "schema.json"), noLimits: true}).server(&Env{dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// TestKilledUploadIsWhole kills the loader at writes of a load with files, and loads on:
// each file is in the target, whole.
func TestKilledUploadIsWhole(t *testing.T) {
	project := filesProject(t)
	mustRun(t, dvmigrate("-C", project, "stage"), 0)
	for i := range 8 {
		at, after := int64(3+3*i), i%2 == 1
		t.Run(fmt.Sprintf("write %d, applied %t", at, after), func(t *testing.T) {
			t.Parallel()
			dir := filepath.Join(t.TempDir(), "files")
			if err := os.CopyFS(dir, os.DirFS(project)); err != nil {
				t.Fatal(err)
			}
			target := &trap{Server: filesEmulator(t, dir), at: at, after: after}
			server := httptest.NewServer(target)
			defer server.Close()
			killLoad(t, dir, server.URL, target)
			mustRun(t, loadInto(dir, server.URL), 0)
			reconcile := dvmigrate("-C", dir, "reconcile")
			reconcile.Env = append(reconcile.Env, "DVMIGRATE_TARGET_URL="+server.URL)
			mustRun(t, reconcile, 0)
			requireFiles(t, target.Server)
			if s := target.Stats(); s.Created != 14 {
				t.Errorf("%d records created, want 14", s.Created)
			}
		})
	}
}
