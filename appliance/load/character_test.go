package load_test

import (
	"strings"
	"testing"

	"dvmigrate/appliance/load"
)

// TestRefusedCharactersAreNotSent: what no XML has a character for is found as the record
// is written; its row is held back, with the two that point to it, and no request is refused for it.
func TestRefusedCharactersAreNotSent(t *testing.T) {
	for _, message := range []load.Message{load.Bulk, load.Batch, load.Single} {
		story(t, itoa(int(message)), func(t *testing.T) {
			w := newWorld(t, 40, settings(load.Settings{Batch: 10, Message: message}), changed(map[string]any{
				"account.name.35": "a\x01b", "contact.lastname.7": "\uffff", "contact.lastname.8": "fine \"\\\n\t\uffee\ufffd", "contact.lastname.9": "bell\a and more \x02"}))
			w.mustRun()
			w.wantLoaded()
			if got := w.reasons("contact"); len(got) != 3 || !strings.Contains(got[7].Text, "lastname: has the character U+FFFF") || !strings.Contains(got[9].Text, "U+0007") ||
				load.Class(got[9].Entry.Class) != load.ClassPrevalidate {
				t.Errorf("contacts are held for %v", got)
			}
			if got := w.reasons("account"); len(got) != 2 || !strings.Contains(got[35].Text, "U+0001") {
				t.Errorf("accounts are held for %v", got)
			}
			if w.notes.has("refused") {
				t.Errorf("a request was refused: %v", w.notes.texts)
			}
		})
	}
}
