package appliance

import (
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"dvmigrate/appliance/dataverse/schema"
	"dvmigrate/duckstage/ingest"
)

// sheetColumns are the columns of a choice's sheet that are ours; numberColumns says which
// of them hold numbers.
var (
	sheetColumns  = []string{sourceText, sourceRows, targetValue, targetText, "comment"}
	numberColumns = []bool{false, true}
)

// table is the sheet as it is written: what has no value yet first, the most frequent
// before; at the end the options that nothing goes to, so that people see what there is.
func (m *OptionMap) table(c *schema.Column) [][]string {
	lines := [][]string{append(slices.Clone(sheetColumns), m.extra...)}
	used := map[string]bool{}
	slices.SortStableFunc(m.lines, func(a, b OptionText) int {
		open := func(l OptionText) int {
			if l.Value == "" && l.Label == "" && l.Rows > 0 {
				return 0
			}
			return 1
		}
		if d := open(a) - open(b); d != 0 {
			return d
		}
		return int(max(-1, min(1, b.Rows-a.Rows)))
	})
	for _, l := range m.lines {
		for v := range strings.SplitSeq(l.Value, ",") {
			used[v] = true
		}
		comment := l.cells["comment"]
		if l.proposed != "" {
			comment = "proposed: " + l.proposed
		}
		line := []string{harmless(l.Text), strconv.FormatInt(l.Rows, 10), l.Value, l.Label, comment}
		for _, name := range m.extra {
			line = append(line, l.cells[name])
		}
		lines = append(lines, line)
	}
	for _, o := range c.Options {
		if v := strconv.Itoa(int(o.Value)); !used[v] {
			line := make([]string, len(lines[0]))
			line[2], line[3], line[4] = v, o.Label, unusedOption
			for i, cells := range m.remarks {
				if cells[targetValue] == v {
					m.remarks = slices.Delete(slices.Clone(m.remarks), i, i+1)
					line = m.remarkLine(line, cells)
					break
				}
			}
			lines = append(lines, line)
		}
	}
	for _, cells := range m.remarks { // of no option, or of one that is used by now
		line := make([]string, len(lines[0]))
		line[2], line[3] = cells[targetValue], cells[targetText]
		lines = append(lines, m.remarkLine(line, cells))
	}
	return lines
}

// remarkLine puts what a person wrote beside an option into its line.
func (m *OptionMap) remarkLine(line []string, cells map[string]string) []string {
	if cells["comment"] != "" {
		line[4] = cells["comment"]
	}
	for i, name := range m.extra {
		line[5+i] = cells[name]
	}
	return line
}

// unusedOption is the comment of an option that is written so that people see what there is.
const unusedOption = "no text goes to it yet"

// writeMaps writes the sheets where they are, those that are new as CSV, or all into the
// workbook.
func (p *Project) writeMaps(ctx context.Context, plan *OptionsPlan, sheets []optionSheet, workbook bool) error {
	book := filepath.Join(p.Config.Dir, filepath.FromSlash(OptionsWorkbook))
	var pages []page
	var replaced []string
	into := func(m *OptionMap, c *schema.Column) {
		pages = append(pages, page{name: sheetName(m.Table + "." + m.Column), rows: m.table(c), number: numberColumns, labels: c.Options})
		m.File, m.Written = OptionsWorkbook+", sheet "+sheetName(m.Table+"."+m.Column), true
	}
	if err := os.MkdirAll(filepath.Dir(book), 0o700); err != nil {
		return err
	}
	for i := range plan.Maps {
		m := &plan.Maps[i]
		c := p.Schema.Table(m.Table).Column(m.Column)
		at := slices.IndexFunc(sheets, func(o optionSheet) bool { return o.table == m.Table && o.column == m.Column })
		switch {
		case at >= 0 && sheets[at].workbook && sheets[at].path != book:
			plan.Notes = append(plan.Notes, fmt.Sprintf("%s is your own workbook, which is read and never written: add the open texts there", sheets[at].file))
		case workbook || at >= 0 && sheets[at].workbook:
			if into(m, c); at >= 0 && !sheets[at].workbook {
				replaced = append(replaced, sheets[at].path)
			}
		default:
			path := filepath.Join(p.Config.Dir, mapsFolder, m.Table+"."+m.Column+".csv")
			if at >= 0 {
				path = sheets[at].path
			}
			if err := writeCSV(path, m.table(c)); err != nil {
				return err
			}
			m.File, m.Written = p.shownPath(path), true
		}
	}
	if len(pages) == 0 {
		return nil
	}
	pages = append(pages, p.keptPages(sheets, book, pages)...)
	own, err := ownPages(ctx, book, pages)
	if err != nil {
		return err
	}
	pages = append(pages, own...)
	if list := listName(pages); list != listSheet {
		plan.Notes = append(plan.Notes, fmt.Sprintf("%s has a sheet %s of your own, which stays; the labels to choose from are in sheet %s", OptionsWorkbook, listSheet, list))
	}
	if err := writeWorkbook(book, pages); err != nil {
		return err
	}
	for _, path := range replaced { // what it had is in the workbook
		if err := os.Remove(path); err != nil {
			return err
		}
	}
	return nil
}

// keptPages are the workbook's sheets that were not planned now, as they are.
func (p *Project) keptPages(sheets []optionSheet, book string, planned []page) []page {
	var out []page
	for _, o := range sheets {
		name := sheetName(o.name())
		if o.path != book || slices.ContainsFunc(planned, func(g page) bool { return g.name == name }) {
			continue
		}
		g := page{name: name, number: numberColumns, labels: p.Schema.Table(o.table).Column(o.column).Options}
		head := slices.Clone(sheetColumns)
		for _, r := range o.rows {
			for _, k := range slices.Sorted(maps.Keys(r.Cells)) {
				if k != "" && !slices.Contains(head, k) {
					head = append(head, k)
				}
			}
		}
		g.rows = append(g.rows, head)
		for _, r := range o.rows {
			line := make([]string, len(head))
			for i, k := range head {
				line[i] = r.Cells[k]
			}
			g.rows = append(g.rows, line)
		}
		out = append(out, g)
	}
	return out
}

// ownPages are the workbook's sheets that people have added, such as one with questions:
// the texts of their cells. Ours come before them, and are ours however people have typed the
// name: Excel opens no workbook with two names that differ by case alone.
func ownPages(ctx context.Context, book string, ours []page) ([]page, error) {
	sheets, err := ingest.ReadSheets(ctx, book)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var out []page
	for _, s := range sheets {
		if !isList(s, sheets) && !slices.ContainsFunc(ours, func(g page) bool { return strings.EqualFold(g.name, s.Name) }) {
			out = append(out, page{name: s.Name, rows: s.Raw})
		}
	}
	return out, err
}

// isList reports whether a sheet is our list of labels: it is called so, and each of its
// columns is called as another sheet or as a choice. People may have a sheet of that name, too.
func isList(s ingest.PaperSheet, all []ingest.PaperSheet) bool {
	if number, ok := strings.CutPrefix(strings.ToLower(s.Name), listSheet); !ok || number != "" && !isNumber(number) || len(s.Raw) == 0 {
		return false
	}
	of := 0
	for _, head := range s.Raw[0] {
		is := slices.ContainsFunc(all, func(o ingest.PaperSheet) bool { return strings.EqualFold(o.Name, head) })
		switch {
		case head == "":
		case !is && (strings.Count(head, ".") != 1 || strings.Contains(head, " ")):
			return false
		default:
			of++
		}
	}
	return of > 0
}

// added puts the columns of a row in that are not among the sheet's own: people have added them.
func added(extra, own []string, cells map[string]string) []string {
	for name := range cells {
		if name != "" && !slices.Contains(own, name) && !slices.Contains(extra, name) {
			extra = append(extra, name)
		}
	}
	return extra
}

// writeCSV writes a sheet that spreadsheet programs take for UTF-8.
func writeCSV(path string, rows [][]string) error {
	var b strings.Builder
	b.WriteString("\ufeff")
	w := csv.NewWriter(&b)
	err := w.WriteAll(rows)
	return errors.Join(err, writeFile(path, []byte(b.String())))
}
