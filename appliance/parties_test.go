package appliance

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"dvmigrate/appliance/dataverse/emulator"
	"dvmigrate/appliance/dataverse/schema"
	"dvmigrate/appliance/preflight"
	"dvmigrate/appliance/reconcile"
	"dvmigrate/appliance/sample"
)

// mailSchema is the sample's schema with e-mails and their parties.
func mailSchema(t *testing.T) *schema.Schema {
	t.Helper()
	s, err := schema.Read(strings.NewReader(string(sample.Schema())))
	if err != nil {
		t.Fatal(err)
	}
	like := s.Table("contoso_equipment")
	mail := &schema.Table{LogicalName: "email", SchemaName: "Email", EntitySet: "emails", PrimaryID: "activityid", PrimaryName: "subject", Kind: schema.Activity,
		Ownership: like.Ownership, Bulk: []string{"create", "update", "upsert"}}
	for _, c := range like.Columns {
		if slices.Contains([]string{"createdon", "modifiedon", "createdby", "modifiedby", "ownerid", "statecode", "statuscode", "overriddencreatedon"}, c.LogicalName) {
			mail.Columns = append(mail.Columns, c)
		}
	}
	for _, r := range like.ManyToOne {
		if r.Column == "ownerid" || r.Column == "createdby" || r.Column == "modifiedby" {
			mail.ManyToOne = append(mail.ManyToOne, r)
		}
	}
	people := []string{"account", "contact", "systemuser"}
	mail.Columns = append(mail.Columns, &schema.Column{LogicalName: "activityid", SchemaName: "ActivityId", Type: schema.UniqueID}, &schema.Column{LogicalName: "subject", SchemaName: "Subject", Type: schema.Text, MaxLength: 200},
		&schema.Column{LogicalName: "from", SchemaName: "From", Type: schema.PartyList, Targets: people}, &schema.Column{LogicalName: "to", SchemaName: "To", Type: schema.PartyList, Targets: people},
		&schema.Column{LogicalName: "cc", SchemaName: "Cc", Type: schema.PartyList, Targets: people})
	party := &schema.Table{LogicalName: "activityparty", SchemaName: "ActivityParty", EntitySet: "activityparties", PrimaryID: "activitypartyid", Ownership: schema.NotOwned,
		Columns: []*schema.Column{{LogicalName: "activitypartyid", SchemaName: "ActivityPartyId", Type: schema.UniqueID},
			{LogicalName: "activityid", SchemaName: "ActivityId", Type: schema.Lookup, Targets: []string{"email"}}, {LogicalName: "partyid", SchemaName: "PartyId", Type: schema.Lookup, Targets: people},
			{LogicalName: "participationtypemask", SchemaName: "ParticipationTypeMask", Type: schema.Integer}, {LogicalName: "addressused", SchemaName: "AddressUsed", Type: schema.Text, MaxLength: 200}},
		ManyToOne: []schema.Relationship{{SchemaName: "email_activity_parties", Column: "activityid", Target: "email", Nav: "activityid_email", Collection: "email_activity_parties", Cascade: map[string]string{"Delete": "Cascade"}}}}
	for _, name := range people {
		party.ManyToOne = append(party.ManyToOne, schema.Relationship{SchemaName: name + "_activity_parties", Column: "partyid", Target: name, Nav: "partyid_" + name, Collection: name + "_activity_parties"})
	}
	s, err = schema.New(append(s.Tables, mail, party), s.ManyToMany)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

const mailSQL = `SELECT i::VARCHAR AS legacy_key, 'Mail ' || i AS subject,
	ref('contact', 'C' || i %% 3) AS "from",
	list_concat([existing('systemuser', CASE WHEN i %% 2 = 0 THEN 'a0000000-0000-4000-8000-000000000011' END), party_address('p' || i || '"@x.y')],
		(SELECT list(ref('account', 'A' || n) ORDER BY n DESC) FROM range(%s) r(n))) AS "to"
	FROM range(40) m(i)`

func mailProject(t *testing.T, url string, s *schema.Schema, settings string) string {
	t.Helper()
	return otherProject(t, url, s, map[string]string{
		"x.csv":                 "a\n1\n",
		"transform/account.sql": "SELECT 'A' || i AS legacy_key, 'Account ' || i AS name FROM range(4) r(i)",
		"transform/contact.sql": "SELECT 'C' || i AS legacy_key, 'Contact ' || i AS lastname, 'Account ' || i AS jobtitle FROM range(3) r(i)",
		"transform/email.sql":   fmt.Sprintf(mailSQL, "i % 4"),
		"migration.yaml":        "version: 1\nname: mails\ntarget: {url: " + url + ", auth: none}\nsources:\n  x: {path: x.csv}\n" + settings})
}

// mailParties are the parties that the target has, by mail: role and name each, in order.
func mailParties(t *testing.T, url string) map[string][]string {
	t.Helper()
	names := map[string]string{"a0000000-0000-4000-8000-000000000011": "user"}
	for set, column := range map[string]string{"accounts": "name", "contacts": "lastname"} {
		for _, row := range plainRows(t, url, set) {
			names[fmt.Sprint(row[strings.TrimSuffix(set, "s")+"id"])] = fmt.Sprint(row[column])
		}
	}
	mails := map[string]string{}
	for _, row := range plainRows(t, url, "emails") {
		mails[fmt.Sprint(row["activityid"])] = fmt.Sprint(row["subject"])
	}
	out := map[string][]string{}
	for _, row := range plainRows(t, url, "activityparties") {
		role, _ := row["participationtypemask"].(json.Number)
		name, ok := names[fmt.Sprint(row["_partyid_value"])]
		if !ok {
			name = fmt.Sprint(row["addressused"])
		}
		mail := mails[fmt.Sprint(row["_activityid_value"])]
		out[mail] = append(out[mail], role.String()+" "+name)
	}
	for _, list := range out {
		slices.Sort(list)
	}
	return out
}

func wantParties(t *testing.T, url string, accounts func(i int) int) {
	t.Helper()
	found := mailParties(t, url)
	for i := range 40 {
		want := []string{fmt.Sprintf("1 Contact %d", i%3), fmt.Sprintf(`2 p%d"@x.y`, i)}
		for n := range accounts(i) {
			want = append(want, fmt.Sprintf("2 Account %d", n))
		}
		if i%2 == 0 {
			want = append(want, "2 user")
		}
		slices.Sort(want)
		if got := found[fmt.Sprintf("Mail %d", i)]; !slices.Equal(got, want) {
			t.Errorf("mail %d has the parties %q, want %q", i, got, want)
		}
	}
	if len(found) != 40 {
		t.Errorf("parties of %d mails, want 40", len(found))
	}
}

// TestActivityParties loads e-mails with their parties, changes them, and reads both back
// by plain HTTP, also where answers are lost and where the service assigns the ids of the
// records that are named.
func TestActivityParties(t *testing.T) {
	for name, c := range map[string]struct {
		settings string
		lose     int32 // the answer to one write in so many
	}{
		"plain":       {},
		"lost":        {lose: 3},
		"foreign ids": {settings: "tables:\n  account: {ids: server, match: [name]}\n  contact: {match: [lastname]}\n"},
	} {
		t.Run(name, func(t *testing.T) {
			s := mailSchema(t)
			e, err := emulator.New(emulator.Options{Schema: s, Seed: seed(t, s)})
			if err != nil {
				t.Fatal(err)
			}
			defer e.Close()
			var puts, bulk, writes, lost atomic.Int32
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.Method == http.MethodPut {
					puts.Add(1)
				}
				if strings.Contains(r.URL.Path, "emails/Microsoft.Dynamics.CRM") {
					bulk.Add(1)
				}
				if strings.Contains(r.URL.Path, "emails(") || strings.HasSuffix(r.URL.Path, "$batch") {
					if n := writes.Add(1); c.lose > 0 && n%c.lose == 1 {
						lost.Add(1)
						e.ServeHTTP(httptest.NewRecorder(), r)
						panic(http.ErrAbortHandler)
					}
				}
				e.ServeHTTP(w, r)
			}))
			defer server.Close()
			dir := mailProject(t, server.URL, s, c.settings)
			p := reopen(t, dir, Staging, server.URL)
			if _, err := p.Stage(t.Context(), nil, func(string, float64) {}); err != nil {
				t.Fatal(err)
			}
			requireAllLoaded(t, p)
			wantParties(t, server.URL, func(i int) int { return i % 4 })
			if bulk.Load() > 0 || puts.Load() > 0 {
				t.Errorf("%d bulk requests and %d replacements of parties on creating, want none", bulk.Load(), puts.Load())
			}
			if err := os.WriteFile(filepath.Join(dir, "transform/email.sql"), []byte(fmt.Sprintf(mailSQL, "CASE WHEN i < 10 THEN 3 - i % 4 ELSE i % 4 END")), 0o600); err != nil {
				t.Fatal(err)
			}
			r, err := p.Stage(t.Context(), nil, func(string, float64) {})
			if err != nil {
				t.Fatal(err)
			}
			if at := slices.IndexFunc(r.Tables, func(x TableResult) bool { return x.Name == "email" }); r.Tables[at].Changed != 10 || r.Tables[at].Same != 30 {
				t.Errorf("%+v, want 10 changed", r.Tables[at])
			}
			requireAllLoaded(t, p)
			wantParties(t, server.URL, func(i int) int {
				if i < 10 {
					return 3 - i%4
				}
				return i % 4
			})
			if c.lose > 0 && lost.Load() < 4 {
				t.Errorf("%d answers lost, want some", lost.Load())
			}
			if puts.Load() < 10 {
				t.Errorf("%d replacements of parties, want 10", puts.Load())
			}
			if c.lose == 0 {
				changeParties(t, p, server.URL)
			}
		})
	}
}

// changeParties compares what was loaded with the target, also after somebody there has
// changed the parties of one mail.
func changeParties(t *testing.T, p *Project, url string) {
	t.Helper()
	compare := func() []reconcile.Mismatch {
		r, err := p.Reconcile(t.Context(), ReconcileOptions{Values: true, Limit: 9}, func(string, float64) {})
		if err != nil {
			t.Fatal(err)
		}
		var found []reconcile.Mismatch
		for _, table := range r.Tables {
			found = append(found, table.Mismatches...)
		}
		return found
	}
	if found := compare(); len(found) > 0 {
		t.Errorf("what was loaded differs: %+v", found)
	}
	mail := ""
	for _, row := range plainRows(t, url, "emails") {
		if row["subject"] == "Mail 11" {
			mail = fmt.Sprint(row["activityid"])
		}
	}
	body := `{"value":[{"addressused":"P11\"@X.y","participationtypemask":2},{"addressused":"other@x.y","participationtypemask":2}]}`
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, url+"/api/data/v9.2/emails("+mail+")/email_activity_parties", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer t")
	answer, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	answer.Body.Close()
	found := compare()
	if answer.StatusCode != http.StatusNoContent || len(found) != 2 {
		t.Fatalf("status %d, mismatches %+v", answer.StatusCode, found)
	}
	for i, column := range []string{"from", "to"} {
		if m := found[i]; m.Class != reconcile.ClassParties || m.Column != column || m.LegacyKey != "11" || strings.Contains(m.Got, "other@x.y") != (column == "to") {
			t.Errorf("%+v, want column %s of mail 11", m, column)
		}
	}
}

// TestPartyIsHeld: an activity whose party is not staged, or could not be loaded, is held.
func TestPartyIsHeld(t *testing.T) {
	s := mailSchema(t)
	e, err := emulator.New(emulator.Options{Schema: s, Seed: seed(t, s)})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	server := httptest.NewServer(e)
	defer server.Close()
	dir := mailProject(t, server.URL, s, "")
	for name, sql := range map[string]string{"account": "SELECT 'A' || i AS legacy_key, CASE i WHEN 0 THEN repeat('x', 5000) ELSE 'Account ' || i END AS name FROM range(3) r(i)",
		"email": "SELECT i::VARCHAR AS legacy_key, 'Mail' AS subject, [ref('contact', 'C1'), ref('account', 'A' || i), ref('account', 'A' || i)] AS \"to\" FROM range(4) r(i)"} {
		if err := os.WriteFile(filepath.Join(dir, "transform", name+".sql"), []byte(sql), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	p := reopen(t, dir, Staging, server.URL)
	if _, err := p.Stage(t.Context(), nil, func(string, float64) {}); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Load(t.Context(), t.Context(), LoadOptions{SnapshotEvery: -1}); err != nil {
		t.Fatal(err)
	}
	list, err := p.Failures(t.Context(), FailureFilter{Limit: 9})
	if err != nil {
		t.Fatal(err)
	}
	text := fmt.Sprintf("%+v", list)
	for _, want := range []string{"DVM-ORPHAN to: no account with legacy key 'A3'", "to: the account with legacy key 'A0' failed or is held back"} {
		if !strings.Contains(text, want) {
			t.Errorf("failures: %s, want %q", text, want)
		}
	}
	if n := len(plainRows(t, server.URL, "emails")); n != 2 {
		t.Errorf("%d mails loaded, want 2", n)
	}
}

// TestAddressesOfPartiesAreChecked: the service refuses their control characters, too, which
// JSON writes in three ways; a backslash of the address itself is none.
func TestAddressesOfPartiesAreChecked(t *testing.T) {
	p, err := Open(t.Context(), otherProject(t, "http://127.0.0.1:1", mailSchema(t), map[string]string{
		"migration.yaml": "version: 1\nname: x\ntarget: {auth: none}\n",
		"transform/email.sql": `SELECT k AS legacy_key, 's' AS subject, [party_address(a)] AS "to" FROM (VALUES ('fine', 'a"b\@x.y'), ('slashes', 'a\\b\u0001\f@x.y'), ('tab', 'a' || chr(9)),
			('one', 'a' || chr(1)), ('bell', '\' || chr(8)), ('last', 'a' || chr(65535)), ('unit', chr(31) || '@x.y')) v(k, a)`}), Staging, Options{Env: func(string) (string, bool) { return "", false }})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if _, err := p.Stage(t.Context(), nil, func(string, float64) {}); err != nil {
		t.Fatal(err)
	}
	d, err := p.CheckData(t.Context(), []string{preflight.Characters}, func(string, float64) {})
	if err != nil {
		t.Fatal(err)
	}
	if len(d.Findings) != 1 || d.Findings[0].Column != "to" || d.Findings[0].Rows != 4 {
		t.Errorf("found %+v", d.Findings)
	}
}
