package appliance

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
)

// TestAQuestionReadsStageAndLedgerOnly: who may look at the project over a network does not
// read this machine's files, nor write any.
func TestAQuestionReadsStageAndLedgerOnly(t *testing.T) {
	dir := stagedSample(t, "")
	p := reopen(t, dir, Viewing, "")
	for _, query := range []string{
		"SELECT count(*) FROM account", "FROM flags LIMIT 3", "WITH x AS (SELECT 1 AS a) SELECT a FROM x", "SELECT * FROM ledger_spans('account')",
		"SELECT * FROM range(3) r(n) WHERE n IN (SELECT dm_seq FROM contact)", "DESCRIBE account", "SUMMARIZE product", "SELECT * FROM source.contacts LIMIT 1;",
		"SELECT flag, count(*) FROM account_flags GROUP BY ALL ORDER BY ALL",
	} {
		if _, err := p.Ask(t.Context(), query, 10); err != nil && !strings.Contains(query, "source.") {
			t.Errorf("%s: %v", query, err)
		}
	}
	for query, want := range map[string]string{
		"SELECT * FROM read_csv('/etc/passwd')":                 "read_csv",
		"SELECT * FROM '/etc/passwd'":                           "no table",
		"SELECT * FROM 'x.parquet'":                             "no table",
		`SELECT * FROM "data.csv"`:                              "no table",
		"SELECT (SELECT content FROM read_text('/etc/passwd'))": "read_text",
		"WITH a AS (SELECT * FROM glob('/*')) SELECT * FROM account WHERE name IN (SELECT file FROM a)": "glob",
		"SELECT 1 UNION ALL SELECT size FROM read_blob('/etc/passwd')":                                  "read_blob",
		"SELECT current_setting('s3_secret_access_key')":                                                "current_setting",
		"FROM query('SELECT * FROM read_text(''/etc/passwd'')')":                                        "table function query",
		"FROM duckdb_secrets()":                    "duckdb_secrets",
		"COPY (SELECT 1) TO '/tmp/x.csv'":          "only a SELECT",
		"ATTACH 'x.db'":                            "only a SELECT",
		"INSTALL httpfs":                           "only a SELECT",
		"SET enable_external_access = true":        "only a SELECT",
		"DROP TABLE account":                       "only a SELECT",
		"SELECT 1; DROP TABLE account":             "only one statement",
		"SUMMARIZE 'x.csv'":                        "no table",
		"DESCRIBE SELECT * FROM read_csv('x.csv')": "read_csv",
		"DESCRIBE 'x.csv'":                         "no table",
		"FROM (SUMMARIZE FROM read_csv('x.csv'))":  "read_csv",
		"PIVOT 'x.csv' ON a":                       "",
		"SELECT x FROM (VALUES (1)) v(x), LATERAL (SELECT * FROM read_text('/etc/passwd'))": "read_text",
		"SELEC 1": "syntax",
	} {
		_, err := p.Ask(t.Context(), query, 10)
		if err == nil || !strings.Contains(strings.ToLower(err.Error()), strings.ToLower(want)) {
			t.Errorf("%s: %v; want %q", query, err, want)
		}
	}
	a, err := p.Ask(t.Context(), "SELECT n, repeat('x', 1000) FROM range(1000) r(n)", 7)
	if err != nil || len(a.Rows) != 7 || !a.More || len([]rune(*a.Rows[6][1])) != maxCell+1 || *a.Rows[6][0] != "6" {
		t.Errorf("%d rows, more %v, %v", len(a.Rows), a.More, err)
	}
}

// TestRowsAreBrowsedByPage: every row once, in order, with its values and its state.
func TestRowsAreBrowsedByPage(t *testing.T) {
	dir := stagedSample(t, "")
	p := reopen(t, dir, Viewing, "")
	var keys []string
	q := RowsQuery{Table: "account", Limit: 7}
	for pages := 0; q.From >= 0; pages++ {
		page, err := p.Rows(t.Context(), q)
		if err != nil || pages > 10 {
			t.Fatal(pages, err)
		}
		for _, r := range page.Rows {
			if r.Number != int64(len(keys)) || r.LegacyKey == "" || r.Flag == "" || len(r.Values) != len(page.Columns) {
				t.Fatalf("row %d is %+v", len(keys), r)
			}
			keys = append(keys, r.LegacyKey)
		}
		q.From = page.Next
	}
	if want := int(p.ledger.Counts("account").Total); len(keys) != want {
		t.Errorf("%d rows, want %d", len(keys), want)
	}
	page, err := p.Rows(t.Context(), RowsQuery{Table: "account", Key: keys[13], Limit: 5})
	if err != nil || len(page.Rows) == 0 || page.Rows[0].LegacyKey != keys[13] || page.Rows[0].Number != 13 {
		t.Errorf("by key %s: %+v, %v", keys[13], page.Rows, err)
	}
	if page, err := p.Rows(t.Context(), RowsQuery{Table: "account", Flag: "P", Limit: 5}); err != nil || len(page.Rows) > 0 {
		t.Errorf("nothing is processed yet: %+v, %v", page.Rows, err)
	}
	if _, err := p.Rows(t.Context(), RowsQuery{Table: "acount"}); err == nil || !strings.Contains(err.Error(), "account") {
		t.Errorf("an unknown table: %v", err)
	}
	g, err := p.Graph(t.Context())
	if err != nil || len(g.Steps) == 0 || len(g.Edges) == 0 {
		t.Errorf("graph: %+v, %v", g, err)
	}
}

// TestALookoutLooksOverAndOver: several questions at once, while nobody works on the
// project, and a load that begins meanwhile waits for them instead of giving up.
func TestALookoutLooksOverAndOver(t *testing.T) {
	dir := stagedSample(t, "")
	l := NewLookout(dir, Options{Command: "serve", Env: targetAt("")})
	looking, release := make(chan struct{}), make(chan struct{})
	held, opened := make(chan error, 1), make(chan error, 1)
	go func() {
		held <- l.Look(t.Context(), func(context.Context, Viewer) error { close(looking); <-release; return nil })
	}()
	<-looking
	go func() {
		p, err := Open(t.Context(), dir, Loading, Options{Command: "load", Env: targetAt("")})
		if err == nil {
			err = p.Close()
		}
		opened <- err
	}()
	close(release)
	if err := errors.Join(<-held, <-opened); err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for range 5 {
		all.Go(func() {
			err := l.Look(t.Context(), func(ctx context.Context, v Viewer) error {
				_, err := v.Ask(ctx, "SELECT count(*) FROM account", 1)
				return err
			})
			if s, second := l.Status(t.Context()); err != nil || second != nil || s.Summary.Source == 0 || s.Pulse == nil {
				t.Error(err, second)
			}
		})
	}
	all.Wait()
}
