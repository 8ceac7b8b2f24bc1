package duckstage

import (
	"strings"
	"testing"
)

func TestTextFunc(t *testing.T) {
	s, err := OpenMemory(t.Context(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	register := func(call func(args []string) (string, bool)) {
		t.Helper()
		if err := s.RegisterText(t.Context(), TextFunc{Name: "joined", Args: 2, Call: call}); err != nil {
			t.Fatal(err)
		}
	}
	register(func(args []string) (string, bool) { return args[0] + args[1], args[0] != "none" })
	query := `SELECT count(*), count(j), count(*) FILTER (j = i::VARCHAR || 'x and more than twelve') FROM (SELECT i, joined(CASE i % 5 WHEN 0 THEN NULL WHEN 1 THEN 'none' ELSE i::VARCHAR END, 'x and more than twelve') AS j FROM range(5000) r(i))`
	var all, given, right int
	if err := s.Row(t.Context(), []any{&all, &given, &right}, query); err != nil || all != 5000 || given != 3000 || right != 3000 {
		t.Errorf("%d, %d, %d, %v", all, given, right, err)
	}
	register(func(args []string) (string, bool) { panic("secret " + args[0]) })
	if err := s.Row(t.Context(), []any{&all, &given, &right}, query); err == nil || !strings.Contains(err.Error(), "joined panicked") || strings.Contains(err.Error(), "secret") {
		t.Errorf("error of a panic = %v", err)
	}
}
