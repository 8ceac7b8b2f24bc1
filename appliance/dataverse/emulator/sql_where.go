package emulator

import "strings"

// sqlToken is a word, a number, a text in quotes, or a sign.
type sqlToken struct {
	kind byte // 'w', 'n', 's' or 'p'
	text string
}

// lexSQL cuts a statement into tokens. Names may stand in [] or "".
func lexSQL(text string) ([]sqlToken, error) {
	var toks []sqlToken
	for i := 0; i < len(text); {
		c := text[i]
		switch {
		case c == ' ' || c == '\t' || c == '\r' || c == '\n':
			i++
		case c == '\'' || (c == 'N' || c == 'n') && i+1 < len(text) && text[i+1] == '\'':
			if c != '\'' {
				i++
			}
			end := literalEnd(text[i:])
			if end < 0 {
				return nil, errStatement("Unclosed quotation mark after the character string '%s'.", clip(text[i+1:]))
			}
			toks = append(toks, sqlToken{'s', strings.ReplaceAll(text[i+1:i+end-1], "''", "'")})
			i += end
		case c == '[' || c == '"':
			closing := map[byte]byte{'[': ']', '"': '"'}[c]
			end := strings.IndexByte(text[i+1:], closing)
			if end < 1 {
				return nil, errStatement("Incorrect syntax near '%s'.", clip(text[i:]))
			}
			toks = append(toks, sqlToken{'w', text[i+1 : i+1+end]})
			i += end + 2
		case c >= '0' && c <= '9' || c == '-' && i+1 < len(text) && text[i+1] >= '0' && text[i+1] <= '9':
			start := i
			for i++; i < len(text) && (text[i] >= '0' && text[i] <= '9' || text[i] == '.'); i++ {
			}
			toks = append(toks, sqlToken{'n', text[start:i]})
		case c == '_' || c|0x20 >= 'a' && c|0x20 <= 'z':
			start := i
			for i++; i < len(text) && (text[i] == '_' || text[i]|0x20 >= 'a' && text[i]|0x20 <= 'z' || text[i] >= '0' && text[i] <= '9'); i++ {
			}
			toks = append(toks, sqlToken{'w', text[start:i]})
		case i+1 < len(text) && strings.Contains("<> <= >= !=", text[i:i+2]) && text[i+1] != ' ' && c != ' ':
			toks = append(toks, sqlToken{'p', text[i : i+2]})
			i += 2
		case strings.IndexByte("(),.*=<>;", c) >= 0:
			toks = append(toks, sqlToken{'p', text[i : i+1]})
			i++
		default:
			return nil, errStatement("Incorrect syntax near '%s'.", clip(text[i:]))
		}
	}
	return toks, nil
}

func (p *sqlParser) fail() error {
	if p.at >= len(p.toks) {
		return errStatement("Incorrect syntax near the end of the statement.")
	}
	return errStatement("Incorrect syntax near '%s'.", clip(p.toks[p.at].text))
}

// isWord reports whether one of the words comes next.
func (p *sqlParser) isWord(words ...string) bool {
	if p.at >= len(p.toks) || p.toks[p.at].kind != 'w' {
		return false
	}
	for _, w := range words {
		if strings.EqualFold(p.toks[p.at].text, w) {
			return true
		}
	}
	return false
}

// word takes a word if it comes next.
func (p *sqlParser) word(w string) bool {
	ok := p.isWord(w)
	if ok {
		p.at++
	}
	return ok
}

func (p *sqlParser) punct(s string) bool {
	ok := p.at < len(p.toks) && p.toks[p.at] == sqlToken{'p', s}
	if ok {
		p.at++
	}
	return ok
}

func (p *sqlParser) take(kind byte) string {
	if p.at >= len(p.toks) || p.toks[p.at].kind != kind {
		return ""
	}
	p.at++
	return p.toks[p.at-1].text
}

// name takes a name, number a number; empty when something else comes next.
func (p *sqlParser) name() string   { return p.take('w') }
func (p *sqlParser) number() string { return p.take('n') }

// or reads conditions with OR between them, and reads those with AND in them.
func (p *sqlParser) or() (fetchFilter, error) {
	if p.depth++; p.depth > maxFetchDepth {
		return fetchFilter{}, errStatement("The conditions nest too deep.")
	}
	defer func() { p.depth-- }()
	return p.terms("or", "OR", func() (fetchFilter, error) { return p.terms("and", "AND", p.term) })
}

func (p *sqlParser) terms(kind, word string, next func() (fetchFilter, error)) (fetchFilter, error) {
	f := fetchFilter{Type: kind}
	for {
		inner, err := next()
		if err != nil {
			return f, err
		}
		f.Filters = append(f.Filters, inner)
		if !p.word(word) {
			if len(f.Filters) == 1 {
				return f.Filters[0], nil
			}
			return f, nil
		}
	}
}

func (p *sqlParser) term() (fetchFilter, error) {
	if p.punct("(") {
		f, err := p.or()
		if err == nil && !p.punct(")") {
			err = p.fail()
		}
		return f, err
	}
	c, err := p.condition()
	return fetchFilter{Type: "and", Conditions: []fetchCondition{c}}, err
}

var sqlComparators = map[string]string{"=": "eq", "<>": "ne", "!=": "ne", "<": "lt", "<=": "le", ">": "gt", ">=": "ge"}

func (p *sqlParser) condition() (c fetchCondition, err error) {
	table, column, err := p.column(p.name())
	if err != nil {
		return c, err
	}
	i, err := p.find(table)
	if err != nil {
		return c, err
	}
	c.Attribute = column
	if i > 0 {
		c.EntityName = p.sources[i].alias
	}
	if p.word("IS") {
		c.Operator = "null"
		if p.word("NOT") {
			c.Operator = "not-null"
		}
		if !p.word("NULL") {
			err = p.fail()
		}
		return c, err
	}
	not := ""
	if p.word("NOT") {
		not = "not-"
	}
	switch {
	case p.word("LIKE"):
		c.Operator = not + "like"
		return c, p.value(&c)
	case p.word("IN"):
		c.Operator = not + "in"
		if !p.punct("(") {
			return c, p.fail()
		}
		for {
			if err := p.value(&c); err != nil || p.punct(")") {
				return c, err
			}
			if !p.punct(",") {
				return c, p.fail()
			}
		}
	case p.word("BETWEEN"):
		c.Operator = not + "between"
		if err := p.value(&c); err != nil {
			return c, err
		}
		if !p.word("AND") {
			return c, p.fail()
		}
		return c, p.value(&c)
	case not == "":
		if c.Operator = sqlComparators[p.take('p')]; c.Operator != "" {
			return c, p.value(&c)
		}
		p.at--
	}
	return c, p.fail()
}

// value adds a literal, or the column that is compared with, to a condition.
func (p *sqlParser) value(c *fetchCondition) error {
	switch {
	case p.at < len(p.toks) && (p.toks[p.at].kind == 's' || p.toks[p.at].kind == 'n'):
		c.Values = append(c.Values, p.toks[p.at].text)
		p.at++
		return nil
	case p.isWord("NULL") || c.Operator == "in" || c.Operator == "not-in" || strings.HasSuffix(c.Operator, "between"):
		return p.fail()
	}
	table, column, err := p.column(p.name())
	if err != nil {
		return err
	}
	i, err := p.find(table)
	c.ValueOf = column
	if i > 0 {
		c.ValueOf = p.sources[i].alias + "." + column
	}
	return err
}
