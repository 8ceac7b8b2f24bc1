package load

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// TestTheGuideKnowsEveryCode: a code that the loader sorts stands in the guide, in a line
// with its class.
func TestTheGuideKnowsEveryCode(t *testing.T) {
	page, err := os.ReadFile("../guide/codes.md")
	if err != nil {
		t.Fatal(err)
	}
	errors, err := os.ReadFile("../guide/errors.md")
	if err != nil {
		t.Fatal(err)
	}
	for code, class := range classByCode {
		found := false
		for line := range strings.Lines(string(page)) {
			cells := strings.Split(line, "|")
			if len(cells) > 2 && strings.Contains(cells[1], fmt.Sprintf("0x%08X", code)) && strings.Contains(cells[2], class.String()) {
				found = true
			}
		}
		if !found {
			t.Errorf("codes.md has no line with 0x%08X and class %s", code, class)
		}
	}
	for _, name := range ClassNames() {
		if !strings.Contains(string(errors), "\n| "+name+" |") {
			t.Errorf("errors.md has no class %s", name)
		}
	}
}
