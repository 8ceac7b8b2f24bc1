package transform

import (
	"fmt"
	"strings"
)

// Table is a table to stage.
type Table struct {
	Name string // logical name
	File string // where SQL comes from, for messages
	SQL  string // one SELECT; comments and a semicolon at the end are fine

	Columns []Column
	Lookups []Lookup
	Lists   []List
	Ends    []string // of an N:N link: the two lookup columns, kept of rows that are gone
	KeepID  string   // the column that has the record id; "" when ids are assigned
	Repairs []Repair
	Checks  []Check
	MaxGone float64 // share of the rows of the staging before that may be gone; 0: all may
	Known   Known   // what the target holds of the rows, for a later staging
	Owners  *Owners // what people say of owner(); nil: nothing
	// Same makes SQL that is equal for texts that the target takes for the same, of a text and
	// of what is compared of it, both as SQL; nil: lower() does. It counts for records of the target.
	Same func(text, cut string) string
	Owed string // SQL expression of the passes a row owes, over the relation's columns; "" for none
}

// Column is a column whose value is sent as it is.
type Column struct {
	Name    string
	SQLType string // VARCHAR, INTEGER, BIGINT, DECIMAL(p,s), DOUBLE, BOOLEAN, DATE, TIMESTAMP or UUID
	Default string // SQL expression that takes the place of values which are not of the type; "": such rows are held
	Base64  bool   // of a VARCHAR: a BLOB is given as Base64
	Texts   *Texts // what the SELECT gives are texts that stand for values; nil: it gives the values
	Advice  string // what to do about a value that is not of the type; "": its message has none
	File    bool   // of a VARCHAR: what file() gives becomes a JSON object, with what dm.files knows of it
}

// Lookup is a column that points to a row of another table, or of its own.
type Lookup struct {
	Column   string
	Targets  []Target
	Owner    bool   // it says who owns the record
	NoTarget *Stand // what it points to where it would lead nowhere; nil: such rows are held
	Empty    *Stand // what it points to where the row names nothing; nil: nothing
}

// Stand is a row that stands in for another: one of a staged table by its legacy key, or a
// record of the target by its GUID. The zero value leaves the lookup empty.
type Stand struct {
	Table string
	Key   string
	ID    string
}

// Target is a table that a lookup may point to.
type Target struct {
	Table  string
	Staged bool   // it is staged here, so that it is named by legacy key; else by GUID
	ID     string // its primary key, the column of the pulled relation
}

// Repair mends the value of a plain column before the row is judged. Of several for one
// column the first that applies counts.
type Repair struct {
	Column string
	Bad    string // SQL predicate over the plain columns
	Value  string // SQL expression of the value instead
	Note   string // SQL expression of the text for dm_repairs, without the column's name
}

// The ids of the faults that a staging finds by itself, as they stand before the text in
// dm_hold. A Check brings its own.
const (
	FaultType   = "DVM-TYPE"   // a value is not of its column's type
	FaultID     = "DVM-ID"     // a kept record id is missing or no GUID
	FaultLookup = "DVM-LOOKUP" // a lookup cannot point there
	FaultOrphan = "DVM-ORPHAN" // a lookup points to a row that is not staged
)

// Check is a condition that a row must not meet.
type Check struct {
	ID      string // stands before the text in dm_hold
	Column  string
	Bad     string // SQL predicate over the relation's columns
	Message string // SQL expression of the text for dm_hold, without the column's name
}

// Result is what staging a table has done.
type Result struct {
	Table                          string
	Number                         uint16 // the table's number in record ids
	Rows, New, Changed, Same, Held int64
	Repaired                       int64 // rows of which a value was mended
	Gone                           int64 // rows of the staging before that are no longer supplied
	Seconds                        float64
}

// TableError is an error about one table.
type TableError struct {
	Table string
	File  string
	Err   error
}

func (e *TableError) Error() string {
	if e.File == "" {
		return fmt.Sprintf("table %s: %v", e.Table, e.Err)
	}
	return fmt.Sprintf("table %s (%s): %v", e.Table, e.File, e.Err)
}

// Unwrap gives the error about the table.
func (e *TableError) Unwrap() error { return e.Err }

// KeyError says that rows of a table cannot be told apart.
type KeyError struct {
	Column string // legacy_key, or the column of kept record ids
	Nulls  int64  // rows without one
	Keys   []RepeatedKey
	More   int64 // repeated keys beyond those in Keys
}

// RepeatedKey is a key that several rows have.
type RepeatedKey struct {
	Key  string
	Rows int64
}

func (e *KeyError) Error() string {
	var parts []string
	if e.Nulls > 0 {
		parts = append(parts, fmt.Sprintf("%d rows have no %s", e.Nulls, e.Column))
	}
	if len(e.Keys) > 0 {
		keys := make([]string, len(e.Keys))
		for i, k := range e.Keys {
			keys[i] = fmt.Sprintf("'%s' (%d rows)", k.Key, k.Rows)
		}
		more := ""
		if e.More > 0 {
			more = fmt.Sprintf(" and %d more", e.More)
		}
		parts = append(parts, fmt.Sprintf("%s must be unique, and is not: %s%s", e.Column, strings.Join(keys, ", "), more))
	}
	return strings.Join(parts, "; ") + fmt.Sprintf(
		". Find them with SELECT %[1]s, count(*) FROM (your SELECT) GROUP BY 1 HAVING count(*) > 1 OR %[1]s IS NULL;"+
			" repair the source, filter with WHERE, or keep one of each with QUALIFY row_number() OVER (PARTITION BY %[1]s ORDER BY …) = 1", e.Column)
}

// column finds a name in a list of names, without regard to case, as SQL does.
func indexFold(names []string, name string) int {
	for i, n := range names {
		if strings.EqualFold(n, name) {
			return i
		}
	}
	return -1
}
