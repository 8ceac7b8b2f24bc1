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
		tables := inOrderOfPlan(b)
		for i, t := range tables {
			watch("checking "+t.Name, 100*float64(i)/float64(len(b.tables)))
			if err := k.table(ctx, t, b.plan.Deferred(t.Name)); err != nil {
				return fmt.Errorf("check the rows of %s: %w", t.Name, err)
			}
		}
		for i, t := range tables { // what these point to may come after them
			behind, err := k.unfinished(ctx, t, b.plan.Deferred(t.Name))
			if err != nil {
				return fmt.Errorf("check the rows of %s: %w", t.Name, err)
			}
			d.Tables[i].Behind += behind
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
	held  map[string]bool // by table that was looked at: whether rows are held, or behind such; temp.dm_held_<table> has them
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
	if err := k.keepHeld(ctx, t, &row); err != nil {
		return err
	}
	if err := k.rows(ctx, t, &row); err != nil {
		return err
	}
	if err := k.holds(ctx, t, row.Held); err != nil {
		return err
	}
	if err := k.unmapped(ctx, t, row.Held); err != nil {
		return err
	}
	for _, key := range preflight.KeyChecks(t, k.p.Config.Checks.Skip, k.p.collation(false)) {
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

// keepHeld copies the rows that are held. holds, unmapped and ripple take them from there:
// each reading of the relation for those few costs 3 to 5 % of the pass over all that rows makes.
func (k *dataChecker) keepHeld(ctx context.Context, t *mapping.Table, row *DataTable) error {
	query := "CREATE OR REPLACE TEMP TABLE " + heldName(t.Name) + " AS SELECT dm_seq, dm_id, legacy_key, dm_hold, NULL::VARCHAR AS root, NULL::VARCHAR AS col FROM " + duckstage.Ident(t.Name) + " WHERE dm_hold IS NOT NULL"
	if _, err := k.c.Exec(ctx, query); err != nil {
		return err
	}
	k.held[t.Name] = false
	return k.c.Row(ctx, []any{&row.Held}, "SELECT count(*) FROM "+heldName(t.Name))
}

// rows counts what every check finds, in one pass, and then looks for examples of what
// was found only.
func (k *dataChecker) rows(ctx context.Context, t *mapping.Table, row *DataTable) error {
	checks := slices.DeleteFunc(preflight.DataChecks(t, k.p.Config.Checks.Skip), func(c preflight.Check) bool { return !k.wanted(c.ID) })
	counts, values := []string{"count(*)", "count(dm_repairs)"}, []any{&row.Rows, &row.Repaired}
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
	query := fmt.Sprintf(`SELECT regexp_extract(dm_hold, '^DVM-[A-Z]+') AS id, regexp_extract(dm_hold, '^DVM-[A-Z]+ ([^:]*): ', 1), count(*),
		arg_min(regexp_replace(dm_hold, '^DVM-[A-Z]+ [^:]*: ', ''), dm_seq), array_to_string(arg_min(legacy_key, dm_seq, %d), chr(31))
		FROM %s WHERE id IN ('%s', '%s', '%s', '%s') GROUP BY ALL ORDER BY 1, 2`, keysShown, heldName(t.Name),
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
		query := fmt.Sprintf("SELECT array_to_string(arg_min(legacy_key, dm_seq, %d), chr(31)) FROM %s WHERE starts_with(dm_hold, %s)", keysShown, heldName(t.Name), duckstage.Quote(preflight.Map+" "+u.Column+": "))
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

// unique looks for rows with the same alternate key, and for those whose keys differ by
// accents only, or by what else the collation does not tell apart. Equal hashes are looked for first: grouping eight bytes is a third of the
// work of grouping texts.
func (k *dataChecker) unique(ctx context.Context, t *mapping.Table, key preflight.KeyCheck) error {
	if !k.wanted(preflight.Unique) && !k.wanted(preflight.Accents) {
		return nil
	}
	relation := duckstage.Ident(t.Name)
	hashes := fmt.Sprintf("SELECT hash(%[1]s) AS h FROM %[2]s WHERE (%[1]s) IS NOT NULL GROUP BY h HAVING count(*) > 1", key.Folded, relation)
	var repeated int64
	if err := k.c.Row(ctx, []any{&repeated}, "SELECT count(*) FROM ("+hashes+")"); err != nil || repeated == 0 {
		return err
	}
	for _, c := range []struct{ check, same, having, text string }{
		{preflight.Unique, key.Value, "n > 1", "values of %s that are there more than once: %d, such as '%s'"},
		{preflight.Accents, key.Folded, "count(DISTINCT v) > 1", "values of %s that differ by accents only: %d, such as '%s'"},
	} {
		if slices.Contains(k.p.Config.Checks.Skip, c.check) {
			continue
		}
		var rows, groups int64
		var example, keys *string
		query := fmt.Sprintf(`SELECT coalesce(sum(n), 0)::BIGINT, count(*), first(k ORDER BY n DESC, k), first(keys ORDER BY n DESC, k) FROM (
			SELECT same, string_agg(DISTINCT v, ''', ''' ORDER BY v) AS k, count(*) AS n, array_to_string(arg_min(legacy_key, dm_seq, %[5]d), chr(31)) AS keys
			FROM (SELECT %[1]s AS same, %[2]s AS v, legacy_key, dm_seq FROM %[3]s WHERE hash(%[6]s) IN (%[4]s)) GROUP BY same HAVING %[7]s)`,
			c.same, key.Value, relation, hashes, keysShown, key.Folded, c.having)
		if err := k.c.Row(ctx, []any{&rows, &groups, &example, &keys}, query); err != nil {
			return err
		}
		text := fmt.Sprintf(c.text, key.Key, groups, strings.ReplaceAll(textOf(example), "\x1f", "', '"))
		k.find(c.check, t.Name, strings.Join(key.Columns, ", "), rows, text, keyList(keys))
	}
	return nil
}

// ripple counts the rows that depend on rows which are held, directly or by way of
// others, and names the root. Lookups that a later pass sets hold no insert back.
func (k *dataChecker) ripple(ctx context.Context, t *mapping.Table, deferred []string, held int64) (int64, error) {
	parts := k.pointing(t, deferred, false)
	k.held[t.Name] = held > 0
	if len(parts) == 0 {
		return 0, nil
	}
	n, err := k.c.Exec(ctx, "INSERT INTO "+heldName(t.Name)+" SELECT dm_seq, any_value(dm_id), any_value(legacy_key), NULL, min(root), min(col) FROM ("+strings.Join(parts, " UNION ALL ")+") GROUP BY dm_seq")
	if err != nil || n == 0 {
		return 0, err
	}
	k.held[t.Name] = true
	return k.behind(ctx, t, heldName(t.Name), "behind ")
}

// unfinished counts the rows whose records are made, but stay behind in the pass that sets
// a lookup to a row which is held. Nothing waits for them in turn: their records are there.
func (k *dataChecker) unfinished(ctx context.Context, t *mapping.Table, deferred []string) (int64, error) {
	parts := k.pointing(t, deferred, true)
	if len(parts) == 0 {
		return 0, nil
	}
	return k.behind(ctx, t, "(SELECT dm_seq, any_value(legacy_key) AS legacy_key, min(root) AS root, min(col) AS col FROM ("+strings.Join(parts, " UNION ALL ")+
		") WHERE dm_seq NOT IN (SELECT dm_seq FROM "+heldName(t.Name)+") GROUP BY dm_seq)", "the record is made without it, behind ")
}

// pointing are the queries for the rows of a table that point to rows which are held, by
// lookups that are deferred or by those that are not.
func (k *dataChecker) pointing(t *mapping.Table, deferred []string, later bool) (parts []string) {
	for _, l := range t.Lookups {
		for _, target := range l.Targets {
			if target.Staged && k.held[target.Table] && slices.Contains(deferred, l.LogicalName) == later {
				parts = append(parts, fmt.Sprintf("SELECT x.dm_seq, x.dm_id, x.legacy_key, coalesce(h.root, %s || h.legacy_key || ''': ' || h.dm_hold) AS root, %s AS col FROM %s x JOIN %s h ON h.dm_id = x.%s WHERE x.dm_hold IS NULL",
					duckstage.Quote(target.Table+" '"), duckstage.Quote(l.LogicalName), duckstage.Ident(t.Name), heldName(target.Table), mapping.Ident(l.LogicalName)))
			}
		}
	}
	return parts
}

// behind tells of the rows that another relation has with the root for which they wait.
func (k *dataChecker) behind(ctx context.Context, t *mapping.Table, waiting, how string) (rows int64, err error) {
	query := fmt.Sprintf("SELECT col, count(*), arg_min(root, dm_seq), array_to_string(arg_min(legacy_key, dm_seq, %d), chr(31)) FROM %s WHERE col IS NOT NULL GROUP BY col ORDER BY col", keysShown, waiting)
	err = k.c.Rows(ctx, query, nil, func(scan func(...any) error) error {
		var col, root, keys string
		var n int64
		if err := scan(&col, &n, &root, &keys); err != nil {
			return err
		}
		rows += n
		k.find(preflight.Ripple, t.Name, col, n, how+root, keyList(&keys))
		return nil
	})
	return rows, err
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
