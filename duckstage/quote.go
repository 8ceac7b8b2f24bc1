package duckstage

import "strings"

// Quote writes text as an SQL literal.
func Quote(text string) string { return "'" + strings.ReplaceAll(text, "'", "''") + "'" }

// Ident writes name as a quoted SQL identifier.
func Ident(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }

// One returns query without what follows its first statement's end: comments, spaces
// and semicolons. It returns a SQLError when a second statement follows, or when there
// is none. It reads the text only as far as it must: quotes, comments and semicolons.
func One(query string) (string, error) {
	end := statementEnd(query, 0)
	rest := end
	for rest < len(query) && query[rest] == ';' {
		rest++
		rest += skipBlank(query[rest:])
	}
	if rest < len(query) {
		line, col := lineColumn(query, rest)
		return "", &SQLError{Kind: "Parser", Message: "only one statement is allowed, and here a second one begins", Line: line, Column: col}
	}
	if skipBlank(query[:end]) == end {
		return "", &SQLError{Kind: "Parser", Message: "there is no statement", Line: 1, Column: 1}
	}
	return query[:end], nil
}

// statementEnd finds the first semicolon from at that is not inside quotes or a
// comment; the length of query when there is none.
func statementEnd(query string, at int) int {
	for at < len(query) {
		switch n := skipBlank(query[at:]); {
		case n > 0:
			at += n
		case query[at] == ';':
			return at
		default:
			at += tokenLength(query, at)
		}
	}
	return len(query)
}

// Uncommented is a text of SQL with a blank for each of its comments, and for spaces.
func Uncommented(query string) string {
	var b strings.Builder
	for at := 0; at < len(query); {
		if n := skipBlank(query[at:]); n > 0 {
			b.WriteByte(' ')
			at += n
			continue
		}
		n := tokenLength(query, at)
		b.WriteString(query[at : at+n])
		at += n
	}
	return b.String()
}

// skipBlank is the length of the spaces and comments that text begins with.
func skipBlank(text string) int {
	at := 0
	for at < len(text) {
		switch {
		case strings.IndexByte(" \t\r\n\f\v", text[at]) >= 0:
			at++
		case strings.HasPrefix(text[at:], "--"):
			n := strings.IndexByte(text[at:], '\n')
			if n < 0 {
				return len(text)
			}
			at += n
		case strings.HasPrefix(text[at:], "/*"):
			at += commentLength(text[at:])
		default:
			return at
		}
	}
	return at
}

// commentLength is the length of the block comment that text begins with; they nest.
func commentLength(text string) int {
	depth := 0
	for at := 0; at < len(text); at++ {
		switch {
		case strings.HasPrefix(text[at:], "/*"):
			depth++
			at++
		case strings.HasPrefix(text[at:], "*/"):
			depth--
			at++
			if depth == 0 {
				return at + 1
			}
		}
	}
	return len(text)
}

// tokenLength is the length of what begins at at: a quoted text, or one byte.
func tokenLength(query string, at int) int {
	text := query[at:]
	switch text[0] {
	case '\'':
		// E'it\'s' takes backslashes; other strings only double their quotes.
		escapes := at > 0 && (query[at-1] == 'e' || query[at-1] == 'E') && (at == 1 || !isWord(query[at-2]))
		return quotedLength(text, '\'', escapes)
	case '"':
		return quotedLength(text, '"', false)
	case '$':
		if at > 0 && isWord(query[at-1]) {
			return 1
		}
		end := strings.IndexByte(text[1:], '$')
		if end < 0 || strings.ContainsFunc(text[1:end+1], func(r rune) bool { return r < 128 && !isWord(byte(r)) }) {
			return 1
		}
		tag := text[:end+2]
		if n := strings.Index(text[len(tag):], tag); n >= 0 {
			return 2*len(tag) + n
		}
		return len(text)
	}
	return 1
}

func quotedLength(text string, quote byte, escapes bool) int {
	for at := 1; at < len(text); at++ {
		switch {
		case escapes && text[at] == '\\':
			at++
		case text[at] == quote && at+1 < len(text) && text[at+1] == quote:
			at++
		case text[at] == quote:
			return at + 1
		}
	}
	return len(text)
}

func isWord(c byte) bool {
	return c == '_' || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}

// Statement is one statement of a text, with the place in it where it begins.
type Statement struct {
	SQL          string // without comments before it and the semicolon after it
	Line, Column int
}

// Statements cuts a text at the semicolons between its statements.
func Statements(text string) []Statement {
	var out []Statement
	for at := 0; at < len(text); {
		at += skipBlank(text[at:])
		end := statementEnd(text, at)
		if end > at {
			line, col := lineColumn(text, at)
			out = append(out, Statement{SQL: text[at:end], Line: line, Column: col})
		}
		at = end + 1
	}
	return out
}
