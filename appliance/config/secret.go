package config

import "fmt"

// hidden is what every printed form of a secret shows instead of it.
const hidden = "(hidden)"

// Secret is text that no printed form shows; only Reveal does. The zero value is no
// secret at all. The text is behind a pointer so that even fmt on an unexported field,
// which calls no method, prints an address and not the text.
type Secret struct {
	text   *string
	absent string // the variable that is to hold it and is not set; only LoadToLook leaves one so
}

// NewSecret returns text as a secret; the empty text is no secret.
func NewSecret(text string) Secret {
	if text == "" {
		return Secret{}
	}
	return Secret{text: &text}
}

// Reveal returns the secret itself, for the one who signs in with it.
func (s Secret) Reveal() string {
	if s.text == nil {
		return ""
	}
	return *s.text
}

// IsZero reports whether there is no secret.
func (s Secret) IsZero() bool { return s.text == nil && s.absent == "" }

// Check is the error of a secret whose variable is not set, for whoever is about to use it.
func (s Secret) Check(path string) error {
	if s.absent == "" {
		return nil
	}
	return Fault{File: File, Key: path, Message: "`" + path + "` " + notSet(s.absent), Hint: unsetHint}
}

// String returns a stand-in for the secret, or "" if there is none.
func (s Secret) String() string {
	if s.IsZero() {
		return ""
	}
	return hidden
}

// Format writes the stand-in, whatever the verb.
func (s Secret) Format(f fmt.State, _ rune) { fmt.Fprint(f, s.String()) }

// MarshalText returns the stand-in; JSON and slog use it too.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }
