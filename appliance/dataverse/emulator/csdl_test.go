package emulator

import (
	"encoding/json"
	"encoding/xml"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// element is an element of a CSDL document.
type element struct {
	XMLName  xml.Name
	Attrs    []xml.Attr `xml:",any,attr"`
	Children []element  `xml:",any"`
}

func (e element) attr(name string) string {
	for _, a := range e.Attrs {
		if a.Name.Local == name {
			return a.Value
		}
	}
	return ""
}

func (e element) all(tag string) (found []element) {
	for _, c := range e.Children {
		if c.XMLName.Local == tag {
			found = append(found, c)
		}
	}
	return found
}

// csdlDoc is a document made ready for looking up what it names.
type csdlDoc struct {
	types map[string]element
	sets  map[string]element
	ops   map[string]bool
}

func readDoc(t *testing.T, text string) csdlDoc {
	t.Helper()
	var root element
	if err := xml.Unmarshal([]byte(text), &root); err != nil {
		t.Fatal(err)
	}
	d := csdlDoc{map[string]element{}, map[string]element{}, map[string]bool{}}
	for _, schema := range root.all("DataServices")[0].all("Schema") {
		for _, e := range schema.Children {
			switch e.XMLName.Local {
			case "EntityType", "ComplexType", "EnumType":
				if _, twice := d.types[e.attr("Name")]; twice {
					t.Errorf("type %s is declared twice", e.attr("Name"))
				}
				d.types[e.attr("Name")] = e
			case "Action", "Function":
				d.ops[e.attr("Name")] = true
			case "EntityContainer":
				for _, s := range e.all("EntitySet") {
					d.sets[s.attr("Name")] = s
				}
			}
		}
	}
	return d
}

// bare is the name of a type of ours, without what surrounds it; "" for one of Edm.
func bare(typ string) string {
	typ = strings.TrimSuffix(strings.TrimPrefix(typ, "Collection("), ")")
	typ = strings.TrimPrefix(strings.TrimPrefix(typ, "mscrm."), namespace)
	if strings.HasPrefix(typ, "Edm.") {
		return ""
	}
	return typ
}

// members are the properties of a type and of what it derives from, by name.
func (d csdlDoc) members(t *testing.T, name string) map[string]element {
	out := map[string]element{}
	for e, ok := d.types[name]; ok; e, ok = d.types[bare(e.attr("BaseType"))] {
		for _, p := range append(e.all("Property"), e.all("NavigationProperty")...) {
			if _, twice := out[p.attr("Name")]; twice {
				t.Errorf("%s has %s twice", name, p.attr("Name"))
			}
			out[p.attr("Name")] = p
		}
	}
	return out
}

// check follows every name in the document.
func (d csdlDoc) check(t *testing.T) {
	t.Helper()
	for name, e := range d.types {
		all := d.members(t, name)
		if base := bare(e.attr("BaseType")); base != "" && d.types[base].XMLName.Local == "" {
			t.Errorf("%s derives from %s, which is not declared", name, base)
		}
		for member, p := range all {
			to := bare(p.attr("Type"))
			if to != "" && d.types[to].XMLName.Local == "" {
				t.Errorf("%s.%s is of type %s, which is not declared", name, member, to)
			}
			theirs := d.members(t, to)
			if partner := p.attr("Partner"); partner != "" && theirs[partner].attr("Name") == "" {
				t.Errorf("the partner of %s.%s, %s.%s, is not declared", name, member, to, partner)
			}
			for _, r := range p.all("ReferentialConstraint") {
				if all[r.attr("Property")].attr("Name") == "" || theirs[r.attr("ReferencedProperty")].attr("Name") == "" {
					t.Errorf("%s.%s is bound to what is not declared: %v", name, member, r.Attrs)
				}
			}
		}
	}
	for name, s := range d.sets {
		all, seen := d.members(t, bare(s.attr("EntityType"))), map[string]bool{}
		if len(all) == 0 {
			t.Errorf("set %s is of type %s, which is not declared", name, s.attr("EntityType"))
		}
		for _, b := range s.all("NavigationPropertyBinding") {
			path, target := b.attr("Path"), b.attr("Target")
			if seen[path] || all[path].attr("Name") == "" || d.sets[target].attr("Name") == "" && target != "owners" {
				t.Errorf("set %s binds %s to %s a second time, or one of them is not declared", name, path, target)
			}
			seen[path] = true
		}
	}
}

// TestMetadataIsClosed follows every name in $metadata: of the test's world, of one
// without users, and of what the sample of a real environment has.
func TestMetadataIsClosed(t *testing.T) {
	readDoc(t, start(t).want(200, "", "GET", "$metadata", "").body).check(t)
	real := start(t, func(o *Options) { o.Schema = realSchema(t, "simple-odata-crm_schema.xml.gz") })
	readDoc(t, real.want(200, "", "GET", "$metadata?annotations=true", "").body).check(t)
}

// TestSetsAreDeclared compares the service document with $metadata, and both with what
// answers.
func TestSetsAreDeclared(t *testing.T) {
	e := start(t)
	var service struct{ Value []struct{ Name, URL string } }
	if err := json.Unmarshal([]byte(e.want(200, "", "GET", "", "").body), &service); err != nil {
		t.Fatal(err)
	}
	var listed []string
	for _, s := range service.Value {
		listed = append(listed, s.Name)
		if s.Name != "activitypointers" {
			e.want(200, "", "GET", s.URL, "")
		}
	}
	doc := readDoc(t, e.want(200, "", "GET", "$metadata", "").body)
	slices.Sort(listed)
	if d := cmp.Diff(slices.Sorted(maps.Keys(doc.sets)), listed); d != "" {
		t.Errorf("sets of $metadata and of the service document (-metadata +service):\n%s", d)
	}
}

// TestDefinitionsAreDeclared compares what definitions and made-up rows answer with the
// types that $metadata says they have.
func TestDefinitionsAreDeclared(t *testing.T) {
	e := start(t)
	doc := readDoc(t, e.want(200, "", "GET", "$metadata", "").body)
	for _, c := range []struct{ path, typ string }{
		{"EntityDefinitions?" + query("$expand", "Attributes,Keys,ManyToOneRelationships,OneToManyRelationships,ManyToManyRelationships"), "EntityMetadata"},
		{"RelationshipDefinitions", "RelationshipMetadataBase"},
		{"EntityDefinitions(LogicalName='account')/Attributes/Microsoft.Dynamics.CRM.StatusAttributeMetadata?$expand=OptionSet", "StatusAttributeMetadata"},
		{"EntityDefinitions(LogicalName='account')/Attributes/Microsoft.Dynamics.CRM.StateAttributeMetadata?$expand=OptionSet", "StateAttributeMetadata"},
		{"EntityDefinitions(LogicalName='account')/Attributes/Microsoft.Dynamics.CRM.BooleanAttributeMetadata?$expand=OptionSet", "BooleanAttributeMetadata"},
		{"EntityDefinitions(LogicalName='account')/Attributes/Microsoft.Dynamics.CRM.PicklistAttributeMetadata?$expand=OptionSet,GlobalOptionSet", "PicklistAttributeMetadata"},
		{"sdkmessages", "sdkmessage"}, {"sdkmessagefilters?$expand=sdkmessageid", "sdkmessagefilter"}, {"organizations", "organization"},
		{"solutions", "solution"}, {"publishers", "publisher"},
	} {
		var answer struct{ Value []map[string]any }
		if err := json.Unmarshal([]byte(e.want(200, "", "GET", c.path, "").body), &answer); err != nil || len(answer.Value) == 0 {
			t.Fatalf("%s: %d items, %v", c.path, len(answer.Value), err)
		}
		for _, item := range answer.Value {
			doc.checkValue(t, c.typ, item)
		}
	}
}

// checkValue checks a value of a type: that its properties are declared, and of the
// kind that they are declared to be.
func (d csdlDoc) checkValue(t *testing.T, typ string, v map[string]any) {
	t.Helper()
	if own, ok := v["@odata.type"].(string); ok {
		typ = bare(strings.TrimPrefix(own, "#"))
	}
	all := d.members(t, typ)
	for name, value := range v {
		if strings.Contains(name, "@") || value == nil {
			continue
		}
		declared := all[name].attr("Type")
		items, list := value.([]any)
		if declared == "" || list != strings.HasPrefix(declared, "Collection(") {
			t.Errorf("%s.%s is declared as %q and answered as %v", typ, name, declared, value)
			continue
		}
		if !list {
			items = []any{value}
		}
		for _, item := range items {
			d.checkItem(t, typ+"."+name, declared, item)
		}
	}
}

func (d csdlDoc) checkItem(t *testing.T, name, declared string, item any) {
	t.Helper()
	to := bare(declared)
	ok := false
	switch item := item.(type) {
	case map[string]any:
		if ok = to != "" && d.types[to].XMLName.Local != "EnumType"; ok {
			d.checkValue(t, to, item)
		}
	case string:
		ok = strings.Contains(declared, "Edm.String") || strings.Contains(declared, "Edm.Guid") || strings.Contains(declared, "Edm.DateTimeOffset")
		if enum := d.types[to]; to != "" && enum.XMLName.Local == "EnumType" {
			ok = slices.ContainsFunc(enum.all("Member"), func(m element) bool { return m.attr("Name") == item })
		}
	case bool:
		ok = strings.Contains(declared, "Edm.Boolean")
	case float64:
		ok = strings.Contains(declared, "Edm.Int") || strings.Contains(declared, "Edm.Decimal") || strings.Contains(declared, "Edm.Double")
	}
	if !ok {
		t.Errorf("%s is declared as %s and answered as %v", name, declared, item)
	}
}
