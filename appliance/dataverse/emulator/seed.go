package emulator

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net/http"
	"slices"

	"dvmigrate/appliance/dataverse/schema"
)

// open puts in what is there from the start: the state file's rows, else the rows
// every environment has and the seed.
func (s *Server) open() error {
	if s.opts.StatePath != "" {
		fresh, err := s.store.openState(s.opts.StatePath)
		if err != nil {
			return err
		}
		if !fresh {
			return s.settleLanguage("the state file")
		}
	}
	if err := s.seed(); err != nil {
		return err
	}
	if err := s.settleLanguage("the seed"); err != nil {
		return err
	}
	return s.store.endSeed()
}

// settleLanguage follows the organization's row where that says another language than was
// taken: one in a state file or a seed. An environment's language cannot be changed.
func (s *Server) settleLanguage(where string) error {
	t := s.model.byName["organization"]
	if t == nil || t.byName["languagecode"] == nil {
		return nil
	}
	said := 0
	_ = s.store.view(func(tx *tx) error {
		if r, ok := tx.row(t, OrganizationID); ok {
			said = int(r.value(t.byName["languagecode"]).n)
		}
		return nil
	})
	if said == 0 || said == s.model.texts.language {
		return nil
	}
	if s.opts.Language != 0 {
		return fmt.Errorf("language %d: %s has an environment of language %d, and that cannot be changed", s.opts.Language, where, said)
	}
	s.opts.Language = said
	s.model.texts.set(said)
	return s.store.update(func(tx *tx) error {
		for _, t := range s.model.tables {
			tx.reindex(t)
		}
		return nil
	})
}

// reindex makes the indexes of a table's alternate keys anew.
func (tx *tx) reindex(t *table) {
	for _, k := range t.keys {
		x := &tx.s.tables[t.idx].keys[k.idx]
		*x = keyIndex{}
		tx.scan(t, schema.GUID{}, func(r row) bool {
			if h, ok := hashKey(k, r.value); ok {
				x.add(h, r.id)
			}
			return true
		})
	}
}

// seed writes the first rows: who is who, then Options.Seed.
func (s *Server) seed() error {
	for name := range s.opts.Seed {
		if s.model.byName[name] == nil {
			return fmt.Errorf("seed table %s: not in the schema", name)
		}
	}
	err := s.store.update(func(tx *tx) error {
		w := &writer{c: s.seedCall(nil, nil), tx: tx, now: s.store.now(), unchecked: true}
		for _, r := range firstRows(s.model.texts.language) {
			if t := s.model.byName[r.table]; t != nil {
				if _, err := w.create(r.record(t)); err != nil {
					return fmt.Errorf("seed table %s: %w", r.table, err)
				}
			}
		}
		return nil
	})
	if err == nil {
		err = s.store.update(func(tx *tx) error {
			return (&writer{c: s.seedCall(nil, nil), tx: tx, now: s.store.now(), unchecked: true}).seedRoles()
		})
	}
	for _, t := range s.model.tables {
		if r := s.opts.Seed[t.LogicalName]; r != nil && err == nil {
			err = s.seedTable(t, r)
		}
	}
	return err
}

// seedTable reads one JSON object a line. A row that is there already, such as the
// caller's, is updated.
func (s *Server) seedTable(t *table, r io.Reader) error {
	lines := bufio.NewReader(r)
	for n := 1; ; n++ {
		line, err := lines.ReadBytes('\n')
		if len(bytes.TrimSpace(line)) > 0 {
			if err := s.seedRow(t, line); err != nil {
				return fmt.Errorf("seed table %s: line %d: %w", t.LogicalName, n, err)
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return fmt.Errorf("seed table %s: %w", t.LogicalName, err)
		}
	}
}

func (s *Server) seedRow(t *table, line []byte) error {
	c := s.seedCall(t, line)
	rec, err := c.decodeRow(t, false)
	if err != nil {
		return err
	}
	return s.store.update(func(tx *tx) error {
		w := &writer{c: c, tx: tx, now: s.store.now(), unchecked: true}
		if old, ok := tx.row(t, rec.id); ok {
			return w.update(old, rec)
		}
		_, err := w.create(rec)
		return err
	})
}

func (s *Server) seedCall(t *table, body []byte) *call {
	return &call{srv: s, table: t, body: body, user: UserID, caller: UserID, message: "Seed", unchecked: true,
		header: http.Header{"Content-Type": {"application/json"}}}
}

// firstRow is a row that every environment has. Columns the schema lacks are left out.
type firstRow struct {
	table string
	id    schema.GUID
	set   map[string]value
	refs  map[string]schema.GUID
}

func firstRows(language int) []firstRow {
	return []firstRow{
		{"transactioncurrency", CurrencyID, map[string]value{"currencyname": textValue("US Dollar"), "isocurrencycode": textValue("USD"),
			"currencysymbol": textValue("$"), "exchangerate": decimalValue("1"), "currencyprecision": intValue(2)}, nil},
		{"organization", OrganizationID, map[string]value{"name": textValue("emulator"), "languagecode": intValue(int64(language)),
			"maxuploadfilesize": intValue(5242880), "expirechangetrackingindays": intValue(7), "isauditenabled": boolValue(false),
			"blockedattachments": textValue(blockedExtensions), "plugintracelogsetting": intValue(0)},
			map[string]schema.GUID{"basecurrencyid": CurrencyID}},
		{"publisher", knownID(publisherID), map[string]value{"uniquename": textValue("DefaultPublisheremulator"), "friendlyname": textValue("Default Publisher for emulator"),
			"customizationprefix": textValue("new"), "customizationoptionvalueprefix": intValue(10000), "isreadonly": boolValue(false)}, nil},
		firstSolution("Active", activeSolutionID), firstSolution("Default", defaultSolutionID),
		{"businessunit", BusinessUnitID, map[string]value{"name": textValue("emulator"), "isdisabled": boolValue(false)}, nil},
		{"systemuser", UserID, map[string]value{"firstname": textValue("dvmigrate"), "lastname": textValue("loader"), "fullname": textValue("dvmigrate loader"),
			"domainname": textValue("loader@example.com"), "internalemailaddress": textValue("loader@example.com"), "isdisabled": boolValue(false),
			"accessmode": intValue(4)}, map[string]schema.GUID{"businessunitid": BusinessUnitID}},
		{"team", TeamID, map[string]value{"name": textValue("emulator"), "teamtype": intValue(0), "isdefault": boolValue(true)},
			map[string]schema.GUID{"businessunitid": BusinessUnitID, "administratorid": UserID}},
	}
}

func firstSolution(name, id string) firstRow {
	return firstRow{"solution", knownID(id), map[string]value{"uniquename": textValue(name), "friendlyname": textValue(name + " Solution"), "version": textValue("1.0"),
		"ismanaged": boolValue(false), "isvisible": boolValue(name == "Default")}, map[string]schema.GUID{"publisherid": knownID(publisherID)}}
}

// knownID is an id that stands in this program.
func knownID(text string) schema.GUID {
	id, err := schema.ParseGUID(text)
	if err != nil {
		panic(err)
	}
	return id
}

func (r firstRow) record(t *table) *record {
	rec := &record{t: t, id: r.id}
	for name, v := range r.set {
		if c := t.byName[name]; c != nil && c.derived == notDerived {
			rec.set = append(rec.set, assign{c, v})
		}
	}
	for name, id := range r.refs {
		c := t.byName[name]
		if c == nil || len(c.targets) == 0 {
			continue
		}
		i := max(0, slices.IndexFunc(c.targets, func(t *table) bool { return t.LogicalName == "systemuser" }))
		rec.set = append(rec.set, assign{c, refValue(c.targets[i], id)})
	}
	return rec
}
