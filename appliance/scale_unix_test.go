//go:build unix

package appliance

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"dvmigrate/appliance/preflight"
	"dvmigrate/appliance/sample"
	"dvmigrate/duckstage"
)

// scaleVariable makes TestScale a measurement: how many rows, such as 100000000; the
// table that they point to has a tenth of them. TMPDIR says on which disk: 100 M rows
// need some 50 GB there, of which the two CSV files take 13 GB. scaleMemory says what DuckDB
// may hold, in the place of 8GB: fewer rows with less memory show what more would meet.
const (
	scaleVariable = "DVMIGRATE_SCALE"
	scaleMemory   = "DVMIGRATE_SCALE_MEMORY"
)

// TestScale stages a table of 12 columns with two lookups to another table, checks it, and
// tells what each step takes beside the same work in SQL by hand, in CPU time, with the
// memory that DuckDB may have and what the process had at most. Without the variable it
// only compares the answers.
func TestScale(t *testing.T) {
	rows, memory, rounds := int64(20_000), "1GB", 1
	if text := os.Getenv(scaleVariable); text != "" {
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		rows, memory, rounds = n, cmp.Or(os.Getenv(scaleMemory), "8GB"), 4
	}
	dir := t.TempDir()
	p := scaleProject(t, dir, rows, memory)
	timed := func(what string, fn func()) time.Duration {
		t.Helper()
		wall, cpu := time.Now(), processTime()
		fn()
		cpu = processTime() - cpu
		t.Logf("%d rows: %s: %.1f s, CPU %.1f s", rows, what, time.Since(wall).Seconds(), cpu.Seconds())
		return cpu
	}
	ratio := func(what string, ours, bare time.Duration) float64 {
		r := float64(ours) / float64(max(bare, 1))
		t.Logf("%d rows: %s: %.2f x", rows, what, r)
		return r
	}
	exec := func(query string) {
		t.Helper()
		if _, err := p.stage.Exec(t.Context(), query); err != nil {
			t.Fatal(err)
		}
	}
	var staged StageResult
	ours := timed("stage: read, keys, ids, lookups, checks, ledger", func() {
		var err error
		if staged, err = p.Stage(t.Context(), nil, func(string, float64) {}); err != nil {
			t.Fatal(err)
		}
	})
	for _, table := range staged.Tables {
		if want := map[string]int64{"account": rows / 10, "opportunity": rows}[table.Name]; table.Rows != want || table.Held != map[string]int64{"opportunity": rows / 1000}[table.Name] {
			t.Errorf("staged %+v", table)
		}
	}
	for _, source := range staged.Sources {
		t.Logf("%d rows: source %s read in %.1f s", source.Rows, source.Name, source.Seconds)
	}
	for _, table := range staged.Tables {
		t.Logf("%d rows: table %s transformed in %.1f s", table.Rows, table.Name, table.Seconds)
	}
	var used int64
	if err := p.stage.Row(t.Context(), []any{&used}, "SELECT used_blocks * block_size FROM pragma_database_size() WHERE database_name = current_database()"); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d rows: the stage has %.1f GB", rows, float64(used)/1e9)
	read := timed("by hand: read_csv into a table", func() {
		exec("CREATE TABLE dm.bare_a AS FROM read_csv('" + dir + "/accounts.csv', all_varchar=true, auto_detect=false, header=true, columns={'id': 'VARCHAR', 'name': 'VARCHAR'})")
		exec("CREATE TABLE dm.bare_o AS FROM read_csv('" + dir + "/deals.csv', header=true, all_varchar=true)")
	})
	bare := read + timed("by hand: casts and two joins into a table", func() {
		exec(`CREATE TABLE dm.bare AS SELECT o.id, o.name, o.value::DECIMAL(28,10) AS value, o.chance::INTEGER AS chance, o.close::DATE AS close, o.need::INTEGER AS need, o.created::TIMESTAMP AS created,
			o.text, o.step, c.rowid AS c, p.rowid AS p FROM dm.bare_o o LEFT JOIN dm.bare_a c ON c.id = o.customer LEFT JOIN dm.bare_a p ON p.id = o.parent`)
	})
	exec("DROP TABLE dm.bare; DROP TABLE dm.bare_a; DROP TABLE dm.bare_o")
	ratio("stage beside SQL by hand", ours, bare)
	// In turn, since whoever is first also fetches what the other finds in memory.
	var checked, scanned time.Duration
	for round := range rounds {
		steps := []func(){func() {
			checked += timed("check --data", func() {
				found, err := p.CheckData(t.Context(), nil, func(string, float64) {})
				if err != nil {
					t.Fatal(err)
				}
				if found.Tables[1].Held != rows/1000 {
					t.Errorf("checked %+v", found.Tables)
				}
			})
		}, func() {
			scanned += timed("by hand: one scan with the same expressions", func() { scanByHand(t, p) })
		}}
		if round%2 == 1 {
			slices.Reverse(steps)
		}
		for _, step := range steps {
			step()
		}
	}
	ratio("check beside one scan by hand", checked, scanned)
	if status, err := os.ReadFile("/proc/self/status"); err == nil {
		for line := range strings.Lines(string(status)) {
			if strings.HasPrefix(line, "VmHWM") {
				t.Logf("%d rows: memory_limit %s, %s", rows, memory, strings.Join(strings.Fields(line), " "))
			}
		}
	}
}

// scanByHand makes every check of every table in one scan of it.
func scanByHand(t *testing.T, p *Project) {
	t.Helper()
	b, err := p.bind(t.Context(), p.stage)
	if err != nil {
		t.Fatal(err)
	}
	for _, table := range b.tables {
		counts := []string{"count(*)"}
		for _, c := range preflight.DataChecks(table, nil) {
			counts = append(counts, "count(*) FILTER (("+c.Bad+"))")
		}
		if _, err := p.stage.Exec(t.Context(), "SELECT "+strings.Join(counts, ", ")+" FROM "+duckstage.Ident(table.Name)); err != nil {
			t.Fatal(err)
		}
	}
}

// scaleProject is a project with the two tables; one deal in a thousand points nowhere.
func scaleProject(t *testing.T, dir string, rows int64, memory string) *Project {
	t.Helper()
	if _, err := sample.Write(dir, sample.Options{Records: 50, Seed: 1, Force: true}); err != nil {
		t.Fatal(err)
	}
	files := map[string]string{
		"migration.yaml":        "version: 1\nname: scale\nsources: {accounts: accounts.csv, deals: deals.csv}\nstage: {memory: " + memory + ", threads: 2}\n",
		"transform/account.sql": "SELECT id AS legacy_key, name FROM accounts",
		"transform/opportunity.sql": `SELECT id AS legacy_key, name, ref('account', customer) AS customerid, parent AS parentaccountid, value AS estimatedvalue, false AS isrevenuesystemcalculated,
			existing('transactioncurrency', 'c0000000-0000-4000-8000-000000000001') AS transactioncurrencyid, chance AS closeprobability, close::DATE AS estimatedclosedate, need, created AS overriddencreatedon, text AS description FROM deals`,
	}
	if err := os.RemoveAll(filepath.Join(dir, "transform")); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "transform"), 0o700); err != nil {
		t.Fatal(err)
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s, err := duckstage.OpenMemory(t.Context(), duckstage.Options{Memory: memory})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	accounts := rows / 10
	for _, query := range []string{
		fmt.Sprintf("COPY (SELECT 'A' || i AS id, 'Company ' || i AS name FROM range(%d) r(i)) TO '%s/accounts.csv'", accounts, dir),
		fmt.Sprintf(`COPY (SELECT 'D' || i AS id, 'Deal ' || i || ' of the year' AS name, 'A' || CASE WHEN i %% 1000 = 7 THEN -1 ELSE hash(i) %% %[1]d END AS customer, 'A' || (hash(i + 1) %% %[1]d) AS parent,
			(i %% 1000000)::DECIMAL(12,2) AS value, i %% 101 AS chance, DATE '2020-01-01' + (i %% 2000)::INTEGER AS close, i %% 4 AS need, TIMESTAMP '2020-01-01 08:00:00' + to_seconds(i %% 100000000) AS created,
			'text ' || hash(i) AS text, i %% 3 AS step FROM range(%[2]d) r(i)) TO '%[3]s/deals.csv'`, accounts, rows, dir),
	} {
		if _, err := s.Exec(t.Context(), query); err != nil {
			t.Fatal(err)
		}
	}
	return reopen(t, dir, Staging, "")
}
