package emulator

import (
	"math"
	"slices"
	"strings"

	"dvmigrate/appliance/dataverse/schema"
)

// attributeKind is how a column type is called in the metadata (section 4).
type attributeKind struct {
	cast string // less "AttributeMetadata"
	code string // AttributeType
	name string // AttributeTypeName
}

var attributeKinds = map[schema.ColumnType]attributeKind{
	schema.Text:        {"String", "String", "StringType"},
	schema.Memo:        {"Memo", "Memo", "MemoType"},
	schema.Integer:     {"Integer", "Integer", "IntegerType"},
	schema.BigInt:      {"BigInt", "BigInt", "BigIntType"},
	schema.Decimal:     {"Decimal", "Decimal", "DecimalType"},
	schema.Float:       {"Double", "Double", "DoubleType"},
	schema.Money:       {"Money", "Money", "MoneyType"},
	schema.YesNo:       {"Boolean", "Boolean", "BooleanType"},
	schema.Choice:      {"Picklist", "Picklist", "PicklistType"},
	schema.Choices:     {"MultiSelectPicklist", "Virtual", "MultiSelectPicklistType"},
	schema.State:       {"State", "State", "StateType"},
	schema.Status:      {"Status", "Status", "StatusType"},
	schema.DateTime:    {"DateTime", "DateTime", "DateTimeType"},
	schema.UniqueID:    {"UniqueIdentifier", "Uniqueidentifier", "UniqueidentifierType"},
	schema.Lookup:      {"Lookup", "Lookup", "LookupType"},
	schema.Customer:    {"Lookup", "Customer", "CustomerType"},
	schema.Owner:       {"Lookup", "Owner", "OwnerType"},
	schema.PartyList:   {"Lookup", "PartyList", "PartyListType"},
	schema.File:        {"File", "Virtual", "FileType"},
	schema.Image:       {"Image", "Virtual", "ImageType"},
	schema.TableName:   {"EntityName", "EntityName", "EntityNameType"},
	schema.ManagedProp: {"ManagedProperty", "ManagedProperty", "ManagedPropertyType"},
}

const attributeBase = "AttributeMetadata"

// attribute makes the definition of a column: the common properties first, then
// those of its type, which a query of the base type cannot select (12.2).
func (m *model) attribute(t *table, c *column) definition {
	k, ok := attributeKinds[c.Type]
	if !ok {
		k = attributeKind{"", "Virtual", "VirtualType"}
	}
	d := definition{typ: k.cast + attributeBase, props: attributeCommon(t, c, k)}
	d.props = append(d.props, attributeDetails(t, c)...)
	if c.Type.HasOptions() {
		d.navs = m.optionSets(t, c)
	}
	return d
}

func attributeCommon(t *table, c *column, k attributeKind) object {
	schemaName := c.SchemaName
	if schemaName == "" {
		schemaName = c.LogicalName
	}
	writable := func(not bool) bool { return !not && c.PartOf == "" && c.CalculationOf == "" && c.SourceType == 0 }
	return object{
		{"MetadataId", metadataID("attribute", t.LogicalName, c.LogicalName)},
		{"HasChanged", nil},
		{"AttributeOf", orNull(c.PartOf)},
		{"AttributeType", k.code},
		{"ColumnNumber", c.idx + 1},
		{"DeprecatedVersion", nil},
		{"IntroducedVersion", "1.0"},
		{"EntityLogicalName", t.LogicalName},
		{"IsCustomAttribute", strings.Contains(c.LogicalName, "_") && c.PartOf == "" && c.CalculationOf == ""},
		{"IsPrimaryId", c == t.id},
		{"IsValidODataAttribute", !c.hidden()},
		{"IsPrimaryName", c.LogicalName == t.PrimaryName},
		{"IsValidForCreate", writable(c.NoCreate)},
		{"IsValidForRead", !c.NoRead},
		{"IsValidForUpdate", writable(c.NoUpdate)},
		{"CanBeSecuredForRead", false},
		{"CanBeSecuredForCreate", false},
		{"CanBeSecuredForUpdate", false},
		{"IsSecured", c.Secured},
		{"IsRetrievable", !c.NoRead},
		{"IsFilterable", true},
		{"IsSearchable", false},
		{"IsManaged", false},
		{"LinkedAttributeId", nil},
		{"LogicalName", c.LogicalName},
		{"IsValidForForm", c.PartOf == ""},
		{"IsRequiredForForm", c.Required == schema.SystemRequired},
		{"IsValidForGrid", true},
		{"SchemaName", schemaName},
		{"ExternalName", nil},
		{"IsLogical", c.PartOf != ""},
		{"IsDataSourceSecret", false},
		{"InheritsFrom", nil},
		{"SourceType", c.SourceType},
		{"AutoNumberFormat", c.AutoNumber},
		{"Description", label("", "description", t.LogicalName, c.LogicalName)},
		{"DisplayName", label(c.DisplayName, "column", t.LogicalName, c.LogicalName)},
		{"IsAuditEnabled", managed(true, "canmodifyauditsettings")},
		{"IsGlobalFilterEnabled", managed(false, "canmodifyglobalfiltersettings")},
		{"IsSortableEnabled", managed(false, "canmodifyissortablesettings")},
		{"IsCustomizable", managed(true, "iscustomizable")},
		{"IsRenameable", managed(true, "isrenameable")},
		{"IsValidForAdvancedFind", managed(c.PartOf == "", "canmodifysearchsettings")},
		{"RequiredLevel", object{{"Value", requiredLevels[c.Required]}, {"CanBeChanged", c.Required != schema.SystemRequired}, {"ManagedPropertyLogicalName", "canmodifyrequirementlevelsettings"}}},
		{"CanModifyAdditionalSettings", managed(true, "canmodifyadditionalsettings")},
		{"AttributeTypeName", object{{"Value", k.name}}},
	}
}

// hidden reports whether the column is not in $metadata and so in no answer: one
// marked so, or the label that goes with a lookup or a choice, such as
// parentaccountidname, which the Web API gives as an annotation instead (12.2).
func (c *column) hidden() bool {
	if c.NoWebAPI || c.Type == schema.PartyList {
		return true
	}
	if c.PartOf == "" || c.t == nil {
		return false
	}
	of := c.t.byName[c.PartOf]
	return of != nil && (of.Type.IsLookup() || of.Type.HasOptions())
}

var requiredLevels = map[string]string{
	"": "None", schema.Recommended: "Recommended",
	schema.ApplicationRequired: "ApplicationRequired", schema.SystemRequired: "SystemRequired",
}

// attributeDetails makes the properties of the column's own type.
func attributeDetails(t *table, c *column) object {
	switch c.Type {
	case schema.Text, schema.Memo:
		format := or(c.Format, map[bool]string{true: "TextArea", false: "Text"}[c.Type == schema.Memo])
		o := object{{"Format", format}, {"FormatName", object{{"Value", format}}}, {"ImeMode", "Auto"},
			{"MaxLength", c.MaxLength}, {"IsLocalizable", false}}
		if c.Type == schema.Text {
			o = append(o, field{"DatabaseLength", c.MaxLength * 2}, field{"YomiOf", nil}, field{"FormulaDefinition", ""}, field{"SourceTypeMask", 0})
		}
		return o
	case schema.Integer:
		return object{{"Format", or(c.Format, "None")}, {"MaxValue", int(limit(c.Max, math.MaxInt32))}, {"MinValue", int(limit(c.Min, math.MinInt32))},
			{"FormulaDefinition", ""}, {"SourceTypeMask", 0}}
	case schema.BigInt:
		return object{{"MaxValue", math.MaxInt64}, {"MinValue", math.MinInt64}}
	case schema.Decimal, schema.Float:
		o := object{{"MaxValue", limit(c.Max, 100000000000)}, {"MinValue", limit(c.Min, -100000000000)}, {"Precision", precision(c)}, {"ImeMode", "Auto"}}
		if c.Type == schema.Decimal {
			o = append(o, field{"FormulaDefinition", ""}, field{"SourceTypeMask", 0})
		}
		return o
	case schema.Money:
		return object{{"MaxValue", limit(c.Max, 922337203685477)}, {"MinValue", limit(c.Min, -922337203685477)}, {"Precision", precision(c)},
			{"PrecisionSource", c.PrecisionSource}, {"CalculationOf", orNull(c.CalculationOf)}, {"IsBaseCurrency", c.CalculationOf != ""},
			{"ImeMode", "Auto"}, {"FormulaDefinition", ""}, {"SourceTypeMask", 0}}
	case schema.DateTime:
		return object{{"DateTimeBehavior", object{{"Value", dateBehaviors[c.DateBehavior]}}}, {"Format", or(c.Format, map[bool]string{true: "DateOnly", false: "DateAndTime"}[c.DateBehavior == schema.DateOnly])},
			{"ImeMode", "Auto"}, {"MinSupportedValue", "1753-01-01T00:00:00Z"}, {"MaxSupportedValue", "9999-12-30T23:59:59Z"},
			{"CanChangeDateTimeBehavior", managed(false, "canchangedatetimebehavior")}, {"FormulaDefinition", ""}, {"SourceTypeMask", 0}}
	case schema.Lookup, schema.Customer, schema.Owner, schema.PartyList:
		return object{{"Targets", slices.Clone(c.Targets)}, {"Format", "None"}}
	case schema.File:
		return object{{"MaxSizeInKB", c.MaxSizeKB}}
	case schema.Image:
		return object{{"IsPrimaryImage", c.LogicalName == primaryImage(t.Table)}, {"CanStoreFullImage", c.MaxSizeKB > 0},
			{"MaxSizeInKB", c.MaxSizeKB}, {"MaxHeight", 144}, {"MaxWidth", 144}}
	case schema.YesNo:
		return object{{"DefaultValue", c.Default != nil && *c.Default == 1}, {"FormulaDefinition", ""}, {"SourceTypeMask", 0}}
	case schema.Choice, schema.Choices, schema.State, schema.Status:
		form := -1
		if c.Default != nil {
			form = int(*c.Default)
		}
		o := object{{"DefaultFormValue", form}}
		if c.Type == schema.Choice || c.Type == schema.Choices {
			o = append(o, field{"ParentPicklistLogicalName", nil}, field{"ChildPicklistLogicalNames", []string{}}, field{"FormulaDefinition", ""}, field{"SourceTypeMask", 0})
		}
		return o
	case schema.UniqueID:
		return object{}
	}
	return nil
}

var dateBehaviors = map[string]string{
	"": "UserLocal", schema.UserLocal: "UserLocal", schema.DateOnly: "DateOnly", schema.TimeZoneIndependent: "TimeZoneIndependent",
}

func limit(p *float64, otherwise float64) float64 {
	if p == nil {
		return otherwise
	}
	return *p
}

// precision is how many digits after the point a column keeps, and its metadata say. Where the schema does not,
// as one read from a $metadata document, it is the most that there may be.
func precision(c *column) int {
	switch {
	case c.Precision != nil:
		return *c.Precision
	case c.Type == schema.Money:
		return 4
	case c.Type == schema.Float:
		return 5
	}
	return 10
}

func or(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

// orNull is null for a name that is not there.
func orNull(s string) any {
	if s == "" {
		return nil
	}
	return s
}

// managed is a managed property: a value that a solution's publisher may lock.
func managed(v bool, name string) object {
	return object{{"Value", v}, {"CanBeChanged", true}, {"ManagedPropertyLogicalName", name}}
}

// label is a Label with one language; the names make its id. Without text it is
// the empty Label.
func label(text string, names ...string) object {
	if text == "" {
		return object{{"LocalizedLabels", []object{}}, {"UserLocalizedLabel", nil}}
	}
	l := object{{"Label", text}, {"LanguageCode", 1033}, {"IsManaged", false}, {"MetadataId", metadataID(append([]string{"label"}, names...)...)}, {"HasChanged", nil}}
	return object{{"LocalizedLabels", []object{l}}, {"UserLocalizedLabel", l}}
}
