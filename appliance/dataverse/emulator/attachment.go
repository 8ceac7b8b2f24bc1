package emulator

import (
	"slices"
	"strings"

	"dvmigrate/appliance/dataverse/schema"
)

// What the service keeps of each file in a file column beside the row is a row of
// fileattachment, whose id is the file's: name, size, type, and whose it is (section 13.1;
// learn.microsoft.com, Web API reference, fileattachment; "Use file column data": each table
// with a file column has the relationship <table>_FileAttachments, and regardingfieldname is
// the column's logical name). The rows are the service's own: they come with an upload and
// go with the file or its row. Images have none: where the service keeps the size of an
// image is not published.

const attachmentsTable = "fileattachment"

// withAttachments gives tables that have file columns the table of their files, or that
// table, where the schema has it, the relationships that it lacks.
func withAttachments(tables []*schema.Table) []*schema.Table {
	var owners []*schema.Table
	for _, t := range tables {
		if t.LogicalName != attachmentsTable && slices.ContainsFunc(t.Columns, func(c *schema.Column) bool { return c.Type == schema.File }) {
			owners = append(owners, t)
		}
	}
	if len(owners) == 0 {
		return tables
	}
	tables = slices.Clone(tables)
	at := slices.IndexFunc(tables, func(t *schema.Table) bool { return t.LogicalName == attachmentsTable })
	if at < 0 {
		at = len(tables)
		tables = append(tables, newAttachments())
	}
	all := *tables[at]
	all.ManyToOne = slices.Clone(all.ManyToOne)
	for _, t := range owners {
		if !slices.ContainsFunc(all.ManyToOne, func(r schema.Relationship) bool { return r.Target == t.LogicalName }) {
			name := t.LogicalName + "_FileAttachments"
			all.ManyToOne = append(all.ManyToOne, schema.Relationship{SchemaName: name, Column: "objectid", Target: t.LogicalName, Nav: "objectid_" + t.LogicalName, Collection: name,
				Cascade: map[string]string{"Delete": "Cascade", "Merge": "NoCascade"}})
		}
	}
	tables[at] = &all
	return tables
}

func newAttachments() *schema.Table {
	t := &schema.Table{LogicalName: attachmentsTable, SchemaName: "FileAttachment", EntitySet: "fileattachments", DisplayName: "FileAttachment",
		PrimaryID: "fileattachmentid", PrimaryName: "filename", Kind: schema.Standard, Ownership: schema.NotOwned}
	for _, c := range []schema.Column{{SchemaName: "FileAttachmentId", Type: schema.UniqueID, Required: schema.SystemRequired}, {SchemaName: "FileName", Type: schema.Text, MaxLength: 255},
		{SchemaName: "MimeType", Type: schema.Text, MaxLength: 256}, {SchemaName: "FileSizeInBytes", Type: schema.BigInt}, {SchemaName: "ObjectId", Type: schema.Lookup},
		{SchemaName: "ObjectTypeCode", Type: schema.TableName}, {SchemaName: "RegardingFieldName", Type: schema.Text, MaxLength: 128},
		{SchemaName: "CreatedOn", Type: schema.DateTime, DateBehavior: schema.UserLocal}, {SchemaName: "VersionNumber", Type: schema.BigInt}} {
		c.LogicalName = strings.ToLower(c.SchemaName)
		c.NoCreate, c.NoUpdate = true, true
		t.Columns = append(t.Columns, &c)
	}
	return t
}

// attach notes a file that was put into a row's column.
func (tx *tx) attach(t *table, of schema.GUID, col *column, id schema.GUID, f *file) error {
	a := tx.s.model.byName[attachmentsTable]
	if a == nil || tx.s.discard {
		return nil
	}
	defer func(c changes) { tx.changes = c }(tx.changes) // nobody sent it
	return tx.putRow(a, id, map[string]value{"filename": textValue(f.name), "mimetype": textValue(f.mime), "filesizeinbytes": intValue(int64(len(f.data))),
		"objectid": refValue(t, of), "objecttypecode": textValue(t.LogicalName), "regardingfieldname": textValue(col.LogicalName),
		"createdon": {kind: kindTime, n: tx.s.now()}})
}

// detach drops what was noted of the files that a row had and has no more.
func (tx *tx) detach(t *table, old, data []byte) {
	a := tx.s.model.byName[attachmentsTable]
	if a == nil || old == nil {
		return
	}
	defer func(c changes) { tx.changes = c }(tx.changes)
	for _, c := range t.files {
		was, now := tx.s.columnAt(t, old, c), value{}
		if data != nil {
			now = tx.s.columnAt(t, data, c)
		}
		if was.isNull() || was.guid == now.guid {
			continue
		}
		if r, ok := tx.row(a, was.guid); ok {
			tx.remove(r)
		}
	}
}
