package duckstage

import (
	"context"
	"fmt"
	"strings"

	"github.com/duckdb/duckdb-go/v2/mapping"
)

// ColumnInfo is a column of a result.
type ColumnInfo struct {
	Name    string
	SQLType string // as DuckDB writes it: BIGINT, DECIMAL(12,2), STRUCT(a VARCHAR)
}

// Describe returns the columns of a SELECT without running it, or a SQLError that
// points into it.
func (s *Stage) Describe(ctx context.Context, query string) (cols []ColumnInfo, err error) {
	err = s.read(ctx, func(c *Conn) error {
		cols, err = c.Describe(ctx, query)
		return err
	})
	return cols, err
}

// Describe is Stage.Describe with the connection's search path and temporary objects.
func (c *Conn) Describe(ctx context.Context, query string) ([]ColumnInfo, error) {
	query, err := One(query)
	if err != nil {
		return nil, err
	}
	stmt, err := c.prepare(ctx, query)
	if err != nil {
		return nil, err
	}
	kind := mapping.PreparedStatementType(*stmt)
	params := mapping.NParams(*stmt)
	mapping.DestroyPrepare(stmt)
	if kind != mapping.StatementTypeSelect {
		line, col := lineColumn(query, skipBlank(query))
		return nil, &SQLError{Kind: "Binder", Message: "the statement must be a SELECT", Line: line, Column: col}
	}
	if params > 0 {
		return nil, &SQLError{Kind: "Binder", Message: "the statement must not have parameters", Line: 1, Column: 1}
	}
	return c.columns(ctx, query)
}

// columns asks DuckDB for the columns of a SELECT that is known to prepare.
func (c *Conn) columns(ctx context.Context, query string) ([]ColumnInfo, error) {
	var cols []ColumnInfo
	err := c.Rows(ctx, "DESCRIBE "+query, nil, func(scan func(...any) error) error {
		var col ColumnInfo
		var null, key, def, extra any
		if err := scan(&col.Name, &col.SQLType, &null, &key, &def, &extra); err != nil {
			return fmt.Errorf("describe: %w", err)
		}
		cols = append(cols, col)
		return nil
	})
	return cols, err
}

// prepare prepares one statement on the mapping level.
func (c *Conn) prepare(ctx context.Context, query string) (*mapping.PreparedStatement, error) {
	if err := c.s.usable(); err != nil {
		return nil, err
	}
	if strings.IndexByte(query, 0) >= 0 {
		return nil, &SQLError{Kind: "Parser", Message: "the statement has a zero byte", Line: 1, Column: 1}
	}
	var stmt mapping.PreparedStatement
	if mapping.Prepare(c.raw, query, &stmt) == mapping.StateError {
		text := mapping.PrepareError(stmt)
		mapping.DestroyPrepare(&stmt)
		return nil, c.s.explain(ctx, query, duckError(text))
	}
	return &stmt, nil
}

// duckError is DuckDB's text as an error, on its way to explain.
type duckError string

func (e duckError) Error() string { return string(e) }
