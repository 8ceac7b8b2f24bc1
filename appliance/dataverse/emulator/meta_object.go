package emulator

import (
	"crypto/sha1"
	"slices"
	"strconv"

	"dvmigrate/appliance/dataverse/schema"
)

// object is a JSON object with its properties in order. A value is nil, bool, int, []int,
// float64, string, schema.GUID, []string, object or []object.
type object []field

type field struct {
	name  string
	value any
}

func (o object) get(name string) (any, bool) {
	for _, f := range o {
		if f.name == name {
			return f.value, true
		}
	}
	return nil, false
}

// definition is one item of the metadata: an object with a type of its own, and
// navigation properties that are made when asked for.
type definition struct {
	typ   string // EntityMetadata, StringAttributeMetadata, …
	props object // MetadataId among them
	navs  []navigation
}

// navigation is a navigation property of a definition. declared is the type the
// items are declared to have: an item of another type says so in @odata.type.
type navigation struct {
	name     string
	declared string
	single   bool
	items    func() []definition
}

func (d definition) nav(name string) (navigation, bool) {
	i := slices.IndexFunc(d.navs, func(n navigation) bool { return n.name == name })
	if i < 0 {
		return navigation{}, false
	}
	return d.navs[i], true
}

// isKey reports whether the definition is the one addressed: by MetadataId, or by
// the name its kind goes by.
func (d definition) isKey(property, text string) bool {
	v, ok := d.props.get(property)
	switch v := v.(type) {
	case string:
		return ok && v == text
	case schema.GUID:
		g, err := schema.ParseGUID(text)
		return err == nil && g == v
	}
	return false
}

// metadataID makes the id of a piece of metadata from what it is called: the same
// name has the same id in every emulator.
func metadataID(parts ...string) schema.GUID {
	h := sha1.New()
	for _, p := range parts {
		h.Write([]byte(p))
		h.Write([]byte{0})
	}
	g := schema.GUID(h.Sum(nil)[:16])
	g[6], g[8] = g[6]&0x0f|0x50, g[8]&0x3f|0x80
	return g
}

func appendObject(dst []byte, o object) []byte {
	dst = append(dst, '{')
	for i, f := range o {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendString(dst, f.name)
		dst = append(dst, ':')
		dst = appendAny(dst, f.value)
	}
	return append(dst, '}')
}

func appendAny(dst []byte, v any) []byte {
	switch v := v.(type) {
	case bool:
		return strconv.AppendBool(dst, v)
	case int:
		return strconv.AppendInt(dst, int64(v), 10)
	case float64:
		return strconv.AppendFloat(dst, v, 'f', -1, 64)
	case string:
		return appendString(dst, v)
	case schema.GUID:
		return appendString(dst, v.String())
	case object:
		return appendObject(dst, v)
	case []string:
		return appendList(dst, v)
	case []int:
		return appendList(dst, v)
	case []object:
		return appendList(dst, v)
	}
	return append(dst, "null"...)
}

func appendList[T any](dst []byte, items []T) []byte {
	dst = append(dst, '[')
	for i, v := range items {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendAny(dst, v)
	}
	return append(dst, ']')
}
