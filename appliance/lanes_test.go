package appliance

import (
	"path/filepath"
	"strings"
	"testing"
)

// TestCreatedByItsUser: each record is created as the user in its row, and a row without
// one as who signs in.
func TestCreatedByItsUser(t *testing.T) {
	url := environment(t, 16, nil)
	dir := goneProject(t, url, "contact: {impersonate: createdby, shard_by: parentcustomerid}")
	edit(t, filepath.Join(dir, "transform", "contact.sql"), "AS parentcustomerid", `AS parentcustomerid,
		CASE key WHEN 'C1' THEN existing('systemuser', 'a0000000-0000-4000-8000-000000000011') WHEN 'C2' THEN existing('systemuser', 'a0000000-0000-4000-8000-000000000012') END AS createdby`)
	stageAndLoad(t, dir, url)
	for _, row := range plainRows(t, url, "contacts") {
		want := map[any]string{"C1": "a0000000-0000-4000-8000-000000000011", "C2": "a0000000-0000-4000-8000-000000000012"}[row["lastname"]]
		if want == "" {
			want = "0c000000-0000-4000-8000-000000000001"
		}
		if row["_createdby_value"] != want {
			t.Errorf("%v was created by %v, want %s", row["lastname"], row["_createdby_value"], want)
		}
	}
	for setting, want := range map[string]string{
		"contact: {batch: 5}": "Dataverse ignores values for this column",
		"account: {impersonate: createdby}\n  contact: {impersonate: createdby}": "yields no column createdby",
		"contact: {impersonate: createdby, shard_by: accountid}":                 "yields no lookup accountid",
	} {
		file := filepath.Join(dir, "migration.yaml")
		edit(t, file, "contact: {impersonate: createdby, shard_by: parentcustomerid}", setting)
		p := reopen(t, dir, Settings, url)
		r, err := p.Check(t.Context(), false)
		if err != nil || len(r.Faults) != 1 || !strings.Contains(r.Faults[0].Message, want) {
			t.Errorf("%s: %v, %+v", setting, err, r.Faults)
		}
		edit(t, file, setting, "contact: {impersonate: createdby, shard_by: parentcustomerid}")
	}
}
