package duckstage_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"dvmigrate/duckstage"
	"dvmigrate/duckstage/column"
)

// counting opens readings of total rows in which the first column counts up and the
// others count to seven.
func counting(total int64) func(context.Context, []any) (duckstage.Reading, error) {
	return func(context.Context, []any) (duckstage.Reading, error) {
		next := int64(0)
		return duckstage.Reading{Rows: total, Fill: func(b *column.Batch, limit int, want []bool) error {
			b.Rows = int(min(total-next, int64(limit)))
			for i := range b.Columns {
				for row := range b.Rows {
					if v := next + int64(row); i == 0 {
						b.Columns[i].Ints = append(b.Columns[i].Ints, v)
					} else {
						b.Columns[i].Ints = append(b.Columns[i].Ints, v&7)
					}
				}
			}
			next += int64(b.Rows)
			return nil
		}}, nil
	}
}

func newStage(t *testing.T) *duckstage.Stage {
	t.Helper()
	s, err := duckstage.Open(t.Context(), filepath.Join(t.TempDir(), "stage.duckdb"), duckstage.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// facts registers a function with a column of every type: facts(prefix, rows).
func facts(t *testing.T, s *duckstage.Stage, closed func()) {
	t.Helper()
	err := s.RegisterTable(t.Context(), duckstage.TableFunc{
		Name: "facts", Args: []string{"VARCHAR", "BIGINT"},
		Columns: []duckstage.ColumnInfo{{Name: "seq", SQLType: "UINTEGER"}, {Name: "name", SQLType: "VARCHAR"}, {Name: "ok", SQLType: "BOOLEAN"}, {Name: "rate", SQLType: "DOUBLE"},
			{Name: "day", SQLType: "DATE"}, {Name: "moment", SQLType: "TIMESTAMP"}, {Name: "id", SQLType: "UUID"}, {Name: "code", SQLType: "SMALLINT"}},
		Open: func(_ context.Context, args []any) (duckstage.Reading, error) {
			prefix, total := args[0].(string), args[1].(int64)
			if prefix == "refuse" {
				return duckstage.Reading{}, errors.New("refused to open")
			}
			next := int64(0)
			return duckstage.Reading{Close: closed, Fill: func(b *column.Batch, limit int, want []bool) error {
				for ; next < total && b.Rows < limit; b.Rows++ {
					if prefix == "panic" && next == 5000 {
						panic("boom")
					}
					if prefix == "fail" && next == 5000 {
						return errors.New("failed to fill")
					}
					if want[1] {
						b.Columns[1].AppendText(fmt.Sprint(prefix, next))
					}
					for _, i := range []int{0, 2, 4, 5, 7} {
						b.Columns[i].Ints = append(b.Columns[i].Ints, map[int]int64{0: next, 2: next & 1, 4: -next, 5: -next * 1000, 7: next % 100}[i])
					}
					b.Columns[3].Floats = append(b.Columns[3].Floats, float64(next)/2)
					b.Columns[6].UUIDs = append(b.Columns[6].UUIDs, [16]byte{0x80, 15: byte(next)})
					if next%3 == 0 {
						b.Columns[7].SetNull(b.Rows, limit)
					}
					next++
				}
				return nil
			}}, nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestTableFunctionGivesItsValues(t *testing.T) {
	s := newStage(t)
	closed := 0
	facts(t, s, func() { closed++ })
	var got string
	err := s.Row(t.Context(), []any{&got}, "SELECT concat_ws(' ', seq, name, ok, rate, day, moment, id, code) FROM facts('row', 5000) WHERE seq = 4097")
	if want := "4097 row4097 true 2048.5 1958-10-14 1969-12-31 23:59:55.903 80000000-0000-0000-0000-000000000001 97"; err != nil || got != want {
		t.Errorf("row = %q, want %q, %v", got, want, err)
	}
	var rows, nulls int
	if err := s.Row(t.Context(), []any{&rows, &nulls}, "SELECT count(*), count(*) - count(code) FROM facts('x', 3000)"); err != nil || rows != 3000 || nulls != 1000 {
		t.Errorf("rows = %d, nulls = %d, %v", rows, nulls, err)
	}
	if closed != 2 {
		t.Errorf("closed %d times after 2 readings", closed)
	}
}

func TestTableFunctionFails(t *testing.T) {
	s := newStage(t)
	closed := 0
	facts(t, s, func() { closed++ })
	for prefix, want := range map[string]string{"refuse": "refused to open", "fail": "failed to fill", "panic": "panicked: boom"} {
		err := s.Row(t.Context(), []any{new(int)}, "SELECT count(name) FROM facts('"+prefix+"', 10000)")
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", prefix, err)
		}
	}
	if closed != 2 {
		t.Errorf("closed %d times after 2 failed readings", closed)
	}
	if err := s.RegisterTable(t.Context(), duckstage.TableFunc{Name: "bad", Columns: []duckstage.ColumnInfo{{Name: "x", SQLType: "STRUCT(a INT)"}}}); err == nil {
		t.Error("an unsupported type was accepted")
	}
}

func TestTableFunctionUnderConcurrentQueries(t *testing.T) {
	s := newStage(t)
	facts(t, s, nil)
	if _, err := s.Exec(t.Context(), "CREATE TABLE main.t AS SELECT range AS i FROM range(20000)"); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 5 {
				var n, sum int64
				err := s.Row(t.Context(), []any{&n, &sum}, "SELECT count(*), sum(i)::BIGINT FROM facts('x', 20000) f JOIN t ON t.i = f.seq WHERE f.name = 'x' || t.i")
				if err != nil || n != 20000 || sum != 199990000 {
					t.Errorf("n = %d, sum = %d, %v", n, sum, err)
					return
				}
			}
		})
	}
	wg.Wait()
}
