package mask

import (
	"fmt"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

var testKey = []byte("0123456789abcdef-test")

// TestFormIsKept: the same kinds of character at the same places, and not the same value.
func TestFormIsKept(t *testing.T) {
	m := New(testKey)
	for _, c := range []struct{ kind, value string }{
		{Name, "Anna"}, {Name, "Jürgen von der Müller-Lüdenscheidt"}, {Name, "A"}, {Name, "Γεώργιος"}, {Name, "Анна Ёлкина"}, {Name, "王小明"}, {Name, "e\u0301a"},
		{Company, "Weiß & Söhne GmbH (2. Filiale)"}, {Address, "Hauptstraße 12a, 50667 Köln"}, {Phone, "+49 221 306144-0"}, {Phone, "0049 (0)221/306144"},
		{Text, "Mrs. Jones called on 3 May, will not pay."}, {Text, "x"}, {Number, "-1234.50"}, {Number, "7"}, {Number, "0.05"}, {ID, "K-00123/b"},
		{ID, "00123"}, {ID, "5f8fad5b-d9cb-469f-a165-70867728950e"}, {ID, "5F8FAD5B-D9CB-469F-A165-70867728950E"},
	} {
		got := m.Mask(c.kind, c.value, 0)
		if got == c.value || shape(got) != shape(c.value) || got != m.Mask(c.kind, c.value, 0) {
			t.Errorf("%s of %q = %q", c.kind, c.value, got)
		}
		if other := New([]byte("another key of some length")).Mask(c.kind, c.value, 0); other == got && len(c.value) > 4 {
			t.Errorf("%s of %q is %q whatever the key", c.kind, c.value, got)
		}
	}
	for _, c := range []struct{ kind, value, want string }{{Name, "", ""}, {Name, " - ", " - "}, {Number, "0.00", "0.00"}, {Blank, "x", ""}} {
		if got := m.Mask(c.kind, c.value, 0); got != c.want {
			t.Errorf("%s of %q = %q, want %q", c.kind, c.value, got, c.want)
		}
	}
	if got := m.Mask(ID, "5f8fad5b-d9cb-469f-a165-70867728950e", 0); got[14] != '4' || got[19] != 'a' {
		t.Errorf("a GUID becomes %s, of another version", got)
	}
}

// shape writes a letter for each kind of character.
func shape(text string) string {
	hex := guid(text)
	return strings.Map(func(r rune) rune {
		switch {
		case r >= '0' && r <= '9', hex && unicode.IsLetter(r):
			return '9'
		case unicode.IsUpper(r):
			return 'A'
		case unicode.IsLetter(r):
			return 'a'
		}
		return r
	}, text)
}

// TestDifferentStaysDifferent: every value of a small form gives one of that form, none
// twice, and none itself.
func TestDifferentStaysDifferent(t *testing.T) {
	m := New(testKey)
	forms := map[string][]string{}
	for a := 'a'; a <= 'z'; a++ {
		for b := 'a'; b <= 'z'; b++ {
			forms[Name] = append(forms[Name], string([]rune{a, b}))
			forms[Company] = append(forms[Company], string([]rune{a, ' ', b}))
			forms[Email] = append(forms[Email], string([]rune{a, b})+"@x.de", string([]rune{a, b})+"@x.com")
		}
	}
	for n := range 10_000 {
		forms[ID] = append(forms[ID], fmt.Sprint(n+1), fmt.Sprintf("X%04d", n))
		forms[Phone] = append(forms[Phone], fmt.Sprintf("0%04d", n))
		forms[Number] = append(forms[Number], fmt.Sprintf("%d.%02d", n/100+1, n%100))
	}
	for kind, values := range forms {
		seen := map[string]string{}
		for _, v := range values {
			got := m.Mask(kind, v, 0)
			if other, twice := seen[got]; twice || got == v && strings.Trim(v, "0.") != "" {
				t.Fatalf("%s of %q is %q, as of %q", kind, v, got, other)
			}
			seen[got] = v
		}
	}
}

func TestWhatBelongsTogetherStaysTogether(t *testing.T) {
	m := New(testKey)
	if a, b := m.Mask(Name, "Anna", 0)+" "+m.Mask(Name, "Smith", 0), m.Mask(Name, "Anna Smith", 0); a != b {
		t.Errorf("%q, %q", a, b)
	}
	if a, b := m.Mask(Name, "anna", 0), m.Mask(Name, "ANNA", 0); strings.ToUpper(a) != b {
		t.Errorf("%q, %q", a, b)
	}
	strip := func(s string) string {
		return strings.Map(func(r rune) rune {
			if r >= '0' && r <= '9' {
				return r
			}
			return -1
		}, s)
	}
	if a, b := m.Mask(Phone, "+49 221 30-6144", 0), m.Mask(Phone, "+49(221)306144", 0); strip(a) != strip(b) {
		t.Errorf("%q, %q", a, b)
	}
	mail := m.Mask(Email, "Anna.Smith@contoso.com", 0)
	if !strings.HasPrefix(mail, m.Mask(Name, "Anna", 0)+"."+m.Mask(Name, "Smith", 0)+"@") || !strings.HasSuffix(mail, ".com.invalid") || strings.Contains(mail, "contoso") {
		t.Errorf("mail = %q", mail)
	}
	if a, b := m.Mask(Text, "pay Anna", 0), m.Mask(Text, "pay Otto", 0); a[:3] == b[:3] {
		t.Errorf("the words of a text are told by their neighbours: %q, %q", a, b)
	}
}

func TestNumbersFitTheirTypes(t *testing.T) {
	m := New(testKey)
	for n := range 2000 {
		if got := m.Mask(ID, fmt.Sprint(1_000_000_000+n*123_457), 10); got[0] != '1' {
			t.Fatalf("%s", got)
		}
		if got := m.Mask(Number, fmt.Sprint(1+n), 0); got[0] == '0' {
			t.Fatalf("%d = %s: a number of fewer digits", n+1, got)
		}
	}
}

func TestDatesMoveByPerson(t *testing.T) {
	m := New(testKey)
	for n := range 1000 {
		person := fmt.Sprint("p", n)
		if days := m.days(person, 30); days == 0 || days < -30 || days > 30 || days != m.days(person, 30) {
			t.Fatalf("%s moves by %d", person, days)
		}
	}
	for _, c := range []struct{ text, form string }{
		{"2024-02-29", "9999-99-99"}, {"2024-02-29T08:15:00Z", "9999-99-99T08:15:00Z"}, {"29.02.2024 07:00", "99.99.9999 07:00"}, {"02/29/2024", "99/99/9999"}, {"20240229", "99999999"},
	} {
		got, ok := m.Call(c.text, "date:30", "p1")
		date, clock := got, ""
		if i := strings.IndexAny(got, " T"); i >= 0 {
			date, clock = got[:i], got[i:]
		}
		if !ok || got == c.text || shape(date)+clock != c.form {
			t.Errorf("%s = %s, %v", c.text, got, ok)
		}
	}
	if _, ok := m.Call("next week", "date:30", "p1"); ok {
		t.Error("a text that is no date counts as one")
	}
}

func FuzzMask(f *testing.F) {
	for _, kind := range []string{Name, Company, Address, Email, Phone, Text, Number, ID, Date, Blank} {
		f.Add(kind, "Anna Müller +49 221 30@x.de")
	}
	m := New(testKey)
	f.Fuzz(func(t *testing.T, kind, value string) {
		got := m.Mask(kind, value, 0)
		if utf8.ValidString(value) && (!utf8.ValidString(got) || kind != Blank && kind != Email && utf8.RuneCountInString(got) != utf8.RuneCountInString(value)) {
			t.Errorf("%s of %q = %q", kind, value, got)
		}
	})
}

func BenchmarkMask(b *testing.B) {
	m := New(testKey)
	for _, c := range []struct{ kind, value string }{{Name, "Anna Schmidt"}, {Email, "anna.schmidt@contoso.com"}, {Phone, "+49 221 306144"}, {ID, "1234567"}, {Text, strings.Repeat("will not pay. ", 14)}} {
		b.Run(c.kind, func(b *testing.B) {
			for b.Loop() {
				m.Mask(c.kind, c.value, 0)
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "values/s")
		})
	}
}

// TestSeal: what is kept can be read again with the key, and with no other.
func TestSeal(t *testing.T) {
	m := New(testKey)
	const text = `"no" >= 'K100' AND "no" < 'K200'`
	kept := m.Seal(text)
	if strings.Contains(kept, "K100") || kept != m.Seal(text) || kept == m.Seal(text+" ") {
		t.Errorf("sealed as %q", kept)
	}
	if got, err := m.Unseal(kept); err != nil || got != text {
		t.Errorf("unsealed %q, %v", got, err)
	}
	if got, err := New([]byte("another key of some length")).Unseal(kept); err == nil {
		t.Errorf("another key reads %q", got)
	}
	for _, bad := range []string{"", text, sealed, sealed + "!", kept[:len(kept)-2], kept + "A"} {
		if got, err := m.Unseal(bad); err == nil {
			t.Errorf("%q is read as %q", bad, got)
		}
	}
}
