package config

import (
	"reflect"
	"strings"
	"testing"
)

func TestTheReferenceHasEveryKeyWithItsWords(t *testing.T) {
	keys := map[string]Key{}
	for _, k := range Reference() {
		if keys[k.Path].Path != "" {
			t.Errorf("%s stands twice", k.Path)
		}
		if k.Doc == "" || k.Kind == "" {
			t.Errorf("%s has no words: %+v", k.Path, k)
		}
		keys[k.Path] = k
	}
	var walk func(prefix string, typ reflect.Type)
	walk = func(prefix string, typ reflect.Type) {
		for f := range typ.Fields() { // the struct's own tags, not what fieldsOf makes of them
			key := f.Tag.Get("json")
			if key == "" || key == "-" {
				continue
			}
			ft := f.Type
			path := prefix + key
			switch {
			case ft.Kind() == reflect.Map && ft.Elem().Kind() == reflect.Struct:
				walk(path+".NAME.", ft.Elem())
			case ft.Kind() == reflect.Slice && ft.Elem().Kind() == reflect.Struct:
				walk(path+"[].", ft.Elem())
			case ft.Kind() == reflect.Struct && ft != secretType && ft != typesType:
				walk(path+".", ft)
			default:
				if _, ok := keys[path]; !ok {
					t.Errorf("%s is not in the reference", path)
				}
			}
		}
	}
	walk("", reflect.TypeFor[Config]())
	if k := keys["target.token"]; k.Variable != "DVMIGRATE_TOKEN" || !strings.HasPrefix(k.Kind, "secret") || k.Default != "" {
		t.Errorf("target.token: %+v", k)
	}
	if k := keys["limits.window"]; k.Default != "5m0s" && k.Default != "5m" || k.Variable == "" {
		t.Errorf("limits.window: %+v", k)
	}
	if k := keys["sources.NAME.header"]; k.Default != "true" || k.Variable != "" {
		t.Errorf("sources.NAME.header: %+v", k)
	}
}
