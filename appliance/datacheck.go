package appliance

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"dvmigrate/appliance/mapping"
	"dvmigrate/appliance/plan"
	"dvmigrate/appliance/preflight"
	"dvmigrate/duckstage"
)

// DataCheck is what the checks of every staged row found.
type DataCheck struct {
	Version  int           `json:"version"`
	Tables   []DataTable   `json:"tables"`
	Findings []DataFinding `json:"findings"` // the gravest first
	Seconds  float64       `json:"seconds"`
}

// DataTable is how a table's rows stand before the load.
type DataTable struct {
	Name     string  `json:"name"`
	Rows     int64   `json:"rows"`
	Held     int64   `json:"held"`     // set aside by staging
	Behind   int64   `json:"behind"`   // that depend on rows which are held, and will be held too
	Repaired int64   `json:"repaired"` // of which a policy mended a value
	Seconds  float64 `json:"seconds"`
}

// DataFinding is one check that rows of a table meet.
type DataFinding struct {
	Check    string             `json:"check"`
	Severity preflight.Severity `json:"severity"`
	Table    string             `json:"table"`
	Column   string             `json:"column,omitempty"`
	Rows     int64              `json:"rows"`
	Example  string             `json:"example"`        // what is said of the first row
	Keys     []string           `json:"keys"`           // legacy keys of the first rows, at most three
	What     string             `json:"what"`           // the check in words
	Todo     string             `json:"todo,omitempty"` // what to do about it
}

// CheckData looks at every staged row, in one pass over each table (method.md M2.3). It
// finds all that a row has, not only the first fault for which it is held. only names the
// checks to make; empty = all but those that the settings skip.
func (p *Project) CheckData(ctx context.Context, only []string, watch StageWatch) (DataCheck, error) {
	begin := time.Now()
	d := DataCheck{Version: 1, Tables: []DataTable{}, Findings: []DataFinding{}}
	for _, id := range only {
		if _, ok := preflight.RuleOf(id); !ok {
			var known []string
			for _, r := range preflight.Rules {
				known = append(known, r.ID)
			}
			return d, unknownName("check", id, known)
		}
	}
	b, err := p.bind(ctx, p.stage)
	if err != nil {
		return d, err
	}
	staged, err := p.stagedTables(ctx)
	if err != nil {
		return d, err
	}
	for _, t := range b.tables {
		if !slices.ContainsFunc(staged, func(s stagedTable) bool { return s.Name == t.Name }) {
			return d, fmt.Errorf("%s has a transform, but is not staged; run `dvmigrate stage`", t.Name)
		}
		if err := p.sameColumns(ctx, t); err != nil {
			return d, err
		}
	}
	texts, err := p.unmapped(ctx)
	if err != nil {
		return d, err
	}
	err = p.stage.With(ctx, func(c *duckstage.Conn) error {
		k := dataChecker{p: p, c: c, out: &d, only: only, texts: texts, held: map[string]bool{}}
		for i, t := range inOrderOfPlan(b) {
			watch("checking "+t.Name, 100*float64(i)/float64(len(b.tables)))
			if err := k.table(ctx, t, b.plan.Deferred(t.Name)); err != nil {
				return fmt.Errorf("check the rows of %s: %w", t.Name, err)
			}
		}
		return k.drop(context.WithoutCancel(ctx))
	})
	slices.SortStableFunc(d.Findings, func(a, b DataFinding) int { return rank(a.Severity) - rank(b.Severity) })
	d.Seconds = time.Since(begin).Seconds()
	return d, err
}

func rank(s preflight.Severity) int {
	return slices.Index([]preflight.Severity{preflight.Hold, preflight.Error, preflight.Warning}, s)
}

// inOrderOfPlan lists the tables as they are loaded, so that what is pointed to comes first.
func inOrderOfPlan(b *bound) []*mapping.Table {
	var out []*mapping.Table
	for _, s := range b.plan.Steps {
		if s.Pass == plan.Insert || s.Pass == plan.Link {
			out = append(out, b.byName[s.Table])
		}
	}
	return out
}

// dataChecker is one run of CheckData.
type dataChecker struct {
	p     *Project
	c     *duckstage.Conn
	out   *DataCheck
	only  []string
	texts []Unmapped      // that choices' maps have no value for
	held  map[string]bool // tables with rows that are held; their ids are in temp.dm_held_<table>
}

func (k *dataChecker) wanted(id string) bool { return len(k.only) == 0 || slices.Contains(k.only, id) }

func (k *dataChecker) find(id, table, column string, rows int64, example string, keys []string) {
	if rows == 0 || !k.wanted(id) {
		return
	}
	r, _ := preflight.RuleOf(id)
	k.out.Findings = append(k.out.Findings, DataFinding{Check: id, Severity: r.Severity, Table: table, Column: column, Rows: rows, Example: example, Keys: keys, What: r.What, Todo: r.Todo})
}

func (k *dataChecker) table(ctx context.Context, t *mapping.Table, deferred []string) error {
	begin := time.Now()
	row := DataTable{Name: t.Name}
	if err := k.rows(ctx, t, &row); err != nil {
		return err
	}
	if err := k.holds(ctx, t, row.Held); err != nil {
		return err
	}
	if err := k.unmapped(ctx, t, row.Held); err != nil {
		return err
	}
	for _, key := range preflight.KeyChecks(t, k.p.Config.Checks.Skip) {
		if err := k.unique(ctx, t, key); err != nil {
			return err
		}
	}
	behind, err := k.ripple(ctx, t, deferred, row.Held)
	if err != nil {
		return err
	}
	row.Behind, row.Seconds = behind, time.Since(begin).Seconds()
	k.out.Tables = append(k.out.Tables, row)
	return nil
}

// keysShown is how many keys a finding has as examples.
const keysShown = 3

// rows counts what every check finds, in one pass, and then looks for examples of what
// was found only.
func (k *dataChecker) rows(ctx context.Context, t *mapping.Table, row *DataTable) error {
	checks := slices.DeleteFunc(preflight.DataChecks(t, k.p.Config.Checks.Skip), func(c preflight.Check) bool { return !k.wanted(c.ID) })
	counts, values := []string{"count(*)", "count(dm_hold)", "count(dm_repairs)"}, []any{&row.Rows, &row.Held, &row.Repaired}
	found := make([]int64, len(checks))
	for i, c := range checks {
		counts, values = append(counts, "count(*) FILTER (("+c.Bad+"\n))"), append(values, &found[i])
	}
	if err := k.c.Row(ctx, values, "SELECT "+strings.Join(counts, ", ")+" FROM "+duckstage.Ident(t.Name)); err != nil {
		return err
	}
	for i, c := range checks {
		if found[i] == 0 {
			continue
		}
		example, keys, err := k.examples(ctx, t, c)
		if err != nil {
			return err
		}
		k.find(c.ID, t.Name, c.Column, found[i], example, keys)
	}
	return nil
}

// examples are the message for the first row that a check finds, and the keys of the
// first few. Rows lie in the order of dm_seq, so DuckDB stops reading once it has them.
func (k *dataChecker) examples(ctx context.Context, t *mapping.Table, c preflight.Check) (example string, keys []string, err error) {
	query := fmt.Sprintf("SELECT CAST((%s\n) AS VARCHAR), legacy_key FROM %s WHERE (%s\n) ORDER BY dm_seq LIMIT %d", c.Message, duckstage.Ident(t.Name), c.Bad, keysShown)
	err = k.c.Rows(ctx, query, nil, func(scan func(...any) error) error {
		var message, key *string
		if err := scan(&message, &key); err != nil {
			return err
		}
		if len(keys) == 0 {
			example = textOf(message)
		}
		keys = append(keys, textOf(key))
		return nil
	})
	return example, keys, err
}

func textOf(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

func keyList(s *string) []string {
	if s == nil || *s == "" {
		return []string{}
	}
	return strings.Split(*s, "\x1f")
}

// holds counts the faults that only staging sees, since what the row had before the cast
// is not kept.
func (k *dataChecker) holds(ctx context.Context, t *mapping.Table, held int64) error {
	if held == 0 {
		return nil
	}
	query := fmt.Sprintf(`SELECT regexp_extract(dm_hold, '^DVM-[A-Z]+') AS id, regexp_extract(dm_hold, '^DVM-[A-Z]+ ([^:]*): ', 1) AS col, count(*),
		arg_min(regexp_replace(dm_hold, '^DVM-[A-Z]+ [^:]*: ', ''), dm_seq), array_to_string(arg_min(legacy_key, dm_seq, %d), chr(31))
		FROM %s WHERE dm_hold IS NOT NULL AND id IN ('%s', '%s', '%s', '%s') GROUP BY id, col ORDER BY id, col`, keysShown, duckstage.Ident(t.Name),
		preflight.Type, preflight.RecordID, preflight.Reference, preflight.Orphan)
	return k.c.Rows(ctx, query, nil, func(scan func(...any) error) error {
		var id, col, example, keys string
		var n int64
		if err := scan(&id, &col, &n, &example, &keys); err != nil {
			return err
		}
		k.find(id, t.Name, col, n, example, keyList(&keys))
		return nil
	})
}

// unmapped finds the texts that choices' maps have no value for. Where a policy takes
// something instead they are repairs, and no findings.
func (k *dataChecker) unmapped(ctx context.Context, t *mapping.Table, held int64) error {
	if held == 0 || !k.wanted(preflight.Map) {
		return nil
	}
	for _, u := range k.texts {
		if u.Table != t.Name || !slices.Contains([]string{"", preflight.KeepHold}, k.p.policy(u.Table, u.Column).NotOption) {
			continue
		}
		var such []string
		for _, text := range u.Such {
			such = append(such, fmt.Sprintf("'%s' (%d rows)", text.Text, text.Rows))
		}
		var keys *string
		query := fmt.Sprintf("SELECT array_to_string(arg_min(legacy_key, dm_seq, %d), chr(31)) FROM %s WHERE starts_with(dm_hold, %s)", keysShown, duckstage.Ident(t.Name), duckstage.Quote(preflight.Map+" "+u.Column+": "))
		if err := k.c.Row(ctx, []any{&keys}, query); err != nil {
			return err
		}
		k.find(preflight.Map, t.Name, u.Column, u.Rows, fmt.Sprintf("%s: %s", textCount(u.Texts), strings.Join(such, ", ")), keyList(keys))
	}
	return nil
}

// textCount counts texts in words.
func textCount(n int64) string {
	if n == 1 {
		return "1 text"
	}
	return fmt.Sprintf("%d texts", n)
}

// unique looks for rows with the same alternate key. Equal hashes are looked for first:
// grouping eight bytes is a third of the work of grouping texts.
func (k *dataChecker) unique(ctx context.Context, t *mapping.Table, key preflight.KeyCheck) error {
	if !k.wanted(preflight.Unique) {
		return nil
	}
	relation := duckstage.Ident(t.Name)
	hashes := fmt.Sprintf("SELECT hash(%[1]s) AS h FROM %[2]s WHERE (%[1]s) IS NOT NULL GROUP BY h HAVING count(*) > 1", key.Value, relation)
	var repeated int64
	if err := k.c.Row(ctx, []any{&repeated}, "SELECT count(*) FROM ("+hashes+")"); err != nil || repeated == 0 {
		return err
	}
	var rows, groups int64
	var example, keys *string
	query := fmt.Sprintf(`SELECT coalesce(sum(n), 0)::BIGINT, count(*), arg_max(k, n), arg_max(keys, n) FROM (
		SELECT %[1]s AS k, count(*) AS n, array_to_string(arg_min(legacy_key, dm_seq, %[4]d), chr(31)) AS keys FROM %[2]s WHERE hash(%[1]s) IN (%[3]s) GROUP BY k HAVING n > 1)`,
		key.Value, relation, hashes, keysShown)
	if err := k.c.Row(ctx, []any{&rows, &groups, &example, &keys}, query); err != nil {
		return err
	}
	text := fmt.Sprintf("%d values of the key %s are there more than once, such as '%s'", groups, key.Key, strings.ReplaceAll(textOf(example), "\x1f", "', '"))
	k.find(preflight.Unique, t.Name, strings.Join(key.Columns, ", "), rows, text, keyList(keys))
	return nil
}

// ripple counts the rows that depend on rows which are held, directly or by way of
// others, and names the root. Lookups that a later pass sets hold nothing back.
func (k *dataChecker) ripple(ctx context.Context, t *mapping.Table, deferred []string, held int64) (int64, error) {
	relation, mine := duckstage.Ident(t.Name), heldName(t.Name)
	var parts []string
	if held > 0 {
		parts = append(parts, fmt.Sprintf("SELECT dm_id, %s || legacy_key || ''': ' || dm_hold AS root, NULL AS col FROM %s WHERE dm_hold IS NOT NULL", duckstage.Quote(t.Name+" '"), relation))
	}
	for _, l := range t.Lookups {
		for _, target := range l.Targets {
			if !target.Staged || !k.held[target.Table] || slices.Contains(deferred, l.LogicalName) {
				continue
			}
			parts = append(parts, fmt.Sprintf("SELECT x.dm_id, h.root, %s AS col FROM %s x JOIN %s h ON h.dm_id = x.%s WHERE x.dm_hold IS NULL",
				duckstage.Quote(l.LogicalName), relation, heldName(target.Table), mapping.Ident(l.LogicalName)))
		}
	}
	if len(parts) == 0 {
		return 0, nil
	}
	query := "CREATE OR REPLACE TEMP TABLE " + mine + " AS SELECT dm_id, min(root) AS root, min(col) AS col FROM (" + strings.Join(parts, " UNION ALL ") + ") GROUP BY dm_id"
	if _, err := k.c.Exec(ctx, query); err != nil {
		return 0, err
	}
	k.held[t.Name] = true
	behind := int64(0)
	query = fmt.Sprintf(`SELECT h.col, count(*), arg_min(h.root, x.dm_seq), array_to_string(arg_min(x.legacy_key, x.dm_seq, %d), chr(31)) FROM %s h JOIN %s x USING (dm_id)
		WHERE h.col IS NOT NULL GROUP BY h.col ORDER BY h.col`, keysShown, mine, relation)
	err := k.c.Rows(ctx, query, nil, func(scan func(...any) error) error {
		var col, root, keys string
		var n int64
		if err := scan(&col, &n, &root, &keys); err != nil {
			return err
		}
		behind += n
		k.find(preflight.Ripple, t.Name, col, n, "behind "+root, keyList(&keys))
		return nil
	})
	return behind, err
}

func heldName(table string) string { return "temp." + duckstage.Ident("dm_held_"+table) }

// drop removes what ripple has made.
func (k *dataChecker) drop(ctx context.Context) error {
	for table := range k.held {
		if _, err := k.c.Exec(ctx, "DROP TABLE IF EXISTS "+heldName(table)); err != nil {
			return err
		}
	}
	return nil
}
