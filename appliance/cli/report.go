package cli

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"dvmigrate/appliance"
)

var reportEntry = entry{name: "report", summary: "what happened, to be handed over and signed: volumes, times, errors, repairs, comparison",
	long: `Without a flag the report is printed. All of it comes from what is kept - counts, runs, audit
trail, what the loads measured - so that it is quick with any number of records, and works
while a load runs. The page needs nothing from elsewhere and can be printed.

--sign notes in the audit trail that somebody accepts the report as it is now. The report
says of each signature whether its figures are still those.`,
	make: func() command { return &reportCommand{} }}

type reportCommand struct {
	html, markdown, workbook, sign string
	signing                        bool
	flags                          *pflag.FlagSet
}

func (c *reportCommand) AddFlags(f *pflag.FlagSet) {
	f.StringVar(&c.html, "html", "", "write the page, with charts, to this `file`")
	f.StringVar(&c.markdown, "markdown", "", "write Markdown to this `file`; - for standard output")
	f.StringVar(&c.workbook, "xlsx", "", "write a workbook to this `file`")
	f.StringVar(&c.sign, "sign", "", "note in the audit trail that the person of this `name` accepts the report")
	c.flags = f
}

func (c *reportCommand) Validate(args []string) error {
	c.signing = c.flags.Changed("sign")
	if c.signing {
		if err := appliance.CheckSigner(c.sign); err != nil {
			return err
		}
	}
	return noArgs(args)
}

func (c *reportCommand) Run(ctx context.Context, env *Env) error {
	r, err := c.read(ctx, env)
	if err != nil {
		return err
	}
	var wrote []string
	write := func(path string, how func(path string) error) {
		if path == "" || err != nil {
			return
		}
		if err = how(path); err != nil {
			err = fmt.Errorf("write the report to %s: %w", path, err)
			return
		}
		wrote = append(wrote, path)
	}
	write(c.html, func(path string) error { return writePage(path, reportPage, r.Project, newReportView(r)) })
	write(c.workbook, r.WriteWorkbook)
	if c.markdown != "-" {
		write(c.markdown, func(path string) error {
			return writeWith(path, func(w io.Writer) error { return writeMarkdown(w, r) })
		})
	}
	switch {
	case err != nil:
		return err
	case env.json:
		return env.printJSON(r)
	case c.markdown == "-":
		return writeMarkdown(env.Stdout, r)
	case len(wrote) == 0 && !c.signing:
		return printReport(env, r)
	}
	for _, path := range wrote {
		env.say("wrote %s", path)
	}
	if c.signing {
		s := r.Signed[len(r.Signed)-1]
		env.say("signed by %s, %s, as entry %d of the audit trail\nreport %s", s.Name, s.Time.Local().Format("2006-01-02 15:04"), s.Entry, s.Digest)
	}
	return nil
}

// read reads the report, signed where that is asked for.
func (c *reportCommand) read(ctx context.Context, env *Env) (r appliance.Report, err error) {
	if c.signing {
		return appliance.Sign(ctx, env.dir, env.options("report"), c.sign)
	}
	v, err := appliance.View(ctx, env.dir, env.options("report"))
	if err != nil {
		return r, err
	}
	r, err = v.Report(ctx)
	return r, errors.Join(err, v.Close())
}

// printReport prints the report's tables but the settings, which `check --show` has.
func printReport(env *Env, r appliance.Report) error {
	for i, s := range r.Sheets() {
		if s.Name == "settings" {
			continue
		}
		if i > 0 {
			env.say("")
		}
		env.say("%s", strings.ToUpper(s.Title))
		if len(s.Rows) == 0 {
			env.say("%s", s.None)
			continue
		}
		s, older := newest(s)
		columns, rows := textTable(s, func(text string) string { return text })
		printTable(env.Stdout, columns, rows)
		if older > 0 {
			env.say("and %s older ones: --xlsx, --markdown and --json have all", count(older))
		}
	}
	return nil
}

// textTable is a sheet for people to read; quote makes a text harmless where it goes.
func textTable(s appliance.Sheet, quote func(string) string) (columns []column, rows [][]string) {
	for i, name := range s.Head {
		c := left(name)
		if len(s.Rows) > 0 {
			_, c.right = cellText(s.Rows[0][i])
		}
		columns = append(columns, c)
	}
	for _, cells := range s.Rows {
		line := make([]string, len(cells))
		for i, cell := range cells {
			text, _ := cellText(cell)
			line[i] = quote(text)
		}
		rows = append(rows, line)
	}
	return columns, rows
}

// cellText is a cell of a report in words; number says that it stands to the right.
func cellText(cell any) (text string, number bool) {
	switch v := cell.(type) {
	case int64:
		return count(v), true
	case appliance.Seconds:
		if v == 0 {
			return "-", true
		}
		return duration(float64(v)), true
	case appliance.PerSecond:
		if v == 0 {
			return "-", true
		}
		return fmt.Sprintf("%.0f", float64(v)), true
	case time.Time:
		if v.IsZero() {
			return "", false
		}
		return v.Local().Format("2006-01-02 15:04"), false
	}
	return fmt.Sprint(cell), false
}

// markdownText keeps a text from being read as Markdown or as a new cell.
var markdownText = strings.NewReplacer("|", `\|`, "\n", " ", "\r", "", "<", "&lt;", "*", `\*`, "_", `\_`, "`", "\\`", "[", `\[`, "#", `\#`)

// writeMarkdown writes the report as Markdown: a heading and a table a part.
func writeMarkdown(w io.Writer, r appliance.Report) error {
	var b strings.Builder
	fmt.Fprintf(&b, "# %s: report of the migration\n", markdownText.Replace(r.Project))
	for _, s := range r.Sheets() {
		fmt.Fprintf(&b, "\n## %s\n\n", s.Title)
		switch {
		case s.Name == "settings":
			fence := "```"
			for strings.Contains(r.Settings, fence) {
				fence += "`"
			}
			fmt.Fprintf(&b, "%s, without secrets:\n\n%syaml\n%s%s\n", "migration.yaml with the defaults", fence, r.Settings, fence)
			continue
		case len(s.Rows) == 0:
			fmt.Fprintln(&b, s.None)
			continue
		}
		columns, rows := textTable(s, markdownText.Replace)
		var head, rule []string
		for _, c := range columns {
			head = append(head, c.title)
			rule = append(rule, map[bool]string{true: "---:", false: "---"}[c.right])
		}
		for _, line := range append([][]string{head, rule}, rows...) {
			fmt.Fprintf(&b, "| %s |\n", strings.Join(line, " | "))
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

//go:embed report.html
var reportPage string
