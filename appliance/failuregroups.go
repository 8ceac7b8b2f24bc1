package appliance

import (
	"cmp"
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"dvmigrate/appliance/load"
	"dvmigrate/ledger"
)

// FailureGroup is the failures of one table that have one cause.
type FailureGroup struct {
	Table   string   `json:"table"`
	Flag    string   `json:"flag"` // E or H
	Class   string   `json:"class"`
	Code    string   `json:"code,omitempty"`
	Column  string   `json:"column,omitempty"` // the one that the message names
	Records int64    `json:"records"`
	Behind  int64    `json:"behind"`   // records of all tables that are held because of these
	Cause   string   `json:"cause"`    // the message without what differs from record to record
	Example string   `json:"example"`  // a whole message
	Keys    []string `json:"examples"` // legacy keys of at most groupExamples records
}

// FailureGroups is the answer to `errors --groups`.
type FailureGroups struct {
	Version  int            `json:"version"`
	Total    int64          `json:"total"`
	Groups   []FailureGroup `json:"groups"` // the largest first, with what is held behind them
	Rejected int64          `json:"rejectedLines"`
}

// groupExamples is how many records of a group are named.
const groupExamples = 3

// FailureGroups gathers the failures that the filter chooses by table, class, code, column
// and cause. A record that is held behind another one belongs to that one's group, however
// many lie between.
func (p *Project) FailureGroups(ctx context.Context, f FailureFilter) (FailureGroups, error) {
	out := FailureGroups{Version: 1, Groups: []FailureGroup{}}
	if err := f.validate(p.ledger); err != nil {
		return out, err
	}
	if err := p.knownKeys(ctx, f); err != nil {
		return out, err
	}
	g := grouper{p: p, groups: map[groupKey]*grouped{}, behind: map[parentRef]int64{}}
	for _, t := range p.ledger.Tables() {
		if len(f.Tables) > 0 && !slices.Contains(f.Tables, t.Name) {
			continue
		}
		err := p.eachFailure(ctx, t.Name, f, func(e ledger.Failure) error {
			out.Total++
			g.take(t.Name, e)
			return nil
		})
		if err != nil {
			return out, fmt.Errorf("group errors of %s: %w", t.Name, err)
		}
	}
	if err := g.roots(ctx); err != nil {
		return out, err
	}
	if err := g.name(ctx); err != nil {
		return out, err
	}
	for _, one := range g.groups {
		out.Groups = append(out.Groups, one.FailureGroup)
	}
	slices.SortFunc(out.Groups, func(a, b FailureGroup) int {
		return cmp.Or(cmp.Compare(b.Records+b.Behind, a.Records+a.Behind), cmp.Compare(a.Table, b.Table), cmp.Compare(a.Class, b.Class), cmp.Compare(a.Cause, b.Cause), cmp.Compare(a.Column, b.Column))
	})
	var err error
	out.Rejected, err = p.rejectedLines(ctx)
	return out, err
}

// groupKey tells one group from another.
type groupKey struct{ table, flag, class, code, column, cause string }

type grouped struct {
	FailureGroup
	seqs []uint32 // of the examples
}

// parentRef is a record that another one is held behind.
type parentRef struct{ table, key string }

type grouper struct {
	p      *Project
	groups map[groupKey]*grouped
	behind map[parentRef]int64 // records held behind each
}

// behindText is the reason of a record that is held behind another one.
var behindText = regexp.MustCompile(`(?s)^[^:]+: the (\S+) with legacy key '(.*)' failed or is held back$`)

func behindOf(e ledger.Failure) (parentRef, bool) {
	if load.Class(e.Reason.Class) != load.ClassParent {
		return parentRef{}, false
	}
	m := behindText.FindStringSubmatch(e.Text)
	if m == nil {
		return parentRef{}, false
	}
	return parentRef{m[1], m[2]}, true
}

func (g *grouper) take(table string, e ledger.Failure) {
	if ref, ok := behindOf(e); ok {
		g.behind[ref]++
		return
	}
	one := g.group(table, e)
	one.Records++
	if len(one.seqs) < groupExamples {
		one.seqs = append(one.seqs, e.Seq)
	}
}

func (g *grouper) group(table string, e ledger.Failure) *grouped {
	key := groupKey{table, e.Flag.String(), load.Class(e.Reason.Class).String(), codeText(e.Code), g.p.columnOf(table, e.Text), ledger.Template(e.Text)}
	if g.groups[key] == nil {
		g.groups[key] = &grouped{FailureGroup: FailureGroup{Table: key.table, Flag: key.flag, Class: key.class, Code: key.code, Column: key.column, Cause: key.cause, Example: e.Text, Keys: []string{}}}
	}
	return g.groups[key]
}

// roots gives what is held behind a record to that record's group. A parent that is held
// itself hands on what is behind it.
func (g *grouper) roots(ctx context.Context) error {
	for round := 0; len(g.behind) > 0; round++ {
		byTable := map[string][]string{}
		for ref := range g.behind {
			byTable[ref.table] = append(byTable[ref.table], ref.key)
		}
		now := g.behind
		g.behind = map[parentRef]int64{}
		for table, keys := range byTable {
			seqs, err := g.p.keySeqs(ctx, table, keys)
			if err != nil {
				return err
			}
			for _, key := range keys {
				if err := g.hand(table, seqs, key, now[parentRef{table, key}], round < maxBehind); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// maxBehind is how many records may lie between one that failed and one that is held
// behind it; rows that point to each other in a circle would go on for ever.
const maxBehind = 100

// hand gives n records that are held behind one to its group; on says that they may be
// handed on to the next.
func (g *grouper) hand(table string, seqs map[string]uint32, key string, n int64, on bool) error {
	seq, known := seqs[key]
	var page []ledger.Failure
	if known {
		var err error
		if page, err = g.p.ledger.Failures(table, seq, 1); err != nil {
			return err
		}
	}
	if len(page) == 0 || page[0].Seq != seq { // mended meanwhile: the next load lets them go
		waiting := ledger.Failure{Entry: ledger.Entry{Flag: ledger.Held}, Reason: ledger.Reason{Class: uint8(load.ClassParent), Text: "what they depend on does not fail any more: the next load sends them"}}
		g.group(table, waiting).Behind += n
		return nil
	}
	if ref, ok := behindOf(page[0]); ok && on {
		g.behind[ref] += n
		return nil
	}
	g.group(table, page[0]).Behind += n
	return nil
}

// name gives the examples their legacy keys.
func (g *grouper) name(ctx context.Context) error {
	for _, one := range g.groups {
		var list []tableFailure
		for _, seq := range one.seqs {
			list = append(list, tableFailure{one.Table, ledger.Failure{Seq: seq}})
		}
		var named FailureList
		if err := g.p.nameFailures(ctx, list, &named); err != nil {
			return err
		}
		for _, e := range named.Errors {
			one.Keys = append(one.Keys, e.LegacyKey)
		}
	}
	return nil
}

var (
	faultColumn = regexp.MustCompile(`^(?:DVM-[A-Z]+ )?([a-z_][a-z0-9_]*): `)
	quotedWord  = regexp.MustCompile(`['"\x60]([A-Za-z_][A-Za-z0-9_]*)['"\x60]`)
	plainWord   = regexp.MustCompile(`[A-Za-z][A-Za-z0-9]*_[A-Za-z0-9_]+`)
)

// columnOf is the table's column that a message names: at its beginning, in quotes, or by
// a name that cannot be a plain word; "" where there is none.
func (p *Project) columnOf(table, message string) string {
	t := p.Schema.Table(table)
	if t == nil {
		return ""
	}
	var words []string
	for _, re := range []*regexp.Regexp{faultColumn, quotedWord} {
		for _, m := range re.FindAllStringSubmatch(message, -1) {
			words = append(words, m[1])
		}
	}
	for _, word := range append(words, plainWord.FindAllString(message, -1)...) {
		if word = strings.ToLower(word); t.Column(word) != nil {
			return word
		}
	}
	return ""
}
