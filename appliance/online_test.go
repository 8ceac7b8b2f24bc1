package appliance

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"dvmigrate/appliance/dataverse/emulator"
	"dvmigrate/appliance/dataverse/schema"
	"dvmigrate/appliance/sample"
)

// sampleProject writes the sample project, changed by edit, and opens it for settings
// with the target at url.
func sampleProject(t *testing.T, url string, edit func(dir string)) *Project {
	t.Helper()
	dir := t.TempDir()
	if _, err := sample.Write(dir, sample.Options{Records: 100, Seed: 1, Force: true}); err != nil {
		t.Fatal(err)
	}
	if edit != nil {
		edit(dir)
	}
	p, err := Open(t.Context(), dir, Settings, Options{Env: targetAt(url)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p
}

// otherProject is the folder of a project with the files, and with a schema or the sample's.
func otherProject(t *testing.T, url string, s *schema.Schema, files map[string]string) (dir string) {
	t.Helper()
	return sampleProject(t, url, func(dir string) {
		old, err := filepath.Glob(filepath.Join(dir, "transform", "*.sql"))
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range old {
			os.Remove(path)
		}
		if s != nil {
			var text strings.Builder
			if err := s.Write(&text); err != nil {
				t.Fatal(err)
			}
			files["schema.json"] = text.String()
		}
		for name, content := range files {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}).Config.Dir
}

// environment is an emulator with the sample's schema; front sees each request first
// and may answer it.
func environment(t *testing.T, hint int, front func(w http.ResponseWriter, r *http.Request) bool) string {
	t.Helper()
	url, _ := emulated(t, hint, front)
	return url
}

// emulated is environment with the emulator itself.
func emulated(t *testing.T, hint int, front func(w http.ResponseWriter, r *http.Request) bool) (string, *emulator.Server) {
	t.Helper()
	s, err := schema.Read(strings.NewReader(string(sample.Schema())))
	if err != nil {
		t.Fatal(err)
	}
	return emulatedAs(t, s, hint, front)
}

// emulatedAs is emulated with another schema.
func emulatedAs(t *testing.T, s *schema.Schema, hint int, front func(w http.ResponseWriter, r *http.Request) bool) (string, *emulator.Server) {
	t.Helper()
	e, err := emulator.New(emulator.Options{Schema: s, Seed: seed(t, s), Limits: emulator.DefaultLimits(), DopHint: hint})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if front == nil || !front(w, r) {
			e.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(func() { server.Close(); e.Close() })
	return server.URL, e
}

func online(t *testing.T, p *Project) *Online {
	t.Helper()
	r, err := p.Check(t.Context(), true)
	if err != nil || len(r.Faults) > 0 {
		t.Fatal(err, r.Faults)
	}
	return r.Online
}

// requireFinding requires a finding whose text has all parts.
func requireFinding(t *testing.T, o *Online, level string, parts ...string) {
	t.Helper()
	for _, f := range o.Findings {
		text := f.Subject + ": " + f.Message
		if f.Level == level && !slices.ContainsFunc(parts, func(part string) bool { return !strings.Contains(text, part) }) {
			return
		}
	}
	t.Errorf("no %s with %q among %+v", level, parts, o.Findings)
}

// TestOnlineFindsNothing: an environment as it should be; and only reads go there.
func TestOnlineFindsNothing(t *testing.T) {
	url := environment(t, 16, func(_ http.ResponseWriter, r *http.Request) bool {
		if r.Method != http.MethodGet && !strings.HasSuffix(r.URL.Path, "$batch") {
			t.Errorf("%s %s", r.Method, r.URL.Path)
		}
		return false
	})
	p := sampleProject(t, url, nil)
	o := online(t, p)
	// How fast this machine is, which others use too, is no matter of the environment.
	if slices.ContainsFunc(o.Findings, func(f Finding) bool { return f.Subject != "latency" }) || o.Failed() {
		t.Errorf("findings %+v", o.Findings)
	}
	if o.URL != url || o.Organization != emulator.OrganizationID || o.Release == "" || o.Pinned != nil {
		t.Errorf("environment %+v", o)
	}
	if o.Latency.Probes != latencyProbes || o.Latency.Median <= 0 || o.Limits.Hint != 16 || !o.Limits.Known || o.Limits.RequestsLeft < 5000 {
		t.Errorf("latency %+v, limits %+v", o.Latency, o.Limits)
	}
	if len(o.Users) != 1 || o.Users[0].ID != emulator.UserID || len(o.Users[0].Missing) > 0 {
		t.Errorf("users %+v", o.Users)
	}
	if len(o.Tables) != 9 || !slices.Equal(o.Tables[0].Bulk, o.Tables[0].Known) {
		t.Errorf("tables %+v", o.Tables)
	}
	if _, err := os.Stat(p.pinPath()); err == nil {
		t.Error("a check has pinned the project")
	}
}

// TestOnlineGradesLatency: the middle one of the round trips counts, not one that was slow.
func TestOnlineGradesLatency(t *testing.T) {
	for _, tc := range []struct {
		took []time.Duration
		near bool
	}{
		{[]time.Duration{9 * time.Millisecond, time.Second, nearEnough}, true},
		{[]time.Duration{nearEnough + 1, time.Millisecond, time.Second}, false},
	} {
		var o Online
		if o.gradeLatency(tc.took); o.Latency.Near != tc.near || (len(o.Findings) > 0) == tc.near {
			t.Errorf("%v: %+v, findings %+v", tc.took, o.Latency, o.Findings)
		}
	}
}

// TestOnlineFindsTheFarAndTheForbidden: a slow network, missing privileges, and
// privileges that do not reach far enough.
func TestOnlineFindsTheFarAndTheForbidden(t *testing.T) {
	url := environment(t, 4, func(w http.ResponseWriter, r *http.Request) bool {
		switch {
		case strings.HasSuffix(r.URL.Path, "/WhoAmI"):
			time.Sleep(35 * time.Millisecond) // a slow network
		case strings.HasSuffix(r.URL.Path, "RetrieveUserPrivileges()"):
			type privilege struct{ PrivilegeName, Depth string }
			var have []privilege
			for _, table := range []string{"Account", "Contact", "Lead", "Opportunity", "Product", "contoso_Equipment", "Task", "Uom", "UomSchedule", "TransactionCurrency", "Team"} {
				have = append(have, privilege{"prvOverrideCreatedOnCreatedBy", "Global"})
				for _, kind := range []string{"Create", "Read", "Write", "Append", "AppendTo", "Assign"} {
					switch {
					case table == "Lead" && kind == "AppendTo":
					case table == "Contact" && kind == "Write":
						have = append(have, privilege{"prvWriteContact", "Local"}, privilege{"PRVWRITECONTACT", "Basic"})
					case table == "Task": // as the service names them
						have = append(have, privilege{"prv" + kind + "Activity", "Global"})
					default:
						have = append(have, privilege{"prv" + kind + table, "Global"})
					}
				}
			}
			w.Header().Set("Content-Type", "application/json")
			_ = json.NewEncoder(w).Encode(map[string]any{"RolePrivileges": have})
			return true
		}
		return false
	})
	p := sampleProject(t, url, func(dir string) {
		edit(t, filepath.Join(dir, "migration.yaml"), "load: {parallel: 8}", "load: {parallel: 8, headers: {bypass: sync, impersonate: 0f8fad5b-d9cb-469f-a165-70867728950e}}")
	})
	o := online(t, p)
	if !o.Failed() || o.Latency.Near {
		t.Errorf("failed %v, latency %+v", o.Failed(), o.Latency)
	}
	requireFinding(t, o, LevelWarning, "latency: ", "in the environment's region")
	requireFinding(t, o, LevelWarning, "load.parallel: 8 requests at once; the environment suggests 4")
	requireFinding(t, o, LevelError, "lacks prvBypassCustomBusinessLogic, needed for headers.bypass")
	requireFinding(t, o, LevelError, "lacks prvActOnBehalfOfAnotherUser", "not of a team")
	requireFinding(t, o, LevelError, "lacks prvAppendToLead")
	requireFinding(t, o, LevelWarning, "not for the whole organization: prvWriteContact")
	for _, name := range o.Users[0].Missing {
		if !slices.Contains([]string{"prvBypassCustomBusinessLogic", "prvActOnBehalfOfAnotherUser", "prvAppendToLead"}, name) {
			t.Errorf("%s is said to be missing", name)
		}
	}
}

func edit(t *testing.T, path, from, to string) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil || !strings.Contains(string(b), from) {
		t.Fatalf("%s: %v, or without %q", path, err, from)
	}
	if err := os.WriteFile(path, []byte(strings.ReplaceAll(string(b), from, to)), 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestOnlineFindsChanges: what differs between the environment and the schema file,
// which here is the one that was changed.
func TestOnlineFindsChanges(t *testing.T) {
	url := environment(t, 16, nil)
	p := sampleProject(t, url, func(dir string) {
		path := filepath.Join(dir, "schema.json")
		was, err := readSchema(path)
		if err != nil {
			t.Fatal(err)
		}
		account := was.Table("account")
		account.Bulk = []string{"create"}
		account.Column("name").MaxLength = 400
		industry := account.Column("industrycode")
		industry.Options = append(industry.Options[1:], schema.Option{Value: 4711, Label: "Gone"})
		was.Table("contact").EntitySet = "people"
		was.Table("lead").Column("subject").Type = schema.Memo
		if err := WriteSchema(path, was); err != nil {
			t.Fatal(err)
		}
	})
	o := online(t, p)
	requireFinding(t, o, LevelWarning, "account: bulk actions was create and is create, update, upsert")
	requireFinding(t, o, LevelError, "account: name: most characters was 400 and is 160")
	requireFinding(t, o, LevelError, "account: industrycode: option 4711 (Gone) is gone")
	requireFinding(t, o, LevelWarning, "account: industrycode: option", "is new")
	requireFinding(t, o, LevelError, "contact: entity set was people and is contacts")
	requireFinding(t, o, LevelError, "lead: subject: type was memo and is text")
	if of := slices.DeleteFunc(slices.Clone(o.Findings), func(f Finding) bool { return f.Subject == "latency" }); len(of) != 6 { // this machine may be busy
		t.Errorf("%d findings: %+v", len(o.Findings), o.Findings)
	}
}

// TestOnlineFindsAMissingTable: the environment lacks a table of the project.
func TestOnlineFindsAMissingTable(t *testing.T) {
	s, err := schema.Read(strings.NewReader(string(sample.Schema())))
	if err != nil {
		t.Fatal(err)
	}
	s.Tables = slices.DeleteFunc(s.Tables, func(t *schema.Table) bool {
		return t.LogicalName == "contoso_equipment" || t.LogicalName == "contoso_equipment_contact"
	})
	s.ManyToMany = slices.DeleteFunc(s.ManyToMany, func(m schema.ManyToMany) bool {
		return m.Table1 == "contoso_equipment" || m.Table2 == "contoso_equipment"
	})
	e, err := emulator.New(emulator.Options{Schema: s})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	server := httptest.NewServer(e)
	defer server.Close()
	o := online(t, sampleProject(t, server.URL, nil))
	requireFinding(t, o, LevelError, "contoso_equipment: the environment has no such table")
	requireFinding(t, o, LevelError, "contoso_equipment_contact: N:N relationship", "is gone")
}
