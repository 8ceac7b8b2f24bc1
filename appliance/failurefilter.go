package appliance

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"dvmigrate/appliance/config"
	"dvmigrate/appliance/load"
	"dvmigrate/ledger"
)

// FailureFilter chooses failures; each empty part chooses all.
type FailureFilter struct {
	Tables  []string `json:"tables,omitempty"`
	Classes []string `json:"classes,omitempty"`
	Flags   []string `json:"flags,omitempty"` // E, H
	Codes   []string `json:"codes,omitempty"` // error codes of Dataverse, such as 0x80040237
	Keys    []string `json:"keys,omitempty"`  // legacy keys
	Limit   int      `json:"limit"`           // 0 = no limit
}

// validate refuses names that do not exist, with a suggestion.
func (f FailureFilter) validate(l *ledger.Ledger) error {
	known := tableNames(l)
	for _, name := range f.Tables {
		if !slices.Contains(known, name) {
			return unknownName("table", name, known)
		}
	}
	for _, name := range f.Classes {
		if !slices.Contains(load.ClassNames(), name) {
			return unknownName("class", name, load.ClassNames())
		}
	}
	for _, flag := range f.Flags {
		if flag != "E" && flag != "H" {
			return fmt.Errorf("flag %q is neither E (error) nor H (held back)", flag)
		}
	}
	for _, code := range f.Codes {
		if _, err := parseCode(code); err != nil {
			return err
		}
	}
	return nil
}

// parseCode reads an error code as Dataverse writes it, in hexadecimal digits.
func parseCode(s string) (uint32, error) {
	n, err := strconv.ParseUint(strings.TrimPrefix(strings.ToLower(s), "0x"), 16, 32)
	if err != nil {
		return 0, fmt.Errorf("%q is no error code of Dataverse, such as 0x80040237", s)
	}
	return uint32(n), nil
}

// tableNames are the tables that the ledger knows.
func tableNames(l *ledger.Ledger) []string {
	var names []string
	for _, t := range l.Tables() {
		names = append(names, t.Name)
	}
	return names
}

func unknownName(what, name string, known []string) error {
	if near := config.Nearest(name, known); near != "" {
		return fmt.Errorf("no %s %q; did you mean %s?", what, name, near)
	}
	return fmt.Errorf("no %s %q; there are %s", what, name, strings.Join(known, ", "))
}

func (f FailureFilter) classes() []uint8 {
	var out []uint8
	for _, name := range f.Classes {
		out = append(out, uint8(slices.Index(load.ClassNames(), name)))
	}
	return out
}

func (f FailureFilter) chooses(e ledger.Failure) bool {
	return (len(f.Classes) == 0 || slices.Contains(f.classes(), e.Reason.Class)) && (len(f.Flags) == 0 || slices.Contains(f.Flags, e.Flag.String())) &&
		(len(f.Codes) == 0 || slices.ContainsFunc(f.Codes, func(s string) bool { code, _ := parseCode(s); return code == e.Code }))
}

// single reports whether the filter asks for what only each failure by itself tells.
func (f FailureFilter) single() bool { return len(f.Codes)+len(f.Keys) > 0 }

// filter is f for the ledger; a name that is not known chooses nothing.
func (f FailureFilter) filter() ledger.Filter {
	out := ledger.Filter{Classes: f.classes()}
	for _, flag := range f.Flags {
		out.Flags = append(out.Flags, map[string]ledger.Flag{"E": ledger.Failed, "H": ledger.Held}[flag])
	}
	return out
}

// total is how many records of a table the filter chooses, from the counts that are kept.
func (f FailureFilter) total(c ledger.Counts) (n int64) {
	for _, flag := range []ledger.Flag{ledger.Failed, ledger.Held} {
		switch {
		case len(f.Flags) > 0 && !slices.Contains(f.Flags, flag.String()):
		case len(f.Classes) == 0:
			n += int64(c.Flag(flag))
		default:
			for _, class := range f.classes() {
				n += int64(c.Class(flag, class))
			}
		}
	}
	return n
}
