package config

import (
	"slices"
	"strings"
)

// Nearest returns the known name that name was most likely meant to be, or "" if none
// is near. It counts the letters to insert, remove, change or swap with their
// neighbour, not minding case; near is up to a third of the longer name's letters, and
// at least one. Of equally near names the first in known wins.
func Nearest(name string, known []string) string {
	best, least := "", -1
	word := []rune(strings.ToLower(name))
	for _, k := range known {
		other := []rune(strings.ToLower(k))
		d := distance(word, other)
		if d > max(1, max(len(word), len(other))/3) || d >= max(len(word), len(other)) {
			continue
		}
		if least < 0 || d < least {
			best, least = k, d
		}
	}
	return best
}

// distance is the optimal string alignment distance of a and b: three rows of the
// table are kept, since a swap looks two rows back.
func distance(a, b []rune) int {
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		before, last, row = last, row, before
		row[0] = i
		for j := 1; j <= len(b); j++ {
			change := last[j-1]
			if a[i-1] != b[j-1] {
				change++
			}
			row[j] = min(change, last[j]+1, row[j-1]+1)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
	}
	return row[len(b)]
}

// didYouMean is the hint for an unknown name: the nearest known one, or all of them if
// they are few.
func didYouMean(name string, known []string) string {
	if near := Nearest(name, known); near != "" {
		return "did you mean `" + near + "`?"
	}
	if len(known) == 0 || len(known) > 15 {
		return ""
	}
	known = slices.DeleteFunc(slices.Clone(known), func(k string) bool { return k == "" })
	return "known are " + strings.Join(known, ", ")
}
