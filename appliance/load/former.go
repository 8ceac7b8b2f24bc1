package load

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"dvmigrate/appliance/dataverse/schema"
	"dvmigrate/appliance/mapping"
	"dvmigrate/ledger"
)

// What a rollback needs is noted while a load runs, each time before the request leaves that it
// is about: which records are about to be made or deleted, by the claim; and of records that are
// changed, the values that the target has then. These are read in bulk, by the same request that
// looks for changes of others where a table has one. Of a record that this generation has made
// nothing is kept: it had nothing before.

// journal is where that is kept; *ledger.Undo is one. Its methods return when it is on the disk.
type journal interface {
	Claimed(table string, action ledger.Action, ranges []ledger.Range) error
	Keep(table string, found ledger.Found, images []ledger.Image) error
	Made(table string, seq uint32) bool
}

// targetNote ends the name of the member of a record that was read which says what table a lookup points to.
const targetNote = "@Microsoft.Dynamics.CRM.lookuplogicalname"

// claim has the ledger note records as in flight, and the journal what is about to become of them.
func (l *Loader) claim(ctx context.Context, w *work, block []ledger.Range) error {
	action := ledger.Insert
	if w.removing != nil && w.removing.deletes {
		action = ledger.Delete
	}
	if l.o.Undo == nil || w.pass != ledger.Main || w.update && action != ledger.Delete || w.removing != nil && w.removing.back {
		return l.book.Claim(ctx, w.table.Name, w.pass, block)
	}
	noted := make(chan error, 1)
	go func() { noted <- l.o.Undo.Claimed(w.table.Name, action, block) }() // both wait for the disk
	err := l.book.Claim(ctx, w.table.Name, w.pass, block)
	if noteErr := <-noted; noteErr != nil {
		return noteErr // what is claimed stays in flight, and is looked up
	}
	return err
}

// keepsFormer reports whether it is kept what records have before the work changes them.
func (w *work) keepsFormer() bool {
	return w.l.o.Undo != nil && w.settings.Keep && w.update && w.table.Link == nil && w.pass != ledger.Files && w.table.Schema.Kind != schema.Virtual &&
		(w.removing == nil || !w.removing.deletes && !w.removing.back)
}

// keepFormer reads what the records of the set have in the columns that they are about to get, and
// keeps it.
func (s *sender) keepFormer(ctx context.Context, set []int) error {
	had, err := s.readFormer(ctx, slices.DeleteFunc(slices.Clone(set), func(i int) bool { return s.l.o.Undo.Made(s.w.table.Name, s.j.seqs[i]) }))
	if err != nil {
		return err
	}
	return s.noteFormer(set, ledger.FoundNot, had)
}

func (s *sender) readFormer(ctx context.Context, set []int) (map[int]map[string]any, error) {
	of := make(map[schema.GUID]int, len(set))
	ids := make([]schema.GUID, len(set))
	columns := map[string]bool{}
	written := make(map[int]map[string]any, len(set))
	for k, i := range set {
		of[s.j.ids[i]], ids[k] = i, s.j.ids[i]
		wrote, err := s.written(i)
		if err != nil {
			return nil, err
		}
		written[i] = wrote
		for name := range wrote {
			columns[name] = true
		}
	}
	had := make(map[int]map[string]any, len(set))
	if len(columns) == 0 {
		return had, nil
	}
	return had, s.target.Records(ctx, s.w.table.Schema, ids, withReason(s.w.table.Schema, sorted(columns)), func(id schema.GUID, row json.RawMessage) error {
		var have map[string]any
		err := decode(row, &have)
		if i, ours := of[id]; ours && err == nil {
			s.asBefore(i, written[i], have)
			had[i] = have
		}
		return err
	})
}

func sorted(set map[string]bool) []string {
	var out []string
	for name := range set {
		out = append(out, name)
	}
	slices.Sort(out)
	return out
}

// written are the values that a record is about to get, by the names for reading.
func (s *sender) written(i int) (map[string]any, error) {
	if s.w.removing != nil {
		return s.byReading(s.w.removing.body)
	}
	return s.byReading(s.updateBody(i))
}

// byReading reads a body of ours under the names for reading.
func (s *sender) byReading(body []byte) (map[string]any, error) {
	var written map[string]any
	if err := decode(body, &written); err != nil {
		return nil, fmt.Errorf("read our own record: %w", err)
	}
	out := make(map[string]any, len(written))
	for name, v := range written {
		out[s.readName(name)] = v
	}
	return out, nil
}

// noteFormer keeps what records have in the columns in which they are about to get something
// else. Those that are not in had are not in the target, or nobody asks.
func (s *sender) noteFormer(set []int, found ledger.Found, had map[int]map[string]any) error {
	var images []ledger.Image
	for _, i := range set {
		have, there := had[i]
		if !there || found == ledger.FoundNot && s.l.o.Undo.Made(s.w.table.Name, s.j.seqs[i]) {
			continue
		}
		wrote, err := s.written(i)
		if err != nil {
			return err
		}
		_, reads := have["statuscode"]
		if is, _ := stateIn(s.w.table.Schema, wrote); reads && is.state >= 0 && is.status < 0 { // a state that is given alone brings its reason
			_, says := wrote["statuscode"]
			if status := defaultStatus(s.w.table.Schema, is.state); !says && status >= 0 && !s.sameStored("statecode", wrote["statecode"], have["statecode"]) {
				wrote["statuscode"] = json.Number(fmt.Sprint(status))
			}
		}
		before := map[string]any{}
		for name, v := range wrote {
			if s.sameStored(name, v, have[name]) {
				delete(wrote, name)
				continue
			}
			before[name] = have[name]
			if table, told := have[name+targetNote]; told {
				before[name+targetNote] = table
			}
		}
		if len(wrote) == 0 && found == ledger.FoundNot {
			continue
		}
		m := ledger.Image{Seq: s.j.seqs[i]}
		if m.Had, err = json.Marshal(before); err == nil {
			m.Wrote, err = json.Marshal(wrote)
		}
		if err != nil {
			return fmt.Errorf("keep what a record has: %w", err)
		}
		images = append(images, m)
	}
	return s.l.o.Undo.Keep(s.w.table.Name, found, images)
}

// sightings are records of a job that were there when they were to be made.
type sightings struct {
	there []int // from before
	maybe []int // or made by a request whose answer was lost
}

// sight adds a record, and reports whether it was there before any request of ours.
func (s *sender) sight(all *sightings, i int) bool {
	e, _ := s.l.book.Entry(s.w.table.Name, s.j.seqs[i])
	before := !s.wasLost && e.Attempts <= 1
	if !before || s.l.book.Behind(s.w.table.Name) {
		all.maybe = append(all.maybe, i)
	} else {
		all.there = append(all.there, i)
	}
	return before
}

// noteFound keeps that records were there, and what they have of what they may get now.
func (s *sender) noteFound(ctx context.Context, all sightings) error {
	if s.l.o.Undo == nil {
		return nil
	}
	for found, set := range map[ledger.Found][]int{ledger.FoundThere: all.there, ledger.FoundMaybe: all.maybe} {
		had := map[int]map[string]any{}
		var err error
		if s.w.settings.Keep && s.w.settings.OnMatch == MatchUpdate && len(s.w.table.Match) > 0 {
			had, err = s.readFormer(ctx, set)
		} else {
			for _, i := range set {
				had[i] = nil // that it was there is all that there is to keep
			}
		}
		if err == nil {
			err = s.noteSighted(set, found, had)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (s *sender) noteSighted(set []int, found ledger.Found, had map[int]map[string]any) error {
	var bare []ledger.Image
	var read []int
	for _, i := range set {
		if had[i] == nil {
			bare = append(bare, ledger.Image{Seq: s.j.seqs[i]})
		} else {
			read = append(read, i)
		}
	}
	if err := s.l.o.Undo.Keep(s.w.table.Name, found, bare); err != nil {
		return err
	}
	return s.noteFormer(read, found, had)
}

// doubted keeps that records were found in the target which an earlier run had claimed: of those
// whose ids are not of our own making it is not certain that they are ours.
func (l *Loader) doubted(t *mapping.Table, outcomes []ledger.Outcome) error {
	if l.o.Undo == nil || !t.KeepID && !t.ServerIDs {
		return nil
	}
	var images []ledger.Image
	for _, o := range outcomes {
		if o.Result == ledger.ResultSuccess {
			images = append(images, ledger.Image{Seq: o.From})
		}
	}
	return l.o.Undo.Keep(t.Name, ledger.FoundMaybe, images)
}
