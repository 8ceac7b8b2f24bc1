package appliance

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"dvmigrate/duckstage"
	"dvmigrate/duckstage/ingest"
)

// MaskedCheck is what a search for original values of masked columns examined and found. What
// it says of a place holds as far as How goes: rows are compared exactly, value by value
// and with their types; texts are searched for; what could not be read is named.
type MaskedCheck struct {
	Version  int              `json:"version"`
	Columns  []MaskedColumn   `json:"columns"`
	Compared []MaskedCompared `json:"compared"` // rows and values, exactly
	Equal    []MaskedEqual    `json:"equal"`    // columns of the stage with values that are originals
	Places   []MaskedPlace    `json:"places"`   // that were searched for texts
	Unread   []MaskedUnread   `json:"unread"`   // places that could not be, or only in part
	Findings []MaskedFinding  `json:"findings"` // originals; never shown
	Clear    []MaskedClear    `json:"clear,omitempty"`
	Notes    []string         `json:"notes,omitempty"`
	Seconds  float64          `json:"seconds"`
}

// MaskedColumn is a column whose original values were looked for.
type MaskedColumn struct {
	Source string `json:"source"`
	Column string `json:"column"`
	As     string `json:"as"`
	Type   string `json:"type"`
	Values int64  `json:"values"` // different ones in the source
	Sought int64  `json:"sought"` // of which were searched for as texts
	Why    string `json:"why,omitempty"`

	Rows      int64 `json:"rows"`      // of the stage that were paired with their row of the source
	Masked    int64 `json:"masked"`    // of which have what the mask makes of the original, nothing included
	Unchanged int64 `json:"unchanged"` // of which the mask leaves as they are: no letter or digit, or a number of zeros
	Original  int64 `json:"original"`  // of which have the original, and should not
	Unpaired  int64 `json:"unpaired"`  // rows of the stage whose row of the source is not known
}

// MaskedCompared is a relation whose columns were compared with the originals.
type MaskedCompared struct {
	Place   string `json:"place"`
	How     string `json:"how"`
	Rows    int64  `json:"rows"`
	Columns int    `json:"columns"`
}

// MaskedEqual is a column that has values that are originals of a masked one.
type MaskedEqual struct {
	Place  string  `json:"place"` // relation.column
	Source string  `json:"source"`
	Column string  `json:"column"`
	Rows   bool    `json:"rows"`   // in the same row; else the same value in any
	Times  int64   `json:"times"`  // rows, or different values
	Of     int64   `json:"of"`     // rows that were compared, or different values in the column
	Chance float64 `json:"chance"` // so many are expected if they have nothing to do with each other
	Left   bool    `json:"left"`   // more than chance gives: they are originals that were left
}

// MaskedPlace is something that was searched.
type MaskedPlace struct {
	Place string `json:"place"`
	How   string `json:"how"`
	Bytes int64  `json:"bytes"`
}

// MaskedUnread is something that was not read, or not as what it means.
type MaskedUnread struct {
	Place string `json:"place"`
	Why   string `json:"why"`
}

// MaskedFinding is a place that has original values of a column.
type MaskedFinding struct {
	Place  string `json:"place"`
	Source string `json:"source"`
	Column string `json:"column"`
	Times  int64  `json:"times"`
	How    string `json:"how"`
}

// MaskedClear is a source that was in the stage without its masks.
type MaskedClear struct {
	Source string `json:"source"`
	Until  string `json:"until"`
}

// Failed reports whether original values are, or may be, left.
func (m MaskedCheck) Failed() bool { return len(m.Findings)+len(m.Clear) > 0 }

// mostSought is how many values of a column are searched for as texts; all of them are
// compared with the stage's columns.
const mostSought = 200_000

// CheckMasked reads the masked columns of the sources as they are, into a stage that is
// removed again, and looks for their values wherever the project keeps something: it compares
// them with every column of the stage, and searches all texts of stage, files and snapshots.
func (p *Project) CheckMasked(ctx context.Context, k KeySource, watch StageWatch) (m MaskedCheck, err error) {
	begin := time.Now()
	m = MaskedCheck{Version: 2, Columns: []MaskedColumn{}, Compared: []MaskedCompared{}, Equal: []MaskedEqual{}, Places: []MaskedPlace{}, Unread: []MaskedUnread{}, Findings: []MaskedFinding{}}
	if p.Config.Masking.Off {
		return m, errors.New("masking is off (masking.off), so that nothing is masked here")
	}
	if err := p.refuseMixedMasks(ctx); err != nil {
		return m, err
	}
	scratch, err := p.stage.Scratch()
	if err != nil {
		return m, err
	}
	defer os.RemoveAll(scratch)
	s := maskSearch{p: p, m: &m, scratch: scratch, watch: watch, images: map[string]bool{}, times: map[maskHit]int64{}}
	if err := s.originals(ctx); err != nil {
		return m, err
	}
	if len(m.Columns) == 0 {
		return m, errors.New("no source has masks; `dvmigrate guide masking` says how they are declared")
	}
	s.drop()
	if err := s.compare(ctx); err != nil {
		return m, err
	}
	if err := s.search(ctx, k); err != nil {
		return m, err
	}
	s.report()
	if err := s.wasClear(ctx); err != nil {
		return m, err
	}
	m.Seconds = time.Since(begin).Seconds()
	return m, nil
}

// search looks for texts in stage, files and snapshots.
func (s *maskSearch) search(ctx context.Context, k KeySource) error {
	s.watch("searching the stage", -1)
	if err := s.stage(ctx, "stage", s.p.stage); err != nil {
		return err
	}
	if err := s.liveBytes(ctx); err != nil {
		return err
	}
	s.watch("searching the files", -1)
	for _, dir := range s.folders() {
		if err := s.files(ctx, "", dir); err != nil {
			return err
		}
	}
	return s.snapshots(ctx, k)
}

// maskSearch is one such search.
type maskSearch struct {
	p         *Project
	m         *MaskedCheck
	scratch   string
	watch     StageWatch
	relations []*maskedRelation
	sought    []soughtValue
	images    map[string]bool // what values were masked to, and the words of it
	needles   needles
	times     map[maskHit]int64
}

// maskHit is a place that has values of a masked column.
type maskHit struct {
	place  string
	column int // of MaskedCheck.Columns
}

type soughtValue struct {
	text string
	of   int
}

// drop leaves out what a masked value may rightly be.
func (s *maskSearch) drop() {
	for _, v := range s.sought {
		if !s.images[folded(v.text)] {
			s.needles.add(v.text, v.of)
			s.m.Columns[v.of].Sought++
		}
	}
	s.sought, s.images = nil, nil
}

func (s *maskSearch) hit(place string) func(int) {
	return func(needle int) { s.times[maskHit{place, s.needles.of[needle]}]++ }
}

func (s *maskSearch) unread(place, why string, args ...any) {
	s.m.Unread = append(s.m.Unread, MaskedUnread{place, fmt.Sprintf(why, args...)})
}

// report gathers the findings: what was found as text, and the columns that have more
// originals than chance gives.
func (s *maskSearch) report() {
	find := func(place string, column int, times int64, how string) {
		c := s.m.Columns[column]
		s.m.Findings = append(s.m.Findings, MaskedFinding{Place: place, Source: c.Source, Column: c.Column, Times: times, How: how})
	}
	for at, times := range s.times {
		find(at.place, at.column, times, "text")
	}
	for i, c := range s.m.Columns {
		if c.Original > 0 {
			find("stage: "+c.Source+"."+c.Column, i, c.Original, "row")
		}
		for _, e := range s.m.Equal {
			if e.Left && e.Source == c.Source && e.Column == c.Column {
				how := "value"
				if e.Rows {
					how = "row"
				}
				find("stage: "+e.Place, i, e.Times, how)
			}
		}
	}
	slices.SortFunc(s.m.Findings, func(a, b MaskedFinding) int {
		return strings.Compare(a.Place+"\x00"+a.Source+"\x00"+a.Column+"\x00"+a.How, b.Place+"\x00"+b.Source+"\x00"+b.Column+"\x00"+b.How)
	})
}

// wasClear lists the sources that were staged before they had masks.
func (s *maskSearch) wasClear(ctx context.Context) error {
	for _, name := range sourceNames(s.p.Config, nil) {
		if len(s.p.Config.Sources[name].Mask) == 0 {
			continue
		}
		until, err := s.p.stage.Meta(ctx, ingest.ClearFact(name))
		if err != nil {
			return err
		}
		if until != "" {
			s.m.Clear = append(s.m.Clear, MaskedClear{name, until})
		}
	}
	return nil
}

// folders are those that the project keeps something in: its own, and what the settings put
// elsewhere.
func (s *maskSearch) folders() []string {
	c := s.p.Config
	dirs := []string{c.Dir}
	add := func(dir string) {
		if rel, err := filepath.Rel(c.Dir, dir); (err != nil || !filepath.IsLocal(rel)) && exists(dir) {
			dirs = append(dirs, dir)
		}
	}
	add(s.p.work())
	if c.Log.File != "" && c.Log.File != "-" {
		add(filepath.Dir(c.Path(c.Log.File)))
	}
	return dirs
}

// shownRelation is what a table of the stage is called in messages.
func shownRelation(ctx context.Context, stage *duckstage.Stage, schema, table string) string {
	var relation string
	err := stage.Row(ctx, []any{&relation}, "SELECT coalesce((SELECT any_value(name) FROM dm.sources WHERE data = $1), (SELECT any_value(name) FROM dm.tables WHERE data = $1), '')", table)
	if err == nil && relation != "" {
		return relation
	}
	return schema + "." + table
}
