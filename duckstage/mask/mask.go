// Package mask makes values harmless: each becomes another one of the same form.
//
// It promises: with the same key the same value always becomes the same masked one, in
// every table and every staging, so that what was joined by it still is (all kinds but
// Text, whose words depend on the whole); different values of Name, Company, Address, Phone, Email and ID stay
// different; letters stay letters of their kind and case, digits stay digits, and what is
// between them stays; no value with a letter or a digit stays as it is, but for a number
// of zeros; and without the key nobody can tell what a value was, or whether it was a
// given one.
//
// It does not hide what form keeps: lengths, which words of names are equal, how often a
// value occurs. It is for data that are tested with, not for data that are published.
//
// How: the letters and digits of a value are a number in a mixed base, and a Feistel
// network over AES permutes the numbers of each form, as FF1 of NIST SP 800-38G does.
package mask

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha256"
	"encoding/hex"
	"strconv"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"
)

// The kinds of value.
const (
	Name    = "name"    // word by word, so that a first and a last name make the full name
	Company = "company" // as a whole
	Address = "address" // as a whole
	Email   = "email"   // the name word by word; the domain ends in .invalid and takes no mail
	Phone   = "phone"   // its digits, however they are grouped
	Text    = "text"    // every letter and digit, in a way that depends on the whole text
	Number  = "number"  // its digits; zeros in front, sign and decimals stay in their place
	ID      = "id"      // letters, digits, and the digits of a GUID
	Date    = "date"    // moved by some days, all dates of a person by the same
	Blank   = "blank"   // no value
)

// MinKey is the least length of a key in bytes.
const MinKey = 16

// Masker masks with one key. Its methods may be called by many goroutines at once.
type Masker struct {
	block cipher.Block
	id    string
	seal  [32]byte  // the key of Seal
	pool  sync.Pool // of *work
}

// New makes a masker; key should be random, of at least MinKey bytes.
func New(key []byte) *Masker {
	derived := sha256.Sum256(append([]byte("dvmigrate mask 1\x00"), key...))
	block, err := aes.NewCipher(derived[:])
	if err != nil { // 32 bytes are a key
		panic(err)
	}
	id := sha256.Sum256(append([]byte("dvmigrate mask id\x00"), derived[:]...))
	m := &Masker{block: block, id: hex.EncodeToString(id[:6]), seal: sha256.Sum256(append([]byte("dvmigrate mask seal\x00"), derived[:]...))}
	m.pool.New = func() any { return &work{block: block} }
	return m
}

// KeyID tells one key from another and says nothing of it.
func (m *Masker) KeyID() string { return m.id }

// Mask masks a value. An integer type has keep digits at most: the first digit of a
// Number or ID of so many stays, so that it still fits; 0 = no limit.
func (m *Masker) Mask(kind, value string, keep int) string {
	w := m.pool.Get().(*work)
	defer m.pool.Put(w)
	switch kind {
	case Name:
		return w.words(value)
	case Email:
		return w.email(value)
	case Text:
		return w.text(value)
	case Phone:
		return w.whole('p', value, spelling, w.phone())
	case Number:
		return w.number(value, keep)
	case ID:
		return w.identifier(value, keep)
	case Blank:
		return ""
	}
	return w.whole('n', value, spelling, nil)
}

// days is by how many days a person's dates move: from 1 to most, to and fro.
func (m *Masker) days(person string, most int) int {
	w := m.pool.Get().(*work)
	defer m.pool.Put(w)
	w.begin('d', 0, len(person))
	w.bytes(person)
	n := int(w.tag[0]) | int(w.tag[1])<<8 | int(w.tag[2])<<16
	n %= 2 * most
	if n >= most {
		return n - 2*most
	}
	return n + 1
}

// word reports whether a character belongs to a word.
func word(r rune) bool { return unicode.IsLetter(r) || unicode.IsNumber(r) || unicode.IsMark(r) }

// words masks each word by itself.
func (w *work) words(value string) string {
	var out strings.Builder
	out.Grow(len(value))
	for value != "" {
		end := strings.IndexFunc(value, func(r rune) bool { return !word(r) })
		if end < 0 {
			end = len(value)
		}
		if end > 0 {
			out.WriteString(w.whole('n', value[:end], spelling, nil))
		}
		value = value[end:]
		between := strings.IndexFunc(value, word)
		if between < 0 {
			between = len(value)
		}
		out.WriteString(value[:between])
		value = value[between:]
	}
	return out.String()
}

// email keeps the top-level domain, so that different addresses stay different, behind
// which .invalid (RFC 2606) makes sure that no mail arrives anywhere.
func (w *work) email(value string) string {
	at := strings.LastIndexByte(value, '@')
	if at < 0 {
		return w.words(value)
	}
	domain, top := value[at+1:], ""
	if dot := strings.LastIndexByte(domain, '.'); dot > 0 {
		domain, top = domain[:dot], domain[dot:]
	}
	return w.words(value[:at]) + "@" + w.words(domain) + top + ".invalid"
}

// text changes every letter and digit.
func (w *work) text(value string) string {
	w.begin('t', 0, len(value))
	w.bytes(value)
	out := make([]byte, 0, len(value)+8)
	for _, r := range value {
		class, index, upper := spelling(r)
		if class == nil {
			out = utf8.AppendRune(out, r)
			continue
		}
		index = (index + 1 + int(w.next())%(class.size-1)) % class.size
		out = utf8.AppendRune(out, class.letter(index, upper))
	}
	return string(out)
}

// phone leaves zeros in front, which say how far a call goes.
func (w *work) phone() func(i int, r rune) *class {
	leading := true
	return func(_ int, r rune) *class {
		switch {
		case leading && r == '0':
			return fixed
		case leading && r >= '1' && r <= '9':
			leading = false
			return nonzero
		}
		return nil
	}
}

func (w *work) number(value string, keep int) string {
	digits, exponent := 0, false
	for _, r := range value {
		exponent = exponent || r == 'e' || r == 'E'
		if r >= '0' && r <= '9' && !exponent {
			digits++
		}
	}
	leading, first, past := true, true, false
	return w.whole('#', value, numeral, func(_ int, r rune) *class {
		past = past || r == 'e' || r == 'E'
		switch {
		case past:
			return fixed
		case leading && r == '0':
			first = false
			return fixed
		case leading && r >= '1' && r <= '9':
			leading = false
			if first && digits == keep {
				return fixed
			}
			return nonzero
		}
		return nil
	})
}

func (w *work) identifier(value string, keep int) string {
	if guid(value) {
		masked := w.whole('g', strings.ToLower(value), hexadecimal, func(i int, _ rune) *class {
			if i == 14 || i == 19 { // version and variant
				return fixed
			}
			return nil
		})
		if strings.ContainsAny(value, "ABCDEF") {
			return strings.ToUpper(masked)
		}
		return masked
	}
	if strings.Trim(value, "0123456789-") == "" {
		return w.number(value, keep)
	}
	return w.whole('i', value, alphanumeric, nil)
}

func guid(text string) bool {
	if len(text) != 36 {
		return false
	}
	for i := range len(text) {
		dash := i == 8 || i == 13 || i == 18 || i == 23
		if dash != (text[i] == '-') || !dash && strings.IndexByte("0123456789abcdefABCDEF", text[i]) < 0 {
			return false
		}
	}
	return true
}

// Call masks as SQL asks for it: how is a kind, with :N for a limit of digits (Number, ID)
// or of days (Date); days:N gives a person's days.
func (m *Masker) Call(value, how, person string) (string, bool) {
	kind, limit, _ := strings.Cut(how, ":")
	n, _ := strconv.Atoi(limit)
	switch kind {
	case "days":
		return strconv.Itoa(m.days(person, n)), true
	case Date:
		return m.date(value, person, n)
	}
	return m.Mask(kind, value, n), true
}
