package appliance

import (
	"fmt"
	"net/url"
	"strings"
	"time"
)

// WriteSignOff writes a comparison as a workbook for the people who sign the migration off:
// verdicts and figures with room to sign beside them, and of each table the samples, staged
// and in the target side by side, with a link to each record's form. address is the
// environment's.
func WriteSignOff(path, address string, c Compared) error {
	pages := []page{signOffTables(address, c), signOffFigures(c), signOffGroups(c), signOffSources(c)}
	taken := map[string]bool{}
	for _, t := range c.Tables {
		if len(t.Samples) == 0 {
			continue
		}
		g := page{name: sheetTitle(t.Name, taken), link: 5,
			rows: [][]string{{"legacy key", "column", "as loaded", "in the target", "equal", "form", "checked by", "remark"}}}
		for _, s := range t.Samples {
			link := FormLink(address, t.Name, s.RecordID)
			if len(s.Values) == 0 {
				g.rows = append(g.rows, []string{s.LegacyKey, "", "", "not there, or not compared", "no", link})
			}
			for _, v := range s.Values {
				g.rows = append(g.rows, []string{s.LegacyKey, v.Column, v.Staged, v.Target, yes(v.Same), link})
			}
		}
		pages = append(pages, g)
	}
	return writeWorkbook(path, pages)
}

// FormLink is the address of a record's form, for a browser.
func FormLink(address, table, id string) string {
	if address == "" || id == "" {
		return ""
	}
	return strings.TrimRight(address, "/") + "/main.aspx?pagetype=entityrecord&etn=" + url.QueryEscape(table) + "&id=" + url.QueryEscape(id)
}

func signOffTables(address string, c Compared) page {
	g := page{name: "tables", rows: [][]string{{"table", "staged", "not loaded", "loaded", "in the target", "missing", "extra", "different", "duplicates", "not ours", "verdict", "why", "signed by", "date", "remark"}}}
	for _, t := range c.Tables {
		row := []string{t.Name}
		for _, n := range []int64{t.Staged, t.NotLoaded, t.Source, t.Target, t.Missing, t.Extra, t.Different, t.Duplicates, t.Others} {
			row = append(row, fmt.Sprint(n))
		}
		g.rows = append(g.rows, append(row, verdict(t.Pass), strings.Join(t.Failures, "; ")))
	}
	g.rows = append(g.rows, []string{}, []string{"compared with " + address + ", written " + time.Now().Format("2006-01-02 15:04 MST")})
	for _, note := range ComparisonNotes(c) {
		g.rows = append(g.rows, []string{note})
	}
	g.number = make([]bool, 10)
	for i := 1; i < 10; i++ {
		g.number[i] = true
	}
	return g
}

func signOffFigures(c Compared) page {
	g := page{name: "figures", rows: [][]string{{"table", "column", "figure", "in the source", "as loaded", "in the target", "equal", "signed by", "remark"}}, number: []bool{false, false, false, true, true, true}}
	for _, t := range c.Tables {
		for _, f := range t.SourceFigures {
			g.rows = append(g.rows, []string{t.Name, f.Name, "source", f.Source, f.Staged, "", yes(f.Same)})
		}
		for _, f := range t.Figures {
			g.rows = append(g.rows, []string{t.Name, f.Column, f.Kind, "", f.Staged, f.Target, yes(f.Same)})
		}
	}
	return g
}

func signOffGroups(c Compared) page {
	g := page{name: "groups", rows: [][]string{{"table", "column", "value", "as loaded", "in the target", "equal", "remark"}}, number: []bool{false, false, false, true, true}}
	for _, t := range c.Tables {
		for _, x := range t.Groups {
			g.rows = append(g.rows, []string{t.Name, x.Column, x.Value, fmt.Sprint(x.Staged), fmt.Sprint(x.Target), yes(x.Staged == x.Target)})
		}
	}
	return g
}

func signOffSources(c Compared) page {
	g := page{name: "sources", rows: [][]string{{"source", "lines", "set aside", "staged", "verdict", "remark"}}, number: []bool{false, true, true, true}}
	for _, s := range c.Sources {
		g.rows = append(g.rows, []string{s.Name, fmt.Sprint(s.Lines), fmt.Sprint(s.SetAside), fmt.Sprint(s.Staged), verdict(s.Same)})
	}
	return g
}

func verdict(pass bool) string { return map[bool]string{true: "pass", false: "FAIL"}[pass] }
func yes(same bool) string     { return map[bool]string{true: "yes", false: "NO"}[same] }

// sheetTitle is a table's name as one of a sheet: at most 31 characters, and no two alike.
func sheetTitle(table string, taken map[string]bool) string {
	title := table[:min(len(table), 31)]
	for n := 2; taken[title] || title == "tables" || title == "figures" || title == "groups" || title == "sources"; n++ {
		end := fmt.Sprintf("~%d", n)
		title = table[:min(len(table), 31-len(end))] + end
	}
	taken[title] = true
	return title
}
