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

// The ledger as SQL sees it. Two table functions read it, fresh at every query and
// while a load goes on:
//
//	ledger_entries(table)   one row a record: dm_seq, action, flag, pass, attempts, class, changed_at
//	ledger_failures(table)  one row a failed or held record: dm_seq, class, http, code, message
//
// createViews makes the relations of method.md M3 from them: <table>_flags,
// <table>_success, <table>_error, and flags over all tables.

// chunk is the most rows that a batch of a table function has.
const chunk = 2048

// registerLedger teaches the stage's SQL to read the ledger.
func (p *Project) registerLedger(ctx context.Context) error {
	err := p.stage.RegisterTable(ctx, duckstage.TableFunc{Name: "ledger_entries", Args: []string{"VARCHAR"},
		Columns: []duckstage.ColumnInfo{{Name: "dm_seq", SQLType: "UINTEGER"}, {Name: "action", SQLType: "VARCHAR"}, {Name: "flag", SQLType: "VARCHAR"},
			{Name: "pass", SQLType: "VARCHAR"}, {Name: "attempts", SQLType: "UTINYINT"}, {Name: "class", SQLType: "VARCHAR"}, {Name: "changed_at", SQLType: "TIMESTAMP"}},
		Open: p.entryRows})
	if err != nil {
		return err
	}
	err = p.stage.RegisterTable(ctx, duckstage.TableFunc{Name: "ledger_ids", Args: []string{"VARCHAR"},
		Columns: []duckstage.ColumnInfo{{Name: "dm_seq", SQLType: "UINTEGER"}, {Name: "record_id", SQLType: "UUID"}}, Open: p.idRows})
	if err != nil {
		return err
	}
	return p.stage.RegisterTable(ctx, duckstage.TableFunc{Name: "ledger_failures", Args: []string{"VARCHAR"},
		Columns: []duckstage.ColumnInfo{{Name: "dm_seq", SQLType: "UINTEGER"}, {Name: "class", SQLType: "VARCHAR"}, {Name: "http", SQLType: "USMALLINT"},
			{Name: "code", SQLType: "VARCHAR"}, {Name: "message", SQLType: "VARCHAR"}},
		Open: p.failureRows})
}

// entryRows reads a table's entries, spread out to one row a record.
func (p *Project) entryRows(_ context.Context, args []any) (duckstage.Reading, error) {
	name, _ := args[0].(string)
	table, ok := p.ledger.Table(name)
	if !ok {
		return duckstage.Reading{}, fmt.Errorf("the ledger has no table %q", name)
	}
	var spans []ledger.Span // read ahead
	from := uint32(0)
	fill := func(b *column.Batch, limit int, want []bool) error {
		for b.Rows < limit {
			if len(spans) == 0 {
				if spans = p.someSpans(name, from, spans); len(spans) == 0 {
					return nil
				}
				from = spans[len(spans)-1].To
			}
			span := &spans[0]
			n := min(limit-b.Rows, span.Len())
			fillEntries(b, *span, n, want)
			b.Rows += n
			if span.From += uint32(n); span.From == span.To {
				spans = spans[1:]
			}
		}
		return nil
	}
	return duckstage.Reading{Rows: int64(table.Count), Fill: fill}, nil
}

// someSpans reads the next spans of a table. (iter.Pull would do it more simply, but
// its coroutine may not be resumed from DuckDB's threads.)
func (p *Project) someSpans(table string, from uint32, reuse []ledger.Span) []ledger.Span {
	spans := reuse[:0]
	for s := range p.ledger.Spans(table, from) {
		if spans = append(spans, s); len(spans) == 1024 {
			break
		}
	}
	return spans
}

// fillEntries adds n rows of one span.
func fillEntries(b *column.Batch, span ledger.Span, n int, want []bool) {
	c := b.Columns
	words := [...]string{1: span.Action.String(), 2: span.Flag.String(), 3: span.Pass.String(), 5: className(span.Entry)}
	for i := range n {
		if want[0] {
			c[0].Ints = append(c[0].Ints, int64(span.From)+int64(i))
		}
		for k, word := range words {
			if word != "" && want[k] || k == 5 && want[k] {
				appendText(&c[k], word, b.Rows+i)
			}
		}
		if want[4] {
			c[4].Ints = append(c[4].Ints, int64(span.Attempts))
		}
		if want[6] {
			c[6].Ints = append(c[6].Ints, span.Changed().UnixMicro())
			if span.Time == 0 {
				c[6].SetNull(b.Rows+i, chunk)
			}
		}
	}
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
		}
		b.Rows = len(page)
		return nil
	}
	return duckstage.Reading{Fill: fill}, nil
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
	var all []string
	for _, t := range tables {
		q := func(suffix string) string { return duckstage.Ident(t.Name + suffix) }
		name := duckstage.Quote(t.Name)
		record, ids := "s.dm_id", ""
		if p.Config.Table(t.Name).IDs == "server" {
			record, ids = "k.record_id", fmt.Sprintf("LEFT JOIN ledger_ids(%s) k USING (dm_seq)", name)
		} else if len(p.Config.Table(t.Name).Match) > 0 {
			record, ids = "coalesce(k.record_id, s.dm_id)", fmt.Sprintf("LEFT JOIN ledger_ids(%s) k USING (dm_seq)", name)
		}
		all = append(all, fmt.Sprintf("SELECT %s AS table_name, * FROM %s", name, q(load.FlagsSuffix)))
		for _, view := range []string{
			fmt.Sprintf("CREATE OR REPLACE VIEW %s AS SELECT * FROM ledger_entries(%s)", q(load.FlagsSuffix), name),
			fmt.Sprintf(`CREATE OR REPLACE VIEW %s AS SELECT s.legacy_key, %s AS record_id, f.action, f.flag, f.pass, f.attempts, f.changed_at
				FROM %s s JOIN %s f USING (dm_seq) %s WHERE f.flag IN ('S', 'P')`, q("_success"), record, q(""), q(load.FlagsSuffix), ids),
			fmt.Sprintf(`CREATE OR REPLACE VIEW %s AS SELECT s.legacy_key, %s AS record_id, f.action, f.flag, f.pass, f.attempts, e.class, e.http, e.code, e.message, f.changed_at
				FROM ledger_failures(%s) e JOIN %s s USING (dm_seq) JOIN %s f USING (dm_seq) %s`, q("_error"), record, name, q(""), q(load.FlagsSuffix), ids),
			fmt.Sprintf("CREATE OR REPLACE VIEW %s AS SELECT s.legacy_key, %s AS record_id, s.dm_repairs AS repairs FROM %s s %s WHERE dm_repairs IS NOT NULL", q("_repairs"), record, q(""), ids),
		} {
			if _, err := p.stage.Exec(ctx, view); err != nil {
				return fmt.Errorf("make the views of %s: %w", t.Name, err)
			}
		}
	}
	if len(all) == 0 {
		return nil
	}
	_, err = p.stage.Exec(ctx, "CREATE OR REPLACE VIEW flags AS "+strings.Join(all, " UNION ALL "))
	return err
}
