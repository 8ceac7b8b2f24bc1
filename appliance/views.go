package appliance

import (
	"context"
	"fmt"
	"strings"

	"dvmigrate/appliance/load"
	"dvmigrate/duckstage"
	"dvmigrate/duckstage/column"
	"dvmigrate/ledger"
)

// The ledger as SQL sees it. Table functions read it, fresh at every query and while a
// load goes on:
//
//	ledger_spans(table)     one row a stretch of records with equal entries: first, beyond, action, flag,
//	                        pass, attempts, class, changed_at
//	ledger_failures(table)  one row a failed or held record: dm_seq, class, http, code, message, and as above
//	reconcile_rows(table)   one row a mismatch of the last comparison (reconciled.go)
//	ledger_progress(), ledger_runs(), ledger_generations(), ledger_reconciled(), ledger_audit()
//
// createViews makes the relations of method.md M3 from them: for each table <table>_flags,
// <table>_success, <table>_error, <table>_held, reconcile_<table>; over all tables flags and
// ledger; and progress, runs, generations, reconciled and audit. A stretch is spread out to one row a record by
// DuckDB itself, which does that some twenty times faster than a table function could.

// chunk is the most rows that a batch of a table function has.
const chunk = 2048

// registerLedger teaches the stage's SQL to read the ledger.
func (p *Project) registerLedger(ctx context.Context) error {
	functions := append(p.wholeRelations(), p.mismatchFunc(),
		duckstage.TableFunc{Name: "ledger_spans", Args: []string{"VARCHAR"},
			Columns: []duckstage.ColumnInfo{{Name: "first", SQLType: "UINTEGER"}, {Name: "beyond", SQLType: "UINTEGER"}, {Name: "action", SQLType: "VARCHAR"},
				{Name: "flag", SQLType: "VARCHAR"}, {Name: "pass", SQLType: "VARCHAR"}, {Name: "attempts", SQLType: "UTINYINT"}, {Name: "class", SQLType: "VARCHAR"},
				{Name: "changed_at", SQLType: "TIMESTAMP"}},
			Open: p.spanRows},
		duckstage.TableFunc{Name: "ledger_failures", Args: []string{"VARCHAR"},
			Columns: []duckstage.ColumnInfo{{Name: "dm_seq", SQLType: "UINTEGER"}, {Name: "class", SQLType: "VARCHAR"}, {Name: "http", SQLType: "USMALLINT"},
				{Name: "code", SQLType: "VARCHAR"}, {Name: "message", SQLType: "VARCHAR"}, {Name: "action", SQLType: "VARCHAR"}, {Name: "flag", SQLType: "VARCHAR"},
				{Name: "pass", SQLType: "VARCHAR"}, {Name: "attempts", SQLType: "UTINYINT"}, {Name: "changed_at", SQLType: "TIMESTAMP"}},
			Open: p.failureRows})
	for _, f := range functions {
		if err := p.stage.RegisterTable(ctx, f); err != nil {
			return err
		}
	}
	return p.stage.RegisterTable(ctx, duckstage.TableFunc{Name: "ledger_ids", Args: []string{"VARCHAR"},
		Columns: []duckstage.ColumnInfo{{Name: "dm_seq", SQLType: "UINTEGER"}, {Name: "record_id", SQLType: "UUID"}}, Open: p.idRows})
}

// spanRows reads a table's entries.
func (p *Project) spanRows(_ context.Context, args []any) (duckstage.Reading, error) {
	name, _ := args[0].(string)
	table, ok := p.ledger.Table(name)
	if !ok {
		return duckstage.Reading{}, fmt.Errorf("the ledger has no table %q", name)
	}
	from := uint32(0)
	fill := func(b *column.Batch, limit int, _ []bool) error {
		// iter.Pull would read on more simply, but its coroutine may not be resumed from
		// DuckDB's threads.
		for s := range p.ledger.Spans(name, from) {
			c := b.Columns
			c[0].Ints = append(c[0].Ints, int64(s.From))
			c[1].Ints = append(c[1].Ints, int64(s.To))
			for k, word := range []string{s.Action.String(), s.Flag.String(), s.Pass.String()} {
				c[2+k].AppendText(word)
			}
			c[5].Ints = append(c[5].Ints, int64(s.Attempts))
			appendText(&c[6], className(s.Entry), b.Rows)
			c[7].Ints = append(c[7].Ints, s.Changed().UnixMicro())
			if s.Time == 0 {
				c[7].SetNull(b.Rows, chunk)
			}
			from = s.To
			if b.Rows++; b.Rows == limit {
				break
			}
		}
		return nil
	}
	return duckstage.Reading{Rows: int64(table.Count)/4096 + 1, Fill: fill}, nil
}

// appendText adds a text; the empty one is null.
func appendText(v *column.Vector, s string, row int) {
	v.AppendText(s)
	if s == "" {
		v.SetNull(row, chunk)
	}
}

// failureRows reads a table's failures, page by page.
func (p *Project) failureRows(_ context.Context, args []any) (duckstage.Reading, error) {
	name, _ := args[0].(string)
	if _, ok := p.ledger.Table(name); !ok {
		return duckstage.Reading{}, fmt.Errorf("the ledger has no table %q", name)
	}
	from := uint32(0)
	fill := func(b *column.Batch, limit int, _ []bool) error {
		page, err := p.ledger.Failures(name, from, min(limit, failurePage))
		if err != nil || len(page) == 0 {
			return err
		}
		from = page[len(page)-1].Seq + 1
		for i, f := range page {
			c := b.Columns
			c[0].Ints = append(c[0].Ints, int64(f.Seq))
			appendText(&c[1], className(f.Entry), i)
			c[2].Ints = append(c[2].Ints, int64(f.HTTP))
			if f.HTTP == 0 {
				c[2].SetNull(i, chunk)
			}
			appendText(&c[3], codeText(f.Code), i)
			appendText(&c[4], f.Text, i)
			for k, word := range []string{f.Action.String(), f.Flag.String(), f.Pass.String()} {
				c[5+k].AppendText(word)
			}
			c[8].Ints = append(c[8].Ints, int64(f.Attempts))
			c[9].Ints = append(c[9].Ints, f.Changed().UnixMicro())
		}
		b.Rows = len(page)
		return nil
	}
	counts := p.ledger.Counts(name)
	return duckstage.Reading{Rows: int64(counts.Flag(ledger.Failed) + counts.Flag(ledger.Held)), Fill: fill}, nil
}

// codeText is an error code as the Web API writes it; none is empty.
func codeText(code uint32) string {
	if code == 0 {
		return ""
	}
	return fmt.Sprintf("0x%08x", code)
}

// className is the error class of an entry in words; empty for entries without one.
func className(e ledger.Entry) string {
	if e.Flag != ledger.Failed && e.Flag != ledger.Held {
		return ""
	}
	return load.Class(e.Class).String()
}

// createViews makes the relations over stage and ledger, for the tables staged now.
func (p *Project) createViews(ctx context.Context) error {
	tables, err := p.stagedTables(ctx)
	if err != nil {
		return err
	}
	taken := map[string]bool{}
	var flags, records []string
	for _, t := range tables {
		taken[t.Name] = true
		record, ids := p.recordColumn(t.Name)
		for _, view := range tableViews(t.Name, record, ids) {
			if _, err := p.stage.Exec(ctx, view); err != nil {
				return fmt.Errorf("make the views of %s: %w", t.Name, err)
			}
		}
		name, rows, entries := duckstage.Quote(t.Name), duckstage.Ident(t.Name), duckstage.Ident(t.Name+load.FlagsSuffix)
		flags = append(flags, fmt.Sprintf("SELECT %s AS table_name, * FROM %s", name, entries))
		records = append(records, fmt.Sprintf("SELECT %s AS table_name, s.legacy_key, %s AS record_id, f.* FROM %s f LEFT JOIN %s s USING (dm_seq) %s", name, record, entries, rows, ids))
	}
	whole := map[string]string{}
	for _, f := range p.wholeRelations() {
		whole[strings.TrimPrefix(f.Name, "ledger_")] = "SELECT * FROM " + f.Name + "()"
	}
	if len(tables) > 0 {
		whole["flags"], whole["ledger"] = strings.Join(flags, " UNION ALL "), strings.Join(records, " UNION ALL ")
	}
	for name, query := range whole {
		if taken[name] {
			continue // a target table of that name goes before
		}
		if _, err := p.stage.Exec(ctx, "CREATE OR REPLACE VIEW "+duckstage.Ident(name)+" AS "+query); err != nil {
			return fmt.Errorf("make the view %s: %w", name, err)
		}
	}
	return nil
}

// recordColumn is the record id of a table's rows s as SQL, and the join that it needs.
func (p *Project) recordColumn(table string) (column, join string) {
	switch join := fmt.Sprintf("LEFT JOIN ledger_ids(%s) k USING (dm_seq)", duckstage.Quote(table)); {
	case p.Config.Table(table).IDs == "server":
		return "k.record_id", join
	case len(p.Config.Table(table).Match) > 0:
		return "coalesce(k.record_id, s.dm_id)", join
	}
	return "s.dm_id", ""
}

// tableViews are the statements that make a table's views; record and ids are those of recordColumn.
func tableViews(table, record, ids string) []string {
	q := func(suffix string) string { return duckstage.Ident(table + suffix) }
	name := duckstage.Quote(table)
	return []string{
		fmt.Sprintf(`CREATE OR REPLACE VIEW %s AS SELECT unnest(range(first, beyond))::UINTEGER AS dm_seq, action, flag, pass, attempts, class, changed_at
			FROM ledger_spans(%s)`, q(load.FlagsSuffix), name),
		fmt.Sprintf(`CREATE OR REPLACE VIEW %s AS SELECT s.legacy_key, %s AS record_id, f.action, f.flag, f.pass, f.attempts, f.changed_at
			FROM %s s JOIN %s f USING (dm_seq) %s WHERE f.flag IN ('S', 'P')`, q("_success"), record, q(""), q(load.FlagsSuffix), ids),
		fmt.Sprintf(`CREATE OR REPLACE VIEW %s AS SELECT s.legacy_key, %s AS record_id, e.action, e.flag, e.pass, e.attempts, e.class, e.http, e.code, e.message, e.changed_at
			FROM ledger_failures(%s) e JOIN %s s USING (dm_seq) %s`, q("_error"), record, name, q(""), ids),
		fmt.Sprintf("CREATE OR REPLACE VIEW %s AS SELECT * FROM %s WHERE flag = 'H'", q("_held"), q("_error")),
		fmt.Sprintf(`CREATE OR REPLACE VIEW %s AS SELECT s.legacy_key, coalesce(m.record_id, %s::VARCHAR) AS record_id, m.kind, m.class, m."column", m.staged, m.in_target
			FROM reconcile_rows(%s) m LEFT JOIN %s s USING (dm_seq) %s`, duckstage.Ident("reconcile_"+table), record, name, q(""), ids),
		fmt.Sprintf("CREATE OR REPLACE VIEW %s AS SELECT s.legacy_key, %s AS record_id, s.dm_repairs AS repairs FROM %s s %s WHERE dm_repairs IS NOT NULL", q("_repairs"), record, q(""), ids),
	}
}
