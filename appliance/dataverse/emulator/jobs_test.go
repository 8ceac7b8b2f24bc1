package emulator

import (
	"encoding/json"
	"errors"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"dvmigrate/appliance/dataverse/schema"
)

const undo = `{"QuerySet":[{"@odata.type":"Microsoft.Dynamics.CRM.QueryExpression","EntityName":"account",
"ColumnSet":{"@odata.type":"Microsoft.Dynamics.CRM.ColumnSet","AllColumns":false,"Columns":[]},
"Criteria":{"@odata.type":"Microsoft.Dynamics.CRM.FilterExpression","FilterOperator":"And","Conditions":[
{"@odata.type":"Microsoft.Dynamics.CRM.ConditionExpression","AttributeName":"importsequencenumber","Operator":"Equal","Values":[{"Value":"4711","Type":"System.Int32"}]}]}}],
"JobName":"undo run 4711","SendEmailNotification":false,"ToRecipients":[],"CCRecipients":[],"RecurrencePattern":""}`

// direct does a request at the handler, without a network.
func direct(srv *Server, method, path, body string) answer {
	r := httptest.NewRequest(method, "/api/data/v9.2/"+path, strings.NewReader(body))
	r.Header.Set("Authorization", "Bearer t")
	r.Header.Set("Content-Type", "application/json")
	w := httptest.NewRecorder()
	srv.ServeHTTP(w, r)
	return answer{w.Code, w.Header(), w.Body.String()}
}

// TestBulkDelete undoes a run: the job goes through its states, takes the time its
// rows cost, and deletes what its query finds and nothing else (15.1, 15.2).
func TestBulkDelete(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		second := 100 * time.Millisecond
		srv := limited(t, Options{Cost: Cost{Rules: []CostRule{{Action: "BulkDelete", Record: &second}}}, Speed: 10})
		defer srv.Close()
		for range 150 {
			direct(srv, "POST", "accounts", `{"importsequencenumber":4711}`)
		}
		direct(srv, "POST", "accounts", `{"accountid":"`+acc1+`","importsequencenumber":4712}`)
		direct(srv, "POST", "accounts", `{"accountid":"`+acc2+`","importsequencenumber":4711}`)
		direct(srv, "POST", "contoso_orders", `{"contoso_AccountId@odata.bind":"accounts(`+acc2+`)"}`) // restricts
		a := direct(srv, "POST", "BulkDelete", undo)
		var made struct{ JobId string }
		if err := json.Unmarshal([]byte(a.body), &made); err != nil || a.status != 200 {
			t.Fatalf("answered %d %s", a.status, a.body)
		}
		begin := time.Now()
		status := func() string {
			b := direct(srv, "GET", "asyncoperations("+made.JobId+")?$select=statecode,statuscode,operationtype", "").body
			return b[strings.Index(b, `"statecode"`):strings.Index(b, `,"asyncoperationid"`)]
		}
		synctest.Wait()
		if s := status(); s != `"statecode":2,"statuscode":20,"operationtype":13` {
			t.Errorf("it is in %s", s)
		}
		for strings.Contains(status(), `"statecode":2`) {
			time.Sleep(100 * time.Millisecond)
			synctest.Wait()
		}
		if s := status(); s != `"statecode":3,"statuscode":30,"operationtype":13` {
			t.Errorf("it ended in %s", s)
		}
		if took := time.Since(begin); took < 1500*time.Millisecond || took > 1700*time.Millisecond {
			t.Errorf("151 rows of 100 ms at ten times the speed took %v", took)
		}
		b := direct(srv, "GET", "bulkdeleteoperations?$filter=_asyncoperationid_value%20eq%20"+made.JobId, "").body
		if !strings.Contains(b, `"successcount":150,"failurecount":1`) {
			t.Errorf("the result is %s", b)
		}
		if n := srv.Stats().Rows["account"]; n != 2 {
			t.Errorf("%d accounts stay, want 2", n)
		}
	})
}

// TestBulkDeleteStops: a job that is cancelled, and one whose server is closed, end.
func TestBulkDeleteStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hour := time.Hour
		srv := limited(t, Options{Cost: Cost{Rules: []CostRule{{Action: "BulkDelete", Record: &hour}}}})
		for range 300 {
			direct(srv, "POST", "accounts", `{"importsequencenumber":4711}`)
		}
		var made struct{ JobId string }
		if err := json.Unmarshal([]byte(direct(srv, "POST", "BulkDelete", undo).body), &made); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if a := direct(srv, "PATCH", "asyncoperations("+made.JobId+")", `{"statecode":3,"statuscode":32}`); a.status != 204 {
			t.Fatalf("answered %d %s", a.status, a.body)
		}
		time.Sleep(101 * time.Hour)
		synctest.Wait()
		if n := srv.Stats().Rows["account"]; n != 200 {
			t.Errorf("%d accounts, want 200", n)
		}
		direct(srv, "POST", "BulkDelete", undo)
		synctest.Wait()
		srv.Close() // does not wait for hours
	})
}

func TestBulkDeleteRefused(t *testing.T) {
	e := start(t)
	e.want(200, "", "GET", "asyncoperations?$filter=operationtype%20eq%2079", "")
	e.want(400, "0x80041102", "POST", "BulkDelete", strings.Replace(undo, `"account"`, `"nothing"`, 1))
	e.want(400, "0x80041103", "POST", "BulkDelete", strings.Replace(undo, "importsequencenumber", "nothing", 1))
	e.want(400, "0x80040203", "POST", "BulkDelete", `{"QuerySet":[]}`)
	e.want(501, "0x80040219", "POST", "BulkDelete", strings.Replace(undo, `"RecurrencePattern":""`, `"RecurrencePattern":"FREQ=DAILY"`, 1))
}

// TestJobsBesideAStateFile: jobs run and are kept also where the data are in a file,
// while which no table is added; a file from before has none.
func TestJobsBesideAStateFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state")
	e := start(t, func(o *Options) { o.StatePath = path })
	e.want(204, "", "POST", "accounts", `{"importsequencenumber":4711}`)
	e.want(200, "", "POST", "BulkDelete", undo)
	e.srv.work.Wait()
	count := func(e *env) {
		t.Helper()
		for set, n := range map[string]string{"accounts": "0", "asyncoperations": "1", "bulkdeleteoperations": "1"} {
			if a := e.want(200, "", "GET", set+"/$count", ""); a.body != n {
				t.Errorf("%s %s, want %s", a.body, set, n)
			}
		}
	}
	count(e)
	if err := e.srv.Close(); err != nil {
		t.Fatal(err)
	}
	count(start(t, func(o *Options) { o.StatePath = path }))

	old := filepath.Join(t.TempDir(), "old")
	s, err := schema.New(withShares(world(t).Tables), world(t).ManyToMany)
	if err != nil {
		t.Fatal(err)
	}
	m, err := newModel(s, &Options{})
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(old)
	if err != nil {
		t.Fatal(err)
	}
	l := &stateLog{f: f}
	if err := errors.Join(l.write([]byte(stateMagic), m.layout()), f.Close()); err != nil {
		t.Fatal(err)
	}
	if !stateLacks(old, "asyncoperation") || stateLacks(path, "asyncoperation") || stateLacks(filepath.Join(t.TempDir(), "none"), "asyncoperation") {
		t.Error("what a state file has is not told")
	}
	start(t, func(o *Options) { o.StatePath = old }).want(200, "", "GET", "accounts", "")
}
