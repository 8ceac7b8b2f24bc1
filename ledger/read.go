package ledger

import "iter"

// Counts is how a table's records stand, as of the last commit. Zero for an unknown table. Cheap: meant
// for a screen that asks every second.
func (l *Ledger) Counts(name string) Counts {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if t := l.tables[name]; t != nil {
		return *t.counts
	}
	return Counts{}
}

// Spans yields the entries of all records from seq from on as spans in ascending order, as they stood at
// one commit. It holds nothing while the caller works, so it may run as long as it likes during a load.
// An unknown table has no spans. Neighbouring spans may have equal entries.
func (l *Ledger) Spans(name string, from uint32) iter.Seq[Span] {
	return func(yield func(Span) bool) {
		pages, count := l.image(name, from)
		for s := range spans(pages, Range{from, count}) {
			if !yield(s) {
				return
			}
		}
	}
}

// image copies a table's pages from the one that holds from.
func (l *Ledger) image(name string, from uint32) ([]page, uint32) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	t := l.tables[name]
	if t == nil || from >= t.Count {
		return nil, from
	}
	pages := make([]page, len(t.pages))
	first := from >> pageBits
	copy(pages[first:], t.pages[first:])
	return pages, t.Count
}

// spans yields the entries of the records in r; pages are those of the whole table.
func spans(pages []page, r Range) iter.Seq[Span] {
	return func(yield func(Span) bool) {
		for n := int(r.From >> pageBits); n < len(pages) && r.From < r.To; n++ {
			base := uint32(n) << pageBits
			for lo, run := range pages[n].runs {
				s := Span{Range{max(base+uint32(lo), r.From), uint32(min(uint64(base)+uint64(run.end), uint64(r.To)))}, Entry{}}
				if s.From >= s.To {
					continue
				}
				s.Entry = run.word.entry(run.time)
				if !yield(s) {
					return
				}
			}
		}
	}
}

// Next is the spans from seq from on that may be claimed for pass, with at most max records together;
// none when nothing waits. For Main these are unprocessed records with an action, for a later pass
// successes that owe it. It reads memory only. It does not reserve: of two callers that get the same
// records one gets a *TransitionError from Claim, so let one goroutine a table and pass hand them out.
func (l *Ledger) Next(name string, pass Pass, from uint32, max int) []Span {
	var out []Span
	counts := l.Counts(name)
	if counts.Waiting(pass) == 0 {
		return nil
	}
	for s := range l.live(name, from) {
		if max <= 0 {
			break
		}
		if s.Flag != waiting(pass) || s.Pass != pass || s.Action == Nothing {
			continue
		}
		if s.Len() > max {
			s.To = s.From + uint32(max)
		}
		max -= s.Len()
		out = append(out, s)
	}
	return out
}

// live yields spans like Spans, but looks pages up as it goes instead of copying the image first, which
// is cheaper for a reader that soon stops. Each page is as of the last commit.
func (l *Ledger) live(name string, from uint32) iter.Seq[Span] {
	return func(yield func(Span) bool) {
		for {
			p, count := l.page(name, from)
			if from >= count {
				return
			}
			base := from &^ (pageSize - 1)
			for lo, run := range p.runs {
				s := Span{Range{base + uint32(lo), uint32(min(uint64(base)+uint64(run.end), uint64(count)))}, run.word.entry(run.time)}
				s.From = max(s.From, from)
				if s.From < s.To && !yield(s) {
					return
				}
			}
			if count-base <= pageSize {
				return
			}
			from = base + pageSize
		}
	}
}

// page is the page that holds seq, and the table's count.
func (l *Ledger) page(name string, seq uint32) (page, uint32) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	t := l.tables[name]
	if t == nil || seq >= t.Count {
		return "", 0
	}
	return t.pages[seq>>pageBits], t.Count
}

// Entry is the entry of one record; false when it is outside the table.
func (l *Ledger) Entry(name string, seq uint32) (Entry, bool) {
	for s := range l.live(name, seq) {
		return s.Entry, true
	}
	return Entry{}, false
}

// InFlight lists the records in flight. Called after Open and before the first Claim, these are exactly
// the ones whose answer was lost: look each up in the target, then Settle.
func (l *Ledger) InFlight(name string) []Span {
	var out []Span
	counts := l.Counts(name)
	if counts.Flag(InFlight) == 0 {
		return nil
	}
	for s := range l.Spans(name, 0) {
		if s.Flag == InFlight {
			out = append(out, s)
		}
	}
	return out
}
