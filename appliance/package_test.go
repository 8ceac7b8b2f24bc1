package appliance

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"dvmigrate/appliance/sample"
)

// sharedPackage finds a real package of the Configuration Migration Tool: in
// DVMIGRATE_SHARED, or in a folder shared beside one of this folder's parents.
func sharedPackage(t *testing.T, name string) string {
	t.Helper()
	dir, err := filepath.Abs(".")
	if err != nil {
		t.Fatal(err)
	}
	roots := []string{os.Getenv("DVMIGRATE_SHARED")}
	for ; filepath.Dir(dir) != dir; dir = filepath.Dir(dir) {
		roots = append(roots, filepath.Join(dir, "shared"))
	}
	for _, root := range roots {
		path := filepath.Join(root, "data", "cmt", name)
		if _, err := os.Stat(path); root != "" && err == nil {
			return path
		}
	}
	t.Skip("no shared data")
	return ""
}

// TestPackageGoesIntoAnEnvironment: accounts and contacts of a real package, staged with
// their ids, lookups resolved, loaded; a table that the target lacks is named.
func TestPackageGoesIntoAnEnvironment(t *testing.T) {
	path := sharedPackage(t, "education-2018.zip")
	url := environment(t, 4, nil)
	dir := t.TempDir()
	if _, err := sample.Write(dir, sample.Options{Records: 50, Seed: 1, Force: true}); err != nil {
		t.Fatal(err)
	}
	transforms := filepath.Join(dir, "transform")
	if err := os.RemoveAll(transforms); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(transforms, 0o700); err != nil {
		t.Fatal(err)
	}
	put := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	put("migration.yaml", "version: 1\nname: edu\nsources: {edu: {path: '"+path+"', format: cmt}}\ntables: {account: {ids: keep}, contact: {ids: keep}}\n")
	put("transform/account.sql", "SELECT accountid::VARCHAR AS legacy_key, accountid, name, address1_line1, address1_city, address1_postalcode, creditonhold, dm_created_at FROM edu_account")
	put("transform/contact.sql", `SELECT c.contactid::VARCHAR AS legacy_key, c.contactid, c.firstname, c.lastname, c.emailaddress1, ref('account', a.accountid::VARCHAR) AS parentcustomerid
		FROM edu_contact c LEFT JOIN edu_account a ON a.accountid = c.parentcustomerid AND c.parentcustomerid_table = 'account'`)
	put("transform/mshied_areaofinterest.sql", "SELECT mshied_areaofinterestid::VARCHAR AS legacy_key, mshied_name FROM edu_mshied_areaofinterest")
	p := reopen(t, dir, Staging, url)
	if _, err := p.Stage(t.Context(), nil, func(string, float64) {}); err == nil || !strings.Contains(err.Error(), "mshied_areaofinterest") {
		t.Errorf("a table that the target lacks: %v", err)
	}
	if err := os.Remove(filepath.Join(transforms, "mshied_areaofinterest.sql")); err != nil {
		t.Fatal(err)
	}
	r, err := p.Stage(t.Context(), nil, func(string, float64) {})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]int64{}
	for _, rel := range r.Sources[0].Relations {
		want[rel.Name] = rel.Rows
	}
	if len(want) < 23 || r.Sources[0].Rejected != 0 {
		t.Errorf("staged %+v", r.Sources)
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	p = reopen(t, dir, Loading, url)
	loaded, err := p.Load(t.Context(), t.Context(), LoadOptions{SnapshotEvery: -1})
	if err != nil {
		t.Fatal(err)
	}
	if n := int(want["edu_account"] + want["edu_contact"]); n < 100 || int(loaded.Summary.Processed) != n {
		t.Errorf("loaded %+v of %d", loaded.Summary, n)
	}
}
