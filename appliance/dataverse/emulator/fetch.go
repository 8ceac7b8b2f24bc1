package emulator

import (
	"encoding/xml"
	"net/http"
	"strconv"
	"strings"
)

// fetchXML is the <fetch> element (section 10.6).
type fetchXML struct {
	XMLName        xml.Name    `xml:"fetch"`
	Count          int         `xml:"count,attr"`
	Page           int         `xml:"page,attr"`
	Cookie         string      `xml:"paging-cookie,attr"`
	Top            int         `xml:"top,attr"`
	Aggregate      string      `xml:"aggregate,attr"`
	RawOrder       string      `xml:"useraworderby,attr"`
	AggregateLimit int         `xml:"aggregatelimit,attr"`
	Distinct       string      `xml:"distinct,attr"`
	TotalCount     string      `xml:"returntotalrecordcount,attr"`
	Entity         fetchEntity `xml:"entity"`

	offset int  // of the first row, where SQL says so
	linked bool // answered with a nextLink, as SQL is, in place of the annotations
}

// fetchEntity is <entity> or <link-entity>; only the latter has From, To, LinkType.
type fetchEntity struct {
	Name       string           `xml:"name,attr"`
	Alias      string           `xml:"alias,attr"`
	From       string           `xml:"from,attr"`
	To         string           `xml:"to,attr"`
	LinkType   string           `xml:"link-type,attr"`
	All        *struct{}        `xml:"all-attributes"`
	None       *struct{}        `xml:"no-attrs"`
	Attributes []fetchAttribute `xml:"attribute"`
	Orders     []fetchOrder     `xml:"order"`
	Filters    []fetchFilter    `xml:"filter"`
	Links      []fetchEntity    `xml:"link-entity"`
}

type fetchAttribute struct {
	Name         string `xml:"name,attr"`
	Alias        string `xml:"alias,attr"`
	Aggregate    string `xml:"aggregate,attr"`
	Distinct     string `xml:"distinct,attr"`
	GroupBy      string `xml:"groupby,attr"`
	DateGrouping string `xml:"dategrouping,attr"`
	RowAggregate string `xml:"rowaggregate,attr"`
}

type fetchOrder struct {
	EntityName string `xml:"entityname,attr"`
	Attribute  string `xml:"attribute,attr"`
	Alias      string `xml:"alias,attr"`
	Descending string `xml:"descending,attr"`
}

type fetchFilter struct {
	Type       string           `xml:"type,attr"`
	Conditions []fetchCondition `xml:"condition"`
	Filters    []fetchFilter    `xml:"filter"`
	Links      []fetchEntity    `xml:"link-entity"` // of a link-type that only tests: any, not any, all, not all
}

type fetchCondition struct {
	EntityName string   `xml:"entityname,attr"`
	Attribute  string   `xml:"attribute,attr"`
	Operator   string   `xml:"operator,attr"`
	Value      *string  `xml:"value,attr"`
	ValueOf    string   `xml:"valueof,attr"`
	Values     []string `xml:"value"`
}

func isTrue(s string) bool { return s == "true" || s == "1" }

// errFetch is the answer to FetchXML that is not understood.
func errFetch(format string, args ...any) *apiError {
	return errorf(http.StatusBadRequest, "0x80041104", format, args...)
}

// The bounds of a FetchXML query (sections 8.6, 10.6).
const (
	maxLinks      = 15
	maxConditions = 500
	maxFetchDepth = 64
	maxUncookied  = 50_000
)

// parseFetch reads the XML. Elements and attributes that are not known are passed
// over, as the service does with hints; the nesting is bounded first because the
// decoder recurses.
func parseFetch(text string) (*fetchXML, error) {
	d := xml.NewDecoder(strings.NewReader(text))
	depth := 0
	for {
		tok, err := d.Token()
		if tok == nil {
			break
		}
		if err != nil {
			return nil, errFetch("Invalid XML.")
		}
		switch tok.(type) {
		case xml.StartElement:
			if depth++; depth > maxFetchDepth {
				return nil, errFetch("Invalid XML: elements nest too deep.")
			}
		case xml.EndElement:
			depth--
		}
	}
	f := &fetchXML{}
	if err := xml.Unmarshal([]byte(text), f); err != nil {
		return nil, errFetch("Invalid XML.")
	}
	if err := f.valid(); err != nil {
		return nil, err
	}
	return f, nil
}

// valid checks the query's bounds.
func (f *fetchXML) valid() error {
	links, conditions := f.Entity.size()
	switch {
	case f.Entity.Name == "":
		return errFetch("The entity element of the fetch has no name.")
	case links > maxLinks:
		return errorf(http.StatusBadRequest, "0x8004430D", "Number of link entities in query exceeded maximum limit of %d.", maxLinks)
	case conditions > maxConditions:
		return errorf(http.StatusBadRequest, "0x8004430C", "Number of conditions in query exceeded maximum limit of %d.", maxConditions)
	case f.Count < 0 || f.Page < 0 || f.Top < 0 || f.Count > maxPage || f.Top > maxPage:
		return errFetch("The page, count or top of the fetch is outside the valid range, which ends at %d.", maxPage)
	case f.Top > 0 && (f.Page > 0 || f.Count > 0):
		return errFetch("The top attribute can't be specified with paging attribute page")
	}
	return nil
}

// size counts link-entities and conditions.
func (e *fetchEntity) size() (links, conditions int) {
	for i := range e.Filters {
		l, c := e.Filters[i].size()
		links, conditions = links+l, conditions+c
	}
	for i := range e.Links {
		l, c := e.Links[i].size()
		links, conditions = links+l+1, conditions+c
	}
	return links, conditions
}

func (f *fetchFilter) size() (links, conditions int) {
	conditions = len(f.Conditions)
	for i := range f.Filters {
		l, c := f.Filters[i].size()
		links, conditions = links+l, conditions+c
	}
	for i := range f.Links {
		l, c := f.Links[i].size()
		links, conditions = links+l+1, conditions+c
	}
	return links, conditions
}

// fetchCookie makes the paging cookie of a page: the service's form, encoded twice.
func fetchCookie(page int, key, last string) string {
	inner := `<cookie page="` + strconv.Itoa(page) + `"><` + key + ` last="{` + strings.ToUpper(last) + `}" /></cookie>`
	return `<cookie pagenumber="` + strconv.Itoa(page+1) + `" pagingcookie="` + escapeOption(escapeOption(inner)) + `" istracking="False" />`
}

// readFetchCookie returns the id of the last row of the page before.
func readFetchCookie(text string) (string, bool) {
	var c struct {
		Keys []struct {
			Last string `xml:"last,attr"`
		} `xml:",any"`
	}
	if xml.Unmarshal([]byte(text), &c) != nil || len(c.Keys) != 1 {
		return "", false
	}
	return strings.Trim(c.Keys[0].Last, "{}"), true
}
