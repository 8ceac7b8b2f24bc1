package schema

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
)

// fileVersion is the version of the schema file that Write writes and Read accepts.
const fileVersion = 1

// Schema is the picture of one environment. Build it with New or Read, which
// index it; the zero value finds nothing.
type Schema struct {
	Version int    `json:"version"`          // of the file format
	Source  string `json:"source,omitempty"` // where it was read from: an environment's URL, a file
	Taken   string `json:"taken,omitempty"`  // RFC 3339 time of reading
	Release string `json:"release,omitempty"`

	Tables     []*Table     `json:"tables"`
	ManyToMany []ManyToMany `json:"manyToMany,omitempty"`

	byName map[string]*Table
	bySet  map[string]*Table
}

// TableKind tells how a table is stored and loaded (dataverse-web-api.md 6.2, 12.1).
type TableKind string

// The kinds of table.
const (
	Standard  TableKind = "standard"
	Activity  TableKind = "activity"
	Elastic   TableKind = "elastic"
	Virtual   TableKind = "virtual"
	Intersect TableKind = "intersect" // of an N:N relationship: read-only, written by associate
)

// Ownership tells who owns a table's records (dataverse-web-api.md 12.1, 14.4).
type Ownership string

// The kinds of ownership.
const (
	UserOwned         Ownership = "user"
	OrganizationOwned Ownership = "organization"
	BusinessOwned     Ownership = "business"
	NotOwned          Ownership = "none"
)

// Table is one table (API: entity).
type Table struct {
	LogicalName    string    `json:"name"`            // account
	SchemaName     string    `json:"schemaName"`      // Account
	EntitySet      string    `json:"entitySet"`       // accounts; not derivable from the name
	DisplayName    string    `json:"label,omitempty"` // Account
	ObjectTypeCode int       `json:"typeCode,omitempty"`
	PrimaryID      string    `json:"primaryId"`             // accountid
	PrimaryName    string    `json:"primaryName,omitempty"` // name
	PrimaryImage   string    `json:"primaryImage,omitempty"`
	Kind           TableKind `json:"kind"`
	Ownership      Ownership `json:"ownership,omitempty"`
	Custom         bool      `json:"custom,omitempty"`
	// StateTransitions says that status reasons may only change along the
	// options' transitions (EnforceStateTransitions).
	StateTransitions      bool `json:"stateTransitions,omitempty"`
	ChangeTracking        bool `json:"changeTracking,omitempty"`
	OptimisticConcurrency bool `json:"optimisticConcurrency,omitempty"`
	HasNotes              bool `json:"hasNotes,omitempty"`
	// Bulk names the bulk actions the table is registered for in
	// sdkmessagefilters: create, update, upsert, delete (section 6.2).
	Bulk []string `json:"bulk,omitempty"`

	Columns   []*Column      `json:"columns"`
	Keys      []Key          `json:"keys,omitempty"`
	ManyToOne []Relationship `json:"manyToOne,omitempty"` // the lookups of this table

	byColumn map[string]*Column
}

// ColumnType is a column's data type, in the field's words (dataverse-web-api.md 4.1).
type ColumnType string

// The column types. The comment names the metadata cast.
const (
	Text        ColumnType = "text"        // StringAttributeMetadata
	Memo        ColumnType = "memo"        // MemoAttributeMetadata
	Integer     ColumnType = "integer"     // IntegerAttributeMetadata, 32 bit
	BigInt      ColumnType = "bigint"      // BigIntAttributeMetadata, 64 bit
	Decimal     ColumnType = "decimal"     // DecimalAttributeMetadata
	Float       ColumnType = "float"       // DoubleAttributeMetadata
	Money       ColumnType = "money"       // MoneyAttributeMetadata
	YesNo       ColumnType = "yesno"       // BooleanAttributeMetadata
	Choice      ColumnType = "choice"      // PicklistAttributeMetadata
	Choices     ColumnType = "choices"     // MultiSelectPicklistAttributeMetadata
	State       ColumnType = "state"       // StateAttributeMetadata, statecode
	Status      ColumnType = "status"      // StatusAttributeMetadata, statuscode
	DateTime    ColumnType = "datetime"    // DateTimeAttributeMetadata
	UniqueID    ColumnType = "uniqueid"    // UniqueIdentifierAttributeMetadata
	Lookup      ColumnType = "lookup"      // LookupAttributeMetadata
	Customer    ColumnType = "customer"    // LookupAttributeMetadata, AttributeType Customer
	Owner       ColumnType = "owner"       // LookupAttributeMetadata, AttributeType Owner
	PartyList   ColumnType = "partylist"   // LookupAttributeMetadata, AttributeType PartyList
	File        ColumnType = "file"        // FileAttributeMetadata
	Image       ColumnType = "image"       // ImageAttributeMetadata
	TableName   ColumnType = "tablename"   // EntityNameAttributeMetadata
	ManagedProp ColumnType = "managedprop" // ManagedPropertyAttributeMetadata
	Other       ColumnType = "other"       // CalendarRules, Virtual
)

// IsLookup reports whether the column refers to a record of another table.
func (t ColumnType) IsLookup() bool { return t == Lookup || t == Customer || t == Owner }

// HasOptions reports whether the column's values are labelled integers.
func (t ColumnType) HasOptions() bool {
	return t == Choice || t == Choices || t == State || t == Status || t == YesNo
}

// The required levels of a column. Only SystemRequired is enforced by the
// service (dataverse-web-api.md 3.1).
const (
	SystemRequired      = "system"
	ApplicationRequired = "business"
	Recommended         = "recommended"
)

// The behaviours of a date column (dataverse-web-api.md 4.4).
const (
	UserLocal           = "userlocal"
	DateOnly            = "dateonly"
	TimeZoneIndependent = "tzindependent"
)

// Column is one column (API: attribute).
type Column struct {
	LogicalName string     `json:"name"`
	SchemaName  string     `json:"schemaName,omitempty"`
	DisplayName string     `json:"label,omitempty"`
	Type        ColumnType `json:"type"`
	Required    string     `json:"required,omitempty"` // "", recommended, business, system
	// NoCreate, NoUpdate, NoRead are the negations of IsValidForCreate, -Update,
	// -Read: a value sent for such a column is ignored without an error (3.1).
	NoCreate bool `json:"noCreate,omitempty"`
	NoUpdate bool `json:"noUpdate,omitempty"`
	NoRead   bool `json:"noRead,omitempty"`
	// NoWebAPI marks a column that $metadata does not have (IsValidODataAttribute false).
	NoWebAPI bool `json:"noWebApi,omitempty"`
	Secured  bool `json:"secured,omitempty"`

	MaxLength       int      `json:"maxLength,omitempty"` // UTF-16 units; text and memo
	ASCII           bool     `json:"ascii,omitempty"`     // Unicode="false"
	Format          string   `json:"format,omitempty"`    // Email, Url, DateOnly, DateAndTime, ...
	Min             *float64 `json:"min,omitempty"`
	Max             *float64 `json:"max,omitempty"`
	Precision       *int     `json:"precision,omitempty"`       // digits after the point
	PrecisionSource int      `json:"precisionSource,omitempty"` // money: 0 column, 1 organisation, 2 currency
	DateBehavior    string   `json:"dateBehavior,omitempty"`
	AutoNumber      string   `json:"autoNumber,omitempty"`    // AutoNumberFormat
	SourceType      int      `json:"sourceType,omitempty"`    // 1 calculated, 2 rollup, 3 formula
	CalculationOf   string   `json:"calculationOf,omitempty"` // <col>_base: the money column it is computed from
	PartOf          string   `json:"partOf,omitempty"`        // AttributeOf: derived from that column, never loaded
	MaxSizeKB       int      `json:"maxSizeKB,omitempty"`     // file and image
	Targets         []string `json:"targets,omitempty"`       // of a lookup: the tables it may point to
	Options         []Option `json:"options,omitempty"`       // of a choice; yes/no has values 0 and 1
	GlobalChoice    string   `json:"globalChoice,omitempty"`
	Default         *int32   `json:"default,omitempty"` // default option value

	byValue map[int32]*Option
}

// Option is one labelled value of a choice.
type Option struct {
	Value int32  `json:"value"`
	Label string `json:"label"`
	// State is the state a status reason belongs to.
	State *int32 `json:"state,omitempty"`
	// DefaultStatus is, on a state, the status reason a record gets with it.
	DefaultStatus *int32 `json:"defaultStatus,omitempty"`
	// Next lists the status reasons allowed after this one where the table
	// enforces transitions; empty means all.
	Next []int32 `json:"next,omitempty"`
}

// Key is an alternate key (dataverse-web-api.md 12.5).
type Key struct {
	LogicalName string   `json:"name"`
	SchemaName  string   `json:"schemaName,omitempty"`
	Columns     []string `json:"columns"`
	Inactive    bool     `json:"inactive,omitempty"` // EntityKeyIndexStatus is not Active
}

// Relationship is one many-to-one relationship, seen from the table that holds
// the lookup (dataverse-web-api.md 12.4).
type Relationship struct {
	SchemaName string `json:"name"`
	Column     string `json:"column"` // the lookup column, ReferencingAttribute
	Target     string `json:"target"` // the table it points to, ReferencedEntity
	// Nav is the navigation property to bind on write; case-sensitive
	// (ReferencingEntityNavigationPropertyName).
	Nav string `json:"nav"`
	// Collection is the navigation property from the target back to this table
	// (ReferencedEntityNavigationPropertyName).
	Collection string            `json:"collection,omitempty"`
	Cascade    map[string]string `json:"cascade,omitempty"` // Delete: Cascade, RemoveLink, Restrict, NoCascade; Assign: ...
}

// ManyToMany is one N:N relationship (dataverse-web-api.md 5.1, 12.4).
type ManyToMany struct {
	SchemaName string `json:"name"`
	Intersect  string `json:"intersect"` // logical name of the intersect table
	Table1     string `json:"table1"`
	Column1    string `json:"column1"` // the intersect table's column with the id of Table1's record
	Nav1       string `json:"nav1"`    // Entity1NavigationPropertyName: the collection on Table1
	Table2     string `json:"table2"`
	Column2    string `json:"column2"`
	Nav2       string `json:"nav2"`
}

// New indexes the tables and relationships into a Schema. Two tables of one name
// are an error, and so are two columns of one name in a table.
func New(tables []*Table, links []ManyToMany) (*Schema, error) {
	s := &Schema{Version: fileVersion, Tables: tables, ManyToMany: links}
	if err := s.index(); err != nil {
		return nil, err
	}
	return s, nil
}

// Read reads a schema file. An unknown field or another version is an error.
func Read(r io.Reader) (*Schema, error) {
	d := json.NewDecoder(r)
	d.DisallowUnknownFields()
	s := new(Schema)
	if err := d.Decode(s); err != nil {
		return nil, fmt.Errorf("read schema: %w", err)
	}
	if s.Version != fileVersion {
		return nil, fmt.Errorf("read schema: version %d, this program reads version %d", s.Version, fileVersion)
	}
	if err := s.index(); err != nil {
		return nil, fmt.Errorf("read schema: %w", err)
	}
	return s, nil
}

// Write writes the schema as indented JSON, tables in order of name so that two
// pulls can be compared line by line.
func (s *Schema) Write(w io.Writer) error {
	slices.SortFunc(s.Tables, func(a, b *Table) int { return strings.Compare(a.LogicalName, b.LogicalName) })
	e := json.NewEncoder(w)
	e.SetIndent("", " ")
	e.SetEscapeHTML(false)
	if err := e.Encode(s); err != nil {
		return fmt.Errorf("write schema: %w", err)
	}
	return nil
}

// With returns a schema in which t stands in the place of the table of its name. The other
// tables are shared and not touched, so that s may be in use meanwhile; t's columns that
// s has too must be the same.
func (s *Schema) With(t *Table) (*Schema, error) {
	out := *s
	out.Tables, out.byName, out.bySet = slices.Clone(s.Tables), maps.Clone(s.byName), maps.Clone(s.bySet)
	for i, old := range out.Tables {
		if old.LogicalName == t.LogicalName {
			out.Tables[i] = t
		}
	}
	out.byName[t.LogicalName] = t
	if t.EntitySet != "" {
		out.bySet[t.EntitySet] = t
	}
	t.byColumn = make(map[string]*Column, len(t.Columns))
	for _, c := range t.Columns {
		if t.byColumn[c.LogicalName] != nil {
			return nil, fmt.Errorf("table %s: column %s is there twice", t.LogicalName, c.LogicalName)
		}
		t.byColumn[c.LogicalName] = c
		if c.byValue == nil {
			c.index()
		}
	}
	return &out, nil
}

func (s *Schema) index() error {
	s.byName = make(map[string]*Table, len(s.Tables))
	s.bySet = make(map[string]*Table, len(s.Tables))
	for _, t := range s.Tables {
		if t.LogicalName == "" {
			return fmt.Errorf("a table has no name")
		}
		if s.byName[t.LogicalName] != nil {
			return fmt.Errorf("table %s is there twice", t.LogicalName)
		}
		s.byName[t.LogicalName] = t
		if t.EntitySet != "" {
			s.bySet[t.EntitySet] = t
		}
		if err := t.index(); err != nil {
			return err
		}
	}
	return nil
}

func (t *Table) index() error {
	t.byColumn = make(map[string]*Column, len(t.Columns))
	for _, c := range t.Columns {
		if t.byColumn[c.LogicalName] != nil {
			return fmt.Errorf("table %s: column %s is there twice", t.LogicalName, c.LogicalName)
		}
		t.byColumn[c.LogicalName] = c
		c.index()
	}
	return nil
}

func (c *Column) index() {
	c.byValue = make(map[int32]*Option, len(c.Options))
	for i := range c.Options {
		c.byValue[c.Options[i].Value] = &c.Options[i]
	}
}

// Table finds a table by its logical name; nil when there is none.
func (s *Schema) Table(name string) *Table { return s.byName[name] }

// Set finds a table by its entity set's name, which is case-sensitive; nil when
// there is none.
func (s *Schema) Set(name string) *Table { return s.bySet[name] }

// TableNames lists the logical names of all tables, in file order.
func (s *Schema) TableNames() []string {
	names := make([]string, len(s.Tables))
	for i, t := range s.Tables {
		names[i] = t.LogicalName
	}
	return names
}

// Link finds the N:N relationship whose intersect table has the name; nil when
// there is none.
func (s *Schema) Link(intersect string) *ManyToMany {
	for i := range s.ManyToMany {
		if s.ManyToMany[i].Intersect == intersect {
			return &s.ManyToMany[i]
		}
	}
	return nil
}

// Column finds a column by its logical name, which is case-sensitive; nil when
// there is none.
func (t *Table) Column(name string) *Column { return t.byColumn[name] }

// ColumnNames lists the logical names of the table's columns, in file order.
func (t *Table) ColumnNames() []string {
	names := make([]string, len(t.Columns))
	for i, c := range t.Columns {
		names[i] = c.LogicalName
	}
	return names
}

// Relationship finds the relationship of a lookup column to one target table; nil
// when the column cannot point there.
func (t *Table) Relationship(column, target string) *Relationship {
	for i := range t.ManyToOne {
		if r := &t.ManyToOne[i]; r.Column == column && r.Target == target {
			return r
		}
	}
	return nil
}

// Navigation finds the relationship by the navigation property that binds it,
// which is case-sensitive; nil when there is none.
func (t *Table) Navigation(nav string) *Relationship {
	for i := range t.ManyToOne {
		if r := &t.ManyToOne[i]; r.Nav == nav {
			return r
		}
	}
	return nil
}

// CanBulk reports whether the table takes the bulk action create, update, upsert
// or delete.
func (t *Table) CanBulk(action string) bool { return slices.Contains(t.Bulk, action) }

// Option finds an option by its value; nil when the choice has none such.
func (c *Column) Option(value int32) *Option { return c.byValue[value] }

// Writable reports whether a value sent on create (or, for update, on update) is
// taken rather than silently ignored (dataverse-web-api.md 3.1, 12.2).
func (c *Column) Writable(update bool) bool {
	if c.PartOf != "" || c.SourceType != 0 || c.CalculationOf != "" {
		return false
	}
	if update {
		return !c.NoUpdate
	}
	return !c.NoCreate
}
