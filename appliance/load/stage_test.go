package load_test

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"dvmigrate/appliance/mapping"
	"dvmigrate/duckstage/column"
	"dvmigrate/ledger"
)

// stage answers the loader's scans from rows that functions make: the few forms of
// SELECT that the loader sends, and nothing else.
type stage struct {
	tables map[string]*rows
	book   func() *ledger.Ledger // for the query that holds dependants back
}

// rows are one staged table. value makes the value of a column in a row: nil, or what
// the column's type holds.
type rows struct {
	mapped *mapping.Table
	count  int
	owed   func(seq int) uint8
	value  func(column string, seq int) any
}

var (
	selectForm = regexp.MustCompile(`^SELECT (.+) FROM "?(\w+)"?(?: WHERE dm_seq >= (\d+) AND dm_seq < (\d+)(?: AND dm_seq IN \(([\d,]+)\))?)?$`)
	holdForm   = regexp.MustCompile(`(?s)^SELECT x.dm_seq, p.legacy_key FROM "(\w+)" x\s+JOIN "(\w+)" p ON p.dm_id = x."(\w+)"\s+` +
		`JOIN "\w+_flags" f ON f.dm_seq = p.dm_seq AND f.flag IN \('E', 'H'\) AND f.pass = 'main' AND f.action = 'I'\s+` +
		`JOIN "\w+_flags" s ON s.dm_seq = x.dm_seq AND s.flag = '(\w)' AND s.pass = '(\w+)' AND s.action <> 'N'\s+ORDER BY x.dm_seq$`)
)

var goneForm = regexp.MustCompile(`\(SELECT (?:seq AS )?dm_seq, .* FROM dm.gone WHERE "table" = '(\w+)'\)( WHERE filled AND)?`)

const chunk = 2048

func (s *stage) Scan(ctx context.Context, query string, _ []any, fn func(*column.Batch) error) error {
	if m := holdForm.FindStringSubmatch(query); m != nil {
		return s.dependants(m[1], m[2], m[3], m[4], m[5], fn)
	}
	if strings.Contains(query, "dm_place") { // rows that match the same record: there are none
		return nil
	}
	m := selectForm.FindStringSubmatch(strings.ReplaceAll(goneForm.ReplaceAllString(query, `"$1"$2`), "filled AND ", "")) // gone rows are as they were
	if m == nil {
		return fmt.Errorf("the test's stage does not know this query: %s", query)
	}
	t := s.tables[m[2]]
	first, last := 0, t.count
	if m[3] != "" {
		first, _ = strconv.Atoi(m[3])
		last, _ = strconv.Atoi(m[4])
	}
	var seqs []int
	in := strings.Split(m[5], ",")
	for seq := first; seq < min(last, t.count); seq++ {
		if m[5] == "" || slices.Contains(in, strconv.Itoa(seq)) {
			seqs = append(seqs, seq)
		}
	}
	names := strings.Split(strings.ReplaceAll(m[1], `"`, ""), ", ")
	for part := range slices.Chunk(seqs, chunk) {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err := fn(t.batch(names, part)); err != nil {
			return err
		}
	}
	return nil
}

func (s *stage) Stream(ctx context.Context, query string, args []any, fn func(*column.Batch) error) error {
	return s.Scan(ctx, query, args, fn)
}

func (t *rows) batch(names []string, seqs []int) *column.Batch {
	b := &column.Batch{Rows: len(seqs)}
	for _, name := range names {
		v := column.Vector{Name: name, Type: t.typeOf(name)}
		for i, seq := range seqs {
			t.append(&v, i, seq, len(seqs))
		}
		b.Columns = append(b.Columns, v)
	}
	return b
}

func (t *rows) typeOf(name string) column.Type {
	switch name {
	case mapping.Seq, mapping.Owed:
		return column.Int
	case mapping.ID:
		return column.UUID
	}
	for _, c := range t.mapped.Columns {
		if c.LogicalName == name {
			switch {
			case c.SQLType == "INTEGER":
				return column.Int
			case c.SQLType == "BOOLEAN":
				return column.Bool
			case c.SQLType == "DATE":
				return column.Date
			case strings.HasPrefix(c.SQLType, "DECIMAL"):
				return column.Decimal
			}
			return column.Text
		}
	}
	if strings.HasSuffix(name, mapping.TargetSuffix) {
		return column.Text
	}
	return column.UUID // a lookup
}

func (t *rows) append(v *column.Vector, i, seq, n int) {
	var value any
	switch v.Name {
	case mapping.Seq:
		value = seq
	case mapping.Owed:
		value = int(t.owed(seq))
	default:
		value = t.value(v.Name, seq)
	}
	if value == nil {
		v.SetNull(i, n)
	}
	switch v.Type {
	case column.Int, column.Bool, column.Date:
		k, _ := value.(int)
		v.Ints = append(v.Ints, int64(k))
	case column.Decimal:
		k, _ := value.(int)
		v.Scale = 2
		v.Wide = append(v.Wide, column.FromInt64(int64(k)))
	case column.UUID:
		g, _ := value.([16]byte)
		v.UUIDs = append(v.UUIDs, g)
	default:
		text, _ := value.(string)
		v.AppendText(text)
	}
}

// dependants answers the query that joins a table with its parents' flags.
func (s *stage) dependants(table, parent, lookup, flag, pass string, fn func(*column.Batch) error) error {
	missing := map[[16]byte]int{}
	for seq := range s.tables[parent].count {
		e, _ := s.book().Entry(parent, uint32(seq))
		if (e.Flag == ledger.Failed || e.Flag == ledger.Held) && e.Pass == ledger.Main && e.Action == ledger.Insert {
			missing[s.tables[parent].value(mapping.ID, seq).([16]byte)] = seq
		}
	}
	b := &column.Batch{Columns: []column.Vector{{Name: "dm_seq", Type: column.Int}, {Name: "legacy_key", Type: column.Text}}}
	t := s.tables[table]
	for seq := range t.count {
		id, _ := t.value(lookup, seq).([16]byte)
		at, found := missing[id]
		e, _ := s.book().Entry(table, uint32(seq))
		if !found || e.Flag.String() != flag || e.Pass.String() != pass || e.Action == ledger.Nothing {
			continue
		}
		b.Rows++
		b.Columns[0].Ints = append(b.Columns[0].Ints, int64(seq))
		b.Columns[1].AppendText(fmt.Sprintf("K%d", at))
	}
	if b.Rows == 0 {
		return nil
	}
	return fn(b)
}
