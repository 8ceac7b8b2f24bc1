package appliance

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"dvmigrate/appliance/config"
	"dvmigrate/appliance/dataverse/schema"
	"dvmigrate/appliance/mapping"
	"dvmigrate/appliance/preflight"
	"dvmigrate/appliance/progress"
	"dvmigrate/duckstage"
	"dvmigrate/duckstage/ingest"
	"dvmigrate/duckstage/transform"
)

// StageWatch is told how staging goes: what is being done, and how far, in percent
// (negative = not known).
type StageWatch func(what string, percent float64)

// SourceResult is what came of one source.
type SourceResult struct {
	Name     string  `json:"name"`
	Files    int     `json:"files"`
	Rows     int64   `json:"rows"`
	Rejected int64   `json:"rejected"` // lines set aside
	Bytes    int64   `json:"bytes"`
	Seconds  float64 `json:"seconds"`

	Relations []RelationResult `json:"relations,omitempty"` // of a source with several tables
	Resumed   int64            `json:"resumed,omitempty"`   // ranges that an interrupted run had read
	Notes     []string         `json:"notes,omitempty"`     // what to know of how it was read
}

// RelationResult is what was read into one of a source's tables.
type RelationResult struct {
	Name     string `json:"name"`
	Rows     int64  `json:"rows"`
	Rejected int64  `json:"rejected"`
}

// TableResult is what came of one table's transform.
type TableResult struct {
	Name    string `json:"name"`
	Rows    int64  `json:"rows"`
	New     int64  `json:"new"`
	Changed int64  `json:"changed"`
	Same    int64  `json:"same"`
	Gone    int64  `json:"gone"`
	Held    int64  `json:"held"` // rows that do not fit the target, or point nowhere
	// Repaired is how many rows have a value that a policy mended.
	Repaired int64   `json:"repaired"`
	Seconds  float64 `json:"seconds"`
	// Because is why the table was redone, where it was not asked for by name.
	Because string `json:"because,omitempty"`
}

// StageResult is what staging did.
type StageResult struct {
	Version int            `json:"version"`
	Sources []SourceResult `json:"sources"`
	Tables  []TableResult  `json:"tables"`
	Seconds float64        `json:"seconds"`

	Notes    []string   `json:"notes,omitempty"`    // what the feeds cannot say
	Unmapped []Unmapped `json:"unmapped,omitempty"` // choices with texts that their map has no value for
}

// Aside is how many lines could not be read, and how many rows do not fit the target.
func (r StageResult) Aside() (rejected, held int64) {
	for _, s := range r.Sources {
		rejected += s.Rejected
	}
	for _, t := range r.Tables {
		held += t.Held
	}
	return rejected, held
}

// Stage brings the sources into the stage, transforms them, and tells the ledger
// what is to be done. Nothing of an earlier staging changes unless all of it
// succeeds. only names the sources to read anew; empty = all.
func (p *Project) Stage(ctx context.Context, only []string, watch StageWatch) (StageResult, error) {
	return p.Restage(ctx, StageOptions{Sources: only}, watch)
}

// Restage is Stage for a part of the sources and tables. Of the tables that are not
// redone everything stays.
func (p *Project) Restage(ctx context.Context, o StageOptions, watch StageWatch) (r StageResult, err error) {
	begin := time.Now()
	r = StageResult{Version: 1, Sources: []SourceResult{}, Tables: []TableResult{}}
	for _, name := range o.Sources {
		if _, ok := p.Config.Sources[name]; !ok {
			return r, unknownName("source", name, sourceNames(p.Config, nil))
		}
	}
	if err := p.refuseUnsettled(); err != nil {
		return r, err
	}
	end, err := p.record(ctx, "stage", p.o.Args)
	if err != nil {
		return r, err
	}
	defer func() { end(err, r.did()) }()
	// An earlier run may have been killed between the stage and the ledger.
	if err := p.sync(ctx); err != nil {
		return r, err
	}
	if err := p.ingest(ctx, o, &r, watch); err != nil {
		return r, err
	}
	if err := p.refuseMixedMasks(ctx); err != nil {
		return r, err
	}
	if err := p.checkShrunk(ctx, p.AcceptLoss); err != nil {
		return r, err
	}
	r.Notes = p.unproven(sourceNames(p.Config, nil))
	b, err := p.bind(ctx, p.stage)
	if errors.Is(err, errNoTransforms) && len(r.Sources) > 0 { // they can be looked at already
		r.Seconds = time.Since(begin).Seconds()
		return r, nil
	}
	if err != nil {
		return r, err
	}
	if err := p.transform(ctx, b, o.Tables, &r, watch); err != nil {
		return r, err
	}
	watch("writing the ledger", -1)
	if err := p.sync(ctx); err != nil {
		return r, err
	}
	kept, err := p.keptGone(ctx)
	if err != nil {
		return r, err
	}
	decided, err := p.decisionNotes(ctx)
	if err != nil { // the rows are staged: what a person has to mend in the sheet does not undo that
		decided = []string{err.Error()}
	}
	r.Notes = slices.Concat(r.Notes, kept, decided, p.unsendable(b))
	if err := p.createViews(ctx); err != nil {
		return r, err
	}
	if r.Unmapped, err = p.unmapped(ctx); err != nil {
		return r, err
	}
	r.Seconds = time.Since(begin).Seconds()
	return r, nil
}

// transform makes the rows of the tables anew, or of those of only and what follows from them.
func (p *Project) transform(ctx context.Context, b *bound, only []string, r *StageResult, watch StageWatch) error {
	specs, err := p.transforms(ctx, b)
	if err != nil {
		return err
	}
	scripts, err := p.scripts()
	if err != nil {
		return err
	}
	why, err := p.choose(b, only, scripts)
	if err != nil {
		return err
	}
	if why != nil {
		specs = slices.DeleteFunc(specs, func(t transform.Table) bool { _, chosen := why[t.Name]; return !chosen })
	}
	if err := p.listFiles(ctx, b); err != nil {
		return err
	}
	results, err := transform.Run(ctx, p.stage, scripts, specs, func(table string, done float64) { watch("transforming "+table, 100*done) })
	if err == nil {
		err = p.keepRows(ctx)
	}
	if err != nil {
		return loss(err)
	}
	for _, t := range results {
		r.Tables = append(r.Tables, TableResult{Name: t.Table, Rows: t.Rows, New: t.New, Changed: t.Changed, Same: t.Same, Gone: t.Gone, Held: t.Held, Repaired: t.Repaired, Seconds: t.Seconds, Because: why[t.Table]})
	}
	return nil
}

// ingest reads the sources that are asked for into the stage.
func (p *Project) ingest(ctx context.Context, o StageOptions, r *StageResult, watch StageWatch) error {
	if len(o.Sources) == 0 && len(o.Tables) > 0 {
		return nil
	}
	for _, name := range sourceNames(p.Config, o.Sources) {
		watch("reading "+name, 0)
		src, err := p.source(name)
		if err != nil {
			return err
		}
		res, err := ingest.Run(ctx, p.stage, src, p.watchSource(name, watch))
		if err != nil {
			return p.explainSource(name, err)
		}
		r.Sources = append(r.Sources, sourceResult(name, res))
	}
	return nil
}

// choose finds the tables to transform anew, with their reasons; nil: all.
func (p *Project) choose(b *bound, tables []string, scripts []transform.Script) (map[string]string, error) {
	if len(tables) == 0 {
		return nil, nil
	}
	for _, name := range tables {
		if b.byName[name] == nil {
			return nil, b.unknownTable(name)
		}
	}
	files, err := p.transformFiles()
	if err != nil {
		return nil, err
	}
	return b.chosen(tables, files, scripts), nil
}

// did is what staging did, in words.
func (r *StageResult) did() string {
	var rows, changed int64
	for _, t := range r.Tables {
		rows += t.Rows
		changed += t.New + t.Changed
	}
	return fmt.Sprintf("%s in %s, %d new or changed", progress.Counted(rows, "row"), progress.Counted(len(r.Tables), "table"), changed)
}

// percent is how much of total is done; negative where that is not known.
func percent(done, total int64) float64 {
	if total <= 0 {
		return -1
	}
	return 100 * float64(done) / float64(total)
}

// refuseInFlight keeps a new staging from an unfinished load: records whose answer
// was lost must be looked up first, with the rows that were sent. So must all of a restored
// ledger, which the target may be ahead of: a record that it has already, with the values of
// the row as it was, would else be taken for one with the new values, or, if the row is gone,
// for one that was never made.
func (p *Project) refuseInFlight() error {
	for _, t := range p.ledger.Tables() {
		if p.ledger.Behind(t.Name) {
			return fmt.Errorf("the ledger of %s was restored from a snapshot, and the target may be ahead of it; run `dvmigrate load` first, which looks up what the target has", t.Name)
		}
		n := 0
		for _, s := range p.ledger.InFlight(t.Name) {
			n += s.Len()
		}
		if n > 0 {
			return fmt.Errorf("%s: %s in flight when the last load ended; run `dvmigrate load` first, which finds out what was applied", t.Name, progress.Counted(n, "record", "was", "were"))
		}
	}
	return nil
}

func sourceNames(c *config.Config, only []string) []string {
	var names []string
	for name := range c.Sources {
		if len(only) == 0 || slices.Contains(only, name) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// transforms translates the mapped tables into what the stage computes.
func (p *Project) transforms(ctx context.Context, b *bound) ([]transform.Table, error) {
	files, err := p.transformFiles()
	if err != nil {
		return nil, err
	}
	owners, err := p.owners(ctx)
	if err != nil {
		return nil, err
	}
	sheets, err := p.optionSheets(ctx)
	if err != nil {
		return nil, err
	}
	var out []transform.Table
	var faults config.Faults
	for _, f := range files {
		t := b.byName[f.table]
		spec := p.specOf(t)
		spec.File, spec.SQL, spec.Owners, spec.Owed = filepath.ToSlash(f.path), f.sql, owners, t.OwedSQL(b.plan.Deferred(t.Name))
		spec.Same = p.collation(true).SQL
		spec.Known.Later = laterColumns(t, b.plan.Deferred(t.Name))
		if err := joinFaults(&faults, p.repair(t, &spec)); err != nil {
			return nil, err
		}
		if err := joinFaults(&faults, p.mapTexts(t, sheets, &spec)); err != nil {
			return nil, err
		}
		out = append(out, spec)
	}
	found, err := p.referenceFaults(out)
	if err != nil {
		return nil, err
	}
	if faults = append(faults, found...); len(faults) > 0 {
		return nil, faults
	}
	return out, nil
}

// specOf is what the stage computes for a table by its mapping and the settings, without its SELECT.
func (p *Project) specOf(t *mapping.Table) transform.Table {
	spec := transform.Table{Name: t.Name}
	if t.Link != nil {
		spec.Ends = []string{t.Link.Column1, t.Link.Column2}
	} else {
		spec.Known = p.known(t.Name)
	}
	if !p.AcceptLoss {
		spec.MaxGone = p.Config.Guard.GoneShare()
	}
	if t.KeepID {
		spec.KeepID = t.Schema.PrimaryID
	}
	for _, c := range t.Columns {
		col := transform.Column{Name: c.LogicalName, SQLType: c.SQLType, Base64: c.Base64(t.Name), File: c.File}
		if c.Type.HasOptions() {
			col.Advice = "a choice's text needs a map: dvmigrate options plan " + t.Name + "." + c.LogicalName
		}
		spec.Columns = append(spec.Columns, col)
	}
	for _, l := range t.Lookups {
		lookup := transform.Lookup{Column: l.LogicalName, Owner: l.Type == schema.Owner}
		for _, target := range l.Targets {
			lookup.Targets = append(lookup.Targets, p.targetOf(target.Table, target.Staged))
		}
		spec.Lookups = append(spec.Lookups, lookup)
	}
	for i := range t.Parties {
		spec.Lists = append(spec.Lists, p.listOf(&t.Parties[i]))
	}
	for _, c := range preflight.Checks(t, p.Config.Checks.Skip) {
		spec.Checks = append(spec.Checks, transform.Check{ID: c.ID, Column: c.Column, Bad: c.Bad, Message: c.Message})
	}
	return spec
}

// targetOf is a table that a lookup or a party points to.
func (p *Project) targetOf(table string, staged bool) transform.Target {
	return transform.Target{Table: table, Staged: staged, ID: p.Schema.Table(table).PrimaryID}
}

// known says what the target holds of a table's rows, by the ledger: those that are done
// have the values of the former staging; of those that owe a later pass, or whose last
// request may have been applied, not all values are certain.
func (p *Project) known(table string) transform.Known {
	if p.ledger == nil { // as in a check of the settings alone
		return transform.Known{}
	}
	if _, ok := p.ledger.Table(table); !ok {
		return transform.Known{}
	}
	entries := func(also, where string) string {
		return "SELECT unnest(range(first, beyond))::UINTEGER AS dm_seq, changed_at AS dm_written, " + also + " FROM ledger_spans(" + duckstage.Quote(table) + ") WHERE " + where
	}
	return transform.Known{
		Written: entries("flag <> 'P' AS dm_whole", "flag IN ('P', 'S') AND action IN ('I', 'U')"),
		Passing: entries("pass AS dm_pass", "action = 'U' AND (flag = 'S' OR flag IN ('E', 'H') AND pass <> 'main')"),
		Waiting: entries("true", "action = 'U' AND pass = 'main' AND (flag IN ('U', 'H') AND attempts = 0 OR flag = 'E' AND attempts <= 1)"),
	}
}

// laterColumns are the columns that passes after the first one send, each with its pass.
func laterColumns(t *mapping.Table, deferred []string) map[string]string {
	later := map[string]string{}
	for _, name := range deferred {
		later[name] = "lookups"
	}
	for _, c := range t.Columns {
		switch {
		case c.Late:
			later[c.LogicalName] = "files"
		case c.Type == schema.State || c.Type == schema.Status:
			later[c.LogicalName] = "state"
		}
	}
	return later
}

// listOf is what the stage makes of a party column.
func (p *Project) listOf(of *mapping.Parties) transform.List {
	list := transform.List{Column: of.LogicalName}
	list.Address.Before, list.Address.After = of.AroundAddress()
	for i := range of.Targets {
		t := &of.Targets[i]
		target := transform.ListTarget{Target: p.targetOf(t.Table, t.Staged)}
		target.Before, target.After = of.Around(t)
		list.Targets = append(list.Targets, target)
	}
	return list
}
