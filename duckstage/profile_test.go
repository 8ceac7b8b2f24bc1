package duckstage

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestProfile(t *testing.T) {
	s := newStage(t)
	if _, err := s.Exec(t.Context(), `CREATE TABLE source.a AS SELECT 'K' || lpad(i::VARCHAR, 4, '0') AS id, CASE i % 4 WHEN 0 THEN 'Ärzte AG' WHEN 1 THEN ' ' WHEN 2 THEN NULL ELSE 'x1' END AS name,
		i::DECIMAL(10,2) AS amount, CASE WHEN i = 7 THEN DATE '2024-05-31' END AS day, [i] AS list, CASE i WHEN 3 THEN 'x'::BLOB ELSE ''::BLOB END AS picture FROM range(100) t(i)`); err != nil {
		t.Fatal(err)
	}
	got, err := s.Profile(t.Context(), "source.a", nil)
	if err != nil {
		t.Fatal(err)
	}
	if got[0].Distinct != 100 {
		t.Errorf("a unique column has %d values", got[0].Distinct)
	}
	for i := range got { // about so many
		if n := got[i].Distinct; n > 10 {
			got[i].Distinct = 100
		}
	}
	name := ColumnProfile{Name: "name", SQLType: "VARCHAR", Rows: 100, Filled: 50, Distinct: 3, MinLength: 1, MaxLength: 8, Min: " ", Max: "Ärzte AG",
		Top: []ValueCount{{" ", 25}, {"x1", 25}, {"Ärzte AG", 25}}, Patterns: []ValueCount{{" ", 25}, {"Aa AA", 25}, {"a9", 25}}}
	if diff := cmp.Diff(name, got[1]); diff != "" {
		t.Error(diff)
	}
	if id := got[0]; !id.Unique || id.Share() != 1 || id.Patterns[0] != (ValueCount{"A9999", 100}) || id.Min != "K0000" || id.Max != "K0099" {
		t.Errorf("%+v", id)
	}
	if amount := got[2]; amount.Min != "0.00" || amount.Max != "99.00" {
		t.Errorf("%+v", amount)
	}
	if picture := got[5]; picture.Filled != 1 {
		t.Errorf("%+v", picture)
	}
	if day := got[3]; day.Filled != 1 || day.Min != "2024-05-31" || day.Unique {
		t.Errorf("%+v", day)
	}
}

func TestProfileOfNothing(t *testing.T) {
	s := newStage(t)
	if _, err := s.Exec(t.Context(), "CREATE TABLE source.a (id VARCHAR, n INTEGER)"); err != nil {
		t.Fatal(err)
	}
	got, err := s.Profile(t.Context(), "source.a", nil)
	if err != nil || len(got) != 2 || got[0].Share() != 0 || got[0].Unique {
		t.Error(got, err)
	}
	if _, err := s.Profile(t.Context(), "source.b", nil); err == nil {
		t.Error("a relation that is not there")
	}
}
