package cli

import (
	"bufio"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/pflag"

	"dvmigrate/appliance"
	"dvmigrate/appliance/progress"
)

var sqlEntry = entry{name: "sql", args: "[-c STATEMENT]", summary: "SQL over stage and ledger, also while a load runs",
	long: `Tables: each target table by its name; <table>_success and <table>_error with what became of
its records; <table>_flags and flags with every record's action and flag; source.<name> with
the sources as they were read; dm.rejects with the lines that could not be. It only reads; rows go
to a file by --csv -c "SELECT ..." > FILE.
Without -c, statements are read from the input, each ended by a semicolon.`,
	make: func() command { return &sqlCommand{} }}

type sqlCommand struct {
	statement string
	csv       bool
}

func (c *sqlCommand) AddFlags(f *pflag.FlagSet) {
	f.StringVarP(&c.statement, "command", "c", "", "run this statement and end")
	f.BoolVar(&c.csv, "csv", false, "print comma-separated values with a header")
}

func (c *sqlCommand) Validate(args []string) error { return noArgs(args) }

func (c *sqlCommand) Run(ctx context.Context, env *Env) error {
	if c.csv && env.json {
		return usagef("sql: --csv and --json go ill together")
	}
	v, err := appliance.View(ctx, env.dir, env.options("sql"))
	if err != nil {
		return err
	}
	defer v.Close()
	if c.statement != "" {
		return c.run(ctx, env, v, c.statement)
	}
	return c.prompt(ctx, env, v)
}

// prompt reads statements until the input ends. A refused one does not end it on a
// terminal; in a script it does.
func (c *sqlCommand) prompt(ctx context.Context, env *Env, v appliance.Viewer) error {
	interactive := inputIsTerminal(env.Stdin)
	in := bufio.NewScanner(env.Stdin)
	in.Buffer(nil, 1<<20)
	var statement strings.Builder
	ask := func() {
		if interactive {
			mark := "sql> "
			if statement.Len() > 0 {
				mark = "...> "
			}
			fmt.Fprint(env.Stderr, mark)
		}
	}
	for ask(); in.Scan(); ask() {
		line := in.Text()
		if statement.Len() == 0 && strings.TrimSpace(line) == "" {
			continue
		}
		statement.WriteString(line + "\n")
		if !strings.HasSuffix(strings.TrimSpace(line), ";") {
			continue
		}
		text := statement.String()
		statement.Reset()
		if err := c.run(ctx, env, v, text); err != nil {
			if !interactive {
				return err
			}
			env.report(err)
		}
	}
	if strings.TrimSpace(statement.String()) != "" {
		return errors.Join(in.Err(), c.run(ctx, env, v, statement.String()))
	}
	return in.Err()
}

func (c *sqlCommand) run(ctx context.Context, env *Env, v appliance.Viewer, statement string) error {
	var out rowPrinter
	switch {
	case env.json:
		out = &jsonRows{w: env.Stdout}
	case c.csv:
		out = &csvRows{w: csv.NewWriter(env.Stdout)}
	default:
		out = &tableRows{w: env.Stdout}
	}
	if err := v.SQL(ctx, statement, out.row); err != nil {
		return err
	}
	return out.end()
}

// rowPrinter prints the answer to a statement.
type rowPrinter interface {
	row(names []string, values []any) error // values nil: the answer has no rows
	end() error
}

type jsonRows struct {
	w io.Writer
	n int
}

func (p *jsonRows) row(names []string, values []any) error {
	if values == nil {
		return nil
	}
	var b strings.Builder
	b.WriteString("[\n  {")
	if p.n > 0 {
		b.Reset()
		b.WriteString(",\n  {")
	}
	p.n++
	for i, name := range names {
		key, err := marshal(name)
		if err != nil {
			return err
		}
		value, err := marshal(values[i])
		if err != nil { // NaN and infinity, which JSON does not have
			value = "null"
		}
		if i > 0 {
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, "%s: %s", key, value)
	}
	b.WriteString("}")
	_, err := io.WriteString(p.w, b.String())
	return err
}

func (p *jsonRows) end() error {
	text := "\n]\n"
	if p.n == 0 {
		text = "[]\n"
	}
	_, err := io.WriteString(p.w, text)
	return err
}

type csvRows struct {
	w      *csv.Writer
	header bool
}

func (p *csvRows) row(names []string, values []any) error {
	if !p.header {
		p.header = true
		if err := p.w.Write(names); err != nil {
			return err
		}
	}
	if values == nil {
		return nil
	}
	return p.w.Write(texts(values, ""))
}

func (p *csvRows) end() error {
	p.w.Flush()
	return p.w.Error()
}

func texts(values []any, null string) []string {
	out := make([]string, len(values))
	for i, v := range values {
		if v == nil {
			out[i] = null
		} else {
			out[i] = fmt.Sprint(v)
		}
	}
	return out
}

// tableRows prints columns, as wide as the first rows need; later rows follow in
// pieces, so that an answer of any length needs little memory.
type tableRows struct {
	w     io.Writer
	names []string
	rows  [][]string
	n     int64
}

const tablePiece = 1000

func (p *tableRows) row(names []string, values []any) error {
	p.names = names
	if values == nil {
		return nil
	}
	p.n++
	cells := texts(values, "NULL")
	for i, c := range cells {
		cells[i] = strings.Map(oneLine, c)
	}
	p.rows = append(p.rows, cells)
	if len(p.rows) >= tablePiece {
		p.flush()
	}
	return nil
}

func oneLine(r rune) rune {
	if r == '\n' || r == '\r' || r == '\t' {
		return ' '
	}
	if r < ' ' {
		return -1
	}
	return r
}

func (p *tableRows) flush() {
	columns := make([]column, len(p.names))
	for i, name := range p.names {
		columns[i] = left(name)
	}
	printTable(p.w, columns, p.rows)
	p.rows = p.rows[:0]
}

func (p *tableRows) end() error {
	if len(p.rows) > 0 || p.n == 0 {
		p.flush()
	}
	_, err := fmt.Fprintf(p.w, "(%s)\n", progress.Counted(p.n, "row"))
	return err
}
