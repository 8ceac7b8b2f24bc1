package mask

import (
	"crypto/cipher"
	"encoding/binary"
	"unicode/utf8"
)

// rounds of the Feistel network, each way.
const rounds = 6

// work is what one call needs. The code of a message (CBC-MAC over AES, which is safe
// because the first block has the message's length) is the seed of a stream of numbers.
type work struct {
	block   cipher.Block
	form    [aesBlock]byte // what the kind and the classes of the value give
	tag     [aesBlock]byte
	out     [aesBlock]byte
	filled  int // bytes of tag that the message has reached
	counter uint32
	left    int // unread bytes of out

	runes   []rune
	classes []*class // by character; nil: it stays
	uppers  []bool
	symbols []uint16
	sizes   []uint16
}

const aesBlock = 16

// begin begins a message of a known length.
func (w *work) begin(kind, round byte, length int) {
	w.tag = [aesBlock]byte{kind, round}
	binary.LittleEndian.PutUint64(w.tag[2:], uint64(length))
	w.block.Encrypt(w.tag[:], w.tag[:])
	w.filled = 0
}

func (w *work) byte(b byte) {
	w.tag[w.filled] ^= b
	if w.filled++; w.filled == aesBlock {
		w.block.Encrypt(w.tag[:], w.tag[:])
		w.filled = 0
	}
}

func (w *work) bytes(text string) {
	for i := range len(text) {
		w.byte(text[i])
	}
	w.end()
}

// end ends the message; next gives its numbers.
func (w *work) end() {
	w.block.Encrypt(w.tag[:], w.tag[:])
	w.counter, w.left = 0, 0
}

func (w *work) next() uint16 {
	if w.left == 0 {
		w.out = w.tag
		w.counter++
		w.out[0] ^= byte(w.counter)
		w.out[1] ^= byte(w.counter >> 8)
		w.out[2] ^= byte(w.counter >> 16)
		w.block.Encrypt(w.out[:], w.out[:])
		w.left = aesBlock
	}
	n := binary.LittleEndian.Uint16(w.out[aesBlock-w.left:])
	w.left -= 2
	return n
}

// whole masks a value as one. special, if not nil, says of the character at i that it
// has another class than its own.
func (w *work) whole(kind byte, value string, spell speller, special func(i int, r rune) *class) string {
	w.runes, w.classes, w.uppers, w.symbols, w.sizes = w.runes[:0], w.classes[:0], w.uppers[:0], w.symbols[:0], w.sizes[:0]
	i := 0
	for _, r := range value {
		c, index, upper := spell(r)
		if special != nil {
			if other := special(i, r); other == fixed {
				c = nil
			} else if other != nil {
				c, index = other, other.index(r)
			}
		}
		w.runes, w.classes, w.uppers = append(w.runes, r), append(w.classes, c), append(w.uppers, upper)
		if c != nil {
			w.symbols, w.sizes = append(w.symbols, uint16(index)), append(w.sizes, uint16(c.size))
		}
		i++
	}
	if len(w.symbols) == 0 {
		return value
	}
	w.permute(kind)
	out := make([]byte, 0, len(value)+8)
	n := 0
	for i, r := range w.runes {
		if c := w.classes[i]; c != nil {
			r = c.letter(int(w.symbols[n]), w.uppers[i])
			n++
		}
		out = utf8.AppendRune(out, r)
	}
	return string(out)
}

// permute replaces the symbols by others. It is there and back again through the network
// with one step aside between, which leaves no value where it was.
func (w *work) permute(kind byte) {
	w.begin(kind, 0, len(w.symbols))
	for _, size := range w.sizes {
		w.byte(byte(size))
	}
	w.end()
	w.form = w.tag
	for round := range rounds {
		w.round(byte(round), 1)
	}
	last := len(w.symbols) - 1
	w.symbols[last] = (w.symbols[last] + 1) % w.sizes[last]
	for round := rounds - 1; round >= 0; round-- {
		w.round(byte(round), -1)
	}
}

// round adds to one half of the symbols what the other half says, or takes it away.
func (w *work) round(round byte, sign int) {
	half := len(w.symbols) / 2
	changed, sizes := w.symbols[:half], w.sizes[:half]
	said, bases := w.symbols[half:], w.sizes[half:]
	if round%2 == 1 {
		changed, said = said, changed
		sizes, bases = bases, sizes
	}
	w.tag, w.filled = w.form, 0 // of a form all messages are of one length
	w.byte(round + 1)
	for i, s := range said {
		w.byte(byte(s))
		if bases[i] > 256 {
			w.byte(byte(s >> 8))
		}
	}
	w.end()
	for i := range changed {
		size := int(sizes[i])
		changed[i] = uint16((int(changed[i]) + sign*(int(w.next())%size) + size) % size)
	}
}
