package load_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"dvmigrate/appliance/dataverse"
	"dvmigrate/appliance/dataverse/emulator"
	"dvmigrate/appliance/load"
	"dvmigrate/ledger"
)

// story runs a test in a bubble where waiting takes no time.
func story(t *testing.T, name string, fn func(t *testing.T)) {
	t.Helper()
	t.Run(name, func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, fn)
	})
}

func faults(rules ...emulator.Fault) setting {
	return func(_ *world, o *emulator.Options) { o.Faults = append(o.Faults, rules...) }
}

func changed(change map[string]any) setting {
	return func(w *world, _ *emulator.Options) {
		for k, v := range change {
			w.change[k] = v
		}
	}
}

func settings(s load.Settings) setting {
	return func(w *world, _ *emulator.Options) { w.options.Settings = func(string) load.Settings { return s } }
}

func TestLoadsEveryRowOnce(t *testing.T) {
	for _, c := range []struct {
		name string
		rows int
		s    load.Settings
	}{
		{"in bulk", 800, load.Settings{Batch: 100}},
		{"by $batch", 200, load.Settings{Batch: 30, Message: load.Batch}},
		{"one record a request", 40, load.Settings{Batch: 30, Message: load.Single}},
		{"one request at a time", 60, load.Settings{Batch: 7, Parallel: 1}},
	} {
		story(t, c.name, func(t *testing.T) {
			w := newWorld(t, c.rows, settings(c.s))
			w.mustRun()
			w.wantLoaded()
			s := w.server.Stats()
			if s.Duplicates != 0 || s.Created != int64(w.total()) {
				t.Errorf("%d records created and %d duplicates refused, want %d and none", s.Created, s.Duplicates, w.total())
			}
			if c.s.Message == load.Single && s.Requests["ExecuteBatch"] > 0 {
				t.Errorf("%d requests were $batch", s.Requests["ExecuteBatch"])
			}
			w.mustRun()
			for m, n := range w.server.Stats().Requests {
				if n != s.Requests[m] {
					t.Errorf("a second load sent %d more %s", n-s.Requests[m], m)
				}
			}
		})
	}
}

func TestOneBadRowCostsOnlyItself(t *testing.T) {
	const n = 200
	long := strings.Repeat("x", 161)
	nowhere := [16]byte{15: 9}
	plugin := emulator.Fault{Kind: emulator.FaultPlugin, Table: "contact", Column: "lastname", Value: regexp.MustCompile("^Bad")}
	oneByOne := settings(load.Settings{Batch: 100, Parallel: 1}) // of two rows with one key the first to arrive has it
	type bad struct {
		table string
		seq   int
		class load.Class
	}
	for _, c := range []struct {
		name string
		set  []setting
		want []bad
	}{
		{"a text that is too long", []setting{changed(map[string]any{"account.name.166": long})}, []bad{{"account", 166, load.ClassValue}}},
		{"a number out of range", []setting{changed(map[string]any{"account.numberofemployees.101": -1})}, []bad{{"account", 101, load.ClassValue}}},
		{"an alternate key that is taken", []setting{oneByOne, changed(map[string]any{"account.accountnumber.150": "N-00007"})}, []bad{{"account", 150, load.ClassDuplicate}}},
		{"refused by a plug-in", []setting{changed(map[string]any{"contact.lastname.193": "Bad"}), faults(plugin)}, []bad{{"contact", 193, load.ClassPlugin}}},
		{"a lookup to a record that is not there", []setting{changed(map[string]any{"contact.parentcustomerid.194": nowhere})}, []bad{{"contact", 194, load.ClassLookup}}},
		{"in a table without bulk requests", []setting{changed(map[string]any{"product.name.9": long})}, []bad{{"product", 9, load.ClassValue}}},
		{"a deferred lookup that leads nowhere", []setting{changed(map[string]any{"account.primarycontactid.77": nowhere})}, []bad{{"account", 77, load.ClassLookup}}},
		{"a status that does not go with the state", []setting{changed(map[string]any{"account.statuscode.183": 1})}, []bad{{"account", 183, load.ClassState}}},
		{"a link to a record that is not there", []setting{changed(map[string]any{"contactleads.leadid.5": nowhere})}, []bad{{"contactleads", 5, load.ClassLookup}}},
		{"several of them", []setting{oneByOne, changed(map[string]any{"account.name.199": long, "account.name.110": long, "account.accountnumber.151": "N-00007", "contact.lastname.193": "Bad"}), faults(plugin)},
			[]bad{{"account", 110, load.ClassValue}, {"account", 151, load.ClassDuplicate}, {"account", 199, load.ClassValue}, {"contact", 193, load.ClassPlugin}}},
	} {
		story(t, c.name, func(t *testing.T) {
			w := newWorld(t, n, append([]setting{settings(load.Settings{Batch: 100})}, c.set...)...)
			w.mustRun()
			w.wantLoaded()
			var got []bad
			for _, table := range tableNames {
				for seq := range w.stage.tables[table].count {
					if f, failed := w.reasons(table)[seq]; failed {
						got = append(got, bad{table, seq, load.Class(f.Entry.Class)})
					}
				}
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("failed are %v, want %v", got, c.want)
			}
			if r := w.server.Stats().Records; r["CreateMultiple"] > 4*n*4 {
				t.Errorf("the search carried %d records", r["CreateMultiple"])
			}
		})
	}
}

// TestManyBadRows: where a good part of the rows is bad, halving would cost a request
// or two a row.
func TestManyBadRows(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 800, settings(load.Settings{Batch: 400}))
		for seq := 400; seq < 800; seq += 4 {
			w.change["account.name."+itoa(seq)] = strings.Repeat("x", 161)
		}
		w.mustRun()
		w.wantLoaded()
		w.wantFlags("account", map[string]int{"P": 700, "E": 100})
		if s := w.server.Stats(); s.Requests["CreateMultiple"] > 60 {
			t.Errorf("%d bulk requests for 2000 records with 100 bad ones", s.Requests["CreateMultiple"])
		}
	})
	synctest.Test(t, func(t *testing.T) { // in every request, so that only the first is searched by halves
		w := newWorld(t, 500, settings(load.Settings{Batch: 25, Parallel: 1}))
		for seq := 5; seq < 500; seq += 10 {
			w.change["product.name."+itoa(seq)] = strings.Repeat("x", 161)
			w.change["contact.lastname."+itoa(seq)] = strings.Repeat("x", 161)
		}
		w.mustRun()
		w.wantLoaded()
		if s := w.server.Stats(); s.Statuses["400"] > 20+30 {
			t.Errorf("%d requests were refused, of twenty with bad rows", s.Statuses["400"])
		}
	})
}

func TestDependantsAreHeldAndFollow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 60, changed(map[string]any{"account.name.4": strings.Repeat("x", 161)}))
		w.mustRun()
		w.wantLoaded()
		// Account 4 is the parent of accounts 9 and 10, by the second pass, and of contacts 8 and 9 and leads 9 and 10.
		held := w.reasons("contact")[8]
		if held.Flag != ledger.Held || load.Class(held.Entry.Class) != load.ClassParent || !strings.Contains(held.Text, "parentcustomerid") || !strings.Contains(held.Text, "'K4'") {
			t.Errorf("contact 8 is %v, want it held back for its parent: %q", held.Entry, held.Text)
		}
		w.wantFlags("contact", map[string]int{"P": 58, "H": 2})
		for _, seq := range []int{9, 10} {
			if e := w.entry("account", seq); e.Flag != ledger.Held || e.Pass != ledger.Lookups {
				t.Errorf("account %d is %v, want it held back before its second pass", seq, e)
			}
			if e := w.entry("lead", seq); e.Flag != ledger.Held {
				t.Errorf("lead %d is %v, want it held back", seq, e)
			}
		}
		sent := w.server.Stats().Records["Create"]
		w.mustRun() // nothing is mended: they stay held
		if again := w.server.Stats().Records["Create"]; again != sent {
			t.Errorf("%d records were sent although their parent still fails", again-sent)
		}
		delete(w.change, "account.name.4")
		if _, err := w.ledger.Retry(context.Background(), "account", ledger.Filter{Flags: []ledger.Flag{ledger.Failed}}); err != nil {
			t.Fatal(err)
		}
		w.mustRun()
		w.wantLoaded()
		for _, table := range tableNames {
			if f := w.reasons(table); table != "contactleads" && len(f) > 0 {
				t.Errorf("%s has failures left: %v", table, f)
			}
		}
	})
}

func TestBulkRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 300, func(w *world, o *emulator.Options) {
			s, err := readSchema()
			if err != nil {
				t.Fatal(err)
			}
			s.Table("account").Bulk = nil
			o.Schema = s
		}, settings(load.Settings{Batch: 250}))
		w.mustRun()
		w.wantLoaded()
		if !w.notes.has("account: does not take bulk requests") {
			t.Errorf("nobody was told: %q", w.notes.texts)
		}
		if n := w.server.Stats().Requests["CreateMultiple"]; n > 10 {
			t.Errorf("%d bulk requests", n)
		}
	})
}

func TestTooBigShrinks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 300, func(_ *world, o *emulator.Options) { o.MaxBody = 6000 }, settings(load.Settings{Batch: 250}))
		w.mustRun()
		w.wantLoaded()
		if n := w.server.Stats().Statuses["413"]; n == 0 || n > 60 { // closings are not sent fewer than 16 at once
			t.Errorf("%d requests were too big", n)
		}
	})
}

// TestRowThatFailsOnlyInBulk: a bulk request that is refused for ever for a cause that
// should pass is narrowed like one that is refused for a row.
func TestRowThatFailsOnlyInBulk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 200, changed(map[string]any{"contact.lastname.203": "Bad", "contact.lastname.150": "Bad"}), func(w *world, _ *emulator.Options) {
			w.wrap = func(h http.Handler) http.Handler {
				return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
					body, _ := io.ReadAll(r.Body)
					r.Body = io.NopCloser(bytes.NewReader(body))
					if strings.HasSuffix(r.URL.Path, "CreateMultiple") && bytes.Contains(body, []byte(`"Bad"`)) {
						rw.Header().Set("Content-Type", "application/json")
						rw.WriteHeader(http.StatusInternalServerError)
						io.WriteString(rw, `{"error":{"code":"0x80040216","message":"An unexpected error occurred."}}`)
						return
					}
					h.ServeHTTP(rw, r)
				})
			}
		}, faults(emulator.Fault{Kind: emulator.FaultPlugin, Table: "contact", Message: "Create", Column: "lastname", Value: regexp.MustCompile("^Bad")}))
		w.mustRun()
		w.wantLoaded()
		w.wantFlags("contact", map[string]int{"P": 199, "E": 1})
	})
}

func TestNeverTaken(t *testing.T) {
	deadlock := emulator.Fault{Kind: emulator.FaultDeadlock, Table: "product", Message: "Create"}
	story(t, "a few rows are given up and the rest goes on", func(t *testing.T) {
		w := newWorld(t, 20, faults(deadlock))
		w.mustRun()
		w.wantLoaded()
		w.wantFlags("product", map[string]int{"E": 5})
		if f := w.reasons("product")[0]; load.Class(f.Entry.Class) != load.ClassPassing {
			t.Errorf("class %v, want passing", load.Class(f.Entry.Class))
		}
	})
	story(t, "a later pass is tried as often as the insert", func(t *testing.T) {
		var refusals []emulator.Fault
		for _, message := range []string{"Update", "UpdateMultiple"} {
			for _, table := range []string{"account", "lead"} {
				refusals = append(refusals, emulator.Fault{Kind: emulator.FaultDeadlock, Table: table, Message: message})
			}
		}
		w := newWorld(t, 20, faults(refusals...))
		w.mustRun()
		for table, pass := range map[string]ledger.Pass{"account": ledger.Lookups, "lead": ledger.State} {
			var seen bool
			for _, f := range w.reasons(table) {
				if e := f.Entry; e.Pass == pass {
					seen = true
					if e.Attempts != 1+5 {
						t.Errorf("%s %d was given up in pass %v after %d claims in all, want 1 of its insert and 5", table, f.Seq, e.Pass, e.Attempts)
					}
				}
			}
			if !seen {
				t.Errorf("no %s failed in pass %v", table, pass)
			}
		}
	})
	story(t, "a whole table stops the load", func(t *testing.T) {
		w := newWorld(t, 200, faults(deadlock), settings(load.Settings{Batch: 4, Parallel: 1}))
		err := w.run()
		if !errors.Is(err, load.ErrLeftOver) || dataverse.KindOf(err) != dataverse.RolledBack {
			t.Fatalf("load: %v, want it stopped for the deadlocks", err)
		}
		w.wantFlags("product", map[string]int{"U": 50})
		w.server.ClearFaults()
		w.mustRun()
		w.wantLoaded()
	})
}

func TestMaxErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 200, settings(load.Settings{Batch: 10}))
		for seq := 100; seq < 140; seq++ {
			w.change["account.name."+itoa(seq)] = strings.Repeat("x", 161)
		}
		w.options.MaxErrors = 12
		if err := w.run(); !errors.Is(err, load.ErrTooManyErrors) {
			t.Fatalf("load: %v, want too many errors", err)
		}
		if n := w.inFlight(); n > 0 {
			t.Errorf("%d records are left in flight", n)
		}
		if n := w.flags("account")["E"]; n < 13 || n > 12+4*10 {
			t.Errorf("%d failed", n)
		}
	})
}

// TestFirstBulkRequestIsAlone: dataverse-web-api.md 6.2.
func TestFirstBulkRequestIsAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var firsts, under, most atomic.Int32
		w := newWorld(t, 400, func(w *world, _ *emulator.Options) {
			w.wrap = func(h http.Handler) http.Handler {
				return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
					if !strings.HasSuffix(r.URL.Path, "accounts/Microsoft.Dynamics.CRM.CreateMultiple") {
						h.ServeHTTP(rw, r)
						return
					}
					n := under.Add(1)
					first := firsts.Add(1) == 1
					time.Sleep(time.Second)
					if first && under.Load() != 1 {
						t.Errorf("%d requests at once while the first was under way", under.Load())
					}
					most.Store(max(n, most.Load()))
					h.ServeHTTP(rw, r)
					under.Add(-1)
				})
			}
		})
		w.mustRun()
		if most.Load() < 3 {
			t.Errorf("at most %d requests at once after that", most.Load())
		}
	})
}

func TestStageWithoutARow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 20)
		w.stage.tables["product"].count = 0
		if err := w.run(); err == nil || !strings.Contains(err.Error(), "the stage does not hold") {
			t.Errorf("load: %v, want it to tell that rows are missing", err)
		}
	})
}

// TestNamedRowIsFoundAtOnce: where the message names the record that is missing, the
// search costs no halving.
func TestNamedRowIsFoundAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 400, settings(load.Settings{Batch: 400}), changed(map[string]any{"lead.parentaccountid.111": [16]byte{15: 9}}))
		w.mustRun()
		w.wantLoaded()
		w.wantFlags("lead", map[string]int{"P": 199, "E": 1})
		if s := w.server.Stats(); s.Requests["CreateMultiple"] != 4+1 {
			t.Errorf("%d bulk requests for four tables and one bad row", s.Requests["CreateMultiple"])
		}
	})
}

// TestRequestsGrowAgain: one slow moment does not make the rest of a load slow.
func TestRequestsGrowAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var requests atomic.Int32
		w := newWorld(t, 600, settings(load.Settings{Batch: 20, Parallel: 1}), faults(emulator.Fault{Kind: emulator.FaultSQLTimeout, Table: "account", Message: "CreateMultiple", Nth: 2}),
			func(w *world, _ *emulator.Options) {
				w.wrap = func(h http.Handler) http.Handler {
					return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
						if strings.HasSuffix(r.URL.Path, "accounts/Microsoft.Dynamics.CRM.CreateMultiple") {
							requests.Add(1)
						}
						h.ServeHTTP(rw, r)
					})
				}
			})
		w.mustRun()
		if n := requests.Load(); n < 31 || n > 52 {
			t.Errorf("%d requests of at most 20 records for 600, one of them too slow", n)
		}
	})
}
