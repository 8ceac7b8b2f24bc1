package emulator

import (
	"strings"
	"testing"

	"dvmigrate/appliance/dataverse/schema"
)

// FuzzFilter requires that no text makes the parser or a bound filter panic, and
// that what an index answers is what a scan answers.
func FuzzFilter(f *testing.F) {
	for _, s := range []string{
		"name eq 'x' and (numberofemployees gt 5 or not contains(name,'y'))",
		"Microsoft.Dynamics.CRM.In(PropertyName='accountnumber',PropertyValues=[\"A-1\",'A-2'])",
		"accountid eq 00000001-0000-4000-8000-000000000001 or accountnumber eq 'a-2 '",
		"contact_customer_accounts/any(c:c/firstname eq 'Ann' and c/createdon gt 2024-01-01T00:00:00+02:00)",
		"primarycontactid/firstname ne null", "contoso_rating eq -1.5e2", "ownerid/ownerid eq @p", "not not creditonhold",
		"Microsoft.Dynamics.CRM.LastXDays(PropertyName='createdon',PropertyValue=3)", "accountnumber eq 'A-1' and accountnumber ne null",
	} {
		f.Add(s)
	}
	srv, err := New(Options{Schema: world(f)})
	if err != nil {
		f.Fatal(err)
	}
	e := &env{t: f, srv: srv}
	fill(e)
	accounts := srv.model.byName["account"]
	b := binding{t: accounts, user: UserID, now: srv.store.now()}
	f.Fuzz(func(t *testing.T, text string) {
		n, err := parseFilter(text, map[string]string{"@p": "null"})
		if err != nil {
			return
		}
		if _, err := entityProps(accounts).holds(n, "EntityMetadata"); err != nil {
			_ = err.Error()
		}
		match, err := b.bind(n)
		if err != nil {
			return
		}
		srv.store.view(func(tx *tx) error {
			scanned := map[schema.GUID]bool{}
			tx.scan(accounts, schema.GUID{}, func(r row) bool {
				if match(tx, r) {
					scanned[r.id] = true
				}
				return true
			})
			ids, ok := accounts.candidates(tx, n)
			if !ok {
				return nil
			}
			for _, id := range ids {
				delete(scanned, id)
			}
			if len(scanned) > 0 {
				t.Errorf("%s: the index misses %v", text, scanned)
			}
			return nil
		})
	})
}

// fill puts rows in by the store itself.
func fill(e *env) {
	for i, line := range []string{
		`{"accountid":"` + gid(1, 1) + `","accountnumber":"A-1","name":"x","numberofemployees":6}`,
		`{"accountid":"` + gid(1, 2) + `","accountnumber":"A-2","name":"Y","creditonhold":true,"contoso_rating":-150}`,
		`{"accountid":"` + gid(1, 3) + `","name":"z"}`,
	} {
		if err := e.srv.seedRow(e.srv.model.byName["account"], []byte(line)); err != nil {
			e.t.Fatalf("row %d: %v", i, err)
		}
	}
}

func FuzzExpand(f *testing.F) {
	f.Add("primarycontactid($select=a,b;$expand=c($filter=x eq 'a;b)');$top=2),ownerid/$ref")
	f.Fuzz(func(t *testing.T, text string) {
		o, err := parseOptions([]param{{"$expand", text}, {"$orderby", text}, {"$select", text}})
		if err == nil && countExpands(o.expand) > maxExpand {
			t.Errorf("%d expands", countExpands(o.expand))
		}
	})
}

// TestIndexes says which filters are answered without a scan: a loader reads
// hundreds of rows back by id or key out of millions.
func TestIndexes(t *testing.T) {
	e := orgChart(t)
	for _, c := range []struct {
		table, filter string
		want          int // ids from the index; -1 for a scan
	}{
		{"account", "accountid eq " + gid(1, 1), 1},
		{"account", "accountid eq " + gid(1, 1) + " or accountid eq " + gid(1, 2) + " or accountnumber eq 'A-2'", 2},
		{"account", "Microsoft.Dynamics.CRM.In(PropertyName='accountnumber',PropertyValues=['A-1','A-2','none'])", 2},
		{"account", "Microsoft.Dynamics.CRM.In(PropertyName='accountid',PropertyValues=['" + gid(1, 1) + "'])", 1},
		{"account", "accountnumber eq 'A-1' and name eq 'x'", 1},
		{"account", "name eq 'x' and (accountnumber eq 'A-1' or accountnumber eq 'A-2')", 2},
		{"contact", "firstname eq 'Ann' and emailaddress1 eq 'ann@x.io'", 1},
		{"contact", "(firstname eq 'Ann' and emailaddress1 eq 'ann@x.io') or (emailaddress1 eq 'bo@x.io' and firstname eq 'bo')", 2},
		{"contact", "firstname eq 'Ann'", -1},
		{"contact", "_parentcustomerid_value eq " + gid(1, 1) + " and firstname eq 'Ann'", 2},
		{"account", "Microsoft.Dynamics.CRM.In(PropertyName='primarycontactid',PropertyValues=['" + gid(2, 1) + "','" + gid(2, 2) + "'])", 2},
		{"account", "_ownerid_value eq " + UserID.String(), -1}, // most rows have it
		{"account", "websiteurl eq 'x'", -1},                    // its key is not active
		{"account", "accountid ne " + gid(1, 1), -1},
		{"account", "not (accountid eq " + gid(1, 1) + ")", -1},
		{"account", "accountid eq " + gid(1, 1) + " or name eq 'x'", -1},
	} {
		n, err := parseFilter(c.filter, nil)
		if err != nil {
			t.Fatal(err)
		}
		e.srv.store.view(func(tx *tx) error {
			ids, ok := e.srv.model.byName[c.table].candidates(tx, n)
			if got := len(ids); ok != (c.want >= 0) || ok && got != c.want {
				t.Errorf("%s: %d ids, indexed %v, want %d", c.filter, got, ok, c.want)
			}
			return nil
		})
	}
}

func BenchmarkReadBack500(b *testing.B) {
	var seed strings.Builder
	for i := range 100_000 {
		seed.WriteString(`{"contactid":"` + gid(2, i+1) + `","lastname":"L"}` + "\n")
	}
	e := start(b, seedOf("contact", seed.String()))
	var ids []string
	for i := range 500 {
		ids = append(ids, `"`+gid(2, 1+i*199)+`"`)
	}
	path := "contacts?" + query("$select", "contactid,lastname", "$filter", "Microsoft.Dynamics.CRM.In(PropertyName='contactid',PropertyValues=["+strings.Join(ids, ",")+"])")
	for b.Loop() {
		e.want(200, "", "GET", path, "")
	}
	b.ReportMetric(500*float64(b.N)/b.Elapsed().Seconds(), "records/s")
}

// BenchmarkPages reads a table of 100,000 rows in pages of 5,000, and looks
// through all of it for none.
func BenchmarkPages(b *testing.B) {
	var seed strings.Builder
	for i := range 100_000 {
		seed.WriteString(`{"contactid":"` + gid(2, i+1) + `","firstname":"Ann","lastname":"L"}` + "\n")
	}
	e := start(b, seedOf("contact", seed.String()))
	for name, path := range map[string]string{
		"page": "contacts?$select=contactid,firstname,lastname",
		"scan": "contacts?" + query("$select", "contactid", "$filter", "lastname eq 'none'"),
		"sort": "contacts?" + query("$select", "contactid", "$orderby", "lastname desc"),
	} {
		b.Run(name, func(b *testing.B) {
			e := &env{b, e.srv, e.url}
			for b.Loop() {
				e.want(200, "", "GET", path, "")
			}
		})
	}
}
