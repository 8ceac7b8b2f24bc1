package config

import (
	"reflect"

	"go.yaml.in/yaml/v3"
)

// The words that Types may be.
const (
	TypesAuto = "auto" // found by looking at the values
	TypesText = "text" // every column stays text
)

// Types is how the columns of a source get their types: by a word, or by naming them.
type Types struct {
	Word    string            // TypesAuto or TypesText; "" if Columns says it
	Columns map[string]string // column to DuckDB type; the others stay text

	Formats map[string]TypeFormat // columns whose text needs more to be read
}

// TypeFormat is how a column's text is written.
type TypeFormat struct {
	Type      string   `json:"type" doc:"DuckDB type; when left out, by the rest."`
	Decimal   string   `json:"decimal" match:"^[.,]$" doc:"Decimal mark."`
	Thousands string   `json:"thousands" doc:"What stands between thousands."`
	Format    []string `json:"format" doc:"Forms of dates and times, such as %d.%m.%Y."`
}

func (d *decoder) types(n *yaml.Node, path string) (Types, bool) {
	if n.Kind == yaml.MappingNode {
		t := Types{Columns: map[string]string{}}
		for key, value := range d.pairs(n, path) {
			if value.Kind == yaml.MappingNode {
				form := reflect.New(reflect.TypeFor[TypeFormat]()).Elem()
				d.group(value, form, join(path, key.Value))
				if t.Formats == nil {
					t.Formats = map[string]TypeFormat{}
				}
				t.Formats[key.Value] = form.Interface().(TypeFormat)
				continue
			}
			if text, ok := d.text(value, join(path, key.Value)); ok {
				t.Columns[key.Value] = text
			}
		}
		return t, true
	}
	word, ok := d.text(n, path)
	if !ok {
		return Types{}, false
	}
	if word != TypesAuto && word != TypesText {
		d.fault(n, path, "`"+path+"` is `"+word+"`", "write auto, text, or a mapping of column to type, such as {amount: \"DECIMAL(18,2)\"}")
		return Types{}, false
	}
	return Types{Word: word}, true
}
