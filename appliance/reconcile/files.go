package reconcile

import (
	"encoding/json"
	"strconv"

	"dvmigrate/appliance/dataverse/schema"
	"dvmigrate/appliance/mapping"
	"dvmigrate/duckstage/column"
)

// fileFields are what reads back of a file without its content: the name that the service
// keeps beside it, and its size. An image has neither.
func fileFields(t *mapping.Table, c mapping.Column) (fields []field) {
	add := func(read string, k kind) {
		if other := t.Schema.Column(read); other == nil || other.NoRead || yields(t, read) {
			return
		}
		f := newField(c.Column, k)
		f.read, f.late, f.defaulted = read, c.Late, false
		fields = append(fields, f)
	}
	if c.IsNote() || c.IsAttachment() {
		add("filename", fileName)
		add("filesize", fileSize)
	} else {
		add(c.LogicalName+"_name", fileName)
		if c.Type == schema.File && !c.NoRead {
			f := newField(c.Column, fileSize)
			f.late, f.attached, f.defaulted = true, true, false
			fields = append(fields, f)
		}
	}
	return fields
}

// yields reports whether the SELECT yields the column itself.
func yields(t *mapping.Table, name string) bool {
	for _, c := range t.Columns {
		if c.LogicalName == name {
			return true
		}
	}
	return false
}

// fileText is the staged name or size.
func (f *field) fileText(v *column.Vector, i int) string {
	var staged mapping.File
	if err := json.Unmarshal(v.TextAt(i), &staged); err != nil {
		return err.Error()
	}
	if f.kind == fileSize {
		return strconv.FormatInt(staged.Size, 10)
	}
	return staged.Name
}
