package appliance

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"dvmigrate/appliance/mapping"
	"dvmigrate/duckstage"
)

// Draft is what a draft of a project wrote.
type Draft struct {
	Version   int          `json:"version"`
	Tables    []DraftTable `json:"tables"`
	Maps      []string     `json:"maps"`      // sheets of choices to complete
	Unmatched []string     `json:"unmatched"` // sources that no transform was written for

	Why map[string]string `json:"why"` // by source of Unmatched
}

// DraftTable is one transform.
type DraftTable struct {
	Table     string `json:"table"`
	Source    string `json:"source"`
	File      string `json:"file"`
	Kept      bool   `json:"kept"`      // there was one already, which was left as it is
	Matched   int    `json:"matched"`   // columns that were guessed
	Left      int    `json:"left"`      // columns of the source that were not
	Questions int    `json:"questions"` // places marked ??? in the file
}

// Draft writes a first transform for every staged source that is like a table of the
// schema: the columns guessed by name, texts converted by the form of their values,
// lookups found by looking which columns hold another source's keys, and sheets for
// choices. What is there already is left as it is.
func (p *Project) Draft(ctx context.Context, watch StageWatch) (out Draft, err error) {
	out = Draft{Version: 1, Tables: []DraftTable{}, Maps: []string{}, Unmatched: []string{}, Why: map[string]string{}}
	end, err := p.record(ctx, "draft", p.o.Args)
	if err != nil {
		return out, err
	}
	defer func() { end(err, fmt.Sprintf("%d tables", len(out.Tables))) }()
	profile, err := p.Profile(ctx, nil, watch)
	if err != nil {
		return out, err
	}
	pulled, err := p.pulled(ctx)
	if err != nil {
		return out, err
	}
	d := drafter{p: p, out: &out, pulled: pulled != nil, columns: map[string][]SourceColumn{}, table: map[string]*mapping.GuessedTable{}, keys: map[string][]string{}, like: map[string]string{}}
	for _, c := range profile.Columns {
		if d.columns[c.Source] == nil {
			d.sources = append(d.sources, c.Source)
		}
		d.columns[c.Source] = append(d.columns[c.Source], c)
	}
	if len(d.sources) == 0 {
		return out, errors.New("no source is staged yet; name your files under sources in migration.yaml and run `dvmigrate stage`")
	}
	if err := d.assign(ctx); err != nil {
		return out, err
	}
	for _, source := range d.sources {
		if d.table[source] == nil {
			linked, err := d.link(ctx, source)
			if err != nil {
				return out, fmt.Errorf("draft from %s: %w", source, err)
			}
			if linked {
				continue
			}
			out.Unmatched = append(out.Unmatched, source)
			out.Why[source] = d.why(source)
			continue
		}
		watch("drafting "+source, -1)
		if err := d.write(ctx, source); err != nil {
			return out, fmt.Errorf("draft from %s: %w", source, err)
		}
	}
	return out, nil
}

type drafter struct {
	p       *Project
	out     *Draft
	pulled  bool // users and currencies of the target are in the stage
	sources []string
	columns map[string][]SourceColumn        // by source
	table   map[string]*mapping.GuessedTable // by source
	keys    map[string][]string              // by source: the columns that tell its rows apart
	like    map[string]string                // by source: the table it is most like
}

// assign gives each source the table it is most like, no table twice: the best pairs
// first.
func (d *drafter) assign(ctx context.Context) error {
	type pair struct {
		source string
		guess  mapping.GuessedTable
	}
	var pairs []pair
	for _, source := range d.sources {
		if strings.HasPrefix(source, "map_") {
			continue
		}
		var columns []mapping.FromColumn
		for _, c := range d.columns[source] {
			from := mapping.FromColumn{Name: c.Name, SQLType: c.SQLType}
			for _, f := range c.Patterns {
				from.Forms = append(from.Forms, f.Value)
			}
			columns = append(columns, from)
		}
		keys, err := d.keysOf(ctx, source)
		if err != nil {
			return err
		}
		d.keys[source] = keys
		guesses := mapping.GuessTables(d.p.Schema, source, columns)
		if len(guesses) == 0 {
			continue
		}
		if d.like[source] = guesses[0].Table.LogicalName; len(keys) == 0 {
			continue // nothing to tell rows apart by
		}
		for _, g := range guesses {
			if g.Score >= 0.85*guesses[0].Score { // much worse than its best is no match, when that is taken
				pairs = append(pairs, pair{source, g})
			}
		}
	}
	slices.SortStableFunc(pairs, func(a, b pair) int { return cmp.Compare(b.guess.Score, a.guess.Score) })
	taken := map[string]bool{}
	for _, p := range pairs {
		if d.table[p.source] != nil || taken[p.guess.Table.LogicalName] {
			continue
		}
		d.table[p.source], taken[p.guess.Table.LogicalName] = &p.guess, true
	}
	return nil
}

// why says why no transform was written for a source, and what to do.
func (d *drafter) why(source string) string {
	like := d.like[source]
	if like == "" {
		return "like no table of the schema"
	}
	if len(d.keys[source]) == 0 {
		return "like " + like + ", but neither a column nor two together tell its rows apart"
	}
	for other, g := range d.table {
		if g.Table.LogicalName == like {
			return fmt.Sprintf("like %s, which %s feeds: where both do, add it to transform/%s.sql with UNION ALL BY NAME", like, other, like)
		}
	}
	return "hardly like " + like
}

// keyName is how columns are called that tell rows apart.
var keyName = regexp.MustCompile(`(?i)(id|nr|no|num|number|nummer|key|code|schluessel)$`)

// keysOf are the columns that tell a source's rows apart: one that is unique, best one that is
// called so, or two of those that are called so.
func (d *drafter) keysOf(ctx context.Context, source string) ([]string, error) {
	var unique, named []string
	for _, c := range d.columns[source] {
		called := keyName.MatchString(c.Name) && !strings.Contains(strings.ToLower(c.Name), "guid")
		switch {
		case c.Unique && called:
			return []string{c.Name}, nil
		case c.Unique:
			unique = append(unique, c.Name)
		case called && c.Share == 1:
			named = append(named, c.Name)
		}
	}
	if len(unique) > 0 {
		return unique[:1], nil
	}
	named = named[:min(len(named), 4)]
	for i, a := range named {
		for _, b := range named[i+1:] {
			var apart bool
			query := fmt.Sprintf("SELECT count(*) = count(DISTINCT (%s, %s)) FROM source.%s", duckstage.Ident(a), duckstage.Ident(b), duckstage.Ident(source))
			if err := d.p.stage.Row(ctx, []any{&apart}, query); err != nil {
				return nil, err
			}
			if apart {
				return []string{a, b}, nil
			}
		}
	}
	return nil, nil
}

// write writes the transform of one source.
func (d *drafter) write(ctx context.Context, source string) error {
	g := d.table[source]
	name := g.Table.LogicalName
	path := filepath.Join(d.p.Config.Path(d.p.Config.Transforms), name+".sql")
	rel, err := filepath.Rel(d.p.Config.Dir, path)
	if err != nil {
		rel = path
	}
	row := DraftTable{Table: name, Source: source, File: rel, Kept: exists(path)}
	w := draftSQL{d: d, source: source, t: g.Table, alias: "s", kept: row.Kept}
	if err := w.references(ctx); err != nil {
		return err
	}
	for _, c := range d.columns[source] {
		if err := w.column(ctx, c, g.Columns); err != nil {
			return err
		}
	}
	row.Matched, row.Left = w.matched, len(w.left)
	w.unnamed()
	row.Questions = w.questions
	if !row.Kept {
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return err
		}
		if err := writeFile(path, []byte(w.text())); err != nil {
			return err
		}
	}
	d.out.Tables = append(d.out.Tables, row)
	return nil
}

// link writes the transform of an N:N relationship, if the source is two columns with the
// keys of other sources whose tables have one.
func (d *drafter) link(ctx context.Context, source string) (bool, error) {
	cols := d.columns[source]
	if len(cols) != 2 {
		return false, nil
	}
	var ends [2]string // the tables whose keys they are
	for i, c := range cols {
		for _, other := range d.sources {
			if d.table[other] == nil || len(d.keys[other]) != 1 || ends[i] != "" {
				continue
			}
			share, err := d.share(ctx, source, c.Name, other)
			if err != nil {
				return false, err
			}
			if share >= 0.5 {
				ends[i] = d.table[other].Table.LogicalName
			}
		}
	}
	for _, m := range d.p.Schema.ManyToMany {
		first, second := cols[0].Name, cols[1].Name
		switch {
		case ends[0] == "" || ends[1] == "":
			continue
		case m.Table1 == ends[0] && m.Table2 == ends[1]:
		case m.Table1 == ends[1] && m.Table2 == ends[0]:
			first, second = second, first
		default:
			continue
		}
		path := filepath.Join(d.p.Config.Path(d.p.Config.Transforms), m.Intersect+".sql")
		rel, err := filepath.Rel(d.p.Config.Dir, path)
		if err != nil {
			rel = path
		}
		row := DraftTable{Table: m.Intersect, Source: source, File: rel, Kept: exists(path), Matched: 2}
		if !row.Kept {
			sql := fmt.Sprintf("-- %s from %s: a draft. Links of %s and %s.\nSELECT %s || '/' || %s AS legacy_key, %s AS %s, %s AS %s\nFROM %s\n", m.Intersect, source, m.Table1, m.Table2,
				duckstage.Ident(first), duckstage.Ident(second), duckstage.Ident(first), m.Column1, duckstage.Ident(second), m.Column2, duckstage.Ident(source))
			if err := writeFile(path, []byte(sql)); err != nil {
				return false, err
			}
		}
		d.out.Tables = append(d.out.Tables, row)
		return true, nil
	}
	return false, nil
}
