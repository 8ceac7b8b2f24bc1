package appliance

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
)

// parentsNow are the records of a cascading environment, each as key<parent.
func parentsNow(t *testing.T, url string) string {
	t.Helper()
	names := map[any]any{nil: "-"}
	accounts := plainRows(t, url, "accounts")
	for _, row := range accounts {
		names[row["accountid"]] = row["accountnumber"]
	}
	var out []string
	for _, row := range accounts {
		out = append(out, fmt.Sprint(row["accountnumber"], "<", names[row["_parentaccountid_value"]]))
	}
	for _, row := range plainRows(t, url, "contacts") {
		out = append(out, fmt.Sprint(row["lastname"], "<", names[row["_parentcustomerid_value"]]))
	}
	slices.Sort(out)
	return strings.Join(out, " ")
}

// TestRollbackOfMoved: records of an earlier generation that the last one moved below what it made go back to where they
// were, and are not deleted with that. What would take along a record that did not go back, or that somebody else has
// made or moved there, is left, and listed.
func TestRollbackOfMoved(t *testing.T) {
	const (
		full  = "A0<- A1<A0 A2<A1 A3<- C0<A0 C1<A0 C2<A2 C3<A3 C4<A1"
		delta = "A0<- A1<A0 A2<A4 A3<- A4<- A5<A4 C0<A4 C1<A0 C2<A2 C3<A5 C4<A1"
	)
	for what, x := range map[string]struct {
		byHand    func(url string)
		found     RollbackFound // by the dry run
		want      string
		left      int64
		reason    string
		overwrite string // what is there then
	}{
		"nothing else": {byHand: func(string) {}, found: RollbackFound{Delete: 2, Restore: 3}, want: full},
		"a parent is gone": {func(url string) { // so that C3 cannot go back to it
			sendRaw(t, http.MethodDelete, url+"/api/data/v9.2/accounts("+idOf(t, url, "accounts", "accountnumber", "A3")+")", "")
		}, RollbackFound{Delete: 2, Restore: 3}, "A0<- A1<A0 A2<A1 A4<- A5<A4 C0<A0 C1<A0 C2<A2 C3<A5 C4<A1", 3, "1 record of contact with it that did not go back", ""},
		"others made one": {func(url string) {
			sendRaw(t, http.MethodPost, url+"/api/data/v9.2/contacts", `{"lastname":"X","parentcustomerid_account@odata.bind":"accounts(`+idOf(t, url, "accounts", "accountnumber", "A5")+`)"}`)
		}, RollbackFound{Restore: 3, Left: 2}, "A0<- A1<A0 A2<A1 A3<- A4<- A5<A4 C0<A0 C1<A0 C2<A2 C3<A3 C4<A1 X<A5", 2, "1 record of contact with it that somebody else has made", full},
		"others moved one": {func(url string) {
			byHand(t, url, "contacts", "lastname", "C4", `{"parentcustomerid_account@odata.bind":"accounts(`+idOf(t, url, "accounts", "accountnumber", "A5")+`)"}`)
		}, RollbackFound{Restore: 3, Left: 2}, "A0<- A1<A0 A2<A1 A3<- A4<- A5<A4 C0<A0 C1<A0 C2<A2 C3<A3 C4<A5", 2, "1 record of contact with it that did not go back", ""},
	} {
		t.Run(what, func(t *testing.T) {
			url, dir := cascading(t, "", nil)
			stageAndLoad(t, dir, url)
			if got := parentsNow(t, url); got != full {
				t.Fatalf("loaded: %s", got)
			}
			editSource(t, dir, "a.csv", "A2,a2,A1,ben", "A2,a2,A4,ben", "A3,a3,,ben\n", "A3,a3,,ben\nA4,a4,,ben\nA5,a5,A4,ann\n")
			editSource(t, dir, "c.csv", "C0,c0,A0", "C0,c0,A4", "C3,c3,A3", "C3,c3,A5")
			stageAndLoad(t, dir, url)
			if got := parentsNow(t, url); got != delta {
				t.Fatalf("after the delta: %s", got)
			}
			x.byHand(url)
			p := reopen(t, dir, Viewing, url)
			for _, from := range []int{0, 1} { // by ids, and by pages
				plan, err := p.PlanRollback(t.Context(), RollbackOptions{Generation: "last", pageFrom: from}, func(string, float64) {})
				if err != nil || plan.Total.Delete != 2 || plan.Total.Restore != 3 || !plan.Asked || *plan.Total.Found != x.found {
					t.Errorf("plan by pages from %d: %v, %+v, %+v", from, err, plan.Total, plan.Total.Found)
				}
			}
			if _, err := p.PlanRollback(t.Context(), RollbackOptions{Generation: "last", Offline: true, Keys: []string{"A5", "C0"}}, nil); err == nil || !strings.Contains(err.Error(), "would not be rolled back: 1 record of contact (C3); --below takes") {
				t.Errorf("without C3: %v", err)
			}
			if plan, err := p.PlanRollback(t.Context(), RollbackOptions{Generation: "last", Offline: true, Keys: []string{"A5", "C3"}}, nil); err != nil || plan.Total.Delete != 1 || plan.Total.Restore != 1 {
				t.Errorf("with C3: %v, %+v", err, plan.Total)
			}
			p.Close()
			r := rollBack(t, dir, url, RollbackOptions{Generation: "last"})
			if got := parentsNow(t, url); got != x.want || r.Left != x.left || r.Back != 5-x.left {
				t.Errorf("rolled back: %s, want %s; %d back, %d left", got, x.want, r.Back, r.Left)
			}
			if list, err := os.ReadFile(r.List); x.left > 0 && (err != nil || !strings.Contains(string(list), x.reason)) {
				t.Errorf("the list has %s, %v", list, err)
			}
			if x.overwrite != "" {
				rollBack(t, dir, url, RollbackOptions{Generation: "last", Overwrite: true})
				if got := parentsNow(t, url); got != x.overwrite {
					t.Errorf("with overwrite: %s, want %s", got, x.overwrite)
				}
			}
			if x.left == 0 {
				stageAndLoad(t, dir, url)
				if got := parentsNow(t, url); got != delta {
					t.Errorf("loaded again: %s, want %s", got, delta)
				}
			}
		})
	}
}

// idOf is the id of a record in the target.
func idOf(t *testing.T, url, set, column, key string) string {
	t.Helper()
	for _, row := range plainRows(t, url, set) {
		if row[column] == key {
			return fmt.Sprint(row[strings.TrimSuffix(set, "s")+"id"])
		}
	}
	t.Fatalf("there is no %s", key)
	return ""
}

// chained is a project of a chain of accounts, each below the one before, which is loaded.
func chained(t *testing.T, n int, front func(w http.ResponseWriter, r *http.Request) bool) (url, dir string) {
	t.Helper()
	url, dir = cascading(t, "", front)
	accounts := "key,name,parent,owner\n"
	for i := range n {
		parent := ""
		if i > 0 {
			parent = fmt.Sprintf("A%02d", i-1)
		}
		accounts += fmt.Sprintf("A%02d,a,%s,ann\n", i, parent)
	}
	for name, text := range map[string]string{"a.csv": accounts, "c.csv": "key,name,parent,owner\nC0,c0,A00,cec\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	stageAndLoad(t, dir, url)
	return url, dir
}

// TestRollbackOfAChain: where only the last of a chain of records can go at first, each is looked at once with all of them,
// and once more when the one below it has gone.
func TestRollbackOfAChain(t *testing.T) {
	const n = 25
	var looked atomic.Int64
	url, dir := chained(t, n, func(_ http.ResponseWriter, r *http.Request) bool {
		if q := r.URL.Query(); strings.HasSuffix(r.URL.Path, "/accounts") && strings.Contains(q.Get("$select"), "_modifiedby_value") {
			looked.Add(int64(strings.Count(q.Get("$filter"), "accountid eq")))
		}
		return false
	})
	looked.Store(0)
	if r := rollBack(t, dir, url, RollbackOptions{Generation: "full"}); r.Left > 0 || r.Back != n+1 {
		t.Errorf("%+v", r)
	}
	if got := parentsNow(t, url); got != "" {
		t.Errorf("left are %s", got)
	}
	if looked := looked.Load(); looked != 2*n-1 {
		t.Errorf("%d records were looked at", looked)
	}
}

// TestRollbackOfAChainAfterAStop: a rollback that ended while records were kept back for their children lets them go when it
// goes on.
func TestRollbackOfAChainAfterAStop(t *testing.T) {
	const n = 5
	deletes := -1
	url, dir := chained(t, n, func(w http.ResponseWriter, r *http.Request) bool {
		if deletes < 0 || !strings.HasSuffix(r.URL.Path, "/$batch") {
			return false
		}
		if deletes++; deletes != 3 { // the contact, the leaf, and then no right any more
			return false
		}
		w.WriteHeader(http.StatusForbidden)
		fmt.Fprint(w, `{"error":{"code":"0x80040220","message":"Principal user is missing prvDeleteAccount privilege"}}`)
		return true
	})
	deletes = 0
	p := reopen(t, dir, Loading, url)
	if _, err := p.Rollback(t.Context(), t.Context(), RollbackOptions{Generation: "full", Load: LoadOptions{SnapshotEvery: -1}}); err == nil || !strings.Contains(err.Error(), "prvDeleteAccount") {
		t.Fatalf("the rollback was to stop: %v", err)
	}
	p.Close()
	if got := parentsNow(t, url); got != "A00<- A01<A00 A02<A01 A03<A02" {
		t.Fatalf("there are %s, the test proves nothing", got)
	}
	if r := rollBack(t, dir, url, RollbackOptions{}); r.Left > 0 || r.Back != n+1 || parentsNow(t, url) != "" {
		t.Errorf("left are %q, %+v", parentsNow(t, url), r)
	}
}

// TestDryRunByPages: tables that go back as a whole are read page by page, and what their rows are below says what stays: as
// the rollback then does, and without a request for what is below records.
func TestDryRunByPages(t *testing.T) {
	var below atomic.Int64
	url, dir := cascading(t, "", func(_ http.ResponseWriter, r *http.Request) bool {
		if f := r.URL.Query().Get("$filter"); strings.Contains(f, "_parentaccountid_value eq") || strings.Contains(f, "_parentcustomerid_value eq") {
			below.Add(1)
		}
		return false
	})
	stageAndLoad(t, dir, url)
	look := func(what string, overwrite bool, want RollbackFound) {
		t.Helper()
		p := reopen(t, dir, Viewing, url)
		defer p.Close()
		for _, from := range []int{0, 1} {
			below.Store(0)
			plan, err := p.PlanRollback(t.Context(), RollbackOptions{Generation: "full", Overwrite: overwrite, pageFrom: from}, func(string, float64) {})
			if err != nil || !plan.Asked || *plan.Total.Found != want {
				t.Errorf("%s, by pages from %d: %v, %+v, want %+v", what, from, err, plan.Total.Found, want)
			}
			if asked := below.Load() > 0; asked != (from == 0) {
				t.Errorf("%s, by pages from %d: %d requests asked what is below", what, from, below.Load())
			}
		}
	}
	look("nobody did anything", false, RollbackFound{Delete: 9})
	change := url + "/api/data/v9.2/contacts(" + idOf(t, url, "contacts", "lastname", "C2") + ")"
	sendRaw(t, http.MethodPatch, change, `{"firstname":"changed"}`, "MSCRMCallerID: "+cecID) // below A2, that is below A1, that is below A0
	look("a contact was changed", false, RollbackFound{Delete: 5, Left: 4})
	look("overwritten", true, RollbackFound{Delete: 9})
	sendRaw(t, http.MethodPost, url+"/api/data/v9.2/contacts", `{"lastname":"Y","parentcustomerid_contact@odata.bind":"contacts(`+idOf(t, url, "contacts", "lastname", "C3")+`)"}`) // only when contacts are read to their end it is known that C3 stays, and A3 with it
	look("others made one below", false, RollbackFound{Delete: 3, Left: 6})
	r := rollBack(t, dir, url, RollbackOptions{Generation: "full"})
	if got, want := parentsNow(t, url), "A0<- A1<A0 A2<A1 A3<- C2<A2 C3<A3 Y<<nil>"; r.Left != 6 || got != want {
		t.Errorf("%d left, %s, want %s", r.Left, got, want)
	}
}
