package emulator

import (
	"encoding/json"
	"net/http"
	"slices"

	"dvmigrate/appliance/dataverse/schema"
)

// alteration is a schema in the making: a copy of the one in force, which a schema
// write changes (section 12.9). It takes the place of the other when all is well.
type alteration struct {
	*schema.Schema
	choices []*schema.Column // global choices of no column: GlobalChoice, DisplayName and Options
	failed  []schema.GUID    // keys whose index could not be built
}

// alter runs a schema write with every other call held off: the model that calls
// read without a lock is replaced.
func (c *call) alter(fn func(*alteration) error) error {
	if c.tx != nil {
		return errorf(http.StatusBadRequest, "0x80040203", "Metadata cannot be changed inside a change set.")
	}
	s := c.srv
	s.gate.RUnlock()
	defer s.gate.RLock()
	s.gate.Lock()
	defer s.gate.Unlock()
	a, err := s.model.copied()
	if err != nil {
		return err
	}
	if err := fn(a); err != nil {
		return err
	}
	return s.adopt(a)
}

// copied makes an alteration that changes nothing.
func (m *model) copied() (*alteration, error) {
	text, err := json.Marshal(m.schema)
	if err != nil {
		return nil, err
	}
	a := &alteration{Schema: new(schema.Schema), choices: slices.Clone(m.choices), failed: slices.Clone(m.failed)}
	return a, json.Unmarshal(text, a.Schema)
}

// table finds a table of the altered schema.
func (a *alteration) table(name string) *schema.Table {
	for _, t := range a.Tables {
		if t.LogicalName == name {
			return t
		}
	}
	return nil
}

// adopt puts the altered schema in force. Rows stay; those of a table whose
// encoding is no longer the same are encoded anew.
func (s *Server) adopt(a *alteration) error {
	sch, err := schema.New(withAttachments(a.Tables), a.ManyToMany)
	if err != nil {
		return errorf(http.StatusBadRequest, "0x80044363", "%v", err)
	}
	m, err := newModel(sch, &s.opts, a.choices...)
	if err != nil {
		return errorf(http.StatusBadRequest, "0x80044363", "%v", err)
	}
	m.failed = a.failed
	was, data := s.model, s.store.data()
	s.store.adopt(m)
	s.model = m
	s.schemaVersion++
	if s.opts.StatePath != "" {
		return s.keep(was, data)
	}
	return nil
}

// adopt moves every row, link and number to where the new model has its place.
func (s *store) adopt(m *model) {
	s.mu.Lock()
	defer s.mu.Unlock()
	old, numbers := s.model, map[*column]int64{}
	tables := make([]tableData, len(m.tables))
	for i, t := range m.tables {
		if was := old.byName[t.LogicalName]; was != nil {
			tables[i] = s.moved(was, t, m)
			for _, c := range was.cols {
				if n, ok := s.numbers[c]; ok && t.byName[c.LogicalName] != nil {
					numbers[t.byName[c.LogicalName]] = n
				}
			}
		}
		tables[i].keys = make([]keyIndex, len(t.keys))
	}
	links := make([]linkData, len(m.links))
	for i, l := range m.links {
		for j, was := range old.links {
			if was.SchemaName == l.SchemaName {
				links[i] = s.links[j]
			}
		}
	}
	s.model, s.tables, s.links, s.numbers = m, tables, links, numbers
	for _, t := range m.tables {
		s.indexKeys(t)
	}
}

// moved returns a table's rows as the new table encodes them.
func (s *store) moved(was, t *table, m *model) tableData {
	d := s.tables[was.idx]
	d.reverse = nil
	if t.encodes(was) {
		return d
	}
	fresh := tableData{deleted: d.deleted}
	vals := make([]value, len(t.cols))
	d.rows.from(sqlOrder{}, func(k sqlOrder, at uint64) bool {
		data := d.arena.get(at)
		before := row{t: was, id: k.guid(), data: data, s: s}.values()
		clear(vals)
		for i, v := range before {
			if v.target != nil {
				if v.target = m.byName[v.target.LogicalName]; v.target == nil {
					continue
				}
			}
			if c := t.byName[was.cols[i].LogicalName]; c != nil && !v.isNull() {
				vals[c.idx] = v
			}
		}
		fresh.rows.set(k, fresh.arena.put(s.appendRow(nil, t, rowVersion(data), vals)))
		return true
	})
	return fresh
}

// encodes reports whether rows encoded for the other table are right for this one:
// its columns are the first of this one's, and are stored alike.
func (t *table) encodes(other *table) bool {
	if len(t.cols) < len(other.cols) {
		return false
	}
	for i, c := range other.cols {
		if c.LogicalName != t.cols[i].LogicalName || c.storage != t.cols[i].storage || len(c.targets) > len(t.cols[i].targets) {
			return false
		}
		for j, target := range c.targets {
			if target.LogicalName != t.cols[i].targets[j].LogicalName {
				return false
			}
		}
	}
	return true
}

// indexKeys builds the indexes of a table's alternate keys.
func (s *store) indexKeys(t *table) {
	d := &s.tables[t.idx]
	for i, k := range t.keys {
		d.rows.from(sqlOrder{}, func(id sqlOrder, at uint64) bool {
			s.rehash(&d.keys[i], k, id.guid(), nil, d.arena.get(at))
			return true
		})
	}
}
