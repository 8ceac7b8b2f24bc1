package dataverse

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"dvmigrate/appliance/dataverse/schema"
)

// tablesAtOnce bounds the tables that are read side by side; pace bounds it further.
const tablesAtOnce = 8

// tableSelect is what is read of every table (dataverse-web-api.md 12.1).
const tableSelect = "$select=LogicalName,SchemaName,DisplayName,EntitySetName,PrimaryIdAttribute,PrimaryNameAttribute," +
	"PrimaryImageAttribute,ObjectTypeCode,OwnershipType,IsActivity,IsIntersect,TableType,IsCustomEntity,HasNotes," +
	"IsOptimisticConcurrencyEnabled,ChangeTrackingEnabled,EnforceStateTransitions"

// Schema reads the metadata of the named tables, or with nil of all that have an
// entity set and are not intersect tables (some hundred, and minutes). The intersect
// table of an N:N relationship comes with it when both its ends are read. progress,
// when not nil, is called as tables are done.
func (c *Client) Schema(ctx context.Context, tables []string, progress func(done, total int)) (*schema.Schema, error) {
	release, err := c.Version(ctx)
	if err != nil {
		return nil, err
	}
	var all struct{ Value []wireTable }
	if err := c.get(ctx, "Read EntityDefinitions", "EntityDefinitions", tableSelect, &all); err != nil {
		return nil, err
	}
	bulk, err := c.bulkTables(ctx)
	if err != nil {
		return nil, err
	}
	p := &pull{client: c, wire: make(map[string]*wireTable, len(all.Value)), bulk: bulk, progress: progress}
	for i := range all.Value {
		p.wire[all.Value[i].LogicalName] = &all.Value[i]
	}
	if tables == nil {
		for name, w := range p.wire {
			if w.EntitySetName != "" && !w.IsIntersect {
				tables = append(tables, name)
			}
		}
	}
	s, err := p.schema(ctx, tables)
	if err != nil {
		return nil, err
	}
	s.Source, s.Taken, s.Release = c.base, time.Now().UTC().Format(time.RFC3339), release
	return s, nil
}

// bulkTables reads which tables are registered for which bulk action (6.2).
func (c *Client) bulkTables(ctx context.Context) (map[string][]string, error) {
	bulk := make(map[string][]string)
	for _, m := range [...]struct{ message, action string }{
		{"CreateMultiple", "create"}, {"UpdateMultiple", "update"}, {"UpsertMultiple", "upsert"}, {"DeleteMultiple", "delete"},
	} {
		q := Query{
			Select: []string{"primaryobjecttypecode"}, Filter: "sdkmessageid/name eq '" + m.message + "'",
			Expand: "sdkmessageid($select=name)",
		}
		err := c.rows(ctx, "sdkmessagefilters", q, func(row json.RawMessage) error {
			var r struct{ PrimaryObjectTypeCode string }
			if err := json.Unmarshal(row, &r); err != nil {
				return fmt.Errorf("read sdkmessagefilters: %w", err)
			}
			if name := r.PrimaryObjectTypeCode; name != "" && name != "none" && !slices.Contains(bulk[name], m.action) {
				bulk[name] = append(bulk[name], m.action)
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	// UpsertMultiple is often not listed; it is there where both its halves are.
	for name, actions := range bulk {
		if slices.Contains(actions, "create") && slices.Contains(actions, "update") && !slices.Contains(actions, "upsert") {
			bulk[name] = append(actions, "upsert")
		}
	}
	return bulk, nil
}

// pull is one reading of the metadata.
type pull struct {
	client   *Client
	wire     map[string]*wireTable // every table there is
	bulk     map[string][]string
	progress func(done, total int)

	mu    sync.Mutex // protects what follows
	done  int
	total int
	links map[string]schema.ManyToMany // by name: both ends have it
}

func (p *pull) schema(ctx context.Context, names []string) (*schema.Schema, error) {
	names = slices.Compact(slices.Sorted(slices.Values(names)))
	for _, name := range names {
		if p.wire[name] == nil {
			r := &request{name: "Read EntityDefinitions"}
			return nil, r.fail(Setup, nil, "the environment has no table %q", name)
		}
	}
	p.links = make(map[string]schema.ManyToMany)
	p.total = len(names)
	tables, err := p.tables(ctx, names)
	if err != nil {
		return nil, err
	}
	var links []schema.ManyToMany
	var intersects []string
	for _, l := range p.links {
		_, has1 := slices.BinarySearch(names, l.Table1)
		_, has2 := slices.BinarySearch(names, l.Table2)
		if !has1 || !has2 || p.wire[l.Intersect] == nil {
			continue
		}
		links = append(links, l)
		if _, has := slices.BinarySearch(names, l.Intersect); !has {
			intersects = append(intersects, l.Intersect)
		}
	}
	slices.SortFunc(links, func(a, b schema.ManyToMany) int { return strings.Compare(a.SchemaName, b.SchemaName) })
	intersects = slices.Compact(slices.Sorted(slices.Values(intersects)))
	p.total += len(intersects)
	more, err := p.tables(ctx, intersects)
	if err != nil {
		return nil, err
	}
	return schema.New(append(tables, more...), links)
}

// tables reads tables side by side; the first error stops all.
func (p *pull) tables(ctx context.Context, names []string) ([]*schema.Table, error) {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	tables := make([]*schema.Table, len(names))
	var next atomic.Int64
	var workers sync.WaitGroup
	for range min(tablesAtOnce, len(names)) {
		workers.Go(func() {
			for ctx.Err() == nil {
				i := int(next.Add(1)) - 1
				if i >= len(names) {
					return
				}
				t, err := p.table(ctx, names[i])
				if err != nil {
					stop(err)
					return
				}
				tables[i] = t
			}
		})
	}
	workers.Wait()
	return tables, context.Cause(ctx)
}

// table reads one table in one batch: its columns, what each type of column has of
// its own, keys and relationships.
func (p *pull) table(ctx context.Context, name string) (*schema.Table, error) {
	root := "EntityDefinitions(LogicalName='" + name + "')"
	ops := make([]Op, 0, len(tableParts)+len(columnCasts))
	for _, part := range tableParts {
		ops = append(ops, readOp(root+"/"+part.path, part.query))
	}
	for _, cast := range columnCasts {
		ops = append(ops, readOp(root+"/Attributes/Microsoft.Dynamics.CRM."+cast.name+"AttributeMetadata", cast.query))
	}
	b := newTableBuilder(p.wire[name], p.bulk[name])
	err := p.client.readMany(ctx, name, ops, func(i int, body []byte) error {
		if i < len(tableParts) {
			return tableParts[i].read(b, body)
		}
		return b.details(columnCasts[i-len(tableParts)].name, body)
	})
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, l := range b.links {
		p.links[l.SchemaName] = l
	}
	p.done++
	if p.progress != nil {
		p.progress(p.done, p.total)
	}
	return b.table, nil
}

// tableParts are the parts of a table's metadata (dataverse-web-api.md 12.2, 12.4, 12.5).
var tableParts = []struct {
	path, query string
	read        func(*tableBuilder, []byte) error
}{
	{"Attributes", "$select=LogicalName,SchemaName,DisplayName,AttributeType,AttributeTypeName,RequiredLevel,IsValidForCreate," +
		"IsValidForUpdate,IsValidForRead,IsValidODataAttribute,AttributeOf,IsSecured,SourceType,AutoNumberFormat", (*tableBuilder).columns},
	{"Keys", "$select=LogicalName,SchemaName,KeyAttributes,EntityKeyIndexStatus", (*tableBuilder).keys},
	{"ManyToOneRelationships", "$select=SchemaName,ReferencingAttribute,ReferencingEntityNavigationPropertyName,ReferencedEntity," +
		"ReferencedEntityNavigationPropertyName,CascadeConfiguration", (*tableBuilder).relationships},
	{"ManyToManyRelationships", "$select=SchemaName,IntersectEntityName,Entity1LogicalName,Entity1IntersectAttribute," +
		"Entity1NavigationPropertyName,Entity2LogicalName,Entity2IntersectAttribute,Entity2NavigationPropertyName", (*tableBuilder).manyToMany},
}

const (
	choiceQuery = "$select=LogicalName,DefaultFormValue&$expand=OptionSet($select=Options,IsGlobal,Name),GlobalOptionSet($select=Options,Name)"
	stateQuery  = "$select=LogicalName&$expand=OptionSet($select=Options)"
)

// columnCasts are the types of column that have properties of their own, each read
// through a cast (dataverse-web-api.md 12.2, 12.3).
var columnCasts = []struct{ name, query string }{
	{"String", "$select=LogicalName,MaxLength,FormatName"},
	{"Memo", "$select=LogicalName,MaxLength,Format"},
	{"Integer", "$select=LogicalName,MinValue,MaxValue,Format"},
	{"Decimal", "$select=LogicalName,MinValue,MaxValue,Precision"},
	{"Double", "$select=LogicalName,MinValue,MaxValue,Precision"},
	{"Money", "$select=LogicalName,MinValue,MaxValue,Precision,PrecisionSource,CalculationOf"},
	{"DateTime", "$select=LogicalName,Format,DateTimeBehavior"},
	{"Lookup", "$select=LogicalName,Targets"},
	{"File", "$select=LogicalName,MaxSizeInKB"},
	{"Image", "$select=LogicalName,MaxSizeInKB"},
	{"Picklist", choiceQuery},
	{"MultiSelectPicklist", choiceQuery},
	{"State", stateQuery},
	{"Status", stateQuery},
	{"Boolean", "$select=LogicalName,DefaultValue&$expand=OptionSet($select=TrueOption,FalseOption)"},
}
