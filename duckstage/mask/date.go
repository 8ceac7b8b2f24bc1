package mask

import "time"

// layouts are how dates are written in text, with a time behind them or none. Of the two
// that a slash allows the American one goes first; a day too large for a month tells.
var layouts = []string{"2006-01-02", "2006/01/02", "20060102", "02.01.2006", "2.1.2006", "01/02/2006", "1/2/2006", "02/01/2006", "2/1/2006", "02-01-2006"}

// date moves a date in text; false: it is none.
func (m *Masker) date(text, person string, most int) (string, bool) {
	end := 0
	for end < len(text) && text[end] != ' ' && text[end] != 'T' {
		end++
	}
	for _, layout := range layouts {
		t, err := time.Parse(layout, text[:end])
		if err == nil {
			return t.AddDate(0, 0, m.days(person, most)).Format(layout) + text[end:], true
		}
	}
	return "", false
}
