package emulator

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// changesQuery is the EntityQueryExpression of RetrieveMetadataChanges (12.7).
type changesQuery struct {
	Criteria          *changesFilter
	Properties        *changesProperties
	AttributeQuery    *changesPart
	RelationshipQuery *changesPart
	KeyQuery          *changesPart
}

type changesPart struct {
	Criteria   *changesFilter
	Properties *changesProperties
}

type changesFilter struct {
	FilterOperator string
	Conditions     []struct {
		PropertyName, ConditionOperator string
		Value                           struct{ Value any }
	}
	Filters []*changesFilter
}

type changesProperties struct {
	AllProperties bool
	PropertyNames []string
}

// retrieveMetadataChanges answers the tables that the query asks for; none, when the
// client's stamp is that of the schema in force.
func (c *call) retrieveMetadataChanges() error {
	var q changesQuery
	if text, ok := c.rawParameter("Query"); ok {
		if err := json.Unmarshal([]byte(text), &q); err != nil {
			return errURL("The Query of RetrieveMetadataChanges is not valid: %v", err)
		}
	}
	stamp := strconv.FormatInt(c.srv.schemaVersion, 10) + "!emulator"
	answer := object{{"ServerVersionStamp", stamp}, {"EntityMetadata", []object{}}, {"DeletedMetadata", nil}}
	if text, ok := c.rawParameter("ClientVersionStamp"); ok && text != "null" {
		text = strings.Trim(text, "'")
		if n, rest, _ := strings.Cut(text, "!"); rest != "emulator" || !isNumber(n) {
			return errorf(http.StatusBadRequest, "0x80044352", "Version stamp associated with the client has expired. Please perform a full sync.")
		}
		if text == stamp {
			return c.answerType("RetrieveMetadataChangesResponse", answer)
		}
	}
	m := c.srv.model
	entities := []object{}
	for _, t := range m.tables {
		d := m.entity(t)
		if !q.Criteria.holds(d.props) {
			continue
		}
		o := q.Properties.keep(d)
		for _, n := range d.navs {
			part := q.AttributeQuery
			switch {
			case n.name == "Keys":
				part = q.KeyQuery
			case strings.HasSuffix(n.name, "Relationships"):
				part = q.RelationshipQuery
			}
			if q.Properties.wants(n.name) {
				o = append(o, field{n.name, part.items(n)})
			}
		}
		entities = append(entities, o)
	}
	answer[1].value = entities
	return c.answerType("RetrieveMetadataChangesResponse", answer)
}

func isNumber(s string) bool {
	_, err := strconv.ParseInt(s, 10, 64)
	return err == nil
}

// rawParameter reads a function's parameter as text: an alias's value, or what
// stands between the brackets.
func (c *call) rawParameter(name string) (string, bool) {
	for _, part := range splitTop(c.segs[0].key, ',') {
		key, text, ok := strings.Cut(part, "=")
		if !ok || strings.TrimSpace(key) != name {
			continue
		}
		if text = strings.TrimSpace(text); strings.HasPrefix(text, "@") {
			return c.option(text)
		}
		return text, true
	}
	return "", false
}

func (p *changesProperties) wants(name string) bool {
	return p != nil && (p.AllProperties || slices.Contains(p.PropertyNames, name))
}

// keep is a definition with the properties asked for; MetadataId in any case.
func (p *changesProperties) keep(d definition) object {
	o := object{{"@odata.type", "#" + namespace + d.typ}}
	for _, f := range d.props {
		if p == nil || p.wants(f.name) || f.name == "MetadataId" || f.name == "LogicalName" || f.name == "HasChanged" {
			o = append(o, f)
		}
	}
	return o
}

func (p *changesPart) items(n navigation) []object {
	out := []object{}
	for _, d := range n.items() {
		if p == nil {
			out = append(out, (*changesProperties)(nil).keep(d))
		} else if p.Criteria.holds(d.props) {
			out = append(out, p.Properties.keep(d))
		}
	}
	return out
}

// holds reports whether a definition satisfies the filter; no filter takes all.
func (f *changesFilter) holds(props object) bool {
	if f == nil || len(f.Conditions)+len(f.Filters) == 0 {
		return true
	}
	either := f.FilterOperator == "Or"
	for _, inner := range f.Filters {
		if inner.holds(props) == either {
			return either
		}
	}
	for _, c := range f.Conditions {
		v, _ := props.get(c.PropertyName)
		values := []string{fmt.Sprint(c.Value.Value)}
		var list []string
		if json.Unmarshal([]byte(values[0]), &list) == nil {
			values = list
		}
		in := slices.ContainsFunc(values, func(s string) bool { return strings.EqualFold(s, fmt.Sprint(v)) })
		want := c.ConditionOperator == "Equals" || c.ConditionOperator == "In"
		if (in == want) == either {
			return either
		}
	}
	return !either
}
