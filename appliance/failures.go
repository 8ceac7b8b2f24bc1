package appliance

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"dvmigrate/appliance/config"
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

// FailureFilter chooses failures; each empty part chooses all.
type FailureFilter struct {
	Tables  []string `json:"tables,omitempty"`
	Classes []string `json:"classes,omitempty"`
	Flags   []string `json:"flags,omitempty"` // E, H
	Codes   []string `json:"codes,omitempty"` // error codes of Dataverse, such as 0x80040237
	Keys    []string `json:"keys,omitempty"`  // legacy keys
	Limit   int      `json:"limit"`           // 0 = no limit
}

// validate refuses names that do not exist, with a suggestion.
func (f FailureFilter) validate(l *ledger.Ledger) error {
	var known []string
	for _, t := range l.Tables() {
		known = append(known, t.Name)
	}
	for _, name := range f.Tables {
		if !slices.Contains(known, name) {
			return unknownName("table", name, known)
		}
	}
	for _, name := range f.Classes {
		if !slices.Contains(load.ClassNames(), name) {
			return unknownName("class", name, load.ClassNames())
		}
	}
	for _, flag := range f.Flags {
		if flag != "E" && flag != "H" {
			return fmt.Errorf("flag %q is neither E (error) nor H (held back)", flag)
		}
	}
	for _, code := range f.Codes {
		if _, err := parseCode(code); err != nil {
			return err
		}
	}
	return nil
}

// parseCode reads an error code as Dataverse writes it, in hexadecimal digits.
func parseCode(s string) (uint32, error) {
	n, err := strconv.ParseUint(strings.TrimPrefix(strings.ToLower(s), "0x"), 16, 32)
	if err != nil {
		return 0, fmt.Errorf("%q is no error code of Dataverse, such as 0x80040237", s)
	}
	return uint32(n), nil
}

func unknownName(what, name string, known []string) error {
	if near := config.Nearest(name, known); near != "" {
		return fmt.Errorf("no %s %q; did you mean %s?", what, name, near)
	}
	return fmt.Errorf("no %s %q; there are %s", what, name, strings.Join(known, ", "))
}

func (f FailureFilter) classes() []uint8 {
	var out []uint8
	for _, name := range f.Classes {
		out = append(out, uint8(slices.Index(load.ClassNames(), name)))
	}
	return out
}

func (f FailureFilter) chooses(e ledger.Failure) bool {
	return (len(f.Classes) == 0 || slices.Contains(f.classes(), e.Reason.Class)) && (len(f.Flags) == 0 || slices.Contains(f.Flags, e.Flag.String())) &&
		(len(f.Codes) == 0 || slices.ContainsFunc(f.Codes, func(s string) bool { code, _ := parseCode(s); return code == e.Code }))
}

// single reports whether the filter asks for what only each failure by itself tells.
func (f FailureFilter) single() bool { return len(f.Codes)+len(f.Keys) > 0 }

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

// filter is f for the ledger; a name that is not known chooses nothing.
func (f FailureFilter) filter() ledger.Filter {
	out := ledger.Filter{Classes: f.classes()}
	for _, flag := range f.Flags {
		out.Flags = append(out.Flags, map[string]ledger.Flag{"E": ledger.Failed, "H": ledger.Held}[flag])
	}
	return out
}

// total is how many records of a table the filter chooses, from the counts that are kept.
func (f FailureFilter) total(c ledger.Counts) (n int64) {
	for _, flag := range []ledger.Flag{ledger.Failed, ledger.Held} {
		switch {
		case len(f.Flags) > 0 && !slices.Contains(f.Flags, flag.String()):
		case len(f.Classes) == 0:
			n += int64(c.Flag(flag))
		default:
			for _, class := range f.classes() {
				n += int64(c.Class(flag, class))
			}
		}
	}
	return n
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

// nameFailures adds failures with their legacy keys and record ids from the stage.
func (p *Project) nameFailures(ctx context.Context, list []tableFailure, out *FailureList) error {
	seqs := map[string][]string{}
	for _, e := range list {
		seqs[e.table] = append(seqs[e.table], fmt.Sprint(e.Seq))
	}
	names := map[string]map[uint32]recordName{}
	for table, list := range seqs {
		names[table] = map[uint32]recordName{}
		in := strings.Join(list, ",")
		query := fmt.Sprintf(`SELECT dm_seq, legacy_key, dm_id::VARCHAR FROM %s WHERE dm_seq IN (%s) UNION ALL SELECT seq, legacy_key, dm_id::VARCHAR FROM dm.gone WHERE "table" = %s AND seq IN (%s)`,
			duckstage.Ident(table), in, duckstage.Quote(table), in)
		err := p.stage.Scan(ctx, query, nil, func(b *column.Batch) error {
			for i := range b.Rows {
				names[table][uint32(b.Column(mapping.Seq).Ints[i])] = recordName{string(b.Columns[1].TextAt(i)), string(b.Columns[2].TextAt(i))}
			}
			return nil
		})
		if err != nil {
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

// RetryResult is how many records wait again.
type RetryResult struct {
	Version int            `json:"version"`
	Records int            `json:"records"`
	Tables  map[string]int `json:"tables"`
}

// Retry lets failed and held records wait again. Rows that do not fit the target
// stay held: only a new staging can mend them. Dependants of a failed record are
// held again by the next load if their parent still fails.
func (p *Project) Retry(ctx context.Context, f FailureFilter) (r RetryResult, err error) {
	if err := errors.Join(p.refuseRollback(), p.checkFilter(ctx, f)); err != nil {
		return r, err
	}
	end, err := p.record(ctx, "retry", p.o.Args)
	if err != nil {
		return r, err
	}
	defer func() { end(err, fmt.Sprintf("%d records wait again", r.Records)) }()
	return p.retry(ctx, f)
}

// checkFilter refuses what no failure could be chosen by.
func (p *Project) checkFilter(ctx context.Context, f FailureFilter) error {
	if err := f.validate(p.ledger); err != nil {
		return err
	}
	return p.knownKeys(ctx, f)
}

// retry is Retry without its entry in the audit trail.
func (p *Project) retry(ctx context.Context, f FailureFilter) (r RetryResult, err error) {
	r = RetryResult{Version: 1, Tables: map[string]int{}}
	filter := f.filter()
	if len(filter.Classes) == 0 {
		for c := range load.ClassNames() {
			if class := load.Class(c); class != load.ClassPrevalidate && class != load.ClassOrphan {
				filter.Classes = append(filter.Classes, uint8(c))
			}
		}
	}
	for _, t := range p.ledger.Tables() {
		if len(f.Tables) > 0 && !slices.Contains(f.Tables, t.Name) {
			continue
		}
		if f.single() {
			filter.Ranges = nil
			err := p.eachFailure(ctx, t.Name, f, func(e ledger.Failure) error {
				filter.Ranges = addRange(filter.Ranges, e.Seq)
				return nil
			})
			if err != nil {
				return r, fmt.Errorf("retry %s: %w", t.Name, err)
			}
			if len(filter.Ranges) == 0 {
				continue
			}
		}
		n, err := p.ledger.Retry(ctx, t.Name, filter)
		if n > 0 {
			r.Tables[t.Name] = n
			r.Records += n
		}
		if err != nil {
			return r, fmt.Errorf("retry %s: %w", t.Name, err)
		}
	}
	return r, nil
}
