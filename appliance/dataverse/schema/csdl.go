package schema

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strings"
)

// The bounds of a $metadata document. Real ones have 5 to 20 MB and well under
// 2,000 types; what exceeds a bound is refused rather than read in part.
const (
	csdlMaxBytes  = 256 << 20
	csdlMaxDepth  = 64
	csdlMaxTypes  = 20_000
	csdlMaxFields = 5_000 // properties, or navigation properties, of one type
)

// errCSDL is wrapped by every error that ReadCSDL returns for a document that is
// not the metadata of a Dataverse environment.
var errCSDL = errors.New("not a Dataverse $metadata document")

// ReadCSDL reads the $metadata document of an environment (EDMX 4.0,
// dataverse-web-api.md 12.6) into a Schema.
//
// It takes: tables with entity set, primary key and kind; the columns an activity
// inherits from activitypointer; lookups from a `_x_value` property and the
// navigation properties to its targets; N:N relationships and their intersect
// tables; alternate keys, read-only columns and change tracking where annotated.
//
// A CSDL document is poorer than EntityDefinitions, and what it does not say
// stays open (the zero value), so that nobody takes a guess for a fact:
//   - labels, schema names of tables, type codes, primary name columns, bulk actions;
//   - lengths, ranges, precision, formats, required levels, options and states: a
//     choice is an Integer here, but for statecode and statuscode; multi-line text
//     and choices are Text;
//   - whether a date is UserLocal or TimeZoneIndependent: DateBehavior is set only
//     for Edm.Date;
//   - a relationship's own name: the partner collection's stands in for it, as does
//     the collection's for an N:N relationship; Cascade is empty;
//   - the intersect table of an N:N relationship, where no type in the document
//     fits: Intersect and the columns are empty then;
//   - an alternate key's name: it is made of its columns.
//
// Money is told from decimal by its `_base` companion, a customer lookup by its
// two targets, ownership by the owner columns. Unicode="false" stands on every
// string of the real service, so it says nothing and is not read. A
// single-valued navigation property without a `_x_value` column is left out: it
// cannot be read, and the service names it only in EntityDefinitions.
func ReadCSDL(r io.Reader) (*Schema, error) {
	limited := &io.LimitedReader{R: r, N: csdlMaxBytes}
	doc, err := decodeCSDL(limited)
	if err != nil {
		if limited.N <= 0 {
			err = fmt.Errorf("larger than %d bytes: %w", int64(csdlMaxBytes), errCSDL)
		}
		return nil, fmt.Errorf("read metadata: %w", err)
	}
	s, err := doc.build()
	if err != nil {
		return nil, fmt.Errorf("read metadata: %w", err)
	}
	return s, nil
}

// csdlDoc is what the document says, type by type, in its order.
type csdlDoc struct {
	types  []*csdlType
	byName map[string]*csdlType
	sets   map[string]*csdlSet // by entity type
}

type csdlType struct {
	name, base string
	abstract   bool
	key        []string
	props      []csdlProperty
	navs       []csdlNav
	keys       [][]string // alternate keys, by property name
}

type csdlProperty struct {
	name, typ string
	computed  bool
	readOnly  bool
	fixed     bool // ConcurrencyMode="Fixed", on versionnumber
}

type csdlNav struct {
	name, target, partner string
	collection            bool
	property              string // of the first ReferentialConstraint
}

type csdlSet struct {
	name  string
	track bool
}

// csdlReader walks the tokens. It keeps the types, never the tree.
type csdlReader struct {
	d     *xml.Decoder
	doc   *csdlDoc
	depth int
	seen  bool // a Schema element
}

func decodeCSDL(r io.Reader) (*csdlDoc, error) {
	c := &csdlReader{
		d:   xml.NewDecoder(r),
		doc: &csdlDoc{byName: map[string]*csdlType{}, sets: map[string]*csdlSet{}},
	}
	for {
		start, err := c.next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		if start == nil {
			continue
		}
		switch start.Name.Local {
		case "Schema":
			c.seen = true
		case "EntityType":
			err = c.entityType(*start)
		case "EntitySet":
			err = c.entitySet(*start)
		}
		if err != nil {
			return nil, err
		}
	}
	if !c.seen || len(c.doc.types) == 0 {
		return nil, fmt.Errorf("no entity types in it: %w", errCSDL)
	}
	return c.doc, nil
}

// next returns the next start element, or nil for any other token.
func (c *csdlReader) next() (*xml.StartElement, error) {
	tok, err := c.d.Token()
	if err != nil {
		if errors.Is(err, io.EOF) {
			return nil, io.EOF
		}
		return nil, fmt.Errorf("%w: %w", errCSDL, err)
	}
	switch t := tok.(type) {
	case xml.StartElement:
		if c.depth++; c.depth > csdlMaxDepth {
			return nil, fmt.Errorf("elements nest deeper than %d: %w", csdlMaxDepth, errCSDL)
		}
		return &t, nil
	case xml.EndElement:
		c.depth--
	}
	return nil, nil
}

// children calls visit with each element inside the one just started, at any
// depth, until that one ends.
func (c *csdlReader) children(visit func(xml.StartElement) error) error {
	for outside := c.depth - 1; c.depth > outside; {
		start, err := c.next()
		if errors.Is(err, io.EOF) {
			return fmt.Errorf("the document ends early: %w", errCSDL)
		}
		if err != nil {
			return err
		}
		if start == nil {
			continue
		}
		if err := visit(*start); err != nil {
			return err
		}
	}
	return nil
}

func (c *csdlReader) entityType(e xml.StartElement) error {
	t := &csdlType{name: attr(e, "Name"), base: local(attr(e, "BaseType")), abstract: attr(e, "Abstract") == "true"}
	if t.name == "" {
		return fmt.Errorf("an entity type has no name: %w", errCSDL)
	}
	if c.doc.byName[t.name] != nil {
		return fmt.Errorf("entity type %s is there twice: %w", t.name, errCSDL)
	}
	if len(c.doc.types) == csdlMaxTypes {
		return fmt.Errorf("more than %d entity types: %w", csdlMaxTypes, errCSDL)
	}
	c.doc.types = append(c.doc.types, t)
	c.doc.byName[t.name] = t
	return c.children(func(e xml.StartElement) error {
		switch e.Name.Local {
		case "PropertyRef":
			t.key = append(t.key, attr(e, "Name"))
		case "Property":
			return c.property(t, e)
		case "NavigationProperty":
			return c.navigation(t, e)
		case "Annotation":
			if attr(e, "Term") == "OData.Community.Keys.V1.AlternateKeys" {
				return c.alternateKeys(t)
			}
		}
		return nil
	})
}

func (c *csdlReader) property(t *csdlType, e xml.StartElement) error {
	p := csdlProperty{name: attr(e, "Name"), typ: attr(e, "Type"), fixed: attr(e, "ConcurrencyMode") == "Fixed"}
	if p.name == "" || len(t.props) == csdlMaxFields {
		return fmt.Errorf("entity type %s: a property has no name, or there are more than %d: %w", t.name, csdlMaxFields, errCSDL)
	}
	permissions := false
	err := c.children(func(e xml.StartElement) error {
		switch e.Name.Local {
		case "Annotation":
			term := attr(e, "Term")
			permissions = term == "Org.OData.Core.V1.Permissions"
			p.computed = p.computed || term == "Org.OData.Core.V1.Computed" && attr(e, "Bool") != "false"
			p.readOnly = p.readOnly || permissions && readPermission(attr(e, "EnumMember"))
		case "EnumMember":
			if permissions {
				text, err := c.text()
				p.readOnly = p.readOnly || readPermission(text)
				return err
			}
		}
		return nil
	})
	t.props = append(t.props, p)
	return err
}

// readPermission reports whether the value of Org.OData.Core.V1.Permissions
// allows reading only.
func readPermission(s string) bool {
	return strings.TrimSpace(s) == "Org.OData.Core.V1.PermissionType/Read"
}

// text returns the character data up to the next tag.
func (c *csdlReader) text() (string, error) {
	tok, err := c.d.Token()
	if err != nil {
		return "", fmt.Errorf("%w: %w", errCSDL, err)
	}
	switch t := tok.(type) {
	case xml.CharData:
		return string(t), nil
	case xml.StartElement:
		c.depth++
	case xml.EndElement:
		c.depth--
	}
	return "", nil
}

func (c *csdlReader) navigation(t *csdlType, e xml.StartElement) error {
	n := csdlNav{name: attr(e, "Name"), partner: attr(e, "Partner"), target: attr(e, "Type")}
	if inner, ok := strings.CutPrefix(n.target, "Collection("); ok {
		n.collection, n.target = true, strings.TrimSuffix(inner, ")")
	}
	n.target = local(n.target)
	if n.name == "" || len(t.navs) == csdlMaxFields {
		return fmt.Errorf("entity type %s: a navigation property has no name, or there are more than %d: %w", t.name, csdlMaxFields, errCSDL)
	}
	err := c.children(func(e xml.StartElement) error {
		if e.Name.Local == "ReferentialConstraint" && n.property == "" {
			n.property = attr(e, "Property")
		}
		return nil
	})
	t.navs = append(t.navs, n)
	return err
}

// alternateKeys reads Collection/Record(AlternateKey)/PropertyValue(Key)/
// Collection/Record(PropertyRef)/PropertyValue(Name, PropertyPath).
func (c *csdlReader) alternateKeys(t *csdlType) error {
	return c.children(func(e xml.StartElement) error {
		if e.Name.Local != "PropertyValue" {
			return nil
		}
		switch attr(e, "Property") {
		case "Key":
			t.keys = append(t.keys, nil)
		case "Name":
			if len(t.keys) > 0 {
				last := len(t.keys) - 1
				t.keys[last] = append(t.keys[last], attr(e, "PropertyPath"))
			}
		}
		return nil
	})
}

func (c *csdlReader) entitySet(e xml.StartElement) error {
	set := &csdlSet{name: attr(e, "Name")}
	if of := local(attr(e, "EntityType")); of != "" && c.doc.sets[of] == nil {
		c.doc.sets[of] = set
	}
	tracking := false
	return c.children(func(e xml.StartElement) error {
		switch e.Name.Local {
		case "Annotation":
			tracking = attr(e, "Term") == "Org.OData.Capabilities.V1.ChangeTracking"
		case "PropertyValue":
			if tracking && attr(e, "Property") == "Supported" {
				set.track = attr(e, "Bool") == "true"
			}
		}
		return nil
	})
}

func attr(e xml.StartElement, name string) string {
	for _, a := range e.Attr {
		if a.Name.Local == name && a.Name.Space == "" {
			return a.Value
		}
	}
	return ""
}

// local cuts the namespace or its alias off a type's name.
func local(name string) string { return name[strings.LastIndexByte(name, '.')+1:] }
