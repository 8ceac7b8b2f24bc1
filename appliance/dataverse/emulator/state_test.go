package emulator

import (
	"fmt"
	"io"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	"dvmigrate/appliance/dataverse/schema"
)

// reopened closes nothing: it opens a copy of the state file, as after a kill.
func reopened(t *testing.T, path string) (*env, error) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return opened(t, data)
}

func opened(t *testing.T, data []byte) (*env, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "copy")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	srv, err := New(Options{Schema: world(t), StatePath: path})
	if err != nil {
		return nil, err
	}
	web := httptest.NewServer(srv)
	t.Cleanup(func() { web.Close(); srv.Close() })
	return &env{t, srv, web.URL + "/api/data/v9.2"}, nil
}

// dump is all that a server holds.
func (e *env) dump() string {
	var b strings.Builder
	for _, t := range e.srv.model.tables {
		fmt.Fprintf(&b, "== %s\n", t.LogicalName)
		e.srv.Export(&b, t.LogicalName)
	}
	for i, l := range e.srv.store.links {
		fmt.Fprintf(&b, "links %d: %d %d\n", i, l[0].n, l[1].n)
	}
	return b.String()
}

func TestStateSurvivesAKill(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state")
	e := seeded(t, func(o *Options) { o.StatePath = path })
	e.want(204, "", "POST", "accounts("+acc1+")/contoso_account_contact/$ref", `{"@odata.id":"contacts(`+con2+`)"}`)
	e.want(204, "", "POST", "accounts("+acc2+")/contoso_account_contact/$ref", `{"@odata.id":"contacts(`+con2+`)"}`)
	e.want(204, "", "DELETE", "accounts("+acc2+")/contoso_account_contact("+con2+")/$ref", "")
	e.want(204, "", "PATCH", "accounts("+acc1+")", `{"name":"`+strings.Repeat("longer ", 20)+`"}`)
	e.want(204, "", "POST", "contoso_orders", `{}`)
	e.want(204, "", "DELETE", "tasks("+tsk1+")", "")
	e.want(412, "0x80060892", "POST", "accounts", `{"accountnumber":"A-1"}`) // undone: must not be in the file
	again, err := reopened(t, path)
	if err != nil {
		t.Fatal(err)
	}
	if a, b := e.dump(), again.dump(); a != b {
		t.Errorf("the reopened state differs:\n%s\nwas\n%s", b, a)
	}
	again.want(412, "0x80060892", "POST", "accounts", `{"accountnumber":"A-1"}`) // keys are indexed again
	a := again.do("POST", "contoso_orders?$select=contoso_name", `{}`, "Prefer", "return=representation")
	again.has(a, `"contoso_name":"SO-01002`)
	if got, want := again.srv.store.version, e.srv.store.version; got < want {
		t.Errorf("versions start again at %d, were at %d", got, want)
	}
}

// A kill can tear the last record at any byte: what was answered before is there.
func TestStateTornAnywhere(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state")
	e := seeded(t, func(o *Options) { o.StatePath = path })
	before, _ := os.ReadFile(path)
	want := e.dump()
	e.want(204, "", "POST", "accounts", `{"name":"last"}`)
	after, _ := os.ReadFile(path)
	for n := len(before); n < len(after); n += 3 {
		again, err := opened(t, after[:n])
		if err != nil {
			t.Fatalf("cut at %d of %d: %v", n, len(after), err)
		}
		if got := again.dump(); got != want {
			t.Fatalf("cut at %d of %d: the state differs:\n%s", n, len(after), got)
		}
	}
	flipped := append([]byte{}, after...)
	flipped[len(before)-1] ^= 1
	if _, err := opened(t, flipped); err == nil || !strings.Contains(err.Error(), "checksum") {
		t.Errorf("a byte that changed in the middle was not noticed: %v", err)
	}
}

// TestStateInUse: a second emulator does not get the file, and what a rewrite that was
// killed left is gone.
func TestStateInUse(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("the file is not locked there")
	}
	path := filepath.Join(t.TempDir(), "state")
	left := path + rewriting + "123"
	if err := os.WriteFile(left, []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	e := seeded(t, func(o *Options) { o.StatePath = path })
	if _, err := os.Stat(left); !os.IsNotExist(err) {
		t.Errorf("it is still there: %v", err)
	}
	if _, err := New(Options{Schema: world(t), StatePath: path}); err == nil || !strings.Contains(err.Error(), "another emulator has it open") {
		t.Errorf("opened twice: %v", err)
	}
	if err := e.srv.store.rewriteState(path); err != nil {
		t.Fatal(err)
	}
	if _, err := New(Options{Schema: world(t), StatePath: path}); err == nil || !strings.Contains(err.Error(), "another emulator has it open") {
		t.Errorf("opened twice after a rewrite: %v", err)
	}
}

func TestStateOfAnotherSchema(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state")
	seeded(t, func(o *Options) { o.StatePath = path }).srv.Close()
	other, _ := schema.New(worldTables()[:3], nil)
	if _, err := New(Options{Schema: other, StatePath: path}); err == nil || !strings.Contains(err.Error(), "another schema") {
		t.Errorf("opened with another schema: %v", err)
	}
}

func TestSeed(t *testing.T) {
	e := start(t, func(o *Options) {
		o.Seed = map[string]io.Reader{}
	}, func(o *Options) {
		o.Seed["systemuser"] = strings.NewReader(`{"systemuserid":"` + gid(8, 1) + `","firstname":"Ann"}` + "\n\n" + `{"systemuserid":"` + UserID.String() + `","firstname":"Changed"}`)
		o.Seed["account"] = strings.NewReader(`{"accountid":"` + acc1 + `","parentaccountid@odata.bind":"accounts(` + acc2 + `)"}` + "\n" + `{"accountid":"` + acc2 + `"}`)
	})
	e.has(e.do("GET", "systemusers("+UserID.String()+")?$select=firstname", ""), `"Changed"`)
	e.want(204, "", "POST", "accounts", `{"ownerid@odata.bind":"systemusers(`+gid(8, 1)+`)"}`)
	e.has(e.do("GET", "accounts("+acc1+")?$select=_parentaccountid_value", ""), acc2)
	if _, err := New(Options{Schema: world(t), Seed: map[string]io.Reader{"account": strings.NewReader(`{"nosuch":1}`)}}); err == nil || !strings.Contains(err.Error(), "seed table account: line 1") {
		t.Errorf("a wrong seed: %v", err)
	}
}

func TestDiscard(t *testing.T) {
	e := start(t, func(o *Options) { o.Discard = true })
	e.want(200, "", "POST", "accounts/Microsoft.Dynamics.CRM.CreateMultiple", string(bulkBody(0, 50)))
	e.want(400, "0x80044331", "POST", "accounts", `{"accountnumber":"`+strings.Repeat("x", 30)+`"}`)
	e.want(204, "", "POST", "accounts", `{"primarycontactid@odata.bind":"contacts(`+gid(9, 9)+`)"}`)
	e.want(412, "0x80040237", "POST", "accounts", `{"accountid":"`+gid(6, 3)+`"}`)
	e.want(204, "", "PATCH", "accounts("+gid(6, 3)+")", `{"name":"x"}`)
	e.has(e.do("GET", "systemusers("+UserID.String()+")?$select=lastname", ""), `"loader"`)
	if n := e.srv.Stats().Rows["account"]; n != 51 {
		t.Errorf("%d accounts counted, want 51", n)
	}
}

// Many writers at once: every row is there once, and readers see whole requests.
func TestConcurrentWriters(t *testing.T) {
	e := start(t)
	var done sync.WaitGroup
	for w := range 8 {
		done.Go(func() {
			for i := range 10 {
				e.want(200, "", "POST", "accounts/Microsoft.Dynamics.CRM.CreateMultiple", string(bulkBody(w*1000+i*20, 20)))
				e.want(204, "", "PATCH", "accounts("+gid(6, w*1000+i*20)+")", `{"name":"changed"}`)
				e.want(204, "", "PATCH", "accounts(accountnumber='shared')", fmt.Sprintf(`{"name":"%d"}`, w))
				if n := e.srv.Stats().Rows["account"]; n > 1 && n%20 > 1 {
					t.Errorf("half a request is to be seen: %d rows", n)
				}
			}
		})
	}
	done.Wait()
	if n := e.srv.Stats().Rows["account"]; n != 1601 {
		t.Errorf("%d accounts, want 1601", n)
	}
}

// A kill while the first rows are being written: the file is begun again.
func TestStateTornWhileSeeding(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state")
	srv, err := New(Options{Schema: world(t), StatePath: path})
	if err != nil {
		t.Fatal(err)
	}
	want := (&env{srv: srv}).dump()
	data, _ := os.ReadFile(path)
	for n := 0; n < len(data); n += 1 + len(data)/50 {
		again, err := opened(t, data[:n])
		if err != nil {
			t.Fatalf("cut at %d of %d: %v", n, len(data), err)
		}
		if got := again.dump(); strings.Count(got, "\n") != strings.Count(want, "\n") {
			t.Fatalf("cut at %d of %d: rows are missing or twice:\n%s", n, len(data), got)
		}
	}
}

func TestStateRewritten(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state")
	e := seeded(t, func(o *Options) { o.StatePath = path })
	e.want(204, "", "POST", "accounts("+acc1+")/contoso_account_contact/$ref", `{"@odata.id":"contacts(`+con2+`)"}`)
	e.want(204, "", "POST", "contoso_orders", `{}`)
	e.want(204, "", "DELETE", "accounts("+acc2+")", "")
	for range 50 {
		e.want(204, "", "PATCH", "accounts("+acc1+")", `{"name":"again"}`)
	}
	before, _ := os.Stat(path)
	if err := e.srv.store.rewriteState(path); err != nil {
		t.Fatal(err)
	}
	after, _ := os.Stat(path)
	if after.Size() >= before.Size() {
		t.Errorf("%d bytes became %d", before.Size(), after.Size())
	}
	e.want(204, "", "PATCH", "accounts("+acc1+")", `{"name":"goes on"}`)
	again, err := reopened(t, path)
	if err != nil {
		t.Fatal(err)
	}
	if a, b := e.dump(), again.dump(); a != b {
		t.Errorf("the reopened state differs:\n%s\nwas\n%s", b, a)
	}
	s, r := e.srv.store, again.srv.store
	if len(r.tables[0].deleted) != 1 || r.version != s.version || len(r.numbers) != 1 {
		t.Errorf("tombstones, version or numbers are lost: %v %d %v", r.tables[0].deleted, r.version, r.numbers)
	}
}

// TestStateKeepsSchemaWrites: what section 12.9 changes is kept with the rows, through
// kills, and a start with another schema is still noticed.
func TestStateKeepsSchemaWrites(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state")
	e := seeded(t, func(o *Options) { o.StatePath = path })
	const definition = "EntityDefinitions(LogicalName='account')"
	e.want(204, "", "POST", "GlobalOptionSetDefinitions", `{"Name":"contoso_tier","OptionSetType":"Picklist","Options":[{"Value":1,"Label":{"LocalizedLabels":[{"Label":"Gold","LanguageCode":1033}]}}]}`)
	e.want(204, "", "POST", definition+"/Attributes", newColumn)
	e.want(204, "", "PATCH", "accounts("+acc1+")", `{"contoso_n":7}`)
	e.want(204, "", "POST", "EntityDefinitions", newTable)
	e.want(204, "", "POST", "contoso_assets", `{"contoso_name":"one"}`)
	e.want(204, "", "POST", definition+"/Keys", `{"@odata.type":"Microsoft.Dynamics.CRM.EntityKeyMetadata","SchemaName":"contoso_N","KeyAttributes":["contoso_n"]}`)
	version := func(e *env) string {
		return e.want(200, "", "GET", "accounts?$top=0", "", "Prefer", `odata.include-annotations="Microsoft.Dynamics.CRM.globalmetadataversion"`).body
	}
	again, err := reopened(t, path)
	if err != nil {
		t.Fatal(err)
	}
	if a, b := e.dump(), again.dump(); a != b {
		t.Errorf("the reopened state differs:\n%s\nwas\n%s", b, a)
	}
	if a, b := version(e), version(again); strings.ReplaceAll(a, e.url, "") != strings.ReplaceAll(b, again.url, "") {
		t.Errorf("the version of the metadata was %s, is %s", a, b)
	}
	again.has(again.want(200, "", "GET", "accounts(contoso_n=7)?$select=contoso_n", ""), acc1)
	again.has(again.want(200, "", "GET", "GlobalOptionSetDefinitions(Name='contoso_tier')", ""), `"Gold"`)

	// The copy is altered and killed in its turn.
	again.want(204, "", "POST", "contoso_assets", `{"contoso_name":"two"}`)
	again.want(204, "", "DELETE", definition+"/Attributes(LogicalName='contoso_score')", "")
	third, err := reopened(t, again.srv.opts.StatePath)
	if err != nil {
		t.Fatal(err)
	}
	if a, b := again.dump(), third.dump(); a != b {
		t.Errorf("the state reopened again differs:\n%s\nwas\n%s", b, a)
	}
	third.want(400, "0x80048d19", "POST", "accounts", `{"contoso_score":1}`)
	third.want(204, "", "POST", "accounts", `{"contoso_n":8}`)
	e.srv.Close()
	other, _ := schema.New(worldTables()[:3], nil)
	if _, err := New(Options{Schema: other, StatePath: path}); err == nil || !strings.Contains(err.Error(), "another schema") {
		t.Errorf("opened with another schema: %v", err)
	}
}

// TestStateThatCannotBeAltered: where the file cannot be written anew, nothing has changed.
func TestStateThatCannotBeAltered(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "state")
	if err := os.Mkdir(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(folder, "file")
	e := seeded(t, func(o *Options) { o.StatePath = path })
	before := e.dump()
	moved := folder + "-moved"
	if err := os.Rename(folder, moved); err != nil {
		t.Skip("an open file keeps its folder:", err)
	}
	e.want(500, "0x80040216", "POST", "EntityDefinitions", newTable)
	if after := e.dump(); after != before {
		t.Errorf("it changed:\n%s", after)
	}
	e.want(404, "0x80060888", "GET", "contoso_assets", "")
	e.want(204, "", "POST", "accounts", `{"name":"goes on"}`)
	if again, err := reopened(t, filepath.Join(moved, "file")); err != nil || again.dump() != e.dump() {
		t.Errorf("the file is not what it was: %v", err)
	}
}
