package mapping

import (
	"bytes"
	"fmt"
	"strings"

	"dvmigrate/appliance/dataverse/schema"
)

// Parties is one column of an activity that names several records and addresses, such as
// the receivers of an e-mail. They are no value of the record but rows of their own, made
// with it and later replaced all together (dataverse-web-api.md 4.8). The stage has them
// as JSON objects with a comma between.
type Parties struct {
	*schema.Column
	Role    int // participationtypemask
	Targets []Target
}

// partyRoles are the columns' participationtypemask (dataverse-web-api.md 4.8).
var partyRoles = map[string]int{"from": 1, "to": 2, "cc": 3, "bcc": 4, "requiredattendees": 5, "optionalattendees": 6, "organizer": 7,
	"resources": 10, "customers": 11, "customer": 11}

// partyTable is the table of an activity's parties.
const partyTable = "activityparty"

func (b *binder) bindParties(c Selected, col *schema.Column) {
	role := partyRoles[col.LogicalName]
	if role == 0 {
		b.fault(c.Name, "which part the parties of this column have in the activity is not known; leave it out")
		return
	}
	if !strings.HasPrefix(c.SQLType, "STRUCT(dm_table ") {
		b.fault(c.Name, fmt.Sprintf("is a list of an activity's parties: give one such as [ref('contact', key), existing('systemuser', id), party_address('x@y.z')], not a %s", c.SQLType))
		return
	}
	parties := b.schema.Table(partyTable)
	names := col.Targets
	if len(names) == 0 && parties != nil {
		for _, r := range parties.ManyToOne {
			if r.Column == "partyid" {
				names = append(names, r.Target)
			}
		}
	}
	p := Parties{Column: col, Role: role}
	for _, name := range names {
		t := b.schema.Table(name)
		if t == nil {
			continue // a table that the project's schema leaves out cannot be pointed to
		}
		nav := "partyid_" + name
		if parties != nil {
			if r := parties.Relationship("partyid", name); r != nil {
				nav = r.Nav
			}
		}
		p.Targets = append(p.Targets, Target{Table: name, EntitySet: t.EntitySet, Nav: nav, Staged: b.staged(name)})
	}
	b.out.Parties = append(b.out.Parties, p)
	b.out.PartyNav = b.out.Name + "_activity_parties"
	if parties != nil {
		if r := parties.Relationship("activityid", b.out.Name); r != nil && r.Collection != "" {
			b.out.PartyNav = r.Collection
		}
	}
}

// Around is what stands in the stage before and after the id of a party's record.
func (p *Parties) Around(t *Target) (before, after string) {
	return fmt.Sprintf(`{"%s@odata.bind":"%s(`, t.Nav, t.EntitySet), `)"` + p.after()
}

// AroundAddress is what stands before and after an address, a JSON text.
func (p *Parties) AroundAddress() (before, after string) { return `{"addressused":`, p.after() }

func (p *Parties) after() string { return fmt.Sprintf(`,"participationtypemask":%d}`, p.Role) }

// PointsSQL selects dm_seq and the record id, in a column of the party column's name, of
// every party of the staged rows that is a record of the target.
func (p *Parties) PointsSQL(table string, t *Target) string {
	return fmt.Sprintf(`(SELECT dm_seq, unnest(regexp_extract_all(%[1]s, '"%[2]s@odata\.bind":"%[3]s\(([0-9a-f-]{36})\)', 1))::UUID AS %[1]s FROM %[4]s)`,
		Ident(p.LogicalName), t.Nav, t.EntitySet, Ident(table))
}

// EachID hands fn the record ids, as text, of the staged parties that are records of the
// target. What fn writes over them stays.
func (t *Target) EachID(parties []byte, fn func(id []byte) error) error {
	open := []byte(`"` + t.Nav + `@odata.bind":"` + t.EntitySet + "(")
	for {
		at := bytes.Index(parties, open)
		if at < 0 || len(parties) < at+len(open)+36 {
			return nil
		}
		parties = parties[at+len(open):]
		if err := fn(parties[:36]); err != nil {
			return err
		}
	}
}

// AppendParties appends the parties of row i, with commas between; nothing where it has
// none.
func (r *Rows) AppendParties(dst []byte, i int) []byte {
	for _, v := range r.parties {
		if v.Null(i) {
			continue
		}
		if len(dst) > 0 {
			dst = append(dst, ',')
		}
		dst = append(dst, v.TextAt(i)...)
	}
	return dst
}

// WithParties adds parties to the body of a create.
func (t *Table) WithParties(body, parties []byte) []byte {
	if len(parties) == 0 {
		return body
	}
	body = body[:len(body)-1]
	if len(body) > 1 {
		body = append(body, ',')
	}
	body = append(append(body, `"`+t.PartyNav+`":[`...), parties...)
	return append(body, "]}"...)
}

// PartiesBody is the body that replaces a record's parties.
func PartiesBody(parties []byte) []byte {
	return append(append([]byte(`{"value":[`), parties...), "]}"...)
}
