package duckstage

import "strings"

// Call is a call of a function in a text of SQL, as far as the text alone tells.
type Call struct {
	Name string // lower case
	Args []Text // the texts that the arguments begin with, up to the first that is none
	More bool   // there are arguments after those
}

// Text is a quoted text, with its place in the SQL, counted from 1.
type Text struct {
	Value        string
	Line, Column int
}

// Calls finds the calls of some functions, whose names are lower case. What stands in
// comments and in texts is none.
func Calls(query string, names ...string) []Call {
	var out []Call
	for at := 0; at < len(query); {
		if n := skipBlank(query[at:]); n > 0 {
			at += n
			continue
		}
		end := at
		for end < len(query) && isWord(query[end]) {
			end++
		}
		if end == at || at > 0 && (isWord(query[at-1]) || query[at-1] == '.') {
			at += max(1, tokenLength(query, at))
			continue
		}
		word := strings.ToLower(query[at:end])
		// A prefix of a text, as in E'it', leaves its quote to the next step.
		at = end
		open := end + skipBlank(query[end:])
		for _, name := range names {
			if word == name && open < len(query) && query[open] == '(' {
				out = append(out, callAt(query, name, open+1))
			}
		}
	}
	return out
}

// callAt reads the arguments that begin at at.
func callAt(query, name string, at int) Call {
	c := Call{Name: name}
	for {
		at += skipBlank(query[at:])
		if at >= len(query) || query[at] == ')' {
			return c
		}
		if query[at] != '\'' {
			c.More = true
			return c
		}
		n := tokenLength(query, at)
		after := at + n + skipBlank(query[at+n:])
		if n < 2 || after >= len(query) || query[after] != ',' && query[after] != ')' {
			c.More = true // an expression that only begins with a text
			return c
		}
		line, column := lineColumn(query, at+1)
		c.Args = append(c.Args, Text{strings.ReplaceAll(query[at+1:at+n-1], "''", "'"), line, column})
		if query[after] == ')' {
			return c
		}
		at = after + 1
	}
}
