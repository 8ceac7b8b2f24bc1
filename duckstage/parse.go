package duckstage

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/duckdb/duckdb-go/v2/mapping"
)

// Parse takes a SELECT apart without looking at what it names: maps, lists and values, as
// DuckDB's json_serialize_sql writes them. Another statement gets ErrNotQuery.
func (s *Stage) Parse(ctx context.Context, query string) (tree any, err error) {
	var text string
	if err := s.Row(ctx, []any{&text}, "SELECT json_serialize_sql(?::VARCHAR, skip_null := true, skip_empty := true)::VARCHAR", query); err != nil {
		return nil, err
	}
	var parsed struct {
		Error      bool   `json:"error"`
		Message    string `json:"error_message"`
		Sort       string `json:"error_type"`
		Statements any    `json:"statements"`
	}
	if err := json.Unmarshal([]byte(text), &parsed); err != nil {
		return nil, fmt.Errorf("take the statement apart: %w", err)
	}
	if parsed.Error {
		if parsed.Sort == "not implemented" {
			return nil, ErrNotQuery
		}
		return nil, errors.New(parsed.Message)
	}
	return parsed.Statements, nil
}

// EachNode calls fn with every node of a tree that Parse has made, until an error.
func EachNode(tree any, fn func(node map[string]any) error) error {
	switch part := tree.(type) {
	case []any:
		for _, one := range part {
			if err := EachNode(one, fn); err != nil {
				return err
			}
		}
	case map[string]any:
		if err := fn(part); err != nil {
			return err
		}
		for _, one := range part {
			if err := EachNode(one, fn); err != nil {
				return err
			}
		}
	}
	return nil
}

// TableFunction is the name of the function that a node of a tree reads rows from; false
// for other nodes.
func TableFunction(node map[string]any) (string, bool) {
	if node["type"] != "TABLE_FUNCTION" {
		return "", false
	}
	f, _ := node["function"].(map[string]any)
	name, _ := f["function_name"].(string)
	return strings.ToLower(name), true
}

// acting are the table functions of a SELECT that change settings, write files, or run a
// text as SQL.
var acting = []string{"checkpoint", "force_checkpoint", "enable_logging", "disable_logging", "truncate_duckdb_logs", "enable_profiling", "disable_profiling",
	"enable_peg_parser", "disable_peg_parser", "query", "json_execute_serialized_sql"}

// reads returns ErrNotQuery for what is no query, and what DuckDB says of one that is
// wrong. It judges by the first word before it prepares anything: DuckDB opens the files
// of a COPY, EXPORT or ATTACH when it prepares them. EXPLAIN ANALYZE runs what it
// explains, so it is that which counts.
func (s *Stage) reads(ctx context.Context, query string) error {
	if explained, ok := explainedBy(query); ok {
		return s.reads(ctx, explained)
	}
	if !readingWords[firstWord(query)] {
		return ErrNotQuery
	}
	tree, _ := s.Parse(ctx, query) // what is wrong, and what SHOW and PRAGMA are, preparing tells
	err := EachNode(tree, func(node map[string]any) error {
		if name, ok := TableFunction(node); ok && slices.Contains(acting, name) {
			return ErrNotQuery
		}
		return nil
	})
	if err != nil {
		return err
	}
	kind, err := s.statementType(ctx, query)
	if err == nil && kind != mapping.StatementTypeSelect {
		return ErrNotQuery
	}
	return err
}

// readingWords are those that a query begins with, and a few other statements.
var readingWords = map[string]bool{
	"select": true, "with": true, "from": true, "values": true, "table": true, "describe": true, "desc": true, "show": true, "summarize": true,
	"pivot": true, "unpivot": true, "pragma": true, "": true,
}

// firstWord is the word that query begins with, in lower case; "" for a parenthesis.
func firstWord(query string) string {
	text := query[skipBlank(query):]
	end := 0
	for end < len(text) && isWord(text[end]) {
		end++
	}
	return strings.ToLower(text[:end])
}

// explainedBy is the statement that EXPLAIN, EXPLAIN ANALYZE or EXPLAIN (FORMAT JSON)
// explains, in the place where it stands; false when query is none of these.
func explainedBy(query string) (string, bool) {
	if firstWord(query) != "explain" {
		return "", false
	}
	at := skipBlank(query) + len("explain")
	rest := query[at:]
	begin := skipBlank(rest)
	if firstWord(rest) == "analyze" {
		at += begin + len("analyze")
	} else if options, ok := strings.CutPrefix(rest[begin:], "("); ok && (firstWord(options) == "analyze" || firstWord(options) == "format") {
		at += begin + len("(") + strings.IndexByte(options+")", ')') + len(")")
	}
	at = min(at, len(query))
	gone := strings.Map(func(r rune) rune {
		if r == '\n' {
			return r
		}
		return ' '
	}, query[:at])
	return gone + query[at:], true
}
