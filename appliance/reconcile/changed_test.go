package reconcile

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"

	"dvmigrate/appliance/dataverse/schema"
)

// versionMap is Versions in memory.
type versionMap struct {
	equal map[uint32]uint64
	began uint32
}

func (m *versionMap) Equal(seq uint32) uint64   { return m.equal[seq] }
func (m *versionMap) Note(seq uint32, v uint64) { m.equal[seq] = v }
func (m *versionMap) Since() (uint32, int64) {
	n := int64(0)
	for _, v := range m.equal {
		if v > 0 {
			n++
		}
	}
	return m.began, n
}

// TestReadsWhatHasAnotherVersion: after a whole comparison one by versions finds the same,
// reading in full only what has another version, was loaded since, or was not equal.
func TestReadsWhatHasAnotherVersion(t *testing.T) {
	const n = 200
	w := world(t)
	s, book := openStage(t, names(n)), entries{"contact": many(loaded, n)}
	target := rows{}
	at := func(seq uint32, version int, name string) row {
		return row{"contactid": id("contact", seq), "lastname": name, "@odata.etag": fmt.Sprintf(`W/"%d"`, version)}
	}
	for i := range uint32(n) {
		r := at(i, 100+int(i), fmt.Sprint("N", i))
		if i == 3 {
			r["lastname"] = "other" // different from the beginning
		}
		target["contacts"] = append(target["contacts"], r)
	}
	known, shape := &versionMap{equal: map[uint32]uint64{}}, ""
	table := bind(t, w, "contact", "lastname")
	compare := func(changed bool) TableResult {
		known.began = 1000
		return run(t, s, book, target, table, readBackOf(book), func(o *Options) {
			o.Changed, o.Rules = changed, func(string) Rules { return Rules{Sums: []string{"lastname"}} }
			o.Versions = func(_, text string) (Versions, error) {
				if shape != "" && text != shape {
					t.Errorf("the shape of the same comparison is %q and %q", shape, text)
				}
				shape = text
				return known, nil
			}
		})
	}
	first := "source 200 target 200 missing 0 extra 0 different 1 duplicates 0 others 0"
	if got := compare(true); brief(got)[0] != first || got.Unchanged != 0 {
		t.Errorf("before anything is known: %q, %d unchanged", brief(got), got.Unchanged)
	}
	if got := compare(true); brief(got)[0] != first || got.Unchanged != n-1 || got.Figures[0].Target != "200" {
		t.Errorf("by versions: %q, %d unchanged, %+v", brief(got), got.Unchanged, got.Figures)
	}
	if got := compare(false); got.Unchanged != 0 {
		t.Errorf("whole again: %d unchanged", got.Unchanged)
	}
	list := target["contacts"]
	list[5] = at(5, 900, "changed")                                          // by somebody
	list[6] = at(6, 901, "N6")                                               // and back
	list[7]["lastname"], book["contact"][7].Time = "not what was sent", 2000 // loaded since, with the same version
	list = append(list[:9], list[10:]...)                                    // gone
	target["contacts"] = append(list, at(n+7, 5, "extra"), row{"contactid": foreign(1)})
	got := compare(true)
	if b := brief(got); b[0] != "source 200 target 200 missing 1 extra 1 different 3 duplicates 0 others 1" || got.Unchanged != n-5 {
		t.Errorf("%q, %d unchanged", b, got.Unchanged)
	}
	if known.equal[5] != 0 || known.equal[6] != 901 || known.equal[7] != 0 {
		t.Errorf("noted %d, %d, %d", known.equal[5], known.equal[6], known.equal[7])
	}
}

// onlyPages is a target of which nobody may read single records.
type onlyPages struct {
	rows
	t *testing.T
}

func (c onlyPages) Records(context.Context, *schema.Table, []schema.GUID, []string, func(schema.GUID, json.RawMessage) error) error {
	c.t.Error("single records are read")
	return nil
}

// TestManyChangesAreReadInFull: where most records have another version, they are not read
// one by one, and nothing is counted twice.
func TestManyChangesAreReadInFull(t *testing.T) {
	const n = 2 * fullFrom
	s, book := openStage(t, names(n)), entries{"contact": many(loaded, n)}
	known := &versionMap{equal: map[uint32]uint64{}, began: 1000}
	var list []row
	for i := range uint32(n) {
		list = append(list, contact(i))
		known.equal[i] = 77
	}
	list[17]["lastname"] = "other"
	kept := 0
	got := run(t, s, book, onlyPages{rows{"contacts": list}, t}, bind(t, world(t), "contact", "lastname"), func(o *Options) {
		o.Changed, o.Keep = true, 100
		o.Versions = func(string, string) (Versions, error) { return known, nil }
		o.Found = func(string, int64, Mismatch) error { kept++; return nil }
		o.Anew = func(string) { kept = 0 }
	})
	if b := brief(got); b[0] != "source 10000 target 10000 missing 0 extra 0 different 1 duplicates 0 others 0" || kept != 1 || got.Unchanged != 0 {
		t.Errorf("%q, %d kept, %d unchanged", b, kept, got.Unchanged)
	}
}

func TestVersionOf(t *testing.T) {
	for text, want := range map[string]uint64{`"W/\"470867\""`: 470867, `"W/\"\""`: 0, ``: 0, `null`: 0, `"470867"`: 0, `"W/\"12x\""`: 0, `"W/\"470867`: 0,
		`"W/\"9223372036854775807\""`: 1<<63 - 1, `"W/\"92233720368547758079\""`: 0} {
		if got := versionOf([]byte(text)); got != want {
			t.Errorf("%s: %d, want %d", text, got, want)
		}
	}
}
