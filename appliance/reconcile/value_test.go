package reconcile

import (
	"fmt"
	"testing"

	"dvmigrate/appliance/dataverse/schema"
	"dvmigrate/appliance/mapping"
	"dvmigrate/duckstage/column"
	"dvmigrate/ledger"
)

// TestSame stages a value in SQL and reads it back as the service would write it
// (dataverse-web-api.md 4).
func TestSame(t *testing.T) {
	const guidText = "0f0e0d0c-0b0a-0908-0706-050403020100"
	s := openStage(t, nil)
	tests := []struct {
		column string
		staged string // SQL
		got    string // JSON
		same   bool
	}{
		{"name", `'Müller & Söhne'`, `"Müller & Söhne"`, true},
		{"name", `'M"x\y' || chr(10)`, `"M\"x\\y\n"`, true},
		{"name", `'Müller'`, `"M\u00fcller"`, true},
		{"name", `'abc'`, `"Abc"`, false},
		{"name", `'abc'`, `"abc "`, false},
		{"name", `'abc'`, `null`, false},
		{"name", `'null'`, `null`, false},
		{"name", `''`, `null`, true},
		{"name", `NULL::VARCHAR`, `null`, true},
		{"name", `NULL::VARCHAR`, `""`, true},
		{"name", `NULL::VARCHAR`, ``, true},
		{"name", `NULL::VARCHAR`, `"x"`, false},
		{"number", `NULL::VARCHAR`, `"A-00007"`, true}, // an auto-number
		{"number", `'A-1'`, `"A-00007"`, false},
		{"description", `'a' || chr(13) || chr(10) || 'b'`, `"a\r\nb"`, true},
		{"employees", `42`, `42`, true},
		{"employees", `42`, `"42"`, true},
		{"employees", `42`, `43`, false},
		{"employees", `0`, `null`, false},
		{"employees", `NULL::INTEGER`, `0`, false},
		{"big", `9007199254740993::BIGINT`, `9007199254740993`, true},
		{"big", `9007199254740993::BIGINT`, `9007199254740992`, false},
		{"rating", `12.3456::DECIMAL(16,4)`, `12.3456`, true},
		{"rating", `12.3::DECIMAL(16,4)`, `12.3000000000`, true},
		{"rating", `12::DECIMAL(16,4)`, `12`, true},
		{"rating", `0::DECIMAL(16,4)`, `-0.0`, true},
		{"rating", `1200::DECIMAL(16,4)`, `1.2E+3`, true},
		{"rating", `-0.0001::DECIMAL(16,4)`, `-0.0001`, true},
		{"rating", `12.3456::DECIMAL(16,4)`, `12.3457`, false},
		{"rating", `12.34565::DECIMAL(17,5)`, `12.3457`, true}, // rounded to four digits
		{"rating", `12.34561::DECIMAL(17,5)`, `12.3457`, false},
		{"rating", `99999999999.9999::DECIMAL(16,4)`, `99999999999.9999`, true},
		{"rating", `99999999999.9999::DECIMAL(16,4)`, `99999999999.9998`, false},
		{"rating", `12::DECIMAL(16,4)`, `"twelve"`, false},
		{"rating", `12::DECIMAL(16,4)`, `1e999999999`, false},
		{"revenue", `5000000.00::DECIMAL(17,2)`, `5000000.0000`, true},
		{"revenue", `922337203685477.58::DECIMAL(17,2)`, `922337203685477.58`, true},
		{"revenue", `922337203685477.58::DECIMAL(17,2)`, `922337203685477.57`, false},
		{"revenue", `0.01::DECIMAL(17,2)`, `0.02`, false},
		{"debt", `12.3456::DECIMAL(19,4)`, `12.3456`, true}, // the precision is the currency's, which is not known
		{"debt", `12.3456::DECIMAL(19,4)`, `12.35`, true},
		{"debt", `12.3456::DECIMAL(19,4)`, `12.3500`, true},
		{"debt", `12.3456::DECIMAL(19,4)`, `12.34`, false},
		{"debt", `12.3456::DECIMAL(19,4)`, `12.3457`, false},
		{"debt", `12.3456::DECIMAL(19,4)`, `12`, false},
		{"latitude", `47.6395834::DOUBLE`, `47.63958`, true},
		{"latitude", `-90::DOUBLE`, `-90.0`, true},
		{"latitude", `0.000005::DOUBLE`, `0.00001`, true},
		{"latitude", `99999999999.12345::DOUBLE`, `99999999999.12345`, true},
		{"latitude", `47.6395834::DOUBLE`, `47.63957`, false},
		{"onhold", `true`, `true`, true},
		{"onhold", `false`, `true`, false},
		{"onhold", `false`, `null`, false},
		{"onhold", `NULL::BOOLEAN`, `false`, true}, // its default
		{"onhold", `NULL::BOOLEAN`, `true`, false},
		{"onhold", `NULL::BOOLEAN`, `null`, true},
		{"category", `2`, `2`, true},
		{"category", `2`, `1`, false},
		{"category", `NULL::INTEGER`, `1`, false},
		{"contactmethod", `NULL::INTEGER`, `1`, true},  // its default
		{"contactmethod", `NULL::INTEGER`, `2`, false}, // somebody's
		{"contactmethod", `NULL::INTEGER`, `null`, true},
		{"contactmethod", `2`, `1`, false},
		{"rank", `NULL::INTEGER`, `7`, true}, // the schema's default is none of its options
		{"tags", `'30,10'`, `"10,30"`, true},
		{"tags", `'10, 30'`, `"10,30"`, true},
		{"tags", `'10'`, `"10,30"`, false},
		{"tags", `''`, `null`, true},
		{"tags", `'10'`, `null`, false},
		{"founded", `DATE '1999-12-31'`, `"1999-12-31"`, true},
		{"founded", `DATE '1753-01-01'`, `"1753-01-01"`, true},
		{"founded", `DATE '1999-12-31'`, `"1999-12-31T00:00:00Z"`, true},
		{"founded", `DATE '1999-12-31'`, `"1999-12-30"`, false},
		{"founded", `DATE '1999-12-31'`, `"1999"`, false},
		{"seen", `TIMESTAMP '2024-05-31 22:00:00.999'`, `"2024-05-31T22:00:00Z"`, true},
		{"seen", `TIMESTAMP '1960-05-31 22:00:00.999'`, `"1960-05-31T22:00:00Z"`, true},
		{"seen", `TIMESTAMP '2024-05-31 22:00:00'`, `"2024-06-01T00:00:00+02:00"`, true},
		{"seen", `TIMESTAMP '2024-05-31 22:00:00'`, `"2024-05-31T22:00:01Z"`, false},
		{"seen", `TIMESTAMP '2024-05-31 22:00:00'`, `"yesterday"`, false},
		{"local", `TIMESTAMP '2024-03-31 02:30:00'`, `"2024-03-31T02:30:00Z"`, true}, // of no zone: an hour that some zones skip
		{"local", `TIMESTAMP '2024-03-31 02:30:00'`, `"2024-03-31T01:30:00Z"`, false},
		{"seen", `NULL::TIMESTAMP`, `null`, true},
		{"founded", `NULL::DATE`, `"1900-01-01"`, false},
		{"token", `'` + guidText + `'::UUID`, `"` + guidText + `"`, true},
		{"token", `'` + guidText + `'::UUID`, `"0F0E0D0C-0B0A-0908-0706-050403020100"`, true},
		{"token", `'` + guidText + `'::UUID`, `"1f0e0d0c-0b0a-0908-0706-050403020100"`, false},
		{"parentid", `'` + guidText + `'::UUID`, `"` + guidText + `"`, true},
		{"parentid", `'` + guidText + `'::UUID`, `null`, false},
		{"parentid", `NULL::UUID`, `"` + guidText + `"`, false},
		{"parentid", `NULL::UUID`, `null`, true},
		{"transactioncurrencyid", `NULL::UUID`, `"` + guidText + `"`, true}, // the caller's
		{"ownerid", `NULL::UUID`, `"` + guidText + `"`, true},               // the caller
		{"statecode", `NULL::INTEGER`, `0`, true},
		{"statuscode", `2`, `1`, false},
		{"overriddencreatedon", `NULL::TIMESTAMP`, `"2024-05-31T22:00:00Z"`, true}, // when it was created
	}
	w := world(t)
	for _, tt := range tests {
		columns := []string{tt.column}
		if tt.column == "statuscode" {
			columns = []string{"statecode", "statuscode"}
		}
		fields, _ := fieldsOf(bind(t, w, "account", columns...), true, Rules{})
		f := fields[len(fields)-1]
		err := s.Scan(t.Context(), "SELECT "+tt.staged+" AS v", nil, func(b *column.Batch) error {
			v := b.Column("v")
			if v.Type != vectorType[f.kind] {
				return fmt.Errorf("staged as %s, not as %s", v.Type, vectorType[f.kind])
			}
			if got := f.same(v, 0, []byte(tt.got)); got != tt.same {
				t.Errorf("%s: %s reads back as %s: same is %t", tt.column, tt.staged, tt.got, got)
			}
			return nil
		})
		if err != nil {
			t.Errorf("%s %s: %v", tt.column, tt.staged, err)
		}
	}
}

// stageAccounts stages accounts with the given column values, in SQL.
func stageAccounts(t testing.TB, columns string, values ...string) stage {
	t.Helper()
	query := ""
	for i, v := range values {
		if i > 0 {
			query += " UNION ALL "
		}
		query += fmt.Sprintf("SELECT %d::UINTEGER AS dm_seq, 'K%d' AS legacy_key, %s", i, i, v)
	}
	return openStage(t, map[string]string{"account": "SELECT *, " + idSQL("account") + " AS dm_id FROM (" + query + ") t(dm_seq, legacy_key, " + columns + ")"})
}

// TestEveryDifferenceIsShown has one record that differs in three columns and counts
// once, beside one that does not.
func TestEveryDifferenceIsShown(t *testing.T) {
	s := stageAccounts(t, "name, revenue, parentid", "'A', 1.5::DECIMAL(17,2), '"+id("account", 1).String()+"'::UUID", "'B', NULL::DECIMAL(17,2), NULL::UUID")
	target := rows{"accounts": {account(0, "name", "a", "revenue", 1.51, "_parentid_value", id("account", 0)), account(1, "name", "B")}}
	got := run(t, s, entries{"account": many(loaded, 2)}, target, bind(t, world(t), "account", "name", "revenue", "parentid"))
	who := "different K0|" + id("account", 0).String()
	differ(t, got, "source 2 target 2 missing 0 extra 0 different 1 duplicates 0 others 0",
		who+"|name|A|a", who+"|revenue|1.50|1.51", who+"|parentid|"+id("account", 1).String()+"|"+id("account", 0).String())
}

// TestWhatIsYetToBeWritten goes through the states in which not all of a record has
// been written. The target has nothing of what is staged, so that each column that
// is compared is shown.
func TestWhatIsYetToBeWritten(t *testing.T) {
	s := stageAccounts(t, "name, fixed, later, parentid, statecode, statuscode",
		"'A', 'B', 'C', '"+id("account", 0).String()+"'::UUID, 1, 2")
	table := bind(t, world(t), "account", "name", "fixed", "later", "parentid", "statecode", "statuscode")
	tests := []struct {
		entry string
		want  string
	}{
		{"I/P main", "name fixed statecode statuscode parentid"}, // an insert does not write later, which only an update takes
		{"U/P main", "name later statecode statuscode parentid"}, // an update does not write fixed
		{"I/S lookups", "name fixed"},
		{"I/E lookups", "name fixed"},
		{"I/S state", "name fixed parentid"},
		{"I/H state", "name fixed parentid"},
		{"U/S lookups", "name later"},
		{"U/U main", ""},
		{"U/E main", ""},
		{"D/E main", ""},
		{"I/F main", ""},
	}
	for _, tt := range tests {
		target := rows{"accounts": {account(0, "statecode", 0, "statuscode", 1)}}
		got := run(t, s, entries{"account": {entryOf(tt.entry)}}, target, table)
		columns := ""
		for i, m := range got.Mismatches {
			if i > 0 {
				columns += " "
			}
			columns += m.Column
		}
		if columns != tt.want {
			t.Errorf("%s: different are %q, want %q", tt.entry, columns, tt.want)
		}
	}
}

// TestDeferredLookupIsNotTheOthers: before the second pass an empty lookup may be one
// that was left empty; a wrong one is wrong.
func TestDeferredLookupIsNotTheOthers(t *testing.T) {
	s := stageAccounts(t, "parentid", "'"+id("account", 0).String()+"'::UUID")
	target := rows{"accounts": {account(0, "_parentid_value", foreign(1))}}
	got := run(t, s, entries{"account": {{Action: ledger.Insert, Flag: ledger.Success, Pass: ledger.Lookups}}}, target, bind(t, world(t), "account", "parentid"))
	if got.Different != 1 {
		t.Errorf("%v", brief(got))
	}
}

// TestCreatedOn: overriddencreatedon reads back as createdon, and after an update is
// not compared, since an update does not write it.
func TestCreatedOn(t *testing.T) {
	when := "TIMESTAMP '2019-02-03 04:05:06'"
	s := stageAccounts(t, "overriddencreatedon", when, when, when, "NULL::TIMESTAMP")
	now := "2026-11-22T16:00:00Z"
	target := rows{"accounts": {
		account(0, "createdon", "2019-02-03T04:05:06Z", "overriddencreatedon", now),
		account(1, "createdon", now), // the user may not override it, and the service did not say so
		account(2, "createdon", now),
		account(3, "createdon", now)}}
	got := run(t, s, entries{"account": {loaded, loaded, updated, loaded}}, target, bind(t, world(t), "account", "overriddencreatedon"))
	differ(t, got, "source 4 target 4 missing 0 extra 0 different 1 duplicates 0 others 0",
		"different K1|"+id("account", 1).String()+"|createdon|2019-02-03T04:05:06Z|"+now)
}

// TestNotComparable: what cannot be read back as written is not even asked for.
func TestNotComparable(t *testing.T) {
	fields, _ := fieldsOf(bind(t, world(t), "account", "picture", "secret", "name"), true, Rules{})
	if got := fmt.Sprint(members("accountid", fields)); got != "[accountid name]" {
		t.Errorf("selected are %s", got)
	}
	// Ids alone need no column at all but those of alternate keys.
	fields, _ = fieldsOf(bind(t, world(t), "account", "name", "accountnumber"), false, Rules{})
	if got := fmt.Sprint(members("accountid", fields)); got != "[accountid accountnumber]" {
		t.Errorf("selected are %s", got)
	}
}

// TestPoorSchema: where the schema says no precision, the digits that come back do.
func TestPoorSchema(t *testing.T) {
	c := mapping.Column{Column: &schema.Column{LogicalName: "rating", Type: schema.Decimal}}
	f, ok := columnField(&schema.Table{}, c)
	if !ok {
		t.Fatal("the column is not compared")
	}
	for got, want := range map[string]bool{"12.346": true, "12.35": true, "12.3456": true, "12.345": false, "12.3": false} {
		if same := f.sameDecimal([]byte("12.3456000000"), []byte(got)); same != want {
			t.Errorf("12.3456 reads back as %s: same is %t", got, same)
		}
	}
}
