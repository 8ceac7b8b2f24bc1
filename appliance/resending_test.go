package appliance

import (
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestRetryReconciled: what others have deleted or changed in the target is as it was loaded again, links and
// states too, when a comparison's mismatches are retried; and so is a table that was emptied.
func TestRetryReconciled(t *testing.T) {
	url := environment(t, 16, nil)
	dir := goneProject(t, url, "account: {on_conflict: overwrite}")
	stageAndLoad(t, dir, url)
	api := url + "/api/data/v9.2/"
	idsOf := func(set, name, id string) map[string]string {
		ids := map[string]string{}
		for _, row := range plainRows(t, url, set) {
			ids[row[name].(string)] = row[id].(string)
		}
		return ids
	}
	p := reopen(t, dir, Staging, url)
	defer func() { p.Close() }()
	if err := os.Remove(filepath.Join(dir, "work", reconciledFile)); err != nil {
		t.Fatal(err)
	}
	if _, err := p.RetryReconciled(t.Context(), nil); err == nil || !strings.Contains(err.Error(), "nothing was compared") {
		t.Errorf("before a comparison: %v", err)
	}
	compare := func() {
		t.Helper()
		if _, err := p.Reconcile(t.Context(), ReconcileOptions{Values: true, Limit: 5}, func(string, float64) {}); err != nil {
			t.Fatal(err)
		}
	}
	retry := func(want ...ResentTable) {
		t.Helper()
		compare()
		texts, err := filepath.Glob(filepath.Join(dir, "work", reconciledFolder, "*.ndjson"))
		for _, path := range texts { // of which only some are kept
			err = errors.Join(err, os.Remove(path))
		}
		if err != nil || len(texts) != 4 {
			t.Fatalf("%v, texts are kept in %v", err, texts)
		}
		r, err := p.RetryReconciled(t.Context(), nil)
		if err != nil || len(r.Tables) != len(want) {
			t.Fatalf("%v, %+v, want %+v", err, r.Tables, want)
		}
		for i, table := range r.Tables {
			if table != want[i] {
				t.Errorf("%+v, want %+v", table, want[i])
			}
		}
		if _, err := p.RetryReconciled(t.Context(), nil); r.Records > 0 && (err == nil || !strings.Contains(err.Error(), "since the last comparison")) {
			t.Errorf("twice: %v", err)
		}
		requireAllLoaded(t, p)
		compare()
		if last, err := p.Reconciled(); err != nil || last.Mismatches > 0 {
			t.Errorf("%v, afterwards %+v", err, last.Result.Tables)
		}
	}

	accounts := idsOf("accounts", "accountnumber", "accountid")
	sendRaw(t, http.MethodDelete, api+"accounts("+accounts["A3"]+")", "") // and its contact C3 with it
	sendRaw(t, http.MethodDelete, api+"leads("+idsOf("leads", "subject", "leadid")["L2"]+")", "")
	sendRaw(t, http.MethodPatch, api+"accounts("+accounts["A4"]+")", `{"name":"another","statecode":1,"statuscode":2}`)
	retry(ResentTable{Name: "account", Inserts: 1, Updates: 1}, ResentTable{Name: "contact", Inserts: 1}, ResentTable{Name: "contactleads", Inserts: 2}, ResentTable{Name: "lead", Inserts: 1})

	// What a delta has changed before counts for nothing: all columns and passes are due.
	p.Close()
	editSource(t, dir, "a.csv", "account 5,1", "account five,1")
	stageAndLoad(t, dir, url)
	p = reopen(t, dir, Staging, url)
	for _, id := range idsOf("accounts", "accountnumber", "accountid") {
		sendRaw(t, http.MethodDelete, api+"accounts("+id+")", "")
	}
	retry(ResentTable{Name: "account", Inserts: 8}, ResentTable{Name: "contact", Inserts: 8}, ResentTable{Name: "contactleads", Inserts: 8})

	for _, id := range idsOf("leads", "subject", "leadid") {
		sendRaw(t, http.MethodDelete, api+"leads("+id+")", "")
	}
	retry(ResentTable{Name: "contactleads", Inserts: 8}, ResentTable{Name: "lead", Inserts: 8})
	retry()
}
