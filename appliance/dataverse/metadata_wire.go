package dataverse

import (
	"encoding/json"
	"encoding/xml"
	"fmt"
	"slices"
	"strings"

	"dvmigrate/appliance/dataverse/schema"
)

// The JSON of EntityDefinitions, in the API's own words (dataverse-web-api.md 12).

type wireLabel struct {
	UserLocalizedLabel *struct{ Label string }
	LocalizedLabels    []struct{ Label string }
}

func (l wireLabel) text() string {
	switch {
	case l.UserLocalizedLabel != nil:
		return l.UserLocalizedLabel.Label
	case len(l.LocalizedLabels) > 0:
		return l.LocalizedLabels[0].Label
	}
	return ""
}

type wireTable struct {
	LogicalName, SchemaName, EntitySetName            string
	DisplayName                                       wireLabel
	PrimaryIDAttribute                                string `json:"PrimaryIdAttribute"`
	PrimaryNameAttribute, PrimaryImageAttribute       string
	ObjectTypeCode                                    int
	OwnershipType, TableType                          string
	IsActivity, IsIntersect, HasNotes, IsCustomEntity bool
	IsOptimisticConcurrencyEnabled                    bool
	ChangeTrackingEnabled, EnforceStateTransitions    bool
}

type wireColumn struct {
	LogicalName, SchemaName                      string
	DisplayName                                  wireLabel
	AttributeType, AttributeOf, AutoNumberFormat string
	AttributeTypeName, RequiredLevel             struct{ Value string }
	IsValidForCreate, IsValidForUpdate           bool
	IsValidForRead, IsSecured                    bool
	IsValidODataAttribute                        *bool
	SourceType                                   int
}

// wireDetails are the properties of all column types together; a cast has some.
type wireDetails struct {
	LogicalName                string
	MaxLength, PrecisionSource int
	MaxSizeInKB                int
	MinValue, MaxValue         *float64
	Precision                  *int
	Format, CalculationOf      string
	FormatName                 struct{ Value string }
	DateTimeBehavior           struct{ Value string }
	Targets                    []string
	DefaultFormValue           *int32
	DefaultValue               *bool
	OptionSet, GlobalOptionSet *wireChoice
}

type wireChoice struct {
	Name                    string
	IsGlobal                bool
	Options                 []wireOption
	TrueOption, FalseOption *wireOption
}

type wireOption struct {
	Value          int32
	Label          wireLabel
	State          *int32
	DefaultStatus  *int32
	TransitionData string
}

var columnTypes = map[string]schema.ColumnType{
	"StringType": schema.Text, "MemoType": schema.Memo, "IntegerType": schema.Integer, "BigIntType": schema.BigInt,
	"DecimalType": schema.Decimal, "DoubleType": schema.Float, "MoneyType": schema.Money, "BooleanType": schema.YesNo,
	"PicklistType": schema.Choice, "MultiSelectPicklistType": schema.Choices, "StateType": schema.State, "StatusType": schema.Status,
	"DateTimeType": schema.DateTime, "UniqueidentifierType": schema.UniqueID, "LookupType": schema.Lookup,
	"CustomerType": schema.Customer, "OwnerType": schema.Owner, "PartyListType": schema.PartyList, "FileType": schema.File,
	"ImageType": schema.Image, "EntityNameType": schema.TableName, "ManagedPropertyType": schema.ManagedProp,
}

var ownerships = map[string]schema.Ownership{
	"UserOwned": schema.UserOwned, "TeamOwned": schema.UserOwned, "OrganizationOwned": schema.OrganizationOwned,
	"BusinessOwned": schema.BusinessOwned, "BusinessParented": schema.BusinessOwned, "None": schema.NotOwned,
}

var requiredLevels = map[string]string{
	"SystemRequired": schema.SystemRequired, "ApplicationRequired": schema.ApplicationRequired, "Recommended": schema.Recommended,
}

var dateBehaviors = map[string]string{
	"UserLocal": schema.UserLocal, "DateOnly": schema.DateOnly, "TimeZoneIndependent": schema.TimeZoneIndependent,
}

// tableBuilder puts a table together from the answers about it.
type tableBuilder struct {
	table  *schema.Table
	byName map[string]*schema.Column
	links  []schema.ManyToMany
}

func newTableBuilder(w *wireTable, bulk []string) *tableBuilder {
	t := &schema.Table{
		LogicalName: w.LogicalName, SchemaName: w.SchemaName, EntitySet: w.EntitySetName, DisplayName: w.DisplayName.text(),
		ObjectTypeCode: w.ObjectTypeCode, PrimaryID: w.PrimaryIDAttribute, PrimaryName: w.PrimaryNameAttribute,
		PrimaryImage: w.PrimaryImageAttribute, Kind: w.kind(), Ownership: ownerships[w.OwnershipType], Custom: w.IsCustomEntity,
		StateTransitions: w.EnforceStateTransitions, ChangeTracking: w.ChangeTrackingEnabled,
		OptimisticConcurrency: w.IsOptimisticConcurrencyEnabled, HasNotes: w.HasNotes, Bulk: bulk,
	}
	return &tableBuilder{table: t, byName: make(map[string]*schema.Column)}
}

func (w *wireTable) kind() schema.TableKind {
	switch {
	case w.TableType == "Elastic":
		return schema.Elastic
	case w.TableType == "Virtual":
		return schema.Virtual
	case w.IsIntersect:
		return schema.Intersect
	case w.IsActivity || w.TableType == "Activity":
		return schema.Activity
	}
	return schema.Standard
}

// decodeValue reads {"value":[...]}.
func decodeValue[T any](body []byte) ([]T, error) {
	var v struct{ Value []T }
	err := json.Unmarshal(body, &v)
	return v.Value, err
}

func (b *tableBuilder) columns(body []byte) error {
	list, err := decodeValue[wireColumn](body)
	if err != nil {
		return err
	}
	for _, w := range list {
		c := &schema.Column{
			LogicalName: w.LogicalName, SchemaName: w.SchemaName, DisplayName: w.DisplayName.text(),
			Type: columnTypes[w.AttributeTypeName.Value], Required: requiredLevels[w.RequiredLevel.Value],
			NoCreate: !w.IsValidForCreate, NoUpdate: !w.IsValidForUpdate, NoRead: !w.IsValidForRead,
			NoWebAPI: w.IsValidODataAttribute != nil && !*w.IsValidODataAttribute,
			Secured:  w.IsSecured, AutoNumber: w.AutoNumberFormat, SourceType: w.SourceType, PartOf: w.AttributeOf,
		}
		if c.Type == "" {
			c.Type = schema.Other
		}
		b.table.Columns = append(b.table.Columns, c)
		b.byName[c.LogicalName] = c
	}
	slices.SortFunc(b.table.Columns, func(a, b *schema.Column) int { return strings.Compare(a.LogicalName, b.LogicalName) })
	return nil
}

func (b *tableBuilder) keys(body []byte) error {
	list, err := decodeValue[struct {
		LogicalName, SchemaName, EntityKeyIndexStatus string
		KeyAttributes                                 []string
	}](body)
	for _, w := range list {
		b.table.Keys = append(b.table.Keys, schema.Key{
			LogicalName: w.LogicalName, SchemaName: w.SchemaName, Columns: w.KeyAttributes, Inactive: w.EntityKeyIndexStatus != "Active",
		})
	}
	return err
}

func (b *tableBuilder) relationships(body []byte) error {
	list, err := decodeValue[struct {
		SchemaName, ReferencingAttribute, ReferencedEntity string
		ReferencingEntityNavigationPropertyName            string
		ReferencedEntityNavigationPropertyName             string
		CascadeConfiguration                               map[string]any
	}](body)
	for _, w := range list {
		r := schema.Relationship{
			SchemaName: w.SchemaName, Column: w.ReferencingAttribute, Target: w.ReferencedEntity,
			Nav: w.ReferencingEntityNavigationPropertyName, Collection: w.ReferencedEntityNavigationPropertyName,
		}
		for action, rule := range w.CascadeConfiguration {
			if s, ok := rule.(string); ok && !strings.HasPrefix(action, "@") {
				if r.Cascade == nil {
					r.Cascade = make(map[string]string)
				}
				r.Cascade[action] = s
			}
		}
		b.table.ManyToOne = append(b.table.ManyToOne, r)
	}
	return err
}

func (b *tableBuilder) manyToMany(body []byte) error {
	list, err := decodeValue[struct {
		SchemaName, IntersectEntityName                                              string
		Entity1LogicalName, Entity1IntersectAttribute, Entity1NavigationPropertyName string
		Entity2LogicalName, Entity2IntersectAttribute, Entity2NavigationPropertyName string
	}](body)
	for _, w := range list {
		b.links = append(b.links, schema.ManyToMany{
			SchemaName: w.SchemaName, Intersect: w.IntersectEntityName,
			Table1: w.Entity1LogicalName, Column1: w.Entity1IntersectAttribute, Nav1: w.Entity1NavigationPropertyName,
			Table2: w.Entity2LogicalName, Column2: w.Entity2IntersectAttribute, Nav2: w.Entity2NavigationPropertyName,
		})
	}
	return err
}

// details adds what a cast tells of the columns of its type.
func (b *tableBuilder) details(cast string, body []byte) error {
	list, err := decodeValue[wireDetails](body)
	if err != nil {
		return err
	}
	for _, w := range list {
		c := b.byName[w.LogicalName]
		if c == nil {
			continue
		}
		c.MaxLength, c.MaxSizeKB = w.MaxLength, w.MaxSizeInKB
		c.Min, c.Max, c.Precision, c.PrecisionSource = w.MinValue, w.MaxValue, w.Precision, w.PrecisionSource
		c.CalculationOf, c.Targets = w.CalculationOf, w.Targets
		c.Format = first(w.FormatName.Value, w.Format)
		c.DateBehavior = dateBehaviors[w.DateTimeBehavior.Value]
		if w.DefaultFormValue != nil && *w.DefaultFormValue >= 0 {
			c.Default = w.DefaultFormValue
		}
		if w.DefaultValue != nil {
			var v int32
			if *w.DefaultValue {
				v = 1
			}
			c.Default = &v
		}
		if err := addOptions(c, cast, w); err != nil {
			return err
		}
	}
	return nil
}

// addOptions takes the options of a choice. A global one is named, and may stand in
// either place.
func addOptions(c *schema.Column, cast string, w wireDetails) error {
	set := w.OptionSet
	if g := w.GlobalOptionSet; g != nil {
		set = g
		c.GlobalChoice = g.Name
	} else if set != nil && set.IsGlobal {
		c.GlobalChoice = set.Name
	}
	if set == nil {
		return nil
	}
	options := set.Options
	for _, o := range [...]*wireOption{set.FalseOption, set.TrueOption} {
		if o != nil {
			options = append(options, *o)
		}
	}
	for _, o := range options {
		to := schema.Option{Value: o.Value, Label: o.Label.text()}
		switch cast {
		case "State":
			to.DefaultStatus = o.DefaultStatus
		case "Status":
			to.State = o.State
			next, err := transitions(o.TransitionData)
			if err != nil {
				return err
			}
			to.Next = next
		}
		c.Options = append(c.Options, to)
	}
	return nil
}

// transitions reads the status reasons that may follow one (dataverse-web-api.md 4.5).
func transitions(data string) ([]int32, error) {
	if data == "" {
		return nil, nil
	}
	var v struct {
		Allowed []struct {
			To int32 `xml:"tostatusid,attr"`
		} `xml:"allowedtransition"`
	}
	if err := xml.Unmarshal([]byte(data), &v); err != nil {
		return nil, fmt.Errorf("read status transitions: %w", err)
	}
	var next []int32
	for _, a := range v.Allowed {
		next = append(next, a.To)
	}
	return next, nil
}
