package dataverse

import (
	"bytes"
	"encoding/json"
	"maps"
	"testing"
)

// eachMember calls fn with the members of a JSON object, which must be valid; names as they
// stand there, with their quotes.
func eachMember(object []byte, fn func(name, value []byte) error) error {
	return members(object, func(name []byte, from int) (int, error) {
		end := valueEnd(object, from)
		return end, fn(name, object[from:end])
	})
}

// FuzzMembers holds the scanner against the standard decoder: of valid objects and lists
// it finds the same parts, and on anything else it ends.
func FuzzMembers(f *testing.F) {
	for _, seed := range []string{`{}`, `[]`, ` { "a" : 1 , "b":"x\"y\\" , "c":{"d":[1,{"e":"}]"}]},"f":null,"g":-1.5e3} `, `[1, "two",[3],{"four":4} ,null]`,
		`{"a":}`, `[}`, `{"a"`, `[[`, `{"a":"`, `{"\\":"\\\\"}`, "", "{\"ü\":\"\\u00fc\"}"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		var members [][2]string
		objectErr := eachMember(text, func(name, value []byte) error {
			members = append(members, [2]string{string(name), string(value)})
			return nil
		})
		var elements []string
		_, _ = eachElement(text, func(value []byte) error { // what is no list is seen by its callers
			elements = append(elements, string(value))
			return nil
		})
		if !json.Valid(text) {
			return
		}
		var object map[string]json.RawMessage
		if bytes.HasPrefix(bytes.TrimLeft(text, " \t\r\n"), []byte("{")) {
			if err := json.Unmarshal(text, &object); err != nil || objectErr != nil {
				t.Fatal(err, objectErr)
			}
			found := map[string]string{}
			for _, m := range members {
				var name string
				if err := json.Unmarshal([]byte(m[0]), &name); err != nil {
					t.Fatal(err)
				}
				found[name] = m[1]
			}
			want := map[string]string{}
			for name, raw := range object {
				want[name] = string(raw)
			}
			if !maps.Equal(found, want) {
				t.Errorf("%s: found %q, want %q", text, found, want)
			}
			split(t, text, members)
		}
		var list []json.RawMessage
		if json.Unmarshal(text, &list) == nil && list != nil {
			if len(list) != len(elements) {
				t.Fatalf("%s: %d elements, want %d", text, len(elements), len(list))
			}
			for i := range list {
				if elements[i] != string(list[i]) {
					t.Errorf("%s: element %q, want %q", text, elements[i], list[i])
				}
			}
		}
	})
}

// split has a Splitter find all members but the first, of a row of others, twice of this one,
// and of an empty one.
func split(t *testing.T, text []byte, members [][2]string) {
	var names []string
	want := map[string]string{}
	for i, m := range members {
		name := m[0][1 : len(m[0])-1]
		if want[name] = m[1]; i > 0 {
			names = append(names, name)
		}
	}
	s := NewSplitter(names)
	for _, row := range []string{`{"x":1,"":[]}`, string(text), string(text), "{}"} {
		if err := s.Split([]byte(row)); err != nil {
			t.Fatalf("%s: %v", row, err)
		}
		for _, name := range names {
			switch got := string(s.Member(name)); {
			case row == string(text) && got != want[name], row == "{}" && got != "":
				t.Fatalf("%s: %s is %s, want %s", row, name, got, want[name])
			}
		}
	}
}
