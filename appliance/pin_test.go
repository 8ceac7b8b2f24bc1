package appliance

import (
	"errors"
	"log/slog"
	"os"
	"strings"
	"testing"

	"dvmigrate/appliance/config"
	"dvmigrate/appliance/dataverse"
	"dvmigrate/appliance/dataverse/schema"
)

// TestPin: which environment a project goes on with, by what it was pinned to.
func TestPin(t *testing.T) {
	a, b := schema.GUID{1}, schema.GUID{2}
	cases := map[string]struct {
		first, then string // addresses
		who         schema.GUID
		again       string
		early, late string // what refuses it before, and after it was asked who it is; "" = nothing
	}{
		"the same":                        {first: "https://a.example", then: "https://A.example/", who: a},
		"another address":                 {first: "https://a.example", then: "https://b.example", who: a, early: "another address", late: "another environment"},
		"another organization":            {first: "https://a.example", then: "https://a.example", who: b, late: "another environment"},
		"an emulator on another port":     {first: "http://127.0.0.1:1", then: "http://localhost:2", who: a},
		"another emulator":                {first: "http://127.0.0.1:1", then: "http://127.0.0.1:1", who: b, late: "another environment"},
		"an emulator for the real one":    {first: "https://a.example", then: "http://127.0.0.1:1", who: a, early: "another address", late: "another environment"},
		"the real one for an emulator":    {first: "http://127.0.0.1:1", then: "https://a.example", who: a, early: "another address", late: "another environment"},
		"another, said twice":             {first: "https://a.example", then: "https://b.example", who: b, again: "https://B.example/"},
		"another, said twice differently": {first: "https://a.example", then: "https://b.example", who: b, again: "https://c.example", early: "both must name the same"},
		"the same, said twice":            {first: "https://a.example", then: "https://a.example", who: a, again: "https://a.example"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			p := &Project{Config: config.Default()}
			p.Config.Dir, p.o.Log = t.TempDir(), slog.New(slog.DiscardHandler)
			if err := os.Mkdir(p.work(), 0o700); err != nil {
				t.Fatal(err)
			}
			p.Config.Target.URL = tc.first
			if err := errors.Join(p.allowTarget(""), p.keepTarget(dataverse.Identity{OrganizationID: a}, "")); err != nil {
				t.Fatal(err)
			}
			before, err := os.ReadFile(p.pinPath())
			if err != nil {
				t.Fatal(err)
			}
			p.Config.Target.URL = tc.then
			requireRefusal(t, p.allowTarget(tc.again), tc.early)
			if tc.early != "" && tc.again != "" {
				return
			}
			requireRefusal(t, p.keepTarget(dataverse.Identity{OrganizationID: tc.who}, tc.again), tc.late)
			if after, err := os.ReadFile(p.pinPath()); err != nil || tc.late != "" && string(after) != string(before) {
				t.Errorf("a refusal changed the pin to %s, %v", after, err)
			}
			pin, err := p.pin()
			if err != nil || tc.again != "" && (pin.Organization != tc.who || pin.URL != p.Config.Target.Environment()) {
				t.Errorf("pinned to %+v, %v", pin, err)
			}
		})
	}
}

func requireRefusal(t *testing.T, err error, want string) {
	t.Helper()
	if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
		t.Errorf("got %v, want %q", err, want)
	}
}
