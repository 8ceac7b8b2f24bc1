package config

import (
	"errors"
	"strings"
	"testing"
)

// FuzzParse looks for a file that makes the loader panic, accept what it then calls
// invalid, or report a fault that is not a Faults.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		"", "version: 1\nname: x\n", "a: &a [*a]", "? [a]\n: b", "<<: {a: b}", "---\n---\n", "\xef\xbb\xbfversion: 1",
		"target: {url: \"https://a:b@[::1\"}", "sources: {a: {path: [x, {}], types: {a: }}}", "load: !!binary aGVsbG8=", "a: |\n  b\n\t", "%YAML 9.9\n---\n",
		body("stage: {memory: 9999999999999999TB}"), body("sources: {\"\": \"\"}"), body("sources: {a.b: x}\n\"sources.a\": y"), "!!map {version: !!float 1}", "version: 1\nname: ${X}\n",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		c, err := parse([]byte(text), "/p", env("X=x", "EVIL=${EVIL}"), false)
		if err != nil {
			var faults Faults
			if !errors.As(err, &faults) || len(faults) == 0 || strings.TrimSpace(err.Error()) == "" {
				t.Fatalf("%T %v", err, err)
			}
			return
		}
		if err := c.Validate(); err != nil {
			t.Fatalf("accepted, then: %v", err)
		}
		if _, err := c.MarshalJSON(); err != nil {
			t.Fatal(err)
		}
		_ = c.String()
	})
}
