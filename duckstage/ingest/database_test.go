package ingest

import (
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
)

// goneServer is one whose connection breaks at the first query.
type goneServer struct{ server }

func (goneServer) list(context.Context, string) ([][]string, error) {
	return nil, io.ErrUnexpectedEOF
}
func (goneServer) identity() string { return "PostgreSQL at db.example" }

// TestAConnectionLostWhilePlanning: as one that is lost amid the rows, it is named.
func TestAConnectionLostWhilePlanning(t *testing.T) {
	d := &dbSupply{of: &Database{Kind: Postgres, Table: "big"}, server: goneServer{}}
	err := d.plan(t.Context(), &relation{}, nil)
	if err == nil || !errors.Is(err, io.ErrUnexpectedEOF) || !strings.Contains(err.Error(), "postgres table big: the connection to PostgreSQL at db.example was lost (unexpected EOF): when the server is well, run it again; nothing was read yet") {
		t.Error(err)
	}
}

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
