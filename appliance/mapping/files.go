package mapping

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"

	"dvmigrate/appliance/dataverse/schema"
	"dvmigrate/duckstage/column"
)

// A column that is given as file(path) takes its content from a file. The stage has a JSON
// object for it: {"file":"contracts/7.pdf","name":"7.pdf","size":4711,"modified":"..."};
// size and modified are null where there is no such file. A file column and an image get
// it by an upload, a note's body by an update of the note, all in the files pass, since
// the record has to be there first; an attachment is made together with it
// (dataverse-web-api.md 13).

// File is what the stage says of a file.
type File struct {
	Path string `json:"file"` // in the folder of the files, with slashes
	Name string `json:"name"` // that it gets in the target
	Size int64  `json:"size"`
}

// The tables whose bodies are files.
const noteTable, attachmentTable = "annotation", "activitymimeattachment"

// isFile reports whether a SQL type is what file() returns.
func isFile(sqlType string) bool { return strings.HasPrefix(sqlType, "STRUCT(dm_file ") }

// bindFile binds a column that takes its content from files.
func (b *binder) bindFile(c Selected, col *schema.Column) {
	t := b.out
	probe := Column{Column: col}
	switch {
	case !isFile(c.SQLType):
		b.fault(c.Name, fmt.Sprintf("takes its content from a file: yield file('path'), or file('path', 'name'), not a %s", c.SQLType))
		return
	case col.Type != schema.File && !probe.Base64(t.Name):
		b.fault(c.Name, fmt.Sprintf("file() is for file and image columns, a note's documentbody and an attachment's body; this column is of type %s", col.Type))
		return
	}
	t.Columns = append(t.Columns, Column{Column: col, SQLType: "VARCHAR", File: true, Late: t.Name != attachmentTable})
}

// HasFiles reports whether the table's records have a files pass.
func (t *Table) HasFiles() bool {
	for _, c := range t.Columns {
		if c.Late {
			return true
		}
	}
	return false
}

// Files are the columns of the table that take their content from files.
func (t *Table) Files() []Column {
	var out []Column
	for _, c := range t.Columns {
		if c.File {
			out = append(out, c)
		}
	}
	return out
}

// IsNote reports whether the column is a note's body, and IsAttachment whether it is an
// attachment's, which is sent with the record.
func (c *Column) IsNote() bool       { return c.LogicalName == "documentbody" }
func (c *Column) IsAttachment() bool { return !c.Late }

// FileRows reads the files of one batch.
type FileRows struct{ vectors []*column.Vector }

// FileRows finds columns of Files in the batch.
func (t *Table) FileRows(b *column.Batch, files []Column) (*FileRows, error) {
	r := &FileRows{}
	for _, c := range files {
		v := b.Column(c.LogicalName)
		if v == nil || v.Type != column.Text {
			return nil, fmt.Errorf("encode %s: the batch has no column %s of files", t.Name, c.LogicalName)
		}
		r.vectors = append(r.vectors, v)
	}
	return r, nil
}

// Row are the files of row i, in the order of its columns; the zero File where it has none.
func (r *FileRows) Row(i int) ([]File, error) {
	out := make([]File, len(r.vectors))
	for k, v := range r.vectors {
		if v.Null(i) {
			continue
		}
		if err := json.Unmarshal(v.TextAt(i), &out[k]); err != nil {
			return nil, fmt.Errorf("read what the stage says of a file: %w", err)
		}
	}
	return out, nil
}

// FileBytesSQL is the SQL expression, over a staged row's columns, of the bytes that its
// files have.
func (t *Table) FileBytesSQL() string {
	terms := []string{"0"}
	for _, c := range t.Files() {
		terms = append(terms, "coalesce(TRY_CAST(json_extract_string("+Ident(c.LogicalName)+", '$.size') AS BIGINT), 0)")
	}
	return strings.Join(terms, " + ")
}

// FileRequestsSQL is the SQL expression of the requests that a row's files take when each has as
// many bytes at most: one, and where it is larger one before its pieces.
func (t *Table) FileRequestsSQL(most int64) string {
	terms := []string{"0"}
	for _, c := range t.Files() {
		size := "TRY_CAST(json_extract_string(" + Ident(c.LogicalName) + ", '$.size') AS BIGINT)"
		terms = append(terms, fmt.Sprintf("CASE WHEN %[1]s IS NULL THEN 0 WHEN %[1]s <= %[2]d THEN 1 ELSE 1 + ceil(%[1]s / %[2]d)::BIGINT END", size, most))
	}
	return strings.Join(terms, " + ")
}

// ClearsAll reports whether the body of a write of images does nothing but clear them.
func ClearsAll(body []byte) bool {
	return bytes.Count(body, []byte(`":`)) == bytes.Count(body, []byte(`":null`))
}
