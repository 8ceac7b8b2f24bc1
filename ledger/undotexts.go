package ledger

import (
	"errors"
	"fmt"
	"io"
	"os"
)

// UndoTexts writes what the journal of changes in a file holds in packed form: what records had
// and were given, of every frame, those that are undone too, with a line between. It is for
// who looks for something in it; whose project's it is does not matter. left are the bytes that
// are left out: what is damaged, and what a crash left half written.
func UndoTexts(path string, w io.Writer) (left int64, err error) {
	u, err := ReadUndo(path, [16]byte{}, Journaled{})
	if err != nil {
		return 0, err
	}
	left = u.torn
	for _, d := range u.damages {
		left += d.To - d.From
	}
	f, err := os.Open(path)
	if err != nil {
		return left, err
	}
	defer f.Close()
	var buf []byte
	for _, frame := range u.frames {
		if frame.damaged || !frame.kind.hasImages() {
			continue
		}
		var failed error
		buf, err = u.imagesOf(f, frame, buf, func(m Image) {
			if failed == nil {
				_, failed = fmt.Fprintf(w, "%s\n%s\n", m.Had, m.Wrote)
			}
		})
		if err != nil || failed != nil {
			return left, errors.Join(err, failed)
		}
	}
	return left, nil
}
