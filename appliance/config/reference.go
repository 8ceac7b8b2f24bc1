package config

import (
	"fmt"
	"reflect"
	"strings"
)

// Key is one key of migration.yaml, as its reference tells of it. It is made from the tags
// that the decoder and Validate read.
type Key struct {
	Path     string // such as sources.NAME.path; NAME stands for a name that people choose
	Kind     string // text, number, yes or no, time, size, list ...
	Default  string // "" where there is none
	Options  []string
	Variable string // environment variable that sets it; "" where there is none
	Doc      string
	Needed   bool
}

// Reference lists every key in the order of the file, groups left out.
func Reference() []Key {
	return referenceOf("", withDefaults(reflect.TypeFor[Config]()), true)
}

func referenceOf(prefix string, usual reflect.Value, fixed bool) []Key {
	var out []Key
	for _, f := range fieldsOf(usual.Type()) {
		value, path := usual.Field(f.index), prefix+f.key
		t := value.Type()
		switch {
		case group(t):
			out = append(out, referenceOf(path+".", value, fixed)...)
		case series(t):
			out = append(out, Key{Path: path, Kind: "list of mappings", Doc: f.doc})
			out = append(out, referenceOf(path+"[].", withDefaults(t.Elem()), false)...)
		case t.Kind() == reflect.Map:
			out = append(out, Key{Path: path, Kind: "mapping by name", Doc: f.doc})
			out = append(out, referenceOf(path+".NAME.", withDefaults(t.Elem()), false)...)
		default:
			k := Key{Path: path, Kind: takes(t), Doc: f.doc, Options: f.enum, Needed: f.need, Variable: leaf{path: path, value: value, field: f, fixed: fixed}.variable()}
			if !value.IsZero() {
				k.Default = strings.Trim(fmt.Sprint(plain(value)), "[]")
			}
			out = append(out, k)
		}
	}
	return out
}

// takes says in words what a setting takes.
func takes(t reflect.Type) string {
	switch t {
	case secretType:
		return "secret, as ${NAME}"
	case batchType:
		return "number or auto"
	case sizeType:
		return "size, such as 8GB"
	case durationType:
		return "time, such as 30m"
	case typesType:
		return "text or mapping"
	case listType:
		return "text or list"
	}
	switch t.Kind() {
	case reflect.Bool:
		return "true or false"
	case reflect.Int, reflect.Int64, reflect.Uint32, reflect.Float64:
		return "number"
	}
	return "text"
}
