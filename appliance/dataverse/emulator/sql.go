package emulator

import (
	"encoding/xml"
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

// The SQL read endpoint (section 10.7), set?sql=SELECT …, is FetchXML under another
// spelling: a statement is parsed into a fetchXML and answered as one. What FetchXML
// cannot say (subqueries, HAVING, expressions, SELECT *) is refused. The service's
// texts and codes for that are not published; here it is 0x80040203.

func errStatement(format string, args ...any) *apiError {
	return errorf(http.StatusBadRequest, "0x80040203", format, args...)
}

// sqlSource is a table of FROM or JOIN, in the order they stand.
type sqlSource struct {
	entity fetchEntity
	alias  string
	parent int // the source that ON compares with
}

// sqlParser reads one statement.
type sqlParser struct {
	toks    []sqlToken
	at      int
	depth   int
	sources []*sqlSource
	items   []sqlItem
	grouped bool
	f       fetchXML
	none    bool // TOP 0
}

// sqlItem is one column of SELECT, which is read before the tables are known.
type sqlItem struct {
	fn       string // COUNT, SUM, AVG, MIN or MAX
	distinct bool
	all      bool // COUNT(*)
	table    string
	column   string
	alias    string
}

// getSQL answers set?sql=…
func (c *call) getSQL(t *table, text string) error {
	f, err := c.parseSQL(text)
	if err != nil {
		return err
	}
	if f.Entity.Name != t.LogicalName {
		return errStatement("The table '%s' of the statement is not that of the entity set '%s'.", clip(f.Entity.Name), t.EntitySet)
	}
	if err := f.valid(); err != nil {
		return err
	}
	f.linked = true
	if token, ok := c.option("$skiptoken"); ok {
		if err := f.resume(token); err != nil {
			return err
		}
	}
	q, err := c.bindFetch(f)
	if err != nil {
		return err
	}
	if isTrue(f.Aggregate) {
		return q.answerAggregate()
	}
	return q.answerRows()
}

// resume sets the page that a nextLink's token leads to.
func (f *fetchXML) resume(token string) error {
	var c struct {
		Page  int    `xml:"pagenumber,attr"`
		Inner string `xml:"pagingcookie,attr"`
	}
	err := xml.Unmarshal([]byte(token), &c)
	for range 2 {
		if err == nil {
			c.Inner, err = url.QueryUnescape(c.Inner)
		}
	}
	if err != nil || c.Page < 2 {
		return errURL("Malformed XML in the Paging Cookie")
	}
	f.Page, f.Cookie = c.Page, c.Inner
	return nil
}

func (c *call) parseSQL(text string) (*fetchXML, error) {
	toks, err := lexSQL(text)
	if err != nil {
		return nil, err
	}
	p := &sqlParser{toks: toks}
	if err := p.statement(); err != nil {
		return nil, err
	}
	for _, item := range p.items {
		if err := p.addItem(item, c.srv.model); err != nil {
			return nil, err
		}
	}
	if p.none {
		root := c.srv.model.byName[p.sources[0].entity.Name]
		if root == nil {
			return nil, errNoTable(clip(p.sources[0].entity.Name))
		}
		p.sources[0].entity.Filters = append(p.sources[0].entity.Filters, fetchFilter{Conditions: []fetchCondition{{Attribute: root.PrimaryID, Operator: "null"}}})
	}
	for i := len(p.sources) - 1; i > 0; i-- { // children before their parents
		up := &p.sources[p.sources[i].parent].entity
		up.Links = append([]fetchEntity{p.sources[i].entity}, up.Links...)
	}
	p.f.Entity = p.sources[0].entity
	return &p.f, nil
}

// statement reads SELECT … to its end.
func (p *sqlParser) statement() error {
	if !p.word("SELECT") {
		return p.fail()
	}
	if err := p.head(); err != nil {
		return err
	}
	if err := p.from(); err != nil {
		return err
	}
	if p.word("WHERE") {
		f, err := p.or()
		if err != nil {
			return err
		}
		p.sources[0].entity.Filters = []fetchFilter{f}
	}
	if p.word("GROUP") {
		if err := p.groupBy(); err != nil {
			return err
		}
	}
	if p.word("ORDER") {
		if err := p.orderBy(); err != nil {
			return err
		}
	}
	p.punct(";")
	if p.at < len(p.toks) {
		return p.fail()
	}
	return nil
}

func (p *sqlParser) head() error {
	for {
		switch {
		case p.word("DISTINCT"):
			p.f.Distinct = "true"
			continue
		case p.word("TOP"):
			p.punct("(")
			n, err := strconv.Atoi(p.number())
			p.punct(")")
			if err != nil || n < 0 || n > maxPage {
				return errStatement("TOP takes a number up to %d.", maxPage)
			}
			p.f.Top, p.none = n, n == 0
			continue
		}
		break
	}
	for {
		if p.punct("*") {
			return errStatement("SELECT * is not supported. Name the columns.")
		}
		item, err := p.item()
		if err != nil {
			return err
		}
		p.items = append(p.items, item)
		if !p.punct(",") {
			return nil
		}
	}
}

func (p *sqlParser) item() (item sqlItem, err error) {
	name := p.name()
	if name == "" {
		return item, p.fail()
	}
	if p.punct("(") {
		item.fn = strings.ToUpper(name)
		if fetchMethods[strings.ToLower(name)] == "" || strings.EqualFold(name, "countcolumn") {
			return item, errStatement("The function '%s' is not supported.", clip(name))
		}
		item.distinct = p.word("DISTINCT")
		if item.fn == "COUNT" && p.punct("*") {
			item.all = true
		} else if item.table, item.column, err = p.column(p.name()); err != nil {
			return item, err
		}
		if !p.punct(")") {
			return item, p.fail()
		}
		p.f.Aggregate = "true"
	} else if item.table, item.column, err = p.column(name); err != nil {
		return item, err
	}
	if p.word("AS") {
		if item.alias = p.name(); item.alias == "" {
			return item, p.fail()
		}
	} else if !p.isWord("FROM") {
		item.alias = p.name()
	}
	return item, nil
}

// column reads what may follow a name: a dot and the column's own.
func (p *sqlParser) column(first string) (table, column string, err error) {
	if first == "" {
		return "", "", p.fail()
	}
	if !p.punct(".") {
		return "", strings.ToLower(first), nil
	}
	second := p.name()
	if second == "" {
		return "", "", p.fail()
	}
	return first, strings.ToLower(second), nil
}

func (p *sqlParser) from() error {
	if !p.word("FROM") {
		return p.fail()
	}
	if err := p.source(); err != nil {
		return err
	}
	for {
		kind := "inner"
		switch {
		case p.word("LEFT"):
			p.word("OUTER")
			kind = "outer"
		case p.word("INNER"):
		case p.isWord("JOIN"):
		default:
			return nil
		}
		if !p.word("JOIN") {
			return p.fail()
		}
		if err := p.source(); err != nil {
			return err
		}
		if err := p.on(kind); err != nil {
			return err
		}
	}
}

func (p *sqlParser) source() error {
	name := p.name()
	if name == "" {
		return p.fail()
	}
	if strings.EqualFold(name, "dbo") && p.punct(".") {
		name = p.name()
	}
	s := &sqlSource{entity: fetchEntity{Name: strings.ToLower(name)}, alias: strings.ToLower(name)}
	if p.word("AS") || !p.isWord("INNER", "LEFT", "RIGHT", "FULL", "CROSS", "JOIN", "ON", "WHERE", "GROUP", "ORDER", "OFFSET", "UNION", "HAVING") {
		if alias := p.name(); alias != "" {
			s.alias = strings.ToLower(alias)
		}
	}
	if len(p.sources) > 0 {
		s.entity.Alias = s.alias
	}
	for _, other := range p.sources {
		if other.alias == s.alias {
			return errStatement("The tables have the same exposed name '%s'. Use an alias.", clip(s.alias))
		}
	}
	p.sources = append(p.sources, s)
	return nil
}

// on reads x.a = y.b, of which one is the table that was just named.
func (p *sqlParser) on(kind string) error {
	if !p.word("ON") {
		return p.fail()
	}
	t1, c1, err := p.column(p.name())
	if err != nil {
		return err
	}
	if !p.punct("=") {
		return p.fail()
	}
	t2, c2, err := p.column(p.name())
	if err != nil {
		return err
	}
	i, err := p.find(t1)
	if err != nil {
		return err
	}
	j, err := p.find(t2)
	if err != nil {
		return err
	}
	last := len(p.sources) - 1
	if j == last {
		i, j, c1, c2 = j, i, c2, c1
	}
	if i != last || j == last {
		return errStatement("ON must compare a column of the table that is joined with one of a table before it.")
	}
	s := p.sources[last]
	s.parent, s.entity.From, s.entity.To, s.entity.LinkType = j, c1, c2, kind
	return nil
}

// find is the source that a name or alias means; without a name the first.
func (p *sqlParser) find(name string) (int, error) {
	for i, s := range p.sources {
		if name == "" || s.alias == strings.ToLower(name) {
			return i, nil
		}
	}
	return 0, errStatement("The multi-part identifier '%s' could not be bound.", clip(name))
}

func (p *sqlParser) groupBy() error {
	if !p.word("BY") {
		return p.fail()
	}
	p.grouped, p.f.Aggregate = true, "true"
	for {
		table, column, err := p.column(p.name())
		if err != nil {
			return err
		}
		i, err := p.find(table)
		if err != nil {
			return err
		}
		found := false
		for _, item := range p.items {
			k, err := p.find(item.table)
			found = found || err == nil && item.fn == "" && k == i && item.column == column
		}
		if !found {
			return errStatement("The column '%s' of GROUP BY is not selected.", clip(column))
		}
		if !p.punct(",") {
			return nil
		}
	}
}

// addItem puts a column of SELECT into its table's entity.
func (p *sqlParser) addItem(item sqlItem, m *model) error {
	i, err := p.find(item.table)
	if err != nil {
		return err
	}
	s := p.sources[i]
	a := fetchAttribute{Name: item.column, Alias: item.alias}
	if i > 0 && a.Alias == "" {
		a.Alias = item.column
	}
	switch {
	case item.all:
		t := m.byName[s.entity.Name]
		if t == nil {
			return errNoTable(clip(s.entity.Name))
		}
		a.Name, a.Aggregate, a.Alias = t.PrimaryID, "count", or(item.alias, "count")
	case item.fn == "COUNT":
		a.Aggregate, a.Alias = "countcolumn", or(item.alias, "count_"+item.column)
		if item.distinct {
			a.Distinct = "true"
		}
	case item.fn != "":
		a.Aggregate, a.Alias = strings.ToLower(item.fn), or(item.alias, strings.ToLower(item.fn)+"_"+item.column)
	case isTrue(p.f.Aggregate):
		if !p.grouped {
			return errStatement("Column '%s' is invalid in the select list because it is not contained in either an aggregate function or the GROUP BY clause.", clip(item.column))
		}
		a.GroupBy, a.Alias = "true", or(item.alias, item.column)
	}
	s.entity.Attributes = append(s.entity.Attributes, a)
	return nil
}

// orderBy reads the columns and what may follow them, OFFSET … FETCH.
func (p *sqlParser) orderBy() error {
	if !p.word("BY") {
		return p.fail()
	}
	p.f.RawOrder = "true"
	for {
		table, column, err := p.column(p.name())
		if err != nil {
			return err
		}
		o := fetchOrder{Attribute: column}
		for _, item := range p.items {
			if table == "" && strings.EqualFold(item.alias, column) {
				table, o.Attribute = item.table, item.column
				if isTrue(p.f.Aggregate) {
					o.Alias = item.alias
				}
			} else if isTrue(p.f.Aggregate) && item.fn == "" && item.column == column && item.table == table {
				o.Alias = or(item.alias, item.column)
			}
		}
		i, err := p.find(table)
		if err != nil {
			return err
		}
		if i > 0 {
			o.EntityName = p.sources[i].alias
		}
		if p.word("DESC") {
			o.Descending = "true"
		} else {
			p.word("ASC")
		}
		p.sources[0].entity.Orders = append(p.sources[0].entity.Orders, o)
		if !p.punct(",") {
			break
		}
	}
	if !p.word("OFFSET") {
		return nil
	}
	skip, err := strconv.Atoi(p.number())
	if err != nil || !p.word("ROWS") && !p.word("ROW") {
		return p.fail()
	}
	p.f.offset, p.f.Top = skip, maxPage
	if !p.word("FETCH") {
		return nil
	}
	if !p.word("NEXT") && !p.word("FIRST") {
		return p.fail()
	}
	n, err := strconv.Atoi(p.number())
	if err != nil || n < 1 || n > maxPage || !p.word("ROWS") && !p.word("ROW") || !p.word("ONLY") {
		return p.fail()
	}
	p.f.Top = n
	return nil
}
