package appliance

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"dvmigrate/appliance/dataverse/emulator"
	"dvmigrate/appliance/dataverse/schema"
	"dvmigrate/appliance/plan"
	"dvmigrate/appliance/sample"
)

// The users whom records of these tests are assigned to.
const (
	annID = "a0000000-0000-4000-8000-000000000011"
	benID = "a0000000-0000-4000-8000-0000000000b2"
	cecID = "a0000000-0000-4000-8000-0000000000c3"
)

// cascadingSchema is the sample's, in which an assignment of an account takes accounts and contacts below it along.
func cascadingSchema(t *testing.T) *schema.Schema {
	t.Helper()
	s, err := schema.Read(strings.NewReader(string(sample.Schema())))
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for table, column := range map[string]string{"account": "parentaccountid", "contact": "parentcustomerid"} {
		for i := range s.Table(table).ManyToOne {
			if r := &s.Table(table).ManyToOne[i]; r.Column == column && r.Target == "account" {
				r.Cascade = map[string]string{"Assign": "Cascade", "Delete": "Cascade"}
				n++
			}
		}
	}
	if n != 2 {
		t.Fatalf("%d relationships cascade", n)
	}
	return s
}

// cascading is an environment in which an assignment of an account takes accounts and contacts below it along, with
// a project of accounts in a tree and their contacts, each with an owner. front sees each request first.
func cascading(t *testing.T, settings string, front func(w http.ResponseWriter, r *http.Request) bool) (url, dir string) {
	t.Helper()
	s := cascadingSchema(t)
	users := ""
	for _, id := range []string{annID, benID, cecID} {
		users += fmt.Sprintf(`{"systemuserid":"%s","fullname":"u","businessunitid@odata.bind":"businessunits(%s)"}`+"\n", id, emulator.BusinessUnitID)
	}
	e, err := emulator.New(emulator.Options{Schema: s, Seed: map[string]io.Reader{"systemuser": strings.NewReader(users)}})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if front == nil || !front(w, r) {
			e.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(func() { server.Close(); e.Close() })
	const owner = "existing('systemuser', CASE owner WHEN 'ann' THEN '" + annID + "' WHEN 'ben' THEN '" + benID + "' ELSE '" + cecID + "' END) AS ownerid"
	return server.URL, otherProject(t, server.URL, s, map[string]string{
		"a.csv":                 "key,name,parent,owner\nA0,a0,,ann\nA1,a1,A0,ann\nA2,a2,A1,ben\nA3,a3,,ben\n",
		"c.csv":                 "key,name,parent,owner\nC0,c0,A0,cec\nC1,c1,A0,ann\nC2,c2,A2,cec\nC3,c3,A3,ben\nC4,c4,A1,ben\n",
		"transform/account.sql": "SELECT key AS legacy_key, key AS accountnumber, name, ref('account', parent) AS parentaccountid, " + owner + " FROM accounts",
		"transform/contact.sql": "SELECT key AS legacy_key, key AS lastname, name AS firstname, ref('account', parent) AS parentcustomerid, " + owner + " FROM contacts",
		"migration.yaml": "version: 1\nname: heirs\ntarget: {url: " + server.URL + ", auth: none}\nsources:\n  accounts: {path: a.csv, types: text}\n" +
			"  contacts: {path: c.csv, types: text}\n" + settings})
}

// ownersNow are the owners by the keys of records: ann, ben, cec.
func ownersNow(t *testing.T, url string) string {
	t.Helper()
	names := map[string]string{annID: "ann", benID: "ben", cecID: "cec"}
	var out []string
	for _, x := range [][3]string{{"accounts", "accountnumber", "A"}, {"contacts", "lastname", "C"}} {
		found := map[string]string{}
		for _, row := range plainRows(t, url, x[0]) {
			found[fmt.Sprint(row[x[1]])] = names[fmt.Sprint(row["_ownerid_value"])]
		}
		for i := range 5 {
			if owner, ok := found[fmt.Sprint(x[2], i)]; ok {
				out = append(out, fmt.Sprint(x[2], i, " ", owner))
			}
		}
	}
	return strings.Join(out, ", ")
}

// byHand changes a record as somebody else does.
func byHand(t *testing.T, url, set, column, key, body string) {
	t.Helper()
	sendRaw(t, http.MethodPatch, fmt.Sprintf("%s/api/data/v9.2/%s(%s)", url, set, idOf(t, url, set, column, key)), body)
}

// TestHeirs: where the target hands the children of a record that is assigned to its new owner, those that did not
// change keep theirs, also one that somebody else has given; those that changed are not taken for changed by others; a rollback
// gives all back. It holds for every policy.
func TestHeirs(t *testing.T) {
	for _, policy := range []string{"skip", "overwrite", "merge"} {
		t.Run(policy, func(t *testing.T) {
			url, dir := cascading(t, "tables:\n  account: {on_conflict: "+policy+"}\n  contact: {on_conflict: "+policy+"}\n", nil)
			stageAndLoad(t, dir, url)
			full := "A0 ann, A1 ann, A2 ben, A3 ben, C0 cec, C1 ann, C2 cec, C3 ben, C4 ben"
			if got := ownersNow(t, url); got != full {
				t.Fatalf("loaded: %s", got)
			}
			// A0 goes to ben, and A1 and C4, below it, to cec; nothing else is to change. C1, still below A0
			// then, moves away.
			editSource(t, dir, "a.csv", "A0,a0,,ann", "A0,a0,,ben", "A1,a1,A0,ann", "A1,a1,A0,cec")
			editSource(t, dir, "c.csv", "C4,c4,A1,ben", "C4,changed,A1,cec", "C1,c1,A0", "C1,c1,A3")
			stageAndLoad(t, dir, url) // which requires that nothing was held
			delta := "A0 ben, A1 cec, A2 ben, A3 ben, C0 cec, C1 ann, C2 cec, C3 ben, C4 cec"
			if got := ownersNow(t, url); got != delta {
				t.Errorf("after the delta:\n%s, want\n%s", got, delta)
			}
			if _, err := os.Stat(filepath.Join(dir, "work", heirsFile)); !os.IsNotExist(err) {
				t.Errorf("the note on heirs is left: %v", err)
			}
			rollBack(t, dir, url, RollbackOptions{Generation: "last"})
			if got := ownersNow(t, url); got != full {
				t.Errorf("rolled back:\n%s, want\n%s", got, full)
			}
			stageAndLoad(t, dir, url)
			if got := ownersNow(t, url); got != delta {
				t.Errorf("loaded again:\n%s, want\n%s", got, delta)
			}
		})
	}
}

// TestHeirsThatMove: a record that is moved to another parent while the former one is assigned, or the new one, keeps its
// owner; so it does on the way back, over one generation and over two.
func TestHeirsThatMove(t *testing.T) {
	for _, detour := range []bool{false, true} { // by a rollback, behind which columns are not known
		t.Run(fmt.Sprint("detour ", detour), func(t *testing.T) { heirsThatMove(t, detour) })
	}
}

func heirsThatMove(t *testing.T, detour bool) {
	url, dir := cascading(t, "", nil)
	editSource(t, dir, "a.csv", "A0,a0,,ann", "A0,a0,A3,ann", "A3,a3,,ben\n", "A3,a3,,ben\nA4,a4,,ben\n") // A0 goes back before A3 does
	stageAndLoad(t, dir, url)
	require := func(what, owners, parents string) {
		t.Helper()
		if got := ownersNow(t, url); got != owners {
			t.Errorf("%s: owners are\n%s, want\n%s", what, got, owners)
		}
		if got := parentsNow(t, url); got != parents {
			t.Errorf("%s: %s, want %s", what, got, parents)
		}
	}
	const (
		owners0, parents0 = "A0 ann, A1 ann, A2 ben, A3 ben, A4 ben, C0 cec, C1 ann, C2 cec, C3 ben, C4 ben", "A0<A3 A1<A0 A2<A1 A3<- A4<- C0<A0 C1<A0 C2<A2 C3<A3 C4<A1"
		owners1, parents1 = "A0 ann, A1 cec, A2 ben, A3 cec, A4 ben, C0 cec, C1 ann, C2 cec, C3 ben, C4 ben", "A0<- A1<A0 A2<A3 A3<- A4<- C0<A0 C1<A3 C2<A2 C3<A0 C4<A1"
		owners2, parents2 = "A0 ann, A1 ben, A2 ben, A3 cec, A4 ben, C0 cec, C1 ann, C2 cec, C3 ben, C4 ben", "A0<A4 A1<A0 A2<A0 A3<- A4<- C0<A0 C1<A3 C2<A2 C3<A1 C4<A1"
	)
	require("full", owners0, parents0)
	editSource(t, dir, "a.csv", "A0,a0,A3", "A0,a0,", "A1,a1,A0,ann", "A1,a1,A0,cec", "A2,a2,A1", "A2,a2,A3", "A3,a3,,ben", "A3,a3,,cec")
	editSource(t, dir, "c.csv", "C1,c1,A0", "C1,c1,A3", "C3,c3,A3", "C3,c3,A0")
	stageAndLoad(t, dir, url)
	require("moved", owners1, parents1)
	if detour {
		rollBack(t, dir, url, RollbackOptions{Generation: "last"})
		require("rolled back", owners0, parents0)
		stageAndLoad(t, dir, url)
		require("moved again", owners1, parents1)
	}
	editSource(t, dir, "a.csv", "A0,a0,", "A0,a0,A4", "A1,a1,A0,cec", "A1,a1,A0,ben", "A2,a2,A3", "A2,a2,A0")
	editSource(t, dir, "c.csv", "C3,c3,A0", "C3,c3,A1")
	stageAndLoad(t, dir, url)
	require("moved twice", owners2, parents2)
	p := reopen(t, dir, Loading, url)
	requireAllLoaded(t, p) // a process that has loaded knows what the last generation changed, which is not all here
	if _, err := p.Rollback(t.Context(), t.Context(), RollbackOptions{Generation: "delta 1", Load: LoadOptions{SnapshotEvery: -1}}); err != nil {
		t.Fatal(err)
	}
	p.Close()
	require("rolled back twice", owners0, parents0)
	stageAndLoad(t, dir, url)
	require("in the end", owners2, parents2)
}

// TestHeirsOfOthers: an owner that somebody else has given an heir stays with it, whether its row has changed or not, as
// the policy says.
func TestHeirsOfOthers(t *testing.T) {
	for policy, c4 := range map[string]string{"skip": "ann", "overwrite": "cec", "merge": "ann"} {
		t.Run(policy, func(t *testing.T) {
			url, dir := cascading(t, "tables:\n  contact: {on_conflict: "+policy+"}\n", nil)
			stageAndLoad(t, dir, url)
			for key, owner := range map[string]string{"C1": cecID, "C2": annID, "C4": annID} {
				byHand(t, url, "contacts", "lastname", key, `{"ownerid@odata.bind":"systemusers(`+owner+`)"}`)
			}
			editSource(t, dir, "a.csv", "A0,a0,,ann", "A0,a0,,ben", "A1,a1,A0,ann", "A1,a1,A0,cec")
			editSource(t, dir, "c.csv", "C2,c2,", "C2,changed,", "C4,c4,A1,ben", "C4,changed,A1,cec")
			p := reopen(t, dir, Staging, url)
			if _, err := p.Stage(t.Context(), nil, func(string, float64) {}); err != nil {
				t.Fatal(err)
			}
			r, err := p.Load(t.Context(), t.Context(), LoadOptions{SnapshotEvery: -1})
			if held := map[string]int64{"skip": 1}[policy]; err != nil || r.Summary.Held != held || r.Summary.Error > 0 {
				t.Errorf("%v, %+v", err, r.Summary)
			}
			p.Close()
			if got, want := ownersNow(t, url), "A0 ben, A1 cec, A2 ben, A3 ben, C0 cec, C1 cec, C2 ann, C3 ben, C4 "+c4; got != want {
				t.Errorf("owners are\n%s, want\n%s", got, want)
			}
			for _, row := range plainRows(t, url, "contacts") {
				if key := row["lastname"]; (row["firstname"] == "changed") != (key == "C2" || key == "C4" && policy != "skip") {
					t.Errorf("%v is called %v", key, row["firstname"])
				}
			}
		})
	}
}

// TestHeirsAfterAStop: a load that ends between an assignment and what its heirs get back leaves a note, and the next
// one goes on with it, also behind another staging.
func TestHeirsAfterAStop(t *testing.T) {
	var stop atomic.Bool
	url, dir := cascading(t, "", func(w http.ResponseWriter, r *http.Request) bool {
		if !stop.Load() || !strings.HasSuffix(r.URL.Path, "/$batch") {
			return false
		}
		body, err := io.ReadAll(r.Body)
		r.Body = io.NopCloser(bytes.NewReader(body))
		if err != nil || !bytes.Contains(body, []byte(`{"ownerid@odata.bind"`)) { // what gives them back
			return false
		}
		w.WriteHeader(http.StatusForbidden)
		fmt.Fprint(w, `{"error":{"code":"0x80040220","message":"Principal user is missing prvAssignContact privilege"}}`)
		return true
	})
	stageAndLoad(t, dir, url)
	byHand(t, url, "contacts", "lastname", "C1", `{"ownerid@odata.bind":"systemusers(`+cecID+`)"}`)
	editSource(t, dir, "a.csv", "A0,a0,,ann", "A0,a0,,ben")
	load := func() error {
		p := reopen(t, dir, Staging, url)
		defer p.Close()
		if _, err := p.Stage(t.Context(), nil, func(string, float64) {}); err != nil {
			t.Fatal(err)
		}
		_, err := p.Load(t.Context(), t.Context(), LoadOptions{SnapshotEvery: -1})
		return err
	}
	stop.Store(true)
	if err := load(); err == nil || !strings.Contains(err.Error(), "prvAssignContact") {
		t.Fatalf("the load was to stop: %v", err)
	}
	if got := ownersNow(t, url); !strings.Contains(got, "A0 ben, A1 ben") || !strings.Contains(got, "C1 ben") {
		t.Fatalf("nothing went along, the test proves nothing: %s", got)
	}
	if _, err := os.Stat(filepath.Join(dir, "work", heirsFile)); err != nil {
		t.Fatal(err)
	}
	stop.Store(false)
	p := reopen(t, dir, Staging, url)
	o := DeltaOptions{Load: LoadOptions{SnapshotEvery: -1}, Stage: func(string, float64) {}, Step: func(string) {}}
	if r, err := p.Delta(t.Context(), t.Context(), o); err != nil || r.Waiting > 0 || r.Load == nil { // nothing waits, and yet something is to be done
		t.Fatalf("%v, %+v", err, r)
	}
	p.Close()
	if got, want := ownersNow(t, url), "A0 ben, A1 ann, A2 ben, A3 ben, C0 cec, C1 cec, C2 cec, C3 ben, C4 ben"; got != want {
		t.Errorf("owners are\n%s, want\n%s", got, want)
	}
	if _, err := os.Stat(filepath.Join(dir, "work", heirsFile)); !os.IsNotExist(err) {
		t.Errorf("the note is left: %v", err)
	}
}

// TestHeirsBehindARollback: after a rollback of more than the last generation it is not known what the target has of the
// records that only an earlier one changed; those below them keep their owners all the same, and they get theirs.
func TestHeirsBehindARollback(t *testing.T) {
	url, dir := cascading(t, "", nil)
	stageAndLoad(t, dir, url)
	editSource(t, dir, "a.csv", "A0,a0,,ann", "A0,a0,,ben")
	editSource(t, dir, "c.csv", "C1,c1,A0,ann", "C1,c1,A0,cec")
	stageAndLoad(t, dir, url)
	editSource(t, dir, "c.csv", "C3,c3", "C3,changed")
	stageAndLoad(t, dir, url)
	const delta = "A0 ben, A1 ann, A2 ben, A3 ben, C0 cec, C1 cec, C2 cec, C3 ben, C4 ben"
	if got := ownersNow(t, url); got != delta {
		t.Fatalf("loaded:\n%s, want\n%s", got, delta)
	}
	rollBack(t, dir, url, RollbackOptions{Generation: "delta 1"})
	if got, want := ownersNow(t, url), "A0 ann, A1 ann, A2 ben, A3 ben, C0 cec, C1 ann, C2 cec, C3 ben, C4 ben"; got != want {
		t.Errorf("rolled back:\n%s, want\n%s", got, want)
	}
	stageAndLoad(t, dir, url)
	if got := ownersNow(t, url); got != delta {
		t.Errorf("loaded again:\n%s, want\n%s", got, delta)
	}
}

// TestHeirsThatAreLookedAt: owners are looked at before an assignment and after it, and then of those alone that are below a
// record which got its own back; and not at all where no owner goes back.
func TestHeirsThatAreLookedAt(t *testing.T) {
	var looked atomic.Int64 // contacts of which the owner was read by itself
	url, dir := cascading(t, "", func(_ http.ResponseWriter, r *http.Request) bool {
		if q := r.URL.Query(); strings.HasSuffix(r.URL.Path, "/contacts") && strings.HasPrefix(q.Get("$select"), "contactid,_ownerid_value") {
			looked.Add(int64(strings.Count(q.Get("$filter"), "contactid eq")))
		}
		return false
	})
	stageAndLoad(t, dir, url)
	// A0 takes A1, A2, C0, C1, C2 and C4 along, of which A2 and C4 were its new owner's already. Of two accounts read in one
	// request A1 gets its own back and takes A2, C2 and C4 along, of which A2 gets its own back and takes C2 along.
	editSource(t, dir, "a.csv", "A0,a0,,ann", "A0,a0,,ben")
	p := reopen(t, dir, Staging, url)
	if _, err := p.Stage(t.Context(), nil, func(string, float64) {}); err != nil {
		t.Fatal(err)
	}
	e, err := p.Estimate(t.Context(), EstimateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	foretold := map[string]int64{}
	for _, r := range e.Rows {
		if r.Pass == plan.Owners {
			foretold[r.Table+" "+r.Action] = r.Operations
		}
	}
	if want := map[string]int64{"account look": 2, "account update": 2, "contact look": 2, "contact update": 4}; !maps.Equal(foretold, want) {
		t.Errorf("foretold are %v, want %v", foretold, want)
	}
	p.Close()
	stageAndLoad(t, dir, url)
	if got, want := ownersNow(t, url), "A0 ben, A1 ann, A2 ben, A3 ben, C0 cec, C1 ann, C2 cec, C3 ben, C4 ben"; got != want {
		t.Errorf("owners are\n%s, want\n%s", got, want)
	}
	if n := looked.Swap(0); n != 4+4+2+1 {
		t.Errorf("%d owners of contacts were read", n)
	}
	editSource(t, dir, "a.csv", "A0,a0,", "A0,changed,")
	stageAndLoad(t, dir, url)
	rollBack(t, dir, url, RollbackOptions{Generation: "last"})
	if n := looked.Swap(0); n != 0 {
		t.Errorf("%d owners of contacts were read, and none goes back", n)
	}
	rollBack(t, dir, url, RollbackOptions{Generation: "delta 1"})
	if got, want := ownersNow(t, url), "A0 ann, A1 ann, A2 ben, A3 ben, C0 cec, C1 ann, C2 cec, C3 ben, C4 ben"; got != want {
		t.Errorf("rolled back, owners are\n%s, want\n%s", got, want)
	}
	if looked.Load() == 0 {
		t.Error("nothing was read for the owner that goes back")
	}
}

// TestItsOwnParent: a record that is below itself takes nobody along, and goes back.
func TestItsOwnParent(t *testing.T) {
	url, dir := cascading(t, "", nil)
	editSource(t, dir, "a.csv", "A3,a3,,ben", "A3,a3,A3,ben")
	stageAndLoad(t, dir, url)
	if r := rollBack(t, dir, url, RollbackOptions{Generation: "full"}); r.Left > 0 {
		t.Errorf("%+v", r)
	}
	if got := ownersNow(t, url); got != "" {
		t.Errorf("left are %s", got)
	}
}
