package appliance

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"dvmigrate/appliance/dataverse/schema"
	"dvmigrate/appliance/mapping"
	"dvmigrate/duckstage"
)

// A table of a source that links two others is two keys of theirs and little more. Where the
// target has an N:N relationship of what they become, it is that: nothing else is asked for.

// linkEnd is a column that holds another source's keys.
type linkEnd struct {
	column, other string
	alike, share  float64
}

// mostBeside is how many columns a source of links may have beside its two keys.
const mostBeside = 4

// housekeeping are the columns of links that say nothing of what is linked.
var housekeeping = regexp.MustCompile(`(?i)(^|_)(id|guid|rowid|rowguid|version|creat|chang|modif|updat|insert|delet|valid|timestamp|date|time|datum|user|sort|order|position|pos|seq|lfd|erstellt|geaendert|angelegt)`)

// draftLink is a source of links.
type draftLink struct {
	source string
	found  []schema.ManyToMany // what they may be of, the likeliest first
	ends   []linkEnd           // in the order of that
	beside []SourceColumn
}

// link finds the N:N relationship that a source is, if it has the keys of two others whose
// tables have one; nil else.
func (d *drafter) link(ctx context.Context, source string) (*draftLink, error) {
	cols := d.columns[source]
	if len(cols) < 2 || len(cols) > 2+mostBeside {
		return nil, nil
	}
	var ends []linkEnd
	var beside []SourceColumn
	for _, c := range cols {
		end, err := d.linkEnd(ctx, source, c, len(cols) == 2)
		if err != nil {
			return nil, err
		}
		if end.other == "" {
			beside = append(beside, c)
		} else {
			ends = append(ends, end)
		}
	}
	if len(ends) != 2 {
		return nil, nil
	}
	at := func(i int) string { return d.table[ends[i].other].Table.LogicalName }
	var found []schema.ManyToMany
	for _, m := range d.p.Schema.ManyToMany {
		if m.Table1 == at(0) && m.Table2 == at(1) || m.Table1 == at(1) && m.Table2 == at(0) {
			found = append(found, m)
		}
	}
	if len(found) == 0 {
		return nil, nil
	}
	slices.SortStableFunc(found, func(a, b schema.ManyToMany) int {
		alike := func(m schema.ManyToMany) float64 {
			return max(mapping.Alike(d.called(source), m.Intersect), mapping.Alike(d.called(source), m.SchemaName))
		}
		switch x, y := alike(a), alike(b); {
		case x > y:
			return -1
		case x < y:
			return 1
		}
		return 0
	})
	if found[0].Table1 != at(0) {
		ends[0], ends[1] = ends[1], ends[0]
	}
	return &draftLink{source, found, ends, beside}, nil
}

// linkEnd finds the source whose keys a column holds: one that is called like it, or else, where
// the source has nothing but keys, the one that has most of the values.
func (d *drafter) linkEnd(ctx context.Context, source string, c SourceColumn, bare bool) (best linkEnd, err error) {
	for _, other := range d.sources {
		if other == source || d.table[other] == nil || len(d.keys[other]) != 1 {
			continue
		}
		alike := mapping.KeyAlike(c.Name, d.called(other), d.keys[other][0])
		if alike < 0.6 && (!bare || best.alike >= 0.6) {
			continue
		}
		share, chance, err := d.share(ctx, source, c.Name, other)
		if err != nil {
			return best, err
		}
		if share < 0.5 || !bare && share < 0.9 || chance && alike < 0.6 {
			continue
		}
		if best.other == "" || alike >= 0.6 && alike > best.alike || best.alike < 0.6 && share > best.share {
			best = linkEnd{c.Name, other, alike, share}
		}
	}
	return best, nil
}

// writeLink writes a transform of links.
func (d *drafter) writeLink(ctx context.Context, l *draftLink) error {
	source, ends, m := l.source, l.ends, l.found[0]
	path, rel := d.file(m.Intersect)
	row := DraftTable{Table: m.Intersect, Source: source, File: rel, Kept: exists(path), Matched: 2, Left: len(l.beside)}
	col := func(i int) string { return duckstage.Ident(ends[i].column) }
	first, second := d.keyed(ends[0].other, col(0)), d.keyed(ends[1].other, col(1))
	var rows, pairs, empty int64
	query := fmt.Sprintf("SELECT count(*), count(DISTINCT (%[1]s, %[2]s)), count(*) FILTER (%[1]s IS NULL OR %[2]s IS NULL) FROM source.%[3]s", col(0), col(1), duckstage.Ident(source))
	if err := d.p.stage.Row(ctx, []any{&rows, &pairs, &empty}, query); err != nil {
		return err
	}
	var text strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&text, format+"\n", args...) }
	ask := func(format string, args ...any) {
		row.Questions++
		if !row.Kept {
			d.out.Open = append(d.out.Open, DraftQuestion{File: rel, Line: 1 + strings.Count(text.String(), "\n"), Text: fmt.Sprintf(format, args...)})
		}
		line("-- "+format+" ???", args...)
	}
	line("-- %s from %s: a draft. Links of %s and %s.", m.Intersect, source, m.Table1, m.Table2)
	if len(l.found) > 1 {
		var others []string
		for _, o := range l.found[1:] {
			others = append(others, o.Intersect)
		}
		ask("they may be of %s, too", strings.Join(others, " or "))
	}
	if m.Table1 == m.Table2 {
		ask("which of the two is %s, and which %s", m.Column1, m.Column2)
	}
	distinct := ""
	if pairs < rows {
		distinct = "DISTINCT " // some are there twice
	}
	line("SELECT %s%s || '/' || %s AS legacy_key, %s AS %s, %s AS %s", distinct, first, second, first, m.Column1, second, m.Column2)
	line("FROM %s", duckstage.Ident(source))
	if empty > 0 {
		line("WHERE %s IS NOT NULL AND %s IS NOT NULL", col(0), col(1))
	}
	for i, c := range l.beside {
		if i == 0 {
			line("-- Not used, as a link has nothing but its two ends:")
		}
		if housekeeping.MatchString(c.Name) || c.Distinct <= 1 || c.Unique {
			line("--   %s%s", c.Name, examples(c))
		} else {
			ask("  %s%s: is it to be lost", c.Name, examples(c))
		}
	}
	d.out.Tables = append(d.out.Tables, row)
	if row.Kept {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	return writeFile(path, []byte(text.String()))
}
