package ingest

import (
	"slices"
	"testing"
)

func TestNameParts(t *testing.T) {
	for name, want := range map[string][]string{
		"invoices":                {"invoices"},
		"sales.invoices":          {"sales", "invoices"},
		"Case Sensitive":          {"Case Sensitive"},
		`"Sales.eu"."My ""Table"`: {"Sales.eu", `My "Table`},
		"[dbo].[a.b]":             {"dbo", "a.b"},
		"[a]]b]":                  {"a]b"},
		"`shop`.`Weird ``Name`":   {"shop", "Weird `Name"},
		" sales . x ":             {"sales", "x"},
		"Weird `Name":             {"Weird `Name"},
	} {
		if got := nameParts(name); !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}
