package appliance

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"dvmigrate/appliance/dataverse/schema"
	"dvmigrate/appliance/sample"
)

// dealSchema has opportunities that follow one another, by a lookup that a later pass sets.
func dealSchema(t *testing.T) *schema.Schema {
	s, err := schema.Read(bytes.NewReader(sample.Schema()))
	if err != nil {
		t.Fatal(err)
	}
	deal := s.Table("opportunity")
	deal.Columns = append(deal.Columns, &schema.Column{LogicalName: "contoso_formerid", SchemaName: "contoso_FormerId", Type: schema.Lookup, Targets: []string{"opportunity"}})
	deal.ManyToOne = append(deal.ManyToOne, schema.Relationship{SchemaName: "contoso_former", Column: "contoso_formerid", Target: "opportunity", Nav: "contoso_FormerId", Collection: "contoso_later"})
	return s
}

// dealsProject is a project of such.
type dealsProject struct {
	t    *testing.T
	url  string
	dir  string
	hook atomic.Pointer[func(w http.ResponseWriter, r *http.Request, body string) bool]
}

// newDealsProject makes it of lines of key, name, description, the deal that it follows, and status.
func newDealsProject(t *testing.T, policy, csv string) *dealsProject {
	s := dealSchema(t)
	x := &dealsProject{t: t}
	x.url, _ = emulatedAs(t, s, 8, func(w http.ResponseWriter, r *http.Request) bool {
		body, _ := io.ReadAll(r.Body)
		r.Body = io.NopCloser(bytes.NewReader(body))
		if do := x.hook.Load(); do != nil {
			return (*do)(w, r, string(body))
		}
		return false
	})
	x.dir = otherProject(t, x.url, s, map[string]string{
		"migration.yaml":            "version: 1\nname: shared\ntarget: {url: " + x.url + ", auth: none}\nsources: {deals: {path: d.csv, types: text}}\ntables: {opportunity: {" + policy + "}}\n",
		"transform/opportunity.sql": "SELECT key AS legacy_key, key AS stepname, name, info AS description, former AS contoso_formerid, CASE status WHEN '3' THEN 1 WHEN 'won' THEN 1 WHEN '4' THEN 2 WHEN '' THEN NULL ELSE 0 END AS statecode, nullif(nullif(status, 'won'), '') AS statuscode FROM deals",
		"d.csv":                     "key,name,info,former,status\n" + csv})
	return x
}

func (x *dealsProject) deals() map[string]map[string]any {
	rows := map[string]map[string]any{}
	for _, row := range plainRows(x.t, x.url, "opportunities") {
		rows[fmt.Sprint(row["stepname"])] = row
	}
	return rows
}

func (x *dealsProject) user(key, body string) {
	x.t.Helper()
	sendAs(x.t, fmt.Sprintf("%s/api/data/v9.2/opportunities(%s)", x.url, x.deals()[key]["opportunityid"]), body)
}

func (x *dealsProject) stage() {
	x.t.Helper()
	p := reopen(x.t, x.dir, Staging, x.url)
	if _, err := p.Stage(x.t.Context(), nil, func(string, float64) {}); err != nil {
		x.t.Fatal(err)
	}
	p.Close()
}

// load loads; where stop is not empty it stops in good order when a request has that text.
func (x *dealsProject) load(stop string) {
	x.t.Helper()
	ctx, cancel := context.WithCancel(x.t.Context())
	defer cancel()
	stopped := false
	do := func(w http.ResponseWriter, r *http.Request, body string) bool {
		if stop != "" && strings.Contains(body, stop) {
			stopped = true
			cancel()
		}
		return false
	}
	x.hook.Store(&do)
	p := reopen(x.t, x.dir, Loading, x.url)
	_, err := p.Load(x.t.Context(), ctx, LoadOptions{SnapshotEvery: -1})
	if err != nil && ctx.Err() == nil {
		x.t.Fatal(err)
	}
	x.hook.Store(nil)
	p.Close()
	if stop != "" && !stopped {
		x.t.Errorf("not stopped at %s", stop)
	}
}

// TestKeptWhereRowChangesAgain: a load stops between its passes, and the row changes once more: what merge has left somebody
// it leaves him still.
func TestKeptWhereRowChangesAgain(t *testing.T) {
	for _, policy := range []string{"merge", "skip"} {
		t.Run(policy, func(t *testing.T) {
			x := newDealsProject(t, "on_conflict: "+policy, "O0,o0,i0,,1\nO1,o1,i1,,1\nO4,o4,i4,,1\n")
			stageAndLoad(t, x.dir, x.url)
			if policy == "merge" {
				x.user("O0", `{"name":"user's"}`)
			}
			editSource(t, x.dir, "d.csv", "O0,o0,i0,", "O0,row,new,O4", "O1,o1,i1,", "O1,row,new,O4")
			x.stage()
			x.load(`"description":"new"`) // the first pass alone
			editSource(t, x.dir, "d.csv", "O0,row,new,O4", "O0,row,newer,O4", "O1,row,new,O4", "O1,row,newer,O4")
			x.stage()
			x.load("")
			if policy == "merge" && x.deals()["O0"]["name"] != "user's" {
				t.Errorf("the user's name is written over: %v", x.deals()["O0"]["name"])
			}
		})
	}
}

// TestStateKeptWhereRowChangesAgain: so it is with a state.
func TestStateKeptWhereRowChangesAgain(t *testing.T) {
	x := newDealsProject(t, "on_conflict: merge", "O0,o0,i0,,3\nO1,o1,i1,,3\nO4,o4,i4,,1\n")
	stageAndLoad(t, x.dir, x.url)
	x.user("O0", `{"statecode":0}`)
	editSource(t, x.dir, "d.csv", "O0,o0,i0,,3", "O0,o0,new,O4,4")
	x.stage()
	x.load(`"description":"new"`)
	editSource(t, x.dir, "d.csv", "O0,o0,new,O4,4", "O0,o0,newer,O4,4")
	x.stage()
	x.load("")
	if fmt.Sprint(x.deals()["O0"]["statecode"]) != "0" {
		t.Errorf("the user's state is written over: %v", x.deals()["O0"]["statecode"])
	}
}

// TestHeldInLaterPassStagedAgain: a row is held in a later pass, and goes on after another staging: a state that it did not
// change is not written.
func TestHeldInLaterPassStagedAgain(t *testing.T) {
	for _, policy := range []string{"merge", "skip"} {
		t.Run(policy, func(t *testing.T) {
			x := newDealsProject(t, "on_conflict: "+policy, "O0,o0,i0,,1\nO1,o1,i1,,1\nO4,o4,i4,,1\n")
			stageAndLoad(t, x.dir, x.url)
			editSource(t, x.dir, "d.csv", "O0,o0,i0,", "O0,o0,i0,O5", "O4,o4,i4,,1", "O4,o4,i4,,1\nO5,"+strings.Repeat("x", 400)+",i5,,1")
			x.stage()
			x.load("") // O5 does not fit, O0 is held behind it
			x.user("O0", `{"statecode":0,"statuscode":2,"description":"user's"}`)
			x.user("O0", `{"name":"o0"}`)
			editSource(t, x.dir, "d.csv", strings.Repeat("x", 400), "o5")
			x.stage()
			x.load("")
			if fmt.Sprint(x.deals()["O0"]["statuscode"]) != "2" {
				t.Errorf("the user's state is written over: %v", x.deals()["O0"]["statuscode"])
			}
		})
	}
}

// TestOthersBetweenPasses: what somebody does between two passes of a load is not written over.
func TestOthersBetweenPasses(t *testing.T) {
	x := newDealsProject(t, "on_conflict: skip", "O0,o0,i0,,1\nO4,o4,i4,,1\n")
	stageAndLoad(t, x.dir, x.url)
	editSource(t, x.dir, "d.csv", "O0,o0,i0,,1", "O0,o0,new,O4,4")
	x.stage()
	x.load(`"description":"new"`) // the first pass alone
	sendRaw(t, http.MethodPost, x.url+"/api/data/v9.2/WinOpportunity", `{"Status":3,"OpportunityClose":{"@odata.type":"Microsoft.Dynamics.CRM.opportunityclose","subject":"by hand","opportunityid@odata.bind":"/opportunities(`+x.deals()["O0"]["opportunityid"].(string)+`)"}}`, "MSCRMCallerID: "+someUser)
	x.load("")
	if got := fmt.Sprint(x.deals()["O0"]["statecode"]); got != "1" {
		t.Errorf("the user's win is written over: %v", got)
	}
}
