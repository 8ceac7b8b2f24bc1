package reconcile

import (
	"testing"

	"dvmigrate/appliance/dataverse/schema"
	"dvmigrate/appliance/mapping"
	"dvmigrate/duckstage"
	"dvmigrate/duckstage/column"
)

func TestDuplicateByAlternateKey(t *testing.T) {
	s := stageAccounts(t, "accountnumber, name", "'A-1', 'a'", "'Ä-2', 'b'", "NULL, 'c'", "'A-4', 'd'", "'', 'e'", "'ä-2 ', 'f'")
	target := rows{"accounts": {
		account(0, "accountnumber", "A-1", "name", "a"), account(1, "accountnumber", "Ä-2", "name", "b"), account(2, "name", "c"), account(4, "name", "e"),
		account(5, "accountnumber", "ä-2 ", "name", "f"),
		{"accountid": foreign(1), "accountnumber": "a-1  "}, // the service's index calls these the same
		{"accountid": foreign(2), "accountnumber": "ä-2"},   // of two of ours, and one duplicate all the same
		{"accountid": foreign(3), "accountnumber": "A-11"},
		{"accountid": foreign(4)},                         // a null is the same as nothing
		{"accountid": foreign(5), "accountnumber": "A-4"}, // ours was refused: this is the only one
	}}
	book := entries{"account": {loaded, loaded, loaded, failed, loaded, loaded}}
	for _, values := range []bool{true, false} {
		got := run(t, s, book, target, bind(t, world(t), "account", "accountnumber", "name"), func(o *Options) { o.Values = values })
		differ(t, got, "source 5 target 5 missing 0 extra 0 different 0 duplicates 2 others 5",
			"duplicate K0|"+foreign(1).String()+"|accountnumber|A-1|a-1  ",
			"duplicate K1|"+foreign(2).String()+"|accountnumber|Ä-2|ä-2")
	}
}

// TestDuplicateAsTheTargetComparesKeys: whether a key that differs by accents is a duplicate the
// target's language says.
func TestDuplicateAsTheTargetComparesKeys(t *testing.T) {
	for language, want := range map[int]int64{1033: 2, 1053: 1, 3082: 1} {
		s := stageAccounts(t, "accountnumber, name", "'Peña', 'a'", "'Straße', 'b'")
		target := rows{"accounts": {account(0, "accountnumber", "Peña", "name", "a"), account(1, "accountnumber", "Straße", "name", "b"),
			{"accountid": foreign(1), "accountnumber": "PENA"}, {"accountid": foreign(2), "accountnumber": "Strasse "}}}
		got := run(t, s, entries{"account": many(loaded, 2)}, target, bind(t, world(t), "account", "accountnumber", "name"), func(o *Options) { o.Collation = mapping.CollationOf(language) })
		if got.Duplicates != want {
			t.Errorf("%d: %d duplicates, want %d", language, got.Duplicates, want)
		}
	}
}

// TestKeysAreFoldedAlike: the stage's SQL and Go bring a text to the same form, for every language.
func TestKeysAreFoldedAlike(t *testing.T) {
	s := stageAccounts(t, "accountnumber", "'x'")
	texts := []string{"A-1 b ", "MÜLLER", "Mu\u0308ller", "Straße", "ẞ", "Ærø Œuvre", "Łódź Đorđe", "Peña", "ČĎĚŇŘŽ", "Ősz Űr", "İstanbul ÇAĞ", "Йй Ёё", "Ελλάδα", "東京 ガ が", "กิน Müller", "राम \u0958", "", " a"}
	for _, language := range []int{0, 1029, 1030, 1033, 1038, 1045, 1053, 1055, 3082} {
		c := mapping.CollationOf(language)
		for _, text := range texts {
			var got string
			err := s.Scan(t.Context(), "SELECT "+c.KeySQL(duckstage.Quote(text))+" AS v", nil, func(b *column.Batch) error {
				got = string(b.Columns[0].TextAt(0))
				return nil
			})
			if want := c.Key(text); err != nil || got != want {
				t.Errorf("%d: %q is %q in SQL and %q in Go, %v", language, text, got, want, err)
			}
		}
	}
}

// TestDuplicateByTwoColumns has a key of a lookup and a number; a row that is a
// duplicate by two keys counts once.
func TestDuplicateByTwoColumns(t *testing.T) {
	parent := foreign(100).String()
	s := stageAccounts(t, "accountnumber, parentid, employees", "'A-1', '"+parent+"'::UUID, 7", "'A-2', '"+parent+"'::UUID, 8", "'A-3', NULL::UUID, 8")
	target := rows{"accounts": {
		account(0, "accountnumber", "A-1", "_parentid_value", parent, "employees", 7), account(1, "accountnumber", "A-2", "_parentid_value", parent, "employees", 8),
		account(2, "accountnumber", "A-3", "employees", 8),
		{"accountid": foreign(1), "_parentid_value": parent, "employees": 8},
		{"accountid": foreign(2), "_parentid_value": parent, "employees": 9},
		{"accountid": foreign(3), "_parentid_value": foreign(101), "employees": 7},
		{"accountid": foreign(4), "employees": 8},
		{"accountid": foreign(5), "_parentid_value": parent, "employees": 7, "accountnumber": "A-1"},
	}}
	got := run(t, s, entries{"account": many(loaded, 3)}, target, bind(t, world(t), "account", "accountnumber", "parentid", "employees"))
	differ(t, got, "source 3 target 3 missing 0 extra 0 different 0 duplicates 2 others 5",
		"duplicate K0|"+foreign(5).String()+"|parentid,employees|"+parent+",7|"+parent+",7",
		"duplicate K1|"+foreign(1).String()+"|parentid,employees|"+parent+",8|"+parent+",8")
}

// TestKeyThatCannotBeCompared: a column of the key is not loaded, or none can be
// looked up.
func TestKeyThatCannotBeCompared(t *testing.T) {
	fields, keys := fieldsOf(bind(t, world(t), "account", "parentid", "rating"), true, Rules{})
	if len(keys) != 0 {
		t.Errorf("keys %+v", keys)
	}
	if _, ok := bindKey(schema.Key{Columns: []string{"rating"}}, fields); ok {
		t.Error("a key of a decimal alone has no column to look up by")
	}
}

func TestIDThatComesTwice(t *testing.T) {
	s := openStage(t, names(2))
	target := rows{"contacts": {contact(0), contact(1), {"contactid": id("contact", 0), "lastname": "other"}}}
	got := run(t, s, entries{"contact": many(loaded, 2)}, target, bind(t, world(t), "contact", "lastname"))
	differ(t, got, "source 2 target 2 missing 0 extra 0 different 0 duplicates 1 others 0",
		"duplicate K0|"+id("contact", 0).String()+"|||")
}
