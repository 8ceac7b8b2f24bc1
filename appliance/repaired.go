package appliance

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"dvmigrate/appliance/load"
	"dvmigrate/duckstage"
	"dvmigrate/ledger"
)

// Repairs are the values that policies have put in the place of others, in the rows as they are
// staged. Of a row that gets its better value, as when a map was completed, nothing is left here:
// it has changed, and waits for an update of that column.
type Repairs struct {
	Version int           `json:"version"`
	Rows    int64         `json:"rows"`   // with a repair
	Loaded  int64         `json:"loaded"` // of them those that the target has as they are
	Groups  []RepairGroup `json:"groups"` // the most rows first
	Listed  []RepairedRow `json:"listed"` // as many as were asked for
}

// RepairGroup is what was mended alike. A row may be in several.
type RepairGroup struct {
	Table   string   `json:"table"`
	What    string   `json:"what"` // the column and what was done, without the values
	Rows    int64    `json:"rows"`
	Loaded  int64    `json:"loaded"`
	Example string   `json:"example"`
	Keys    []string `json:"keys"` // legacy keys of some of the rows
}

// RepairedRow is one row with its repairs.
type RepairedRow struct {
	Table     string `json:"table"`
	LegacyKey string `json:"legacyKey"`
	Repairs   string `json:"repairs"`
	Flag      string `json:"flag"` // of its record: P and S have it as it is
}

// repairKeys is how many legacy keys a group names.
const repairKeys = 3

// Repairs implements Looker: what policies have mended in the tables, all if none is named, with up
// to limit of the rows.
func (p *Project) Repairs(ctx context.Context, only []string, limit int) (Repairs, error) {
	r := Repairs{Version: 1, Groups: []RepairGroup{}, Listed: []RepairedRow{}}
	tables, err := p.stagedTables(ctx)
	if err != nil {
		return r, err
	}
	for _, name := range only {
		if !slices.ContainsFunc(tables, func(t stagedTable) bool { return t.Name == name }) {
			known := make([]string, len(tables))
			for i, t := range tables {
				known[i] = t.Name
			}
			return r, unknownName("table", name, known)
		}
	}
	for _, t := range tables {
		if len(only) > 0 && !slices.Contains(only, t.Name) {
			continue
		}
		if err := p.repairsOf(ctx, t.Name, limit, &r); err != nil {
			return r, fmt.Errorf("list the repairs of %s: %w", t.Name, err)
		}
	}
	slices.SortFunc(r.Groups, func(a, b RepairGroup) int {
		return cmp.Or(cmp.Compare(b.Rows, a.Rows), cmp.Compare(a.Table, b.Table), cmp.Compare(a.What, b.What))
	})
	return r, nil
}

func (p *Project) repairsOf(ctx context.Context, table string, limit int, r *Repairs) error {
	from := fmt.Sprintf("(SELECT dm_seq, legacy_key, dm_repairs FROM %s WHERE dm_repairs IS NOT NULL) s LEFT JOIN %s f USING (dm_seq)", duckstage.Ident(table), duckstage.Ident(table+load.FlagsSuffix))
	const there = "f.flag IN ('S', 'P')"
	var rows, loaded int64
	if err := p.stage.Row(ctx, []any{&rows, &loaded}, "SELECT count(*), count(*) FILTER ("+there+") FROM "+from); err != nil || rows == 0 {
		return err
	}
	r.Rows, r.Loaded = r.Rows+rows, r.Loaded+loaded
	groups := map[string]*RepairGroup{}
	query := fmt.Sprintf(`SELECT note, count(*), count(*) FILTER (%s), CAST(to_json(min(legacy_key, %d)) AS VARCHAR) FROM (SELECT unnest(string_split(dm_repairs, '; ')) AS note, legacy_key, flag FROM %s) f GROUP BY ALL ORDER BY 2 DESC, 1`, there, repairKeys, from)
	err := p.stage.Rows(ctx, query, nil, func(scan func(...any) error) error {
		var note, some string
		var n, loaded int64
		if err := scan(&note, &n, &loaded, &some); err != nil {
			return err
		}
		var keys []string
		if err := json.Unmarshal([]byte(some), &keys); err != nil {
			return err
		}
		what := ledger.Template(note)
		g := groups[what]
		if g == nil {
			g = &RepairGroup{Table: table, What: what, Example: note, Keys: []string{}}
			groups[what] = g
		}
		g.Rows, g.Loaded = g.Rows+n, g.Loaded+loaded
		g.Keys = append(g.Keys, keys[:min(len(keys), repairKeys-len(g.Keys))]...)
		return nil
	})
	if err != nil {
		return err
	}
	for _, g := range groups {
		r.Groups = append(r.Groups, *g)
	}
	if limit -= len(r.Listed); limit <= 0 {
		return nil
	}
	query = fmt.Sprintf("SELECT legacy_key, dm_repairs, coalesce(f.flag, '') FROM %s ORDER BY dm_seq LIMIT %d", from, limit)
	return p.stage.Rows(ctx, query, nil, func(scan func(...any) error) error {
		row := RepairedRow{Table: table}
		err := scan(&row.LegacyKey, &row.Repairs, &row.Flag)
		r.Listed = append(r.Listed, row)
		return err
	})
}
