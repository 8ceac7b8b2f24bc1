package dataverse_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"dvmigrate/appliance/dataverse"
	"dvmigrate/appliance/dataverse/emulator"
	"dvmigrate/appliance/dataverse/schema"
)

// ready is a credential of one token.
type ready string

func (r ready) Token(context.Context) (string, error) { return string(r), nil }
func (r ready) Expire(string)                         {}

// connect starts an emulator of the schema with faults on order and returns a client
// of it that tries everything once.
func connect(t *testing.T, s *schema.Schema, faults ...string) *dataverse.Client {
	t.Helper()
	o := emulator.Options{Schema: s, DopHint: 8}
	for _, rule := range faults {
		f, err := emulator.ParseFault(rule)
		if err != nil {
			t.Fatal(err)
		}
		o.Faults = append(o.Faults, f)
	}
	e, err := emulator.New(o)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(e)
	t.Cleanup(server.Close)
	c, err := dataverse.New(dataverse.Options{URL: server.URL, Token: ready("emulator"), Attempts: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// TestConformance runs the suite against the emulator, and against the environment
// that DVMIGRATE_TEST_URL and DVMIGRATE_TEST_TOKEN name, where it makes and deletes
// accounts and contacts.
func TestConformance(t *testing.T) {
	t.Run("emulator", func(t *testing.T) {
		s := world(t)
		suite(t, connect(t, s), s)
	})
	url, token := os.Getenv("DVMIGRATE_TEST_URL"), os.Getenv("DVMIGRATE_TEST_TOKEN")
	if url == "" || token == "" {
		return
	}
	t.Run("environment", func(t *testing.T) {
		c, err := dataverse.New(dataverse.Options{URL: url, Token: ready(token)})
		if err != nil {
			t.Fatal(err)
		}
		s, err := c.Schema(t.Context(), []string{"account", "contact"}, nil)
		if err != nil {
			t.Fatal(err)
		}
		suite(t, c, s)
	})
}

// records makes ids, and a bulk body in which change may set more.
func records(t *schema.Table, n int, change func(i int, r map[string]any)) ([]schema.GUID, []byte) {
	ids := make([]schema.GUID, n)
	for i := range ids {
		ids[i] = newID()
	}
	return ids, targets(t, ids, change)
}

func targets(t *schema.Table, ids []schema.GUID, change func(i int, r map[string]any)) []byte {
	rows := make([]map[string]any, len(ids))
	for i, id := range ids {
		rows[i] = map[string]any{"@odata.type": "Microsoft.Dynamics.CRM." + t.LogicalName, t.PrimaryID: id, t.PrimaryName: fmt.Sprint("Nr. ", i)}
		if change != nil {
			change(i, rows[i])
		}
	}
	b, err := json.Marshal(map[string]any{"Targets": rows})
	if err != nil {
		panic(err)
	}
	return b
}

func want(t *testing.T, err error, kind dataverse.Kind) *dataverse.Error {
	t.Helper()
	var e *dataverse.Error
	if !errors.As(err, &e) || e.Kind != kind {
		t.Fatalf("error %v, want one of kind %v", err, kind)
	}
	return e
}

// wantThere checks which of the records are there.
func wantThere(t *testing.T, c *dataverse.Client, table *schema.Table, ids []schema.GUID, n int) {
	t.Helper()
	found, err := c.Existing(t.Context(), table, ids)
	if err != nil {
		t.Fatal(err)
	}
	if len(found) != n {
		t.Fatalf("%d of %d records are there, want %d", len(found), len(ids), n)
	}
}

func suite(t *testing.T, c *dataverse.Client, s *schema.Schema) {
	who, err := c.WhoAmI(t.Context())
	if err != nil || who.UserID.IsZero() || who.OrganizationID.IsZero() {
		t.Fatal(who, err)
	}
	if v, err := c.Version(t.Context()); err != nil || !strings.HasPrefix(v, "9.") {
		t.Errorf("version %q, %v", v, err)
	}
	t.Run("bulk", func(t *testing.T) { bulkSuite(t, c, s.Table("account")) })
	t.Run("batch", func(t *testing.T) { batchSuite(t, c, s.Table("account")) })
	t.Run("mistakes", func(t *testing.T) { mistakeSuite(t, c, s.Table("account"), s.Table("contact")) })
	t.Run("links", func(t *testing.T) { linkSuite(t, c, s) })
}

func bulkSuite(t *testing.T, c *dataverse.Client, accounts *schema.Table) {
	ctx := t.Context()
	ids, body := records(accounts, 60, nil)
	if err := c.CreateMany(ctx, accounts, body, len(ids)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { deleteAll(t, c, accounts, ids) })
	wantThere(t, c, accounts, ids, 60)
	want(t, c.CreateMany(ctx, accounts, body, len(ids)), dataverse.Duplicate)

	filter := fmt.Sprintf("accountid eq %s or accountid eq %s or accountid eq %s", ids[0], ids[1], ids[2])
	if err := c.UpdateMany(ctx, accounts, targets(accounts, ids[:3], func(_ int, r map[string]any) { r["name"] = "Grün" }), 3); err != nil {
		t.Fatal(err)
	}
	var names []string
	err := c.Rows(ctx, accounts, dataverse.Query{Select: []string{"name"}, Filter: filter, PageSize: 2}, func(row json.RawMessage) error {
		var r struct{ Name string }
		names = append(names, "")
		err := json.Unmarshal(row, &r)
		names[len(names)-1] = r.Name
		return err
	})
	if err != nil || fmt.Sprint(names) != "[Grün Grün Grün]" {
		t.Errorf("names %q, %v", names, err)
	}

	fresh, _ := records(accounts, 2, nil)
	mixed := []schema.GUID{ids[0], fresh[0]}
	want(t, c.UpdateMany(ctx, accounts, targets(accounts, mixed, nil), 2), dataverse.NotFound)
	wantThere(t, c, accounts, fresh, 0)
	if err := c.UpsertMany(ctx, accounts, targets(accounts, mixed, nil), 2); err != nil {
		t.Error(err)
	}
	wantThere(t, c, accounts, fresh, 1)

	ids2, body := records(accounts, 5, func(i int, r map[string]any) {
		if i == 3 {
			r["name"] = strings.Repeat("x", 5000)
		}
	})
	want(t, c.CreateMany(ctx, accounts, body, 5), dataverse.RowFault)
	wantThere(t, c, accounts, ids2, 0)
	deleteAll(t, c, accounts, fresh[:1])
	want(t, c.Do(ctx, dataverse.DeleteOp(accounts, fresh[0])), dataverse.NotFound)
	want(t, c.Update(ctx, accounts, fresh[0], []byte(`{"name":"ghost"}`)), dataverse.NotFound)
	wantThere(t, c, accounts, fresh, 0)
}

func deleteAll(t *testing.T, c *dataverse.Client, table *schema.Table, ids []schema.GUID) {
	t.Helper()
	var ops []dataverse.Op
	for _, id := range ids {
		ops = append(ops, dataverse.DeleteOp(table, id))
	}
	errs, err := c.Batch(context.WithoutCancel(t.Context()), ops)
	for _, e := range append(errs, err) {
		if e != nil && dataverse.KindOf(e) != dataverse.NotFound {
			t.Error(e)
		}
	}
}

func batchSuite(t *testing.T, c *dataverse.Client, accounts *schema.Table) {
	ids, _ := records(accounts, 3, nil)
	body := func(id schema.GUID, name string) []byte {
		return fmt.Appendf(nil, `{"accountid":%q,"name":%q}`, id, name)
	}
	t.Cleanup(func() { deleteAll(t, c, accounts, ids) })
	errs, err := c.Batch(t.Context(), []dataverse.Op{
		dataverse.CreateOp(accounts, body(ids[0], "one")),
		dataverse.CreateOp(accounts, body(ids[0], "again")),
		dataverse.CreateOp(accounts, body(ids[1], strings.Repeat("x", 5000))),
		dataverse.UpdateOp(accounts, ids[0], []byte(`{"name":"changed"}`)),
		dataverse.UpdateOp(accounts, ids[1], []byte(`{"name":"ghost"}`)),
		dataverse.UpsertOp(accounts, ids[2], []byte(`{"name":"three"}`)),
		dataverse.DeleteOp(accounts, ids[0]),
	})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range errs {
		got = append(got, fmt.Sprint(uint8(dataverse.KindOf(e))))
	}
	kinds := []dataverse.Kind{0, dataverse.Duplicate, dataverse.RowFault, 0, dataverse.NotFound, 0, 0}
	var wanted []string
	for _, k := range kinds {
		wanted = append(wanted, fmt.Sprint(uint8(k)))
	}
	if !slices.Equal(got, wanted) {
		t.Errorf("outcomes %v: %v", got, errs)
	}
	found, err := c.Existing(t.Context(), accounts, ids)
	if _, ok := found[ids[2]]; err != nil || len(found) != 1 || !ok {
		t.Errorf("there are %v, %v", found, err)
	}
}

// mistakeSuite has the faults of a mapping: which stop all, which one row.
func mistakeSuite(t *testing.T, c *dataverse.Client, accounts, contacts *schema.Table) {
	ctx := t.Context()
	one := func(text string) error {
		_, err := c.Batch(ctx, nil)
		if err != nil {
			return err
		}
		return c.Create(ctx, accounts, []byte(text))
	}
	want(t, one(`{"name":"a","no_such_column":1}`), dataverse.Setup)
	want(t, one(`{"name":"a","primarycontactid@odata.bind":"contacts(`+newID().String()+`)"}`), dataverse.NotFound)
	want(t, one(`{"name":"a","PrimaryContactId@odata.bind":"contacts(`+newID().String()+`)"}`), dataverse.Setup)
	want(t, one(`{"name":"a","numberofemployees":"many"}`), dataverse.RowFault)
	missing := *contacts
	missing.EntitySet = "Contacts"
	want(t, c.Create(ctx, &missing, []byte(`{}`)), dataverse.Setup)
	want(t, c.Rows(ctx, accounts, dataverse.Query{Select: []string{"Name"}}, nil), dataverse.Setup)
	want(t, c.CreateMany(ctx, accounts, targets(accounts, []schema.GUID{newID()}, func(_ int, r map[string]any) { r["no_such_column"] = 1 }), 1), dataverse.Setup)
}

func linkSuite(t *testing.T, c *dataverse.Client, s *schema.Schema) {
	i := slices.IndexFunc(s.ManyToMany, func(m schema.ManyToMany) bool { return m.Table1 == "account" && m.Table2 == "contact" })
	if i < 0 {
		t.Skip("the environment has no N:N relationship of account and contact")
	}
	ctx, accounts, contacts := t.Context(), s.Table("account"), s.Table("contact")
	link, err := dataverse.NewLink(s, &s.ManyToMany[i])
	if err != nil {
		t.Fatal(err)
	}
	as, body := records(accounts, 2, nil)
	if err := c.CreateMany(ctx, accounts, body, 2); err != nil {
		t.Fatal(err)
	}
	bs, body := records(contacts, 2, func(i int, r map[string]any) {
		delete(r, contacts.PrimaryName)
		r["lastname"] = "Ek"
	})
	if err := c.CreateMany(ctx, contacts, body, 2); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { deleteAll(t, c, accounts, as); deleteAll(t, c, contacts, bs) })
	p, q := dataverse.Pair{ID1: as[0], ID2: bs[0]}, dataverse.Pair{ID1: as[1], ID2: bs[1]}
	if err := c.Associate(ctx, link, p); err != nil {
		t.Fatal(err)
	}
	want(t, c.Associate(ctx, link, p), dataverse.Duplicate)
	want(t, c.Associate(ctx, link, dataverse.Pair{ID1: as[0], ID2: newID()}), dataverse.NotFound)
	errs, err := c.Batch(ctx, []dataverse.Op{dataverse.AssociateOp(link, q), dataverse.AssociateOp(link, p)})
	if err != nil || errs[0] != nil || dataverse.KindOf(errs[1]) != dataverse.Duplicate {
		t.Fatal(errs, err)
	}
	linked := func(want ...dataverse.Pair) {
		t.Helper()
		var got []dataverse.Pair
		m := &s.ManyToMany[i]
		q := dataverse.Query{Select: []string{m.Column1, m.Column2}, Filter: fmt.Sprintf("%[1]s eq %[2]s or %[1]s eq %[3]s", m.Column1, as[0], as[1])}
		err := c.Rows(ctx, s.Table(m.Intersect), q, func(row json.RawMessage) error {
			var ids map[string]any
			err := json.Unmarshal(row, &ids)
			got = append(got, dataverse.Pair{ID1: mustID(t, ids[m.Column1]), ID2: mustID(t, ids[m.Column2])})
			return err
		})
		less := cmpopts.SortSlices(func(a, b dataverse.Pair) bool { return a.ID1.String() < b.ID1.String() })
		if diff := cmp.Diff(want, got, less); err != nil || diff != "" {
			t.Errorf("linked, %v: %s", err, diff)
		}
	}
	linked(p, q)
	if err := c.Do(ctx, dataverse.DisassociateOp(link, p)); err != nil {
		t.Fatal(err)
	}
	want(t, c.Do(ctx, dataverse.DisassociateOp(link, p)), dataverse.NotFound)
	if errs, err = c.Batch(ctx, []dataverse.Op{dataverse.DisassociateOp(link, q)}); err != nil || errs[0] != nil {
		t.Fatal(errs, err)
	}
	linked()
}

func mustID(t *testing.T, text any) schema.GUID {
	t.Helper()
	id, err := schema.ParseGUID(fmt.Sprint(text))
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// TestFaults: whatever happens on the way, the kind tells the truth about what was
// applied: all when there is no error, nothing when that is certain.
func TestFaults(t *testing.T) {
	for fault, kind := range map[string]dataverse.Kind{
		"kind=deadlock": dataverse.RolledBack, "kind=sql-timeout": dataverse.TooBig, "kind=502": dataverse.Lost, "kind=503": dataverse.Lost,
		"kind=504": dataverse.Lost, "kind=403": dataverse.Setup, "kind=401,times=2": dataverse.SignIn, "kind=401,times=1": 0,
		"kind=reset-before": dataverse.Lost, "kind=reset-after": dataverse.Lost, "kind=cut": dataverse.Lost, "kind=502-after": dataverse.Lost,
		"kind=504-after": dataverse.Lost, "kind=429-time,times=1,retry-after=1": 0,
		"kind=plugin,column=name,value=7$,text=Sevens are refused.": dataverse.RowFault,
	} {
		t.Run(fault, func(t *testing.T) {
			t.Parallel()
			s := world(t)
			accounts := s.Table("account")
			rule := fault + ",message=CreateMultiple"
			if strings.Contains(fault, "plugin") {
				rule = fault // a plug-in runs on the records
			}
			c := connect(t, s, rule)
			ids, body := records(accounts, 10, nil)
			err := c.CreateMany(t.Context(), accounts, body, 10)
			if got := dataverse.KindOf(err); got != kind {
				t.Fatalf("%v, want kind %v", err, kind)
			}
			wantTruth(t, c, accounts, ids, err)
			for _, message := range []string{"ExecuteBatch", "Create"} { // the batch, and a part of it
				c := connect(t, s, fault+",message="+message)
				ids, _ = records(accounts, 10, nil)
				var ops []dataverse.Op
				for _, id := range ids {
					ops = append(ops, dataverse.CreateOp(accounts, fmt.Appendf(nil, `{"accountid":%q,"name":"x"}`, id)))
				}
				errs, err := c.Batch(t.Context(), ops)
				if err != nil {
					wantTruth(t, c, accounts, ids, err)
					continue
				}
				for i, e := range errs {
					wantTruth(t, c, accounts, ids[i:i+1], e)
				}
			}
		})
	}
}

// wantTruth compares what an error says with what is there.
func wantTruth(t *testing.T, c *dataverse.Client, table *schema.Table, ids []schema.GUID, err error) {
	t.Helper()
	found, readErr := c.Existing(t.Context(), table, ids)
	if readErr != nil {
		t.Fatal(readErr)
	}
	switch k := dataverse.KindOf(err); {
	case err == nil && len(found) != len(ids):
		t.Errorf("done, and %d of %d are there", len(found), len(ids))
	case err != nil && k.Certain() && len(found) != 0:
		t.Errorf("%v, and %d of %d are there", err, len(found), len(ids))
	case err != nil && k == 0:
		t.Errorf("no kind: %v", err)
	}
}

// TestSchema: what is read back is what the environment holds.
func TestSchema(t *testing.T) {
	s := world(t)
	c := connect(t, s)
	calls := 0
	got, err := c.Schema(t.Context(), nil, func(done, total int) { calls++ })
	if err != nil {
		t.Fatal(err)
	}
	if got.Release == "" || got.Taken == "" || got.Source != c.Base() || calls != len(got.Tables) {
		t.Errorf("release %q, taken %q, source %q, %d calls for %d tables", got.Release, got.Taken, got.Source, calls, len(got.Tables))
	}
	ignore := []cmp.Option{
		cmpopts.IgnoreUnexported(schema.Table{}, schema.Column{}), cmpopts.EquateEmpty(),
		cmpopts.SortSlices(func(a, b *schema.Table) bool { return a.LogicalName < b.LogicalName }),
		cmpopts.SortSlices(func(a, b *schema.Column) bool { return a.LogicalName < b.LogicalName }),
		cmpopts.SortSlices(func(a, b schema.Relationship) bool { return a.SchemaName < b.SchemaName }),
	}
	for _, w := range s.Tables {
		g := got.Table(w.LogicalName)
		if g == nil {
			t.Errorf("table %s is missing", w.LogicalName)
			continue
		}
		if d := cmp.Diff(w, g, ignore...); d != "" {
			t.Errorf("table %s: %s", w.LogicalName, d)
		}
	}
	if d := cmp.Diff(s.ManyToMany, got.ManyToMany); d != "" {
		t.Error(d)
	}
	few, err := c.Schema(t.Context(), []string{"contact"}, nil)
	if err != nil || !slices.Equal(few.TableNames(), []string{"contact"}) || len(few.ManyToMany) != 0 {
		t.Errorf("%v, %v", few, err)
	}
	_, err = c.Schema(t.Context(), []string{"contact", "no_such_table"}, nil)
	if e := want(t, err, dataverse.Setup); !strings.Contains(e.Error(), `no table "no_such_table"`) {
		t.Error(e)
	}
}

// TestSchemaSurvivesTrouble: a deadlock or a throttle in the middle of the reading
// is got over.
func TestSchemaSurvivesTrouble(t *testing.T) {
	s := world(t)
	c := connect(t, s, "kind=429-time,url=Attributes,nth=3,retry-after=1", "kind=502,url=Keys,times=1")
	again, err := dataverse.New(dataverse.Options{URL: c.Base(), Token: ready("x")})
	if err != nil {
		t.Fatal(err)
	}
	got, err := again.Schema(t.Context(), nil, nil)
	if err != nil || len(got.Tables) != len(s.Tables)+1 || got.Table("fileattachment") == nil { // which comes with a file column
		t.Error(got.TableNames(), err)
	}
}
