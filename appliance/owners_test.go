package appliance

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"dvmigrate/appliance/dataverse/schema"
)

func TestPersonOf(t *testing.T) {
	for text, want := range map[string][3]string{
		"ann.van.ek@acme.com": {"ann van", "ek", "ann.van.ek@acme.com"},
		`ACME\aek`:            {"", "aek", ""},
		"Ek, Ann":             {"Ann", "Ek", ""},
		"Ann Ek":              {"Ann", "Ek", ""},
		"@":                   {"", "@", "@"},
	} {
		first, last, mail := personOf(text)
		if diff := cmp.Diff(want, [3]string{first, last, mail}); diff != "" {
			t.Errorf("%s: %s", text, diff)
		}
	}
}

// TestDecision: what a row of a choice's map may say.
func TestDecision(t *testing.T) {
	options := []schema.Option{{Value: 1, Label: "Red"}, {Value: 2, Label: "Blue"}, {Value: 3, Label: "Blue"}}
	of := func(kind schema.ColumnType) *schema.Column {
		c := &schema.Column{LogicalName: "c", Type: kind, Options: options}
		if kind == schema.YesNo {
			c.Options = []schema.Option{{Value: 0, Label: "Stop"}, {Value: 1, Label: "Go"}}
		}
		if _, err := schema.New([]*schema.Table{{LogicalName: "t", Columns: []*schema.Column{c}}}, nil); err != nil {
			t.Fatal(err)
		}
		return c
	}
	for _, c := range []struct {
		name         string
		kind         schema.ColumnType
		value, label string
		want, fault  string
		open         bool
	}{
		{"a value", schema.Choice, "2", "", "2", "", false},
		{"a label, whatever its case", schema.Choice, "", "red", "1", "", false},
		{"both", schema.Choice, "3", "Blue", "", "2 options of c have the label", false},
		{"a value, and a label in another language", schema.Choice, "1", "Rot", "1", "", false},
		{"nothing", schema.Choice, "", "", "", "", true},
		{"blank", schema.Choice, "Blank", "", "", "", false},
		{"blank as a label", schema.Choice, "", "blank", "", "", false},
		{"a label of two options", schema.Choice, "", "Blue", "", "2 options of c have the label \"Blue\": say which by target_value", false},
		{"a label that there is not", schema.Choice, "", "Rd", "", "did you mean Red?", false},
		{"two that differ", schema.Choice, "2", "Red", "", "2 is Blue, and \"Red\" is 1", false},
		{"no number", schema.Choice, "x", "", "", "not the number of an option", false},
		{"several", schema.Choices, "1;2", "", "1,2", "", false},
		{"several labels", schema.Choices, "", "Red, red", "1,1", "", false},
		{"yes", schema.YesNo, "true", "", "1", "", false},
		{"no by its label", schema.YesNo, "", "stop", "0", "", false},
	} {
		got, decided, err := decision(of(c.kind), c.value, c.label)
		if c.name == "both" { // a value is enough where the label says it of several
			if got != "3" || err != nil {
				t.Errorf("%s: %q %v", c.name, got, err)
			}
			continue
		}
		if c.fault != "" {
			if err == nil || !strings.Contains(err.Error(), c.fault) {
				t.Errorf("%s: %v, want %q", c.name, err, c.fault)
			}
			continue
		}
		if err != nil || got != c.want || decided == c.open {
			t.Errorf("%s: %q %v %v", c.name, got, decided, err)
		}
	}
}

// TestOwnersInPartyLists: who occurs in no lookup is compared too, with the columns named,
// and needs neither a stub nor to be enabled.
func TestOwnersInPartyLists(t *testing.T) {
	url := environment(t, 0, nil)
	dir := otherProject(t, url, mailSchema(t), map[string]string{
		"migration.yaml": "version: 1\nname: x\ntarget: {auth: none}\nsources: {x: x.csv}\n", "x.csv": "a\n1\n2\n",
		"transform/account.sql": "SELECT a AS legacy_key, 'x' AS name, owner('Andrea Keller') AS ownerid FROM x",
		"transform/email.sql": `SELECT a AS legacy_key, 'm' AS subject, owner(' andrea KELLER') AS "from",
			[owner('Gone Person'), existing('systemuser', 'fullname', 'Andrea Keller'), owner('Hans Meier'), party_address('x@y.z')] AS "to", [owner(NULL), owner('Gone Person')] AS cc FROM x`})
	p, err := Open(t.Context(), dir, Staging, Options{Env: targetAt(url)})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	quiet := func(string, float64) {}
	if _, err := p.Pull(t.Context(), nil, quiet); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Stage(t.Context(), nil, quiet); err != nil {
		t.Fatal(err)
	}
	plan, err := p.PlanOwners(t.Context(), true, quiet)
	if err != nil {
		t.Fatal(err)
	}
	for i := range plan.Owners {
		slices.Sort(plan.Owners[i].Columns)
	}
	if diff := cmp.Diff([]DataOwner{
		{Owner: "Andrea Keller", Rows: 4, Tables: []string{"account", "email"}, Columns: []string{"account.ownerid", "email.from"}, State: OwnerFound, Name: "Andrea Keller"},
		{Owner: "Gone Person", Rows: 4, Tables: []string{"email"}, Columns: []string{"email.cc", "email.to"}, Party: true, State: OwnerMissing, Why: "no user or team is like it"},
		{Owner: "Hans Meier", Rows: 2, Tables: []string{"email"}, Columns: []string{"email.to"}, Party: true, State: OwnerFound, Name: "Hans Meier"},
	}, plan.Owners, cmpopts.IgnoreUnexported(DataOwner{})); diff != "" {
		t.Error(diff)
	}
	for file, want := range map[string]string{OwnersSheet: "email.to", checklistFile: "`Gone Person` (email."} {
		text, err := os.ReadFile(filepath.Join(dir, file))
		if err != nil || !strings.Contains(string(text), want) {
			t.Errorf("%s: %v\n%s", file, err, text)
		}
	}
	if text, err := os.ReadFile(filepath.Join(dir, stubsFile)); err != nil || strings.Contains(string(text), "Gone") {
		t.Errorf("a stub for who owns nothing: %v\n%s", err, text)
	}
}

// TestPullOfAnotherOrganization: rows that point to one environment's users are not loaded
// into another, until they are pulled again and staged.
func TestPullOfAnotherOrganization(t *testing.T) {
	url := environment(t, 0, nil)
	dir := otherProject(t, url, nil, map[string]string{
		"migration.yaml": "version: 1\nname: x\ntarget: {auth: none}\nsources: {x: x.csv}\n", "x.csv": "a\n1\n",
		"transform/account.sql": "SELECT a AS legacy_key, 'x' AS name, owner('Andrea Keller') AS ownerid FROM x"})
	p, err := Open(t.Context(), dir, Staging, Options{Env: targetAt(url)})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	quiet := func(string, float64) {}
	if _, err := p.Pull(t.Context(), nil, quiet); err != nil {
		t.Fatal(err)
	}
	if err := p.samePulled(t.Context()); err != nil {
		t.Fatal(err)
	}
	if r, err := p.Stage(t.Context(), nil, quiet); err != nil || r.Tables[0].Held != 0 {
		t.Fatal(err, r.Tables)
	}
	s, err := p.pulled(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	s.Organization = schema.GUID{7}
	if err := p.keepPulled(t.Context(), *s); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Load(t.Context(), t.Context(), LoadOptions{}); err == nil || !strings.Contains(err.Error(), "run `dvmigrate target pull` and `dvmigrate stage` first") {
		t.Fatal(err)
	}
	// Pulled anew all is as it should be, and what the other had is gone.
	if _, err := p.Pull(t.Context(), []string{"team"}, quiet); err != nil {
		t.Fatal(err)
	}
	if err := p.samePulled(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Stage(t.Context(), nil, quiet); err == nil || !strings.Contains(err.Error(), "no records of systemuser were pulled") {
		t.Fatal(err)
	}
}
