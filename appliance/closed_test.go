package appliance

import (
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
)

// TestClosedRecordsChange: rows whose records are closed, and refuse a change, change all the same: the records are opened,
// changed and closed again, whether a plain write or an action of its own closes them, and those that their rows open
// again or close otherwise end as these say. A rollback gives them back what they had. What somebody else has closed by an action stays refused. It holds also
// where the answers are lost.
func TestClosedRecordsChange(t *testing.T) {
	for policy, fault := range map[string]string{"skip": "", "overwrite": "", "merge": "lost"} {
		t.Run(policy, func(t *testing.T) {
			var lose atomic.Bool
			var lost atomic.Int32
			var serve http.Handler
			url, e := emulated(t, 8, func(w http.ResponseWriter, r *http.Request) bool {
				if !lose.Load() || !strings.HasSuffix(r.URL.Path, "/$batch") || lost.Add(1)%2 == 0 {
					return false
				}
				serve.ServeHTTP(httpNowhere{}, r)
				panic(http.ErrAbortHandler)
			})
			serve = e
			const state = "CASE status WHEN '3' THEN 1 WHEN '4' THEN 2 WHEN '5' THEN 2 ELSE 0 END AS statecode, status AS statuscode"
			dir := otherProject(t, url, nil, map[string]string{
				"migration.yaml": "version: 1\nname: shared\ntarget: {url: " + url + ", auth: none}\nsources: {accounts: {path: a.csv, types: text}, deals: {path: d.csv, types: text}, tasks: {path: t.csv, types: text}}\n" +
					"tables: {opportunity: {on_conflict: " + policy + "}, task: {on_conflict: " + policy + "}}\nload: {timeout: 5s}\n",
				"transform/account.sql":     "SELECT key AS legacy_key, key AS name FROM accounts",
				"transform/opportunity.sql": "SELECT key AS legacy_key, key AS stepname, name, 'A0' AS parentaccountid, ref('account', 'A0') AS customerid, false AS isrevenuesystemcalculated, value AS actualvalue, " + state + " FROM deals",
				"transform/task.sql":        "SELECT key AS legacy_key, key AS subcategory, name AS subject, CASE status WHEN '5' THEN 1 WHEN '6' THEN 2 ELSE 0 END AS statecode, status AS statuscode FROM tasks",
				"a.csv":                     "key\nA0\n",
				"d.csv":                     "key,name,status,value\nO0,o0,3,10\nO1,o1,3,10\nO2,o2,3,10\nO3,o3,5,\nO4,o4,1,\nO5,o5,1,\n",
				"t.csv":                     "key,name,status\nT0,t0,5\nT1,t1,5\nT2,t2,6\nT3,t3,2\n"})
			stageAndLoad(t, dir, url)
			id := map[string]string{}
			for _, row := range plainRows(t, url, "opportunities") {
				id[fmt.Sprint(row["stepname"])] = fmt.Sprint(row["opportunityid"])
			}
			sendRaw(t, http.MethodPost, url+"/api/data/v9.2/WinOpportunity", `{"Status":3,"OpportunityClose":{"@odata.type":"Microsoft.Dynamics.CRM.opportunityclose","subject":"by hand","opportunityid@odata.bind":"/opportunities(`+id["O5"]+`)"}}`)
			editSource(t, dir, "d.csv", "O0,o0,3,10", "O0,new,3,12", "O1,o1,3", "O1,new,1", "O2,o2,3,10", "O2,new,4,", "O3,o3,5", "O3,new,5", "O4,o4,1", "O4,new,4", "O5,o5", "O5,new")
			editSource(t, dir, "t.csv", "T0,t0,5", "T0,new,5", "T1,t1,5", "T1,new,6", "T2,t2,6", "T2,new,2", "T3,t3,2", "T3,new,5")
			p := reopen(t, dir, Staging, url)
			if _, err := p.Stage(t.Context(), nil, func(string, float64) {}); err != nil {
				t.Fatal(err)
			}
			lose.Store(fault == "lost")
			r, err := p.Load(t.Context(), t.Context(), LoadOptions{SnapshotEvery: -1})
			lose.Store(false)
			list, _ := p.Failures(t.Context(), FailureFilter{Limit: 5})
			if err != nil || r.Summary.Error != 1 || r.Summary.Processed != r.Summary.Source-1 || len(list.Errors) != 1 || list.Errors[0].LegacyKey != "O5" {
				t.Errorf("%v, %+v, %+v", err, r.Summary, list.Errors)
			}
			if fault != "" && lost.Load() == 0 {
				t.Error("no answer was lost")
			}
			var got []string
			for _, row := range plainRows(t, url, "opportunities?$orderby=stepname") {
				got = append(got, fmt.Sprint(row["stepname"], " ", row["name"], " ", row["statecode"], " ", row["statuscode"]))
			}
			for _, row := range plainRows(t, url, "tasks?$orderby=subcategory") {
				got = append(got, fmt.Sprint(row["subcategory"], " ", row["subject"], " ", row["statecode"], " ", row["statuscode"]))
			}
			const want = "O0 new 1 3, O1 new 0 1, O2 new 2 4, O3 new 2 5, O4 new 2 4, O5 o5 1 3, T0 new 1 5, T1 new 2 6, T2 new 0 2, T3 new 1 5"
			if all := strings.Join(got, ", "); all != want {
				t.Errorf("got  %s\nwant %s", all, want)
			}
			p.Close()
			rollBack(t, dir, url, RollbackOptions{Generation: "last", Tables: []string{"task"}})
			var back []string
			for _, row := range plainRows(t, url, "tasks?$orderby=subcategory") {
				back = append(back, fmt.Sprint(row["subcategory"], " ", row["subject"], " ", row["statecode"], " ", row["statuscode"]))
			}
			if all := strings.Join(back, ", "); all != "T0 t0 1 5, T1 t1 1 5, T2 t2 2 6, T3 t3 0 2" {
				t.Errorf("rolled back: %s", all)
			}
		})
	}
}

// httpNowhere takes an answer that nobody gets.
type httpNowhere struct{}

func (httpNowhere) Header() http.Header         { return http.Header{} }
func (httpNowhere) Write(b []byte) (int, error) { return len(b), nil }
func (httpNowhere) WriteHeader(int)             {}
