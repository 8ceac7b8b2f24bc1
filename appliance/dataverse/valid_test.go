package dataverse

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

func isValid(b []byte) bool {
	_, ok := checked(b)
	return ok
}

// FuzzValid holds checked against the standard one.
func FuzzValid(f *testing.F) {
	for _, seed := range []string{"", " ", "{}", "[]", `{"a":1,"b":[true,false,null],"c":"x\"\\\/\b\f\n\r\tü\u00fC"} `, `{"a":}`, `{"a":1,}`, `[1,]`, `[,1]`, `{,}`, `{"a" 1}`, `{a:1}`, `[1 2]`, "[1}", "{]",
		"0", "-0", "01", "-", "1.", ".5", "1.5e+10", "1E-2", "1e", "1e+", "--1", "+1", "tru", "truex", "nul", "falsee", `"`, `"\"`, `"\x"`, `"\u12"`, `"\u12g4"`, "\"\x1f\"", "\"\x00\"", "\"\x7f\xff\"", `"a" "b"`, "{} {}", "[[[[", `{"a`, `{"a"`, `{"a":`,
		"\"12345678\x0112345678\"", `"1234567\`, `"1234567"`, `"12345678"`, "\"\xa0\xa2\xdc\"",
		`{"a":[1],"value":[ {"b":[2,"x"]} , 3,null ],"c":[4]}`, `{"value":{"b":[1]}}`, `[{"value":[1]}]`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if got, want := isValid(b), json.Valid(b); got != want {
			t.Errorf("%q: %v, want %v", b, got, want)
		}
		var page struct {
			Value []json.RawMessage `json:"value"`
		}
		var found map[string]json.RawMessage
		if json.Unmarshal(b, &found) != nil || json.Unmarshal(b, &page) != nil || found["value"] == nil || bytes.Count(b, []byte("alue")) > 1 || strings.Contains(string(b), "\\u") {
			return // the standard one takes Value for value, and an escape in it
		}
		rows, _ := checked(b)
		for i := range page.Value {
			if len(rows) != 2*len(page.Value) || string(b[rows[2*i]:rows[2*i+1]]) != string(page.Value[i]) {
				t.Fatalf("%q: rows at %v", b, rows)
			}
		}
	})
}

// TestValidDepth nests as deep as the standard decoder goes, and one deeper.
func TestValidDepth(t *testing.T) {
	for _, n := range []int{deepest - 1, deepest, deepest + 1} {
		for _, text := range []string{strings.Repeat("[", n) + strings.Repeat("]", n), strings.Repeat(`{"a":`, n) + "1" + strings.Repeat("}", n)} {
			if got, want := isValid([]byte(text)), json.Valid([]byte(text)); got != want {
				t.Errorf("%d deep, %.3s: %v, want %v", n, text, got, want)
			}
		}
	}
}

// BenchmarkValid checks a page, and has the standard one do so.
func BenchmarkValid(b *testing.B) {
	var page bytes.Buffer
	page.WriteString(`{"@odata.context":"x","value":[`)
	for i := range 5000 {
		if i > 0 {
			page.WriteByte(',')
		}
		fmt.Fprintf(&page, `{"@odata.etag":"W/\"%d\"","accountid":"d0000000-0000-4000-8000-%012x","name":"Company %d & Söhne","address1_line1":"Hauptstraße %d","numberofemployees":%d,"revenue":%d.2500,"creditonhold":false,"description":null}`, i, i, i, i, i, i)
	}
	page.WriteString("]}")
	for name, fn := range map[string]func([]byte) bool{"here": isValid, "standard": json.Valid} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(page.Len()))
			for b.Loop() {
				if !fn(page.Bytes()) {
					b.Fatal("it is not valid")
				}
			}
		})
	}
}
