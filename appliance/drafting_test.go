package appliance

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"dvmigrate/duckstage"
)

// stagedOffline stages a project of these files, which knows no environment.
func stagedOffline(t *testing.T, files map[string]string) *Project {
	t.Helper()
	p, err := Open(t.Context(), otherProject(t, "http://127.0.0.1:1", nil, files), Staging, Options{Env: func(string) (string, bool) { return "", false }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	if _, err := p.Stage(t.Context(), nil, func(string, float64) {}); err != nil {
		t.Fatal(err)
	}
	return p
}

// drafted is what a draft writes from files, against the sample's schema.
func drafted(t *testing.T, settings string, files map[string]string) (d Draft, text func(name string) string) {
	t.Helper()
	files["migration.yaml"] = "version: 1\nname: x\ntarget: {auth: none}\n" + settings
	p := stagedOffline(t, files)
	d, err := p.Draft(t.Context(), func(string, float64) {})
	if err != nil {
		t.Fatal(err)
	}
	if len(d.Faults) > 0 {
		t.Error(d.Faults)
	}
	return d, func(name string) string {
		t.Helper()
		data, err := os.ReadFile(filepath.Join(p.Config.Dir, filepath.FromSlash(name)))
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
}

// TestDraftOfSourcesOfOneTable: two sources feed the accounts, with keys told apart where they
// have the same ones; what points to either follows, and their texts of a choice share a sheet.
func TestDraftOfSourcesOfOneTable(t *testing.T) {
	d, text := drafted(t, "sources: {customers: c.csv, suppliers: s.csv, people: p.csv}\n", map[string]string{
		"c.csv": "customer_id,company_name,city,industry,active\n1,Adler,Bern,Consulting,1\n2,Brand,Basel,Insurance,0\n3,Conrad,Chur,Insurance,1\n",
		"s.csv": "supplier_id,company_name,homepage,industry\n1,Zahn,zahn.example,Consulting\n2,Yser,,Mining\n",
		"p.csv": "no,first_name,last_name,supplier_id\nA,Ada,Aal,1\nB,Bob,Barsch,2\n"})
	if diff := cmp.Diff(`-- account from customers and suppliers: a draft, guessed from names and values. Look at every line; ??? marks what
-- needs an answer. dvmigrate preview account shows what comes out.
SELECT
  s.customer_id                            AS legacy_key,    -- different in every row
  nullif(trim(s.customer_id), '')          AS accountnumber,
  nullif(trim(s.company_name), '')         AS name,
  nullif(trim(s.city), '')                 AS address1_city,
  s.industry                               AS industrycode,  -- by maps/account.industrycode.csv
  CASE s.active WHEN '0' THEN 1 ELSE 0 END AS statecode,     -- set last
  CASE s.active WHEN '0' THEN 2 ELSE 1 END AS statuscode     -- in use, or no longer ???
FROM "customers" AS s
UNION ALL BY NAME  -- are rows of suppliers records of account, too? Where they are the same ones, join them instead ???
SELECT
  'suppliers/' || s.supplier_id    AS legacy_key,    -- different in every row
  nullif(trim(s.supplier_id), '')  AS accountnumber,
  nullif(trim(s.company_name), '') AS name,
  nullif(trim(s.homepage), '')     AS websiteurl,
  s.industry                       AS industrycode   -- by maps/account.industrycode.csv; texts in it without a value: 1 ???
FROM "suppliers" AS s
`, text("transform/account.sql")); diff != "" {
		t.Error(diff)
	}
	if got := text("transform/contact.sql"); !strings.Contains(got, "ref('account', 'suppliers/' || s.supplier_id)") {
		t.Error(got)
	}
	if got := text("maps/account.industrycode.csv"); !strings.Contains(got, "\nMining,1,,,\nConsulting,2,7,Consulting,proposed: 100 % alike\nInsurance,2,20,Insurance,") {
		t.Error(got)
	}
	if diff := cmp.Diff([]string{"account", "contact"}, d.Order); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]DraftQuestion{
		{"transform/account.sql", 10, "CASE s.active WHEN '0' THEN 2 ELSE 1 END AS statuscode -- in use, or no longer"},
		{"transform/account.sql", 12, "UNION ALL BY NAME -- are rows of suppliers records of account, too? Where they are the same ones, join them instead"},
		{"transform/account.sql", 18, "s.industry AS industrycode -- by maps/account.industrycode.csv; texts in it without a value: 1"},
	}, d.Open); diff != "" {
		t.Error(diff)
	}
}

// TestUseOfSources: a column's name in a comment uses it no more than that of another source's.
func TestUseOfSources(t *testing.T) {
	u := usage{files: []transformFile{{table: "account", sql: strings.ToLower(duckstage.Uncommented("SELECT s.Name, /* s.b */ ' -- c' AS x -- s.d\nFROM \"Customers\" AS s"))}}}
	for _, c := range []struct {
		source, column string
		shared         bool
		want           int
	}{{"customers", "NAME", false, 1}, {"customers", "b", false, 0}, {"customers", "c", false, 1}, {"customers", "d", false, 0}, {"suppliers", "name", false, 0}, {"suppliers", "name", true, 1}} {
		if u.shared = c.shared; len(u.of(c.source, c.column)) != c.want {
			t.Errorf("%+v: %v", c, u.of(c.source, c.column))
		}
	}
}

// TestDraftOfPeopleWithinOtherRows: who is named in the rows of customers becomes a contact of
// theirs, beside the contacts that have a source of their own.
func TestDraftOfPeopleWithinOtherRows(t *testing.T) {
	d, text := drafted(t, "sources: {customers: c.csv, people: p.csv}\n", map[string]string{
		"c.csv": "customer_id,company_name,phone,contact_name,contact_title,contact_email\n1,Adler,1234,Ada van Aal,Boss,ada@adler.example\n2,Brand,2345,Bob,,\n3,Conrad,3456,,,\n",
		"p.csv": "no,first_name,last_name,customer_id,owner\n1,Cy,Cohn,1,0\n2,Di,Dahl,2,1\n"}) // of a house
	if diff := cmp.Diff(`-- contact from people and customers: a draft, guessed from names and values. Look at every line; ??? marks what
-- needs an answer. dvmigrate preview contact shows what comes out.
SELECT
  s.no                           AS legacy_key,       -- different in every row
  nullif(trim(s.first_name), '') AS firstname,
  nullif(trim(s.last_name), '')  AS lastname,
  ref('account', s.customer_id)  AS parentcustomerid  -- 100 % are keys of customers
FROM "people" AS s
-- Not used:
--   owner: a yes or no by its values, so that it is nobody's name; such as 0; 1
UNION ALL BY NAME  -- the people that customers have in columns of their own; may one be there twice ???
SELECT
  'customers/' || s.customer_id                     AS legacy_key,       -- different in every row
  nullif(regexp_extract(trim(s.contact_name), '^(.*\S)\s+\S+$', 1), '') AS firstname,        -- all but the last word ???
  regexp_extract(trim(s.contact_name), '(\S+)$', 1) AS lastname,
  nullif(trim(s.contact_title), '')                 AS jobtitle,
  nullif(trim(s.contact_email), '')                 AS emailaddress1,
  ref('account', s.customer_id)                     AS parentcustomerid
FROM "customers" AS s
WHERE nullif(trim(s.contact_name), '') IS NOT NULL
`, text("transform/contact.sql")); diff != "" {
		t.Error(diff)
	}
	if got := text("transform/account.sql"); strings.Contains(got, "contact_") || !strings.Contains(got, "s.phone), '')        AS telephone1") {
		t.Error(got)
	}
	if diff := cmp.Diff([]string{"account", "contact"}, d.Order); diff != "" {
		t.Error(diff)
	}
}

// TestDraftOfLinks: two keys and little more are an N:N relationship, if the target has one; whose
// keys they are their names say where numbers would fit any. What a link cannot hold is asked.
func TestDraftOfLinks(t *testing.T) {
	people := "person_no,first_name,last_name,email\n1,Ada,Aal,a@x.example\n2,Bob,Barsch,b@x.example\n3,Cy,Cohn,c@x.example\n"
	leads := "lead_no,subject,first_name,last_name,company_name\n1,New,Di,Dahl,Adler\n2,Old,Ed,Esch,Brand\n3,Third,Fa,Falk,Conrad\n"
	for _, c := range []struct {
		name, links, want string
		open              int
	}{
		{"with an id, a date and a role, one twice, one with an empty end", "link_id,lead_no,person_no,created_on,role\n1,1,2,2024-01-01,Boss\n2,2,1,2024-01-02,\n3,2,1,2024-01-03,Clerk\n4,3,,2024-01-03,Clerk\n",
			`-- contactleads from person_leads: a draft. Links of contact and lead.
SELECT DISTINCT "person_no" || '/' || "lead_no" AS legacy_key, "person_no" AS contactid, "lead_no" AS leadid
FROM "person_leads"
WHERE "person_no" IS NOT NULL AND "lead_no" IS NOT NULL
-- Not used, as a link has nothing but its two ends:
--   link_id; such as 1; 2; 3
--   created_on; such as 2024-01-03; 2024-01-01; 2024-01-02
--   role; such as Clerk; Boss: is it to be lost ???
`, 1},
		{"nothing but two numbers", "lead_no,person_no\n1,3\n2,1\n", `-- contactleads from person_leads: a draft. Links of contact and lead.
SELECT "person_no" || '/' || "lead_no" AS legacy_key, "person_no" AS contactid, "lead_no" AS leadid
FROM "person_leads"
`, 0},
		{"much more", "lead_no,person_no,a,b,c,d,e\n1,3,x,y,z,1,2\n2,1,x,z,y,1,3\n", "", 0},
		{"no keys of both", "lead_no,person_no,note\n1,7,x\n2,8,y\n", "", 0},
	} {
		d, text := drafted(t, "sources: {people: p.csv, leads: l.csv, person_leads: pl.csv}\n", map[string]string{"p.csv": people, "l.csv": leads, "pl.csv": c.links})
		of := func(table string) (found []string) {
			for _, row := range d.Tables {
				if row.Table == table {
					found = append(found, row.Source)
				}
			}
			return found
		}
		if c.want == "" {
			if len(of("contactleads")) > 0 {
				t.Errorf("%s: %v", c.name, d.Tables)
			}
			continue
		}
		if diff := cmp.Diff(c.want, text("transform/contactleads.sql")); diff != "" {
			t.Errorf("%s: %s", c.name, diff)
		}
		if n := len(d.Open); n != c.open || !slices.Equal(of("contact"), []string{"people"}) || !slices.Equal(of("lead"), []string{"leads"}) || !slices.Contains(d.Order, "contactleads") {
			t.Errorf("%s: %d open, %+v", c.name, n, d)
		}
	}
}
