package reconcile

import (
	"context"
	"maps"
	"slices"

	"dvmigrate/duckstage/column"
)

// Sample is a record that people look at: chosen at random among those that the target
// has by the ledger, so that nobody chooses the good ones.
type Sample struct {
	LegacyKey string        `json:"legacyKey"`
	RecordID  string        `json:"recordId"`
	Values    []SampleValue `json:"values"` // none: it is not there, or its update is yet to be sent
}

// SampleValue is one column of a sample, as it was staged and as it is in the target.
type SampleValue struct {
	Column string `json:"column"`
	Staged string `json:"staged"`
	Target string `json:"target"`
	Same   bool   `json:"same"`
}

// sampleWords is the most bytes of a value in a sample.
const sampleWords = 500

// choose picks o.Samples records, each of those that the target has alike.
func (w *comparison) choose() {
	n := int64(w.o.Samples)
	if n == 0 || w.table.Link != nil || !w.o.Values || w.result.Source == 0 {
		return
	}
	w.samples = map[uint32]*Sample{}
	chosen := w.only
	if chosen == nil {
		chosen = w.atRandom(n)
	}
	for _, seq := range chosen[:min(n, int64(len(chosen)))] {
		w.samples[seq] = &Sample{}
	}
}

// sample keeps the values of a record that was chosen.
func (r *records) sample(p pending, seq uint32, v []*column.Vector, i int) error {
	s := r.samples[seq]
	if s == nil {
		return nil
	}
	s.RecordID = r.group.rows[p.row].id.String()
	for k := range r.shape.fields {
		f, staged, got := &r.shape.fields[k], v[k+2], r.value(p.row, k)
		if !f.written(p.action, p.expect) {
			continue
		}
		x := SampleValue{Column: f.shownAs()}
		if p.same {
			x.Same, x.Staged = true, f.wantText(staged, i)
			x.Target = x.Staged
		} else if f.party != nil {
			want, err := r.stagedParties(f, staged, i)
			if err != nil {
				return err
			}
			have, err := f.targetParties(got)
			if err != nil {
				return err
			}
			x.Same, x.Staged, x.Target = len(want) == 0 || sameParties(want, have), partyList(want), partyList(have)
			if r.o.Hide && !x.Same {
				x.Target = hidden(x.Target)
			}
		} else {
			x.Same, x.Staged = f.same(staged, i, got), f.wantText(staged, i)
			if x.Target = r.gotText(f, got); x.Same && r.o.Hide && f.maskable {
				x.Target = x.Staged
			}
		}
		x.Staged, x.Target = cut(x.Staged, 0, sampleWords), cut(x.Target, 0, sampleWords)
		s.Values = append(s.Values, x)
	}
	return nil
}

// explainSamples gives the samples their legacy keys.
func (w *comparison) explainSamples(ctx context.Context) error {
	var picked []example
	for seq := range w.samples {
		picked = append(picked, example{seq: seq, staged: true})
	}
	names, err := w.names(ctx, picked)
	if err != nil {
		return err
	}
	for _, seq := range slices.Sorted(maps.Keys(w.samples)) {
		s := w.samples[seq]
		s.LegacyKey = names[seq].key
		if s.RecordID == "" {
			s.RecordID = names[seq].id
		}
		w.result.Samples = append(w.result.Samples, *s)
	}
	return nil
}
