package reconcile

import (
	"slices"
	"strconv"

	"dvmigrate/appliance/dataverse/schema"
	"dvmigrate/appliance/mapping"
	"dvmigrate/duckstage/column"
	"dvmigrate/ledger"
)

// field is one column on its way back.
type field struct {
	name   string // the column, in the stage and in the table
	read   string // the member of the target's row that has its value
	kind   kind
	digits int // of numbers: after the point; negative: not known, at most -digits

	compared  bool   // false: only read for an alternate key
	onCreate  bool   // an insert writes it
	onUpdate  bool   // an update writes it
	defaulted bool   // where nothing is staged, the service puts a value of its own
	standard  string // that value in JSON, where it is known
	lookup    bool
	state     bool
	late      bool // of a file that the files pass sends
	attached  bool // what is read is the id of a file, whose size fileattachment has (attached.go)
	owner     bool
	party     *mapping.Parties // of an activity's parties
	choice    bool
	money     bool
	maskable  bool // a person's data may be in it, as opposed to a choice or a reference
	loose     bool // of a text: neither case counts nor blanks at the ends
}

// shownAs names the field in results.
func (f *field) shownAs() string {
	switch {
	case f.lookup || f.party != nil:
		return f.name
	case f.attached:
		return f.name + "." + sizeInBytes
	}
	return f.read
}

// class is whose work it is to look at a difference.
func (f *field) class() string {
	switch {
	case f.owner:
		return ClassOwner
	case f.lookup:
		return ClassParent
	case f.party != nil:
		return ClassParties
	case f.state:
		return ClassState
	case f.kind == fileName, f.kind == fileSize:
		return ClassFile
	}
	return ClassValue
}

// kind is how a value is written in the stage and in JSON.
type kind uint8

const (
	text      kind = iota
	choices        // integers in a text, as a set
	integer        // also choice, state, status reason
	decimal        // also currency
	float          //
	boolean        //
	date           // without a time
	timestamp      // to the second
	guid           // also lookups
	fileName       // of a file, staged as what is known of it (mapping.File)
	fileSize       //
	parties        // of an activity, staged as JSON objects (parties.go)
)

// vectorType is how the stage holds a kind.
var vectorType = [...]column.Type{text: column.Text, choices: column.Text, integer: column.Int, decimal: column.Decimal, float: column.Float,
	boolean: column.Bool, date: column.Date, timestamp: column.Timestamp, guid: column.UUID, fileName: column.Text, fileSize: column.Text, parties: column.Text}

// The two columns of a record's creation: what is written into the first reads back
// from the second (dataverse-web-api.md 4.13).
const (
	overriddenCreatedOn = "overriddencreatedon"
	createdOn           = "createdon"
)

// fieldsOf lists what is to be read of a table: all that was loaded when values are
// compared, else only the columns of its alternate keys. A key with a column that
// is not loaded cannot be compared and is left out.
func fieldsOf(t *mapping.Table, values bool, rules Rules) (fields []field, keys []key) {
	for _, c := range t.Columns {
		if c.File {
			fields = append(fields, fileFields(t, c)...)
		} else if f, ok := columnField(t.Schema, c); ok {
			fields = append(fields, f)
		}
	}
	for i := range t.Lookups {
		if c := t.Lookups[i].Column; !c.NoRead {
			f := newField(c, guid)
			f.read, f.lookup, f.owner = "_"+c.LogicalName+"_value", true, c.Type == schema.Owner
			f.defaulted = f.defaulted || c.Type == schema.Owner || c.LogicalName == "transactioncurrencyid"
			fields = append(fields, f)
		}
	}
	for i := range t.Parties {
		fields = append(fields, partyField(t, &t.Parties[i]))
	}
	ignored := func(f field) bool {
		return slices.Contains(rules.Ignore, f.name) || slices.Contains(rules.Ignore, f.read)
	}
	fields = slices.DeleteFunc(fields, func(f field) bool { return (!values || ignored(f)) && !inKey(t.Schema, f.name) })
	for i := range fields {
		f := &fields[i]
		f.compared = values && !ignored(*f)
		f.maskable = !f.lookup && !f.state && !f.choice && f.kind != choices && f.kind != boolean && f.kind != fileSize
		f.loose = f.kind == text && slices.Contains(rules.Loose, f.name)
	}
	for _, k := range t.Schema.Keys {
		if bound, ok := bindKey(k, fields); ok {
			keys = append(keys, bound)
		}
	}
	return fields, keys
}

func inKey(t *schema.Table, name string) bool {
	return slices.ContainsFunc(t.Keys, func(k schema.Key) bool { return slices.Contains(k.Columns, name) })
}

func newField(c *schema.Column, k kind) field {
	return field{name: c.LogicalName, read: c.LogicalName, kind: k, onCreate: c.Writable(false), onUpdate: c.Writable(true),
		defaulted: c.Default != nil || c.AutoNumber != "" || c.Required == schema.SystemRequired, standard: standardOf(c)}
}

// standardOf is the default of a choice or a yes/no column, as it reads back; "" where the
// schema tells none that the service can mean.
func standardOf(c *schema.Column) string {
	switch {
	case c.Default == nil:
	case c.Type == schema.YesNo:
		return strconv.FormatBool(*c.Default != 0)
	case c.Type == schema.Choice && c.Option(*c.Default) != nil:
		return strconv.Itoa(int(*c.Default))
	}
	return ""
}

// columnField is the field of a column; false when its value cannot be compared.
func columnField(t *schema.Table, c mapping.Column) (field, bool) {
	k, ok := kindOf(c.Column)
	if !ok || c.NoRead {
		return field{}, false
	}
	f := newField(c.Column, k)
	switch c.Type {
	case schema.State, schema.Status:
		f.state, f.defaulted = true, true
	case schema.Choice:
		f.choice = true
	case schema.YesNo: // has a default even where the schema does not say which
		f.defaulted = true
	case schema.Decimal:
		f.digits = digits(c.Precision, 10)
	case schema.Float:
		f.digits = digits(c.Precision, 5)
	case schema.Money:
		f.money = true
		f.digits = digits(c.Precision, 4)
		if c.PrecisionSource != 0 { // the organisation's or the currency's (4.3)
			f.digits = -4
		}
	}
	if f.name == overriddenCreatedOn {
		f.read, f.defaulted, f.onUpdate = createdOn, true, false
		ok = t.Column(createdOn) != nil
	}
	return f, ok
}

// kindOf is how the values of a column are compared; false for those that do not
// read back as written: an image is a thumbnail (dataverse-web-api.md 4.1).
func kindOf(c *schema.Column) (kind, bool) {
	switch c.Type {
	case schema.Text, schema.Memo, schema.TableName:
		return text, true
	case schema.Choices:
		return choices, true
	case schema.Integer, schema.BigInt, schema.Choice, schema.State, schema.Status:
		return integer, true
	case schema.Decimal, schema.Money:
		return decimal, true
	case schema.Float:
		return float, true
	case schema.YesNo:
		return boolean, true
	case schema.DateTime:
		if c.DateBehavior == schema.DateOnly {
			return date, true
		}
		return timestamp, true
	case schema.UniqueID:
		return guid, true
	}
	return 0, false
}

// digits is a column's precision, or -most where the schema does not say.
func digits(precision *int, most int) int {
	if precision == nil || *precision < 0 || *precision > most {
		return -most
	}
	return *precision
}

// written reports whether the last write of a record with the action, as far as the
// ledger knows, carried the field.
func (f *field) written(action ledger.Action, x expectation) bool {
	switch {
	case !f.compared || !x.values:
		return false
	case f.state:
		return x.state
	case f.late:
		return x.files
	case f.kind == fileName, f.kind == fileSize:
		return true
	case action == ledger.Update:
		return f.onUpdate
	}
	return f.onCreate
}

// members names what a read of the target selects.
func members(primary string, fields []field) []string {
	names := []string{primary}
	for _, f := range fields {
		if f.party == nil && !slices.Contains(names, f.read) {
			names = append(names, f.read)
		}
	}
	return names
}
