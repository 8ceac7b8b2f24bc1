package appliance

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"dvmigrate/appliance/config"
	"dvmigrate/appliance/dataverse/schema"
	"dvmigrate/appliance/mapping"
	"dvmigrate/appliance/preflight"
	"dvmigrate/duckstage/ingest"
	"dvmigrate/duckstage/transform"
)

// A choice's map is a sheet in maps/, <table>.<column>.csv or .xlsx, or a sheet of that
// name in any workbook there. The transform yields the source's own text, and the stage
// finds the value. It is a step by column and not a relation to join, because a join loses
// the text that has no value: so each is counted, named in messages, and can be added to the
// sheet by `options plan`; and a row cannot be lost or doubled by a join that was forgotten
// to be a LEFT one.

// mapsFolder is the folder of the sheets that people edit.
const mapsFolder = "maps"

// The columns of a choice's sheet; source_value, comment and any others are people's own.
const (
	sourceText, sourceValue, sourceRows = "source_text", "source_value", "source_rows"
	targetValue, targetText             = "target_value", "target_text"
)

// optionSheet is one choice's map as it lies in its file.
type optionSheet struct {
	table, column string
	path          string // of the file
	file          string // for messages: the path from the project's folder, and the sheet in a workbook
	workbook      bool
	rows          []ingest.PaperRow
}

func (o *optionSheet) name() string { return o.table + "." + o.column }

// fault is one about a row of the sheet; line 0 is none of it.
func (o *optionSheet) fault(line int, format string, args ...any) config.Fault {
	return sheetFault(o.file, line, fmt.Sprintf(format, args...))
}

func sheetFault(file string, line int, message string) config.Fault {
	if line > 0 {
		file += fmt.Sprintf(", line %d", line)
	}
	return config.Fault{File: file, Message: message}
}

// shownPath is a path as messages have it: from the project's folder.
func (p *Project) shownPath(path string) string {
	if rel, err := filepath.Rel(p.Config.Dir, path); err == nil && filepath.IsLocal(rel) {
		return filepath.ToSlash(rel)
	}
	return path
}

// optionSheets reads every choice's map. Files in the folder that are none are left alone.
func (p *Project) optionSheets(ctx context.Context) ([]optionSheet, error) {
	paths, err := filepath.Glob(filepath.Join(p.Config.Dir, mapsFolder, "*"))
	if err != nil {
		return nil, err
	}
	var out []optionSheet
	var faults config.Faults
	for _, path := range paths {
		ext := strings.ToLower(filepath.Ext(path))
		base := strings.TrimSuffix(filepath.Base(path), filepath.Ext(path))
		if ext != ".xlsx" && (ext != ".csv" || !strings.Contains(base, ".")) || strings.HasPrefix(base, "~$") { // what Excel has open
			continue
		}
		sheets, err := ingest.ReadSheets(ctx, path)
		if err != nil {
			return nil, err
		}
		whole := strings.Contains(base, ".")
		for i, s := range sheets {
			o := optionSheet{path: path, file: p.shownPath(path), workbook: ext == ".xlsx", rows: s.Rows}
			name := base
			if !whole {
				name, o.file = s.Name, o.file+", sheet "+s.Name
			}
			if whole && i > 0 || !strings.Contains(name, ".") {
				continue
			}
			column, err := p.nameSheet(&o, name)
			if err == nil && column == nil {
				continue
			}
			if err != nil {
				faults = append(faults, o.fault(0, "%v", err))
				continue
			}
			if twice := slices.IndexFunc(out, func(other optionSheet) bool { return other.name() == o.name() }); twice >= 0 {
				faults = append(faults, o.fault(0, "the map of %s is in %s too: keep one of them", o.name(), out[twice].file))
				continue
			}
			out = append(out, o)
		}
	}
	if len(faults) > 0 {
		return nil, faults
	}
	return out, nil
}

// sheetName is a choice's name as that of a sheet, which has 31 characters at most.
func sheetName(name string) string { return name[:min(len(name), 31)] }

// nameSheet finds the choice that a sheet is of; nil where it is no map of one.
func (p *Project) nameSheet(o *optionSheet, name string) (*schema.Column, error) {
	o.table, o.column, _ = strings.Cut(strings.ToLower(name), ".")
	isMap := len(o.rows) > 0 && hasKey(o.rows[0], sourceText) && (hasKey(o.rows[0], targetValue) || hasKey(o.rows[0], targetText))
	t := p.Schema.Table(o.table)
	switch {
	case t == nil && !isMap, len(o.rows) == 0:
		return nil, nil
	case t == nil:
		return nil, fmt.Errorf("the schema has no table %s%s", o.table, orNearest(o.table, p.Schema.TableNames()))
	}
	c := t.Column(o.column)
	if c == nil && len(name) >= 31 && o.workbook {
		for _, other := range t.Columns {
			if other.Type.HasOptions() && sheetName(o.table+"."+other.LogicalName) == strings.ToLower(name) {
				c, o.column = other, other.LogicalName
			}
		}
	}
	switch {
	case c == nil:
		return nil, fmt.Errorf("table %s has no column %s%s", o.table, o.column, orNearest(o.column, t.ColumnNames()))
	case !c.Type.HasOptions():
		return nil, fmt.Errorf("column %s of %s is a %s: only choices have a map", o.column, o.table, c.Type)
	case !isMap:
		return nil, fmt.Errorf("the first row of a choice's map has the names %s, %s, %s, %s", sourceText, sourceRows, targetValue, targetText)
	}
	return c, nil
}

func hasKey(r ingest.PaperRow, name string) bool {
	_, ok := r.Cells[name]
	return ok
}

func orNearest(name string, known []string) string {
	if near := config.Nearest(name, known); near != "" {
		return "; did you mean " + near + "?"
	}
	return ""
}

// values are what the sheet's texts stand for, each as SQL reads it; "" = no value on purpose.
// Texts without a decision are left out.
func (o *optionSheet) values(c *schema.Column) (map[string]string, config.Faults) {
	out, at := map[string]string{}, map[string]int{}
	var faults config.Faults
	for _, r := range o.rows {
		value, decided, err := decision(c, r.Cells[targetValue], r.Cells[targetText])
		if err != nil {
			faults = append(faults, o.fault(r.Line, "%v", err))
			continue
		}
		if !decided {
			continue
		}
		for _, text := range []string{r.Cells[sourceText], r.Cells[sourceValue]} {
			if text == "" {
				continue // an option that nothing goes to yet
			}
			text = strings.ToLower(unharmed(text))
			if former, ok := out[text]; ok && former != value {
				faults = append(faults, o.fault(r.Line, "%q has another value than in line %d", text, at[text]))
				continue
			}
			out[text], at[text] = value, r.Line
		}
	}
	return out, faults
}

// decision reads what a row says a text stands for: an option's value, its label, or both
// of the same; several with commas between for choices; blank for none.
func decision(c *schema.Column, value, label string) (is string, decided bool, err error) {
	if strings.EqualFold(value, preflight.Blank) || value == "" && strings.EqualFold(label, preflight.Blank) {
		return "", true, nil
	}
	byValue, err := parts(c, value, func(part string) (*schema.Option, error) { return optionOf(c, part) })
	if err != nil {
		return "", false, err
	}
	byLabel, err := parts(c, label, func(part string) (*schema.Option, error) { return labelled(c, part) })
	switch {
	case byValue != "" && (err != nil || byLabel == "" || byLabel == byValue):
		return byValue, true, nil
	case byValue != "":
		return "", false, fmt.Errorf("%s is %s, and %q is %s: let them agree, or empty one of them", value, labelsOf(c, byValue), label, byLabel)
	}
	return byLabel, byLabel != "", err
}

// parts reads the options in a cell.
func parts(c *schema.Column, cell string, find func(string) (*schema.Option, error)) (string, error) {
	if cell == "" {
		return "", nil
	}
	if c.Type != schema.Choices {
		o, err := find(cell)
		if err != nil {
			return "", err
		}
		return strconv.Itoa(int(o.Value)), nil
	}
	var values []string
	for part := range strings.FieldsFuncSeq(cell, func(r rune) bool { return r == ',' || r == ';' }) {
		o, err := find(strings.TrimSpace(part))
		if err != nil {
			return "", err
		}
		values = append(values, strconv.Itoa(int(o.Value)))
	}
	return strings.Join(values, ","), nil
}

func optionOf(c *schema.Column, text string) (*schema.Option, error) {
	if yes, err := strconv.ParseBool(text); err == nil && c.Type == schema.YesNo {
		o := &schema.Option{}
		if yes {
			o.Value = 1
		}
		return o, nil
	}
	n, err := strconv.ParseInt(text, 10, 32)
	if err != nil {
		return nil, fmt.Errorf("%s is %q, which is not the number of an option", targetValue, text)
	}
	if o := c.Option(int32(n)); o != nil || len(c.Options) > 0 {
		if o == nil {
			return nil, fmt.Errorf("%d is no option of %s; they are %s", n, c.LogicalName, optionsText(c, 10))
		}
		return o, nil
	}
	return &schema.Option{Value: int32(n)}, nil
}

func labelled(c *schema.Column, text string) (*schema.Option, error) {
	var found []*schema.Option
	var labels []string
	for i, o := range c.Options {
		labels = append(labels, o.Label)
		if strings.EqualFold(strings.TrimSpace(o.Label), text) {
			found = append(found, &c.Options[i])
		}
	}
	switch len(found) {
	case 0:
		return nil, fmt.Errorf("no option of %s has the label %q%s", c.LogicalName, text, orNearest(text, labels))
	case 1:
		return found[0], nil
	}
	return nil, fmt.Errorf("%d options of %s have the label %q: say which by %s", len(found), c.LogicalName, text, targetValue)
}

// labelsOf are the labels of values with commas between.
func labelsOf(c *schema.Column, values string) string {
	var labels []string
	for v := range strings.SplitSeq(values, ",") {
		if n, err := strconv.Atoi(v); err == nil && c.Option(int32(n)) != nil {
			labels = append(labels, c.Option(int32(n)).Label)
		}
	}
	return strings.Join(labels, ", ")
}

// optionsText lists a choice's options for a message.
func optionsText(c *schema.Column, most int) string {
	var words []string
	for i, o := range c.Options {
		if i == most {
			words = append(words, fmt.Sprintf("and %d more", len(c.Options)-i))
			break
		}
		words = append(words, fmt.Sprintf("%d %s", o.Value, strings.Join(strings.Fields(o.Label), " ")))
	}
	return strings.Join(words, "; ")
}

// mapTexts puts the choices' maps into what the stage computes for a table.
func (p *Project) mapTexts(t *mapping.Table, sheets []optionSheet, spec *transform.Table) error {
	var faults config.Faults
	for _, o := range sheets {
		if o.table != t.Name {
			continue
		}
		i := slices.IndexFunc(t.Columns, func(c mapping.Column) bool { return c.LogicalName == o.column })
		if i < 0 {
			f := o.fault(0, "it is the map of %s, and the transform of %s yields no such column", o.name(), t.Name)
			f.Hint = "yield the source's text under that name, or take the map away"
			faults = append(faults, f)
			continue
		}
		values, found := o.values(t.Columns[i].Column)
		faults = append(faults, found...)
		missing, err := preflight.Missing(t.Columns[i], p.policy(t.Name, o.column))
		if err != nil && p.named(t.Name, o.column) {
			faults = append(faults, p.Config.FaultAt("tables."+t.Name+".repair."+o.column, fmt.Sprintf("repair of %s: %v", o.column, err)))
		}
		spec.Columns[i].Texts = &transform.Texts{File: o.file, Values: values, Missing: missing}
	}
	if len(faults) > 0 {
		return faults
	}
	return nil
}

// joinFaults gathers faults of settings and sheets; another error goes before.
func joinFaults(into *config.Faults, err error) error {
	var faults config.Faults
	if errors.As(err, &faults) {
		*into = append(*into, faults...)
		return nil
	}
	return err
}
