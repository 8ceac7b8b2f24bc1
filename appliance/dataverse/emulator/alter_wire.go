package emulator

import (
	"encoding/json"
	"errors"
	"net/http"
	"strings"

	"dvmigrate/appliance/dataverse/schema"
)

// The bodies of schema writes (section 12.9). What the emulator has no use for is
// not read.

type wireLabel struct {
	LocalizedLabels    []wireText
	UserLocalizedLabel *wireText
}

type wireText struct{ Label string }

func (l wireLabel) text() string {
	if len(l.LocalizedLabels) > 0 {
		return l.LocalizedLabels[0].Label
	}
	if l.UserLocalizedLabel != nil {
		return l.UserLocalizedLabel.Label
	}
	return ""
}

type wireValue struct{ Value string }

type wireEntity struct {
	SchemaName, LogicalName                     string
	EntitySetName, OwnershipType, TableType     string
	DisplayName                                 wireLabel
	IsActivity, HasNotes, ChangeTrackingEnabled *bool
	PrimaryNameAttribute                        string
	Attributes                                  []wireAttribute
}

type wireAttribute struct {
	Type                         string `json:"@odata.type"`
	SchemaName, LogicalName      string
	DisplayName                  wireLabel
	RequiredLevel                wireValue
	IsPrimaryName                bool
	MaxLength, Precision         *int
	PrecisionSource, MaxSizeInKB *int
	MinValue, MaxValue           *float64
	AutoNumberFormat             *string
	FormatName, DateTimeBehavior *wireValue
	DefaultValue                 *bool
	DefaultFormValue             *int32
	Targets                      []string
	OptionSet                    *wireOptionSet
	GlobalOptionSet              string `json:"GlobalOptionSet@odata.bind"`
}

type wireOptionSet struct {
	Name                    string
	DisplayName             wireLabel
	IsGlobal                bool
	Options                 []wireOption
	TrueOption, FalseOption *wireOption
}

type wireOption struct {
	Value *int32
	Label wireLabel
}

type wireRelationship struct {
	Type                                   string `json:"@odata.type"`
	SchemaName                             string
	ReferencedEntity, ReferencingEntity    string
	ReferencedEntityNavigationPropertyName string
	CascadeConfiguration                   map[string]string
	Lookup                                 *wireAttribute

	IntersectEntityName, Entity1LogicalName, Entity2LogicalName  string
	Entity1NavigationPropertyName, Entity2NavigationPropertyName string
}

type wireKey struct {
	SchemaName    string
	DisplayName   wireLabel
	KeyAttributes []string
}

// wire reads the body of a schema write.
func (c *call) wire(into any) error {
	if err := c.checkContentType(); err != nil {
		return err
	}
	s := scanner{b: c.body}
	err := s.skip(0)
	if err == nil {
		err = s.end()
	}
	if err != nil {
		return inPayload("", err)
	}
	return errWire(json.Unmarshal(c.body, into))
}

// errWire says in the service's words that a value of a body has the wrong type.
func errWire(err error) error {
	var wrong *json.UnmarshalTypeError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &wrong):
		return errPayload("", "Microsoft.OData.ODataException: An unexpected node was found when reading the value of property '"+or(wrong.Field, "value")+"'.")
	}
	return errPayload("", "Microsoft.OData.ODataException: Invalid JSON.")
}

// wireType is the name in an @odata.type, less the namespace.
func wireType(s string) string {
	return strings.TrimPrefix(strings.TrimPrefix(s, "#"), namespace)
}

func errMetadata(format string, args ...any) *apiError {
	return errorf(http.StatusBadRequest, "0x80044363", format, args...)
}

// options turns options from the wire into a choice's. One without a value gets the
// next above the last, from 100000000 on (section 12.3).
func (s *wireOptionSet) options() []schema.Option {
	next := int32(100000000)
	var out []schema.Option
	for _, o := range s.Options {
		v := next
		if o.Value != nil {
			v = *o.Value
		}
		next = max(next, v+1)
		out = append(out, schema.Option{Value: v, Label: o.Label.text()})
	}
	return out
}

// yesNo turns the two options of a yes/no column.
func (s *wireOptionSet) yesNo() []schema.Option {
	out := []schema.Option{{Value: 0, Label: "No"}, {Value: 1, Label: "Yes"}}
	for i, o := range []*wireOption{s.FalseOption, s.TrueOption} {
		if o != nil && o.Label.text() != "" {
			out[i].Label = o.Label.text()
		}
	}
	return out
}
