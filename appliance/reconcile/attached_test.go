package reconcile

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"dvmigrate/appliance/dataverse"
	"dvmigrate/appliance/dataverse/schema"
)

// counted counts requests for fileattachment, and refuses them where it is told to.
type counted struct {
	*dataverse.Client
	pages, byID int
	refuse      bool
}

func (c *counted) Rows(ctx context.Context, t *schema.Table, q dataverse.Query, fn func(json.RawMessage) error) error {
	if t.LogicalName == "fileattachment" {
		if c.pages++; c.refuse {
			return &dataverse.Error{Kind: dataverse.Setup, Op: "Read fileattachments", Status: 403, Message: "is missing prvReadFileAttachment privilege"}
		}
	}
	return c.Client.Rows(ctx, t, q, fn)
}

func (c *counted) Records(ctx context.Context, t *schema.Table, ids []schema.GUID, columns []string, fn func(schema.GUID, json.RawMessage) error) error {
	if t.LogicalName == "fileattachment" {
		c.byID += len(ids)
	}
	return c.Client.Records(ctx, t, ids, columns, fn)
}

// TestFileSizes: the sizes of files in file columns are compared with fileattachment, which
// is read in pages, and by id for what those did not have, for a sample and for records that
// have another version.
func TestFileSizes(t *testing.T) {
	const n = 4 // the last has no file
	w := world(t)
	c := &counted{Client: environment(t, w)}
	rows := make([]string, n)
	for i := range rows {
		doc := "NULL"
		if i < n-1 {
			doc = fmt.Sprintf(`'{"file":"x","name":"%d.txt","size":%d}'`, i, i)
		}
		rows[i] = "'A', " + doc
	}
	s := stageAccounts(t, "name, doc", rows...)
	table := bind(t, w, "account", "name", "doc")
	for i := range uint32(n) {
		if err := c.Create(t.Context(), table.Schema, []byte(`{"accountid":"`+id("account", i).String()+`","name":"A"}`)); err != nil {
			t.Fatal(err)
		}
	}
	upload := func(seq uint32, content string) {
		t.Helper()
		f := dataverse.Content{Name: fmt.Sprint(seq, ".txt"), Size: int64(len(content)), ReaderAt: strings.NewReader(content)}
		if err := c.UploadFile(t.Context(), table.Schema, id("account", seq), "doc", f); err != nil {
			t.Fatal(err)
		}
	}
	for i := range uint32(n - 1) {
		upload(i, strings.Repeat("x", int(i)))
	}
	book := entries{"account": many(loaded, n)}
	known := &versionMap{equal: map[uint32]uint64{}, began: 1000}
	compare := func(want string, change ...func(*Options)) TableResult {
		t.Helper()
		c.pages, c.byID = 0, 0
		r := run(t, s, book, c, table, append(change, func(o *Options) {
			o.Versions = func(string, string) (Versions, error) { return known, nil }
		})...)
		if got := strings.Join(brief(r)[1:], "; "); got != want {
			t.Errorf("differs in %q, want %q", got, want)
		}
		return r
	}
	if compare(""); c.pages != 1 || c.byID != 0 {
		t.Errorf("%d pages of fileattachment were read, and %d files by id", c.pages, c.byID)
	}
	if compare("", func(o *Options) { o.SizesAhead = 1 }); c.byID != n-2 {
		t.Errorf("%d files were read by id", c.byID)
	}
	who := func(seq uint32) string { return fmt.Sprintf("different K%d|%s|", seq, id("account", seq)) }
	upload(2, "other")
	changed := who(2) + "doc.filesizeinbytes|2|5"
	if r := compare(changed, func(o *Options) { o.Changed = true }); c.pages != 0 || c.byID != 1 || r.Unchanged != n-1 || r.Columns[0].Class != ClassFile {
		t.Errorf("by versions %d pages and %d files were read, %d records are unchanged, %+v", c.pages, c.byID, r.Unchanged, r.Columns)
	}
	compare(changed)
	if err := c.ClearFile(t.Context(), table.Schema, id("account", 2), "doc"); err != nil {
		t.Fatal(err)
	}
	gone := who(2) + "doc_name|2.txt|; " + who(2) + "doc.filesizeinbytes|2|"
	compare(gone)
	upload(3, "not of ours")
	r := compare(gone+"; "+who(3)+"doc_name||3.txt; "+who(3)+"doc.filesizeinbytes||11", func(o *Options) { o.Samples = n })
	if len(r.Samples) != n {
		t.Errorf("%d samples", len(r.Samples))
	}
	if r := run(t, s, book, c, table, func(o *Options) { o.Sample = 3 }); r.Sampled != 3 || r.Different == 0 || c.pages != 1 {
		t.Errorf("of a sample: %+v, %d pages", r, c.pages)
	}
	c.refuse = true
	if r := compare(who(2) + "doc_name|2.txt|; " + who(3) + "doc_name||3.txt"); !strings.Contains(r.NoSizes, "prvReadFileAttachment") || known.equal[0] != 0 {
		t.Errorf("refused: %q, %v", r.NoSizes, known.equal)
	}
}
