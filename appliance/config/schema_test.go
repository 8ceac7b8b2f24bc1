package config

import (
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"
)

var update = flag.Bool("update", false, "rewrite golden files")

func TestSchemaIsTheGoldenOne(t *testing.T) {
	const golden = "testdata/schema.golden.json"
	if *update {
		if err := os.WriteFile(golden, JSONSchema(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff(example(t, "schema.golden.json"), string(JSONSchema())); diff != "" {
		t.Errorf("go test ./appliance/config -update rewrites it:\n%s", diff)
	}
}

// TestEveryKeyIsInAllThree holds the keys of the decoder, of the published schema and
// of the full example against one another.
func TestEveryKeyIsInAllThree(t *testing.T) {
	var schema any
	if err := json.Unmarshal(JSONSchema(), &schema); err != nil {
		t.Fatal(err)
	}
	file := asJSON(t, example(t, "full.yaml"))
	want := keysIn(reflect.TypeFor[Config](), "")
	slices.Sort(want)
	for name, got := range map[string][]string{"schema": schemaKeys(schema.(object), ""), "example": fileKeys(file.(object), "")} {
		slices.Sort(got)
		if diff := cmp.Diff(want, slices.Compact(got)); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

func schemaKeys(s object, path string) []string {
	var keys []string
	properties, _ := s["properties"].(object)
	for key, sub := range properties {
		keys = append(append(keys, join(path, key)), schemaKeys(sub.(object), join(path, key))...)
	}
	patterns, _ := s["patternProperties"].(object)
	for _, sub := range patterns {
		keys = append(keys, schemaKeys(sub.(object), path+".*")...)
	}
	if items, ok := s["items"].(object); ok {
		keys = append(keys, schemaKeys(items, path+"[]")...)
	}
	options, _ := s["anyOf"].([]any)
	for _, sub := range options {
		keys = append(keys, schemaKeys(sub.(object), path)...)
	}
	return keys
}

func fileKeys(m object, path string) []string {
	var keys []string
	for key, value := range m {
		at := join(path, key)
		if slices.Contains([]string{"sources", "sources.*.mask", "tables", "tables.*.repair", "estimate.rates", "alerts.to", "reconcile", "reconcile.*.source"}, path) {
			at = path + ".*"
		} else {
			keys = append(keys, at)
		}
		if sub, ok := value.(object); ok && !strings.HasSuffix(at, ".types") {
			keys = append(keys, fileKeys(sub, at)...)
		}
		list, _ := value.([]any)
		for _, item := range list {
			if sub, ok := item.(object); ok {
				keys = append(keys, fileKeys(sub, at+"[]")...)
			}
		}
	}
	return keys
}

func TestEveryKeyIsDescribed(t *testing.T) {
	var walk func(reflect.Type, string)
	walk = func(v reflect.Type, path string) {
		for _, f := range fieldsOf(v) {
			at, ft := join(path, f.key), v.Field(f.index).Type
			if !strings.HasSuffix(f.doc, ".") {
				t.Errorf("%s is described as %q", at, f.doc)
			}
			for _, bound := range []string{f.min, f.max} {
				if bound != "" && setScalar(reflect.New(ft).Elem(), bound) != nil {
					t.Errorf("%s has the bound %q, which is none of its values", at, bound)
				}
			}
			switch {
			case group(ft):
				walk(ft, at)
			case series(ft):
				walk(ft.Elem(), at+"[]")
			case ft.Kind() == reflect.Map:
				if f.match == "" {
					t.Errorf("%s does not say what its names look like", at)
				}
				walk(ft.Elem(), at+".*")
			}
		}
	}
	walk(reflect.TypeFor[Config](), "")
}

// TestSchemaAgreesWithTheDecoder judges the same files by both.
func TestSchemaAgreesWithTheDecoder(t *testing.T) {
	variables := env("TENANT=t", "DV_SECRET=s", "DV_SECRET2=s", "TOKEN3=t", "READY_TOKEN=r", "PASSPHRASE=p", "N=n", "SRC_DSN=d", "SRC_SECRET=s", "SRC_TOKEN=t", "MASK_KEY=0123456789abcdef", "HOOK=https://h.example/x", "HOOK_KEY=k")
	cases := map[string]bool{
		example(t, "first.yaml"): true, example(t, "full.yaml"): true,
		body("load:\n"):                                        true,
		body("load: {timeout: 0s}"):                            false, // the decoder's alone: bounds of a duration
		body("snapshots: {every: 0}\nstage: {memory: 0}"):      true,
		body("sources: {a: {path: x, types: text}}"):           true,
		body("sources: {a: {path: x, null: x, format: json}}"): false, // the decoder's alone: csv only
		body("sources: {a: [x, y]}"):                           true,
		body("sorces: {}"):                                     false,
		body("load: {batch: 0}"):                               true,
		body("load: {batch: auto}"):                            true, body("load: {batch: \"auto\"}"): true, body("load: {batch: -1}"): false,
		body("tables: {account: {batch: auto}}"): true, body("tables: {account: {batch: manual}}"): false,
		body("load: {batch: 1001}"):                                 false,
		body("load: {batch: x}"):                                    false,
		body("load: {batch: 1.5}"):                                  false,
		body("load: []"):                                            false,
		body("load: {timeout: 150}"):                                false,
		body("stage: {memory: 4}"):                                  false,
		body("target: {auth: magic}"):                               false,
		body("target: {secret: hunter2}"):                           false,
		body("target: {secret: \"${N}\", auth: device-code}"):       true,
		body("target: {users: [{auth: device-code}, {client: c}]}"): true,
		body("target: {users: [{client: 5}]}"):                      false,
		body("target: {users: [a]}"):                                false,
		body("target: {users: {}}"):                                 false,
		body("load: {headers: {bypass: sync}}"):                     true,
		body("load: {headers: {bypass: [async, sync]}}"):            true,
		body("load: {headers: {bypass: [all]}}"):                    false,
		body("load: {headers: {suppress_flows: maybe}}"):            false,
		body("tables: {a: {headers: {impersonate: x}}}"):            false,
		body("sources: {a-b: x}"):                                   false,
		body("sources: {a: {path: x, mask: {b: name, c: {as: date, by: b}}}}\nmasking: {key: \"${MASK_KEY}\"}"): true,
		body("sources: {a: {path: x, mask: {b: nane}}}\nmasking: {key: \"${MASK_KEY}\"}"):                       false,
		body("masking: {key: 0123456789abcdef}"):                                                                false,
		body("sources: {a: {format: csv}}"):                                                                     false,
		body("sources: {a: {path: x, types: {b: 5}}}"):                                                          false,
		body("sources: {a: {path: x, types: guess}}"):                                                           false,
		body("sources: {a: {path: x, header: 1}}"):                                                              false,
		body("sources: {a: {path: [x, 5]}}"):                                                                    false,
		body("tables: {Account: {}}"):                                                                           false,
		body("tables: {account: {ids: keep}, contact: }"):                                                       true,
		"version: 1\n": false, "name: x\n": false, "version: 3\nname: x\n": false, "version: 1\nname: X Y\n": false,
	}
	decoderOnly := []string{"0s", "format: json"}
	var schema any
	if err := json.Unmarshal(JSONSchema(), &schema); err != nil {
		t.Fatal(err)
	}
	for text, valid := range cases {
		_, err := parse([]byte(text), "", variables, false)
		if (err == nil) != valid {
			t.Errorf("the decoder says %v of\n%s", err, text)
		}
		if slices.ContainsFunc(decoderOnly, func(part string) bool { return strings.Contains(text, part) }) {
			valid = true // the schema is the laxer of the two
		}
		if err := conforms(schema.(object), asJSON(t, text), ""); (err == nil) != valid {
			t.Errorf("the schema says %v of\n%s", err, text)
		}
	}
}

// asJSON returns a YAML file as an editor sees it: keys are text, the key null too.
func asJSON(t *testing.T, text string) any {
	t.Helper()
	var doc yaml.Node
	if err := yaml.Unmarshal([]byte(text), &doc); err != nil {
		t.Fatal(err)
	}
	var convert func(n *yaml.Node) any
	convert = func(n *yaml.Node) any {
		switch n.Kind {
		case yaml.MappingNode:
			m := object{}
			for i := 0; i < len(n.Content); i += 2 {
				m[n.Content[i].Value] = convert(n.Content[i+1])
			}
			return m
		case yaml.SequenceNode:
			list := []any{}
			for _, item := range n.Content {
				list = append(list, convert(item))
			}
			return list
		}
		var v any
		if err := n.Decode(&v); err != nil {
			t.Fatal(err)
		}
		if whole, ok := v.(int); ok {
			return float64(whole)
		}
		return v
	}
	return convert(doc.Content[0])
}

// conforms judges v by the part of JSON Schema that JSONSchema uses; a keyword that it
// does not know fails the test.
func conforms(s object, v any, path string) error {
	for _, keyword := range slices.Sorted(maps.Keys(s)) {
		if err := keywords(s, keyword, v, path); err != nil {
			return err
		}
	}
	return nil
}

func keywords(s object, keyword string, v any, path string) error {
	wrong := fmt.Errorf("%s: %v is against %s %v", path, v, keyword, s[keyword])
	number, isNumber := v.(float64)
	text, isText := v.(string)
	members, isObject := v.(object)
	list, _ := v.([]any)
	switch keyword {
	case "$schema", "title", "description", "default":
	case "properties", "patternProperties": // looked at with additionalProperties
	case "type":
		kinds, several := s[keyword].([]any)
		if !several {
			kinds = []any{s[keyword]}
		}
		kind := map[string]string{"float64": "number", "string": "string", "bool": "boolean", "<nil>": "null", "map[string]interface {}": "object", "[]interface {}": "array"}[fmt.Sprintf("%T", v)]
		whole := isNumber && number == float64(int64(number))
		if !slices.Contains(kinds, any(kind)) && !(whole && slices.Contains(kinds, any("integer"))) {
			return wrong
		}
	case "anyOf":
		for _, option := range s[keyword].([]any) {
			if conforms(option.(object), v, path) == nil {
				return nil
			}
		}
		return wrong
	case "enum":
		if !slices.Contains(s[keyword].([]any), v) {
			return wrong
		}
	case "const":
		if v != s[keyword] {
			return wrong
		}
	case "pattern":
		if isText && !regexp.MustCompile(s[keyword].(string)).MatchString(text) {
			return wrong
		}
	case "minimum":
		if isNumber && number < s[keyword].(float64) {
			return wrong
		}
	case "maximum":
		if isNumber && number > s[keyword].(float64) {
			return wrong
		}
	case "required":
		for _, key := range s[keyword].([]any) {
			if _, ok := members[key.(string)]; isObject && !ok {
				return wrong
			}
		}
	case "items":
		for _, item := range list {
			if err := conforms(s[keyword].(object), item, path+"[]"); err != nil {
				return err
			}
		}
	case "additionalProperties":
		return membersConform(s, members, path)
	default:
		return fmt.Errorf("unknown keyword %s", keyword)
	}
	return nil
}

func membersConform(s, members object, path string) error {
	properties, _ := s["properties"].(object)
	patterns, _ := s["patternProperties"].(object)
	for key, value := range members {
		sub, ok := properties[key].(object)
		for pattern, p := range patterns {
			if regexp.MustCompile(pattern).MatchString(key) {
				sub, ok = p.(object), true
			}
		}
		if rest, open := s["additionalProperties"].(object); !ok && open {
			sub, ok = rest, true
		}
		if !ok {
			return fmt.Errorf("%s: %s is not a key", path, key)
		}
		if err := conforms(sub, value, join(path, key)); err != nil {
			return err
		}
	}
	return nil
}

// keysIn returns the path of every key that the file may hold; * stands for a name of
// the user's own, [] for an element of a list.
func keysIn(t reflect.Type, path string) []string {
	var keys []string
	for _, f := range fieldsOf(t) {
		at, ft := join(path, f.key), t.Field(f.index).Type
		keys = append(keys, at)
		switch {
		case group(ft):
			keys = append(keys, keysIn(ft, at)...)
		case series(ft):
			keys = append(keys, keysIn(ft.Elem(), at+"[]")...)
		case ft.Kind() == reflect.Map:
			keys = append(keys, keysIn(ft.Elem(), at+".*")...)
		}
	}
	return keys
}
