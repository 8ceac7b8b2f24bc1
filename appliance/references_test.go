package appliance

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestReferencesToNothing: a table or column that ref() and existing() name and that is not
// there is found before anything is staged, with its place.
func TestReferencesToNothing(t *testing.T) {
	dir := otherProject(t, "http://127.0.0.1:1", nil, map[string]string{
		"migration.yaml": "version: 1\nname: x\ntarget: {auth: none}\nsources: {x: x.csv}\n", "x.csv": "a\n1\n",
		"transform/account.sql": "SELECT a AS legacy_key, a AS accountnumber, 'x' AS name, -- ref('contact', 'nix', a)\n  ref('account', 'acountnumber', a) AS parentaccountid, existing('transactioncurrency', 'isocurencycode', a) AS transactioncurrencyid,\n  CASE WHEN a = '1' THEN existing('systemusr', a) ELSE existing('contact', a) END AS ownerid FROM x",
		"transform/contact.sql": "SELECT a AS legacy_key, a AS lastname, ref('account', 'name, accountnumbr', [a]) AS parentcustomerid FROM x"})
	if err := os.MkdirAll(filepath.Join(dir, "transform", "lib"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "transform", "lib", "m.sql"), []byte("CREATE MACRO of(k) AS\n  ref('accounts', k);"), 0o600); err != nil {
		t.Fatal(err)
	}
	p, err := Open(t.Context(), dir, Settings, Options{Env: func(string) (string, bool) { return "", false }})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	r, err := p.Check(t.Context(), false)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, f := range r.Faults {
		got = append(got, fmt.Sprintf("%s:%d:%d: %s; %s", filepath.ToSlash(f.File), f.Line, f.Column, f.Message, f.Hint))
	}
	if diff := cmp.Diff([]string{
		"transform/account.sql:2:19: ref('account', ...): the transform of account yields no column acountnumber; did you mean accountnumber?",
		"transform/account.sql:2:90: existing('transactioncurrency', ...): table transactioncurrency has no column isocurencycode; did you mean isocurrencycode?",
		"transform/account.sql:3:36: existing('systemusr', ...): schema.json has no table systemusr; did you mean systemuser?",
		"transform/account.sql:3:66: existing('contact', ...): no lookup of this transform can point to contact; they point to account, systemuser, team, transactioncurrency",
		"transform/contact.sql:1:56: ref('account', ...): the transform of account yields no column accountnumbr; did you mean accountnumber?",
		"transform/lib/m.sql:2:8: ref('accounts', ...): no transform makes the table accounts; did you mean account?",
	}, got); diff != "" {
		t.Error(diff)
	}
}
