package appliance

import (
	"fmt"
	"path/filepath"

	"dvmigrate/appliance/dataverse/schema"
	"dvmigrate/appliance/plan"
)

// traits are what the grade looks at.
func (f *forecast) traits() plan.Traits {
	t := plan.Traits{Tables: len(f.bound.tables)}
	for _, m := range f.bound.tables {
		t.Records += f.counts[m.Name]
		t.Bytes += float64(f.counts[m.Name]) * f.bytes[m.Name]
		t.Lookups += len(m.Lookups)
		t.Deferred += len(f.bound.plan.Deferred(m.Name))
		if m.Link != nil {
			t.Links++
		} else if m.HasState() {
			t.States++
		}
		for _, l := range m.Lookups {
			if len(l.Targets) > 1 {
				t.Polymorphic++
			}
		}
		if m.Schema != nil && m.Link == nil && m.Schema.Kind != schema.Standard {
			t.Special++
		}
	}
	for _, w := range f.work {
		if w.Source == plan.Default && w.Operations > 0 {
			t.Guessed++
		}
		if w.Operations > 0 {
			t.Steps++
		}
		t.BadRows = max(t.BadRows, w.BadRows)
	}
	t.Unstaged = len(f.bound.tables) - len(f.staged)
	return t
}

// scoreFile is a team's own score table for the grade, in the project folder.
const scoreFile = "grade.json"

func (p *Project) scoreTable() ([]plan.Criterion, error) {
	path := p.Config.Path(scoreFile)
	var table []plan.Criterion
	there, err := readNote(path, &table)
	if !there && err == nil {
		return plan.ScoreTable(), nil
	}
	if err == nil {
		err = plan.CheckScoreTable(table)
	}
	if err != nil {
		return nil, fmt.Errorf("read the score table %s: %w\n`dvmigrate estimate --write-grade` writes a good one where there is none", path, err)
	}
	return table, nil
}

// WriteScoreTable writes the score table into the project's folder, to be edited; an existing one is left alone.
func WriteScoreTable(dir string) (path string, err error) {
	path = filepath.Join(dir, scoreFile)
	if exists(path) {
		return path, fmt.Errorf("%s is there already; edit it, or remove it first", path)
	}
	return path, keepNote(path, plan.ScoreTable())
}
