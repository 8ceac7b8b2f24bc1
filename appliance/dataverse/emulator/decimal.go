package emulator

import (
	"math/big"
	"strings"
)

// canonicalDecimal brings a JSON number to plain notation without needless signs
// and zeros: 1e2 is 100, -0.50 is -0.5. ok is false for what is no number and for
// exponents beyond any column's range.
func canonicalDecimal(s string) (_ string, ok bool) {
	neg := strings.HasPrefix(s, "-")
	digits := strings.TrimPrefix(s, "-")
	exp := 0
	if i := strings.IndexAny(digits, "eE"); i >= 0 {
		if exp, ok = smallInt(digits[i+1:]); !ok {
			return "", false
		}
		digits = digits[:i]
	}
	whole, frac, hasPoint := strings.Cut(digits, ".")
	if whole == "" || hasPoint && frac == "" || !allDigits(whole) || !allDigits(frac) {
		return "", false
	}
	if exp > 0 {
		frac += strings.Repeat("0", max(0, exp-len(frac)))
		whole, frac = whole+frac[:exp], frac[exp:]
	} else if exp < 0 {
		whole = strings.Repeat("0", max(0, -exp-len(whole)+1)) + whole
		whole, frac = whole[:len(whole)+exp], whole[len(whole)+exp:]+frac
	}
	return joinDecimal(neg, whole, frac), true
}

func joinDecimal(neg bool, whole, frac string) string {
	whole = strings.TrimLeft(whole, "0")
	frac = strings.TrimRight(frac, "0")
	if whole == "" {
		whole = "0"
	}
	if neg && (whole != "0" || frac != "") {
		whole = "-" + whole
	}
	if frac == "" {
		return whole
	}
	return whole + "." + frac
}

// smallInt reads an exponent of at most two digits.
func smallInt(s string) (int, bool) {
	neg := strings.HasPrefix(s, "-")
	digits := strings.TrimPrefix(strings.TrimPrefix(s, "-"), "+")
	s = strings.TrimLeft(digits, "0")
	if digits == "" || len(s) > 2 || !allDigits(s) {
		return 0, false
	}
	n := 0
	for i := range len(s) {
		n = n*10 + int(s[i]-'0')
	}
	if neg {
		n = -n
	}
	return n, true
}

func allDigits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return true
}

// roundDecimal rounds a canonical decimal to n digits after the point, halves away
// from zero.
func roundDecimal(s string, n int) string {
	whole, frac, _ := strings.Cut(s, ".")
	if len(frac) <= n {
		return s
	}
	up := frac[n] >= '5'
	neg := strings.HasPrefix(whole, "-")
	digits := []byte(strings.TrimPrefix(whole, "-") + frac[:n])
	for i := len(digits) - 1; up && i >= 0; i-- {
		if digits[i] == '9' {
			digits[i] = '0'
			continue
		}
		digits[i]++
		up = false
	}
	if up {
		digits = append([]byte{'1'}, digits...)
	}
	cut := len(digits) - n
	return joinDecimal(neg, string(digits[:cut]), string(digits[cut:]))
}

// divideMoney is a money value in base currency: divided by the exchange rate and
// rounded to four digits.
func divideMoney(m, rate value) value {
	if rate.isNull() || rate.text == "1" {
		return m
	}
	a, ok1 := new(big.Rat).SetString(m.text)
	b, ok2 := new(big.Rat).SetString(rate.text)
	if !ok1 || !ok2 || b.Sign() == 0 {
		return m
	}
	d, _ := canonicalDecimal(a.Quo(a, b).FloatString(4))
	return decimalValue(d)
}
