package emulator

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func rule(t testing.TB, text string) Fault {
	t.Helper()
	f, err := ParseFault(text)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestParseFaultRefuses(t *testing.T) {
	for text, want := range map[string]string{
		"":                          "is not name=value",
		"nth=3":                     "kind is missing",
		"kind=flood":                `kind: "flood" is none of`,
		"kind=502,nth=0":            "nth: 0 is less than 1",
		"kind=502,p=2":              "p: 2 is not above 0 and up to 1",
		"kind=502,url=(":            "url: error parsing regexp",
		"kind=502,colour=red":       "colour: unknown",
		"kind=plugin,table=account": "a plugin fault needs column",
		"kind=delay":                "a delay fault needs delay",
	} {
		if _, err := ParseFault(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %s", text, err, want)
		}
	}
}

func TestFaults(t *testing.T) {
	for _, c := range []struct {
		rule    string
		status  int // 0: no answer
		code    string
		text    string
		applied bool
	}{
		{"kind=429-requests,retry-after=7", 429, "0x80072322", "exceeded the limit of 6000 over time window of 300 seconds", false},
		{"kind=429-time", 429, "0x80072321", "1,200,000 milliseconds", false},
		{"kind=429-concurrency", 429, "0x80072326", "exceeded the limit of 52", false},
		{"kind=deadlock", 500, "0x80044150", "Sql Number: 1205", false},
		{"kind=sql-timeout", 500, "0x80044151", "Sql Number: -2", false},
		{"kind=502", 502, "", "<html>", false},
		{"kind=503", 503, "", "<html>", false},
		{"kind=504", 504, "", "<html>", false},
		{"kind=401", 401, "", "", false},
		{"kind=403", 403, "0x80040220", "is missing prvCreateAccount privilege", false},
		{"kind=reset-before", 0, "", "", false},
		{"kind=reset-after", 0, "", "", true},
		{"kind=cut", 0, "", "", true},
		{"kind=504-after", 504, "", "<html>", true},
		{"kind=delay,delay=1ms", 204, "", "", true},
		{`kind=plugin,column=name,value=^Bad,text="No, thanks"`, 400, "0x80040265", "No, thanks", false},
		{"kind=502,table=contact", 204, "", "", true},
		{"kind=502,message=Update", 204, "", "", true},
		{"kind=502,url=POST contacts", 204, "", "", true},
		{"kind=502,url=^POST acc", 502, "", "<html>", false},
		{"kind=502,nth=2", 204, "", "", true},
		{"kind=502,every=1", 502, "", "<html>", false},
		{"kind=502,p=1,seed=4", 502, "", "<html>", false},
	} {
		t.Run(c.rule, func(t *testing.T) {
			e := start(t, func(o *Options) { o.Faults = []Fault{rule(t, c.rule)} })
			a, err := e.try("POST", "accounts", `{"name":"Bad"}`)
			if c.status == 0 && err == nil && a.status != 204 {
				t.Errorf("answered %d %s, want no whole answer", a.status, a.body)
			}
			if c.status != 0 && (err != nil || a.status != c.status || a.code() != c.code) {
				t.Errorf("answered %d %s %v, want %d %s", a.status, a.body, err, c.status, c.code)
			}
			e.has(a, c.text)
			if c.status == 429 && a.header.Get("Retry-After") == "" {
				t.Error("no Retry-After")
			}
			if n := e.srv.Stats().Rows["account"]; (n == 1) != c.applied {
				t.Errorf("%d accounts, applied should be %v", n, c.applied)
			}
		})
	}
}

func TestFaultInChangeSetRollsBack(t *testing.T) {
	e := start(t, func(o *Options) { o.Faults = []Fault{rule(t, "kind=deadlock,message=Create,nth=2")} })
	body := batch(changeSet(part("POST accounts", `{}`, contentID(1)), part("POST accounts", `{}`, contentID(2))))
	a := e.do("POST", "$batch", body, "Content-Type", batchType)
	if a.status != 500 {
		t.Errorf("7.3: the outer status is %d, want that of the error", a.status)
	}
	e.has(a, "Content-ID: 2", "Sql Number: 1205")
	if n := e.srv.Stats().Rows["account"]; n != 0 {
		t.Errorf("%d accounts of a change set that failed", n)
	}
}

func TestPluginRefusesOneRowOfABulk(t *testing.T) {
	e := start(t, func(o *Options) { o.Faults = []Fault{rule(t, "kind=plugin,table=account,column=name,value=7$")} })
	a := e.do("POST", "accounts/Microsoft.Dynamics.CRM.CreateMultiple", string(bulkBody(0, 10)), "Prefer", `odata.include-annotations="*"`)
	if a.status != 400 || a.code() != "0x80040265" {
		t.Fatalf("answered %d %s", a.status, a.body)
	}
	e.has(a, `"@Microsoft.PowerApps.CDS.ErrorDetails.OperationStatus":"0"`, `"@Microsoft.PowerApps.CDS.InnerError.Message"`)
	if n := e.srv.Stats().Rows["account"]; n != 0 {
		t.Errorf("6.3: %d accounts stayed", n)
	}
}

func TestAdmin(t *testing.T) {
	e := seeded(t)
	web := httptest.NewServer(e.srv.Admin())
	defer web.Close()
	e.want(412, "0x80040237", "POST", "accounts", `{"accountid":"`+acc1+`"}`)
	var s Stats
	if err := json.Unmarshal([]byte(e.do("GET", web.URL+"/stats", "").body), &s); err != nil {
		t.Fatal(err)
	}
	if s.Requests["Create"] != 7 || s.Rows["account"] != 2 || s.Statuses["412"] != 1 || s.Duplicates != 1 || s.Created < 6 {
		t.Errorf("counts are wrong: %+v", s)
	}
	a := e.do("GET", web.URL+"/export?table=contact", "")
	if lines := strings.Split(strings.TrimSpace(a.body), "\n"); len(lines) != 2 {
		t.Errorf("export: %s", a.body)
	}
	e.has(a, `"contactid":"`+con1+`","firstname":"Ann"`, `"_parentcustomerid_value":"`+acc1+`","_parentcustomerid_table":"account"`)
	e.has(e.do("GET", web.URL+"/trace?n=1", ""), `"status":412`, `"message":"Create"`, `"code":"0x80040237"`)
	if a := e.do("POST", web.URL+"/faults", "kind=nonsense"); a.status != 400 {
		t.Errorf("a wrong rule was taken: %d", a.status)
	}
	e.do("POST", web.URL+"/faults", "kind=502,times=1\n")
	e.want(502, "", "GET", "accounts("+acc1+")/name", "")
	e.want(200, "", "GET", "accounts("+acc1+")/name", "")
	if n := e.srv.Stats().Faults[FaultGateway502]; n != 1 {
		t.Errorf("%d faults counted", n)
	}
	e.do("POST", web.URL+"/reset", "")
	if s := e.srv.Stats(); len(s.Requests) != 0 || s.Rows["account"] != 2 || s.Created != 0 {
		t.Errorf("after the reset: %+v", s)
	}
}

func TestCostIsPerRow(t *testing.T) {
	e := start(t, func(o *Options) {
		o.Cost = Cost{PerRecord: time.Hour, Tables: map[string]time.Duration{"account": 2 * time.Millisecond}}
	})
	begin := time.Now()
	e.want(200, "", "POST", "accounts/Microsoft.Dynamics.CRM.CreateMultiple", string(bulkBody(0, 10)))
	if took := time.Since(begin); took < 20*time.Millisecond {
		t.Errorf("ten rows of 2 ms took %v", took)
	}
}

// TestHeldAnswersAreLetGo: an answer that a fault holds back goes out when the faults are taken off, and counts as
// if it had not been held; that of a $batch too.
func TestHeldAnswersAreLetGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := limited(t, Options{Limits: Limits{Requests: 100, Execution: time.Minute, Window: 300 * time.Second}})
		begin := time.Now()
		for _, ask := range []func(){
			func() { get(srv, "a") },
			func() { direct(srv, "POST", "accounts/Microsoft.Dynamics.CRM.CreateMultiple", targets(`"name":"x"`)) },
		} {
			if err := srv.Order(Fault{Kind: FaultDelay, Delay: time.Hour}); err != nil {
				t.Fatal(err)
			}
			answered := make(chan struct{})
			go func() {
				ask()
				close(answered)
			}()
			synctest.Wait()
			select {
			case <-answered:
				t.Fatal("the answer was not held")
			default:
			}
			srv.ClearFaults()
			<-answered
		}
		if took := time.Since(begin); took != 0 {
			t.Errorf("answered after %v", took)
		}
		if w := get(srv, "a"); w.Code == 429 {
			t.Error("the time that an answer was held has used up what the user may have of the server's")
		}
	})
}

func TestTokenEndpoint(t *testing.T) {
	e := start(t)
	org := strings.TrimSuffix(e.url, "/api/data/v9.2")
	a := e.do("POST", org+"/tenant/oauth2/v2.0/token", "client_id=app&grant_type=client_credentials", "Content-Type", "application/x-www-form-urlencoded")
	var tok struct {
		Type  string `json:"token_type"`
		Token string `json:"access_token"`
	}
	if err := json.Unmarshal([]byte(a.body), &tok); err != nil || a.status != http.StatusOK || tok.Type != "Bearer" || tok.Token != "emulator-app" {
		t.Errorf("answered %d %s", a.status, a.body)
	}
}

// TestFaultsLetRetriesEnd retries a $batch of a hundred parts under faults that come
// more often than once a hundred parts: every kind lets a retry through in the end.
func TestFaultsLetRetriesEnd(t *testing.T) {
	var parts []string
	for range 100 {
		parts = append(parts, part("POST accounts", `{}`))
	}
	for _, text := range []string{"kind=429-requests,every=2", "kind=502,every=3", "kind=reset-before,nth=1", "kind=reset-after,every=2", "kind=503-after,every=2",
		"kind=half-batch,every=2", "kind=trickle,every=2,delay=1ms", "kind=429-requests,part=true,every=60,times=3", "kind=deadlock,every=60", "kind=sql-timeout,every=7"} {
		for _, inSet := range []bool{false, true} {
			e := start(t, func(o *Options) { o.Faults = []Fault{rule(t, text)} })
			body := batch(parts...)
			if inSet {
				var ops []string
				for i := range 100 {
					ops = append(ops, part("POST accounts", `{}`, contentID(i+1)))
				}
				body = batch(changeSet(ops...))
			}
			tries := 0
			for ; tries < 20; tries++ {
				a, err := e.try("POST", "$batch", body, "Content-Type", batchType, "Prefer", "odata.continue-on-error")
				if err == nil && a.status == 200 && strings.Count(a.body, "HTTP/1.1 2") >= 85 {
					break
				}
			}
			if tries == 20 {
				t.Errorf("%s, change set %v: a client that retries never comes to an end", text, inSet)
			}
			if struck := e.srv.Stats().Faults; len(struck) == 0 && tries > 0 {
				t.Errorf("%s: %d tries without a fault", text, tries)
			}
		}
	}
	if _, err := ParseFault("kind=429-time,part=true,every=60"); err == nil {
		t.Error("part with every and no bound was taken")
	}
}

func TestHalfBatchAppliesHalf(t *testing.T) {
	e := start(t, func(o *Options) { o.Faults = []Fault{rule(t, "kind=half-batch,times=1")} })
	body := batch(part("POST accounts", `{}`), part("POST accounts", `{}`), part("POST accounts", `{}`), part("POST accounts", `{}`))
	a, err := e.try("POST", "$batch", body, "Content-Type", batchType)
	if err == nil || a.status != 200 || strings.Count(a.body, "HTTP/1.1 204") != 2 || strings.HasSuffix(a.body, "--\r\n") {
		t.Errorf("answered %v %d %s", err, a.status, a.body)
	}
	if n := e.srv.Stats().Rows["account"]; n != 2 {
		t.Errorf("%d rows, want 2", n)
	}
}
