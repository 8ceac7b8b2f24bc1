package mapping

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"dvmigrate/appliance/dataverse/schema"
	"dvmigrate/duckstage/column"
)

// TestFilesComeLate: files and images that no new record takes are in no write but the
// files pass, and their rows owe it.
func TestFilesComeLate(t *testing.T) {
	s := testSchema(t)
	m, faults := Bind(s, "account", []Selected{{"legacy_key", "VARCHAR"}, {"name", "VARCHAR"}, {"plan", fileType}, {"photo", "BLOB"}}, all)
	if len(faults) > 0 {
		t.Fatal(faults)
	}
	for w, want := range map[Write][]string{Insert: {ID, "name"}, Update: {ID, "name"}, Files: {ID, "photo"}, State: {ID}, Lookups: {ID}} {
		if got := m.Encoder(w, nil).StageColumns(); !slices.Equal(got, want) {
			t.Errorf("write %d takes %v, want %v", w, got, want)
		}
	}
	if owed := m.OwedSQL(nil); !strings.Contains(owed, `"plan" IS NOT NULL OR "photo" IS NOT NULL THEN 4`) {
		t.Errorf("rows owe %s", owed)
	}
	var names []string
	for _, c := range m.Files() {
		names = append(names, c.LogicalName)
	}
	if !m.HasFiles() || !slices.Equal(names, []string{"plan"}) {
		t.Errorf("files are %v, %t", names, m.HasFiles())
	}
}

// TestAttachmentsAreNotLate: the body of an attachment goes with its record.
func TestAttachmentsAreNotLate(t *testing.T) {
	tables := []*schema.Table{{LogicalName: "activitymimeattachment", PrimaryID: "activitymimeattachmentid", Columns: []*schema.Column{{LogicalName: "body", Type: schema.Text}}}}
	s, err := schema.New(tables, nil)
	if err != nil {
		t.Fatal(err)
	}
	m, faults := Bind(s, "activitymimeattachment", []Selected{{"legacy_key", "VARCHAR"}, {"body", fileType}}, all)
	if len(faults) > 0 || m.HasFiles() || len(m.Files()) != 1 || !m.Files()[0].IsAttachment() {
		t.Errorf("%+v, %v", m, faults)
	}
}

func TestFileRows(t *testing.T) {
	b := &column.Batch{Rows: 2, Columns: []column.Vector{{Name: "plan", Type: column.Text}}}
	b.Columns[0].AppendText(`{"file":"a/b.pdf","name":"x.pdf","size":7,"modified":"2026-01-01 00:00:00"}`)
	b.Columns[0].AppendNull(1)
	m := &Table{Name: "account"}
	r, err := m.FileRows(b, []Column{{Column: &schema.Column{LogicalName: "plan"}, File: true}})
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []File{{"a/b.pdf", "x.pdf", 7}, {}} {
		if got, err := r.Row(i); err != nil || cmp.Diff([]File{want}, got) != "" {
			t.Errorf("row %d is %v, %v", i, got, err)
		}
	}
	for body, want := range map[string]bool{`{"a":null}`: true, `{"a":null,"b":"QUJD"}`: false, `{}`: true, `{"a":null,"b":null}`: true} {
		if ClearsAll([]byte(body)) != want {
			t.Errorf("%s: %t", body, !want)
		}
	}
}
