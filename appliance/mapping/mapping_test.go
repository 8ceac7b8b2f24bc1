package mapping

import (
	"encoding/json"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"dvmigrate/appliance/dataverse/schema"
	"dvmigrate/duckstage/column"
)

func p[T any](v T) *T { return &v }

func testSchema(t *testing.T) *schema.Schema {
	t.Helper()
	account := &schema.Table{LogicalName: "account", EntitySet: "accounts", PrimaryID: "accountid", Kind: schema.Standard,
		Columns: []*schema.Column{
			{LogicalName: "accountid", Type: schema.UniqueID},
			{LogicalName: "name", Type: schema.Text, MaxLength: 160},
			{LogicalName: "revenue", Type: schema.Money, Precision: p(2)},
			{LogicalName: "rate", Type: schema.Decimal, Precision: p(10)},
			{LogicalName: "factor", Type: schema.Float},
			{LogicalName: "big", Type: schema.BigInt},
			{LogicalName: "donotphone", Type: schema.YesNo},
			{LogicalName: "born", Type: schema.DateTime, DateBehavior: schema.DateOnly},
			{LogicalName: "seen", Type: schema.DateTime, DateBehavior: schema.UserLocal},
			{LogicalName: "industrycode", Type: schema.Choice},
			{LogicalName: "statecode", Type: schema.State, Options: []schema.Option{{Value: 0, DefaultStatus: p[int32](1)}, {Value: 1, DefaultStatus: p[int32](2)}}},
			{LogicalName: "statuscode", Type: schema.Status},
			{LogicalName: "createdon", Type: schema.DateTime, NoCreate: true, NoUpdate: true},
			{LogicalName: "parentaccountid", Type: schema.Lookup, Targets: []string{"account"}},
			{LogicalName: "customerid", Type: schema.Customer, Targets: []string{"account", "contact"}},
			{LogicalName: "ownerid", Type: schema.Owner},
			{LogicalName: "plan", Type: schema.File},
			{LogicalName: "photo", Type: schema.Image},
		},
		ManyToOne: []schema.Relationship{
			{Column: "parentaccountid", Target: "account", Nav: "parentaccountid"},
			{Column: "customerid", Target: "account", Nav: "customerid_account"},
			{Column: "customerid", Target: "contact", Nav: "customerid_contact"},
			{Column: "ownerid", Target: "owner", Nav: "ownerid"},
		}}
	contact := &schema.Table{LogicalName: "contact", EntitySet: "contacts", PrimaryID: "contactid", Kind: schema.Standard}
	user := &schema.Table{LogicalName: "systemuser", EntitySet: "systemusers", PrimaryID: "systemuserid"}
	team := &schema.Table{LogicalName: "team", EntitySet: "teams", PrimaryID: "teamid"}
	link := &schema.Table{LogicalName: "account_contact", EntitySet: "account_contactset", Kind: schema.Intersect}
	s, err := schema.New([]*schema.Table{account, contact, user, team, link}, []schema.ManyToMany{
		{SchemaName: "acme_ac", Intersect: "account_contact", Table1: "account", Column1: "accountid", Nav1: "acme_ac", Table2: "contact", Column2: "contactid", Nav2: "acme_ac"}})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

const fileType = "STRUCT(dm_file VARCHAR, dm_name VARCHAR)"

const refType = "STRUCT(dm_table VARCHAR, dm_key VARCHAR, dm_id VARCHAR)"

func all(string) bool { return true }

func TestBindFaults(t *testing.T) {
	cases := []struct {
		name     string
		table    string
		selected []Selected
		want     string
	}{
		{"an unknown table is refused", "acount", nil, "no such table"},
		{"the legacy key is required", "account", []Selected{{"name", "VARCHAR"}}, "yields no column legacy_key"},
		{"an unknown column is refused", "account", []Selected{{"legacy_key", "VARCHAR"}, {"nmae", "VARCHAR"}}, "column nmae: no such column"},
		{"column names are case-sensitive", "account", []Selected{{"legacy_key", "VARCHAR"}, {"Name", "VARCHAR"}}, "column Name: no such column"},
		{"a read-only column is refused, since the service would ignore it", "account", []Selected{{"legacy_key", "VARCHAR"}, {"createdon", "VARCHAR"}}, "Dataverse ignores values"},
		{"a polymorphic lookup must say its table", "account", []Selected{{"legacy_key", "VARCHAR"}, {"customerid", "VARCHAR"}}, "may point to account or contact"},
		{"an owner must say whether user or team", "account", []Selected{{"legacy_key", "VARCHAR"}, {"ownerid", "VARCHAR"}}, "may point to systemuser or team"},
		{"a status reason needs its state", "account", []Selected{{"legacy_key", "VARCHAR"}, {"statuscode", "INTEGER"}}, "needs statecode"},
		{"ref is for lookups only", "account", []Selected{{"legacy_key", "VARCHAR"}, {"name", refType}}, "are for lookups"},
		{"a column is yielded once", "account", []Selected{{"legacy_key", "VARCHAR"}, {"name", "VARCHAR"}, {"name", "VARCHAR"}}, "column name: the SELECT yields it twice"},
		{"whatever its case", "account", []Selected{{"legacy_key", "VARCHAR"}, {"name", "VARCHAR"}, {"NAME", "VARCHAR"}}, "column NAME: the SELECT yields it twice"},
		{"our own names are kept", "account", []Selected{{"legacy_key", "VARCHAR"}, {"dm_seq", "INTEGER"}}, "kept for dvmigrate"},
		{"a file column takes no bytes", "account", []Selected{{"legacy_key", "VARCHAR"}, {"plan", "BLOB"}}, "yield file('path')"},
		{"file is for files, images and bodies only", "account", []Selected{{"legacy_key", "VARCHAR"}, {"name", fileType}}, "file() is for"},
		{"a link needs both ends", "account_contact", []Selected{{"legacy_key", "VARCHAR"}, {"accountid", "VARCHAR"}}, "must yield accountid and contactid"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			_, faults := Bind(testSchema(t), c.table, c.selected, all)
			if len(faults) != 1 || !strings.Contains("column "+faults[0].Column+": "+faults[0].Message, c.want) {
				t.Fatalf("faults %v, want one with %q", faults, c.want)
			}
		})
	}
}

func bindAll(t *testing.T) *Table {
	t.Helper()
	m, faults := Bind(testSchema(t), "account", []Selected{
		{"legacy_key", "VARCHAR"}, {"name", "VARCHAR"}, {"revenue", "VARCHAR"}, {"rate", "VARCHAR"}, {"factor", "DOUBLE"}, {"big", "BIGINT"},
		{"donotphone", "BOOLEAN"}, {"born", "DATE"}, {"seen", "TIMESTAMP"}, {"industrycode", "INTEGER"}, {"statecode", "INTEGER"}, {"statuscode", "INTEGER"},
		{"parentaccountid", "VARCHAR"}, {"customerid", refType}, {"ownerid", refType}}, all)
	if len(faults) > 0 {
		t.Fatal(faults)
	}
	return m
}

func text(name string, values ...string) column.Vector {
	v := column.Vector{Name: name, Type: column.Text, Offsets: []uint32{0}}
	for _, s := range values {
		v.Bytes = append(v.Bytes, s...)
		v.Offsets = append(v.Offsets, uint32(len(v.Bytes)))
	}
	return v
}

func ints(name string, typ column.Type, values ...int64) column.Vector {
	return column.Vector{Name: name, Type: typ, Ints: values}
}

func uuid(name string, last byte) column.Vector {
	return column.Vector{Name: name, Type: column.UUID, UUIDs: [][16]byte{{15: last}}}
}

func testBatch() *column.Batch {
	return &column.Batch{Rows: 1, Columns: []column.Vector{
		uuid(ID, 1), text("name", "a\"b\\\n\tü\x01"),
		{Name: "revenue", Type: column.Decimal, Scale: 2, Wide: []column.Int128{{Hi: -1, Lo: math.MaxUint64 - 4}}},
		{Name: "rate", Type: column.Decimal, Scale: 10, Wide: []column.Int128{{Lo: 12_5000000000}}},
		{Name: "factor", Type: column.Float, Floats: []float64{47.639583}},
		ints("big", column.Int, 9007199254740993), ints("donotphone", column.Bool, 1),
		ints("born", column.Date, -1), ints("seen", column.Timestamp, -1_000_000),
		ints("industrycode", column.Int, 3), ints("statecode", column.Int, 1), ints("statuscode", column.Int, 2),
		uuid("parentaccountid", 2), uuid("customerid", 3), text("customerid__table", "contact"),
		uuid("ownerid", 4), text("ownerid__table", "team"),
	}}
}

func TestEncodeWritesEveryColumnType(t *testing.T) {
	m := bindAll(t)
	const id = `00000000-0000-0000-0000-00000000000`
	cases := []struct {
		name  string
		write Write
		got   func(*Rows) []byte
		want  string
	}{
		{"an insert carries all but deferred lookups and state", Insert, func(r *Rows) []byte { return r.AppendTarget(nil, 0) },
			`{"@odata.type":"Microsoft.Dynamics.CRM.account","accountid":"` + id + `1","name":"a\"b\\\n\tü\u0001","revenue":-0.05,"rate":12.5000000000,"factor":47.639583,"big":9007199254740993,` +
				`"donotphone":true,"born":"1969-12-31","seen":"1969-12-31T23:59:59Z","industrycode":3,"customerid_contact@odata.bind":"contacts(` + id + `3)","ownerid@odata.bind":"teams(` + id + `4)"}`},
		{"a single create has no type", Lookups, func(r *Rows) []byte { return r.e.CreateBody(nil, r.AppendTarget(nil, 0)) },
			`{"accountid":"` + id + `1","parentaccountid@odata.bind":"accounts(` + id + `2)"}`},
		{"the second pass carries the deferred lookup alone", Lookups, func(r *Rows) []byte { return r.e.UpdateBody(nil, r.AppendTarget(nil, 0)) },
			`{"parentaccountid@odata.bind":"accounts(` + id + `2)"}`},
		{"the last pass carries state and status together", State, func(r *Rows) []byte { return r.e.UpdateBody(nil, r.AppendTarget(nil, 0)) }, `{"statecode":1,"statuscode":2}`},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			r, err := m.Encoder(c.write, []string{"parentaccountid"}).Rows(testBatch())
			if err != nil {
				t.Fatal(err)
			}
			got := string(c.got(r))
			if !json.Valid([]byte(got)) {
				t.Fatalf("not JSON: %s", got)
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Fatal(diff)
			}
		})
	}
}

func TestEncodeNulls(t *testing.T) {
	m := bindAll(t)
	b := testBatch()
	for i := range b.Columns {
		if b.Columns[i].Name != ID {
			b.Columns[i].SetNull(0, 1)
		}
	}
	for write, want := range map[Write]string{
		Insert: `{}`,
		Update: `{"name":null,"revenue":null,"rate":null,"factor":null,"big":null,"donotphone":null,"born":null,"seen":null,"industrycode":null,` +
			`"parentaccountid@odata.bind":null,"customerid_account@odata.bind":null,"ownerid@odata.bind":null}`,
	} {
		r, err := m.Encoder(write, nil).Rows(b)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, string(r.e.UpdateBody(nil, r.AppendTarget(nil, 0)))); diff != "" {
			t.Errorf("write %d: %s", write, diff)
		}
	}
}

func TestRowsNeedsEveryColumn(t *testing.T) {
	b := testBatch()
	b.Columns = b.Columns[:3]
	if _, err := bindAll(t).Encoder(Insert, nil).Rows(b); err == nil || !strings.Contains(err.Error(), "no column rate") {
		t.Fatalf("error %v, want one that names the missing column", err)
	}
}

func TestOwedSQL(t *testing.T) {
	m := bindAll(t)
	want := `(CASE WHEN "parentaccountid" IS NOT NULL THEN 2 ELSE 0 END + CASE WHEN coalesce("statecode" <> 0, false) OR coalesce("statuscode" <> 1, false) THEN 8 ELSE 0 END)::UTINYINT`
	if diff := cmp.Diff(want, m.OwedSQL([]string{"parentaccountid"})); diff != "" {
		t.Fatal(diff)
	}
}

func FuzzEscapes(f *testing.F) {
	f.Add("a\"b\\c\nü\x00\u2028")
	f.Fuzz(func(t *testing.T, s string) {
		s = strings.ToValidUTF8(s, "?")
		var back string
		if err := json.Unmarshal(quoted(s), &back); err != nil || back != s {
			t.Fatalf("%q came back as %q, %v", s, back, err)
		}
	})
}

func BenchmarkAppendTarget(b *testing.B) {
	t := &testing.T{}
	m := bindAll(t)
	r, err := m.Encoder(Insert, []string{"parentaccountid"}).Rows(testBatch())
	if err != nil {
		b.Fatal(err)
	}
	var dst []byte
	b.ReportAllocs()
	for b.Loop() {
		dst = r.AppendTarget(dst[:0], 0)
	}
}
