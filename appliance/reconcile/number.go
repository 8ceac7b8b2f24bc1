package reconcile

import (
	"cmp"
	"math/big"
	"strconv"
	"strings"
)

// figureDigits is the digits after the point in which numbers are added: no column has more.
const figureDigits = 10

const figureUnit = 10_000_000_000 // 10^figureDigits

// number is a decimal number: a whole part and 10^-figureDigits, both with its sign. Every
// column's values fit.
type number struct{ whole, fraction int64 }

// numberOf reads one as the stage and JSON write them.
func numberOf(text string) (n number, ok bool) {
	whole, fraction, _ := strings.Cut(text, ".")
	if strings.ContainsAny(text, "eE") || len(fraction) > figureDigits {
		r, ok := new(big.Rat).SetString(text)
		if !ok || strings.ContainsAny(text, "eE") && tooLong(text) {
			return number{}, false
		}
		whole, fraction, _ = strings.Cut(r.FloatString(figureDigits), ".")
	}
	w, err := strconv.ParseInt(whole, 10, 64)
	if err != nil {
		return number{}, false
	}
	f := int64(0)
	for i := range figureDigits {
		f *= 10
		if i < len(fraction) {
			if fraction[i] < '0' || fraction[i] > '9' {
				return number{}, false
			}
			f += int64(fraction[i] - '0')
		}
	}
	if strings.HasPrefix(whole, "-") {
		f = -f
	}
	return number{w, f}, true
}

// plainNumber reads the numbers that nearly all are: no exponent, no more digits than a whole
// part and a fraction have. What it does not take numberOf may.
func plainNumber(text []byte) (n number, ok bool) {
	negative := len(text) > 0 && text[0] == '-'
	if negative {
		text = text[1:]
	}
	at := 0
	for ; at < len(text) && text[at] != '.'; at++ {
		if text[at] < '0' || text[at] > '9' || at == 18 {
			return number{}, false
		}
		n.whole = 10*n.whole + int64(text[at]-'0')
	}
	if at == 0 || at == len(text)-1 || len(text)-at-1 > figureDigits {
		return number{}, false
	}
	unit := int64(figureUnit)
	for at++; at < len(text); at++ {
		if text[at] < '0' || text[at] > '9' {
			return number{}, false
		}
		unit /= 10
		n.fraction += unit * int64(text[at]-'0')
	}
	if negative {
		n.whole, n.fraction = -n.whole, -n.fraction
	}
	return n, true
}

// tooLong keeps an exponent that nobody means from being written out.
func tooLong(text string) bool {
	_, exponent, _ := strings.Cut(strings.ToLower(text), "e")
	n, err := strconv.Atoi(exponent)
	return err != nil || n > 30 || n < -30
}

func (a number) compare(b number) int {
	return cmp.Or(cmp.Compare(a.whole, b.whole), cmp.Compare(a.fraction, b.fraction))
}

// sum adds numbers exactly: in two words, which go into a big one before they overflow.
type sum struct {
	part number
	big  big.Int // in 10^-figureDigits
}

func (s *sum) add(n number) {
	const most = 1 << 61
	if n.whole > most || n.whole < -most {
		s.carry(n)
		return
	}
	s.part.whole += n.whole
	s.part.fraction += n.fraction
	if p := s.part; p.whole > most || p.whole < -most || p.fraction > most || p.fraction < -most {
		s.part = number{}
		s.carry(p)
	}
}

func (s *sum) carry(n number) {
	x := big.NewInt(n.whole)
	s.big.Add(&s.big, x.Mul(x, big.NewInt(figureUnit)))
	s.big.Add(&s.big, big.NewInt(n.fraction))
}

// String is the sum without zeros at its end.
func (s *sum) String() string {
	s.carry(s.part)
	s.part = number{}
	text, sign := new(big.Int).Abs(&s.big).String(), ""
	if s.big.Sign() < 0 {
		sign = "-"
	}
	if len(text) <= figureDigits {
		text = strings.Repeat("0", figureDigits+1-len(text)) + text
	}
	return sign + trimZeros(text[:len(text)-figureDigits]+"."+text[len(text)-figureDigits:])
}
