package ledger

import bolt "go.etcd.io/bbolt"

// Stats says what takes how much room in a ledger. Sizes are bytes.
type Stats struct {
	File    int64         `json:"file"`   // size of the file
	Free    int64         `json:"free"`   // of it, pages that are free to be used again: what Compact gives back
	Memory  int64         `json:"memory"` // of the image that an open ledger keeps
	Buckets []BucketStats `json:"buckets"`
	Tables  []TableStats  `json:"tables"`
}

// BucketStats is the room that one part of the file takes.
type BucketStats struct {
	Name  string `json:"name"`
	Keys  int64  `json:"keys"`
	Used  int64  `json:"used"`  // keys, values and what bbolt needs for each
	Pages int64  `json:"pages"` // bytes of the pages they lie on; 0: within another page, being small
}

// TableStats is what a table's entries take in memory and in the bucket pages.
type TableStats struct {
	Name     string `json:"name"`
	Records  int64  `json:"records"`
	Runs     int64  `json:"runs"`     // stretches of equal entries: the fewer, the smaller
	Bytes    int64  `json:"bytes"`    // of the entries
	Failures int64  `json:"failures"` // failed and held records, each with a reason of its own
}

// Stats measures the ledger.
func (l *Ledger) Stats() (s Stats, err error) {
	if s.File, err = fileSize(l.path); err != nil {
		return s, err
	}
	err = l.view(func(tx *bolt.Tx) error {
		all := tx.Cursor().Bucket().Stats()
		s.Free = s.File - int64(all.BranchAlloc+all.LeafAlloc)
		for _, name := range buckets {
			b := tx.Bucket(name)
			if b == nil {
				continue
			}
			n := b.Stats()
			one := BucketStats{Name: string(name), Keys: int64(n.KeyN), Used: int64(n.BranchInuse + n.LeafInuse + n.InlineBucketInuse), Pages: int64(n.BranchAlloc + n.LeafAlloc)}
			s.Buckets = append(s.Buckets, one)
		}
		return nil
	})
	if err != nil {
		return s, err
	}
	for _, t := range l.Tables() {
		pages, _ := l.image(t.Name, 0)
		c := l.Counts(t.Name)
		one := TableStats{Name: t.Name, Records: int64(t.Count), Failures: int64(c.Flag(Failed) + c.Flag(Held))}
		for _, p := range pages {
			one.Bytes += int64(len(p))
			for range p.runs {
				one.Runs++
			}
		}
		s.Memory += one.Bytes + 16*int64(len(pages)) // a string's own 16 bytes
		s.Tables = append(s.Tables, one)
	}
	return s, nil
}
