package ingest

import (
	"context"
	"encoding/xml"
	"fmt"
	"html"
	"regexp"
	"strings"
)

// isParties tells a column of activity parties. In data.xml such a field has no value but,
// within it, an element for each party that has the party's own fields:
//
//	<field name="to" value=""><activitypointerrecords id="..."><field name="partyid" value="..." lookupentity="contact"/>
func isParties(f packageField) bool { return f.kind == "partylist" }

// partiesRelation makes the relation of a table's parties: a row each, with the record,
// the column (to, from, ...) and the place that it has there, from 1.
func (p *packages) partiesRelation(source string, t *packageTable) *relation {
	rel := &relation{name: source + "_" + t.name + "_parties"}
	if t.primary == "" {
		t.primary = "activityid"
	}
	rel.add(t.primary, "UUID", "a GUID", "")
	rel.add("field", "VARCHAR", "", "")
	rel.add("place", "INTEGER", "", "")
	rel.add("partyid", "UUID", "a GUID", "")
	rel.add("partyid_table", "VARCHAR", "", "")
	rel.add("partyid_label", "VARCHAR", "", "")
	rel.add("addressused", "VARCHAR", "", "")
	rel.key = []string{t.primary, "field", "place"}
	rel.parts = p.parts(t.name, t, p.readParties)
	return rel
}

// readParties reads the parties of one table's records.
func (p *packages) readParties(ctx context.Context, d *xml.Decoder, t *packageTable, _ string, out *sink) error {
	kinds := map[string]bool{}
	for _, f := range t.fields {
		kinds[f.name] = isParties(f)
	}
	var record, column, id, table, label, address string
	place := 0
	text := func(i int, s string) {
		if s == "" {
			out.null(i)
		} else {
			out.cell(i).AppendText(s)
		}
	}
	return eachRecord(ctx, d, func(e xml.StartElement, depth int) error {
		name := attribute(e, "name")
		switch {
		case e.Name.Local == "record" && depth == 0:
			record = attribute(e, "id")
		case e.Name.Local != "field":
		case depth == 0:
			column, place = name, 0
		case kinds[column] && name == "partyid":
			id, table, label = attribute(e, "value"), attribute(e, "lookupentity"), attribute(e, "lookupentityname")
		case kinds[column] && name == "addressused":
			address = decodeText(attribute(e, "value"))
		}
		return nil
	}, func(depth int) error {
		if depth == 0 || id == "" && address == "" {
			return nil
		}
		place++
		for i, s := range []string{record, column, fmt.Sprint(place), id, table, label, address} {
			text(i, s)
		}
		id, table, label, address = "", "", "", ""
		return out.end()
	})
}

// encodedText is a character as HTML writes it, with its semicolon.
var encodedText = regexp.MustCompile(`&(#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6}|[a-zA-Z][a-zA-Z0-9]{1,31});`)

// decodeText reads a text of data.xml. The tool encodes texts for HTML before they are
// written as XML: an ampersand is &amp;amp; in the file, an e with an accent &amp;#233;. A
// text with a character that would have been encoded was not written by it, and stays
// as it is. Labels of lookups are not encoded.
func decodeText(s string) string {
	if !strings.Contains(s, "&") || strings.ContainsAny(s, `<>"'`) || strings.Contains(encodedText.ReplaceAllLiteralString(s, ""), "&") {
		return s
	}
	return encodedText.ReplaceAllStringFunc(s, html.UnescapeString)
}

// decodeChoices reads the values of a choices column: [-1,2,3,-1] in data.xml is 2,3.
func decodeChoices(s string) string {
	values := strings.Split(strings.Trim(s, "[]"), ",")
	if len(values) > 1 && values[0] == "-1" && values[len(values)-1] == "-1" {
		values = values[1 : len(values)-1]
	}
	return strings.Join(values, ",")
}
