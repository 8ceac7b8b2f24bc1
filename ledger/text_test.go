package ledger

import (
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestSplitTextTakesOutWhatDiffersBetweenRecords(t *testing.T) {
	for _, c := range []struct {
		name, text, template string
		params               []string
	}{
		{"an id and a quoted table",
			"Entity 'Contact' With Id = 0f8fad5b-d9cb-469f-a165-70867728950e Does Not Exist",
			"Entity '\x01' With Id = \x01 Does Not Exist", []string{"Contact", "0f8fad5b-d9cb-469f-a165-70867728950e"}},
		{"an id in upper case", "{0F8FAD5B-D9CB-469F-A165-70867728950E}", "{\x01}", []string{"0F8FAD5B-D9CB-469F-A165-70867728950E"}},
		{"numbers", "length 101 exceeds 100", "length \x01 exceeds \x01", []string{"101", "100"}},
		{"two quoted values", `'a' and "b 7"`, `'` + "\x01' and \"\x01\"", []string{"a", "b 7"}},
		{"an apostrophe", "the row can't be saved", "the row can't be saved", nil},
		{"an empty quote", "value '' at 3", "value '' at \x01", []string{"3"}},
		{"nothing", "", "", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			template, params, ok := splitText(c.text)
			if !ok || template != c.template || !slices.Equal(params, c.params) {
				t.Errorf("got %q %q %v", template, params, ok)
			}
			if back, err := joinText(template, params); err != nil || back != c.text {
				t.Errorf("comes back as %q, %v", back, err)
			}
		})
	}
	if _, _, ok := splitText("a\x01b"); ok {
		t.Error("a text with the slot character has a template")
	}
}

func TestCutTextKeepsWholeCharacters(t *testing.T) {
	for n := range 4 {
		text := strings.Repeat("x", n) + strings.Repeat("€", maxText)
		got := cutText(text)
		if len(got) > maxText || len(got) < maxText-3 || !utf8.ValidString(got) || !strings.HasPrefix(text, got) {
			t.Errorf("offset %d: %d bytes, valid %v", n, len(got), utf8.ValidString(got))
		}
	}
	if broken := strings.Repeat("\x80", maxText+9); len(cutText(broken)) > maxText {
		t.Error("bytes that are no text are not cut")
	}
}

func FuzzText(f *testing.F) {
	f.Add("Entity 'x' With Id = 0f8fad5b-d9cb-469f-a165-70867728950e, 12 \"y\"")
	f.Add("''0'")
	f.Fuzz(func(t *testing.T, text string) {
		template, params, ok := splitText(text)
		if !ok {
			return
		}
		coded := appendParams(nil, params)
		params, err := parseParams(coded)
		if err != nil {
			t.Fatal(err)
		}
		if back, err := joinText(template, params); err != nil || back != text {
			t.Fatalf("%q comes back as %q, %v", text, back, err)
		}
	})
}

func FuzzFailure(f *testing.F) {
	e := Failure{Entry: Entry{Action: Insert, Flag: Failed, Class: 3, Time: 5}, Reason: Reason{HTTP: 400, Code: 0x80040237}}
	f.Add(encodeFailure(e, 1, []string{"Contact", "0f8fad5b-d9cb-469f-a165-70867728950e", ""}))
	f.Add(encodeFailure(e, 0, []string{"a\x01"}))
	f.Fuzz(func(t *testing.T, b []byte) {
		e, id, params, err := decodeFailure(b)
		if err == nil && string(encodeFailure(e, id, params)) != string(b) {
			t.Fatalf("%x decodes and encodes to %x", b, encodeFailure(e, id, params))
		}
	})
}

func TestTemplate(t *testing.T) {
	for text, want := range map[string]string{
		"no account with legacy key 'A1'":                             "no account with legacy key '…'",
		"longer than 160 characters: 'Acme' has 161":                  "longer than … characters: '…' has …",
		"-3 is not an option; known are 1, 2, 33, 4":                  "-… is not an option; known are …",
		"account 5f0c2a3e-1111-4222-8333-944445555666 Does Not Exist": "account … Does Not Exist",
		"it doesn't matter":                                           "it doesn't matter",
	} {
		if got := Template(text); got != want {
			t.Errorf("%s: %s, want %s", text, got, want)
		}
	}
}
