package emulator

import (
	"bytes"
	"slices"
	"strings"

	"dvmigrate/appliance/dataverse/schema"
)

// metadataLevel is how much control information an answer carries: what Accept asks
// for with odata.metadata (OData JSON Format 4.0, section 3.1).
type metadataLevel uint8

const (
	minimalMetadata metadataLevel = iota // context, etag, links to what follows
	noMetadata                           // nextLink, deltaLink and count alone
	fullMetadata                         // besides: types, ids, edit and navigation links
)

// levelOf reads the level from the Accept header; minimal unless it says otherwise.
func levelOf(accept string) metadataLevel {
	for part := range strings.SplitSeq(strings.ToLower(accept), ",") {
		for param := range strings.SplitSeq(part, ";") {
			name, level, _ := strings.Cut(strings.TrimSpace(param), "=")
			if name != "odata.metadata" {
				continue
			}
			switch strings.Trim(level, `"`) {
			case "none":
				return noMetadata
			case "full":
				return fullMetadata
			}
			return minimalMetadata
		}
	}
	return minimalMetadata
}

// jsonType is the Content-Type of a JSON answer at the level.
func (l metadataLevel) jsonType() string {
	return "application/json; odata.metadata=" + [...]string{"minimal", "none", "full"}[l]
}

// streamType is that of a collection of rows.
func (l metadataLevel) streamType() string { return l.jsonType() + "; odata.streaming=true" }

// level takes from a finished JSON answer what the client does not want.
func (r *response) level(l metadataLevel) {
	if l == noMetadata && len(r.body) > 0 && strings.HasPrefix(r.header.Get("Content-Type"), "application/json") {
		r.body, _ = appendBare(make([]byte, 0, len(r.body)), r.body)
	}
}

// appendBare appends the JSON value that src begins with, without the control
// information in it, and returns what follows the value. src has no blanks.
func appendBare(dst, src []byte) (out, rest []byte) {
	switch src[0] {
	case '{':
		return appendBareItems(dst, src, '}', true)
	case '[':
		return appendBareItems(dst, src, ']', false)
	case '"':
		n := stringEnd(src)
		return append(dst, src[:n]...), src[n:]
	}
	n := bytes.IndexAny(src, ",]}")
	if n < 0 {
		n = len(src)
	}
	return append(dst, src[:n]...), src[n:]
}

func appendBareItems(dst, src []byte, end byte, named bool) (out, rest []byte) {
	dst = append(dst, src[0])
	first := len(dst)
	for src = src[1:]; src[0] != end; {
		if src[0] == ',' {
			src = src[1:]
		}
		mark := len(dst)
		if mark > first {
			dst = append(dst, ',')
		}
		keep := true
		if named {
			n := stringEnd(src)
			keep = !isControl(src[1 : n-1])
			dst = append(dst, src[:n+1]...)
			src = src[n+1:]
		}
		dst, src = appendBare(dst, src)
		if !keep {
			dst = dst[:mark]
		}
	}
	return append(dst, end), src[1:]
}

// stringEnd is the length of the JSON string that src begins with.
func stringEnd(src []byte) int {
	for i := 1; ; i++ {
		switch src[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
}

// isControl reports whether a property is control information that metadata=none
// leaves out; other annotations were asked for by name.
func isControl(name []byte) bool {
	_, control, ok := bytes.Cut(name, []byte("@odata."))
	return ok && !slices.Contains([]string{"nextLink", "count", "deltaLink"}, string(control))
}

// appendHead appends what stands before a row's properties, with a comma after it:
// its etag and, at full metadata, its type, id and edit link.
func (p *projection) appendHead(dst []byte, t *table, id schema.GUID, version int64) []byte {
	key := t.EntitySet + "(" + id.String() + ")"
	if p.full {
		dst = appendString(append(dst, `"@odata.type":`...), "#"+namespace+t.LogicalName)
		dst = appendNamed(dst, "@odata.id", p.api+"/"+key)
		dst = append(dst, ',')
	}
	dst = append(dst, `"@odata.etag":"W/\"`...)
	dst = intValue(version).appendText(dst)
	dst = append(dst, `\""`...)
	if p.full {
		dst = appendNamed(dst, "@odata.editLink", key)
	}
	return dst
}

// appendType appends, at full metadata, the type of a property whose JSON does not
// tell it. Booleans, texts, Int32 and Double need none.
func (p *projection) appendType(dst []byte, name string, c *column, v value) []byte {
	if !p.full {
		return dst
	}
	typ := ""
	switch {
	case v.kind == kindGUID, v.kind == kindRef:
		typ = "#Guid"
	case v.kind == kindTime:
		typ = "#DateTimeOffset"
	case v.kind == kindDate:
		typ = "#Date"
	case v.kind == kindDecimal:
		typ = "#Decimal"
	case v.kind == kindInt && c.Type == schema.BigInt:
		typ = "#Int64"
	default:
		return dst
	}
	return appendNamed(dst, name+"@odata.type", typ)
}

// appendLinks appends, at full metadata and where nothing is selected, the links of
// the navigation properties that are not expanded.
func (p *projection) appendLinks(dst []byte, id schema.GUID) []byte {
	if !p.full || p.names != nil {
		return dst
	}
	at := p.api + "/" + p.t.EntitySet + "(" + id.String() + ")/"
	for _, nav := range p.t.navNames() {
		if slices.ContainsFunc(p.expand, func(x expansion) bool { return x.nav == nav }) {
			continue
		}
		dst = appendNamed(dst, nav+"@odata.associationLink", at+nav+"/$ref")
		dst = appendNamed(dst, nav+"@odata.navigationLink", at+nav)
	}
	return dst
}

// navNames lists all navigation properties of a table in order.
func (t *table) navNames() []string {
	names := make([]string, 0, len(t.navs)+len(t.collections)+len(t.nn))
	for n := range t.navs {
		names = append(names, n)
	}
	for n := range t.collections {
		names = append(names, n)
	}
	for n := range t.nn {
		names = append(names, n)
	}
	slices.Sort(names)
	return slices.Compact(names)
}
