package appliance

import (
	"context"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"dvmigrate/appliance/dataverse/emulator"
)

// TestPartialUpdatesWhoseAnswersAreLost: rows change while somebody changes two of the records
// in the target, and the requests that send them are lost in every way. What changed in the
// source arrives, the column that nobody here changed keeps what somebody made of it, and the
// record whose own column was changed there is held, and not written over.
func TestPartialUpdatesWhoseAnswersAreLost(t *testing.T) {
	var cancel atomic.Pointer[context.CancelFunc] // at the next request that updates
	url, e := emulated(t, 8, func(_ http.ResponseWriter, r *http.Request) bool {
		if stop := cancel.Load(); stop != nil && strings.HasSuffix(r.URL.Path, "UpdateMultiple") {
			(*stop)()
		}
		return false
	})
	dir := otherProject(t, url, nil, map[string]string{
		"migration.yaml":        "version: 1\nname: shared\ntarget: {url: " + url + ", auth: none}\nsources: {accounts: {path: a.csv, types: text}}\nload: {timeout: 2s}\ntables: {account: {batch: 3}}\n",
		"transform/account.sql": "SELECT key AS legacy_key, key AS accountnumber, name, city AS address1_city FROM accounts",
		"a.csv":                 "key,name,city\nA0,name 0,city\nA1,name 1,city\nA2,name 2,city\nA3,name 3,city\nA4,name 4,city\nA5,name 5,city\nA6,name 6,city\n"})
	stageAndLoad(t, dir, url)
	ids := map[string]string{}
	for _, row := range plainRows(t, url, "accounts") {
		ids[fmt.Sprint(row["accountnumber"])] = fmt.Sprint(row["accountid"])
	}
	byHand := func(key, body string) {
		sendRaw(t, http.MethodPatch, url+"/api/data/v9.2/accounts("+ids[key]+")", body)
	}
	for round, fault := range []string{"", "kind=reset-after,nth=1,message=UpdateMultiple", "kind=reset-before,nth=1,message=UpdateMultiple", "kind=cut,nth=1,message=UpdateMultiple", "stop"} {
		was, is := fmt.Sprintf("round %d", round-1), fmt.Sprintf("round %d", round)
		for i := range 6 {
			from := fmt.Sprintf("A%d,%s %d", i, was, i)
			if round == 0 {
				from = fmt.Sprintf("A%d,name %d", i, i)
			}
			edit(t, filepath.Join(dir, "a.csv"), from, fmt.Sprintf("A%d,%s %d", i, is, i))
		}
		byHand("A4", fmt.Sprintf(`{"name":"by hand %d"}`, round))
		byHand("A5", fmt.Sprintf(`{"address1_city":"village %d"}`, round))
		p := reopen(t, dir, Staging, url)
		if _, err := p.Stage(t.Context(), nil, func(string, float64) {}); err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		switch {
		case fault == "stop":
			cancel.Store(&stop)
		case fault != "":
			f, err := emulator.ParseFault(fault)
			if err != nil {
				t.Fatal(err)
			}
			e.Order(f)
		}
		if _, err := p.Load(ctx, ctx, LoadOptions{SnapshotEvery: -1}); err != nil && ctx.Err() == nil {
			t.Fatal(err)
		}
		cancel.Store(nil)
		stop()
		e.ClearFaults()
		if err := p.Close(); err != nil {
			t.Fatal(err)
		}
		p = reopen(t, dir, Loading, url)
		r, err := p.Load(t.Context(), t.Context(), LoadOptions{SnapshotEvery: -1})
		if err != nil || r.Summary.Held != 1 || r.Summary.Processed != 6 {
			t.Errorf("%s: %v, %+v", fault, err, r.Summary)
		}
		list, err := p.Failures(t.Context(), FailureFilter{Limit: 5})
		if err != nil || len(list.Errors) != 1 || list.Errors[0].Class != "conflict" || list.Errors[0].LegacyKey != "A4" {
			t.Errorf("%s: %v, %+v", fault, err, list.Errors)
		}
		if err := p.Close(); err != nil {
			t.Fatal(err)
		}
		for _, row := range plainRows(t, url, "accounts") {
			key, want := fmt.Sprint(row["accountnumber"]), ""
			switch n := strings.TrimPrefix(key, "A"); n {
			case "4":
				want = fmt.Sprintf("by hand %d, city", round)
			case "5":
				want = fmt.Sprintf("%s 5, village %d", is, round)
			case "6":
				want = "name 6, city"
			default:
				want = fmt.Sprintf("%s %s, city", is, n)
			}
			if got := fmt.Sprint(row["name"], ", ", row["address1_city"]); got != want {
				t.Errorf("%s: %s has %s, want %s", fault, key, got, want)
			}
		}
	}
}

// TestConflictsThroughStagings: a record that somebody has changed stays as it is, and its row held, however often it is
// staged and retried before the next load.
func TestConflictsThroughStagings(t *testing.T) {
	url := environment(t, 8, nil)
	dir := otherProject(t, url, nil, map[string]string{
		"migration.yaml":        "version: 1\nname: shared\ntarget: {url: " + url + ", auth: none}\nsources: {accounts: {path: a.csv, types: text}}\n",
		"transform/account.sql": "SELECT key AS legacy_key, key AS accountnumber, name, city AS address1_city FROM accounts",
		"a.csv":                 "key,name,city\nA0,name 0,city\nA1,name 1,city\n"})
	stageAndLoad(t, dir, url)
	for _, row := range plainRows(t, url, "accounts") {
		if row["accountnumber"] == "A1" {
			sendRaw(t, http.MethodPatch, fmt.Sprintf("%s/api/data/v9.2/accounts(%s)", url, row["accountid"]), `{"name":"by hand","address1_city":"village"}`)
		}
	}
	edit(t, filepath.Join(dir, "a.csv"), "name 1", "changed 1")
	for round, edits := range [][2]string{{}, {}, {"name 0", "changed 0"}, {"changed 1", "again 1"}} {
		if edits[0] != "" {
			edit(t, filepath.Join(dir, "a.csv"), edits[0], edits[1])
		}
		p := reopen(t, dir, Staging, url)
		for range 2 + round {
			if _, err := p.Stage(t.Context(), nil, func(string, float64) {}); err != nil {
				t.Fatal(err)
			}
			if _, err := p.Retry(t.Context(), FailureFilter{Classes: []string{"conflict"}}); err != nil {
				t.Fatal(err)
			}
		}
		r, err := p.Load(t.Context(), t.Context(), LoadOptions{SnapshotEvery: -1})
		if err != nil || r.Summary.Held != 1 {
			t.Errorf("round %d: %v, %+v", round, err, r.Summary)
		}
		p.Close()
		for _, row := range plainRows(t, url, "accounts") {
			if row["accountnumber"] == "A1" && (row["name"] != "by hand" || row["address1_city"] != "village") {
				t.Fatalf("round %d: the record is %v of %v", round, row["name"], row["address1_city"])
			}
		}
	}
}

// TestConflictsOfLaterPasses: a deferred lookup and a state, which passes of their own set, are not written over
// either where somebody has changed them, and nothing of such a row is sent; where nobody has, they are set, and
// cleared. A price that the target rounded to its currency's digits is nobody's change, nor is what the service
// gave records in columns that the transform yields only now.
func TestConflictsOfLaterPasses(t *testing.T) {
	for policy, want := range map[string]string{ // name, parent, status reason
		"skip, ids: server, match: contoso_serial": "held 5; E0 name 0, E8, 1; E1 name 1, E8, 1; E2 new 2, , 1; E3 name 3, E9, 2; E4 new 4, E5, 2; E6 name 6, E8, 1; E7 name 7, E9, 2",
		"skip":      "held 5; E0 name 0, E8, 1; E1 name 1, E8, 1; E2 new 2, , 1; E3 name 3, E9, 2; E4 new 4, E5, 2; E6 name 6, E8, 1; E7 name 7, E9, 2",
		"merge":     "held 0; E0 new 0, E8, 1; E1 new 1, E8, 1; E2 new 2, , 1; E3 new 3, E9, 2; E4 new 4, E5, 2; E6 new 6, E8, 1; E7 new 7, E5, 2",
		"overwrite": "held 0; E0 new 0, E5, 1; E1 new 1, , 1; E2 new 2, , 1; E3 new 3, E9, 100000001; E4 new 4, E5, 2; E6 new 6, E5, 1; E7 new 7, E5, 100000001",
	} {
		t.Run(policy, func(t *testing.T) {
			url := environment(t, 8, nil)
			dir := otherProject(t, url, nil, map[string]string{
				"migration.yaml": "version: 1\nname: shared\ntarget: {url: " + url + ", auth: none}\nsources: {machines: {path: m.csv, types: text}, products: {path: p.csv, types: text}}\n" +
					"tables: {contoso_equipment: {on_conflict: " + policy + "}, product: {on_conflict: merge}}\n",
				"transform/contoso_equipment.sql": "SELECT key AS legacy_key, key AS contoso_serial, name AS contoso_name, parent AS contoso_parentid,\n" +
					"CASE WHEN status IN ('2', '100000002') THEN 1 ELSE 0 END AS statecode, status AS statuscode FROM machines",
				"transform/product.sql": "SELECT key AS legacy_key, key AS productnumber, key AS name, price, existing('transactioncurrency', 'c0000000-0000-4000-8000-000000000001') AS transactioncurrencyid,\n" +
					"existing('uomschedule', 'd0000000-0000-4000-8000-000000000001') AS defaultuomscheduleid, existing('uom', 'd1000000-0000-4000-8000-000000000001') AS defaultuomid, 2 AS quantitydecimal FROM products",
				"m.csv": "key,name,parent,status\nE0,name 0,E9,1\nE1,name 1,E9,1\nE2,name 2,E9,1\nE3,name 3,E9,1\nE4,name 4,E9,1\nE5,name 5,,1\nE6,name 6,,1\nE7,name 7,E9,1\nE8,name 8,,1\nE9,name 9,,1\n",
				"p.csv": "key,price\nP0,3.7962\n"})
			stageAndLoad(t, dir, url)
			serial, id := map[string]string{"<nil>": ""}, map[string]string{}
			for _, row := range plainRows(t, url, "contoso_equipments") {
				serial[fmt.Sprint(row["contoso_equipmentid"])], id[fmt.Sprint(row["contoso_serial"])] = fmt.Sprint(row["contoso_serial"]), fmt.Sprint(row["contoso_equipmentid"])
			}
			byHand := func(key, body string) {
				sendRaw(t, http.MethodPatch, url+"/api/data/v9.2/contoso_equipments("+id[key]+")", body)
			}
			byHand("E0", `{"contoso_ParentId@odata.bind":"contoso_equipments(`+id["E8"]+`)"}`)
			byHand("E1", `{"contoso_ParentId@odata.bind":"contoso_equipments(`+id["E8"]+`)"}`)
			byHand("E3", `{"statecode":1,"statuscode":2}`)
			sendAs(t, url+"/api/data/v9.2/contoso_equipments("+id["E6"]+")", `{"contoso_ParentId@odata.bind":"contoso_equipments(`+id["E8"]+`)"}`)
			sendAs(t, url+"/api/data/v9.2/contoso_equipments("+id["E7"]+")", `{"statecode":1,"statuscode":2}`)
			editSource(t, dir, "m.csv", "E0,name 0,E9,1", "E0,new 0,E5,1", "E1,name 1,E9,1", "E1,new 1,,1", "E2,name 2,E9,1", "E2,new 2,,1",
				"E3,name 3,E9,1", "E3,new 3,E9,100000001", "E4,name 4,E9,1", "E4,new 4,E5,2", "E6,name 6,,1", "E6,new 6,E5,1", "E7,name 7,E9,1", "E7,new 7,E5,100000001")
			editSource(t, dir, "p.csv", "3.7962", "5")
			editSource(t, dir, "transform/contoso_equipment.sql", " FROM machines", ", true AS contoso_underwarranty, 100000001 AS contoso_category, existing('team', 'b0000000-0000-4000-8000-000000000011') AS ownerid FROM machines")

			p := reopen(t, dir, Staging, url)
			if _, err := p.Stage(t.Context(), nil, func(string, float64) {}); err != nil {
				t.Fatal(err)
			}
			r, err := p.Load(t.Context(), t.Context(), LoadOptions{SnapshotEvery: -1})
			if err != nil || r.Summary.Error > 0 {
				t.Errorf("%v, %+v", err, r.Summary)
			}
			got := fmt.Sprint("held ", r.Summary.Held)
			rows := map[string]map[string]any{}
			for _, row := range plainRows(t, url, "contoso_equipments") {
				rows[fmt.Sprint(row["contoso_serial"])] = row
			}
			for _, key := range []string{"E0", "E1", "E2", "E3", "E4", "E6", "E7"} {
				row := rows[key]
				got += fmt.Sprintf("; %s %v, %s, %v", key, row["contoso_name"], serial[fmt.Sprint(row["_contoso_parentid_value"])], row["statuscode"])
			}
			if got != want {
				t.Errorf("got  %s\nwant %s", got, want)
			}
			if row := rows["E9"]; row["contoso_underwarranty"] != true || fmt.Sprint(row["contoso_category"]) != "100000001" || row["_ownerid_value"] != "b0000000-0000-4000-8000-000000000011" {
				t.Errorf("what the transform yields only now: %v", row)
			}
			if row := plainRows(t, url, "products")[0]; fmt.Sprint(row["price"]) != "5.0000" {
				t.Errorf("the price is %v", row["price"])
			}
		})
	}
}

// TestConflictsWhereNothingWas: what a user has written where the record was loaded with nothing is not written over,
// though an update of ours was the last to change the record. What the user left empty is set.
func TestConflictsWhereNothingWas(t *testing.T) {
	for policy, want := range map[string]string{ // name, phone, employees
		"skip":      "held 1; A0 once 0, 123, 7; A1 twice 1, 999, 50",
		"merge":     "held 0; A0 twice 0, 123, 7; A1 twice 1, 999, 50",
		"overwrite": "held 0; A0 twice 0, 999, 50; A1 twice 1, 999, 50",
	} {
		t.Run(policy, func(t *testing.T) {
			url := environment(t, 8, nil)
			dir := otherProject(t, url, nil, map[string]string{
				"migration.yaml":        "version: 1\nname: shared\ntarget: {url: " + url + ", auth: none}\nsources: {accounts: {path: a.csv, types: text}}\ntables: {account: {on_conflict: " + policy + "}}\n",
				"transform/account.sql": "SELECT key AS legacy_key, key AS accountnumber, name, phone AS telephone1, staff AS numberofemployees FROM accounts",
				"a.csv":                 "key,name,phone,staff\nA0,name 0,,\nA1,name 1,,\n"})
			stageAndLoad(t, dir, url)
			for _, row := range plainRows(t, url, "accounts") {
				if row["accountnumber"] == "A0" {
					sendAs(t, fmt.Sprintf("%s/api/data/v9.2/accounts(%s)", url, row["accountid"]), `{"telephone1":"123","numberofemployees":7}`)
				}
			}
			held := int64(0)
			for _, edits := range [][]string{{"A0,name 0,,", "A0,once 0,,", "A1,name 1,,", "A1,once 1,,"}, {"A0,once 0,,", "A0,twice 0,999,50", "A1,once 1,,", "A1,twice 1,999,50"}} {
				editSource(t, dir, "a.csv", edits...)
				p := reopen(t, dir, Staging, url)
				if _, err := p.Stage(t.Context(), nil, func(string, float64) {}); err != nil {
					t.Fatal(err)
				}
				r, err := p.Load(t.Context(), t.Context(), LoadOptions{SnapshotEvery: -1})
				if err != nil || r.Summary.Error > 0 {
					t.Fatalf("%v, %+v", err, r.Summary)
				}
				held = int64(r.Summary.Held)
				p.Close()
			}
			rows := map[string]map[string]any{}
			for _, row := range plainRows(t, url, "accounts") {
				rows[fmt.Sprint(row["accountnumber"])] = row
			}
			got := fmt.Sprint("held ", held)
			for _, key := range []string{"A0", "A1"} {
				got += fmt.Sprintf("; %s %v, %v, %v", key, rows[key]["name"], rows[key]["telephone1"], rows[key]["numberofemployees"])
			}
			if got != want {
				t.Errorf("got  %s\nwant %s", got, want)
			}
		})
	}
}

// TestConflictsOfOwnersAsOthers: of records that are made as other users nobody can tell who changed them last; an
// owner that the transform yields only now is set all the same where the record still has that user.
func TestConflictsOfOwnersAsOthers(t *testing.T) {
	url := environment(t, 8, nil)
	dir := otherProject(t, url, nil, map[string]string{
		"migration.yaml":        "version: 1\nname: shared\ntarget: {url: " + url + ", auth: none}\nsources: {accounts: {path: a.csv, types: text}}\ntables: {account: {on_conflict: skip, impersonate: createdby}}\n",
		"transform/account.sql": "SELECT key AS legacy_key, key AS accountnumber, name, existing('systemuser', '" + someUser + "') AS createdby FROM accounts",
		"a.csv":                 "key,name\nA0,name 0\n"})
	stageAndLoad(t, dir, url)
	if row := plainRows(t, url, "accounts")[0]; row["_ownerid_value"] != someUser {
		t.Fatalf("the owner is %v", row["_ownerid_value"])
	}
	editSource(t, dir, "transform/account.sql", " FROM accounts", ", existing('team', '"+someTeam+"') AS ownerid FROM accounts")
	p := reopen(t, dir, Staging, url)
	if _, err := p.Stage(t.Context(), nil, func(string, float64) {}); err != nil {
		t.Fatal(err)
	}
	r, err := p.Load(t.Context(), t.Context(), LoadOptions{SnapshotEvery: -1})
	if err != nil || r.Summary.Held+r.Summary.Error > 0 {
		t.Errorf("%v, %+v", err, r.Summary)
	}
	if row := plainRows(t, url, "accounts")[0]; row["_ownerid_value"] != someTeam {
		t.Errorf("the owner is %v", row["_ownerid_value"])
	}
}
