package emulator

import (
	"strconv"
	"strings"
)

// options are the system query options of a request or of an expanded navigation
// property (section 10.1), parsed but not yet bound to a table.
type options struct {
	columns []string // $select; nil when absent
	filter  node     // nil when absent
	order   []orderItem
	expand  []expandItem
	top     int // -1 when absent
	count   bool
	apply   string
	token   string // $skiptoken
	delta   string // $deltatoken
	// fetchXML is the query as FetchXML (section 10.6), which excludes all others.
	fetchXML string
	raw      []param
	typed    bool // of metadata: each item says its type
}

// orderItem is one property of $orderby.
type orderItem struct {
	path path
	desc bool
}

// expandItem is one navigation property of $expand with its own options.
type expandItem struct {
	nav  string
	ref  bool // nav/$ref
	opts options
}

// maxExpand is the number of $expand in one query (section 10.3).
const maxExpand = 15

// parseOptions reads a request's query options. Names are case-sensitive; a name
// with a dollar sign that is not of section 10.1 is refused, any other is taken
// as a parameter alias or a custom option.
func parseOptions(query []param) (options, error) {
	o := options{top: -1, raw: query}
	aliases := map[string]string{}
	for _, p := range query {
		if strings.HasPrefix(p.name, "@") {
			aliases[p.name] = p.value
		}
	}
	seen := map[string]bool{}
	for _, p := range query {
		if p.name == "fetchXml" {
			if o.fetchXML = p.value; strings.TrimSpace(p.value) == "" {
				return o, errFetch("Invalid XML.")
			}
		}
		if !strings.HasPrefix(p.name, "$") {
			continue
		}
		if seen[p.name] {
			return o, errURL("Query option '%s' was specified more than once, but it must be specified at most once.", p.name)
		}
		seen[p.name] = true
		if err := o.set(p.name, p.value, aliases, false); err != nil {
			return o, err
		}
	}
	if n := countExpands(o.expand); n > maxExpand {
		return o, errURL("The number of $expand options, %d, exceeds the maximum of %d.", n, maxExpand)
	}
	return o, nil
}

func countExpands(items []expandItem) int {
	n := len(items)
	for _, e := range items {
		n += countExpands(e.opts.expand)
	}
	return n
}

// set reads one option. Inside $expand fewer are known (section 10.3).
func (o *options) set(name, text string, aliases map[string]string, nested bool) (err error) {
	switch name {
	case "$select":
		o.columns = splitList(text)
		if len(o.columns) == 1 && o.columns[0] == "*" {
			o.columns = nil
		}
		return nil
	case "$filter":
		o.filter, err = parseFilter(text, aliases)
		return err
	case "$orderby":
		o.order, err = parseOrder(text)
		return err
	case "$expand":
		o.expand, err = parseExpand(text)
		return err
	case "$top":
		n, err := strconv.Atoi(strings.TrimSpace(text))
		if err != nil || n < 0 {
			return errURL("Invalid value '%s' for $top query option found. The $top query option requires a non-negative integer value.", text)
		}
		o.top = n
		return nil
	}
	if nested {
		return errURL("The query option '%s' is not supported in $expand.", name)
	}
	switch name {
	case "$count":
		if text != "true" && text != "false" {
			return errURL("Invalid value '%s' for $count query option found. Valid values are 'true, false'.", text)
		}
		o.count = text == "true"
	case "$apply":
		o.apply = text
	case "$skiptoken":
		o.token = text
	case "$deltatoken":
		o.delta = text
	case "$skip":
		return errURL("Skip Clause is not supported in CRM")
	default:
		return errURL("The query parameter %s is not supported", name)
	}
	return nil
}

func parseOrder(text string) ([]orderItem, error) {
	var items []orderItem
	for _, part := range splitTop(text, ',') {
		words := strings.Fields(part)
		if len(words) == 0 || len(words) > 2 {
			return nil, errSyntax(text, 0)
		}
		item := orderItem{path: strings.Split(words[0], "/")}
		if len(words) == 2 {
			if words[1] != "asc" && words[1] != "desc" {
				return nil, errSyntax(text, len(words[0])+1)
			}
			item.desc = words[1] == "desc"
		}
		items = append(items, item)
	}
	return items, nil
}

// parseExpand reads nav, nav($select=…;$filter=…), nav/$ref, separated by commas.
func parseExpand(text string) ([]expandItem, error) { return parseExpandAt(text, 0) }

func parseExpandAt(text string, depth int) ([]expandItem, error) {
	if depth > maxExpand {
		return nil, errURL("Recursion depth exceeded allowed limit.")
	}
	var items []expandItem
	for _, part := range splitTop(text, ',') {
		part = strings.TrimSpace(part)
		item := expandItem{nav: part, opts: options{top: -1}}
		if name, inner, ok := strings.Cut(part, "("); ok {
			if !strings.HasSuffix(inner, ")") {
				return nil, errSyntax(text, len(text))
			}
			item.nav = name
			if err := item.opts.setNested(inner[:len(inner)-1], depth); err != nil {
				return nil, err
			}
		}
		item.nav, item.ref = strings.CutSuffix(item.nav, "/$ref")
		if item.nav == "" {
			return nil, errSyntax(text, 0)
		}
		items = append(items, item)
	}
	return items, nil
}

func (o *options) setNested(text string, depth int) error {
	for _, part := range splitTop(text, ';') {
		name, val, ok := strings.Cut(strings.TrimSpace(part), "=")
		if !ok {
			return errSyntax(text, 0)
		}
		o.raw = append(o.raw, param{name, val})
		if name == "$expand" {
			items, err := parseExpandAt(val, depth+1)
			if err != nil {
				return err
			}
			o.expand = items
			continue
		}
		if err := o.set(name, val, nil, true); err != nil {
			return err
		}
	}
	return nil
}

func splitList(text string) []string {
	parts := []string{}
	for p := range strings.SplitSeq(text, ",") {
		if p = strings.TrimSpace(p); p != "" {
			parts = append(parts, p)
		}
	}
	return parts
}

// splitTop splits at sep where it is neither in brackets nor in a string.
func splitTop(s string, sep byte) []string {
	var parts []string
	start, depth, quoted := 0, 0, false
	for i := range len(s) {
		switch c := s[i]; {
		case c == '\'':
			quoted = !quoted
		case quoted:
		case c == '(' || c == '[' || c == '{':
			depth++
		case c == ')' || c == ']' || c == '}':
			depth--
		case c == sep && depth == 0:
			parts = append(parts, s[start:i])
			start = i + 1
		}
	}
	return append(parts, s[start:])
}
