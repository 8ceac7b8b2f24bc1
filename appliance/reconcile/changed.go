package reconcile

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"dvmigrate/appliance/dataverse/schema"
	"dvmigrate/ledger"
)

// What a digest can be against this service: it computes none over columns, and one that we
// compute takes reading all of them. But it gives every row with a version, its ETag, which
// goes up with every update (dataverse-web-api.md 3.7, trap 16). So a comparison notes the
// version at which each record was found equal, and a later one may read of every record
// only id and version, and in full only the records that have another version, were changed
// by a load since, or were not equal. Missing, extra and duplicate records are found as
// ever. Not so are changes that leave the version alone: of parties (their tables are always
// read in full) and, if the service does not count it as an update, of a file's name.

// Versions keeps the versions of one table's records.
type Versions interface {
	// Equal is the version at which the record was found equal; 0 = not known.
	Equal(seq uint32) uint64
	// Note keeps it; 0: it was not equal.
	Note(seq uint32, version uint64)
	// Since is when the comparison began, in Unix seconds, before which all that is noted was
	// loaded, and Count how many records it found equal.
	Since() (began uint32, count int64)
}

const (
	// A table is read by versions where so many of its records were equal and so few were
	// loaded since, and read anew in full where more than fullFrom of them, or their share,
	// turn out to have another version: single records cost 20 times the requests.
	leastKnown = 0.8
	mostLoaded = 0.1
	mostRead   = 0.1
	fullFrom   = 5000
)

// errManyChanged says that a table is to be read in full after all.
var errManyChanged = errors.New("too many records have another version")

// etag is the member of every row that has its version.
const etag = "@odata.etag"

// versionOf reads W/"470867", as it stands in JSON; 0: it is no such text.
func versionOf(raw []byte) uint64 {
	version, digits := uint64(0), bytes.TrimPrefix(raw, []byte(`"W/\"`))
	if len(digits) == len(raw) {
		return 0
	}
	for i, c := range digits {
		switch {
		case c >= '0' && c <= '9' && i < 19:
			version = 10*version + uint64(c-'0')
		case string(digits[i:]) == `\""`:
			return version
		default:
			return 0
		}
	}
	return 0
}

// byVersion reports whether the table is read by versions.
func (w *comparison) byVersion() bool {
	if w.known == nil || !w.o.Changed || w.result.Source == 0 {
		return false
	}
	var count int64
	w.since, count = w.known.Since()
	loaded := int64(0)
	for span := range w.book.Spans(w.table.Name, 0) {
		if span.Time >= w.since {
			loaded += int64(span.Len())
		}
	}
	all := float64(w.result.Source)
	return float64(count) >= leastKnown*all && float64(loaded) <= mostLoaded*all
}

// shapeText says what was compared: versions noted with another one say nothing.
func shapeText(fields []field) string {
	var b strings.Builder
	for _, f := range fields {
		fmt.Fprintf(&b, "%s %s %d %d %v %v\n", f.name, f.read, f.kind, f.digits, f.compared, f.loose)
	}
	return b.String()
}

// unchanged reports whether a record is as it was when it was found equal.
func (r *records) unchanged(p pending, seq uint32, e ledger.Entry) bool {
	if !r.shape.narrow {
		return false
	}
	version := r.group.rows[p.row].version
	return version != 0 && version == r.known.Equal(seq) && e.Time < r.since
}

// readInFull reads the columns of rows of the group of which only the version was read.
func (r *records) readInFull(ctx context.Context, rows []int) error {
	if !r.shape.narrow || len(rows) == 0 {
		return nil
	}
	if r.reread += int64(len(rows)); r.reread > fullFrom && float64(r.reread) > mostRead*float64(r.result.Source) {
		return errManyChanged
	}
	at := make(map[schema.GUID]int, len(rows))
	ids := make([]schema.GUID, len(rows))
	for k, row := range rows {
		ids[k] = r.group.rows[row].id
		at[ids[k]] = row
	}
	t := r.table.Schema
	err := r.client.Records(ctx, t, ids, members(t.PrimaryID, r.shape.fields)[1:], func(id schema.GUID, raw json.RawMessage) error {
		row, ours := at[id]
		if !ours {
			return nil
		}
		if err := r.split.Split(raw); err != nil {
			return fmt.Errorf("read a row of the target: %w", err)
		}
		r.group.rows[row].version = versionOf(r.split.Member(etag))
		for k := range r.shape.fields {
			from := uint32(len(r.group.arena))
			r.group.arena = append(r.group.arena, r.split.Member(r.shape.fields[k].read)...)
			r.group.values[row*len(r.shape.fields)+k] = extent{from, uint32(len(r.group.arena))}
		}
		return nil
	})
	if err == nil && r.sizes != nil {
		err = r.sizes.resolve(ctx, &r.group, rows)
	}
	return err
}

// noteEqual keeps at which version a record was equal, or that it was not.
func (r *records) noteEqual(p pending, seq uint32, equal bool) {
	if r.known == nil || r.began > 0 {
		return
	}
	version := uint64(0)
	if equal && p.expect.state && r.result.NoSizes == "" { // all passes are done: nothing was left out
		version = r.group.rows[p.row].version
	}
	r.known.Note(seq, version)
}
