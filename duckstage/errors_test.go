package duckstage

import (
	"errors"
	"testing"
)

// TestNobodyIsPointedToATableOfDuckDB: what DuckDB proposes in place of a table that is not there is told only
// where a person may have meant it.
func TestNobodyIsPointedToATableOfDuckDB(t *testing.T) {
	s := newStage(t)
	mustExec(t, s, "CREATE TABLE customers (no VARCHAR)")
	for query, want := range map[string]string{
		"FROM phones":   "",
		"FROM customer": `Did you mean "customers"?`,
	} {
		_, err := s.Exec(t.Context(), query)
		var e *SQLError
		if !errors.As(err, &e) || e.Hint != want {
			t.Errorf("%s: %v, hint %q, want %q", query, err, e.Hint, want)
		}
	}
}
