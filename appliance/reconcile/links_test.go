package reconcile

import (
	"fmt"
	"testing"

	"dvmigrate/appliance/dataverse/schema"
	"dvmigrate/ledger"
)

// link is a row of the intersect table, with an id that the service made.
func link(n byte, a, c schema.GUID) row {
	return row{"memberid": schema.GUID{0xaa, 15: n}, "accountid": a, "contactid": c}
}

// stageLinks stages links of account and contact numbers.
func stageLinks(t testing.TB, pairs ...[2]uint32) stage {
	t.Helper()
	query := ""
	for i, p := range pairs {
		if i > 0 {
			query += " UNION ALL "
		}
		query += fmt.Sprintf("SELECT %d::UINTEGER AS dm_seq, 'L%d' AS legacy_key, '%s'::UUID AS accountid, '%s'::UUID AS contactid", i, i, id("account", p[0]), id("contact", p[1]))
	}
	s := openStage(t, map[string]string{"member": "SELECT *, " + idSQL("member") + " AS dm_id FROM (" + query + ")"})
	for seq := uint32(6); seq < 9; seq++ {
		exec(t, s, fmt.Sprintf(`INSERT INTO dm.gone ("table", seq, dm_id, legacy_key, generation, end1, end2) VALUES ('member', %d, '%s', 'L%d', 2, '%s', '%s')`,
			seq, id("member", seq), seq, id("account", 10+seq), id("contact", 10+seq)))
	}
	return s
}

func TestLinks(t *testing.T) {
	s := stageLinks(t, [2]uint32{0, 0}, [2]uint32{0, 1}, [2]uint32{1, 0}, [2]uint32{1, 1}, [2]uint32{2, 0}, [2]uint32{0, 0})
	book := entries{"member": {loaded, loaded, failed, loaded, awaiting, loaded, loaded, loaded, {Action: ledger.Delete, Flag: ledger.Processed}}} // the last three are gone from the stage
	a, c := func(n uint32) schema.GUID { return id("account", n) }, func(n uint32) schema.GUID { return id("contact", n) }
	target := rows{"members": {
		link(1, a(0), c(0)), // staged twice, as rows 0 and 5
		link(2, a(1), c(0)), // refused, and there
		link(3, a(1), c(1)), link(4, a(1), c(1)),
		link(5, a(7), c(7)),             // of two records of ours, and nobody staged it
		link(6, a(0), foreign(1)),       // of one
		link(7, foreign(2), c(0)),       // of the other
		link(8, foreign(2), foreign(3)), // of none
		link(9, a(16), c(16)),           // its row is gone, and it stays; that of row 7 went with an end
		link(10, a(18), c(18)),          // its row is gone, and it was to be taken back
	}}
	got := run(t, s, book, target, bind(t, world(t), "member", "accountid", "contactid"))
	columns := "|accountid,contactid|"
	differ(t, got, "source 5 target 5 missing 1 extra 3 different 0 duplicates 1 others 3",
		"missing L1|"+columns+a(0).String()+","+c(1).String()+"|",
		"extra L2|"+columns+"|"+a(1).String()+","+c(0).String(),
		"extra |"+columns+"|"+a(7).String()+","+c(7).String(),
		"extra |"+columns+"|"+a(18).String()+","+c(18).String(),
		"duplicate L3|"+columns+"|"+a(1).String()+","+c(1).String())

	// Without a way to tell our records, what nobody staged is the others'.
	got = run(t, s, book, target, bind(t, world(t), "member", "accountid", "contactid"), func(o *Options) { o.RecordSeq, o.Limit = nil, 0 })
	differ(t, got, "source 5 target 5 missing 1 extra 1 different 0 duplicates 1 others 5")
}

// TestLinkTwiceInDifferentGroups has the same link so far apart that it is compared
// twice, also when two staged rows are that link.
func TestLinkTwiceInDifferentGroups(t *testing.T) {
	s := stageLinks(t, [2]uint32{0, 0}, [2]uint32{0, 0})
	target := rows{"members": {link(1, id("account", 0), id("contact", 0))}}
	for i := range groupRows {
		target["members"] = append(target["members"], link(byte(i), foreign(1), foreign(byte(i))))
	}
	target["members"] = append(target["members"], target["members"][0])
	got := run(t, s, entries{"member": many(loaded, 2)}, target, bind(t, world(t), "member", "accountid", "contactid"), func(o *Options) { o.Limit = 0 })
	differ(t, got, fmt.Sprintf("source 2 target 2 missing 0 extra 0 different 0 duplicates 1 others %d", groupRows))
}

func TestLinkInFlightIsNeither(t *testing.T) {
	s := stageLinks(t, [2]uint32{0, 0}, [2]uint32{0, 1})
	target := rows{"members": {link(1, id("account", 0), id("contact", 0))}}
	e := ledger.Entry{Action: ledger.Insert, Flag: ledger.InFlight}
	got := run(t, s, entries{"member": {e, e}}, target, bind(t, world(t), "member", "accountid", "contactid"))
	differ(t, got, "source 0 target 1 missing 0 extra 0 different 0 duplicates 0 others 0")
}
