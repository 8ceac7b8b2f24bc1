package load

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"dvmigrate/appliance/dataverse"
	"dvmigrate/appliance/dataverse/schema"
	"dvmigrate/appliance/mapping"
	"dvmigrate/duckstage/column"
	"dvmigrate/ledger"
)

// OnMatch is what becomes of a row whose record is in the target before it was ever sent.
type OnMatch uint8

// What becomes of it.
const (
	MatchError  OnMatch = iota // it fails, class duplicate
	MatchUpdate                // the record gets the row's values
	MatchSkip                  // the record stays as it is
)

// matchKey tells one record from the others, by the columns of Table.Match.
type matchKey struct {
	condition string // in OData's words
	same      string // equal for what every target holds equal: case and blanks at the end do not count (3.4)
}

// keySeparator stands between the values of a key in matchKey.same.
const keySeparator = "\x1f"

// keyOf reads a staged row's key; the zero key when a value is missing.
func keyOf(t *mapping.Table, b *column.Batch, i int) matchKey {
	var k matchKey
	for n, name := range t.Match {
		v := b.Column(name)
		if v == nil || v.Null(i) {
			return matchKey{}
		}
		literal, value := "", ""
		switch v.Type {
		case column.Text:
			value = string(v.TextAt(i))
			literal = "'" + strings.ReplaceAll(value, "'", "''") + "'"
		case column.Int:
			value = strconv.FormatInt(v.Ints[i], 10)
			literal = value
		}
		if value == "" {
			return matchKey{}
		}
		if n > 0 {
			k.condition += " and "
			k.same += keySeparator
		}
		k.condition += name + " eq " + literal
		k.same += fold(value)
	}
	return k
}

func fold(s string) string { return strings.ToLower(strings.TrimRight(s, " ")) }

// foundKey reads the key, and the id, of a row of the target.
func foundKey(t *mapping.Table, row json.RawMessage) (same string, id schema.GUID, err error) {
	var found map[string]json.RawMessage
	if err := json.Unmarshal(row, &found); err != nil {
		return "", id, fmt.Errorf("read row: %w", err)
	}
	if err := json.Unmarshal(found[t.Schema.PrimaryID], &id); err != nil {
		return "", id, fmt.Errorf("read row: %s: %w", t.Schema.PrimaryID, err)
	}
	parts := make([]string, len(t.Match))
	for i, name := range t.Match {
		var text string
		if json.Unmarshal(found[name], &text) != nil {
			text = string(found[name])
		}
		parts[i] = fold(text)
	}
	return strings.Join(parts, keySeparator), id, nil
}

// matches looks the keys up in the target, and says of each which records the service has by
// it. Whether accents count, and what else does, is the service's to say: it alone knows its
// collation. So no request asks for two keys that a collation may take for one, and a record
// of an answer then belongs to the key that it is like.
func matches(ctx context.Context, target Target, t *mapping.Table, keys []matchKey) (map[string][]schema.GUID, error) {
	found := make(map[string][]schema.GUID, len(keys))
	for _, apart := range askedApart(keys) {
		if err := askFor(ctx, target, t, apart, found); err != nil {
			return nil, err
		}
	}
	return found, nil
}

// askedApart deals the keys out to requests: each key once, and none beside one that it is like.
func askedApart(keys []matchKey) (requests [][]matchKey) {
	seen, like := make(map[string]bool, len(keys)), make(map[string]int, len(keys))
	for _, k := range keys {
		if k.condition == "" || seen[k.same] {
			continue
		}
		seen[k.same] = true
		loose := mapping.Loose(k.same)
		n := like[loose]
		if like[loose]++; n == len(requests) {
			requests = append(requests, nil)
		}
		requests[n] = append(requests[n], k)
	}
	return requests
}

// askFor asks for keys of which none is like another. Where the answer has a record that is
// like none of them, by a rule of the service's that we do not know, they are asked for again
// by halves, until it is clear whose it is.
func askFor(ctx context.Context, target Target, t *mapping.Table, keys []matchKey, found map[string][]schema.GUID) error {
	conditions, of := make([]string, len(keys)), make(map[string]string, len(keys))
	for i, k := range keys {
		conditions[i], of[mapping.Loose(k.same)] = k.condition, k.same
	}
	got, strange := map[string][]schema.GUID{}, false
	err := target.Matching(ctx, t.Schema, t.Match, conditions, func(row json.RawMessage) error {
		same, id, err := foundKey(t, row)
		key, known := of[mapping.Loose(same)]
		if len(keys) == 1 {
			key, known = keys[0].same, true
		}
		strange = strange || !known
		got[key] = append(got[key], id)
		return err
	})
	if err != nil {
		return err
	}
	if strange {
		if err := askFor(ctx, target, t, keys[:len(keys)/2], found); err != nil {
			return err
		}
		return askFor(ctx, target, t, keys[len(keys)/2:], found)
	}
	for key, ids := range got {
		found[key] = append(found[key], ids...)
	}
	return nil
}

// lookUp finds the records of the set in the target by their keys. What is there under
// one id is handed to there; what is there more than once fails; the rest is returned.
func (s *sender) lookUp(ctx context.Context, set []int, there func(i int)) (rest []int, err error) {
	keys := make([]matchKey, len(set))
	for n, i := range set {
		keys[n] = s.j.keys[i]
	}
	found, err := matches(ctx, s.target, s.w.table, keys)
	if err != nil {
		return nil, err
	}
	for n, i := range set {
		switch ids := found[keys[n].same]; {
		case len(ids) == 0 || keys[n].condition == "":
			rest = append(rest, i)
		case len(ids) > 1:
			s.j.results[i] = outcome{result: ledger.ResultFailed, reason: &ledger.Reason{Class: uint8(ClassDuplicate),
				Text: fmt.Sprintf("the target has %d records with %s, so that none is certain to be this one", len(ids), keys[n].condition)}}
		default:
			s.j.ids[i] = ids[0]
			there(i)
		}
	}
	return rest, nil
}

// readBackByKey notes as done what the target has of the set, and returns the rest. What
// it has is ours: this or an earlier request has made it.
func (s *sender) readBackByKey(ctx context.Context, set []int) (rest []int, err error) {
	var found sightings
	rest, err = s.lookUp(ctx, set, func(i int) { s.sight(&found, i) })
	if err == nil {
		err = s.noteFound(ctx, found)
	}
	if err != nil {
		return rest, err
	}
	s.note(append(found.there, found.maybe...), outcome{result: ledger.ResultSuccess, matched: true})
	return rest, nil
}

// matchesFirst reports whether the target is asked for a row's record before it is made.
// Where a key in the target forbids a second one anyway, that is left to it.
func (w *work) matchesFirst() bool {
	return w.insert() && len(w.table.Match) > 0 && (w.settings.OnMatch != MatchError || !uniqueMatch(w.table))
}

// match finds what the target had before: what becomes of it the settings say. A record
// that was sent before and is there now was made by that request.
func (s *sender) match(ctx context.Context, set []int) (rest []int, err error) {
	var update []int
	var found sightings
	rest, err = s.lookUp(ctx, set, func(i int) {
		before := s.sight(&found, i)
		switch {
		case s.w.settings.OnMatch == MatchUpdate:
			update = append(update, i)
		case !before:
			s.j.results[i] = outcome{result: ledger.ResultSuccess, matched: true}
		case s.w.settings.OnMatch == MatchSkip:
			s.j.results[i] = outcome{result: ledger.ResultSuccess, matched: true, last: true}
		default:
			s.j.results[i] = outcome{result: ledger.ResultFailed, reason: &ledger.Reason{Class: uint8(ClassDuplicate),
				Text: fmt.Sprintf("the target has a record with %s already, %s; on_match says what becomes of such rows", s.j.keys[i].condition, s.j.ids[i])}}
		}
	})
	if err == nil {
		err = s.noteFound(ctx, found)
	}
	if err != nil {
		return rest, err
	}
	return rest, s.updateMatched(ctx, update)
}

// identify notes as done what the target has of the set that was refused for being there,
// and returns the rest: by our ids, and then by the keys, where what becomes of a record
// that is not ours the settings say.
func (s *sender) identify(ctx context.Context, set []int) (rest []int, err error) {
	rest = set
	if !s.w.table.ServerIDs {
		rest, err = s.readBack(ctx, set)
	}
	if err != nil || len(s.w.table.Match) == 0 {
		return rest, err
	}
	return s.match(ctx, rest)
}

// readBackLost is readBack after an answer was lost. Where the request may still make the
// records, it looks again when that time is over.
func (s *sender) readBackLost(ctx context.Context, set []int) (rest []int, err error) {
	if len(set) == 0 {
		return nil, nil
	}
	s.wasLost = true
	rest, err = s.readBack(ctx, set)
	if err != nil || len(rest) == 0 || !s.w.comesLate() {
		return rest, err
	}
	if err := dataverse.Pause(ctx, lateTime); err != nil {
		return rest, err
	}
	return s.readBack(ctx, rest)
}

// updateMatched gives records that the target had before the values of their rows, by
// requests as large as the work's batches.
func (s *sender) updateMatched(ctx context.Context, set []int) error {
	for len(set) > 0 {
		n := min(len(set), max(s.w.inBatch, fewEnough))
		if err := s.updateSome(ctx, set[:n]); err != nil {
			return s.release(set[n:], err)
		}
		set = set[n:]
	}
	return nil
}

// updateSome is one request of updateMatched. An update is absolute: one without an
// answer simply waits for another sweep.
func (s *sender) updateSome(ctx context.Context, set []int) error {
	ops := make([]dataverse.Op, len(set))
	for n, i := range set {
		ops[n] = dataverse.UpdateOp(s.w.table.Schema, s.j.ids[i], s.updateBody(i))
	}
	errs, err := s.target.Batch(ctx, ops)
	if err != nil {
		if k := dataverse.KindOf(err); k == dataverse.Lost || k == dataverse.RolledBack || k == dataverse.Transient || k == dataverse.TooBig {
			return s.wait(ctx, set, err)
		}
		return s.stop(set, err)
	}
	var shut []int
	refused := map[int]error{}
	for n, i := range set {
		if errs[n] == nil && s.w.parties {
			errs[n] = s.replaceParties(ctx, i)
		}
		switch err := errs[n]; dataverse.KindOf(err) {
		case 0:
			s.j.results[i] = outcome{result: ledger.ResultSuccess, matched: true}
		case dataverse.RowFault, dataverse.NotFound, dataverse.Conflict, dataverse.Duplicate:
			if closedRefusal(err) && !s.w.parties {
				shut, refused[i] = append(shut, i), err
				continue
			}
			s.fail(i, err)
		case dataverse.Lost, dataverse.RolledBack, dataverse.Transient, dataverse.TooBig:
			if err := s.wait(ctx, []int{i}, err); err != nil {
				return s.release(s.open(set), err)
			}
		default:
			return s.release(s.open(shut), s.stop(set[n:], err))
		}
	}
	err = s.throughClosed(ctx, shut, refused)
	for _, i := range shut {
		s.j.results[i].matched = s.j.results[i].result == ledger.ResultSuccess
	}
	return err
}

// updateBody is the body of the update of a record; of one that was found when it was to be made too.
func (s *sender) updateBody(i int) []byte {
	if s.w.insert() && s.w.table.ServerIDs {
		return s.w.encoder.CreateBody(nil, s.j.record(i))
	}
	return s.w.encoder.UpdateBody(nil, s.j.record(i))
}

// holdTwins holds back the waiting rows that would match the same record as another row
// of their table: in the target they would be one record. Which those are its collation says.
func (l *Loader) holdTwins(ctx context.Context, t *mapping.Table) error {
	if len(t.Match) == 0 {
		return nil
	}
	same := make([]string, len(t.Match))
	for i, name := range t.Match {
		same[i] = l.o.Collation.KeySQL("CAST(" + mapping.Ident(name) + " AS VARCHAR)")
	}
	query := fmt.Sprintf(`SELECT dm_seq, dm_first FROM (SELECT dm_seq, first_value(legacy_key) OVER w AS dm_first, row_number() OVER w AS dm_place FROM %s
		WHERE %s IS NOT NULL WINDOW w AS (PARTITION BY %s ORDER BY dm_seq)) WHERE dm_place > 1 ORDER BY dm_seq`,
		mapping.Ident(t.Name), strings.Join(same, " || "), strings.Join(same, ", "))
	return l.stage.Scan(ctx, query, nil, func(b *column.Batch) error {
		var holdings []ledger.Holding
		for i := range b.Rows {
			seq := uint32(b.Columns[0].Ints[i])
			if e, _ := l.book.Entry(t.Name, seq); e.Flag != ledger.Unprocessed || e.Action != ledger.Insert {
				continue
			}
			text := fmt.Sprintf("%s: matches the same record as the row with legacy key '%s'", strings.Join(t.Match, ", "), b.Columns[1].TextAt(i))
			holdings = append(holdings, ledger.Holding{Range: ledger.One(seq), Reason: ledger.Reason{Class: uint8(ClassPrevalidate), Text: text}})
		}
		if len(holdings) == 0 {
			return nil
		}
		return l.book.Hold(ctx, t.Name, holdings)
	})
}
