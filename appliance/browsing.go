package appliance

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"dvmigrate/appliance/dataverse/schema"
	"dvmigrate/appliance/plan"
	"dvmigrate/duckstage"
	"dvmigrate/ledger"
)

// Browser is what somebody asks who walks about in a project, a page at a time.
type Browser interface {
	// Graph is which table waits for which.
	Graph(ctx context.Context) (Graph, error)
	// Rows is a page of a table's staged rows with what became of each.
	Rows(ctx context.Context, q RowsQuery) (RowsPage, error)
	// Ask runs one SELECT of somebody who may look, but not read this machine's files.
	Ask(ctx context.Context, query string, limit int) (Answer, error)
}

// Graph is the order of the tables and what it comes from.
type Graph struct {
	Steps []plan.Step `json:"steps"`
	Edges []GraphEdge `json:"edges"`
}

// GraphEdge says that records of one table point to records of another.
type GraphEdge struct {
	From     string `json:"from"`
	To       string `json:"to"`
	Column   string `json:"column"`
	Deferred bool   `json:"deferred"` // it is set by a later pass, so that From need not wait
}

// Graph implements Browser.
func (p *Project) Graph(ctx context.Context) (Graph, error) {
	g := Graph{Edges: []GraphEdge{}}
	b, err := p.bindStaged(ctx)
	if err != nil {
		return g, err
	}
	g.Steps = b.plan.Steps
	for _, t := range b.tables {
		deferred := b.plan.Deferred(t.Name)
		for _, l := range t.Lookups {
			for _, to := range l.Targets {
				if to.Staged {
					g.Edges = append(g.Edges, GraphEdge{From: t.Name, To: to.Table, Column: l.LogicalName, Deferred: slices.Contains(deferred, l.LogicalName)})
				}
			}
		}
		if t.Link != nil {
			for _, end := range linkEnds(t.Link) {
				if b.byName[end.To] != nil {
					end.From = t.Name
					g.Edges = append(g.Edges, end)
				}
			}
		}
	}
	return g, nil
}

func linkEnds(l *schema.ManyToMany) []GraphEdge {
	return []GraphEdge{{To: l.Table1, Column: l.Column1}, {To: l.Table2, Column: l.Column2}}
}

// RowsQuery asks for rows of a table: of the legacy key, or that begins with it; else in
// the order of staging.
type RowsQuery struct {
	Table string `json:"table"`
	Key   string `json:"key,omitempty"`
	Flag  string `json:"flag,omitempty"` // of the ledger; "" = any
	From  int64  `json:"from"`           // number of the first row
	Limit int    `json:"limit"`
}

// RowsPage is some rows of a table.
type RowsPage struct {
	Columns []string   `json:"columns"` // of the values
	Rows    []StageRow `json:"rows"`
	Next    int64      `json:"next"` // From of the next page; -1 = this is the last
}

// StageRow is a staged row and what became of it.
type StageRow struct {
	Number    int64     `json:"number"`
	LegacyKey string    `json:"legacyKey"`
	Action    string    `json:"action"`
	Flag      string    `json:"flag"`
	Pass      string    `json:"pass"`
	Attempts  int64     `json:"attempts"`
	Class     string    `json:"class,omitempty"`
	Changed   string    `json:"changed,omitempty"`
	Repairs   string    `json:"repairs,omitempty"`
	Values    []*string `json:"values"` // as texts, long ones cut; nil = NULL
}

// maxCell is how many characters of a value are shown, and maxRows how many rows at once.
const (
	maxCell = 500
	maxRows = 200
)

// Rows implements Browser.
func (p *Project) Rows(ctx context.Context, q RowsQuery) (RowsPage, error) {
	page := RowsPage{Columns: []string{}, Rows: []StageRow{}, Next: -1}
	if known := tableNames(p.ledger); !slices.Contains(known, q.Table) {
		return page, unknownName("table", q.Table, known)
	}
	q.Limit, q.From = min(max(q.Limit, 1), maxRows), min(max(q.From, 0), math.MaxUint32)
	err := p.rowStates(ctx, q, &page)
	if err != nil || len(page.Rows) == 0 {
		return page, err
	}
	if last := page.Rows[len(page.Rows)-1]; q.Key == "" && len(page.Rows) == q.Limit {
		page.Next = last.Number + 1
	}
	return page, p.rowValues(ctx, q.Table, &page)
}

// rowStates finds the rows of a page and what the ledger says of them: from the ledger's
// memory, which has stretches of rows in one state, or by a search over one column.
func (p *Project) rowStates(ctx context.Context, q RowsQuery, page *RowsPage) error {
	if q.Key == "" {
		for span := range p.ledger.Spans(q.Table, uint32(q.From)) {
			if q.Flag != "" && span.Flag.String() != q.Flag {
				continue
			}
			for seq := max(int64(span.From), q.From); seq < int64(span.To); seq++ {
				if len(page.Rows) == q.Limit {
					return nil
				}
				page.Rows = append(page.Rows, stageRow(seq, span.Entry))
			}
		}
		return nil
	}
	query := fmt.Sprintf("SELECT dm_seq FROM %s WHERE starts_with(legacy_key, ?) ORDER BY legacy_key, dm_seq LIMIT %d", duckstage.Ident(q.Table), q.Limit)
	err := p.stage.Rows(ctx, query, []any{q.Key}, func(scan func(...any) error) error {
		var seq int64
		if err := scan(&seq); err != nil {
			return err
		}
		if e, ok := p.ledger.Entry(q.Table, uint32(seq)); ok && (q.Flag == "" || e.Flag.String() == q.Flag) {
			page.Rows = append(page.Rows, stageRow(seq, e))
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("look for rows of %s: %w", q.Table, err)
	}
	return nil
}

func stageRow(seq int64, e ledger.Entry) StageRow {
	r := StageRow{Values: []*string{}, Number: seq, Action: e.Action.String(), Flag: e.Flag.String(), Pass: e.Pass.String(), Attempts: int64(e.Attempts), Class: className(e)}
	if e.Time != 0 {
		r.Changed = e.Changed().UTC().Format("2006-01-02 15:04:05")
	}
	return r
}

// rowValues adds the staged values of the rows.
func (p *Project) rowValues(ctx context.Context, table string, page *RowsPage) error {
	at, seqs := map[int64]*StageRow{}, make([]string, len(page.Rows))
	first, last := page.Rows[0].Number, page.Rows[0].Number
	for i := range page.Rows {
		r := &page.Rows[i]
		at[r.Number], seqs[i] = r, strconv.FormatInt(r.Number, 10)
		first, last = min(first, r.Number), max(last, r.Number)
	}
	query := fmt.Sprintf("SELECT * FROM %s WHERE dm_seq BETWEEN %d AND %d AND dm_seq IN (%s)", duckstage.Ident(table), first, last, strings.Join(seqs, ","))
	err := p.rows(ctx, query, func(names []string, v []any) error {
		if v == nil {
			return nil
		}
		var r *StageRow
		own := len(page.Columns) == 0
		for i, name := range names {
			switch {
			case name == "dm_seq":
				if r = at[number(v[i])]; r == nil {
					return nil
				}
			case r == nil: // dm_seq comes first
			case name == "legacy_key":
				r.LegacyKey = text(v[i])
			case name == "dm_repairs":
				r.Repairs = text(v[i])
			case strings.HasPrefix(name, "dm_") && name != "dm_id":
			default:
				if own {
					page.Columns = append(page.Columns, name)
				}
				r.Values = append(r.Values, cell(v[i]))
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("read rows of %s: %w", table, err)
	}
	return nil
}

func number(v any) int64 {
	n, _ := strconv.ParseInt(fmt.Sprint(v), 10, 64)
	return n
}

func text(v any) string {
	if v == nil {
		return ""
	}
	return fmt.Sprint(v)
}

// cell is a value as people see it, cut where it is long.
func cell(v any) *string {
	if v == nil {
		return nil
	}
	s := fmt.Sprint(v)
	if r := []rune(s); len(r) > maxCell {
		s = string(r[:maxCell]) + "…"
	}
	return &s
}

// askQuery is what Ask is asked.
type askQuery struct {
	Query string `json:"query"`
	Limit int    `json:"limit"`
}

// Graph implements Browser.
func (r *remote) Graph(ctx context.Context) (g Graph, err error) {
	err = r.ask(ctx, "graph", nil, &g)
	return g, err
}

// Rows implements Browser.
func (r *remote) Rows(ctx context.Context, q RowsQuery) (page RowsPage, err error) {
	err = r.ask(ctx, "rows", q, &page)
	return page, err
}

// Ask implements Browser.
func (r *remote) Ask(ctx context.Context, query string, limit int) (a Answer, err error) {
	err = r.ask(ctx, "ask", askQuery{query, limit}, &a)
	return a, err
}
