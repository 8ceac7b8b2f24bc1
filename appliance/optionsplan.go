package appliance

import (
	"context"
	"fmt"
	"slices"

	"dvmigrate/appliance/dataverse/schema"
	"dvmigrate/appliance/mapping"
)

// OptionsWorkbook is the workbook that has all choices' maps, where people want one file.
const OptionsWorkbook = mapsFolder + "/options.xlsx"

// OptionsPlan is the state of the choices' maps against the texts in the data.
type OptionsPlan struct {
	Version int         `json:"version"`
	Maps    []OptionMap `json:"maps"`
	Notes   []string    `json:"notes,omitempty"`
}

// OptionMap is one choice's map.
type OptionMap struct {
	Table    string       `json:"table"`
	Column   string       `json:"column"`
	File     string       `json:"file"`     // the sheet; "" where there is none yet
	Texts    int          `json:"texts"`    // different texts in the data
	Mapped   int          `json:"mapped"`   // of which have a value
	Proposed int          `json:"proposed"` // of which were proposed now
	Open     int          `json:"open"`     // of which have none
	OpenRows int64        `json:"openRows"` // rows with those
	Such     []OptionText `json:"such"`     // the most frequent of the open ones, at most five
	Written  bool         `json:"written"`

	lines   []OptionText
	extra   []string            // names of people's own columns
	remarks []map[string]string // rows without a text, on which people have written
}

// OptionText is one text of a choice.
type OptionText struct {
	Text  string `json:"text"`
	Rows  int64  `json:"rows"`
	Value string `json:"value,omitempty"`
	Label string `json:"label,omitempty"`

	cells    map[string]string // of the sheet, as it was
	proposed string            // why, where the value was proposed now
}

// suchTexts is how many open texts are named.
const suchTexts = 5

// Options compares the choices' maps with the texts that the transforms yield now, over
// what is staged. only names tables or choices (account.industrycode); empty = all. With
// write the sheets are written: texts that are new are added, with a value where an option
// is alike; what people have decided is kept. With workbook all go into one file.
func (p *Project) Options(ctx context.Context, only []string, write, workbook bool, watch StageWatch) (out OptionsPlan, err error) {
	out = OptionsPlan{Version: 1, Maps: []OptionMap{}}
	if write {
		var end func(error, string)
		if end, err = p.record(ctx, "options plan", append([]string{"options", "plan"}, only...)); err != nil {
			return out, err
		}
		defer func() { end(err, fmt.Sprintf("%d sheets", len(out.Maps))) }()
	}
	b, err := p.bind(ctx, p.stage)
	if err != nil {
		return out, err
	}
	sheets, err := p.optionSheets(ctx)
	if err != nil {
		return out, err
	}
	if err := knownChoices(b, only); err != nil {
		return out, err
	}
	files, err := p.transformFiles()
	if err != nil {
		return out, err
	}
	scripts, err := p.scripts()
	if err != nil {
		return out, err
	}
	learnt := p.learn(sheets)
	for _, f := range files {
		t := b.byName[f.table]
		choices := wantedChoices(t, only)
		if len(choices) == 0 {
			continue
		}
		watch("reading the texts of "+t.Name, -1)
		texts, err := p.choiceTexts(ctx, scripts, f, choices)
		if err != nil {
			return out, fmt.Errorf("%s: %w", f.path, err)
		}
		for i, c := range choices {
			at := slices.IndexFunc(sheets, func(o optionSheet) bool { return o.table == t.Name && o.column == c.LogicalName })
			var sheet *optionSheet
			if at >= 0 {
				sheet = &sheets[at]
			}
			m, note, err := planMap(t.Name, c, sheet, texts[i], learnt[choiceKind(c)])
			if err != nil {
				return out, err
			}
			if note != "" {
				out.Notes = append(out.Notes, note)
			}
			if m != nil {
				out.Maps = append(out.Maps, *m)
			}
		}
	}
	if write {
		err = p.writeMaps(ctx, &out, sheets, workbook)
	}
	return out, err
}

// knownChoices refuses names that are no table or choice of the project.
func knownChoices(b *bound, only []string) error {
	var known []string
	for _, t := range b.tables {
		known = append(known, t.Name)
		for _, c := range wantedChoices(t, nil) {
			known = append(known, t.Name+"."+c.LogicalName)
		}
	}
	for _, name := range only {
		if !slices.Contains(known, name) {
			return unknownName("table or choice that a transform yields", name, known)
		}
	}
	return nil
}

// wantedChoices are the choices that a table's transform yields.
func wantedChoices(t *mapping.Table, only []string) []*schema.Column {
	var out []*schema.Column
	for _, c := range t.Columns {
		if c.Type.HasOptions() && (len(only) == 0 || slices.Contains(only, t.Name) || slices.Contains(only, t.Name+"."+c.LogicalName)) {
			out = append(out, c.Column)
		}
	}
	return out
}

// Unmapped is a choice with texts that had no value when the stage was last made.
type Unmapped struct {
	Table  string       `json:"table"`
	Column string       `json:"column"`
	File   string       `json:"file"`
	Texts  int64        `json:"texts"`
	Rows   int64        `json:"rows"`
	Such   []OptionText `json:"such"` // the most frequent, at most five
}

// unmapped lists the texts that had no value in the last staging.
func (p *Project) unmapped(ctx context.Context) ([]Unmapped, error) {
	var there int64
	if err := p.stage.Row(ctx, []any{&there}, "SELECT count(*) FROM duckdb_tables() WHERE schema_name = 'dm' AND table_name = 'unmapped'"); err != nil || there == 0 {
		return nil, err
	}
	var out []Unmapped
	err := p.stage.Rows(ctx, fmt.Sprintf(`SELECT "table", "column", file, text, rows, count(*) OVER w, sum(rows) OVER w::BIGINT FROM dm.unmapped
		WINDOW w AS (PARTITION BY "table", "column") QUALIFY row_number() OVER (PARTITION BY "table", "column" ORDER BY rows DESC, text) <= %d ORDER BY "table", "column", rows DESC, text`, suchTexts),
		nil, func(scan func(...any) error) error {
			var u Unmapped
			var text OptionText
			if err := scan(&u.Table, &u.Column, &u.File, &text.Text, &text.Rows, &u.Texts, &u.Rows); err != nil {
				return err
			}
			if n := len(out); n == 0 || out[n-1].Table != u.Table || out[n-1].Column != u.Column {
				out = append(out, u)
			}
			last := &out[len(out)-1]
			last.Such = append(last.Such, text)
			return nil
		})
	return out, err
}
