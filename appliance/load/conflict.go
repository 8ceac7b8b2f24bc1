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
	"dvmigrate/appliance/mapping"
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

// createdBy is how the user who made a record is read, who owns it if nobody else is said to.
const createdBy = "_createdby_value"

// looksFirst reports whether records are read before they are updated: by the first pass, which judges
// also what the later ones send; and again by those of deferred lookups and of states: others may have changed
// these meanwhile, and where they keep their columns some of them may be among these.
func (w *work) looksFirst() bool {
	return w.knows && w.settings.OnConflict != ConflictOverwrite && w.table.Schema.Kind != schema.Virtual &&
		w.pass != ledger.Files
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
	var judged []int // by the first pass
	for _, i := range set {
		if s.j.was[i] == nil && s.w.pass != ledger.Main {
			judged = append(judged, i)
			continue
		}
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
	columns = withReason(t, columns)
	slices.Sort(columns)
	if t.Column("modifiedby") != nil && !slices.Contains(columns, modifiedBy) {
		columns = append(columns, modifiedBy)
	}
	if t.Column("createdby") != nil && slices.Contains(columns, ownerReading) && !slices.Contains(columns, createdBy) {
		columns = append(columns, createdBy)
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
		if changed := s.changedByOthers(i, met[i], have); len(changed) > 0 {
			return s.conflict(i, met[i], have, changed)
		}
		return nil
	})
	if err == nil {
		err = s.settleBare(set)
	}
	rest = s.open(set)
	if err == nil && s.w.keepsFormer() {
		err = s.noteFormer(without(rest, judged), ledger.FoundNot, had)
	}
	if err == nil && s.w.keepsFormer() && len(judged) > 0 {
		err = s.keepFormer(ctx, judged)
	}
	return rest, err
}

// settleBare settles the records of which nothing is sent now: what changed a later pass sends.
func (s *sender) settleBare(set []int) error {
	for _, i := range s.open(set) {
		if s.w.parties && s.j.withParties(i) || s.hasFile(i) {
			continue
		}
		var sent map[string]any
		if err := decode(s.w.encoder.UpdateBody(nil, s.j.record(i)), &sent); err != nil {
			return fmt.Errorf("read our own record: %w", err)
		}
		if len(sent) == 0 {
			s.j.results[i] = outcome{result: ledger.ResultSuccess}
		}
	}
	return nil
}

// meeting reads our own record.
func (s *sender) meeting(i int) (m meeting, err error) {
	want := s.j.want[i]
	if want == nil {
		want = s.j.record(i)
	}
	if m.want, err = s.byReading(s.w.encoder.UpdateBody(nil, want)); err == nil && len(s.j.reopens) > 0 && s.j.reopens[i] {
		delete(m.want, "statecode") // it is ours, and reopen judges it
		delete(m.want, "statuscode")
	}
	if err == nil && s.j.was[i] != nil {
		m.was, err = s.byReading(s.w.encoder.UpdateBody(nil, s.j.was[i]))
	}
	return m, err
}

// changedByOthers lists the columns that somebody else has changed.
func (s *sender) changedByOthers(i int, m meeting, have map[string]any) (columns []string) {
	if m.was == nil {
		who, err := schema.ParseGUID(fmt.Sprint(have[modifiedBy]))
		if err != nil || len(s.l.o.Ours) == 0 || slices.Contains(s.l.o.Ours, who) {
			return nil
		}
	}
	for name, v := range m.want {
		if s.sameStored(name, v, have[name]) || m.was != nil && (s.sameStored(name, m.was[name], have[name]) || m.was[name] == nil && s.byItself(name, have)) {
			continue
		}
		columns = append(columns, name)
	}
	slices.Sort(columns)
	return columns
}

// byItself reports whether a column has what the service gives a record by itself, where nothing was said: the
// default, the first state, and in those that it fills in, as the owner, what nobody changed since a user of ours
// did. What else is there somebody has written, however often we have changed the record since; and a deferred
// lookup is judged again when the first pass has made us the last to change it.
func (s *sender) byItself(name string, have map[string]any) bool {
	c := s.w.table.Schema.Column(plainName(name))
	if c == nil || have[name] == nil || s.w.pass == ledger.Lookups && !stateColumn(name) {
		return false
	}
	n, number := have[name].(json.Number)
	switch c.Type {
	case schema.State:
		return sameValue(json.Number("0"), have[name])
	case schema.Status:
		if is, _ := stateIn(s.w.table.Schema, have); is.state >= 0 && defaultStatus(s.w.table.Schema, is.state) >= 0 {
			return is.status == defaultStatus(s.w.table.Schema, is.state)
		}
		return c.Default != nil && number && n.String() == fmt.Sprint(*c.Default)
	case schema.YesNo:
		return have[name] == (c.Default != nil && *c.Default == 1)
	case schema.Choice:
		return c.Default != nil && number && n.String() == fmt.Sprint(*c.Default)
	}
	if name == ownerReading && have[name] == have[createdBy] { // as a new record has, also where it is made as another user
		return true
	}
	filled := c.AutoNumber != "" || c.Required == schema.SystemRequired || c.LogicalName == "ownerid" || c.LogicalName == "transactioncurrencyid"
	return filled && s.byOurs(have)
}

// byOurs reports whether a record was changed last by a user of ours; not where these are not known, as records
// are written as other users.
func (s *sender) byOurs(have map[string]any) bool {
	_, told := have[modifiedBy]
	return told && len(s.l.o.Ours) > 0 && !s.l.changedBy(have)
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
		if !ok || !okA || !okB || c == nil {
			return false
		}
		digits := digitsOf(c, h.String())
		half := new(big.Rat).SetFrac(big.NewInt(1), new(big.Int).Mul(big.NewInt(2), new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(digits)), nil)))
		return a.Sub(a, b).Abs(a).Cmp(half) <= 0
	}
	return false
}

// digitsOf is to how many digits after the point a value that came back was rounded. Where the schema does not
// say (of money it is the organisation's or the currency's, dataverse-web-api.md 4.3), these are they that
// came, but no fewer than two.
func digitsOf(c *schema.Column, came string) int {
	if c.Precision != nil && (c.Type != schema.Money || c.PrecisionSource == 0) {
		return max(*c.Precision, 0)
	}
	_, fraction, _ := strings.Cut(came, ".")
	return max(len(strings.TrimRight(fraction, "0")), 2)
}

// conflict decides about a record of which somebody else has changed these columns.
func (s *sender) conflict(i int, m meeting, have map[string]any, changed []string) error {
	if s.w.settings.OnConflict == ConflictMerge && m.was != nil {
		if slices.Contains(changed, ownerReading) {
			s.l.keepsOwner(s.w.table.Name, s.j.seqs[i])
		}
		changed = s.leaveLater(i, m, changed)
		s.w.keep(changed)
		if s.w.pass == ledger.State { // state and status reason stay together
			s.j.results[i] = outcome{result: ledger.ResultSuccess}
			return nil
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

// leaveLater sees to it that later passes leave out what somebody has changed: a state is not owed any more, and
// those that come take from the row anew what is owed and judge again, deferred lookups and the state. These count
// them; it returns the others.
func (s *sender) leaveLater(i int, m meeting, changed []string) (now []string) {
	deferred := s.l.o.Plan.Deferred(s.w.table.Name)
	for _, name := range changed {
		switch state := stateColumn(name); {
		case state && owedAfter(s.j.owed[i]&^mapping.OwesState, s.w.pass) != ledger.Main:
			s.j.owed[i] &^= mapping.OwesState
			continue
		case state && s.w.pass != ledger.State:
			s.j.owed[i] &^= mapping.OwesState
		case s.w.pass == ledger.Main && m.want[name] != nil && slices.Contains(deferred, plainName(name)):
			continue
		}
		now = append(now, name)
	}
	return now
}

func stateColumn(name string) bool { return name == "statecode" || name == "statuscode" }

// withReason are columns to read, the state with its reason and the reason with its state: they mean little apart.
func withReason(t *schema.Table, columns []string) []string {
	if slices.ContainsFunc(columns, stateColumn) {
		for _, name := range stateColumns(t) {
			if !slices.Contains(columns, name) {
				columns = append(columns, name)
			}
		}
	}
	return columns
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
