package dataverse_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"testing"

	"dvmigrate/appliance/dataverse"
	"dvmigrate/appliance/dataverse/schema"
)

// filesWorld adds to the world notes and attachments.
func filesWorld(t *testing.T) *schema.Schema {
	t.Helper()
	w := world(t)
	body := func(name, set, column string) *schema.Table {
		return &schema.Table{LogicalName: name, SchemaName: name, EntitySet: set, PrimaryID: name + "id", Kind: schema.Standard, Ownership: schema.OrganizationOwned,
			Columns: []*schema.Column{
				{LogicalName: name + "id", Type: schema.UniqueID, NoUpdate: true},
				{LogicalName: "subject", Type: schema.Text, MaxLength: 100},
				{LogicalName: "filename", Type: schema.Text, MaxLength: 255},
				{LogicalName: column, Type: schema.Text, MaxLength: 1 << 28},
			}}
	}
	s, err := schema.New(append(w.Tables, body("annotation", "annotations", "documentbody"), body("activitymimeattachment", "activitymimeattachments", "body")), w.ManyToMany)
	if err != nil {
		t.Fatal(err)
	}
	s.Table("account").Column("contoso_paper").MaxSizeKB = 9 << 10
	return s
}

// sized is a file of so many bytes that differ from one another.
func sized(name string, n int) dataverse.Content {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i ^ i>>8 ^ i>>16)
	}
	return dataverse.Content{Name: name, Size: int64(n), ReaderAt: bytes.NewReader(b)}
}

// TestFiles puts files of the sizes where the ways differ into columns, notes and
// attachments, and reads them back.
func TestFiles(t *testing.T) {
	s := filesWorld(t)
	c := connect(t, s)
	account, note, attachment := s.Table("account"), s.Table("annotation"), s.Table("activitymimeattachment")
	for _, f := range []dataverse.Content{sized("empty.bin", 0), sized("a.pdf", 1), sized("Prüfung 100 %.pdf", dataverse.MaxChunk/2+1), sized("one.bin", dataverse.MaxChunk), sized("more.bin", 2*dataverse.MaxChunk+1)} {
		t.Run(fmt.Sprintf("%s, %d bytes", f.Name, f.Size), func(t *testing.T) {
			id := newID()
			wantDone(t, c.Create(t.Context(), account, fmt.Appendf(nil, `{"accountid":"%s"}`, id)))
			if _, _, there, err := c.FileOf(t.Context(), account, id, "contoso_paper"); err != nil || there {
				t.Errorf("a new record has a file: %t, %v", there, err)
			}
			wantDone(t, c.ClearFile(t.Context(), account, id, "contoso_paper"))
			wantDone(t, c.UploadFile(t.Context(), account, id, "contoso_paper", f))
			name, size, there, err := c.FileOf(t.Context(), account, id, "contoso_paper")
			if err != nil || !there || name != f.Name || size != f.Size {
				t.Errorf("the file reads back as %q of %d bytes, %t, %v", name, size, there, err)
			}
			wantDone(t, c.ClearFile(t.Context(), account, id, "contoso_paper"))
			if _, _, there, err := c.FileOf(t.Context(), account, id, "contoso_paper"); err != nil || there {
				t.Errorf("the file is still there: %t, %v", there, err)
			}

			if f.Size >= dataverse.MaxChunk { // only a file column takes another way from here on
				return
			}
			wantDone(t, c.Create(t.Context(), note, fmt.Appendf(nil, `{"annotationid":"%s","subject":"s"}`, id)))
			for range 2 { // a second time does no harm
				wantDone(t, c.UpdateNote(t.Context(), note, id, fmt.Appendf(nil, `,"filename":%q`, f.Name), f))
			}
			wantBody(t, c, note, id, "documentbody", f)

			create := fmt.Appendf(nil, `{"activitymimeattachmentid":"%s","filename":%q}`, id, f.Name)
			made, err := c.CreateAttachment(t.Context(), attachment, create, f)
			if err != nil || made != id {
				t.Errorf("attachment %v made, want %v: %v", made, id, err)
			}
			_, err = c.CreateAttachment(t.Context(), attachment, create, f)
			want(t, err, dataverse.Duplicate)
			wantBody(t, c, attachment, id, "body", f)
		})
	}
}

// wantBody requires a row's Base64 text to be the file, and its filename the file's.
func wantBody(t *testing.T, c *dataverse.Client, table *schema.Table, id schema.GUID, column string, f dataverse.Content) {
	t.Helper()
	rows := 0
	q := dataverse.Query{Select: []string{"filename", column}, Filter: table.PrimaryID + " eq " + id.String()}
	err := c.Rows(t.Context(), table, q, func(row json.RawMessage) error {
		rows++
		var have map[string]any
		if err := json.Unmarshal(row, &have); err != nil {
			return err
		}
		all := make([]byte, f.Size)
		if f.Size > 0 {
			if _, err := f.ReadAt(all, 0); err != nil {
				return err
			}
		}
		text, _ := have[column].(string)
		if text != base64.StdEncoding.EncodeToString(all) || have["filename"] != f.Name {
			t.Errorf("%s %v: %q with %d characters of content", table.LogicalName, id, have["filename"], len(text))
		}
		return nil
	})
	if err != nil || rows != 1 {
		t.Errorf("%d rows of %s: %v", rows, table.LogicalName, err)
	}
}

// TestFilesRefused: what is too large or of the wrong kind is the row's fault, and a file
// that is shorter than it was is its own.
func TestFilesRefused(t *testing.T) {
	s := filesWorld(t)
	c := connect(t, s)
	account, id := s.Table("account"), newID()
	wantDone(t, c.Create(t.Context(), account, fmt.Appendf(nil, `{"accountid":"%s"}`, id)))
	want(t, c.UploadFile(t.Context(), account, id, "contoso_paper", sized("x.exe", 3)), dataverse.RowFault)
	want(t, c.UploadFile(t.Context(), account, id, "entityimage", sized("x.png", 3)), dataverse.RowFault)
	want(t, c.UploadFile(t.Context(), account, id, "contoso_paper", sized("x.bin", 9<<20+1)), dataverse.RowFault)
	want(t, c.UploadFile(t.Context(), account, newID(), "contoso_paper", sized("x.bin", 3)), dataverse.NotFound)
	short := sized("x.bin", 3)
	short.Size = 4
	var read *dataverse.ReadError
	if err := c.UploadFile(t.Context(), account, id, "contoso_paper", short); !errors.As(err, &read) {
		t.Errorf("a file that has become shorter: %v", err)
	}
}

func wantDone(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
