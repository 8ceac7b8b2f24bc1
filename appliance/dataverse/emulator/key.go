package emulator

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"dvmigrate/appliance/dataverse/schema"
)

// rowKey is what stands between the parentheses of set(key): a primary key, or an
// alternate key with its values in the order of key.cols (section 3.4).
type rowKey struct {
	t         *table
	id        schema.GUID
	key       *altKey // nil for a primary key
	vals      []value
	partition string // of an elastic row; empty means its id
	text      string // as it was written, for OData-EntityId
}

// findRow finds the row that a path segment with a key names. Handlers of rows use
// it: r, err := c.findRow(tx, c.table, c.segs[0].key).
func (c *call) findRow(tx *tx, t *table, key string) (row, error) {
	k, err := parseKey(t, key)
	if err != nil {
		return row{}, err
	}
	k.inPartition(c, nil)
	return tx.find(k)
}

// find returns the row of a key, or the error the service gives when it is not there.
func (tx *tx) find(k rowKey) (row, error) {
	if k.key != nil {
		id, ok := tx.byKey(k.key, k.vals)
		if !ok {
			return row{}, errNoKeyRow(k.t)
		}
		k.id = id
	}
	r, ok := tx.row(k.t, k.id)
	if ok && k.t.isElastic() && k.key == nil {
		ok = r.partition() == or(k.partition, k.id.String())
	}
	if !ok {
		return row{}, errNoRow(k.t, k.id)
	}
	return r, nil
}

// parseKey reads a key: a bare GUID, name=value of the primary key, or the pairs of
// an alternate key in any order. An inactive key is no key.
func parseKey(t *table, text string) (rowKey, error) {
	k := rowKey{t: t, text: text}
	if id, err := schema.ParseGUID(text); err == nil {
		if id.IsZero() {
			return k, errorf(http.StatusBadRequest, "0x80040203", "Expected non-empty Guid.")
		}
		k.id, k.text = id, id.String()
		return k, nil
	}
	pairs, ok := splitPairs(text)
	if !ok {
		return k, errKeyURL(t)
	}
	own := t.PrimaryID
	if t.isPrincipal() { // its own name is no key (section 3.4)
		own = "ownerid"
	}
	if len(pairs) == 1 && pairs[0].name == own {
		id, err := schema.ParseGUID(pairs[0].value)
		if err != nil {
			return k, errKeyURL(t)
		}
		k.id = id
		return k, nil
	}
	if e, ok := elasticKey(t, pairs, text); ok {
		return e, nil
	}
	key := t.keyOf(pairs)
	if key == nil {
		return k, errKeyURL(t)
	}
	k.key, k.vals = key, make([]value, len(key.cols))
	for i, c := range key.cols {
		j := slices.IndexFunc(pairs, func(p param) bool { return p.name == c.wire })
		v, ok := keyValue(c, pairs[j].value)
		if !ok {
			return k, errKeyURL(t)
		}
		k.vals[i] = v
	}
	return k, nil
}

// keyOf finds the active alternate key with exactly these names.
func (t *table) keyOf(pairs []param) *altKey {
	for _, k := range t.keys {
		if k.Inactive || len(k.cols) != len(pairs) {
			continue
		}
		all := true
		for _, c := range k.cols {
			all = all && slices.ContainsFunc(pairs, func(p param) bool { return p.name == c.wire })
		}
		if all {
			return k
		}
	}
	return nil
}

// splitPairs cuts a='x',b=1 at the commas outside quotes. Values keep their quotes.
func splitPairs(text string) ([]param, bool) {
	var pairs []param
	for text != "" {
		name, rest, ok := strings.Cut(text, "=")
		if !ok || name == "" {
			return nil, false
		}
		rest = strings.TrimLeft(rest, " ")
		end := literalEnd(rest)
		if end < 0 {
			return nil, false
		}
		pairs = append(pairs, param{strings.TrimSpace(name), strings.TrimRight(rest[:end], " ")})
		text = strings.TrimLeft(rest[end:], " ")
		if text != "" {
			if text[0] != ',' || len(text) == 1 {
				return nil, false
			}
			text = text[1:]
		}
	}
	return pairs, len(pairs) > 0
}

// escapeKey encodes what may not stand in a URL as it is: blanks, # and all that is not
// ASCII among it.
func escapeKey(key string) string {
	var b strings.Builder
	for i := range len(key) {
		if c := key[i]; c > ' ' && c < 0x7f && strings.IndexByte(`#"%<>?\^`+"`{|}", c) < 0 {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}

// literalEnd is where the literal at the start of s ends: after the closing quote,
// or at a comma; -1 for an open string.
func literalEnd(s string) int {
	if !strings.HasPrefix(s, "'") {
		if i := strings.IndexByte(s, ','); i >= 0 {
			return i
		}
		return len(s)
	}
	for i := 1; i < len(s); i++ {
		if s[i] != '\'' {
			continue
		}
		if i+1 < len(s) && s[i+1] == '\'' {
			i++
			continue
		}
		return i + 1
	}
	return -1
}

// keyValue reads a key's literal in the form of its column's type.
func keyValue(c *column, lit string) (value, bool) {
	quoted := len(lit) >= 2 && lit[0] == '\'' && lit[len(lit)-1] == '\''
	if c.storage == storeText {
		if !quoted {
			return value{}, false
		}
		text := strings.ReplaceAll(lit[1:len(lit)-1], "''", "'")
		if text == "" { // is stored as null, which no row is found by (sections 4.1, 3.4)
			return value{}, true
		}
		return textValue(text), true
	}
	if quoted {
		return value{}, false
	}
	switch c.storage {
	case storeGUID, storeRef, storeShared:
		g, err := schema.ParseGUID(lit)
		return value{kind: kindRef, guid: g}, err == nil
	case storeDecimal:
		d, ok := canonicalDecimal(lit)
		return decimalValue(d), ok
	}
	switch intKind(c) {
	case kindBool:
		return boolValue(lit == "true"), lit == "true" || lit == "false"
	case kindDate:
		n, ok := parseDate(lit)
		return value{kind: kindDate, n: n}, ok
	case kindTime:
		n, ok := parseTime(lit)
		return value{kind: kindTime, n: n}, ok
	}
	n, err := strconv.ParseInt(lit, 10, 64)
	return intValue(n), err == nil
}
