package emulator

import (
	"hash/maphash"
	"slices"

	"dvmigrate/appliance/dataverse/schema"
)

// keyIndex finds rows by the hash of an alternate key's values. A hit is always
// checked against the row; more takes the rare rows whose hash another row has.
type keyIndex struct {
	ids  map[uint64]schema.GUID
	more map[uint64][]schema.GUID
}

func (x *keyIndex) add(h uint64, id schema.GUID) {
	if x.ids == nil {
		x.ids = map[uint64]schema.GUID{}
	}
	if _, taken := x.ids[h]; !taken {
		x.ids[h] = id
		return
	}
	if x.more == nil {
		x.more = map[uint64][]schema.GUID{}
	}
	x.more[h] = append(x.more[h], id)
}

func (x *keyIndex) remove(h uint64, id schema.GUID) {
	if x.ids[h] != id {
		x.more[h] = slices.DeleteFunc(x.more[h], func(g schema.GUID) bool { return g == id })
		return
	}
	rest := x.more[h]
	if len(rest) == 0 {
		delete(x.ids, h)
		return
	}
	x.ids[h], x.more[h] = rest[0], rest[1:]
}

var keySeed = maphash.MakeSeed()

// hashKey hashes the key's values; ok is false when one is null, which the unique
// index does not constrain (section 3.4).
func hashKey(k *altKey, get func(*column) value) (h uint64, ok bool) {
	var m maphash.Hash
	m.SetSeed(keySeed)
	for _, c := range k.cols {
		v := get(c)
		switch v.kind {
		case kindNull:
			return 0, false
		case kindText:
			m.WriteString(k.t.texts.key(v.text))
		case kindDecimal:
			m.WriteString(v.text)
		case kindGUID, kindRef:
			m.Write(v.guid[:])
		default:
			for i := range 8 {
				m.WriteByte(byte(v.n >> (8 * i)))
			}
		}
		m.WriteByte(0)
	}
	return m.Sum64(), true
}

// sameKey compares two values as the unique index does (section 3.4).
func (k *collation) sameKey(a, b value) bool {
	if a.kind == kindText && b.kind == kindText {
		return k.same(a.text, b.text)
	}
	if a.kind == kindRef || a.kind == kindGUID { // a key in a URL does not name the target
		return a.guid == b.guid
	}
	return a == b
}

// findKey finds the row with the key values, given in the order of k.cols.
func (s *store) findKey(k *altKey, vals []value) (schema.GUID, bool) {
	return s.findKeyBy(k, func(c *column) value { return vals[slices.Index(k.cols, c)] })
}

func (s *store) findKeyBy(k *altKey, get func(*column) value) (schema.GUID, bool) {
	h, ok := hashKey(k, get)
	if !ok {
		return schema.GUID{}, false
	}
	x := &s.tables[k.t.idx].keys[k.idx]
	id, ok := x.ids[h]
	if !ok {
		return schema.GUID{}, false
	}
	if s.holdsKey(k, id, get) {
		return id, true
	}
	for _, id := range x.more[h] {
		if s.holdsKey(k, id, get) {
			return id, true
		}
	}
	return schema.GUID{}, false
}

func (s *store) holdsKey(k *altKey, id schema.GUID, get func(*column) value) bool {
	r, ok := (&tx{s: s}).row(k.t, id)
	if !ok {
		return false
	}
	for _, c := range k.cols {
		if !k.t.texts.sameKey(r.value(c), get(c)) {
			return false
		}
	}
	return true
}
