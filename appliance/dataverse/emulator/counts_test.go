package emulator

import (
	"encoding/json"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// count finds what was counted of operations; a zero field is one that must be so.
func (s Stats) count(k countKey) tally {
	for _, c := range s.Counts {
		if c.countKey == k {
			return c.tally
		}
	}
	return tally{}
}

// TestCounts: every request, refusal and fault is counted by user, table, action,
// status and code, the parts of a $batch too.
func TestCounts(t *testing.T) {
	e := start(t, func(o *Options) {
		o.Faults = []Fault{rule(t, "kind=reset-after,message=Update"), rule(t, "kind=plugin,column=name,value=^Bad"), rule(t, "kind=503,message=Delete")}
		o.Limits = Limits{Requests: 8}
	})
	user := userLabel("t")
	e.want(200, "", "POST", "accounts/Microsoft.Dynamics.CRM.CreateMultiple", string(bulkBody(0, 10)))
	e.want(400, "0x80040265", "POST", "accounts/Microsoft.Dynamics.CRM.CreateMultiple", targets(`"name":"x"`, `"name":"Bad"`))
	e.want(404, "0x80040217", "GET", "accounts("+acc1+")", "")
	e.try("PATCH", "accounts("+gid(6, 1)+")", `{"name":"y"}`, "If-Match", "*")
	e.want(503, "", "DELETE", "accounts("+gid(6, 1)+")", "")
	e.do("POST", "$batch", batch(part("POST contacts", `{}`), changeSet(part("POST contacts", `{}`, contentID(1)), part("POST accounts", `{"no":1}`, contentID(2)))), "Content-Type", batchType)
	e.want(200, "", "GET", "accounts?$top=2", "", "Authorization", "Bearer emulator-app")
	e.want(200, "", "GET", "WhoAmI", "")
	e.want(200, "", "GET", "WhoAmI", "")
	e.want(429, "0x80072322", "POST", "accounts/Microsoft.Dynamics.CRM.CreateMultiple", targets(`"name":"x"`))

	s := e.srv.Stats()
	for _, c := range []struct {
		key  countKey
		want tally
	}{
		{countKey{user, "account", "CreateMultiple", 200, "", ""}, tally{1, 10}},
		{countKey{user, "account", "CreateMultiple", 400, "0x80040265", "plugin"}, tally{1, 2}},
		{countKey{user, "account", "CreateMultiple", 429, "0x80072322", ""}, tally{1, 0}},
		{countKey{user, "account", "Retrieve", 404, "0x80040217", ""}, tally{1, 0}},
		{countKey{user, "account", "Update", 204, "", "reset-after"}, tally{1, 1}},
		{countKey{user, "account", "Delete", 503, "", "503"}, tally{1, 0}},
		{countKey{user, "", "ExecuteBatch", 400, "", ""}, tally{1, 0}},
		{countKey{user, "contact", "Create", 204, "", ""}, tally{1, 1}},
		{countKey{user, "contact", "Create", 0, "", ""}, tally{1, 1}}, // undone
		{countKey{user, "account", "Create", 400, "0x80048d19", ""}, tally{1, 1}},
		{countKey{"app", "account", "RetrieveMultiple", 200, "", ""}, tally{1, 2}},
	} {
		if got := s.count(c.key); got != c.want {
			t.Errorf("%+v: %+v, want %+v", c.key, got, c.want)
		}
	}
	// 10 and 2 rows, a read, an update, three parts of the batch, two probes.
	if diff := cmp.Diff([]Entitlement{{dayKey{"app", 1}, 1}, {dayKey{user, 1}, 19}}, s.Entitlement, cmp.AllowUnexported(Entitlement{})); diff != "" {
		t.Errorf("8.5: the entitlement is wrong:\n%s", diff)
	}
	text, err := json.Marshal(s)
	if err != nil || !strings.Contains(string(text), `{"user":"app","table":"account","action":"RetrieveMultiple","status":200,"operations":1,"rows":2}`) ||
		!strings.Contains(string(text), `"entitlement":[{"user":"app","day":1,"requests":1}`) {
		t.Errorf("%v: in JSON: %s", err, text)
	}
	trace := e.srv.stats.last(1)
	if trace[0].Table != "account" || trace[0].Message != "CreateMultiple" || trace[0].Wait < 1 || trace[0].User != user {
		t.Errorf("the trace says %+v", trace[0])
	}
}

// TestEntitlementDays: a day is one of the emulator's time.
func TestEntitlementDays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := limited(t, Options{Speed: 1440}) // a day a minute
		for range 3 {
			direct(srv, "GET", "WhoAmI", "")
			time.Sleep(40 * time.Second)
		}
		want := []Entitlement{{dayKey{userLabel("t"), 1}, 2}, {dayKey{userLabel("t"), 2}, 1}}
		if diff := cmp.Diff(want, srv.Stats().Entitlement, cmp.AllowUnexported(Entitlement{})); diff != "" {
			t.Error(diff)
		}
	})
}

func TestAdminFaultsAndExport(t *testing.T) {
	e := seeded(t)
	web := httptest.NewServer(e.srv.Admin())
	defer web.Close()
	for text, want := range map[string]string{
		"kind=502,table=acount":              `no table "acount"`,
		"kind=502,message=createmultiple":    `no message "createmultiple"`,
		"kind=plugin,column=nam":             `no column "nam"`,
		"kind=plugin,table=task,column=name": `no column "name" in table "task"`,
	} {
		if a := e.do("POST", web.URL+"/faults", "kind=502\n"+text); a.status != 400 || !strings.Contains(a.body, want) {
			t.Errorf("%s: answered %d %s", text, a.status, a.body)
		}
	}
	if a := e.do("GET", web.URL+"/faults", ""); strings.TrimSpace(a.body) != "[]" {
		t.Errorf("of wrong rules some were taken: %s", a.body)
	}
	e.do("POST", web.URL+"/faults", "kind=502,nth=2")
	e.want(200, "", "GET", "WhoAmI", "")
	e.want(502, "", "GET", "WhoAmI", "")
	if a := e.do("GET", web.URL+"/faults", ""); strings.TrimSpace(a.body) != `[{"rule":"kind=502,nth=2","seen":2,"struck":1}]` {
		t.Errorf("listed: %s", a.body)
	}
	a := e.do("GET", web.URL+"/export", "")
	e.has(a, `{"@odata.type":"#Microsoft.Dynamics.CRM.account","accountid":"`+acc1+`"`, `{"@odata.type":"#Microsoft.Dynamics.CRM.contact"`, `{"@odata.type":"#Microsoft.Dynamics.CRM.systemuser"`)
}
