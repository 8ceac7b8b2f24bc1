package appliance

import (
	"cmp"
	"context"
	"fmt"
	"slices"
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
	return nil
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
	return (len(f.Classes) == 0 || slices.Contains(f.classes(), e.Reason.Class)) && (len(f.Flags) == 0 || slices.Contains(f.Flags, e.Flag.String()))
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
	var newest []tableFailure
	for _, t := range p.ledger.Tables() {
		if len(f.Tables) > 0 && !slices.Contains(f.Tables, t.Name) {
			continue
		}
		counts := p.ledger.Counts(t.Name)
		out.Summary.add(tableStatus(t.Name, counts).Counts)
		out.Total += f.total(counts)
		var err error
		if f.Limit > 0 {
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
	for from := uint32(0); ; {
		page, err := p.ledger.Failures(table, from, failurePage)
		if err != nil || len(page) == 0 {
			return err
		}
		from = page[len(page)-1].Seq + 1
		var chosen []tableFailure
		for _, e := range page {
			if f.chooses(e) {
				chosen = append(chosen, tableFailure{table, e})
			}
		}
		if err := p.nameFailures(ctx, chosen, out); err != nil {
			return err
		}
	}
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
		query := fmt.Sprintf("SELECT dm_seq, legacy_key, dm_id::VARCHAR FROM %s WHERE dm_seq IN (%s)", duckstage.Ident(table), strings.Join(list, ","))
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
	r = RetryResult{Version: 1, Tables: map[string]int{}}
	if err := f.validate(p.ledger); err != nil {
		return r, err
	}
	end, err := p.record(ctx, "retry", p.o.Args)
	if err != nil {
		return r, err
	}
	defer func() { end(err, fmt.Sprintf("%d records wait again", r.Records)) }()
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
