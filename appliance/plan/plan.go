// Package plan decides in what order tables are loaded, and how long it will
// take. It is one pure function of schema, mapping and counts: no files, no
// network, no clock.
//
// Order (method.md M4): the graph of lookups among the tables of this migration,
// its strongly connected components in topological order; inside a component, and
// as tie-break, ascending number of distinct lookup targets. A lookup that points
// to a table loaded later, or to its own table, is deferred: left empty by the
// insert and set by a second pass. N:N links come after both ends, then the content of
// files, state and status last, in the opposite order.
package plan

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"dvmigrate/appliance/mapping"
)

// Pass is one kind of work on a table's records.
type Pass string

// The passes, in the order in which a table goes through them.
const (
	Insert  Pass = "insert"
	Link    Pass = "link"    // the main pass of an N:N link table
	Lookups Pass = "lookups" // deferred lookups
	Files   Pass = "files"   // content of files, and images that no new record takes
	State   Pass = "state"

	// The passes after all others, of records whose rows are no longer supplied. They are
	// no steps of a plan: they come in the opposite order of its inserts and links.
	Delete     Pass = "delete"
	Deactivate Pass = "deactivate"

	// Owners is what follows assignments that take others along: these are looked at, and get their owners back. It is no
	// step of a plan either.
	Owners Pass = "owners"
)

// Step is one pass over one table.
type Step struct {
	Table string `json:"table"`
	Pass  Pass   `json:"pass"`
	// Wave numbers the steps of one pass that depend on the same earlier ones.
	Wave int `json:"wave"`
	// Deferred names the lookups that an Insert leaves empty, or that a Lookups
	// pass sets.
	Deferred []string `json:"deferred,omitempty"`
	Reason   string   `json:"reason"`
}

// Plan is ordered work.
type Plan struct {
	Steps []Step `json:"steps"`
}

// Deferred names the lookups of table that its insert leaves empty.
func (p *Plan) Deferred(table string) []string {
	for _, s := range p.Steps {
		if s.Table == table && s.Pass == Insert {
			return s.Deferred
		}
	}
	return nil
}

// Order plans the load of the tables.
func Order(tables []*mapping.Table) *Plan {
	g := newGraph(tables)
	g.components()
	p := &Plan{}
	done := map[string]int{} // table → position
	waves := map[string]int{}
	for _, component := range g.sorted() {
		for _, name := range component {
			s := g.insertStep(name, component, done, waves)
			waves[name] = s.Wave
			done[name] = len(done)
			p.Steps = append(p.Steps, s)
		}
	}
	p.Steps = append(p.Steps, laterSteps(p.Steps, g)...)
	return p
}

// laterSteps are the passes after all inserts: deferred lookups, links, states.
func laterSteps(inserts []Step, g *graph) []Step {
	var lookups, links, files, states []Step
	last := 0
	for _, s := range inserts {
		last = max(last, s.Wave)
	}
	for _, s := range inserts {
		if len(s.Deferred) > 0 {
			lookups = append(lookups, Step{Table: s.Table, Pass: Lookups, Wave: last + 1, Deferred: s.Deferred,
				Reason: fmt.Sprintf("sets %s, left empty by the insert", strings.Join(s.Deferred, ", "))})
		}
		if g.tables[s.Table].HasFiles() {
			files = append(files, Step{Table: s.Table, Pass: Files, Wave: last + 2, Reason: "sends the content of files: the record has to be there, and open"})
		}
	}
	wave, of := last+2, -1
	for _, s := range slices.Backward(inserts) { // a quote before its opportunity
		if g.tables[s.Table].HasState() {
			if s.Wave != of {
				wave, of = wave+1, s.Wave
			}
			states = append(states, Step{Table: s.Table, Pass: State, Wave: wave,
				Reason: "closes records last, and before those they point to: a closed one cannot be updated"})
		}
	}
	for _, t := range g.links {
		links = append(links, Step{Table: t.Name, Pass: Link, Wave: last + 2,
			Reason: fmt.Sprintf("N:N links come after both ends, %s and %s", t.Link.Table1, t.Link.Table2)})
	}
	return slices.Concat(lookups, links, files, states)
}

// graph is the dependency graph of the tables that are not links.
type graph struct {
	tables map[string]*mapping.Table
	names  []string
	links  []*mapping.Table
	edges  map[string][]string // table → the staged tables its lookups point to, without itself

	// Tarjan's algorithm
	index, low map[string]int
	stack      []string
	onStack    map[string]bool
	found      [][]string // in topological order: what is pointed to comes first
}

func newGraph(tables []*mapping.Table) *graph {
	g := &graph{tables: map[string]*mapping.Table{}, edges: map[string][]string{}, index: map[string]int{}, low: map[string]int{}, onStack: map[string]bool{}}
	for _, t := range tables {
		if t.Link != nil {
			g.links = append(g.links, t)
			continue
		}
		g.tables[t.Name] = t
		g.names = append(g.names, t.Name)
	}
	for _, name := range g.names {
		for _, target := range stagedTargets(g.tables[name]) {
			if target != name && g.tables[target] != nil {
				g.edges[name] = append(g.edges[name], target)
			}
		}
	}
	byRank := func(a, b string) int {
		return cmp.Or(cmp.Compare(len(g.edges[a]), len(g.edges[b])), strings.Compare(a, b))
	}
	slices.SortFunc(g.names, byRank)
	for _, targets := range g.edges {
		slices.SortFunc(targets, byRank)
	}
	slices.SortFunc(g.links, func(a, b *mapping.Table) int { return strings.Compare(a.Name, b.Name) })
	return g
}

// stagedTargets lists, once each, the staged tables that a table's lookups and parties
// point to.
func stagedTargets(t *mapping.Table) []string {
	var names []string
	add := func(targets []mapping.Target) {
		for _, target := range targets {
			if target.Staged && !slices.Contains(names, target.Table) {
				names = append(names, target.Table)
			}
		}
	}
	for _, l := range t.Lookups {
		add(l.Targets)
	}
	for _, p := range t.Parties {
		add(p.Targets)
	}
	return names
}

// late reports whether the table comes last among those of a cycle: an activity's parties
// cannot wait for the second pass, as lookups can.
func (g *graph) late(name string) int { return min(len(g.tables[name].Parties), 1) }

func (g *graph) components() {
	for _, name := range g.names {
		if _, seen := g.index[name]; !seen {
			g.visit(name)
		}
	}
}

// visit is Tarjan's strongly connected components. Its depth is bounded by the
// number of tables.
func (g *graph) visit(name string) {
	g.index[name] = len(g.index)
	g.low[name] = g.index[name]
	g.stack = append(g.stack, name)
	g.onStack[name] = true
	for _, to := range g.edges[name] {
		if _, seen := g.index[to]; !seen {
			g.visit(to)
			g.low[name] = min(g.low[name], g.low[to])
		} else if g.onStack[to] {
			g.low[name] = min(g.low[name], g.index[to])
		}
	}
	if g.low[name] != g.index[name] {
		return
	}
	at := slices.Index(g.stack, name)
	component := slices.Clone(g.stack[at:])
	g.stack = g.stack[:at]
	for _, n := range component {
		g.onStack[n] = false
	}
	g.found = append(g.found, component)
}

// sorted returns the components with their members in order of distinct lookup
// targets.
func (g *graph) sorted() [][]string {
	for _, c := range g.found {
		slices.SortFunc(c, func(a, b string) int {
			return cmp.Or(g.late(a)-g.late(b), cmp.Compare(len(g.edges[a]), len(g.edges[b])), strings.Compare(a, b))
		})
	}
	return g.found
}

func (g *graph) insertStep(name string, component []string, done, waves map[string]int) Step {
	s := Step{Table: name, Pass: Insert}
	var after []string
	behind := func(table string) {
		s.Wave = max(s.Wave, waves[table]+1)
		if !slices.Contains(after, table) {
			after = append(after, table)
		}
	}
	for _, l := range g.tables[name].Lookups {
		for _, t := range l.Targets {
			if !t.Staged || g.tables[t.Table] == nil {
				continue
			}
			if _, ok := done[t.Table]; !ok { // itself, or later in its component
				if !slices.Contains(s.Deferred, l.LogicalName) {
					s.Deferred = append(s.Deferred, l.LogicalName)
				}
				continue
			}
			behind(t.Table)
		}
	}
	for _, p := range g.tables[name].Parties {
		for _, t := range p.Targets {
			if _, ok := done[t.Table]; ok && t.Staged {
				behind(t.Table)
			}
		}
	}
	slices.Sort(after)
	s.Reason = insertReason(name, component, after, s.Deferred)
	return s
}

func insertReason(name string, component, after, deferred []string) string {
	var parts []string
	if len(after) > 0 {
		parts = append(parts, "after "+strings.Join(after, ", ")+", which its lookups point to")
	} else {
		parts = append(parts, "points to no table loaded before it")
	}
	if len(component) > 1 {
		others := slices.DeleteFunc(slices.Clone(component), func(n string) bool { return n == name })
		parts = append(parts, "in a cycle with "+strings.Join(others, ", "))
	}
	if len(deferred) > 0 {
		parts = append(parts, "leaves "+strings.Join(deferred, ", ")+" empty for the second pass")
	}
	return strings.Join(parts, "; ")
}
