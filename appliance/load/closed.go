package load

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"strings"
	"time"

	"dvmigrate/appliance/dataverse"
	"dvmigrate/ledger"
)

// The codes with which a closed record refuses an update (dataverse-web-api.md 1.8, 17.12).
const (
	codeReadOnly = 0x8004022E
	codeInactive = 0x80040230
)

// refuse notes a record as failed that was refused by itself. But a closed record that
// refuses an update may have had it before it was closed: the ledger was restored, and
// the target is ahead of it. If it holds all that the update would set, it is done; of an
// activity's parties that is not asked. An error stops the load.
func (s *sender) refuse(ctx context.Context, i int, err error) error {
	var e *dataverse.Error
	if s.w.update && !s.w.parties && errors.As(err, &e) && (e.Code == codeInactive || e.Code == codeReadOnly) {
		applied, rerr := s.applied(ctx, i)
		if rerr != nil {
			return s.release([]int{i}, readBackError(rerr))
		}
		if applied {
			s.j.results[i] = outcome{result: ledger.ResultSuccess}
			return nil
		}
	}
	s.fail(i, err)
	return nil
}

// applied reads a record back and tells whether its columns have the values that the
// update would give them.
func (s *sender) applied(ctx context.Context, i int) (bool, error) {
	var want map[string]any
	if err := decode(s.w.encoder.UpdateBody(nil, s.j.record(i)), &want); err != nil {
		return false, fmt.Errorf("read our own record: %w", err)
	}
	t := s.w.table.Schema
	q := dataverse.Query{Filter: t.PrimaryID + " eq " + s.j.ids[i].String()}
	for name := range want {
		q.Select = append(q.Select, s.readName(name))
	}
	same := false
	err := s.target.Rows(ctx, t, q, func(row json.RawMessage) error {
		var have map[string]any
		if err := decode(row, &have); err != nil {
			return err
		}
		same = true
		for name, v := range want {
			same = same && sameValue(v, have[s.readName(name)])
		}
		return nil
	})
	return same, err
}

func decode(text []byte, into *map[string]any) error {
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	return d.Decode(into)
}

// lookupRead is how a lookup is read (dataverse-web-api.md 4.6).
func lookupRead(column string) string { return "_" + column + "_value" }

// readName is how a column is read that is written under name: a lookup is written by
// its navigation property and read by its value (dataverse-web-api.md 4.6).
func (s *sender) readName(name string) string {
	nav, bind := strings.CutSuffix(name, "@odata.bind")
	if !bind {
		return name
	}
	for i := range s.w.table.Lookups {
		l := &s.w.table.Lookups[i]
		for _, target := range l.Targets {
			if target.Nav == nav {
				return lookupRead(l.LogicalName)
			}
		}
	}
	return name
}

// sameValue compares a value that is written with one that was read: numbers as
// numbers, times as times, a bound set(id) with the id; an empty text is null.
func sameValue(want, have any) bool {
	if want == "" {
		want = nil
	}
	if have == "" {
		have = nil
	}
	switch w := want.(type) {
	case json.Number:
		h, ok := have.(json.Number)
		a, okA := new(big.Rat).SetString(w.String())
		b, okB := new(big.Rat).SetString(h.String())
		return ok && okA && okB && a.Cmp(b) == 0
	case string:
		h, ok := have.(string)
		if !ok || w == h {
			return ok
		}
		if _, id, bound := strings.Cut(strings.TrimSuffix(w, ")"), "("); bound && strings.EqualFold(id, h) {
			return true
		}
		a, errA := time.Parse(time.RFC3339, w)
		b, errB := time.Parse(time.RFC3339, h)
		return errA == nil && errB == nil && a.Equal(b)
	}
	return want == have
}
