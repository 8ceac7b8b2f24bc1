package config

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"reflect"
	"strings"

	"go.yaml.in/yaml/v3"
)

// String returns all settings as YAML in the order of the file, defaults included,
// secrets hidden.
func (c Config) String() string {
	var b strings.Builder
	enc := yaml.NewEncoder(&b)
	enc.SetIndent(2)
	if err := enc.Encode(nodeOf(reflect.ValueOf(c))); err != nil {
		return fmt.Sprintf("settings cannot be shown: %v", err)
	}
	return b.String()
}

// Format writes String, whatever the verb.
func (c Config) Format(f fmt.State, _ rune) { fmt.Fprint(f, c.String()) }

// MarshalJSON returns all settings as JSON, secrets hidden.
func (c Config) MarshalJSON() ([]byte, error) {
	var v any
	if err := nodeOf(reflect.ValueOf(c)).Decode(&v); err != nil {
		return nil, fmt.Errorf("render settings: %w", err)
	}
	return json.Marshal(v)
}

// LogValue returns what a log line needs to tell one project from another.
func (c Config) LogValue() slog.Value {
	return slog.GroupValue(slog.String("name", c.Name), slog.String("dir", c.Dir),
		slog.String("target", c.Target.Environment()), slog.String("auth", c.Target.Auth))
}

// nodeOf returns a struct of settings as a YAML mapping in the order of its fields.
func nodeOf(v reflect.Value) *yaml.Node {
	n := &yaml.Node{Kind: yaml.MappingNode}
	add := func(key string, value *yaml.Node) {
		var k yaml.Node
		k.SetString(key)
		n.Content = append(n.Content, &k, value)
	}
	for _, f := range fieldsOf(v.Type()) {
		value := v.Field(f.index)
		if g, ok := value.Interface().(interface{ absent() bool }); ok && g.absent() {
			continue // shown, it would be there
		}
		switch {
		case group(value.Type()):
			add(f.key, nodeOf(value))
		case series(value.Type()):
			list := &yaml.Node{Kind: yaml.SequenceNode}
			for i := range value.Len() {
				list.Content = append(list.Content, nodeOf(value.Index(i)))
			}
			add(f.key, list)
		case value.Kind() == reflect.Map:
			m := &yaml.Node{Kind: yaml.MappingNode}
			for _, name := range sortedNames(value) {
				var k yaml.Node
				k.SetString(name)
				m.Content = append(m.Content, &k, nodeOf(value.MapIndex(reflect.ValueOf(name))))
			}
			add(f.key, m)
		default:
			var item yaml.Node
			if err := item.Encode(plain(value)); err != nil {
				item.SetString(fmt.Sprintf("cannot be shown: %v", err))
			}
			add(f.key, &item)
		}
	}
	return n
}
