package emulator

import "slices"

// least keeps the n smallest of what is added, in the order of compare, which must
// tell any two apart. It holds up to 2n of them and sorts when they are that many, so
// that a page out of a million rows costs little whatever order they come in.
type least[T any] struct {
	n       int
	compare func(a, b T) int
	items   []T
	bounded bool // items[n-1] is the largest that may stay
}

// takes reports whether x would be kept: making more of it is worth while.
func (l *least[T]) takes(x T) bool {
	return l.n > 0 && (!l.bounded || l.compare(x, l.items[l.n-1]) < 0)
}

func (l *least[T]) add(x T) {
	if !l.takes(x) {
		return
	}
	l.items = append(l.items, x)
	if len(l.items) >= 2*l.n {
		l.trim()
		l.bounded = true
	}
}

func (l *least[T]) trim() {
	slices.SortFunc(l.items, l.compare)
	if len(l.items) > l.n {
		clear(l.items[l.n:])
		l.items = l.items[:l.n]
	}
}

// sorted is what was kept, in order. Nothing may be added after it.
func (l *least[T]) sorted() []T {
	l.trim()
	return l.items
}
