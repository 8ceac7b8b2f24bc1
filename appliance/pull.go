package appliance

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"dvmigrate/appliance/config"
	"dvmigrate/appliance/dataverse/schema"
	"dvmigrate/appliance/progress"
	"dvmigrate/duckstage"
	"dvmigrate/duckstage/ingest"
	"dvmigrate/duckstage/transform"
)

// Records of the target that this migration does not load, and that its rows point to, are
// pulled into the stage: each table as the relation target_<table>, which transforms join
// and which existing('table', 'column', value) and owner(text) look into. They stay until
// they are pulled again, so that staging needs no network.

// usualPulls are the tables that nearly every migration points to, with what names their
// records.
var usualPulls = map[string][]string{
	"systemuser":          {"systemuserid", "domainname", "internalemailaddress", "fullname", "azureactivedirectoryobjectid", "isdisabled", "accessmode", "businessunitid"},
	"team":                {"teamid", "name", "teamtype", "isdefault", "businessunitid"},
	"businessunit":        {"businessunitid", "name", "parentbusinessunitid", "isdisabled"},
	"role":                {"roleid", "name", "businessunitid"},
	"transactioncurrency": {"transactioncurrencyid", "isocurrencycode", "currencyname"},
	"uom":                 {"uomid", "name", "uomscheduleid"},
	"uomschedule":         {"uomscheduleid", "name"},
}

// PullResult is what was pulled.
type PullResult struct {
	Version      int         `json:"version"`
	URL          string      `json:"url"`
	Organization schema.GUID `json:"organization"`
	At           time.Time   `json:"at"`
	Tables       []PullTable `json:"tables"`
	Notes        []string    `json:"notes,omitempty"`
	Seconds      float64     `json:"seconds"`
}

// PullTable is one table that was pulled.
type PullTable struct {
	Table    string   `json:"table"`
	Relation string   `json:"relation"`
	Columns  []string `json:"columns"`
	Rows     int64    `json:"rows"`
	Seconds  float64  `json:"seconds"`
}

// pulledState is what the stage keeps about what was pulled.
type pulledState struct {
	URL          string
	Organization schema.GUID
	At           time.Time
}

// pulledKey is the stage's own fact with it.
const pulledKey = "pulled from the target"

// namedRelation is one of the ways in which a transform names pulled records; the other is
// existing('table', 'column', value).
var namedRelation = regexp.MustCompile(`(?i)\b` + transform.PulledPrefix + `([a-z][a-z0-9_]*)`)

// pullFaults are the calls of existing() that name a table or column which the schema does not
// have: the environment would say so too, but not where the call is.
func (p *Project) pullFaults() error {
	files, err := p.transformFiles()
	if err != nil && !errors.Is(err, errNoTransforms) {
		return err
	}
	scripts, err := p.scripts()
	if err != nil {
		return err
	}
	for _, f := range files {
		scripts = append(scripts, transform.Script{File: f.path, SQL: f.sql})
	}
	var faults config.Faults
	for _, s := range scripts {
		for _, c := range duckstage.Calls(s.SQL, "existing") {
			faults = append(faults, p.referenceFault(s.File, c, nil, nil)...)
		}
	}
	if len(faults) > 0 {
		return faults
	}
	return nil
}

// pulls lists the tables that are pulled, with their columns; nil columns are all: those
// that are usual, and what the transforms name.
func (p *Project) pulls() (map[string][]string, error) {
	out := map[string][]string{}
	for table, columns := range usualPulls {
		out[table] = slices.Clone(columns)
	}
	files, err := p.transformFiles()
	if err != nil && !errors.Is(err, errNoTransforms) {
		return nil, err
	}
	scripts, err := p.scripts()
	if err != nil {
		return nil, err
	}
	var texts []string
	for _, f := range files {
		texts = append(texts, f.sql)
	}
	for _, s := range scripts {
		texts = append(texts, s.SQL)
	}
	for _, text := range texts {
		for _, m := range namedRelation.FindAllStringSubmatch(text, -1) {
			if table := strings.ToLower(m[1]); p.Schema.Table(table) != nil && usualPulls[table] == nil {
				out[table] = nil
			}
		}
		for _, call := range duckstage.Calls(text, "existing") {
			if len(call.Args) < 2 || len(call.Args) == 2 && !call.More { // by GUID
				continue
			}
			table := strings.ToLower(call.Args[0].Value)
			columns, known := out[table]
			if known && columns == nil {
				continue // all
			}
			for c := range strings.SplitSeq(call.Args[1].Value, ",") {
				if c = strings.ToLower(strings.TrimSpace(c)); !slices.Contains(columns, c) {
					columns = append(columns, c)
				}
			}
			if t := p.Schema.Table(table); t != nil && !slices.Contains(columns, t.PrimaryID) {
				columns = append(columns, t.PrimaryID)
			}
			out[table] = columns
		}
	}
	return out, nil
}

// Pull reads records of the target into the stage; it changes nothing there. only names
// tables, table or table:column,column; empty = those that are usual and that transforms use.
func (p *Project) Pull(ctx context.Context, only []string, watch StageWatch) (r PullResult, err error) {
	begin := time.Now()
	r = PullResult{Version: 1, Tables: []PullTable{}}
	if len(only) == 0 {
		if err := p.pullFaults(); err != nil {
			return r, err
		}
	}
	wanted, err := p.pulls()
	if err != nil {
		return r, err
	}
	tables := slices.Sorted(maps.Keys(wanted))
	if len(only) > 0 {
		tables = nil
	}
	for _, name := range only {
		table, columns, chosen := strings.Cut(name, ":")
		tables = append(tables, table)
		if chosen {
			wanted[table] = append(strings.Split(columns, ","), wanted[table]...)
		}
	}
	end, err := p.record(ctx, "target pull", p.o.Args)
	if err != nil {
		return r, err
	}
	defer func() { end(err, progress.Counted(len(r.Tables), "table")) }()
	target, err := p.meet(ctx, 0, "")
	if err != nil {
		return r, err
	}
	defer target.close()
	pin, err := p.pin()
	if err != nil {
		return r, err
	}
	r.URL, r.Organization, r.At = pin.URL, pin.Organization, time.Now().UTC().Truncate(time.Second)
	former, err := p.pulled(ctx)
	if err != nil {
		return r, err
	}
	if former != nil && former.Organization != r.Organization { // what was pulled there is of no use here
		if err := p.forgetPulled(ctx); err != nil {
			return r, err
		}
	}
	if err := p.keepPulled(ctx, pulledState{URL: r.URL, Organization: r.Organization, At: r.At}); err != nil {
		return r, err
	}
	for _, name := range tables {
		_, usual := usualPulls[name]
		t, note, err := p.pullTable(ctx, target, name, wanted[name], usual, watch)
		if err != nil {
			return r, err
		}
		if note != "" {
			r.Notes = append(r.Notes, note)
			continue
		}
		r.Tables = append(r.Tables, t)
	}
	r.Seconds = time.Since(begin).Seconds()
	return r, nil
}

// pulling reads for ingest with the target's client, which outlives it.
type pulling struct{ environmentReader }

func (*pulling) Close() {}

// pullTable pulls one table; a note says why a usual one was not.
func (p *Project) pullTable(ctx context.Context, target *users, name string, wanted []string, usual bool, watch StageWatch) (PullTable, string, error) {
	reader := &pulling{environmentReader{client: target.first()}}
	t, err := reader.named(ctx, name)
	if err != nil {
		if usual && p.Schema.Table(name) == nil && ctx.Err() == nil {
			return PullTable{}, fmt.Sprintf("%s was not pulled: %v", name, err), nil
		}
		return PullTable{}, "", fmt.Errorf("pull %s: %w", name, err)
	}
	var columns []string
	for _, c := range wanted {
		if usual && t.Column(c) == nil && slices.Contains(usualPulls[name], c) || slices.Contains(columns, c) {
			continue
		}
		columns = append(columns, c)
	}
	row := PullTable{Table: name, Relation: transform.PulledPrefix + name, Columns: columns}
	src := ingest.Source{Name: row.Relation, Dataverse: &ingest.Dataverse{URL: p.Config.Target.Environment(), Table: name, Select: columns, Parallel: pullParallel, Reader: reader}}
	begin := time.Now()
	res, err := ingest.Run(ctx, p.stage, src, func(done, _ int64) { watch(fmt.Sprintf("pulling %s, %d rows", name, done), -1) })
	if err != nil {
		return row, "", fmt.Errorf("pull %s: %w", name, p.explainTarget(err))
	}
	row.Rows, row.Seconds = res.Rows, time.Since(begin).Seconds()
	cols, err := p.stage.Columns(ctx, "source", row.Relation)
	if err != nil {
		return row, "", err
	}
	row.Columns = nil
	for _, c := range cols {
		if !strings.HasPrefix(c.Name, "dm_") {
			row.Columns = append(row.Columns, c.Name)
		}
	}
	return row, "", nil
}

// pullParallel is how many requests read one table at once; the client's pace bounds them.
const pullParallel = 4

func (p *Project) keepPulled(ctx context.Context, s pulledState) error {
	text, err := json.Marshal(s)
	if err != nil {
		return err
	}
	return p.stage.With(ctx, func(c *duckstage.Conn) error { return c.SetMeta(ctx, pulledKey, string(text)) })
}

// pulled says where the records in the stage were pulled from; nil = nothing was.
func (p *Project) pulled(ctx context.Context) (*pulledState, error) {
	text, err := p.stage.Meta(ctx, pulledKey)
	if err != nil || text == "" {
		return nil, err
	}
	s := new(pulledState)
	if err := json.Unmarshal([]byte(text), s); err != nil {
		return nil, fmt.Errorf("read what was pulled from the target: %w", err)
	}
	return s, nil
}

// forgetPulled empties the pulled relations.
func (p *Project) forgetPulled(ctx context.Context) error {
	var names []string
	err := p.stage.Rows(ctx, "SELECT view_name FROM duckdb_views() WHERE schema_name = 'source' AND starts_with(view_name, '"+transform.PulledPrefix+"')", nil, func(scan func(...any) error) error {
		names = append(names, "")
		return scan(&names[len(names)-1])
	})
	if err != nil {
		return err
	}
	for _, n := range names {
		if _, err := p.stage.Exec(ctx, "DROP VIEW source."+duckstage.Ident(n)+"; DELETE FROM dm.sources WHERE name = "+duckstage.Quote(n)); err != nil {
			return err
		}
	}
	return nil
}

// samePulled refuses to load rows that point to records of another environment.
func (p *Project) samePulled(ctx context.Context) error {
	s, err := p.pulled(ctx)
	if err != nil || s == nil {
		return err
	}
	pin, err := p.pin()
	if err != nil || pin == nil || pin.Organization == s.Organization {
		return err
	}
	return fmt.Errorf("the users, currencies and other records that the rows point to were pulled from %s (organization %s, %s), and the target is %s (organization %s)\nrun `dvmigrate target pull` and `dvmigrate stage` first",
		s.URL, s.Organization, s.At.Local().Format("2006-01-02"), pin.URL, pin.Organization)
}

// emptyPulls makes the relations of what would be pulled, without rows, so that SQL over
// them can be checked before anything was.
func (p *Project) emptyPulls(ctx context.Context, s *duckstage.Stage) error {
	wanted, err := p.pulls()
	if err != nil {
		return err
	}
	for table, columns := range wanted {
		t := p.Schema.Table(table)
		if t != nil && columns == nil {
			columns = t.ColumnNames()
		}
		var list []string
		for _, name := range columns {
			kind := "VARCHAR"
			if t != nil && t.Column(name) != nil {
				kind = recordType(t.Column(name))
				if c := t.Column(name); c.Type.IsLookup() && len(c.Targets) > 1 {
					list = append(list, "NULL::VARCHAR AS "+duckstage.Ident(name+"_table"))
				}
			}
			list = append(list, "NULL::"+kind+" AS "+duckstage.Ident(name))
		}
		list = append(list, "NULL::TIMESTAMP AS dm_created_at", "NULL::VARCHAR AS dm_source")
		if _, err := s.Exec(ctx, "CREATE OR REPLACE TABLE source."+duckstage.Ident(transform.PulledPrefix+table)+" AS SELECT "+strings.Join(list, ", ")+" LIMIT 0"); err != nil {
			return fmt.Errorf("make the relation of %s: %w", table, err)
		}
	}
	return nil
}

// pullHint says what to do where a transform names a relation that was not pulled.
func pullHint(f config.Fault) config.Fault {
	if f.Hint == "" && strings.Contains(f.Message, transform.PulledPrefix) && strings.Contains(f.Message, "does not exist") {
		f.Hint = "run `dvmigrate target pull`, which reads it from the target"
	}
	return f
}
