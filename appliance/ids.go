package appliance

import (
	"context"
	"fmt"
	"strings"

	"dvmigrate/appliance/config"
	"dvmigrate/appliance/dataverse/schema"
	"dvmigrate/appliance/mapping"
	"dvmigrate/duckstage"
	"dvmigrate/duckstage/column"
	"dvmigrate/ledger"
)

// Record ids that Dataverse assigned, or that records had before: the stage's dm_id then
// only stands for the row, and the ledger keeps the real one.

// recordSeq tells the row that an id in the stage stands for.
func (p *Project) recordSeq() func(table string, id schema.GUID) (uint32, bool) {
	numbers := map[string]uint16{}
	for _, t := range p.ledger.Tables() {
		numbers[t.Name] = t.Number
	}
	return func(table string, id schema.GUID) (uint32, bool) {
		number, seq, ok := duckstage.ParseRecordID(p.set, id)
		return seq, ok && number == numbers[table]
	}
}

// firstID gives the record id of row 0 of a table whose ids are assigned; that of row n
// has n in its last four bytes.
func (p *Project) firstID() func(table string) schema.GUID {
	return func(table string) schema.GUID {
		t, _ := p.ledger.Table(table)
		return duckstage.RecordID(p.set, t.Number, 0)
	}
}

// targetSeq tells the row of a record id in the target. Of a table with kept ids it reads
// all of them, some 40 bytes each, when it is first asked.
func (p *Project) targetSeq(b *bound) func(table string, id schema.GUID) (uint32, bool) {
	assigned := p.recordSeq()
	kept := map[string]map[schema.GUID]uint32{}
	return func(table string, id schema.GUID) (uint32, bool) {
		t := b.byName[table]
		if t == nil || !t.KeptIDs() {
			return assigned(table, id)
		}
		if kept[table] == nil {
			kept[table] = map[schema.GUID]uint32{}
			for k, err := range p.ledger.IDs(table) {
				if err != nil {
					p.o.Log.Error("the kept ids cannot be read", "table", table, "error", err)
					break
				}
				kept[table][k.ID] = k.Seq
			}
		}
		if seq, ok := kept[table][id]; ok {
			return seq, true
		}
		return assigned(table, id)
	}
}

// keptID gives the id in the target for one in the stage.
func (p *Project) keptID(b *bound) func(staged schema.GUID) schema.GUID {
	tables := map[uint16]string{}
	for _, t := range p.ledger.Tables() {
		if m := b.byName[t.Name]; m != nil && m.KeptIDs() {
			tables[t.Number] = t.Name
		}
	}
	return func(staged schema.GUID) schema.GUID {
		number, seq, ours := duckstage.ParseRecordID(p.set, staged)
		if !ours || tables[number] == "" {
			return staged
		}
		if id, kept, err := p.ledger.ID(tables[number], seq); err == nil && kept {
			return id
		}
		return staged
	}
}

// stagedID gives the id in the stage for one in the target.
func (p *Project) stagedID(b *bound, seqOf func(string, schema.GUID) (uint32, bool)) func(table string, id schema.GUID) schema.GUID {
	numbers := map[string]uint16{}
	for _, t := range p.ledger.Tables() {
		numbers[t.Name] = t.Number
	}
	return func(table string, id schema.GUID) schema.GUID {
		if t := b.byName[table]; t == nil || !t.KeptIDs() {
			return id
		}
		if seq, ours := seqOf(table, id); ours {
			return duckstage.RecordID(p.set, numbers[table], seq)
		}
		return id
	}
}

// applySettings sets what the settings say of a table's record ids.
func (p *Project) applySettings(t *mapping.Table) {
	s := p.Config.Table(t.Name)
	t.ServerIDs, t.Match = s.IDs == "server", s.Match
}

// matchFaults are settings of a table's record ids that cannot be followed.
func (p *Project) matchFaults(f transformFile, t *mapping.Table) config.Faults {
	s := p.Config.Table(t.Name)
	at := func(key, message, hint string) config.Faults {
		fault := p.Config.FaultAt("tables."+t.Name+"."+key, fmt.Sprintf("table %s: %s", t.Name, message))
		fault.Hint = hint
		return config.Faults{fault}
	}
	switch {
	case s.IDs == "server" && t.Link != nil:
		return at("ids", "links of an N:N relationship have no ids of ours", "leave ids out")
	case s.IDs == "server" && t.Schema.Kind == schema.Elastic:
		return at("ids", "an elastic table does not say which records of a request it has taken, so that their ids would be lost", "use ids: assign")
	case s.IDs == "server" && len(s.Match) == 0:
		return at("ids", "ids: server needs match: a lost answer would leave records of which nobody knows whether they are there",
			"name the column, or the columns of an alternate key, that hold the legacy key in the target, such as match: "+anyKey(t.Schema))
	case s.OnMatch != "error" && len(s.Match) == 0:
		return at("on_match", "on_match: "+s.OnMatch+" needs match", "name the columns that tell one record from the others")
	case len(s.Match) == 0:
		return nil
	case t.Link != nil:
		return at("match", "links of an N:N relationship are told apart by their two ends", "leave match out")
	case s.IDs == "keep":
		return at("match", "match does not go with ids: keep, whose ids tell the records apart", "use ids: assign or server")
	}
	for _, name := range s.Match {
		if why := matchFault(t, name); why != "" {
			return at("match", fmt.Sprintf("match: column %s %s", name, why), "")
		}
	}
	return nil
}

// anyKey is an example of what match may say of a table.
func anyKey(t *schema.Table) string {
	for _, k := range t.Keys {
		if !k.Inactive {
			return "[" + strings.Join(k.Columns, ", ") + "]"
		}
	}
	return "new_legacykey"
}

// matchFault is why records cannot be told apart by a column; "" = they can.
func matchFault(t *mapping.Table, name string) string {
	if t.Schema.Column(name) == nil {
		return "does not exist in the table"
	}
	for _, c := range t.Columns {
		if c.LogicalName != name {
			continue
		}
		switch {
		case c.Type != schema.Text && c.Type != schema.Integer && c.Type != schema.BigInt && c.Type != schema.Choice:
			return fmt.Sprintf("is of type %s; text and whole numbers can be looked up", c.Type)
		case !c.Writable(false):
			return "cannot be written when a record is created"
		}
		return ""
	}
	return "is not in the transform's SELECT"
}

// sameIDs refuses to load on with records whose ids were made in another way than the
// settings now say: nobody could find them any more.
func (p *Project) sameIDs(b *bound) error {
	for _, t := range b.tables {
		kept := false
		for _, err := range p.ledger.IDs(t.Name) {
			if err != nil {
				return err
			}
			kept = true
			break
		}
		c := p.ledger.Counts(t.Name)
		loaded := c.Flag(ledger.Processed)+c.Flag(ledger.Success) > 0
		switch {
		case t.ServerIDs && loaded && !kept:
			return fmt.Errorf("table %s: records were loaded with ids assigned here, so that `ids: server` cannot be set any more", t.Name)
		case !t.KeptIDs() && kept:
			return fmt.Errorf("table %s: Dataverse has assigned ids of records that are loaded; keep the settings `ids` and `match` that it was loaded with", t.Name)
		}
	}
	return nil
}

// idRows is the table function ledger_ids(table): dm_seq, record_id of each kept id.
func (p *Project) idRows(_ context.Context, args []any) (duckstage.Reading, error) {
	name, _ := args[0].(string)
	if _, ok := p.ledger.Table(name); !ok {
		return duckstage.Reading{}, fmt.Errorf("the ledger has no table %q", name)
	}
	from := uint32(0)
	fill := func(b *column.Batch, limit int, _ []bool) error {
		page, err := p.ledger.SomeIDs(name, from, limit)
		if err != nil || len(page) == 0 {
			return err
		}
		from = page[len(page)-1].Seq + 1
		for _, id := range page {
			b.Columns[0].Ints = append(b.Columns[0].Ints, int64(id.Seq))
			b.Columns[1].UUIDs = append(b.Columns[1].UUIDs, id.ID)
		}
		b.Rows = len(page)
		return nil
	}
	return duckstage.Reading{Fill: fill}, nil
}
