package appliance

import (
	"bytes"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"dvmigrate/appliance/config"
	"dvmigrate/duckstage"
	"dvmigrate/duckstage/ingest"
)

// sendRaw sends a request to an emulator as somebody would, and requires its success. Headers are as
// "Name: value".
func sendRaw(t *testing.T, method, url, body string, headers ...string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Authorization", "Bearer somebody")
	for _, line := range headers {
		name, value, _ := strings.Cut(line, ": ")
		r.Header.Set(name, value)
	}
	a, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Body.Close()
	if a.StatusCode >= 300 {
		var b bytes.Buffer
		_, _ = b.ReadFrom(a.Body)
		t.Fatalf("%s %s: %s %s", method, url, a.Status, b.String())
	}
}

// sendAs changes a record as a person.
func sendAs(t *testing.T, url, body string) {
	t.Helper()
	sendRaw(t, http.MethodPatch, url, body, "MSCRMCallerID: "+someUser)
}

func accountID(i int) string { return fmt.Sprintf("a0000000-0000-0000-0000-%012d", i) }

// createAccounts makes accounts from one number up to another.
func createAccounts(t *testing.T, url string, from, to int) {
	t.Helper()
	var b strings.Builder
	for i := from; i < to; i++ {
		if b.Len() > 0 {
			b.WriteString(",")
		}
		fmt.Fprintf(&b, `{"@odata.type":"Microsoft.Dynamics.CRM.account","accountid":"%s","name":"n %d","revenue":%d.25,"donotemail":%v,"overriddencreatedon":"2020-01-01T00:00:%02dZ"}`, accountID(i), i, i, i%2 == 0, i%60)
	}
	sendRaw(t, http.MethodPost, url+"/api/data/v9.2/accounts/Microsoft.Dynamics.CRM.CreateMultiple", `{"Targets":[`+b.String()+`]}`)
}

// lines reads a query as one line a row.
func lines(t *testing.T, s *duckstage.Stage, query string) []string {
	t.Helper()
	var out []string
	err := s.Rows(t.Context(), "SELECT concat_ws('|', *COLUMNS(*)) FROM ("+query+")", nil, func(scan func(...any) error) error {
		var line string
		defer func() { out = append(out, line) }()
		return scan(&line)
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestEnvironmentAsSource(t *testing.T) {
	var throttled atomic.Int64
	url := environment(t, 4, func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method != http.MethodGet || !strings.HasSuffix(r.URL.Path, "/accounts") || throttled.Add(1) != 2 {
			return false
		}
		w.Header().Set("Retry-After", "0")
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusTooManyRequests)
		fmt.Fprint(w, `{"error":{"code":"0x80072322","message":"Number of requests exceeded the limit of 6000 over the time window of 300 seconds."}}`)
		return true
	})
	p := sampleProject(t, url, nil)
	createAccounts(t, url, 0, 6000)
	s, err := duckstage.Open(t.Context(), filepath.Join(t.TempDir(), "s.duckdb"), duckstage.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	run := func(settings config.Source) (ingest.Result, error) {
		t.Helper()
		settings.Dataverse, settings.Table = url, first(settings.Table, "account")
		env, err := p.environment("old", settings)
		if err != nil {
			t.Fatal(err)
		}
		return ingest.Run(t.Context(), s, ingest.Source{Name: "old", Dataverse: env}, nil)
	}
	must := func(settings config.Source) ingest.Result {
		t.Helper()
		r, err := run(settings)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	selected := []string{"accountid", "name", "revenue", "donotemail", "ownerid", "createdon"}
	if r := must(config.Source{Select: selected, Parallel: 3}); r.Rows != 6000 || throttled.Load() < 2 {
		t.Errorf("result = %+v after %d requests", r, throttled.Load())
	}
	got := lines(t, s, "SELECT accountid, name, revenue, donotemail, ownerid_table, typeof(createdon), typeof(revenue), dm_source FROM source.old WHERE name = 'n 17'")
	if diff := cmp.Diff([]string{accountID(17) + "|n 17|17.2500000000|false|systemuser|TIMESTAMP WITH TIME ZONE|DECIMAL(28,10)|old"}, got); diff != "" {
		t.Error(diff)
	}
	order := lines(t, s, "SELECT md5(string_agg(accountid, ',')) FROM source.old")[0]
	must(config.Source{Select: selected, Parallel: 3})
	if again := lines(t, s, "SELECT md5(string_agg(accountid, ',')) FROM source.old")[0]; again != order {
		t.Error("the records came in another order the second time")
	}
	if r := must(config.Source{Select: []string{"name"}, Filter: "revenue lt 10"}); r.Rows != 10 {
		t.Errorf("filter: %+v", r)
	}
	fetch := `<fetch><entity name="account"><attribute name="accountid"/><attribute name="name"/><filter><condition attribute="revenue" operator="lt" value="5500"/></filter>` +
		`<link-entity name="systemuser" from="systemuserid" to="ownerid" alias="o"><attribute name="fullname"/></link-entity></entity></fetch>`
	if r := must(config.Source{FetchXML: fetch}); r.Rows != 5500 {
		t.Errorf("fetchxml: %+v", r)
	}
	if got := lines(t, s, "SELECT count(DISTINCT accountid), count(o_fullname) FROM source.old"); got[0] != "5500|5500" {
		t.Errorf("fetchxml: %v", got)
	}
	for _, c := range []struct {
		settings config.Source
		want     string
	}{
		{config.Source{Table: "acount"}, `no table "acount"`},
		{config.Source{Select: []string{"nam"}}, "has no column nam that can be read; did you mean name?"},
		{config.Source{Filter: "nope eq 1"}, "nope"},
		{config.Source{FetchXML: `<fetch><entity name="contact"/></fetch>`}, `fetchxml is of table "contact"`},
		{config.Source{FetchXML: `<fetch>`}, "fetchxml: "},
	} {
		if _, err := run(c.settings); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("error = %v, want %s", err, c.want)
		}
	}
}

func TestChangesOfAnEnvironment(t *testing.T) {
	url := environment(t, 4, nil)
	p := sampleProject(t, url, nil)
	createAccounts(t, url, 0, 50)
	s, err := duckstage.Open(t.Context(), filepath.Join(t.TempDir(), "s.duckdb"), duckstage.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	stage := func() ingest.Result {
		t.Helper()
		env, err := p.environment("old", config.Source{Dataverse: url, Table: "account", Select: []string{"name", "revenue"}, Delta: true})
		if err != nil {
			t.Fatal(err)
		}
		r, err := ingest.Run(t.Context(), s, ingest.Source{Name: "old", Dataverse: env}, nil)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	if r := stage(); r.Rows != 50 || len(r.Notes) != 0 {
		t.Errorf("first: %+v", r)
	}
	api := url + "/api/data/v9.2/accounts"
	sendRaw(t, http.MethodPatch, api+"("+accountID(3)+")", `{"name":"changed"}`)
	sendRaw(t, http.MethodDelete, api+"("+accountID(4)+")", "")
	createAccounts(t, url, 50, 52)
	r := stage()
	if r.Rows != 51 || len(r.Notes) != 1 || r.Notes[0] != "3 records of account changed since the last staging, 1 are gone" {
		t.Errorf("second: %+v", r)
	}
	got := lines(t, s, "SELECT count(*), count(DISTINCT accountid), count(*) FILTER (name = 'changed'), count(DISTINCT dm_created_at), any_value(dm_source) FROM source.old")
	if got[0] != "51|51|1|2|old" {
		t.Errorf("merged: %v", got)
	}
	if r := stage(); r.Rows != 51 || r.Notes[0] != "0 records of account changed since the last staging, 0 are gone" {
		t.Errorf("third: %+v", r)
	}
}
