package emulator

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"slices"
	"testing"

	"dvmigrate/appliance/dataverse/schema"
)

// randomID draws from few ids, so that they collide.
func randomID(r *rand.Rand, n int) schema.GUID {
	var g schema.GUID
	v := uint64(r.IntN(n))
	binary.LittleEndian.PutUint64(g[0:], v*0x9e3779b97f4a7c15)
	binary.LittleEndian.PutUint64(g[8:], v*0xbf58476d1ce4e5b9)
	return g
}

// sqlLess is SQL Server's order of uniqueidentifier, byte group by byte group.
func sqlLess(a, b schema.GUID) int {
	for _, i := range []int{10, 11, 12, 13, 14, 15, 8, 9, 7, 6, 5, 4, 3, 2, 1, 0} {
		if a[i] != b[i] {
			return int(a[i]) - int(b[i])
		}
	}
	return 0
}

func TestSortedAgainstAMap(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	var s sorted[sqlOrder, uint64]
	model := map[schema.GUID]uint64{}
	for i := range 40000 {
		id := randomID(r, 5000)
		if orderOf(id).guid() != id {
			t.Fatalf("%s does not come back from its order", id)
		}
		if r.IntN(3) == 0 {
			_, had := model[id]
			if s.remove(orderOf(id)) != had {
				t.Fatalf("remove of %s: %v", id, !had)
			}
			delete(model, id)
			continue
		}
		s.set(orderOf(id), uint64(i))
		model[id] = uint64(i)
	}
	ids := make([]schema.GUID, 0, len(model))
	for id, want := range model {
		ids = append(ids, id)
		if got, ok := s.get(orderOf(id)); !ok || got != want {
			t.Fatalf("get of %s: %d %v, want %d", id, got, ok, want)
		}
	}
	slices.SortFunc(ids, sqlLess)
	var got []schema.GUID
	s.from(orderOf(ids[100]), func(k sqlOrder, _ uint64) bool { got = append(got, k.guid()); return true })
	if !slices.Equal(got, ids[100:]) || s.n != len(ids) {
		t.Errorf("order or count is wrong: %d of %d, %d", len(got), len(ids)-100, s.n)
	}
}

func TestSortedFillsChunksInOrder(t *testing.T) {
	var s sorted[sqlOrder, uint64]
	for i := range 10 * chunkSize {
		s.set(sqlOrder{1, uint64(i)}, 0)
	}
	if len(s.chunks) != 10 {
		t.Errorf("%d chunks for ten chunks' entries that came in order", len(s.chunks))
	}
}

func TestArenaReplaces(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	d := tableData{}
	model := map[sqlOrder][]byte{}
	for i := range 20000 {
		k := sqlOrder{0, uint64(r.IntN(300))}
		data := bytes.Repeat([]byte{byte(i)}, r.IntN(300))
		if at, ok := d.rows.get(k); ok {
			d.rows.set(k, d.arena.replace(at, data))
		} else {
			d.rows.set(k, d.arena.put(data))
		}
		model[k] = data
		if i == 10000 {
			d.rewrite()
			if d.arena.dead != 0 {
				t.Errorf("%d dead bytes after the rewrite", d.arena.dead)
			}
		}
	}
	for k, want := range model {
		at, _ := d.rows.get(k)
		if got := d.arena.get(at); !bytes.Equal(got, want) {
			t.Fatalf("row %d: %d bytes, want %d", k.lo, len(got), len(want))
		}
	}
}

func TestDecimals(t *testing.T) {
	for _, c := range []struct {
		in     string
		digits int
		want   string
	}{
		{"0", 2, "0"}, {"-0.00", 2, "0"}, {"1.005", 2, "1.01"}, {"-1.005", 2, "-1.01"}, {"0.004", 2, "0"}, {"-0.004", 2, "0"}, {"999.995", 2, "1000"},
		{"1e3", 2, "1000"}, {"12.5e-3", 4, "0.0125"}, {"1.23e1", 0, "12"}, {"00.10", 4, "0.1"}, {"123456789012345678901.55", 1, "123456789012345678901.6"},
	} {
		d, ok := canonicalDecimal(c.in)
		if got := roundDecimal(d, c.digits); !ok || got != c.want {
			t.Errorf("%s to %d digits is %s %v, want %s", c.in, c.digits, got, ok, c.want)
		}
	}
	for _, bad := range []string{"", "-", ".5", "5.", "1e", "1e999", "0x1", "1 2"} {
		if d, ok := canonicalDecimal(bad); ok {
			t.Errorf("%q is taken for %s", bad, d)
		}
	}
}

func FuzzScanner(f *testing.F) {
	f.Add([]byte(`{"name":"x","revenue":1.5e2,"primarycontactid":{"lastname":"\ud83d\ude00"},"a@odata.bind":"contacts(x)"}`))
	f.Add(bulkBody(0, 2))
	srv, err := New(Options{Schema: world(f)})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		c := srv.seedCall(srv.model.byName["account"], body)
		c.decodeRow(c.table, false)
		c.decodeTargets(bulkAction{"UpsertMultiple", "upsert"})
		s := scanner{b: body}
		if s.skip(0) == nil && s.end() == nil && !bytes.HasPrefix(bytes.TrimSpace(body), []byte("{")) {
			s = scanner{b: body}
			if _, _, err := s.literal(); err != nil {
				t.Errorf("skip takes what literal refuses: %q", body)
			}
		}
	})
}

func FuzzBatch(f *testing.F) {
	f.Add([]byte(batch(part("POST accounts", `{"name":"x"}`))))
	f.Add([]byte(batch(changeSet(part("POST accounts", `{}`, contentID(1))))))
	f.Fuzz(func(t *testing.T, body []byte) {
		items, err := parseBatch(body, "batch_7f1c", false)
		for _, it := range items {
			for _, op := range it.ops {
				if err == nil && (op.method == "" || len(op.body) > len(body)) {
					t.Errorf("an operation without a method: %q", body)
				}
			}
		}
	})
}
