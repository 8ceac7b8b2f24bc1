package load

import (
	"cmp"
	"context"
	"slices"

	"dvmigrate/appliance/dataverse/schema"
	"dvmigrate/appliance/mapping"
	"dvmigrate/ledger"
)

// A survey goes by what is below records that are to be deleted, as a rollback does (along.go).

// inTree is a record to be deleted that keeps another of its table from it, while it is there.
type inTree struct{ child, parent uint32 }

// staying is what of a table's records is to go back and will be where it is.
type staying struct {
	left  ledger.Ranges
	moved map[string]*ledger.Ranges // of the others: those that get another value, by lookup
}

// restored notes which records stay as they are, and which will not be below what they are below.
func (v *survey) restored(s *sender) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.staying.moved == nil {
		v.staying.moved = map[string]*ledger.Ranges{}
	}
	for i, seq := range s.j.seqs {
		if s.j.results[i].result == ledger.ResultHeld {
			v.staying.left.Add([]ledger.Range{ledger.One(seq)})
			continue
		}
		for _, r := range v.table.Schema.ManyToOne {
			if _, had := s.j.formers[i].had[lookupRead(r.Column)]; had && r.Cascade["Delete"] == "Cascade" {
				if v.staying.moved[r.Column] == nil {
					v.staying.moved[r.Column] = &ledger.Ranges{}
				}
				v.staying.moved[r.Column].Add([]ledger.Range{ledger.One(seq)})
			}
		}
	}
}

// there is a record that is to be deleted and that the target has.
type there struct {
	seq uint32
	id  schema.GUID
}

// leave counts records that stay.
func (v *survey) leave(set ...there) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.found.Left += int64(len(set))
	for _, x := range set {
		v.staying.left.Add([]ledger.Range{ledger.One(x.seq)})
	}
}

// counted tells that records were looked at.
func (v *survey) counted(n int) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.count(int64(n))
}

// under is a relationship by which a deletion takes records of a table along.
type under struct {
	table *mapping.Table
	r     schema.Relationship
}

// toLookUnder are those by which children of the table are to be looked for, as theirs was not read as a whole.
func (v *survey) toLookUnder() (all []under) {
	for _, t := range v.l.o.Tables {
		if v.l.o.TargetSeq == nil || v.whole.tables[t.Name] {
			continue
		}
		for _, r := range DeletesAlong(v.table.Name, t) {
			all = append(all, under{t, r})
		}
	}
	return all
}

// free counts records that nobody has changed: they are deleted, unless something is below them that stays.
func (v *survey) free(ctx context.Context, set *ledger.Ranges) error {
	ways := v.toLookUnder()
	if len(ways) == 0 || set.Len() == 0 {
		v.mu.Lock()
		defer v.mu.Unlock()
		v.found.Delete += int64(set.Len())
		return nil
	}
	return v.l.eachOf(ctx, ctx, v.l.backWork(v.table, v.step, Delete, ledger.Delete, set), set, "true", func(ctx context.Context, s *sender) error {
		all := make([]there, len(s.j.seqs))
		for i := range all {
			all[i] = there{s.j.seqs[i], s.j.ids[i]}
		}
		return v.lookUnder(ctx, all, ways)
	})
}

// lookUnder counts records that nobody has changed: they are deleted, unless the target would take others along
// that stay (leaveParents).
func (v *survey) lookUnder(ctx context.Context, set []there, ways []under) error {
	if len(set) == 0 {
		return nil
	}
	parents := make([]schema.GUID, len(set))
	for k, x := range set {
		parents[k] = x.id
	}
	stays := map[int]bool{}
	for _, u := range ways {
		err := v.l.childrenOf(ctx, v.l.o.Target(u.table.Name), u.table, u.r, parents, func(k int, child schema.GUID) {
			stays[k] = stays[k] || v.keeps(u.table.Name, u.r.Column, child, set[k].seq)
		})
		if err != nil {
			return err
		}
	}
	var left []there
	for k := range stays {
		if stays[k] {
			left = append(left, set[k])
		}
	}
	v.leave(left...)
	v.mu.Lock()
	defer v.mu.Unlock()
	v.found.Delete += int64(len(set) - len(left))
	return nil
}

// keeps reports whether a child keeps what it is below from being deleted.
func (v *survey) keeps(table, column string, child schema.GUID, parent uint32) bool {
	seq, _, ours := v.l.ours(table, child)
	if !ours {
		return !v.l.back.Overwrite
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	goes := v.l.back.Tables[table].Delete.Has(seq)
	if table == v.table.Name && goes { // whether it does is not known yet
		v.inTree = append(v.inTree, inTree{seq, parent})
		return false
	}
	b := v.below[table]
	return b == nil || b.left.Has(seq) || !goes && !b.moved[column].Has(seq)
}

// leaveAbove leaves what is above records that stay, to any height.
func (v *survey) leaveAbove(ctx context.Context) error {
	kept := v.whole.kept[v.table.Name]
	for _, r := range v.l.back.Tables[v.table.Name].Delete.List() {
		for _, k := range kept.Within(r) {
			for seq := k.From; seq < k.To; seq++ {
				if !v.staying.left.Has(seq) {
					v.keptToo = append(v.keptToo, seq)
				}
			}
		}
	}
	for _, seq := range v.keptToo {
		v.staying.left.Add([]ledger.Range{ledger.One(seq)})
	}
	slices.SortFunc(v.inTree, func(a, b inTree) int { return cmp.Compare(a.child, b.child) })
	left := map[uint32]bool{} // that were not
	var next []uint32
	for i, x := range v.inTree {
		if (i == 0 || x.child != v.inTree[i-1].child) && v.staying.left.Has(x.child) {
			next = append(next, x.child)
		}
	}
	for len(next) > 0 {
		child := next[len(next)-1]
		next = next[:len(next)-1]
		i, _ := slices.BinarySearchFunc(v.inTree, child, func(x inTree, child uint32) int { return cmp.Compare(x.child, child) })
		for ; i < len(v.inTree) && v.inTree[i].child == child; i++ {
			if parent := v.inTree[i].parent; !left[parent] && !v.staying.left.Has(parent) {
				left[parent] = true
				next = append(next, parent)
			}
		}
	}
	more := int64(len(left) + len(v.keptToo))
	v.found.Delete, v.found.Left = v.found.Delete-more, v.found.Left+more
	for seq := range left {
		v.staying.left.Add([]ledger.Range{ledger.One(seq)})
	}
	v.staying.left.List() // so that Has may be called from many sides
	v.inTree, v.keptToo = nil, nil
	return v.keepLate(ctx)
}
