package emulator

import (
	"context"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// together runs requests at the handler at the same time and returns their answers.
func together(srv *Server, requests ...[3]string) []answer {
	answers := make([]answer, len(requests))
	var all sync.WaitGroup
	for i, r := range requests {
		all.Go(func() { answers[i] = direct(srv, r[0], r[1], r[2]) })
		synctest.Wait() // in the order given
	}
	all.Wait()
	return answers
}

func sqlNumbers(answers []answer) (numbers []string) {
	for _, a := range answers {
		_, number, _ := strings.Cut(a.body, "Sql Number: ")
		number, _, _ = strings.Cut(number, `"`)
		numbers = append(numbers, number)
	}
	return numbers
}

// TestWarmUp: while the first bulk request of an action on a table builds its
// procedures, others fail; afterwards, and for another action, none does (6.2, trap 40).
func TestWarmUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := limited(t, Options{WarmUp: time.Second})
		one := [3]string{"POST", "accounts/Microsoft.Dynamics.CRM.CreateMultiple", targets(`"name":"x"`)}
		numbers := sqlNumbers(together(srv, one, one, one, one))
		slices.Sort(numbers)
		if want := []string{"", "2766", "2812", "3732"}; !slices.Equal(numbers, want) {
			t.Errorf("the first four were answered %v, want %v", numbers, want)
		}
		if n := srv.Stats().Rows["account"]; n != 1 {
			t.Errorf("%d rows, want that of the first", n)
		}
		begin := time.Now()
		if n := sqlNumbers(together(srv, one, one, one)); strings.Join(n, "") != "" || time.Since(begin) != 0 {
			t.Errorf("when warm: %v after %v", n, time.Since(begin))
		}
		if a := direct(srv, "POST", "accounts/Microsoft.Dynamics.CRM.UpsertMultiple", targets(`"name":"x"`)); a.status != 204 || time.Since(begin) != time.Second {
			t.Errorf("another action was not first: %d after %v", a.status, time.Since(begin))
		}
	})
}

// TestDeadlocks: of two requests that write a row at the same time the later is the
// victim, where that is asked for; so is one that binds the same parent.
func TestDeadlocks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, on := range []bool{false, true} {
			o := Options{Deadlocks: on, Cost: Cost{PerRequest: time.Second}}
			if on {
				o.DeadlockParents = []string{"contact.parentcustomerid"}
			}
			srv := limited(t, o)
			direct(srv, "POST", "accounts", `{"accountid":"`+acc1+`"}`)
			direct(srv, "POST", "accounts", `{"accountid":"`+acc2+`"}`)
			update := func(id string) [3]string { return [3]string{"PATCH", "accounts(" + id + ")", `{"name":"x"}`} }
			child := func(id string) [3]string {
				return [3]string{"POST", "contacts", `{"parentcustomerid_account@odata.bind":"accounts(` + id + `)"}`}
			}
			bulk := [3]string{"POST", "accounts/Microsoft.Dynamics.CRM.UpdateMultiple", targets(`"accountid":"`+acc2+`"`, `"accountid":"`+acc1+`"`)}
			set := batch(changeSet(part("PATCH accounts("+acc1+")", `{"name":"x"}`, contentID(1))))
			for _, c := range []struct {
				name     string
				requests [][3]string
				want     []string
			}{
				{"the same row", [][3]string{update(acc1), update(acc1)}, []string{"", "1205"}},
				{"different rows", [][3]string{update(acc1), update(acc2)}, []string{"", ""}},
				{"a row among others", [][3]string{update(acc1), bulk}, []string{"", "1205"}},
				{"children of one parent", [][3]string{child(acc1), child(acc1)}, []string{"", "1205"}},
				{"children of two parents", [][3]string{child(acc1), child(acc2)}, []string{"", ""}},
				{"one after the other", [][3]string{update(acc1)}, []string{""}},
			} {
				want := c.want
				if !on {
					want = make([]string, len(want))
				}
				if got := sqlNumbers(together(srv, c.requests...)); !slices.Equal(got, want) {
					t.Errorf("deadlocks %v: %s: %v, want %v", on, c.name, got, want)
				}
			}
			var all sync.WaitGroup
			all.Go(func() { batchAt(srv, set) })
			synctest.Wait()
			if got := sqlNumbers([]answer{direct(srv, "DELETE", "accounts("+acc1+")", "")}); (got[0] == "1205") != on {
				t.Errorf("deadlocks %v: a change set in the way: %v", on, got)
			}
			all.Wait()
		}
	})
	if _, err := New(Options{Schema: world(t), DeadlockParents: []string{"contact.name"}}); err == nil || !strings.Contains(err.Error(), "table.column") {
		t.Errorf("a parent that is none was taken: %v", err)
	}
}

func batchAt(srv *Server, body string) answer {
	r := httptest.NewRequest("POST", "/api/data/v9.2/$batch", strings.NewReader(body))
	r.Header.Set("Authorization", "Bearer t")
	r.Header.Set("Content-Type", batchType)
	w := httptest.NewRecorder()
	srv.ServeHTTP(w, r)
	return answer{w.Code, w.Header(), w.Body.String()}
}

// TestUpsertMultipleOfOneRowTwice: both are creates, so that the whole fails; of one
// that exists both are updates (6.1).
func TestUpsertMultipleOfOneRowTwice(t *testing.T) {
	e := seeded(t)
	const upsert = "accounts/Microsoft.Dynamics.CRM.UpsertMultiple"
	before := e.srv.Stats().Rows["account"]
	e.want(412, "0x80040237", "POST", upsert, targets(`"accountid":"`+gid(1, 9)+`"`, `"accountid":"`+gid(1, 9)+`"`))
	e.want(412, "0x80060892", "POST", upsert, targets(`"@odata.id":"accounts(accountnumber='N')"`, `"@odata.id":"accounts(accountnumber='n ')"`))
	e.want(204, "", "POST", upsert, targets(`"accountid":"`+acc1+`","name":"a"`, `"accountid":"`+acc1+`","name":"b"`))
	e.has(e.do("GET", "accounts("+acc1+")?$select=name", ""), `"name":"b"`)
	if n := e.srv.Stats().Rows["account"]; n != before {
		t.Errorf("%d accounts, want %d", n, before)
	}
}

// TestNestedRowsCost: rows in rows are counted and cost as much (section 16).
func TestNestedRowsCost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := limited(t, Options{Cost: Cost{PerRecord: time.Second}})
		begin := time.Now()
		a := direct(srv, "POST", "accounts/Microsoft.Dynamics.CRM.CreateMultiple",
			targets(`"contact_customer_accounts":[{"lastname":"a"},{"lastname":"b"}]`, `"primarycontactid":{"lastname":"c"}`))
		if took := time.Since(begin); a.status != 200 || took != 5*time.Second {
			t.Errorf("five rows took %v: %d %s", took, a.status, a.body)
		}
	})
}

// TestStaysBusyWhenClientLeaves: a client that gives up does not free the place that
// its request has on the server.
func TestStaysBusyWhenClientLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := limited(t, Options{Limits: Limits{Concurrency: 1, Execution: time.Hour}, Cost: Cost{PerRequest: 10 * time.Second}})
		ctx := t.Context()
		r := httptest.NewRequest("GET", "/api/data/v9.2/WhoAmI", nil)
		r.Header.Set("Authorization", "Bearer t")
		leaving, leave := context.WithCancel(ctx)
		go func() {
			time.Sleep(time.Second)
			leave()
		}()
		srv.ServeHTTP(httptest.NewRecorder(), r.WithContext(leaving))
		if a := direct(srv, "GET", "WhoAmI", ""); a.status != http.StatusTooManyRequests {
			t.Errorf("answered %d while the first still runs", a.status)
		}
		time.Sleep(10 * time.Second)
		a := direct(srv, "GET", "WhoAmI", "")
		if left := a.header["x-ms-ratelimit-time-remaining-xrm-requests"]; a.status != 200 || len(left) != 1 || left[0] != "3,590.00" {
			t.Errorf("answered %d with %v left", a.status, left)
		}
	})
}
