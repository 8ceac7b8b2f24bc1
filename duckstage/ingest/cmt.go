package ingest

import (
	"archive/zip"
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

// packages are files of the Configuration Migration Tool: zips with data.xml and
// data_schema.xml. Each of their tables, and each many-to-many relationship that has
// links, becomes a relation of its own, called after the source and the table.
type packages struct {
	source string
	inputs []input
	kinds  []*packageTable
	at     map[string][]section // by table or relationship: where its rows are
	noted  []string
}

// section is the part of a data.xml that holds one table.
type section struct {
	in    int // number of the file
	table string
	begin int64 // in bytes, behind the element's start
	line  int   // that it begins on, from 1
}

// packageTable is a table of a package's schema, or a relationship.
type packageTable struct {
	name    string
	primary string // its id's column; a record has that as an attribute, too
	fields  []packageField
	ends    [2]string // of a relationship: the columns of its two ends
	source  string    // of a relationship: the table that its first end is of

	seen map[[2]string]bool // links that have been read
}

// packageField is a field of data_schema.xml.
type packageField struct {
	name, kind string
	at         int // its column
	beside     int // of a lookup or a file: the first of the columns that say more of it
}

func openPackages(inputs []input) (supply, error) {
	return &packages{inputs: inputs, at: map[string][]section{}}, nil
}

func (p *packages) workers() int    { return 1 }
func (p *packages) notes() []string { return p.noted }
func (p *packages) close()          {}

// open opens one of the package's files, and begins to read where a section begins.
func (p *packages) open(in input, name string, from section, read func(*xml.Decoder) error) error {
	z, err := zip.OpenReader(in.path)
	if err != nil {
		return fmt.Errorf("%s: not a zip file, as a package of the Configuration Migration Tool is: %w", in.shown, err)
	}
	defer z.Close()
	f, err := z.Open(name)
	if err != nil {
		return fmt.Errorf("%s: no %s in it, which a package of the Configuration Migration Tool has", in.shown, name)
	}
	defer f.Close()
	if _, err := io.CopyN(io.Discard, f, from.begin); err != nil {
		return fmt.Errorf("%s: %s: %w", in.shown, name, err)
	}
	d := xml.NewDecoder(f)
	if err := read(d); err != nil {
		line, _ := d.InputPos()
		line += max(from.line-1, 0)
		var syntax *xml.SyntaxError
		if errors.As(err, &syntax) {
			return fmt.Errorf("%s: %s is damaged: %w", in.shown, name, err)
		}
		return fmt.Errorf("%s: %s line %d: %w", in.shown, name, line, err)
	}
	return nil
}

// packageSchema is data_schema.xml.
type packageSchema struct {
	DateMode string `xml:"dateMode,attr"`
	Entities []struct {
		Name    string               `xml:"name,attr"`
		Primary string               `xml:"primaryidfield,attr"`
		Fields  []packageSchemaField `xml:"fields>field"`
	} `xml:"entity"`
}

// relative reports whether the tool itself would move dates by the time since the export.
func (s *packageSchema) relative() bool {
	moves := strings.HasPrefix(s.DateMode, "relative")
	for _, e := range s.Entities {
		for _, f := range e.Fields {
			moves = moves || strings.HasPrefix(f.DateMode, "relative")
		}
	}
	return moves
}

type packageSchemaField struct {
	Name string `xml:"name,attr"`
	Type string `xml:"type,attr"`

	DateMode string `xml:"dateMode,attr"`
}

// relations reads the schemas, and the data once for the relationships that have links.
func (p *packages) relations(ctx context.Context, src *Source) ([]*relation, error) {
	var out []*relation
	p.source = src.Name
	tables := map[string]*packageTable{}
	for _, in := range p.inputs {
		var s packageSchema
		if err := p.open(in, "data_schema.xml", section{}, func(d *xml.Decoder) error { return d.Decode(&s) }); err != nil {
			return nil, err
		}
		if s.relative() {
			p.noted = append(p.noted, in.shown+": its dates are relative (dateMode): the tool moves them by the time since the export, here they stay as they were")
		}
		for _, e := range s.Entities {
			t := tables[e.Name]
			if t == nil {
				t = &packageTable{name: e.Name, primary: e.Primary}
				tables[e.Name] = t
				p.kinds = append(p.kinds, t)
			}
			if e.Primary != "" { // which the tool writes, and packages made by hand may lack
				e.Fields = append(e.Fields, packageSchemaField{Name: e.Primary, Type: "guid"})
			}
			for _, f := range e.Fields {
				if !slices.ContainsFunc(t.fields, func(k packageField) bool { return k.name == f.Name }) {
					t.fields = append(t.fields, packageField{name: f.Name, kind: f.Type})
				}
			}
		}
	}
	links := map[string]*packageTable{}
	for i, in := range p.inputs {
		if err := p.open(in, "data.xml", section{}, func(d *xml.Decoder) error { return p.findLinks(ctx, d, i, tables, links) }); err != nil {
			return nil, err
		}
	}
	for _, t := range p.kinds {
		out = append(out, p.relation(src.Name, t))
		if slices.ContainsFunc(t.fields, isParties) {
			out = append(out, p.partiesRelation(src.Name, t))
		}
	}
	return out, nil
}

// findLinks finds the relationships in the data, where everything is, and tables that
// the schema lacks.
func (p *packages) findLinks(ctx context.Context, d *xml.Decoder, in int, tables, links map[string]*packageTable) error {
	table, here := "", section{}
	return eachStart(ctx, d, func(e xml.StartElement) error {
		switch e.Name.Local {
		case "entity":
			table = attribute(e, "name")
			if tables[table] == nil {
				return fmt.Errorf("table %q is not in data_schema.xml", table)
			}
			line, _ := d.InputPos()
			here = section{in, table, d.InputOffset(), line}
			p.at[table] = append(p.at[table], here)
		case "m2mrelationship":
			name := attribute(e, "m2mrelationshipname")
			if k := "link " + name; len(p.at[k]) == 0 || p.at[k][len(p.at[k])-1] != here {
				p.at[k] = append(p.at[k], here)
			}
			if links[name] != nil {
				return nil
			}
			l := &packageTable{name: name, source: table, ends: [2]string{tables[table].primary, attribute(e, "targetentitynameidfield")}}
			if l.ends[0] == "" {
				l.ends[0] = table + "id"
			}
			if l.ends[1] == "" {
				l.ends[1] = attribute(e, "targetentityname") + "id"
			}
			if l.ends[0] == l.ends[1] { // a table linked with itself
				l.ends[0], l.ends[1] = l.ends[0]+"one", l.ends[1]+"two"
			}
			links[name] = l
			p.kinds = append(p.kinds, l)
		}
		return nil
	})
}

// packageTypes are the stage's types for the package's, and what a value should be.
var packageTypes = map[string]struct{ typ, what string }{
	"guid": {"UUID", "a GUID"}, "entityreference": {"UUID", "a GUID"}, "owner": {"UUID", "a GUID"}, "customer": {"UUID", "a GUID"}, "lookup": {"UUID", "a GUID"},
	"number": {"INTEGER", "a whole number"}, "integer": {"INTEGER", "a whole number"}, "optionsetvalue": {"INTEGER", "an option's value"},
	"state": {"INTEGER", "an option's value"}, "status": {"INTEGER", "an option's value"}, "bigint": {"BIGINT", "a whole number"},
	"bool": {"BOOLEAN", "True or False"}, "decimal": {"DECIMAL(28,10)", "a number"}, "money": {"DECIMAL(28,10)", "a number"}, "float": {"DOUBLE", "a number"},
	"datetime": {"TIMESTAMP", "a date such as 4/4/2019 7:22:50 PM or 2019-04-04T19:22:50.0000000Z"},
}

// packageTime reads the two forms of dates that the tool has written: US text, and ISO
// with seven decimals. Both are UTC.
const packageTime = `coalesce(try_strptime(%s, ['%m/%d/%Y %I:%M:%S %p', '%m/%d/%Y']), TRY_CAST(regexp_replace(%s, '(\.\d{6})\d*', '\1') AS TIMESTAMP))`

// relation makes the relation of a table or a relationship.
func (p *packages) relation(source string, t *packageTable) *relation {
	rel := &relation{name: source + "_" + t.name}
	read := p.readTable
	if t.source != "" {
		rel.add(t.ends[0], "UUID", "a GUID", "")
		rel.add(t.ends[1], "UUID", "a GUID", "")
		read = p.readLinks
	}
	for i := range t.fields {
		f := &t.fields[i]
		kind := packageTypes[f.kind]
		switch {
		case isParties(*f): // a relation of their own
		case kind.typ == "":
			f.at = rel.add(f.name, "VARCHAR", "", "")
		case kind.typ == "TIMESTAMP":
			f.at = rel.add(f.name, kind.typ, kind.what, packageTime)
		default:
			f.at = rel.add(f.name, kind.typ, kind.what, "")
		}
	}
	for i := range t.fields { // what the tool writes beside the value
		f := &t.fields[i]
		switch {
		case isReference(f.kind): // what it points to, and its name for who must find it again
			f.beside = rel.add(f.name+"_table", "VARCHAR", "", "")
			rel.add(f.name+"_label", "VARCHAR", "", "")
		case holdsFile(f.kind): // and where its content is
			f.beside = rel.add(f.name+"_filename", "VARCHAR", "", "")
			rel.add(f.name+"_path", "VARCHAR", "", "")
		}
	}
	key := t.name
	if t.source != "" {
		key = "link " + t.name
	} else if t.primary != "" {
		rel.key = []string{t.primary}
	}
	rel.parts = p.parts(key, t, read)
	return rel
}

// parts reads all sections of a table, one after the other.
func (p *packages) parts(key string, t *packageTable, read func(context.Context, *xml.Decoder, *packageTable, string, *sink) error) []part {
	return []part{{label: t.name, read: func(ctx context.Context, _ int, out *sink) error {
		for _, at := range p.at[key] {
			out.shown = p.inputs[at.in].shown
			err := p.open(p.inputs[at.in], "data.xml", at, func(d *xml.Decoder) error { return read(ctx, d, t, at.table, out) })
			if err != nil {
				return err
			}
		}
		return nil
	}}}
}

// add adds a column that is read as text, and gives its number.
func (rel *relation) add(name, typ, what, expr string) int {
	rel.fields = append(rel.fields, field{name: name, stored: "VARCHAR", typ: typ, what: what, expr: expr})
	return len(rel.fields) - 1
}

func isReference(kind string) bool {
	return kind == "entityreference" || kind == "owner" || kind == "customer" || kind == "lookup"
}

// holdsFile tells a file column: its value is the id of a file in the package's folder files,
// called <id>.bin.
func holdsFile(kind string) bool { return kind == "filedata" || kind == "file" }

// packageCell is a value as the package has it; where it has none, set is false.
type packageCell struct {
	text string
	set  bool
}

// readTable reads the records of one table.
func (p *packages) readTable(ctx context.Context, d *xml.Decoder, t *packageTable, _ string, out *sink) error {
	at := map[string]*packageField{}
	n := 0
	for i := range t.fields {
		f := &t.fields[i]
		at[f.name] = f
		switch {
		case isParties(*f):
		case isReference(f.kind), holdsFile(f.kind):
			n += 3
		default:
			n++
		}
	}
	row := make([]packageCell, n)
	filled := false
	flush := func() error {
		if !filled {
			return nil
		}
		for i, c := range row {
			if c.set && c.text != "" {
				out.cell(i).AppendText(c.text)
			} else {
				out.null(i)
			}
		}
		clear(row)
		filled = false
		return out.end()
	}
	err := eachRecord(ctx, d, func(e xml.StartElement, depth int) error {
		switch {
		case depth > 0: // of a party
		case e.Name.Local == "record":
			err := flush()
			filled = true
			if f := at[t.primary]; f != nil {
				row[f.at] = packageCell{attribute(e, "id"), true}
			}
			return err
		case e.Name.Local == "m2mrelationships":
			err := flush()
			return err
		case e.Name.Local == "field" && filled:
			name := attribute(e, "name")
			f := at[name]
			if f == nil {
				return fmt.Errorf("field %q of table %s is not in data_schema.xml", name, t.name)
			}
			if isParties(*f) {
				return nil
			}
			value := attribute(e, "value")
			switch {
			case f.kind == "optionsetvaluecollection":
				value = decodeChoices(value)
			case packageTypes[f.kind].typ == "":
				value = decodeText(value)
			}
			if name == t.primary && value == "" {
				return nil
			}
			row[f.at] = packageCell{value, true}
			switch {
			case isReference(f.kind):
				row[f.beside], row[f.beside+1] = packageCell{attribute(e, "lookupentity"), true}, packageCell{attribute(e, "lookupentityname"), true}
			case holdsFile(f.kind):
				row[f.beside] = packageCell{attribute(e, "filename"), true}
				if value != "" {
					row[f.beside+1] = packageCell{packagePath(p.source, value+".bin"), true}
				}
			}
		}
		return nil
	}, nil)
	if err != nil {
		return err
	}
	return flush()
}

// readLinks reads the links of one relationship. An export of both ends has each link
// twice: once is enough.
func (p *packages) readLinks(ctx context.Context, d *xml.Decoder, t *packageTable, table string, out *sink) error {
	if t.seen == nil {
		t.seen = map[[2]string]bool{}
	}
	from, mine, here := "", false, false
	return eachToken(ctx, d, func(token xml.Token) (bool, error) {
		switch e := token.(type) {
		case xml.EndElement:
			here = false
			return e.Name.Local == "entity", nil
		case xml.StartElement:
			here = mine && e.Name.Local == "targetid"
			if e.Name.Local == "m2mrelationship" {
				mine, from = attribute(e, "m2mrelationshipname") == t.name, strings.ToLower(attribute(e, "sourceid"))
			}
		case xml.CharData:
			if !here {
				return false, nil
			}
			link := [2]string{from, strings.ToLower(strings.TrimSpace(string(e)))}
			if table != t.source {
				link[0], link[1] = link[1], link[0]
			}
			if t.seen[link] {
				return false, nil
			}
			t.seen[link] = true
			out.cell(0).AppendText(link[0])
			out.cell(1).AppendText(link[1])
			return false, out.end()
		}
		return false, nil
	})
}

// eachStart calls fn with every element that begins.
func eachStart(ctx context.Context, d *xml.Decoder, fn func(xml.StartElement) error) error {
	return eachToken(ctx, d, func(token xml.Token) (bool, error) {
		if e, ok := token.(xml.StartElement); ok {
			return false, fn(e)
		}
		return false, nil
	})
}

// eachRecord calls start with every element of a table's section that begins, and how many
// fields it lies within, and end, if there is one, with every one but a field that ends there.
func eachRecord(ctx context.Context, d *xml.Decoder, start func(e xml.StartElement, depth int) error, end func(depth int) error) error {
	depth := 0
	return eachToken(ctx, d, func(token xml.Token) (bool, error) {
		switch e := token.(type) {
		case xml.StartElement:
			if err := start(e, depth); err != nil {
				return false, err
			}
			if e.Name.Local == "field" {
				depth++
			}
		case xml.EndElement:
			switch {
			case e.Name.Local == "entity":
				return true, nil
			case e.Name.Local == "field":
				depth--
			case end != nil:
				return false, end(depth)
			}
		}
		return false, nil
	})
}

// eachToken calls fn with every token, up to the one at which it says that it is the last.
func eachToken(ctx context.Context, d *xml.Decoder, fn func(xml.Token) (last bool, err error)) error {
	for n := 0; ; n++ {
		if n&0xFFF == 0 && ctx.Err() != nil {
			return context.Cause(ctx)
		}
		token, err := d.RawToken()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if last, err := fn(token); last || err != nil {
			return err
		}
	}
}

func attribute(e xml.StartElement, name string) string {
	for _, a := range e.Attr {
		if a.Name.Local == name {
			return a.Value
		}
	}
	return ""
}
