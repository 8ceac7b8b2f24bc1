package appliance

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"dvmigrate/appliance/load"
	"dvmigrate/appliance/mapping"
	"dvmigrate/duckstage"
	"dvmigrate/duckstage/column"
	"dvmigrate/ledger"
)

// Failure is one record that failed or is held back.
type Failure struct {
	Table     string `json:"table"`
	LegacyKey string `json:"legacyKey"`
	RecordID  string `json:"recordId"`
	Flag      string `json:"flag"` // E or H
	Pass      string `json:"pass"`
	Attempts  int    `json:"attempts"`
	Class     string `json:"class"`
	HTTP      int    `json:"http,omitempty"`
	Code      string `json:"code,omitempty"`
	Message   string `json:"message"`
	Changed   string `json:"changedAt"`
}

// FailureList is the answer to `errors`.
type FailureList struct {
	Version  int       `json:"version"`
	Summary  Counts    `json:"summary"`
	Total    int64     `json:"total"`  // failed and held records of the tables asked for
	Errors   []Failure `json:"errors"` // at most the limit
	Rejected int64     `json:"rejectedLines"`
}

// failurePage is how many failures are looked up together.
const failurePage = 1000

// Failures lists records that failed or are held back: with a limit those that changed last,
// the newest first; without one all, by table and in the order of staging.
func (p *Project) Failures(ctx context.Context, f FailureFilter) (FailureList, error) {
	out := FailureList{Version: 1, Errors: []Failure{}}
	if err := f.validate(p.ledger); err != nil {
		return out, err
	}
	if err := p.knownKeys(ctx, f); err != nil {
		return out, err
	}
	var newest []tableFailure
	for _, t := range p.ledger.Tables() {
		if len(f.Tables) > 0 && !slices.Contains(f.Tables, t.Name) {
			continue
		}
		counts := p.ledger.Counts(t.Name)
		out.Summary.add(tableStatus(t.Name, counts).Counts)
		var err error
		if !f.single() {
			out.Total += f.total(counts)
		}
		if f.single() {
			newest, err = p.singleFailures(ctx, t.Name, f, newest, &out.Total)
		} else if f.Limit > 0 {
			newest, err = p.newestFailures(t.Name, f, newest)
		} else {
			err = p.allFailures(ctx, t.Name, f, &out)
		}
		if err != nil {
			return out, fmt.Errorf("list errors of %s: %w", t.Name, err)
		}
	}
	if err := p.nameFailures(ctx, newest, &out); err != nil {
		return out, err
	}
	var err error
	out.Rejected, err = p.rejectedLines(ctx)
	return out, err
}

// tableFailure is a failure of a table.
type tableFailure struct {
	table string
	ledger.Failure
}

// newestFailures adds a table's to those of other tables and keeps the newest of all.
func (p *Project) newestFailures(table string, f FailureFilter, others []tableFailure) ([]tableFailure, error) {
	list, err := p.ledger.Newest(table, f.filter(), f.Limit)
	if err != nil {
		return nil, err
	}
	for _, e := range list {
		others = append(others, tableFailure{table, e})
	}
	slices.SortStableFunc(others, func(a, b tableFailure) int { return cmp.Compare(b.Time, a.Time) })
	return others[:min(len(others), f.Limit)], nil
}

// allFailures adds all of a table, page by page.
func (p *Project) allFailures(ctx context.Context, table string, f FailureFilter, out *FailureList) error {
	var chosen []tableFailure
	flush := func() error {
		err := p.nameFailures(ctx, chosen, out)
		chosen = chosen[:0]
		return err
	}
	err := p.eachFailure(ctx, table, f, func(e ledger.Failure) error {
		if chosen = append(chosen, tableFailure{table, e}); len(chosen) == failurePage {
			return flush()
		}
		return nil
	})
	return errors.Join(err, flush())
}

// singleFailures adds a table's that are chosen by code or key, the newest first, and
// counts them.
func (p *Project) singleFailures(ctx context.Context, table string, f FailureFilter, others []tableFailure, total *int64) ([]tableFailure, error) {
	newest := func(a, b tableFailure) int { return cmp.Compare(b.Time, a.Time) }
	err := p.eachFailure(ctx, table, f, func(e ledger.Failure) error {
		*total++
		if others = append(others, tableFailure{table, e}); f.Limit > 0 && len(others) >= 2*f.Limit {
			slices.SortStableFunc(others, newest)
			others = others[:f.Limit]
		}
		return nil
	})
	if f.Limit > 0 {
		slices.SortStableFunc(others, newest)
		others = others[:min(len(others), f.Limit)]
	}
	return others, err
}

// eachFailure hands out the failures of a table that the filter chooses, in the order of
// staging.
func (p *Project) eachFailure(ctx context.Context, table string, f FailureFilter, each func(ledger.Failure) error) error {
	take := func(page []ledger.Failure) error {
		for _, e := range page {
			if !f.chooses(e) {
				continue
			}
			if err := each(e); err != nil {
				return err
			}
		}
		return nil
	}
	if len(f.Keys) > 0 {
		seqs, err := p.keySeqs(ctx, table, f.Keys)
		for _, key := range slices.SortedFunc(maps.Values(seqs), cmp.Compare[uint32]) {
			page, err := p.ledger.Failures(table, key, 1)
			if err != nil {
				return err
			}
			if len(page) == 1 && page[0].Seq == key {
				if err := take(page); err != nil {
					return err
				}
			}
		}
		return err
	}
	for from := uint32(0); ; {
		page, err := p.ledger.Failures(table, from, failurePage)
		if err != nil || len(page) == 0 {
			return err
		}
		from = page[len(page)-1].Seq + 1
		if err := take(page); err != nil {
			return err
		}
	}
}

// keySeqs finds the rows of a table by their legacy keys, those too that are gone.
func (p *Project) keySeqs(ctx context.Context, table string, keys []string) (map[string]uint32, error) {
	found := map[string]uint32{}
	for some := range slices.Chunk(keys, failurePage) {
		quoted := make([]string, len(some))
		for i, k := range some {
			quoted[i] = duckstage.Quote(k)
		}
		in := " IN (" + strings.Join(quoted, ", ") + ")"
		query := fmt.Sprintf(`SELECT legacy_key, dm_seq FROM %s WHERE legacy_key%s UNION ALL SELECT legacy_key, seq FROM dm.gone WHERE "table" = %s AND legacy_key%s`,
			duckstage.Ident(table), in, duckstage.Quote(table), in)
		err := p.stage.Rows(ctx, query, nil, func(scan func(...any) error) error {
			var key string
			var seq uint32
			err := scan(&key, &seq)
			found[key] = seq
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("look for rows of %s: %w", table, err)
		}
	}
	return found, nil
}

// knownKeys refuses a legacy key that none of the tables has.
func (p *Project) knownKeys(ctx context.Context, f FailureFilter) error {
	missing := slices.Clone(f.Keys)
	for _, t := range p.ledger.Tables() {
		if len(missing) == 0 || len(f.Tables) > 0 && !slices.Contains(f.Tables, t.Name) {
			continue
		}
		seqs, err := p.keySeqs(ctx, t.Name, missing)
		if err != nil {
			return err
		}
		missing = slices.DeleteFunc(missing, func(k string) bool { _, ok := seqs[k]; return ok })
	}
	if len(missing) > 0 {
		where := "in any table"
		if len(f.Tables) > 0 {
			where = "in " + strings.Join(f.Tables, ", ")
		}
		return fmt.Errorf("no row with legacy key '%s' %s", missing[0], where)
	}
	return nil
}

// recordName is what the stage calls a record.
type recordName struct{ key, id string }

// recordNames are what the stage calls a table's records, also those whose rows are gone.
func (p *Project) recordNames(ctx context.Context, table string, seqs []uint32) (map[uint32]recordName, error) {
	names := map[uint32]recordName{}
	list := make([]string, len(seqs))
	for i, seq := range seqs {
		list[i] = fmt.Sprint(seq)
	}
	in := strings.Join(list, ",")
	query := fmt.Sprintf(`SELECT dm_seq, legacy_key, dm_id::VARCHAR FROM %s WHERE dm_seq IN (%s) UNION ALL SELECT seq, legacy_key, dm_id::VARCHAR FROM dm.gone WHERE "table" = %s AND seq IN (%s)`,
		duckstage.Ident(table), in, duckstage.Quote(table), in)
	err := p.stage.Scan(ctx, query, nil, func(b *column.Batch) error {
		for i := range b.Rows {
			names[uint32(b.Column(mapping.Seq).Ints[i])] = recordName{string(b.Columns[1].TextAt(i)), string(b.Columns[2].TextAt(i))}
		}
		return nil
	})
	return names, err
}

// nameFailures adds failures with their legacy keys and record ids from the stage.
func (p *Project) nameFailures(ctx context.Context, list []tableFailure, out *FailureList) error {
	seqs := map[string][]uint32{}
	for _, e := range list {
		seqs[e.table] = append(seqs[e.table], e.Seq)
	}
	names := map[string]map[uint32]recordName{}
	for table, list := range seqs {
		var err error
		if names[table], err = p.recordNames(ctx, table, list); err != nil {
			return err
		}
	}
	for _, e := range list {
		n := names[e.table][e.Seq]
		row := Failure{Table: e.table, LegacyKey: n.key, RecordID: n.id, Flag: e.Flag.String(), Pass: e.Pass.String(), Attempts: int(e.Attempts),
			Class: load.Class(e.Reason.Class).String(), HTTP: int(e.HTTP), Code: codeText(e.Code), Message: e.Text, Changed: e.Changed().Format(time.RFC3339)}
		out.Errors = append(out.Errors, row)
	}
	return nil
}

// rejectedLines is how many lines of sources were set aside.
func (p *Project) rejectedLines(ctx context.Context) (int64, error) {
	var n int64
	err := p.stage.Row(ctx, []any{&n}, "SELECT count(*) FROM dm.rejects")
	return n, err
}
