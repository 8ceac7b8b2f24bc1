package config

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"
)

// field is one key of a mapping: a field of one of the structs in settings.go.
type field struct {
	key, doc, match, min, max, env string
	need, short                    bool
	enum, or                       []string // or: the keys one of which must be there, beside this one
	index                          int
}

// fieldsOf returns the keys of a struct in the order of its fields.
func fieldsOf(t reflect.Type) []field {
	var fields []field
	for i := range t.NumField() {
		f := t.Field(i)
		key := f.Tag.Get("json")
		if !f.IsExported() || key == "-" {
			continue
		}
		tag := f.Tag.Get
		item := field{key: key, doc: tag("doc"), match: tag("match"), min: tag("min"), max: tag("max"),
			env: tag("env"), need: tag("need") == "yes", short: tag("short") == "yes", index: i}
		if words, ok := f.Tag.Lookup("enum"); ok {
			item.enum = strings.Split(words, ",")
		}
		if words, ok := f.Tag.Lookup("or"); ok {
			item.or = strings.Split(words, ",")
		}
		fields = append(fields, item)
	}
	return fields
}

// keysOf returns the names of the fields.
func keysOf(fields []field) []string {
	keys := make([]string, len(fields))
	for i, f := range fields {
		keys[i] = f.key
	}
	return keys
}

// shortField returns the field that a bare value stands for, if the struct has one.
func shortField(fields []field) (field, bool) {
	i := slices.IndexFunc(fields, func(f field) bool { return f.short })
	if i < 0 {
		return field{}, false
	}
	return fields[i], true
}

// withDefaults returns a new settable value of t that holds its defaults.
func withDefaults(t reflect.Type) reflect.Value {
	p := reflect.New(t)
	if d, ok := p.Interface().(defaulter); ok {
		d.setDefaults()
	}
	return p.Elem()
}

// The types that are one setting, though Go builds them of others.
var (
	secretType   = reflect.TypeFor[Secret]()
	batchType    = reflect.TypeFor[Batch]()
	sizeType     = reflect.TypeFor[Size]()
	durationType = reflect.TypeFor[time.Duration]()
	typesType    = reflect.TypeFor[Types]()
	listType     = reflect.TypeFor[[]string]()
)

// group reports whether t is a mapping of settings rather than one setting.
func group(t reflect.Type) bool {
	return t.Kind() == reflect.Struct && t != secretType && t != typesType
}

// series reports whether t is a list of mappings of settings.
func series(t reflect.Type) bool { return t.Kind() == reflect.Slice && group(t.Elem()) }

// element returns the path of element i of the list at path.
func element(path string, i int) string { return fmt.Sprintf("%s[%d]", path, i) }

// join returns the path of a key inside the mapping at path.
func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

// leaf is one setting with its place.
type leaf struct {
	path  string
	value reflect.Value
	field field
	fixed bool // not inside a list, or a mapping with names of the user's own
}

// leaves returns every setting of v, a struct, in the order of the fields; names of the
// user's own are sorted.
func leaves(v reflect.Value, path string, fixed bool) []leaf {
	var found []leaf
	for _, f := range fieldsOf(v.Type()) {
		value, at := v.Field(f.index), join(path, f.key)
		switch {
		case group(value.Type()):
			found = append(found, leaves(value, at, fixed)...)
		case series(value.Type()):
			for i := range value.Len() {
				found = append(found, leaves(value.Index(i), element(at, i), false)...)
			}
		case value.Kind() == reflect.Map:
			for _, name := range sortedNames(value) {
				found = append(found, leaves(value.MapIndex(reflect.ValueOf(name)), join(at, name), false)...)
			}
		default:
			found = append(found, leaf{at, value, f, fixed})
		}
	}
	return found
}

// sortedNames returns the names of a mapping whose names are the user's own.
func sortedNames(m reflect.Value) []string {
	names := make([]string, 0, m.Len())
	for _, k := range m.MapKeys() {
		names = append(names, k.String())
	}
	slices.Sort(names)
	return names
}

// plain returns a setting as text, number, truth value, list or mapping: as the file
// would hold it. A secret becomes its stand-in.
func plain(v reflect.Value) any {
	switch x := v.Interface().(type) {
	case Secret:
		return x.String()
	case time.Duration:
		return durationText(x)
	case Size:
		return x.String()
	case Batch:
		if x == AutoBatch {
			return batchWord
		}
		return int(x)
	case Types:
		if x.Formats != nil {
			all := map[string]any{}
			for name, t := range x.Columns {
				all[name] = t
			}
			for name, f := range x.Formats {
				all[name] = f
			}
			return all
		}
		if x.Columns != nil {
			return x.Columns
		}
		return x.Word
	}
	return v.Interface()
}

// variable returns the environment variable of a setting, or "" if it has none.
func (l leaf) variable() string {
	switch {
	case !l.fixed || l.field.env == "-" || l.value.Type() == listType:
		return ""
	case l.field.env != "":
		return l.field.env
	}
	return "DVMIGRATE_" + strings.ToUpper(strings.ReplaceAll(l.path, ".", "_"))
}
