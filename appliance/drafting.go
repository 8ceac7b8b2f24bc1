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

	"dvmigrate/appliance/config"
	"dvmigrate/appliance/dataverse/schema"
	"dvmigrate/appliance/mapping"
	"dvmigrate/appliance/plan"
	"dvmigrate/appliance/progress"
	"dvmigrate/duckstage"
	"dvmigrate/duckstage/ingest"
)

// Draft is what a draft of a project wrote.
type Draft struct {
	Version   int          `json:"version"`
	Tables    []DraftTable `json:"tables"`
	Maps      []string     `json:"maps"`      // sheets of choices to complete
	Unmatched []string     `json:"unmatched"` // sources that no transform was written for

	Why map[string]string `json:"why"` // by source of Unmatched

	Open   []DraftQuestion `json:"open"`             // of what was written now
	Order  []string        `json:"order"`            // of loading; empty when the transforms have faults
	Faults config.Faults   `json:"faults,omitempty"` // of all transforms, as `check` has them
}

// DraftQuestion is a line that needs an answer.
type DraftQuestion struct {
	File string `json:"file"`
	Line int    `json:"line"`
	Text string `json:"text"`
}

// DraftTable is one transform.
type DraftTable struct {
	Table     string `json:"table"`
	Source    string `json:"source"`
	File      string `json:"file"`
	Kept      bool   `json:"kept"`      // there was one already, which was left as it is
	Matched   int    `json:"matched"`   // columns that were guessed
	Left      int    `json:"left"`      // columns of the source that were not, keys aside
	Questions int    `json:"questions"` // places marked ??? in the file
}

// Draft writes a first transform for every staged source that is like a table of the
// schema: the columns guessed by name, texts converted by the form of their values,
// lookups found by looking which columns hold another source's keys, and sheets for
// choices. Several sources that are like one table feed it together. What is there already
// is left as it is.
func (p *Project) Draft(ctx context.Context, watch StageWatch) (out Draft, err error) {
	out = Draft{Version: 1, Tables: []DraftTable{}, Maps: []string{}, Unmatched: []string{}, Why: map[string]string{}, Open: []DraftQuestion{}, Order: []string{}}
	end, err := p.record(ctx, "draft", p.o.Args)
	if err != nil {
		return out, err
	}
	defer func() { end(err, progress.Counted(len(out.Tables), "table")) }()
	profile, err := p.Profile(ctx, nil, watch)
	if err != nil {
		return out, err
	}
	pulled, err := p.pulled(ctx)
	if err != nil {
		return out, err
	}
	d := drafter{p: p, out: &out, pulled: pulled != nil, columns: map[string][]SourceColumn{}, table: map[string]*mapping.GuessedTable{}, keys: map[string][]string{},
		prefix: map[string]string{}, like: map[string]string{}, texts: map[string][]duckstage.ValueCount{}}
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
	d.people()
	done, links := map[string]bool{}, map[string]*draftLink{}
	for _, source := range d.sources { // before what they may be mistaken for
		if g := d.table[source]; g != nil && g.Named() {
			continue
		}
		if links[source], err = d.link(ctx, source); err != nil {
			return out, fmt.Errorf("draft from %s: %w", source, err)
		}
		if links[source] != nil {
			delete(d.table, source)
		}
	}
	for _, source := range d.sources {
		g := d.table[source]
		switch {
		case links[source] != nil:
			if err := d.writeLink(ctx, links[source]); err != nil {
				return out, fmt.Errorf("draft from %s: %w", source, err)
			}
			continue
		case g == nil:
			out.Unmatched = append(out.Unmatched, source)
			out.Why[source] = d.why(source)
			continue
		case done[g.Table.LogicalName]:
			continue
		}
		done[g.Table.LogicalName] = true
		watch("drafting "+g.Table.LogicalName, -1)
		if err := d.write(ctx, g.Table); err != nil {
			return out, fmt.Errorf("draft %s: %w", g.Table.LogicalName, err)
		}
	}
	if len(d.embedded) > 0 && !done["contact"] {
		if err := d.write(ctx, p.Schema.Table("contact")); err != nil {
			return out, fmt.Errorf("draft contact: %w", err)
		}
	}
	return out, p.orderOf(ctx, &out)
}

// orderOf says in what order the tables will be loaded, or what their transforms lack.
func (p *Project) orderOf(ctx context.Context, out *Draft) error {
	b, err := p.bind(ctx, p.stage)
	if errors.As(err, &out.Faults) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, s := range b.plan.Steps {
		if s.Pass == plan.Insert || s.Pass == plan.Link {
			out.Order = append(out.Order, s.Table)
		}
	}
	return nil
}

type drafter struct {
	p        *Project
	out      *Draft
	pulled   bool // users and currencies of the target are in the stage
	sources  []string
	columns  map[string][]SourceColumn         // by source
	table    map[string]*mapping.GuessedTable  // by source
	keys     map[string][]string               // by source: the columns that tell its rows apart
	prefix   map[string]string                 // by source: what stands before its keys, which another of its table has too
	like     map[string]string                 // by source: the table it is most like
	embedded []embedded                        // people that sources of other tables have
	texts    map[string][]duckstage.ValueCount // by file of a choice: the texts of the sources so far
}

// assign gives each source the table it is most like: the best pairs first, each table
// one source. Those that are left over feed the table that they are most like as well, if
// they have what people see its records by.
func (d *drafter) assign(ctx context.Context) error {
	type pair struct {
		source string
		guess  mapping.GuessedTable
	}
	var pairs []pair
	best, named := map[string]mapping.GuessedTable{}, map[string]bool{}
	for _, source := range d.sources {
		if strings.HasPrefix(source, "map_") {
			continue
		}
		var columns []mapping.FromColumn
		for _, c := range d.columns[source] {
			if d.fileOf(source, c.Name) != "" {
				continue
			}
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
		if name := d.called(source); name != source && d.p.Schema.Table(name) != nil { // no guess
			guesses = slices.DeleteFunc(mapping.GuessTables(d.p.Schema, name, columns), func(g mapping.GuessedTable) bool { return g.Table.LogicalName != name })
		}
		if len(guesses) == 0 {
			continue
		}
		if d.like[source] = guesses[0].Table.LogicalName; len(keys) == 0 {
			continue // nothing to tell rows apart by
		}
		best[source] = guesses[0]
		named[guesses[0].Table.LogicalName] = named[guesses[0].Table.LogicalName] || guesses[0].Named()
		for _, g := range guesses {
			if g.Score >= 0.85*guesses[0].Score { // much worse than its best is no match, when that is taken
				pairs = append(pairs, pair{source, g})
			}
		}
	}
	slices.SortStableFunc(pairs, func(a, b pair) int { return cmp.Compare(b.guess.Score, a.guess.Score) })
	taken := map[string]bool{}
	for _, p := range pairs {
		name := p.guess.Table.LogicalName
		if d.table[p.source] != nil || taken[name] || named[name] && !p.guess.Named() {
			continue
		}
		d.table[p.source], taken[name] = &p.guess, true
	}
	for source, g := range best {
		if d.table[source] == nil && taken[g.Table.LogicalName] && g.Named() {
			d.table[source] = &g
		}
	}
	return d.separate(ctx)
}

// called is what a source is of: a package's tables have their names behind that of the package.
func (d *drafter) called(source string) string {
	for name, s := range d.p.Config.Sources {
		if table, ok := strings.CutPrefix(source, name+"_"); ok && s.Format == ingest.CMT {
			return table
		}
	}
	return source
}

// feeds are the sources of a table, the one that is most like it first.
func (d *drafter) feeds(table string) (sources []string) {
	for _, s := range d.sources {
		if g := d.table[s]; g != nil && g.Table.LogicalName == table {
			sources = append(sources, s)
		}
	}
	slices.SortStableFunc(sources, func(a, b string) int { return cmp.Compare(d.table[b].Score, d.table[a].Score) })
	return sources
}

// separate finds the sources whose keys another one of their table has, too: theirs get the
// source's name before them, since a legacy key is one of a table.
func (d *drafter) separate(ctx context.Context) error {
	for _, t := range d.p.Schema.Tables {
		feeds := d.feeds(t.LogicalName)
		for i, source := range feeds {
			for _, other := range feeds[:i] {
				var both bool
				query := fmt.Sprintf("SELECT EXISTS (SELECT CAST(%s AS VARCHAR) FROM source.%s AS s INTERSECT SELECT CAST(%s AS VARCHAR) FROM source.%s AS s)",
					d.key(source, "s"), duckstage.Ident(source), d.key(other, "s"), duckstage.Ident(other))
				if err := d.p.stage.Row(ctx, []any{&both}, query); err != nil {
					return err
				}
				if both {
					d.prefix[source] = source + "/"
				}
			}
		}
	}
	return nil
}

// key is the legacy key of a source's rows, in SQL.
func (d *drafter) key(source, alias string) string { return d.keyed(source, d.plainKey(source, alias)) }

// plainKey is what tells the source's own rows apart.
func (d *drafter) plainKey(source, alias string) string {
	var parts []string
	for _, k := range d.keys[source] {
		parts = append(parts, alias+"."+identifier(k))
	}
	return strings.Join(parts, " || '/' || ")
}

// keyed is the legacy key of the source's row that a value is the key of.
func (d *drafter) keyed(source, value string) string {
	if d.prefix[source] == "" {
		return value
	}
	return duckstage.Quote(d.prefix[source]) + " || " + value
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
	if feeds := d.feeds(like); len(feeds) > 0 {
		return fmt.Sprintf("like %s, which %s feeds, but has nothing by which people see one: where it adds to those rows, join it in transform/%s.sql", like, feeds[0], like)
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

// write writes the transform of one table.
func (d *drafter) write(ctx context.Context, t *schema.Table) error {
	path, rel := d.file(t.LogicalName)
	kept, feeds := exists(path), d.feeds(t.LogicalName)
	var selects []*draftSQL
	for _, source := range feeds {
		w := &draftSQL{d: d, source: source, t: t, alias: "s", kept: kept}
		if err := w.read(ctx); err != nil {
			return err
		}
		selects = append(selects, w)
	}
	if t.LogicalName == "contact" {
		for _, e := range d.embedded {
			feeds = append(feeds, e.source)
			selects = append(selects, d.person(e, t, kept))
		}
	}
	text := fmt.Sprintf("-- %s from %s: a draft, guessed from names and values. Look at every line; ??? marks what\n-- needs an answer. dvmigrate preview %s shows what comes out.\n", t.LogicalName, inWords(feeds), t.LogicalName)
	for i, w := range selects {
		switch {
		case i > 0 && w.keyed != "":
			text += fmt.Sprintf("UNION ALL BY NAME  -- the people that %s have in columns of their own; may one be there twice ???\n", w.source)
			w.questions++
		case i > 0:
			text += fmt.Sprintf("UNION ALL BY NAME  -- are rows of %s records of %s, too? Where they are the same ones, join them instead ???\n", w.source, t.LogicalName)
			w.questions++
		}
		text += w.text()
		d.out.Tables = append(d.out.Tables, DraftTable{Table: t.LogicalName, Source: w.source, File: rel, Kept: kept, Matched: w.matched, Left: len(w.left), Questions: w.questions})
	}
	if kept {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	for i, line := range strings.Split(text, "\n") {
		if question := strings.TrimSuffix(strings.TrimLeft(line, "- "), " ???"); i > 1 && strings.HasSuffix(line, " ???") {
			d.out.Open = append(d.out.Open, DraftQuestion{File: rel, Line: i + 1, Text: strings.Join(strings.Fields(question), " ")})
		}
	}
	return writeFile(path, []byte(text))
}

// inWords is a list as people say it.
func inWords(names []string) string {
	n := len(names) - 1
	if n < 1 {
		return strings.Join(names, "")
	}
	return strings.Join(names[:n], ", ") + " and " + names[n]
}

// file is where a table's transform is, and as people read it.
func (d *drafter) file(table string) (path, shown string) {
	path = filepath.Join(d.p.Config.Path(d.p.Config.Transforms), table+".sql")
	if rel, err := filepath.Rel(d.p.Config.Dir, path); err == nil {
		return path, rel
	}
	return path, path
}
