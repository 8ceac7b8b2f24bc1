package emulator

import (
	"io"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"dvmigrate/appliance/dataverse/schema"
)

// TestCollationsOfLanguages: what the database of an environment in a language takes for the
// same key, with | between texts that it does not.
func TestCollationsOfLanguages(t *testing.T) {
	const english, swedish, spanish, danish, norwegian, polish, british, unknown = 1033, 1053, 3082, 1030, 1044, 1045, 2057, 1
	for _, c := range []struct {
		texts         string
		same, differs []int
	}{
		{"MÜLLER=müller", []int{english, swedish, unknown}, nil},
		{"Müller=Mu\u0308ller", []int{english, swedish}, nil}, // taken apart
		{"Müller=Muller", []int{english, spanish, polish, unknown}, []int{swedish, british, danish}},
		{"Muller =Muller", []int{english, swedish}, nil},
		{" Muller=Muller", nil, []int{english, swedish}},
		{"Mueller=Müller", nil, []int{english, swedish}},
		{"Straße=STRASSE", []int{english, swedish, danish}, nil},
		{"Ærø=Aero", []int{english}, []int{danish, norwegian, british}},
		{"Ærø=Aerø", []int{english, british}, []int{danish, swedish}},
		{"Ålborg=Alborg", []int{english}, []int{danish, norwegian, swedish}},
		{"Łódź=Lodz", []int{english, spanish}, []int{polish, british}},
		{"Peña=Pena", []int{english, danish}, []int{spanish, british}},
		{"й=и", nil, []int{english, swedish}},
		{"ё=е", []int{english}, []int{swedish}},
		{"ＡＢ１=ab1", []int{english, swedish}, nil},
		{"ｶﾞ=が", []int{english, swedish}, nil},
		{"กิน=กัน", nil, []int{english, unknown}}, // signs of vowels
		{"राम=रमा", nil, []int{english, unknown}},
		{"कि=कु", nil, []int{english}},
		{"が=か", []int{english}, []int{swedish}},
	} {
		a, b, _ := strings.Cut(c.texts, "=")
		for _, of := range c.same {
			if k := newCollation(of); !k.same(a, b) || k.compare(a, b) != 0 {
				t.Errorf("%d: %q and %q are not the same: %q, %q", of, a, b, k.key(a), k.key(b))
			}
		}
		for _, of := range c.differs {
			if k := newCollation(of); k.same(a, b) || k.compare(a, b) == 0 {
				t.Errorf("%d: %q and %q are the same: %q", of, a, b, k.key(a))
			}
		}
	}
}

func TestOrderOfTexts(t *testing.T) {
	for language, want := range map[int]string{
		1033: "10 2 ähre Apfel ära élan eland öl olga zeta",
		1053: "10 2 Apfel élan eland olga zeta ähre ära öl",
		2057: "10 2 ähre Apfel ära élan eland öl olga zeta",
	} {
		texts := strings.Fields("zeta olga öl eland élan 2 10 Apfel ära ähre")
		slices.SortFunc(texts, newCollation(language).compare)
		if got := strings.Join(texts, " "); got != want {
			t.Errorf("%d: %s", language, got)
		}
	}
}

// TestASCIIIsFoldedAsItStands: nothing is made of a text that is folded already.
func TestASCIIIsFoldedAsItStands(t *testing.T) {
	k := newCollation(schema.DefaultLanguage)
	if n := testing.AllocsPerRun(100, func() { k.key("a-000123, b & c") }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// TestAccentsInRequests: keys, filters, order and duplicates of an environment where accents
// do not count, and of one where they do.
func TestAccentsInRequests(t *testing.T) {
	for language, want := range map[int]map[string]string{
		1033: {"name eq 'muller'": "12", "name ne 'muller'": "3", "contains(name,'ULL')": "12", "startswith(name,'mu')": "12", "endswith(name,'é')": "3",
			"Microsoft.Dynamics.CRM.In(PropertyName='name',PropertyValues=['MUller','x'])": "12", "name gt 'muller'": "3", "key": "1", "distinct": "2"},
		1053: {"name eq 'muller'": "2", "name ne 'muller'": "13", "contains(name,'ULL')": "2", "startswith(name,'mu')": "2", "endswith(name,'é')": "3",
			"Microsoft.Dynamics.CRM.In(PropertyName='name',PropertyValues=['MUller','x'])": "2", "name gt 'muller'": "13", "key": "", "distinct": "3"},
	} {
		e := start(t, func(o *Options) {
			if o.Language = language; language == schema.DefaultLanguage {
				o.Language = 0
			}
			o.DuplicateRules = []DuplicateRule{{Table: "account", Columns: []string{"address1_city"}}}
		})
		e.want(204, "", "POST", "accounts", `{"accountid":"`+gid(1, 1)+`","accountnumber":"Mül","name":"Müller","description":"1","address1_city":"Köln"}`)
		e.want(204, "", "POST", "accounts", `{"accountid":"`+gid(1, 2)+`","accountnumber":"2","name":"Muller ","description":"2"}`)
		e.want(204, "", "POST", "accounts", `{"accountid":"`+gid(1, 3)+`","accountnumber":"3","name":"Pâté","description":"3"}`)
		for filter, is := range want {
			got := ""
			switch filter {
			case "key":
				if a := e.do("GET", "accounts(accountnumber='MUL')?$select=description", ""); a.status == 200 {
					got = "1"
				}
			case "distinct":
				got = string(rune('0' + len(e.list(fetchOf(`<attribute name="name"/>`, `distinct="true"`)).Value)))
			default:
				for _, r := range e.list(query("accounts?$filter", filter, "$orderby", "description")).Value {
					got += r["description"].(string)
				}
			}
			if got != is {
				t.Errorf("%d: %s: %q, want %q", language, filter, got, is)
			}
		}
		status, code := 204, ""
		if language == 1033 {
			status, code = 412, "0x80060892"
		}
		e.want(status, code, "POST", "accounts", `{"accountnumber":"mul"}`)
		e.want(204, "", "PATCH", "accounts(accountnumber='MUL')", `{"name":"by key"}`)
		code = map[int]string{412: "0x80040333"}[status]
		e.want(status, code, "POST", "accounts", `{"address1_city":"Koln"}`, "MSCRM.SuppressDuplicateDetection", "false")
		if got := len(e.list(query("accounts?$filter", "name eq 'by key' and accountnumber eq 'mul'")).Value); got != 1 {
			t.Errorf("%d: %d records changed by their key", language, got)
		}
	}
}

// TestLanguageOfTheEnvironment: a seed's or state file's organization says it, and nobody changes it later.
func TestLanguageOfTheEnvironment(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state")
	with := func(language int, seed string) (*Server, error) {
		tables := append(worldTables(), tableOf("organization", "Organization", "organizations", "organizationid", "name", text("name", 160)))
		s, err := schema.New(tables, nil)
		if err != nil {
			t.Fatal(err)
		}
		o := Options{Schema: s, StatePath: path, Language: language}
		if seed != "" {
			o.Seed = map[string]io.Reader{"organization": strings.NewReader(seed)}
		}
		return New(o)
	}
	srv, err := with(0, `{"organizationid":"`+OrganizationID.String()+`","languagecode":1035}`)
	if err != nil {
		t.Fatal(err)
	}
	srv.Close()
	if srv, err = with(0, ""); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]any{1035, true}, []any{srv.model.texts.language, srv.model.texts.accents}); diff != "" {
		t.Error(diff)
	}
	srv.Close()
	if _, err = with(1033, ""); err == nil || !strings.Contains(err.Error(), "language 1033: the state file has an environment of language 1035") {
		t.Error(err)
	}
}
