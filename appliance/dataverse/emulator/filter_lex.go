package emulator

import (
	"encoding/json"
	"strings"

	"dvmigrate/appliance/dataverse/schema"
)

type tokenKind uint8

const (
	tokEnd tokenKind = iota
	tokName
	tokLiteral
	tokAlias // @p
	tokPunct // ( ) , / : = [ ]
)

// token is a piece of an expression; lit is set for literals.
type token struct {
	kind tokenKind
	text string
	lit  literal
	at   int
}

// lexer cuts an expression into tokens. Words are names unless they have the
// form of a literal: null, true, 12.5, a GUID, a date.
type lexer struct {
	src string
	pos int
}

func (l *lexer) next() (token, error) {
	for l.pos < len(l.src) && (l.src[l.pos] == ' ' || l.src[l.pos] == '\t' || l.src[l.pos] == '\r' || l.src[l.pos] == '\n') {
		l.pos++
	}
	if l.pos == len(l.src) {
		return token{kind: tokEnd, at: l.pos}, nil
	}
	at := l.pos
	switch c := l.src[at]; {
	case strings.IndexByte("(),/:=[]", c) >= 0:
		l.pos++
		return token{kind: tokPunct, text: l.src[at:l.pos], at: at}, nil
	case c == '\'':
		s, err := l.quoted()
		return token{kind: tokLiteral, lit: literal{kind: litString, text: s}, at: at}, err
	case c == '"': // in the array of PropertyValues, which is JSON
		s, err := l.jsonString()
		return token{kind: tokLiteral, lit: literal{kind: litString, text: s}, at: at}, err
	case c == '@':
		l.pos++
		return token{kind: tokAlias, text: "@" + l.word(), at: at}, nil
	case wordByte(c):
		return l.wordToken(at)
	}
	return token{}, errSyntax(l.src, at)
}

// quoted reads a string; a quote inside it is doubled.
func (l *lexer) quoted() (string, error) {
	var b strings.Builder
	for i := l.pos + 1; i < len(l.src); i++ {
		if l.src[i] != '\'' {
			b.WriteByte(l.src[i])
			continue
		}
		if i+1 < len(l.src) && l.src[i+1] == '\'' {
			b.WriteByte('\'')
			i++
			continue
		}
		l.pos = i + 1
		return b.String(), nil
	}
	return "", l.unterminated()
}

func (l *lexer) jsonString() (string, error) {
	for i := l.pos + 1; i < len(l.src); i++ {
		switch l.src[i] {
		case '\\':
			i++
		case '"':
			var s string
			if json.Unmarshal([]byte(l.src[l.pos:i+1]), &s) != nil {
				return "", errSyntax(l.src, l.pos)
			}
			l.pos = i + 1
			return s, nil
		}
	}
	return "", l.unterminated()
}

func (l *lexer) unterminated() error {
	return errURL("There is an unterminated string literal at position %d in '%s'.", len(l.src), clip(l.src))
}

func (l *lexer) wordToken(at int) (token, error) {
	w := l.word()
	// A time's colons and a zone's plus belong to it.
	if len(w) >= 11 && looksLikeDate(w[:10]) && (w[10] == 'T' || w[10] == 't') {
		for l.pos < len(l.src) && (wordByte(l.src[l.pos]) || l.src[l.pos] == ':' || l.src[l.pos] == '+') {
			l.pos++
		}
		return token{kind: tokLiteral, lit: literal{kind: litTime, text: l.src[at:l.pos]}, at: at}, nil
	}
	if l.pos < len(l.src) && l.src[l.pos] == '\'' && strings.ContainsRune(w, '.') {
		s, err := l.quoted()
		return token{kind: tokLiteral, lit: literal{kind: litEnum, text: s}, at: at}, err
	}
	if lit, ok := bareLiteral(w); ok {
		return token{kind: tokLiteral, lit: lit, at: at}, nil
	}
	return token{kind: tokName, text: w, at: at}, nil
}

// word reads letters, digits and what names, numbers and GUIDs have beside them.
func (l *lexer) word() string {
	start := l.pos
	for l.pos < len(l.src) && wordByte(l.src[l.pos]) {
		l.pos++
	}
	return l.src[start:l.pos]
}

func wordByte(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' || c == '-' || c == '.' || c == '$' || c >= 0x80
}

// bareLiteral reads a literal without quotes, but for times.
func bareLiteral(w string) (literal, bool) {
	switch w {
	case "null":
		return literal{}, true
	case "true", "false":
		return literal{kind: litBool, text: w}, true
	}
	if len(w) == 36 {
		if _, err := schema.ParseGUID(w); err == nil {
			return literal{kind: litGUID, text: w}, true
		}
	}
	if looksLikeDate(w) {
		return literal{kind: litDate, text: w}, true
	}
	if looksLikeNumber(w) {
		return literal{kind: litNumber, text: w}, true
	}
	return literal{}, false
}

func looksLikeDate(w string) bool {
	if len(w) != 10 || w[4] != '-' || w[7] != '-' {
		return false
	}
	for i := range len(w) {
		if i != 4 && i != 7 && (w[i] < '0' || w[i] > '9') {
			return false
		}
	}
	return true
}

// looksLikeNumber accepts an optional sign, digits, a fraction and an exponent.
func looksLikeNumber(w string) bool {
	w = strings.TrimPrefix(w, "-")
	digits := func() int {
		n := 0
		for n < len(w) && w[n] >= '0' && w[n] <= '9' {
			n++
		}
		w = w[n:]
		return n
	}
	if digits() == 0 {
		return false
	}
	if strings.HasPrefix(w, ".") {
		w = w[1:]
		if digits() == 0 {
			return false
		}
	}
	if w != "" && (w[0] == 'e' || w[0] == 'E') {
		w = strings.TrimPrefix(w[1:], "-")
		if digits() == 0 {
			return false
		}
	}
	return w == ""
}
