package config

import (
	"fmt"
	"iter"
	"math"
	"reflect"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// decoder reads a YAML tree into settings, collecting every fault. A setting with a
// fault keeps its default.
type decoder struct {
	file    string
	env     func(string) (string, bool)
	faults  Faults
	origins map[string]origin
	unset   map[string]bool // what was said of variables that are not set: once is enough
	looking bool            // a secret that is not there is none that is missing
	unread  map[string]bool // settings that have no value because of such a variable
}

func (d *decoder) fault(n *yaml.Node, path, message, hint string) {
	d.faults = append(d.faults, Fault{d.file, n.Line, n.Column, path, message, hint})
}

// value reads n into v, which holds the default.
func (d *decoder) value(n *yaml.Node, v reflect.Value, f field, path string) {
	if n.Kind == yaml.AliasNode || n.Anchor != "" {
		d.fault(n, path, "`"+subject(path)+"` uses an anchor or alias", "write the value out")
		return
	}
	if n.Kind == yaml.ScalarNode && n.Tag == "!!null" {
		return // a key without a value is left out
	}
	switch {
	case v.Type() == secretType:
		d.secret(n, v, path)
	case v.Type() == typesType:
		if t, ok := d.types(n, path); ok {
			v.Set(reflect.ValueOf(t))
		}
	case v.Type() == listType:
		if list, ok := d.list(n, path); ok {
			v.Set(reflect.ValueOf(list))
		}
	case v.Kind() == reflect.Struct:
		d.group(n, v, path)
	case series(v.Type()):
		d.series(n, v, path)
	case v.Kind() == reflect.Map:
		d.catalog(n, v, path)
	case v.Kind() == reflect.String && f.enum == nil:
		if text, ok := d.text(n, path); ok {
			v.SetString(text)
		}
	default:
		d.scalar(n, v, path)
	}
}

// group reads a mapping with fixed keys.
func (d *decoder) group(n *yaml.Node, v reflect.Value, path string) {
	fields := fieldsOf(v.Type())
	if short, ok := shortField(fields); ok && n.Kind != yaml.MappingNode {
		d.origins[join(path, short.key)] = origin{d.file, n.Line, n.Column}
		d.value(n, v.Field(short.index), short, join(path, short.key))
		return
	}
	if !d.is(n, yaml.MappingNode, path) {
		return
	}
	for key, value := range d.pairs(n, path) {
		d.origins[join(path, key.Value)] = origin{d.file, value.Line, value.Column}
		known := false
		for _, f := range fields {
			if f.key == key.Value {
				d.value(value, v.Field(f.index), f, join(path, f.key))
				known = true
			}
		}
		if !known {
			d.unknown(key, keysOf(fields), path)
		}
	}
	if g, ok := v.Addr().Interface().(interface{ decoded() }); ok {
		g.decoded()
	}
}

// series reads a list of mappings.
func (d *decoder) series(n *yaml.Node, v reflect.Value, path string) {
	if !d.is(n, yaml.SequenceNode, path) {
		return
	}
	for i, item := range n.Content {
		at := element(path, i)
		d.origins[at] = origin{d.file, item.Line, item.Column}
		value := withDefaults(v.Type().Elem())
		d.value(item, value, field{}, at)
		v.Set(reflect.Append(v, value))
	}
}

// catalog reads a mapping whose names are the user's own.
func (d *decoder) catalog(n *yaml.Node, v reflect.Value, path string) {
	if !d.is(n, yaml.MappingNode, path) {
		return
	}
	v.Set(reflect.MakeMap(v.Type()))
	for key, value := range d.pairs(n, path) {
		at := join(path, key.Value)
		d.origins[at] = origin{d.file, key.Line, key.Column}
		item := withDefaults(v.Type().Elem())
		d.value(value, item, field{}, at)
		v.SetMapIndex(reflect.ValueOf(key.Value), item)
	}
}

// pairs yields the keys of a mapping with their values, except those with a fault.
func (d *decoder) pairs(n *yaml.Node, path string) iter.Seq2[*yaml.Node, *yaml.Node] {
	return func(yield func(_, _ *yaml.Node) bool) {
		lines := map[string]int{}
		for i := 0; i+1 < len(n.Content); i += 2 {
			key := n.Content[i]
			if key.Kind != yaml.ScalarNode || key.Tag == "!!merge" || key.Anchor != "" {
				d.fault(key, path, "a key that is not plain text", "anchors, merge keys and mappings as keys are not used here")
				continue
			}
			if line, twice := lines[key.Value]; twice {
				d.fault(key, join(path, key.Value), fmt.Sprintf("duplicate key `%s`", key.Value), fmt.Sprintf("it is also on line %d", line))
				continue
			}
			lines[key.Value] = key.Line
			if !yield(key, n.Content[i+1]) {
				return
			}
		}
	}
}

// unknown reports a key that the mapping does not have: with the nearest one it has or,
// failing that, with where the settings have one of that name.
func (d *decoder) unknown(key *yaml.Node, known []string, path string) {
	hint := ""
	if Nearest(key.Value, known) == "" {
		for _, l := range leaves(withDefaults(reflect.TypeFor[Config]()), "", true) {
			if strings.HasSuffix(l.path, "."+key.Value) {
				hint = "did you mean `" + l.path + "`?"
			}
		}
	}
	if hint == "" {
		hint = didYouMean(key.Value, known)
	}
	d.fault(key, join(path, key.Value), "unknown key `"+key.Value+"`", hint)
}

// text reads a scalar that is text, and replaces its references.
func (d *decoder) text(n *yaml.Node, path string) (string, bool) {
	if !d.is(n, yaml.ScalarNode, path) {
		return "", false
	}
	if n.Tag != "!!str" {
		d.fault(n, path, fmt.Sprintf("`%s` should be text but YAML reads `%s` as %s", path, n.Value, kindOf(n)), "put it in quotes")
		return "", false
	}
	text, err := expand(n.Value, d.env)
	if err != nil {
		hint := "$${ stands for ${ itself"
		if strings.HasSuffix(err.Error(), "is not set") {
			d.unread[path] = true
			if d.unset[err.Error()] {
				return "", false
			}
			d.unset[err.Error()] = true
			hint = unsetHint
		}
		d.fault(n, path, fmt.Sprintf("`%s` %v", path, err), hint)
		return "", false
	}
	return text, true
}

// list reads a list of texts; a single text is a list of one.
func (d *decoder) list(n *yaml.Node, path string) ([]string, bool) {
	if n.Kind != yaml.SequenceNode {
		text, ok := d.text(n, path)
		return []string{text}, ok
	}
	list, before := make([]string, 0, len(n.Content)), len(d.faults)
	for i, item := range n.Content {
		text, _ := d.text(item, element(path, i))
		list = append(list, text)
	}
	return list, len(d.faults) == before
}

// secret reads a secret, which must be one reference and nothing else. The value in
// the file is never repeated in a fault.
func (d *decoder) secret(n *yaml.Node, v reflect.Value, path string) {
	if n.Kind != yaml.ScalarNode || !reference.MatchString(n.Value) {
		d.fault(n, path, "`"+path+"` is written out in the file; a secret must come from the environment",
			"write `"+path[strings.LastIndex(path, ".")+1:]+": ${NAME}` and set the variable NAME; treat what was in the file as known to others")
		return
	}
	name := strings.TrimSuffix(strings.TrimPrefix(n.Value, "${"), "}")
	if _, set := d.env(name); !set && d.looking {
		v.Set(reflect.ValueOf(Secret{absent: name}))
		return
	}
	if text, ok := d.text(n, path); ok {
		v.Set(reflect.ValueOf(NewSecret(text)))
	}
}

// scalar reads a number, truth value, size, duration or word of a choice.
func (d *decoder) scalar(n *yaml.Node, v reflect.Value, path string) {
	if !d.is(n, yaml.ScalarNode, path) {
		return
	}
	if strings.Contains(n.Value, "${") {
		d.fault(n, path, "`"+path+"` takes no ${NAME}; only text does", "a setting's own environment variable overrides it, such as DVMIGRATE_LOAD_BATCH")
		return
	}
	quoted := n.Tag == "!!str"
	isText := v.Kind() == reflect.String || v.Type() == sizeType || v.Type() == durationType || v.Type() == batchType && n.Value == batchWord
	if !isText && quoted && n.Style != 0 {
		d.fault(n, path, fmt.Sprintf("`%s` is text in quotes and should be %s", path, kindNoun(v)), "leave out the quotes")
		return
	}
	if err := setScalar(v, n.Value); err != nil {
		d.fault(n, path, fmt.Sprintf("`%s`: %v", path, err), "")
	}
}

// setScalar sets a setting from its text, as the file and the environment give it.
func setScalar(v reflect.Value, text string) error {
	switch {
	case v.Type() == secretType:
		v.Set(reflect.ValueOf(NewSecret(text)))
	case v.Type() == durationType:
		t, err := parseDuration(text)
		if err != nil {
			return err
		}
		v.SetInt(int64(t))
	case v.Type() == sizeType:
		size, err := parseSize(text)
		if err != nil {
			return err
		}
		v.SetInt(int64(size))
	case v.Type() == batchType:
		batch, err := parseBatch(text)
		if err != nil {
			return err
		}
		v.SetInt(int64(batch))
	case v.Kind() == reflect.String:
		v.SetString(text)
	case v.Kind() == reflect.Bool:
		if text != "true" && text != "false" {
			return fmt.Errorf("%q should be true or false", text)
		}
		v.SetBool(text == "true")
	case v.CanInt():
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil || (len(text) > 1 && text[0] == '0') || v.OverflowInt(n) {
			return fmt.Errorf("%q should be a whole number", text)
		}
		v.SetInt(n)
	default:
		n, err := strconv.ParseFloat(text, 64)
		if err != nil || math.IsNaN(n) || math.IsInf(n, 0) {
			return fmt.Errorf("%q should be a number", text)
		}
		v.SetFloat(n)
	}
	return nil
}

// is reports whether n is of this kind, and a fault if it is not.
func (d *decoder) is(n *yaml.Node, kind yaml.Kind, path string) bool {
	if n.Kind == kind {
		return true
	}
	want := "one value"
	switch kind {
	case yaml.MappingNode:
		want = "a mapping (key: value)"
	case yaml.SequenceNode:
		want = "a list (- key: value)"
	}
	d.fault(n, path, fmt.Sprintf("`%s` should be %s but is %s", subject(path), want, kindOf(n)), "")
	return false
}

// kindOf returns what a node is, in words.
func kindOf(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	case yaml.AliasNode:
		return "an alias"
	}
	switch n.Tag {
	case "!!null":
		return "no value"
	case "!!int", "!!float":
		return "a number"
	case "!!bool":
		return "true or false"
	case "!!timestamp":
		return "a date"
	case "!!str":
		return "text"
	}
	return "a value of type " + n.Tag
}

func kindNoun(v reflect.Value) string {
	switch {
	case v.Kind() == reflect.Bool:
		return "true or false"
	case v.CanInt():
		return "a whole number"
	}
	return "a number"
}

// subject returns a path for a message; the file as a whole has none.
func subject(path string) string {
	if path == "" {
		return File
	}
	return path
}
