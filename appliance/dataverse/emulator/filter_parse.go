package emulator

import (
	"strings"
)

// The bounds of an expression: it is read by recursion, and a URL inside a batch
// may have 65,536 characters (section 1.1).
const (
	maxNesting = 100
	maxTerms   = 20_000
)

// parser reads an expression by recursive descent:
//
//	or         = and { "or" and }
//	and        = unary { "and" unary }
//	unary      = "not" unary | primary
//	primary    = "(" or ")" | function | lambda | operand [ op operand ]
//	function   = ("contains" | "startswith" | "endswith") "(" operand "," operand ")"
//	           | "Microsoft.Dynamics.CRM." name "(" arg { "," arg } ")"
//	lambda     = path "/" ("any" | "all") "(" [ variable ":" or ] ")"
//	operand    = path | literal | alias
type parser struct {
	lex     lexer
	tok     token
	depth   int
	terms   int
	aliases map[string]string // @p: its text; a missing one is null
	scope   []string          // lambda variables
}

// parseFilter reads the text of a $filter.
func parseFilter(text string, aliases map[string]string) (node, error) {
	p := &parser{lex: lexer{src: text}, aliases: aliases}
	if err := p.advance(); err != nil {
		return nil, err
	}
	n, err := p.or()
	if err != nil {
		return nil, err
	}
	if p.tok.kind != tokEnd {
		return nil, p.syntax()
	}
	return n, nil
}

func (p *parser) advance() (err error) {
	p.tok, err = p.lex.next()
	return err
}

func (p *parser) syntax() error { return errSyntax(p.lex.src, p.tok.at) }

func (p *parser) is(punct string) bool { return p.tok.kind == tokPunct && p.tok.text == punct }

// accept moves on when the token is the punctuation mark.
func (p *parser) accept(punct string) (bool, error) {
	if !p.is(punct) {
		return false, nil
	}
	return true, p.advance()
}

func (p *parser) expect(punct string) error {
	ok, err := p.accept(punct)
	if err == nil && !ok {
		err = p.syntax()
	}
	return err
}

func (p *parser) word(w string) bool { return p.tok.kind == tokName && p.tok.text == w }

func (p *parser) or() (node, error)  { return p.join("or", p.and) }
func (p *parser) and() (node, error) { return p.join("and", p.unary) }

// join reads terms with the word between them.
func (p *parser) join(word string, term func() (node, error)) (node, error) {
	first, err := term()
	if err != nil {
		return nil, err
	}
	terms := []node{first}
	for p.word(word) {
		if p.terms++; p.terms > maxTerms {
			return nil, errURL("The node count limit of '%d' has been exceeded.", maxTerms)
		}
		if err := p.advance(); err != nil {
			return nil, err
		}
		t, err := term()
		if err != nil {
			return nil, err
		}
		terms = append(terms, t)
	}
	if len(terms) == 1 {
		return first, nil
	}
	return logical{or: word == "or", terms: terms}, nil
}

func (p *parser) unary() (node, error) {
	if p.depth++; p.depth > maxNesting {
		return nil, errURL("Recursion depth exceeded allowed limit.")
	}
	defer func() { p.depth-- }()
	if p.word("not") {
		if err := p.advance(); err != nil {
			return nil, err
		}
		x, err := p.unary()
		return negation{x}, err
	}
	return p.primary()
}

func (p *parser) primary() (node, error) {
	if ok, err := p.accept("("); err != nil {
		return nil, err
	} else if ok {
		n, err := p.or()
		if err != nil {
			return nil, err
		}
		return n, p.expect(")")
	}
	if p.tok.kind != tokName {
		return p.comparison(operand{})
	}
	names, err := p.path()
	if err != nil {
		return nil, err
	}
	if p.is("(") {
		return p.called(names)
	}
	if names, err = p.unscope(names); err != nil {
		return nil, err
	}
	return p.comparison(operand{path: names})
}

// path reads names with slashes between them.
func (p *parser) path() (path, error) {
	var names path
	for {
		if p.tok.kind != tokName {
			return nil, p.syntax()
		}
		names = append(names, p.tok.text)
		if err := p.advance(); err != nil {
			return nil, err
		}
		if ok, err := p.accept("/"); err != nil || !ok {
			return names, err
		}
	}
}

// unscope takes the lambda's variable off the front of a path. Inside a lambda
// only the variable's own properties may be named: the service has no condition
// that compares the two ends of a collection.
func (p *parser) unscope(names path) (path, error) {
	n := len(p.scope)
	if n == 0 {
		return names, nil
	}
	if len(names) < 2 || names[0] != p.scope[n-1] {
		return nil, errURL("The path '%s' inside a lambda expression does not begin with its variable '%s'.", names, p.scope[n-1])
	}
	return names[1:], nil
}

// called reads what follows a name and an open bracket.
func (p *parser) called(names path) (node, error) {
	last := names[len(names)-1]
	switch {
	case last == "any" || last == "all":
		return p.lambda(names[:len(names)-1], last == "all")
	case strings.HasPrefix(last, namespace) && (len(names) == 1 || len(names) == 2 && len(p.scope) > 0 && names[0] == p.scope[len(p.scope)-1]):
		return p.crmTest(strings.TrimPrefix(last, namespace))
	case len(names) > 1:
		return nil, p.syntax()
	case last == "contains" || last == "startswith" || last == "endswith":
		return p.stringTest(last)
	case last == "not": // not(x), without a blank
		return p.notCall()
	}
	return nil, errURL("An unknown function with name '%s' was found. This may also be a function import or a key lookup on a navigation property, which is not allowed.", last)
}

func (p *parser) notCall() (node, error) {
	n, err := p.primary()
	return negation{n}, err
}

func (p *parser) lambda(nav path, all bool) (node, error) {
	names, err := p.unscope(nav)
	if err != nil {
		return nil, err
	}
	if len(names) == 0 || len(names) > 2 || len(names) == 2 && !isType(names[1]) {
		return nil, unsupported("A lambda expression on the path '%s'", nav)
	}
	l := lambda{nav: strings.Join(names, "/"), all: all}
	if err := p.advance(); err != nil { // (
		return nil, err
	}
	if ok, err := p.accept(")"); err != nil || ok && !all {
		return l, err
	}
	if p.tok.kind != tokName {
		return nil, p.syntax()
	}
	l.variable = p.tok.text
	if err := p.advance(); err != nil {
		return nil, err
	}
	if err := p.expect(":"); err != nil {
		return nil, err
	}
	p.scope = append(p.scope, l.variable)
	body, err := p.or()
	p.scope = p.scope[:len(p.scope)-1]
	if err != nil {
		return nil, err
	}
	l.body = body
	return l, p.expect(")")
}

func (p *parser) stringTest(fn string) (node, error) {
	if err := p.advance(); err != nil { // (
		return nil, err
	}
	left, err := p.operand()
	if err != nil {
		return nil, err
	}
	if err := p.expect(","); err != nil {
		return nil, err
	}
	right, err := p.operand()
	if err != nil {
		return nil, err
	}
	return stringTest{fn, left, right}, p.expect(")")
}

// crmTest reads the named arguments of a query function.
func (p *parser) crmTest(fn string) (node, error) {
	t := crmTest{fn: fn}
	if err := p.advance(); err != nil { // (
		return nil, err
	}
	for {
		name := p.tok.text
		if p.tok.kind != tokName {
			return nil, p.syntax()
		}
		if err := p.advance(); err != nil {
			return nil, err
		}
		if err := p.expect("="); err != nil {
			return nil, err
		}
		lit, err := p.literal()
		if err != nil {
			return nil, err
		}
		switch {
		case name == "PropertyName" && lit.kind == litString:
			t.path = strings.Split(lit.text, "/")
			if n := len(p.scope); n > 0 && len(t.path) > 1 && t.path[0] == p.scope[n-1] {
				t.path = t.path[1:] // inside a lambda the variable may be left out
			}
		case name == "PropertyValues" && lit.kind == litList:
			t.values = lit.list
		case name == "PropertyValue" || name == "PropertyValue1" || name == "PropertyValue2":
			t.values = append(t.values, lit)
		default:
			return nil, errURL("Invalid parameter '%s' of function '%s%s'.", name, namespace, fn)
		}
		if ok, err := p.accept(","); err != nil {
			return nil, err
		} else if !ok {
			break
		}
	}
	if t.path == nil {
		return nil, errURL("The function '%s%s' needs the parameter 'PropertyName'.", namespace, fn)
	}
	return t, p.expect(")")
}

var comparators = map[string]bool{"eq": true, "ne": true, "gt": true, "ge": true, "lt": true, "le": true}

// comparison reads the operator and the right side; left is set when it was a path.
func (p *parser) comparison(left operand) (node, error) {
	var err error
	if left.path == nil {
		if left, err = p.operand(); err != nil {
			return nil, err
		}
	}
	if p.tok.kind != tokName || !comparators[p.tok.text] {
		if p.tok.kind == tokName && p.tok.text != "and" && p.tok.text != "or" {
			return nil, p.syntax()
		}
		return truth{left}, nil
	}
	op := p.tok.text
	if err := p.advance(); err != nil {
		return nil, err
	}
	right, err := p.operand()
	return comparison{op, left, right}, err
}

func (p *parser) operand() (operand, error) {
	if p.tok.kind == tokName {
		names, err := p.path()
		if err == nil && p.is("(") {
			err = errURL("An unknown function with name '%s' was found. This may also be a function import or a key lookup on a navigation property, which is not allowed.", names)
		}
		if err == nil {
			names, err = p.unscope(names)
		}
		return operand{path: names}, err
	}
	lit, err := p.literal()
	return operand{lit: lit}, err
}

func (p *parser) literal() (literal, error) {
	switch {
	case p.tok.kind == tokLiteral:
		lit := p.tok.lit
		return lit, p.advance()
	case p.tok.kind == tokAlias:
		lit, err := p.alias(p.tok.text)
		if err != nil {
			return literal{}, err
		}
		return lit, p.advance()
	case p.is("["):
		return p.list()
	}
	return literal{}, p.syntax()
}

// alias reads a parameter alias's value; one without a value is null (10.1).
func (p *parser) alias(name string) (literal, error) {
	text, ok := p.aliases[name]
	if !ok || text == "" {
		return literal{}, nil
	}
	inner := &parser{lex: lexer{src: text}}
	if err := inner.advance(); err != nil {
		return literal{}, err
	}
	lit, err := inner.literal()
	if err == nil && inner.tok.kind != tokEnd {
		err = inner.syntax()
	}
	return lit, err
}

func (p *parser) list() (literal, error) {
	l := literal{kind: litList, list: []literal{}}
	if err := p.advance(); err != nil { // [
		return l, err
	}
	if ok, err := p.accept("]"); err != nil || ok {
		return l, err
	}
	for {
		if p.tok.kind != tokLiteral {
			return l, p.syntax()
		}
		if l.list = append(l.list, p.tok.lit); len(l.list) > maxTerms {
			return l, errURL("The node count limit of '%d' has been exceeded.", maxTerms)
		}
		if err := p.advance(); err != nil {
			return l, err
		}
		if ok, err := p.accept(","); err != nil {
			return l, err
		} else if !ok {
			return l, p.expect("]")
		}
	}
}
