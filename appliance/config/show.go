package config

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"reflect"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// String returns all settings as YAML in the order of the file, defaults included,
// secrets hidden.
func (c Config) String() string { return shown(nodeOf(reflect.ValueOf(c))) }

// Brief is String for the reader of a report: without the keys that have no value, and of
// sources and tables without those that have their default.
func (c Config) Brief() string {
	return shown(shower{brief: true}.node(reflect.ValueOf(c), withDefaults(reflect.TypeFor[Config]())))
}

func shown(n *yaml.Node) string {
	var b strings.Builder
	enc := yaml.NewEncoder(&b)
	enc.SetIndent(2)
	if err := enc.Encode(n); err != nil {
		return fmt.Sprintf("settings cannot be shown: %v", err)
	}
	return b.String()
}

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
func nodeOf(v reflect.Value) *yaml.Node { return shower{}.node(v, withDefaults(v.Type())) }

// shower makes YAML of settings.
type shower struct {
	brief bool // leave out what is not worth reading
	entry bool // of a list, such as a source
}

// node is a struct of settings, of which usual has the defaults.
func (s shower) node(v, usual reflect.Value) *yaml.Node {
	n := &yaml.Node{Kind: yaml.MappingNode}
	for _, f := range fieldsOf(v.Type()) {
		value := v.Field(f.index)
		if g, ok := value.Interface().(interface{ absent() bool }); ok && g.absent() {
			continue // shown, it would be there
		}
		item := s.item(value, usual.Field(f.index))
		if s.brief && (item == nil || item.Kind != yaml.ScalarNode && len(item.Content) == 0) {
			continue
		}
		var k yaml.Node
		k.SetString(f.key)
		n.Content = append(n.Content, &k, item)
	}
	return n
}

// item is one setting, or a mapping or list of such; nil where it is left out.
func (s shower) item(value, usual reflect.Value) *yaml.Node {
	each := func(v reflect.Value) *yaml.Node { return shower{s.brief, true}.node(v, withDefaults(v.Type())) }
	switch {
	case group(value.Type()):
		return s.node(value, usual)
	case series(value.Type()):
		list := &yaml.Node{Kind: yaml.SequenceNode}
		for i := range value.Len() {
			list.Content = append(list.Content, each(value.Index(i)))
		}
		return list
	case value.Kind() == reflect.Map:
		m := &yaml.Node{Kind: yaml.MappingNode}
		for _, name := range sortedNames(value) {
			var k yaml.Node
			k.SetString(name)
			m.Content = append(m.Content, &k, each(value.MapIndex(reflect.ValueOf(name))))
		}
		return m
	case s.brief && (value.IsZero() && usual.IsZero() || s.entry && reflect.DeepEqual(value.Interface(), usual.Interface())):
		return nil
	}
	item := new(yaml.Node)
	if err := item.Encode(plain(value)); err != nil {
		item.SetString(fmt.Sprintf("cannot be shown: %v", err))
	}
	return item
}

// Secrets are all secrets of the settings as they are, for who takes them out of texts;
// where one is several tokens, each of them too.
func (c *Config) Secrets() []string {
	var all []string
	for _, l := range leaves(reflect.ValueOf(c).Elem(), "", true) {
		if s, ok := l.value.Interface().(Secret); ok && s.Reveal() != "" {
			all = append(all, s.Reveal())
			if parts := strings.FieldsFunc(s.Reveal(), betweenTokens); len(parts) > 1 {
				all = append(all, parts...)
			}
		}
	}
	slices.SortFunc(all, func(a, b string) int { return len(b) - len(a) }) // one may be a part of another
	return all
}
