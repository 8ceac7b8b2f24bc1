package reconcile

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"

	"dvmigrate/appliance/dataverse"
	"dvmigrate/appliance/dataverse/schema"
)

// A file column reads back as the id of its file, and the size of that is in the table
// fileattachment (learn.microsoft.com, Web API reference, fileattachment: filesizeinbytes,
// objecttypecode). Where the whole table is compared, its files' sizes are read first, in
// pages of 5,000; those of single records, and what came after, by id. Who may not read
// fileattachment learns that sizes were not compared. What an image's size is is published
// nowhere: of images nothing is compared.

// sizesMost is how many sizes are read ahead and kept, some 50 bytes each; those of more
// files are read by id when their records are compared, 250 in one request.
const sizesMost = 1_000_000

// fileAttachment is the table, as far as it is read.
func fileAttachment() *schema.Table {
	return &schema.Table{LogicalName: "fileattachment", EntitySet: "fileattachments", PrimaryID: "fileattachmentid"}
}

const sizeInBytes = "filesizeinbytes"

// errSizesEnough ends the reading ahead.
var errSizesEnough = errors.New("there are more files")

// sizes are those of a table's files, by file id. The comparison's mu protects what it has.
type sizes struct {
	*comparison
	known map[schema.GUID]int64 // negative: fileattachment has no such file
}

// newSizes prepares for the fields that take the size of a file; nil where there are none.
func newSizes(w *comparison) *sizes {
	if !slices.ContainsFunc(w.shape.fields, func(f field) bool { return f.attached && f.compared }) {
		return nil
	}
	return &sizes{w, map[schema.GUID]int64{}}
}

// ahead reads the sizes of all files of the table.
func (s *sizes) ahead(ctx context.Context) error {
	t := fileAttachment()
	q := dataverse.Query{Select: []string{t.PrimaryID, sizeInBytes}, Filter: "objecttypecode eq '" + s.table.Schema.LogicalName + "'", OrderBy: t.PrimaryID, PageSize: page}
	split := dataverse.NewSplitter(q.Select)
	err := s.client.Rows(ctx, t, q, func(row json.RawMessage) error {
		var id schema.GUID
		if err := split.Split(row); err != nil {
			return err
		}
		if err := id.UnmarshalText(unquote(split.Member(t.PrimaryID))); err != nil {
			return err
		}
		if len(s.known) >= cmp.Or(s.o.SizesAhead, sizesMost) {
			return errSizesEnough
		}
		return s.keep(id, split.Member(sizeInBytes))
	})
	if errors.Is(err, errSizesEnough) {
		return nil
	}
	return s.refused(err)
}

func (s *sizes) keep(id schema.GUID, raw []byte) error {
	n, err := strconv.ParseInt(string(unquote(raw)), 10, 64) // Edm.Int64 may come as a text
	if err != nil {
		return fmt.Errorf("read the size of file %s: %w", id, err)
	}
	s.known[id] = n
	return nil
}

// refused takes it that fileattachment cannot be read: sizes are then not compared.
func (s *sizes) refused(err error) error {
	var e *dataverse.Error
	if !errors.As(err, &e) || e.Kind != dataverse.Setup && e.Kind != dataverse.NotFound {
		if err != nil {
			err = fmt.Errorf("read the sizes of files: %w", err)
		}
		return err
	}
	s.result.NoSizes = e.Error()
	for i := range s.shape.fields {
		if f := &s.shape.fields[i]; f.attached {
			f.compared = false
		}
	}
	return nil
}

// resolve puts sizes in the place of the ids of files, in rows of a group that were read in
// full. Nobody else compares meanwhile.
func (s *sizes) resolve(ctx context.Context, g *group, rows []int) error {
	n := len(s.shape.fields)
	wanted := map[schema.GUID]bool{}
	each := func(fn func(e *extent, id schema.GUID)) {
		for k := range s.shape.fields {
			if f := &s.shape.fields[k]; !f.attached || !f.compared {
				continue
			}
			for _, row := range rows {
				e := &g.values[row*n+k]
				var id schema.GUID
				if raw := g.arena[e.from:e.to]; !isNull(raw) && id.UnmarshalText(unquote(raw)) == nil {
					fn(e, id)
				}
			}
		}
	}
	each(func(_ *extent, id schema.GUID) {
		if _, known := s.known[id]; !known {
			wanted[id] = true
		}
	})
	if err := s.byID(ctx, wanted); err != nil {
		return err
	}
	each(func(e *extent, id schema.GUID) {
		from := uint32(len(g.arena))
		if size := s.known[id]; size >= 0 {
			g.arena = strconv.AppendInt(g.arena, size, 10)
		} else {
			g.arena = append(g.arena, `"(no row of fileattachment)"`...)
		}
		*e = extent{from, uint32(len(g.arena))}
	})
	return nil
}

// byID reads the sizes of some files.
func (s *sizes) byID(ctx context.Context, wanted map[schema.GUID]bool) error {
	if len(wanted) == 0 {
		return nil
	}
	if len(s.known) >= cmp.Or(s.o.SizesAhead, sizesMost)+groupRows { // the others are not needed again
		clear(s.known)
	}
	for id := range wanted {
		s.known[id] = -1
	}
	t := fileAttachment()
	split := dataverse.NewSplitter([]string{sizeInBytes})
	return s.refused(s.client.Records(ctx, t, slices.Collect(maps.Keys(wanted)), []string{sizeInBytes}, func(id schema.GUID, row json.RawMessage) error {
		if err := split.Split(row); err != nil {
			return err
		}
		return s.keep(id, split.Member(sizeInBytes))
	}))
}
