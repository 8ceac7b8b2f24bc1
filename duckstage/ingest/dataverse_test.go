package ingest

import (
	"context"
	"encoding/json"
	"io/fs"
	"strings"
	"syscall"
	"testing"

	"dvmigrate/duckstage"
)

// records is an environment with rows by filter.
type records map[string][]string

func (records) Columns(context.Context, string, []string) ([]RecordColumn, error) {
	return []RecordColumn{{Name: "accountid", Member: "accountid", SQLType: "VARCHAR", Primary: true}, {Name: "owner", Member: "_owner_value", SQLType: "VARCHAR"}}, nil
}

func (r records) Slices(context.Context, string, string, int) ([]string, error) {
	return []string{"old", "new"}, nil
}

func (r records) Records(_ context.Context, _ string, _ []string, filter string, fn func(json.RawMessage) error) error {
	for _, row := range r[filter] {
		if err := fn(json.RawMessage(row)); err != nil {
			return err
		}
	}
	return nil
}

func (records) Fetch(context.Context, string, string, func(json.RawMessage) error) error { return nil }

func (records) Changes(context.Context, string, []string, string, func(json.RawMessage) error) (string, bool, error) {
	return "", true, nil
}

func (records) Close() {}

// TestEnvironmentIsReadInItsSlices: all slices in their order, whoever reads them; one without
// a record is a table without rows.
func TestEnvironmentIsReadInItsSlices(t *testing.T) {
	stage, err := duckstage.OpenMemory(t.Context(), duckstage.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stage.Close() })
	for _, parallel := range []int{1, 3} {
		for _, c := range []struct {
			r    records
			want string
		}{
			{records{"old": {`{"accountid":"a","_owner_value":"o"}`}, "new": {`{"accountid":"b"}`}, "": {`{"accountid":"a","_owner_value":"o"}`, `{"accountid":"b"}`}}, "a/o b/-"},
			{nil, ""},
		} {
			src := Source{Name: "env", Dataverse: &Dataverse{Table: "account", Parallel: parallel, Reader: c.r}}
			if _, err := Run(t.Context(), stage, src, func(int64, int64) {}); err != nil {
				t.Fatal(err)
			}
			var got string
			if err := stage.Row(t.Context(), []any{&got}, "SELECT coalesce(string_agg(accountid || '/' || coalesce(owner, '-'), ' '), '') FROM source.env"); err != nil {
				t.Fatal(err)
			}
			if got != c.want {
				t.Errorf("%d readers: %q, want %q", parallel, got, c.want)
			}
		}
	}
}

// noRoom is an environment whose records nothing can be written of any more.
type noRoom struct{ records }

func (noRoom) Records(context.Context, string, []string, string, func(json.RawMessage) error) error {
	return &fs.PathError{Op: "write", Path: "temp/0.csv", Err: syscall.ENOSPC}
}

// TestAFullDiskSaysWhatToDo: whoever meets it first, DuckDB or a file that is made for it.
func TestAFullDiskSaysWhatToDo(t *testing.T) {
	src := Source{Name: "env", Dataverse: &Dataverse{Table: "account", Reader: noRoom{}}}
	if _, err := Run(t.Context(), newStage(t), src, nil); err == nil || !strings.Contains(err.Error(), "disk is full: free space and run again: ") || !strings.Contains(err.Error(), "temp/0.csv") {
		t.Errorf("error = %v", err)
	}
}
