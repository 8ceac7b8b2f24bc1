package ledger

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
)

// UndoTexts writes what the journal of changes in a file holds in packed form: what records had
// and were given, of every frame, those that are undone too, with a line between. It is for
// who looks for something in it; whose project's it is does not matter. What follows the last
// whole frame was never promised to anybody and is left out: cut is how many bytes that are.
func UndoTexts(path string, w io.Writer) (cut int64, err error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	r := bufio.NewReaderSize(f, 1<<20)
	head := make([]byte, undoHead)
	if _, err := io.ReadFull(r, head); err != nil || string(head[:len(undoMagic)]) != undoMagic {
		return 0, errors.Join(err, ErrNotLedger)
	}
	var buf []byte
	for end := int64(undoHead); ; {
		payload, err := readFrame(r, buf, info.Size()-end)
		var images []byte
		if err == nil {
			_, images, err = parseFrame(payload)
		}
		if err != nil {
			return info.Size() - end, nil
		}
		buf = payload
		end += frameHead + int64(len(payload))
		if len(images) == 0 {
			continue
		}
		var failed error
		err = unpackImages(images, func(m Image) {
			if failed == nil {
				_, failed = fmt.Fprintf(w, "%s\n%s\n", m.Had, m.Wrote)
			}
		})
		if err = errors.Join(err, failed); err != nil {
			return 0, err
		}
	}
}
