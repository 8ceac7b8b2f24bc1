package reconcile

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"dvmigrate/appliance/dataverse/schema"
	"dvmigrate/appliance/mapping"
	"dvmigrate/duckstage/column"
)

// The parties of an activity come with it, in an $expand, and are compared as a set: a
// person who is named twice is one party. The service adds roles that nobody writes
// (owner, regarding) and the address of a record that was named, and may find the record
// that an address belongs to; none of that is a difference.

// partyPage is the rows of a page of a table with parties, which each have several.
const partyPage = 1000

// party is one party, staged or of the target.
type party struct {
	id      string // of a record; "" = an address only
	address string
}

func (p party) String() string {
	if p.id != "" {
		return p.id
	}
	return p.address
}

// partyField is the field of a column with parties.
func partyField(t *mapping.Table, p *mapping.Parties) field {
	f := newField(p.Column, parties)
	f.read, f.party, f.onCreate, f.onUpdate, f.defaulted = t.PartyNav, p, true, true, true
	return f
}

// partyExpand asks for the parties of each record; "" where none are loaded.
func partyExpand(t *mapping.Table, fields []field) string {
	if !slices.ContainsFunc(fields, func(f field) bool { return f.party != nil }) {
		return ""
	}
	return t.PartyNav + "($select=participationtypemask,addressused,_partyid_value)"
}

// stagedParties reads the parties of row i, with the ids that they have in the target.
func (w *comparison) stagedParties(f *field, v *column.Vector, i int) ([]party, error) {
	if v.Null(i) {
		return nil, nil
	}
	text := v.TextAt(i)
	for k := range f.party.Targets {
		t := &f.party.Targets[k]
		if !t.Kept {
			continue
		}
		err := t.EachID(text, func(id []byte) error {
			staged, err := schema.ParseGUID(string(id))
			if err == nil {
				schema.GUID(w.o.Kept(staged)).Append(id[:0]) // the scan's rows are ours
			}
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	var objects []map[string]json.RawMessage
	if err := json.Unmarshal(append(append([]byte{'['}, text...), ']'), &objects); err != nil {
		return nil, fmt.Errorf("column %s: read the staged parties: %w", f.name, err)
	}
	var out []party
	for _, o := range objects {
		var p party
		for name, raw := range o {
			value := string(unquote(raw))
			switch {
			case name == "addressused":
				p.address = value
			case strings.HasSuffix(name, "@odata.bind"):
				_, id, _ := strings.Cut(value, "(")
				p.id = strings.TrimSuffix(id, ")")
			}
		}
		out = append(out, p)
	}
	return out, nil
}

// targetParties reads those of the target that have the column's role.
func (f *field) targetParties(got []byte) ([]party, error) {
	if isNull(got) {
		return nil, nil
	}
	var objects []struct {
		Role    int    `json:"participationtypemask"`
		ID      string `json:"_partyid_value"`
		Address string `json:"addressused"`
	}
	if err := json.Unmarshal(got, &objects); err != nil {
		return nil, fmt.Errorf("read the parties of a row of the target: %w", err)
	}
	var out []party
	for _, o := range objects {
		if o.Role == f.party.Role {
			out = append(out, party{id: strings.ToLower(o.ID), address: o.Address})
		}
	}
	return out, nil
}

// sameParties reports whether each party of one side is on the other.
func sameParties(want, got []party) bool {
	met := make([]bool, len(got))
	for _, w := range want {
		found := false
		for k, g := range got {
			if w.id != "" && w.id == g.id || w.id == "" && strings.EqualFold(w.address, g.address) {
				met[k], found = true, true
			}
		}
		if !found {
			return false
		}
	}
	return !slices.Contains(met, false)
}

// compareParties compares one column of parties; differing is what is to be shown.
func (w *comparison) compareParties(f *field, v *column.Vector, i int, got []byte) (same bool, wantText, gotText string, err error) {
	want, err := w.stagedParties(f, v, i)
	if err != nil || len(want) == 0 { // the service may put its own there
		return err == nil, "", "", err
	}
	have, err := f.targetParties(got)
	if err != nil || sameParties(want, have) {
		return err == nil, "", "", err
	}
	return false, partyList(want), w.gotText(f, quoteText(partyList(have))), nil
}

func partyList(list []party) string {
	texts := make([]string, len(list))
	for i, p := range list {
		texts[i] = p.String()
	}
	slices.Sort(texts)
	return strings.Join(slices.Compact(texts), ", ")
}

// quoteText is a text as it would stand in a row of the target.
func quoteText(s string) []byte {
	var b bytes.Buffer
	_ = json.NewEncoder(&b).Encode(s) // a buffer takes everything
	return bytes.TrimSpace(b.Bytes())
}
