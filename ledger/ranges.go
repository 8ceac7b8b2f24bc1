package ledger

import (
	"slices"
	"sort"
)

// Ranges is a set of records. The zero value, and nil, are empty.
type Ranges struct {
	list []Range // ascending, neither touching nor empty
	more []Range // to be put in, in the order in which they came
}

// Add puts records in.
func (r *Ranges) Add(ranges []Range) {
	for _, x := range ranges {
		switch n := len(r.list); {
		case len(r.more) > 0, n > 0 && x.From < r.list[n-1].From:
			r.more = append(r.more, x)
		case n > 0 && x.From <= r.list[n-1].To:
			r.list[n-1].To = max(r.list[n-1].To, x.To)
		default:
			r.list = append(r.list, x)
		}
	}
}

// settle makes list all that there is.
func (r *Ranges) settle() {
	if len(r.more) == 0 {
		return
	}
	all := append(r.list, r.more...)
	slices.SortFunc(all, func(a, b Range) int { return int(int64(a.From) - int64(b.From)) })
	r.list, r.more = all[:0:0], nil
	r.Add(all)
}

// Remove takes records out.
func (r *Ranges) Remove(ranges []Range) {
	r.settle()
	var out Ranges
	out.Add(ranges)
	var left []Range
	for _, x := range r.list {
		from := x.From
		for _, o := range out.Within(x) {
			if from < o.From {
				left = append(left, Range{from, o.From})
			}
			from = o.To
		}
		if from < x.To {
			left = append(left, Range{from, x.To})
		}
	}
	r.list = left
}

// Within is what of the set lies in a range.
func (r *Ranges) Within(x Range) (in []Range) {
	if r == nil {
		return nil
	}
	r.settle()
	for i := sort.Search(len(r.list), func(i int) bool { return r.list[i].To > x.From }); i < len(r.list) && r.list[i].From < x.To; i++ {
		in = append(in, Range{max(x.From, r.list[i].From), min(x.To, r.list[i].To)})
	}
	return in
}

// List is the set as ascending ranges that do not touch.
func (r *Ranges) List() []Range {
	if r == nil {
		return nil
	}
	r.settle()
	return r.list
}

// Has reports whether a record is in the set.
func (r *Ranges) Has(seq uint32) bool {
	if r == nil {
		return false
	}
	r.settle()
	i := sort.Search(len(r.list), func(i int) bool { return r.list[i].To > seq })
	return i < len(r.list) && r.list[i].From <= seq
}

// Len is how many records are in the set.
func (r *Ranges) Len() (n int) {
	for _, x := range r.List() {
		n += x.Len()
	}
	return n
}

// addSeq adds a record to ascending ranges; it is none of them, or the last of all.
func addSeq(ranges []Range, seq uint32) []Range {
	if n := len(ranges); n > 0 && ranges[n-1].To >= seq {
		ranges[n-1].To = max(ranges[n-1].To, seq+1)
		return ranges
	}
	return append(ranges, One(seq))
}
