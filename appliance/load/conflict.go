package load

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/big"
	"slices"
	"strings"

	"dvmigrate/appliance/dataverse/schema"
	"dvmigrate/appliance/progress"
	"dvmigrate/ledger"
)

// OnConflict is what becomes of a row that has changed where somebody has changed the same
// record in the target since it was written.
type OnConflict uint8

// What becomes of it. Somebody has changed a column if it has neither the value that it was
// written with nor the one that it is to get. Where it is not known what it was written
// with, it counts who changed the record last.
const (
	ConflictOverwrite OnConflict = iota // the record gets the row's values; nobody looks
	ConflictSkip                        // the record stays, and is held back with the reason
	ConflictMerge                       // it gets the columns that nobody has changed
)

// modifiedBy is how the user who changed a record last is read.
const modifiedBy = "_modifiedby_value"

// looksFirst reports whether records are read before they are updated.
func (w *work) looksFirst() bool {
	return w.partial && w.pass == ledger.Main && w.settings.OnConflict != ConflictOverwrite && w.table.Schema.Kind != schema.Virtual
}

// meeting is one record that is compared with the target's.
type meeting struct {
	want map[string]any // what it is to get, by the names for reading
	was  map[string]any // what it was written with; nil: not known
}

// meetOthers looks for records of the set that somebody else has changed, decides about
// them, and returns the rest.
func (s *sender) meetOthers(ctx context.Context, set []int) (rest []int, err error) {
	t := s.w.table.Schema
	all := make(map[schema.GUID]int, len(set))
	met := make(map[int]meeting, len(set))
	var ids []schema.GUID
	var columns []string
	for _, i := range set {
		m, err := s.meeting(i)
		if err != nil {
			return nil, err
		}
		for name := range m.want {
			if !slices.Contains(columns, name) {
				columns = append(columns, name)
			}
		}
		all[s.j.ids[i]], met[i] = i, m
		ids = append(ids, s.j.ids[i])
	}
	slices.Sort(columns)
	if t.Column("modifiedby") != nil && !slices.Contains(columns, modifiedBy) {
		columns = append(columns, modifiedBy)
	}
	had := map[int]map[string]any{}
	err = s.target.Records(ctx, t, ids, columns, func(id schema.GUID, row json.RawMessage) error {
		i, ours := all[id]
		if !ours {
			return nil
		}
		var have map[string]any
		if err := decode(row, &have); err != nil {
			return err
		}
		s.asBefore(i, met[i].want, have)
		had[i] = have
		if changed := s.changedByOthers(met[i], have); len(changed) > 0 {
			return s.conflict(i, met[i], have, changed)
		}
		return nil
	})
	rest = s.open(set)
	if err == nil && s.w.keepsFormer() {
		err = s.noteFormer(rest, ledger.FoundNot, had)
	}
	return rest, err
}

// meeting reads our own record.
func (s *sender) meeting(i int) (m meeting, err error) {
	if m.want, err = s.byReading(s.w.encoder.UpdateBody(nil, s.j.record(i))); err == nil && s.j.was[i] != nil {
		m.was, err = s.byReading(s.w.encoder.UpdateBody(nil, s.j.was[i]))
	}
	return m, err
}

// changedByOthers lists the columns that somebody else has changed.
func (s *sender) changedByOthers(m meeting, have map[string]any) (columns []string) {
	if m.was == nil {
		who, err := schema.ParseGUID(fmt.Sprint(have[modifiedBy]))
		if err != nil || len(s.l.o.Ours) == 0 || slices.Contains(s.l.o.Ours, who) {
			return nil
		}
	}
	for name, v := range m.want {
		if s.sameStored(name, v, have[name]) || m.was != nil && s.sameStored(name, m.was[name], have[name]) {
			continue
		}
		columns = append(columns, name)
	}
	slices.Sort(columns)
	return columns
}

// sameStored is sameValue as far as the column keeps values apart: it rounds numbers to its
// precision, and blanks at the end do not count.
func (s *sender) sameStored(name string, want, have any) bool {
	if sameValue(want, have) {
		return true
	}
	switch w := want.(type) {
	case string:
		h, ok := have.(string)
		clean := func(s string) string { return strings.TrimSpace(strings.ReplaceAll(s, "\r\n", "\n")) }
		return ok && clean(w) == clean(h) || have == nil && clean(w) == ""
	case json.Number:
		c := s.w.table.Schema.Column(name)
		h, ok := have.(json.Number)
		a, okA := new(big.Rat).SetString(w.String())
		b, okB := new(big.Rat).SetString(h.String())
		if !ok || !okA || !okB || c == nil || c.Precision == nil {
			return false
		}
		half := new(big.Rat).SetFrac(big.NewInt(1), new(big.Int).Mul(big.NewInt(2), new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(max(*c.Precision, 0))), nil)))
		return a.Sub(a, b).Abs(a).Cmp(half) <= 0
	}
	return false
}

// conflict decides about a record of which somebody else has changed these columns.
func (s *sender) conflict(i int, m meeting, have map[string]any, changed []string) error {
	if s.w.settings.OnConflict == ConflictMerge && m.was != nil {
		s.w.keep(changed)
		if slices.Contains(changed, ownerReading) {
			s.l.keepsOwner(s.w.table.Name, s.j.seqs[i])
		}
		return s.leaveOut(i, changed)
	}
	texts := make([]string, len(changed))
	for k, name := range changed {
		was := ""
		if m.was != nil {
			was = ", was " + brief(m.was[name])
		}
		texts[k] = fmt.Sprintf("%s is %s%s, is now to be %s", plainName(name), brief(have[name]), was, brief(m.want[name]))
	}
	text := "somebody has changed the record in the target since it was loaded: " + strings.Join(texts, "; ") + "; on_conflict says what becomes of such rows"
	s.j.results[i] = outcome{result: ledger.ResultHeld, reason: &ledger.Reason{Class: uint8(ClassConflict), Text: text}}
	return nil
}

// plainName is a column's own name.
func plainName(name string) string {
	if lookup, ok := strings.CutSuffix(name, "_value"); ok && strings.HasPrefix(lookup, "_") {
		return lookup[1:]
	}
	return name
}

// brief shows a value in a message.
func brief(v any) string {
	const most = 60
	if v == nil || v == "" {
		return "empty"
	}
	r := []rune(fmt.Sprint(v))
	if len(r) > most {
		r = append(r[:most], '…')
	}
	return "'" + string(r) + "'"
}

// leaveOut takes columns out of a record's update; with none left the record is done.
func (s *sender) leaveOut(i int, columns []string) error {
	record := s.j.record(i)
	d := json.NewDecoder(bytes.NewReader(record))
	if _, err := d.Token(); err != nil {
		return fmt.Errorf("read our own record: %w", err)
	}
	out, left := []byte{'{'}, 0
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return fmt.Errorf("read our own record: %w", err)
		}
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			return fmt.Errorf("read our own record: %w", err)
		}
		if slices.Contains(columns, s.readName(name.(string))) {
			continue
		}
		if name != "@odata.type" && name != s.w.table.Schema.PrimaryID {
			left++
		}
		if len(out) > 1 {
			out = append(out, ',')
		}
		out = append(fmt.Appendf(out, "%q:", name), value...)
	}
	if left == 0 && (!s.w.parties || !s.j.withParties(i)) {
		s.j.results[i] = outcome{result: ledger.ResultSuccess}
		return nil
	}
	s.j.replace(i, append(out, '}'))
	return nil
}

// keep counts columns that keep what somebody has given them.
func (w *work) keep(columns []string) {
	w.keptMu.Lock()
	defer w.keptMu.Unlock()
	if w.kept == nil {
		w.kept = map[string]int64{}
	}
	for _, name := range columns {
		w.kept[plainName(name)]++
	}
}

// sayKept tells which columns kept what somebody has given them.
func (l *Loader) sayKept(w *work) {
	w.keptMu.Lock()
	defer w.keptMu.Unlock()
	for name, n := range w.kept {
		l.o.Watch.Note(w.table.Name, fmt.Sprintf("%s the %s that somebody has changed in the target", progress.Counted(n, "record", "keeps", "keep"), name))
		if l.kept[w.table.Name] == nil {
			l.kept[w.table.Name] = map[string]int64{}
		}
		l.kept[w.table.Name][name] += n
	}
}

// Kept is how many records have kept a value that somebody gave them in the target, by
// table and column. It may be asked when Run has ended.
func (l *Loader) Kept() map[string]map[string]int64 { return l.kept }
