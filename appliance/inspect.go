package appliance

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"unicode/utf16"

	"dvmigrate/appliance/dataverse/schema"
	"dvmigrate/appliance/mapping"
)

// maxBody is the most that the service takes in one request with any custom logic on it:
// the sandbox's context, with room for what the platform adds (dataverse-web-api.md 8.6).
const maxBody = 100 << 20

// DryMisfit is one way in which requests do not fit the schema.
type DryMisfit struct {
	Table   string `json:"table"`
	Column  string `json:"column,omitempty"`
	Problem string `json:"problem"`
	Records int64  `json:"records"` // that have it
	Example string `json:"example"` // the record's id, or the request
}

// inspector holds the bodies of requests against the schema. It reads them as the
// service does, and shares nothing with what wrote them.
type inspector struct {
	schema  *schema.Schema
	mu      sync.Mutex // protects misfits
	misfits map[string]*DryMisfit
}

func (n *inspector) note(table, column, problem, example string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	key := table + "\x00" + column + "\x00" + problem
	m := n.misfits[key]
	if m == nil {
		m = &DryMisfit{Table: table, Column: column, Problem: problem, Example: example}
		n.misfits[key] = m
	}
	m.Records++
}

// part inspects one operation of a $batch: its own headers, a request line, headers,
// and a body.
func (n *inspector) part(part []byte) {
	_, rest, _ := bytes.Cut(part, []byte("\r\n\r\n"))
	head, body, ok := bytes.Cut(rest, []byte("\r\n\r\n"))
	line := strings.Fields(string(head))
	if !ok || len(line) < 3 {
		n.note("$batch", "", "a part is no request", string(head))
		return
	}
	_, path, _ := strings.Cut(line[1], "/v9.2/")
	path, _, _ = strings.Cut(path, "?")
	body, _, _ = bytes.Cut(body, []byte("\r\n"))
	n.request(line[0], path, body)
}

// request inspects a write outside of a $batch, or one of its parts.
func (n *inspector) request(method, path string, body []byte) {
	set, rest, _ := strings.Cut(path, "/")
	set, key, _ := strings.Cut(set, "(")
	t := n.schema.Set(set)
	if mapping.IsClosingAction(path) {
		n.closing(path, body)
		return
	}
	if t == nil {
		n.note(set, "", "the schema has no such entity set", path)
		return
	}
	if len(body) > maxBody {
		n.note(t.LogicalName, "", fmt.Sprintf("a request is larger than %d MB: fewer records a request, or less in each", maxBody>>20), path)
	}
	if strings.HasSuffix(rest, "$ref") || method == http.MethodDelete {
		return // ids, nothing else
	}
	key = strings.TrimSuffix(key, ")")
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	var err error
	if strings.HasSuffix(rest, "Multiple") {
		var many struct{ Targets []map[string]any }
		err = d.Decode(&many)
		for _, record := range many.Targets {
			n.record(t, record, "", strings.HasSuffix(rest, "UpdateMultiple"))
		}
	} else {
		var one map[string]any
		err = d.Decode(&one)
		n.record(t, one, key, method == http.MethodPatch)
	}
	if err != nil {
		n.note(t.LogicalName, "", "a body is not JSON: "+err.Error(), path)
	}
}

// closing inspects a call of an action that closes a record: a status, and an activity that
// names the record.
func (n *inspector) closing(path string, body []byte) {
	var members map[string]any
	if err := json.Unmarshal(body, &members); err != nil {
		n.note(path, "", "a body is not JSON: "+err.Error(), path)
		return
	}
	named := false
	for _, member := range members {
		activity, _ := member.(map[string]any)
		for name, value := range activity {
			text, _ := value.(string)
			set, id, _ := strings.Cut(strings.TrimSuffix(strings.TrimPrefix(text, "/"), ")"), "(")
			named = named || strings.HasSuffix(name, "@odata.bind") && n.schema.Set(set) != nil && isGUID(id)
		}
	}
	if _, is := members["Status"].(float64); !is || !named {
		n.note(path, "", "an action lacks its status, or an activity that names a record", path)
	}
}

// record inspects one record: every member has to be something that the table takes.
func (n *inspector) record(t *schema.Table, record map[string]any, id string, update bool) {
	if own, ok := record[t.PrimaryID].(string); ok {
		id = own
	}
	for name, value := range record {
		nav, bind := strings.CutSuffix(name, "@odata.bind")
		problem := ""
		switch {
		case name == "@odata.type":
			if want := "Microsoft.Dynamics.CRM." + t.LogicalName; value != want {
				problem = fmt.Sprintf("is %v, not %s", value, want)
			}
		case bind:
			problem = n.bound(t, nav, value)
		case name == t.PrimaryID:
			if text, _ := value.(string); text == "" || !isGUID(text) {
				problem = "is no id"
			}
		default:
			problem = columnProblem(t.Column(name), value, update)
		}
		if problem != "" {
			n.note(t.LogicalName, name, problem, id)
		}
	}
}

func isGUID(text string) bool {
	_, err := schema.ParseGUID(text)
	return err == nil
}

// bound says what is wrong with a lookup: nav@odata.bind is set(id), or null.
func (n *inspector) bound(t *schema.Table, nav string, value any) string {
	if t.Navigation(nav) == nil {
		return "the table has no such navigation property"
	}
	text, isText := value.(string)
	set, id, _ := strings.Cut(strings.TrimSuffix(strings.TrimPrefix(text, "/"), ")"), "(")
	for _, r := range t.ManyToOne { // an owner's serves users and teams
		target := n.schema.Table(r.Target)
		if value == nil || isText && r.Nav == nav && target != nil && target.EntitySet == set && isGUID(id) {
			return ""
		}
	}
	return "does not name a record that the lookup may point to"
}

// columnProblem says what is wrong with a value for a column; "" = nothing.
func columnProblem(c *schema.Column, value any, update bool) string {
	switch {
	case c == nil:
		return "the table has no such column"
	case c.Type.IsLookup():
		return "a lookup is written by its navigation property"
	case !c.Writable(update):
		return "the service ignores a value for this column"
	case value == nil:
		return ""
	}
	switch v := value.(type) {
	case string:
		return textProblem(c, v)
	case json.Number:
		return numberProblem(c, v)
	case bool:
		if c.Type != schema.YesNo {
			return "is true or false, the column is " + string(c.Type)
		}
		return ""
	}
	return fmt.Sprintf("is a %T", value)
}

func textProblem(c *schema.Column, v string) string {
	switch c.Type {
	case schema.Text, schema.Memo:
		if n := len(utf16.Encode([]rune(v))); c.MaxLength > 0 && n > c.MaxLength {
			return fmt.Sprintf("is longer than %d characters", c.MaxLength)
		}
	case schema.UniqueID:
		if !isGUID(v) {
			return "is no id"
		}
	case schema.Integer, schema.BigInt, schema.Decimal, schema.Float, schema.Money, schema.YesNo, schema.Choice, schema.State, schema.Status:
		return "is text, the column is " + string(c.Type)
	}
	return ""
}

func numberProblem(c *schema.Column, v json.Number) string {
	switch c.Type {
	case schema.Choice, schema.State, schema.Status:
		i, err := v.Int64()
		if err != nil || int64(int32(i)) != i || c.Option(int32(i)) == nil {
			return "is an option that the column does not have: " + v.String()
		}
	case schema.Integer, schema.BigInt, schema.Decimal, schema.Float, schema.Money:
		f, err := v.Float64()
		if err != nil || c.Min != nil && f < *c.Min || c.Max != nil && f > *c.Max {
			return "is outside the column's range"
		}
	default:
		return "is a number, the column is " + string(c.Type)
	}
	return ""
}
