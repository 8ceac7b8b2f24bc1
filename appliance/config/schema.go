package config

import (
	"encoding/json"
	"fmt"
	"reflect"
)

// object is a JSON object.
type object = map[string]any

// JSONSchema returns the JSON Schema (draft 7) of migration.yaml, for editors. It is
// made from the same tags that the decoder and Validate read.
func JSONSchema() []byte {
	s := groupSchema(withDefaults(reflect.TypeFor[Config]()))
	s["$schema"] = "http://json-schema.org/draft-07/schema#"
	s["title"] = "dvmigrate " + File
	s["description"] = "Settings of a migration project."
	text, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		panic(fmt.Sprintf("config: schema is not JSON: %v", err)) // it is built of maps and texts only
	}
	return append(text, '\n')
}

// groupSchema returns the schema of a mapping with fixed keys, of which usual holds the
// defaults.
func groupSchema(usual reflect.Value) object {
	fields := fieldsOf(usual.Type())
	properties, required := object{}, []string{}
	for _, f := range fields {
		value := usual.Field(f.index)
		properties[f.key] = fieldSchema(f, value)
		if f.need && value.IsZero() {
			required = append(required, f.key)
		}
	}
	s := object{"type": "object", "additionalProperties": false, "properties": properties}
	if len(required) > 0 {
		s["required"] = required
	}
	if short, ok := shortField(fields); ok {
		if len(short.or) == 0 {
			s["required"] = []string{short.key}
		} else {
			var one []any
			for _, key := range append([]string{short.key}, short.or...) {
				one = append(one, object{"required": []string{key}})
			}
			s["anyOf"] = one
		}
		bare := fieldSchema(short, usual.Field(short.index))
		return object{"anyOf": []any{bare, s}}
	}
	return s
}

// fieldSchema returns the schema of one key with its default.
func fieldSchema(f field, usual reflect.Value) object {
	t := usual.Type()
	var s object
	switch {
	case group(t):
		s = groupSchema(usual)
	case t.Kind() == reflect.Map:
		s = object{"type": "object", "additionalProperties": false, "patternProperties": object{f.match: emptyOr(groupSchema(withDefaults(t.Elem())))}}
	case series(t):
		s = object{"type": "array", "items": groupSchema(withDefaults(t.Elem()))}
	case t == listType:
		text := settingSchema(f, t.Elem())
		s = object{"anyOf": []any{text, object{"type": "array", "items": text}}}
	case t == typesType:
		s = object{"anyOf": []any{
			object{"enum": []string{TypesAuto, TypesText}},
			object{"type": "object", "additionalProperties": object{"anyOf": []any{object{"type": "string"}, groupSchema(reflect.New(reflect.TypeFor[TypeFormat]()).Elem())}}},
		}}
	default:
		s = settingSchema(f, t)
	}
	if !group(t) && t.Kind() != reflect.Map && !usual.IsZero() {
		s["default"] = plain(usual)
	}
	s["description"] = f.doc
	if name := (leaf{path: f.key, value: usual, field: f, fixed: true}).variable(); f.env != "" && name != "" {
		s["description"] = f.doc + " Environment variable " + name + "."
	}
	return emptyOr(s)
}

// emptyOr lets a key stand without a value, which the decoder takes as left out.
func emptyOr(s object) object {
	if kind, ok := s["type"].(string); ok {
		s["type"] = []string{kind, "null"}
		return s
	}
	if options, ok := s["anyOf"].([]any); ok {
		s["anyOf"] = append(options, object{"type": "null"})
	}
	return s
}

// settingSchema returns the schema of a setting that is one value.
func settingSchema(f field, t reflect.Type) object {
	switch {
	case t == secretType:
		return object{"type": "string", "pattern": secretForm}
	case t == sizeType:
		return object{"anyOf": []any{object{"type": "string", "pattern": sizeForm}, object{"const": 0}}}
	case t == durationType:
		return object{"anyOf": []any{object{"type": "string", "pattern": durationForm}, object{"const": 0}}}
	case f.enum != nil:
		return object{"enum": append(toAny(f.enum), nil)}
	case t.Kind() == reflect.Bool:
		return object{"type": "boolean"}
	case t.Kind() == reflect.String:
		s := object{"type": "string"}
		if f.match != "" {
			s["pattern"] = textOrReference(f.match)
		}
		return s
	}
	s := object{"type": "integer"}
	if t.Kind() == reflect.Float64 {
		s["type"] = "number"
	}
	if f.min != "" {
		s["minimum"] = json.Number(f.min)
	}
	if f.max != "" {
		s["maximum"] = json.Number(f.max)
	}
	if t == batchType {
		return object{"anyOf": []any{object{"const": batchWord}, s}}
	}
	return s
}

// textOrReference widens a pattern to texts that hold a ${NAME}, whose form is not
// known before it is replaced.
func textOrReference(pattern string) string {
	return "(" + pattern + `)|\$\{`
}

func toAny(words []string) []any {
	list := make([]any, 0, len(words)+1)
	for _, w := range words {
		list = append(list, w)
	}
	return list
}
