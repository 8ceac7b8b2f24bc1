package emulator

import (
	"crypto/rand"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// firstNumber is the seed of an auto-number column that was never given one.
const firstNumber = 1000

// autoNumber makes the next value of an auto-number column from its format
// (section 4.10): text with {SEQNUM:n}, {RANDSTRING:n} and {DATETIMEUTC:format}.
func (tx *tx) autoNumber(c *column, now int64) string {
	var out strings.Builder
	rest := c.AutoNumber
	for {
		before, inner, ok := strings.Cut(rest, "{")
		out.WriteString(before)
		if !ok {
			return out.String()
		}
		inner, after, ok := strings.Cut(inner, "}")
		if !ok {
			return out.String()
		}
		name, arg, _ := strings.Cut(inner, ":")
		width, _ := strconv.Atoi(arg)
		switch name {
		case "SEQNUM":
			fmt.Fprintf(&out, "%0*d", width, tx.nextNumber(c))
		case "RANDSTRING":
			out.WriteString(randomText(width))
		case "DATETIMEUTC":
			out.WriteString(time.Unix(now, 0).UTC().Format(goLayout(arg)))
		}
		rest = after
	}
}

// nextNumber advances a column's sequence. Numbers given in a transaction that is
// undone are lost, as in the service.
func (tx *tx) nextNumber(c *column) int64 {
	n := tx.lastNumber(c) + 1
	tx.setNumber(c, n)
	return n
}

func (tx *tx) lastNumber(c *column) int64 {
	if n, ok := tx.s.numbers[c]; ok {
		return n
	}
	return firstNumber - 1
}

func (tx *tx) setNumber(c *column, n int64) {
	tx.s.numbers[c] = n
	if tx.logging {
		tx.log = appendNumber(tx.log, c, n)
	}
}

func randomText(n int) string {
	const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
	b := make([]byte, n)
	rand.Read(b)
	for i := range b {
		b[i] = letters[int(b[i])%len(letters)]
	}
	return string(b)
}

// goLayout turns a .NET date format into Go's.
func goLayout(format string) string {
	return strings.NewReplacer("yyyy", "2006", "yy", "06", "MM", "01", "dd", "02", "HH", "15", "hh", "03", "mm", "04", "ss", "05").Replace(format)
}

// numberBody is the body of the auto-number actions (section 4.10).
type numberBody struct {
	EntityName    string
	AttributeName string
	Value         int64
}

// numberColumn reads the body of an auto-number action and finds its column.
func (c *call) numberColumn() (*column, numberBody, error) {
	var b numberBody
	if err := c.wire(&b); err != nil {
		return nil, b, err
	}
	t := c.srv.model.byName[b.EntityName]
	if t == nil {
		return nil, b, errorf(http.StatusBadRequest, "0x80041102", "The entity with a name = '%s' was not found.", b.EntityName)
	}
	col := t.byName[b.AttributeName]
	if col == nil || col.AutoNumber == "" {
		return nil, b, errorf(http.StatusBadRequest, "0x80041103", "'%s' entity doesn't contain attribute with Name = '%s' that has an AutoNumberFormat.", b.EntityName, b.AttributeName)
	}
	return col, b, nil
}

func (c *call) setAutoNumberSeed() error {
	col, b, err := c.numberColumn()
	if err != nil {
		return err
	}
	return c.change(func(w *writer) error {
		w.tx.setNumber(col, b.Value-1)
		return c.noContent()
	})
}

func (c *call) getAutoNumberSeed() error {
	return c.answerNumber("GetAutoNumberSeedResponse", "AutoNumberSeedValue")
}

func (c *call) getNextAutoNumber() error {
	return c.answerNumber("GetNextAutoNumberValueResponse", "NextAutoNumberValue")
}

// answerNumber answers the number that the column's next row will get.
func (c *call) answerNumber(response, name string) error {
	col, _, err := c.numberColumn()
	if err != nil {
		return err
	}
	var next int64
	if err := c.view(func(tx *tx) error { next = tx.lastNumber(col) + 1; return nil }); err != nil {
		return err
	}
	return c.json(http.StatusOK, fmt.Appendf(nil, `{"@odata.context":"%s/$metadata#%s%s","%s":%d}`, c.api, namespace, response, name, next))
}
