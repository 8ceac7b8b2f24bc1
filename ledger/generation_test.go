package ledger

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

// stagedAs plans one staging of a table.
func stagedAs(t *testing.T, l *Ledger, generation string, counts PlannedCounts) {
	t.Helper()
	must(t, l.DefinePlanned(t.Context(), Table{Name: "account", Number: 1, Count: 100, Generation: generation}, counts))
	must(t, l.EndPlanning(t.Context()))
}

// generationNames lists generations as "full", "delta 1", with + where one has begun and ! where it is finished.
func generationNames(t *testing.T, l *Ledger) (out []string) {
	t.Helper()
	all, err := l.Generations()
	must(t, err)
	for i, g := range all {
		name := g.Name()
		if g.Number != uint32(i+1) {
			t.Errorf("generation %d has number %d", i+1, g.Number)
		}
		if !g.Begun.IsZero() {
			name += "+"
		}
		if !g.Finished.IsZero() {
			name += "!"
		}
		out = append(out, name)
	}
	return out
}

func TestGenerationsStandSideBySide(t *testing.T) {
	ctx, l := t.Context(), openTest(t, t.TempDir()+"/ledger.bolt", Options{})
	must(t, l.BeginGeneration(ctx)) // there is none
	stagedAs(t, l, "1", PlannedCounts{Insert: 90})
	stagedAs(t, l, "2", PlannedCounts{Insert: 100}) // staged anew before any load: still the full one
	must(t, l.BeginGeneration(ctx))
	must(t, l.BeginGeneration(ctx))
	must(t, l.FinishGeneration(ctx))
	stagedAs(t, l, "3", PlannedCounts{Insert: 5, Update: 7})
	stagedAs(t, l, "4", PlannedCounts{Insert: 6, Update: 7})
	wantErr(t, l.FinishGeneration(ctx), ErrNoGeneration)
	must(t, l.BeginGeneration(ctx))
	stagedAs(t, l, "5", PlannedCounts{Delete: 1, Gone: 2})
	path := l.path
	closeTest(t, l)
	l = openTest(t, path, Options{})
	if d := cmp.Diff([]string{"full", "full+!", "delta 1", "delta 1+", "delta 2"}, generationNames(t, l)); d != "" {
		t.Error(d)
	}
	all, err := l.Generations()
	must(t, err)
	want := map[string]PlannedCounts{"account": {Stage: "4", Insert: 6, Update: 7}}
	if d := cmp.Diff(want, all[3].Tables); d != "" {
		t.Error(d)
	}
	if got := all[4].Total(); got != (PlannedCounts{Delete: 1, Gone: 2}) {
		t.Error(got)
	}
}

// A crash between two tables of a staging does not make two generations of it.
func TestPlanningThatWasCutOffGoesOnInTheSameGeneration(t *testing.T) {
	ctx, l := t.Context(), openTest(t, t.TempDir()+"/ledger.bolt", Options{})
	must(t, l.DefinePlanned(ctx, Table{Name: "account", Number: 1, Count: 10, Generation: "1"}, PlannedCounts{Insert: 10}))
	wantErr(t, l.BeginGeneration(ctx), ErrNoGeneration)
	path := writeCopy(t, l)
	l = openTest(t, path, Options{})
	must(t, l.DefinePlanned(ctx, Table{Name: "contact", Number: 2, Count: 20, Generation: "1"}, PlannedCounts{Insert: 20}))
	must(t, l.EndPlanning(ctx))
	all, err := l.Generations()
	must(t, err)
	if len(all) != 1 || all[0].Total().Insert != 30 || all[0].Planned.IsZero() {
		t.Errorf("%+v", all)
	}
}
