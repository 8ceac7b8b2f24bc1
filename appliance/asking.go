package appliance

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"dvmigrate/duckstage"
)

// SQL of somebody who looks at the project over a network. DuckDB's SELECT reads any file
// that this process may read; whoever sits at this machine may do that anyway, others must
// not. So a statement is taken apart by DuckDB's own parser: it must be a SELECT, its tables
// must be names of the catalog, and its table functions those that read stage and ledger.

// Answer is the answer to a SELECT.
type Answer struct {
	Columns []string    `json:"columns"`
	Rows    [][]*string `json:"rows"` // as texts, long ones cut; nil = NULL
	More    bool        `json:"more"` // there are more rows
	Seconds float64     `json:"seconds"`
}

// askTime is how long a SELECT may take: it shares the machine with the load.
const askTime = 30 * time.Second

// errEnough ends a query that has more rows than are asked for.
var errEnough = errors.New("enough")

// Ask implements Browser.
func (p *Project) Ask(ctx context.Context, query string, limit int) (Answer, error) {
	a, began := Answer{Columns: []string{}, Rows: [][]*string{}}, time.Now()
	ctx, cancel := context.WithTimeoutCause(ctx, askTime, fmt.Errorf("it takes longer than %v, which is how long a question may take here; ask with `dvmigrate sql`", askTime))
	defer cancel()
	query, err := duckstage.One(query)
	if err != nil {
		return a, err
	}
	if err := p.harmless(ctx, query); err != nil {
		return a, err
	}
	limit = min(max(limit, 1), 10*maxRows)
	err = p.rows(ctx, query, func(names []string, values []any) error {
		a.Columns = names
		if values == nil {
			return nil
		}
		if len(a.Rows) == limit {
			a.More = true
			return errEnough
		}
		row := make([]*string, len(values))
		for i, v := range values {
			row[i] = cell(v)
		}
		a.Rows = append(a.Rows, row)
		return nil
	})
	a.Seconds = time.Since(began).Seconds()
	switch {
	case errors.Is(err, errEnough):
		return a, nil
	case err != nil && ctx.Err() != nil:
		return a, context.Cause(ctx)
	}
	return a, err
}

// askable are the table functions that a question may use, besides the ledger's.
var askable = []string{"range", "generate_series", "unnest", "duckdb_tables", "duckdb_views", "duckdb_columns", "duckdb_functions"}

// harmless refuses a statement that could read or write more than stage and ledger.
func (p *Project) harmless(ctx context.Context, query string) error {
	tree, err := p.stage.Parse(ctx, query)
	if errors.Is(err, duckstage.ErrNotQuery) {
		return errors.New("here only a SELECT is answered")
	} else if err != nil {
		return err
	}
	return duckstage.EachNode(tree, func(node map[string]any) error {
		if name, ok := node["table_name"].(string); ok && strings.ContainsAny(name, `./\:*?`) {
			return fmt.Errorf("%q is no table of this project, and files are not read here", name)
		}
		if name, ok := node["function_name"].(string); ok && fileLike(name) {
			return fmt.Errorf("the function %s is not for here", name)
		}
		if name, ok := duckstage.TableFunction(node); ok && !strings.HasPrefix(name, "ledger_") && !slices.Contains(askable, name) {
			return fmt.Errorf("the table function %s is not for here: only those over stage and ledger are", name)
		}
		return nil
	})
}

// fileLike reports whether a function tells of this machine rather than of the project.
func fileLike(name string) bool {
	return strings.HasPrefix(name, "read_") || strings.HasPrefix(name, "write_") || strings.Contains(name, "file") || slices.Contains([]string{"getenv", "current_setting", "glob", "getvariable"}, name)
}
