package reconcile

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"iter"
	"slices"
	"testing"

	"dvmigrate/appliance/dataverse"
	"dvmigrate/appliance/dataverse/schema"
	"dvmigrate/appliance/mapping"
	"dvmigrate/duckstage"
	"dvmigrate/ledger"
)

// The stage of these tests is a real one, in memory, so that the SQL is tried too;
// the ledger and the target are small fakes.

func ptr[T any](v T) *T { return &v }

// world is a schema with one of everything that reads back in its own way.
func world(t testing.TB) *schema.Schema {
	t.Helper()
	no := func(c schema.Column) *schema.Column { c.NoCreate, c.NoUpdate = true, true; return &c }
	common := func(id string) []*schema.Column {
		return []*schema.Column{
			{LogicalName: id, Type: schema.UniqueID, NoUpdate: true},
			no(schema.Column{LogicalName: "createdon", Type: schema.DateTime, DateBehavior: schema.UserLocal}),
			{LogicalName: "overriddencreatedon", Type: schema.DateTime, DateBehavior: schema.UserLocal, NoUpdate: true},
			{LogicalName: "ownerid", Type: schema.Owner, Required: schema.SystemRequired},
			{LogicalName: "statecode", Type: schema.State, Options: []schema.Option{{Value: 0, DefaultStatus: ptr(int32(1))}, {Value: 1, DefaultStatus: ptr(int32(2))}}},
			{LogicalName: "statuscode", Type: schema.Status, Options: []schema.Option{{Value: 1, State: ptr(int32(0))}, {Value: 2, State: ptr(int32(1))}}},
		}
	}
	account := &schema.Table{LogicalName: "account", EntitySet: "accounts", PrimaryID: "accountid", PrimaryImage: "picture", Kind: schema.Standard, Ownership: schema.UserOwned, Bulk: []string{"create"},
		Columns: append(common("accountid"),
			&schema.Column{LogicalName: "name", Type: schema.Text, MaxLength: 4000},
			&schema.Column{LogicalName: "accountnumber", Type: schema.Text, MaxLength: 20},
			&schema.Column{LogicalName: "description", Type: schema.Memo, MaxLength: 2000},
			&schema.Column{LogicalName: "employees", Type: schema.Integer},
			&schema.Column{LogicalName: "big", Type: schema.BigInt},
			&schema.Column{LogicalName: "rating", Type: schema.Decimal, Precision: ptr(4)},
			&schema.Column{LogicalName: "latitude", Type: schema.Float, Precision: ptr(5)},
			&schema.Column{LogicalName: "revenue", Type: schema.Money, Precision: ptr(2)},
			&schema.Column{LogicalName: "debt", Type: schema.Money, Precision: ptr(4), PrecisionSource: 2},
			&schema.Column{LogicalName: "onhold", Type: schema.YesNo, Default: ptr(int32(0))},
			&schema.Column{LogicalName: "category", Type: schema.Choice, Options: []schema.Option{{Value: 1}, {Value: 2}}},
			&schema.Column{LogicalName: "contactmethod", Type: schema.Choice, Options: []schema.Option{{Value: 1}, {Value: 2}}, Default: ptr(int32(1))},
			&schema.Column{LogicalName: "rank", Type: schema.Choice, Options: []schema.Option{{Value: 1}}, Default: ptr(int32(-1))},
			&schema.Column{LogicalName: "local", Type: schema.DateTime, DateBehavior: schema.TimeZoneIndependent},
			&schema.Column{LogicalName: "tags", Type: schema.Choices, Options: []schema.Option{{Value: 10}, {Value: 20}, {Value: 30}}},
			&schema.Column{LogicalName: "founded", Type: schema.DateTime, DateBehavior: schema.DateOnly},
			&schema.Column{LogicalName: "seen", Type: schema.DateTime, DateBehavior: schema.UserLocal},
			&schema.Column{LogicalName: "token", Type: schema.UniqueID},
			&schema.Column{LogicalName: "picture", Type: schema.Image},
			&schema.Column{LogicalName: "doc", Type: schema.File, NoCreate: true, NoUpdate: true},
			&schema.Column{LogicalName: "doc_name", Type: schema.Text, MaxLength: 255, PartOf: "doc"},
			&schema.Column{LogicalName: "secret", Type: schema.Text, MaxLength: 20, NoRead: true},
			&schema.Column{LogicalName: "fixed", Type: schema.Text, MaxLength: 20, NoUpdate: true},
			&schema.Column{LogicalName: "later", Type: schema.Text, MaxLength: 20, NoCreate: true},
			&schema.Column{LogicalName: "number", Type: schema.Text, MaxLength: 20, AutoNumber: "A-{SEQNUM:5}"},
			&schema.Column{LogicalName: "parentid", Type: schema.Lookup, Targets: []string{"account"}},
			&schema.Column{LogicalName: "transactioncurrencyid", Type: schema.Lookup, Targets: []string{"transactioncurrency"}},
		),
		Keys: []schema.Key{{LogicalName: "byparent", Columns: []string{"parentid", "employees"}, Inactive: true},
			{LogicalName: "bynumber", Columns: []string{"accountnumber"}, Inactive: true}},
		ManyToOne: []schema.Relationship{{SchemaName: "account_parent", Column: "parentid", Target: "account", Nav: "parentid"},
			{SchemaName: "account_currency", Column: "transactioncurrencyid", Target: "transactioncurrency", Nav: "transactioncurrencyid"}}}
	contact := &schema.Table{LogicalName: "contact", EntitySet: "contacts", PrimaryID: "contactid", Kind: schema.Standard, Ownership: schema.UserOwned, Bulk: []string{"create"},
		Columns: append(common("contactid"), &schema.Column{LogicalName: "lastname", Type: schema.Text, MaxLength: 100})}
	plain := func(name, set, id string) *schema.Table {
		return &schema.Table{LogicalName: name, EntitySet: set, PrimaryID: id, Kind: schema.Standard, Ownership: schema.BusinessOwned,
			Columns: []*schema.Column{{LogicalName: id, Type: schema.UniqueID, NoUpdate: true}, {LogicalName: "name", Type: schema.Text, MaxLength: 100}}}
	}
	member := &schema.Table{LogicalName: "member", EntitySet: "members", PrimaryID: "memberid", Kind: schema.Intersect,
		Columns: []*schema.Column{{LogicalName: "memberid", Type: schema.UniqueID}, {LogicalName: "accountid", Type: schema.UniqueID}, {LogicalName: "contactid", Type: schema.UniqueID}}}
	s, err := schema.New([]*schema.Table{account, contact, plain("systemuser", "systemusers", "systemuserid"), plain("team", "teams", "teamid"),
		plain("transactioncurrency", "transactioncurrencies", "transactioncurrencyid"), plain("businessunit", "businessunits", "businessunitid"), member},
		[]schema.ManyToMany{{SchemaName: "member", Intersect: "member", Table1: "account", Column1: "accountid", Nav1: "member", Table2: "contact", Column2: "contactid", Nav2: "member"}})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// numbers are the tables' numbers in record ids.
var numbers = map[string]uint16{"account": 1, "contact": 2, "member": 3}

// id is the record id that the tests' migration assigns.
func id(table string, seq uint32) schema.GUID {
	g := schema.GUID{0xd0, 8: 0x80}
	binary.BigEndian.PutUint16(g[10:], numbers[table])
	binary.BigEndian.PutUint32(g[12:], seq)
	return g
}

// idSQL is the same over a stage column named dm_seq.
func idSQL(table string) string {
	return fmt.Sprintf("CAST('%s' || lpad(hex(dm_seq), 8, '0') AS UUID)", id(table, 0).String()[:28])
}

func recordSeq(table string, g schema.GUID) (uint32, bool) {
	seq := binary.BigEndian.Uint32(g[12:])
	return seq, g == id(table, seq)
}

// foreign is an id that no migration of the tests assigns.
func foreign(n byte) schema.GUID { return schema.GUID{0xff, 15: n} }

// openStage is a stage in which each table is the result of its SELECT, beside the
// column dm_id where the SELECT does not have it.
func openStage(t testing.TB, tables map[string]string) *duckstage.Stage {
	t.Helper()
	s, err := duckstage.OpenMemory(t.Context(), duckstage.Options{Threads: 2})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	for name, query := range tables {
		exec(t, s, fmt.Sprintf(`CREATE TABLE main."%s" AS %s`, name, query))
	}
	return s
}

func exec(t testing.TB, s *duckstage.Stage, query string) {
	t.Helper()
	if _, err := s.Exec(context.Background(), query); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
}

// bind maps columns of a table; refs are lookups to one of several tables.
func bind(t testing.TB, s *schema.Schema, table string, columns ...string) *mapping.Table {
	t.Helper()
	selected := []mapping.Selected{{Name: mapping.LegacyKey, SQLType: "VARCHAR"}}
	for _, c := range columns {
		sqlType := "VARCHAR"
		if c == "ownerid" {
			sqlType = "STRUCT(dm_table VARCHAR, dm_key VARCHAR, dm_id VARCHAR)"
		}
		if c == "doc" {
			sqlType = "STRUCT(dm_file VARCHAR, dm_name VARCHAR)"
		}
		selected = append(selected, mapping.Selected{Name: c, SQLType: sqlType})
	}
	m, faults := mapping.Bind(s, table, selected, func(name string) bool { return numbers[name] != 0 })
	if len(faults) > 0 {
		t.Fatal(faults)
	}
	return m
}

// entries is a ledger that fits a test: the entries of each table, by number.
type entries map[string][]ledger.Entry

func (b entries) Entry(table string, seq uint32) (ledger.Entry, bool) {
	if uint64(seq) >= uint64(len(b[table])) {
		return ledger.Entry{}, false
	}
	return b[table][seq], true
}

func (b entries) Spans(table string, from uint32) iter.Seq[ledger.Span] {
	return func(yield func(ledger.Span) bool) {
		for i := int(from); i < len(b[table]); {
			end := i + 1
			for end < len(b[table]) && b[table][end] == b[table][i] {
				end++
			}
			if !yield(ledger.Span{Range: ledger.Range{From: uint32(i), To: uint32(end)}, Entry: b[table][i]}) {
				return
			}
			i = end
		}
	}
}

// The entries that tests speak of.
var (
	loaded   = ledger.Entry{Action: ledger.Insert, Flag: ledger.Processed}
	updated  = ledger.Entry{Action: ledger.Update, Flag: ledger.Processed}
	awaiting = ledger.Entry{Action: ledger.Insert, Flag: ledger.Unprocessed}
	failed   = ledger.Entry{Action: ledger.Insert, Flag: ledger.Failed}
	held     = ledger.Entry{Action: ledger.Insert, Flag: ledger.Held}
	inFlight = ledger.Entry{Action: ledger.Insert, Flag: ledger.InFlight}
)

func many(e ledger.Entry, n int) []ledger.Entry { return slices.Repeat([]ledger.Entry{e}, n) }

// row is a record as the target has it; absent members are null.
type row map[string]any

// rows is a target that fits a test: the rows of each entity set, in reading order.
// Like the service it gives the primary key and what was selected, and nothing else.
type rows map[string][]row

func (c rows) Rows(_ context.Context, t *schema.Table, q dataverse.Query, fn func(json.RawMessage) error) error {
	if q.PageSize != 5000 || q.OrderBy != t.PrimaryID {
		return fmt.Errorf("query %+v does not page by primary key", q)
	}
	for _, r := range c[t.EntitySet] {
		out := row{"@odata.etag": `W/"1"`, t.PrimaryID: r[t.PrimaryID]}
		if version, ok := r["@odata.etag"]; ok {
			out["@odata.etag"] = version
		}
		for _, name := range q.Select {
			out[name] = r[name]
		}
		b, err := json.Marshal(out)
		if err != nil {
			return err
		}
		if err := fn(b); err != nil {
			return err
		}
	}
	return nil
}

// Records reads some of the rows, in their order.
func (c rows) Records(ctx context.Context, t *schema.Table, ids []schema.GUID, columns []string, fn func(schema.GUID, json.RawMessage) error) error {
	q := dataverse.Query{Select: append([]string{t.PrimaryID}, columns...), PageSize: 5000, OrderBy: t.PrimaryID}
	return c.Rows(ctx, t, q, func(raw json.RawMessage) error {
		var r struct{ row }
		if err := json.Unmarshal(raw, &r.row); err != nil {
			return err
		}
		id, err := schema.ParseGUID(fmt.Sprint(r.row[t.PrimaryID]))
		if err != nil || !slices.Contains(ids, id) {
			return err
		}
		return fn(id, raw)
	})
}

// account is a row of the target with the record id of a staged account.
func account(seq uint32, more ...any) row {
	r := row{"accountid": id("account", seq)}
	for i := 0; i < len(more); i += 2 {
		r[more[i].(string)] = more[i+1]
	}
	return r
}

// run compares one table, values included, and keeps every mismatch.
func run(t testing.TB, s stage, b book, c client, table *mapping.Table, change ...func(*Options)) TableResult {
	t.Helper()
	o := Options{Tables: []*mapping.Table{table}, Values: true, Limit: 1000, RecordSeq: recordSeq}
	for _, f := range change {
		f(&o)
	}
	r, err := Run(t.Context(), s, b, c, o)
	if err != nil {
		t.Fatal(err)
	}
	return r.Tables[0]
}

// brief is a result in one line, and its mismatches in one line each.
func brief(r TableResult) []string {
	out := []string{fmt.Sprintf("source %d target %d missing %d extra %d different %d duplicates %d others %d",
		r.Source, r.Target, r.Missing, r.Extra, r.Different, r.Duplicates, r.Others)}
	for _, m := range r.Mismatches {
		out = append(out, fmt.Sprintf("%s %s|%s|%s|%s|%s", m.Kind, m.LegacyKey, m.RecordID, m.Column, m.Want, m.Got))
	}
	return out
}
