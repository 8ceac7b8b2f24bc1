package emulator

import (
	"slices"
	"strings"

	"dvmigrate/appliance/dataverse/schema"
)

// columnTypes tells a column's type by its metadata cast.
var columnTypes = func() map[string]schema.ColumnType {
	types := map[string]schema.ColumnType{}
	for typ, k := range attributeKinds {
		if k.cast != "Lookup" {
			types[k.cast+attributeBase] = typ
		}
	}
	return types
}()

// column makes a column of what a schema write says of it. A lookup is made by its
// relationship.
func (a *alteration) column(w *wireAttribute) (*schema.Column, error) {
	typ, ok := columnTypes[wireType(w.Type)]
	if !ok {
		return nil, errMetadata("Attribute of type %s cannot be created through the SDK", wireType(w.Type))
	}
	if w.SchemaName == "" {
		return nil, errMetadata("The SchemaName of the attribute is missing.")
	}
	c := &schema.Column{LogicalName: strings.ToLower(w.SchemaName), SchemaName: w.SchemaName, Type: typ}
	switch typ {
	case schema.Text:
		c.MaxLength = 100
	case schema.Memo:
		c.MaxLength = 2000
	case schema.Decimal, schema.Float, schema.Money:
		two := 2
		c.Precision = &two
	case schema.DateTime:
		c.DateBehavior = schema.UserLocal
	case schema.YesNo:
		no := int32(0)
		c.Default, c.Options = &no, (&wireOptionSet{}).yesNo()
	case schema.File:
		c.MaxSizeKB = 32768
	case schema.Image:
		c.MaxSizeKB = 10240
	}
	return c, a.describe(c, w)
}

// describe sets what a schema write says of a column that is there.
func (a *alteration) describe(c *schema.Column, w *wireAttribute) error {
	if text := w.DisplayName.text(); text != "" {
		c.DisplayName = text
	}
	for level, name := range requiredLevels {
		if w.RequiredLevel.Value == name {
			c.Required = level
		}
	}
	for at, v := range map[*int]*int{&c.MaxLength: w.MaxLength, &c.PrecisionSource: w.PrecisionSource, &c.MaxSizeKB: w.MaxSizeInKB} {
		if v != nil {
			*at = *v
		}
	}
	if w.Precision != nil {
		c.Precision = w.Precision
	}
	if c.Type != schema.BigInt && w.MinValue != nil {
		c.Min = w.MinValue
	}
	if c.Type != schema.BigInt && w.MaxValue != nil {
		c.Max = w.MaxValue
	}
	if w.AutoNumberFormat != nil {
		c.AutoNumber = *w.AutoNumberFormat
	}
	if w.FormatName != nil {
		c.Format = w.FormatName.Value
	}
	if w.DateTimeBehavior != nil {
		for behaviour, name := range dateBehaviors {
			if behaviour != "" && name == w.DateTimeBehavior.Value {
				c.DateBehavior = behaviour
			}
		}
	}
	if w.DefaultFormValue != nil && *w.DefaultFormValue >= 0 {
		c.Default = w.DefaultFormValue
	}
	if w.DefaultValue != nil && c.Type == schema.YesNo {
		n := int32(0)
		if *w.DefaultValue {
			n = 1
		}
		c.Default = &n
	}
	return a.describeOptions(c, w)
}

func (a *alteration) describeOptions(c *schema.Column, w *wireAttribute) error {
	switch {
	case w.GlobalOptionSet != "":
		choice := a.choice(w.GlobalOptionSet)
		if choice == nil {
			return errMetadata("The global option set %s does not exist.", w.GlobalOptionSet)
		}
		c.GlobalChoice, c.Options = choice.GlobalChoice, slices.Clone(choice.Options)
	case w.OptionSet != nil && c.Type == schema.YesNo:
		c.Options = w.OptionSet.yesNo()
	case w.OptionSet != nil && len(w.OptionSet.Options) > 0 && c.GlobalChoice == "" && (c.Type == schema.Choice || c.Type == schema.Choices):
		c.Options = w.OptionSet.options()
	}
	return nil
}

// choice finds a global choice by a reference: …GlobalOptionSetDefinitions(key).
func (a *alteration) choice(ref string) *schema.Column {
	_, key, _ := strings.Cut(strings.TrimSuffix(ref, ")"), "(")
	name, byName := quotedKey(segment{key: key, hasKey: true}, "Name")
	is := func(c *schema.Column) bool {
		if byName {
			return c.GlobalChoice == name
		}
		return c.GlobalChoice != "" && strings.EqualFold(metadataID("optionset", c.GlobalChoice).String(), key)
	}
	for _, c := range a.choices {
		if is(c) {
			return c
		}
	}
	for _, t := range a.Tables {
		for _, c := range t.Columns {
			if is(c) {
				return c
			}
		}
	}
	return nil
}

// add puts a column into a table with the columns that come along with its type.
func (a *alteration) add(t *schema.Table, c *schema.Column) error {
	if slices.ContainsFunc(t.Columns, func(o *schema.Column) bool { return o.LogicalName == c.LogicalName }) {
		return errorf(400, "0x80044153", "Attribute %s already exists for entity %s.", c.LogicalName, t.LogicalName)
	}
	t.Columns = append(t.Columns, c)
	part := func(suffix string, typ schema.ColumnType) {
		t.Columns = append(t.Columns, &schema.Column{LogicalName: c.LogicalName + suffix, SchemaName: c.SchemaName + suffix, Type: typ,
			PartOf: c.LogicalName, NoCreate: true, NoUpdate: true})
	}
	switch c.Type {
	case schema.File:
		part("_name", schema.Text)
	case schema.Image:
		part("id", schema.UniqueID)
		part("_url", schema.Text)
		part("_timestamp", schema.BigInt)
		if primaryImage(t) == "" {
			t.PrimaryImage = c.LogicalName
		}
	case schema.Money:
		t.Columns = append(t.Columns, &schema.Column{LogicalName: c.LogicalName + "_base", SchemaName: c.SchemaName + "_Base", Type: schema.Money,
			CalculationOf: c.LogicalName, NoCreate: true, NoUpdate: true, Precision: c.Precision})
		a.addCurrency(t)
	}
	return nil
}

// addCurrency gives a table the columns that money needs (section 4.3).
func (a *alteration) addCurrency(t *schema.Table) {
	if slices.ContainsFunc(t.Columns, func(c *schema.Column) bool { return c.LogicalName == "transactioncurrencyid" }) || a.table("transactioncurrency") == nil {
		return
	}
	ten := 10
	t.Columns = append(t.Columns,
		&schema.Column{LogicalName: "transactioncurrencyid", SchemaName: "TransactionCurrencyId", Type: schema.Lookup, Targets: []string{"transactioncurrency"}},
		&schema.Column{LogicalName: "exchangerate", SchemaName: "ExchangeRate", Type: schema.Decimal, Precision: &ten, NoCreate: true, NoUpdate: true})
	t.ManyToOne = append(t.ManyToOne, schema.Relationship{SchemaName: "TransactionCurrency_" + t.SchemaName, Column: "transactioncurrencyid",
		Target: "transactioncurrency", Nav: "transactioncurrencyid", Collection: "TransactionCurrency_" + t.SchemaName})
}
