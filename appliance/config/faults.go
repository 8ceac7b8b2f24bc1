package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Fault is one thing wrong with the settings.
type Fault struct {
	File    string `json:"file,omitempty"`   // the file's name, or the environment variable; "" for a value set by the caller
	Line    int    `json:"line,omitempty"`   // from 1; 0 if the fault has no line
	Column  int    `json:"column,omitempty"` // from 1; 0 if the fault has no line
	Key     string `json:"key,omitempty"`    // path of the key, such as "target.url"; "" for the file as a whole
	Message string `json:"message"`          // what is wrong, naming the key; never shows a secret
	Hint    string `json:"hint,omitempty"`   // what to do about it; may be empty
}

// Error returns the fault as one line: file:line:column: message; hint.
func (f Fault) Error() string {
	var b strings.Builder
	if f.File != "" {
		b.WriteString(f.File)
		if f.Line > 0 {
			fmt.Fprintf(&b, ":%d:%d", f.Line, f.Column)
		}
		b.WriteString(": ")
	}
	b.WriteString(f.Message)
	if f.Hint != "" {
		b.WriteString("; ")
		b.WriteString(f.Hint)
	}
	return b.String()
}

// Faults is everything wrong with the settings, in the order of the file. As an error
// it is one line a fault.
type Faults []Fault

// Error returns the faults, one a line.
func (fs Faults) Error() string {
	lines := make([]string, len(fs))
	for i, f := range fs {
		lines[i] = f.Error()
	}
	return strings.Join(lines, "\n")
}

// orNil sorts the faults by line and returns them as an error, or nil if there are none.
func (fs Faults) orNil() error {
	if len(fs) == 0 {
		return nil
	}
	slices.SortStableFunc(fs, func(a, b Fault) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	return fs
}

// origin is where a key was read.
type origin struct {
	file         string
	line, column int
}

// FaultAt returns a fault of the setting at a path such as sources.orders, with the
// place where the file has it.
func (c *Config) FaultAt(path, message string) Fault {
	f := Fault{Key: path, Message: message}
	if o, ok := c.origins[path]; ok {
		f.File, f.Line, f.Column = o.file, o.line, o.column
	}
	return f
}
