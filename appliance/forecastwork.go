package appliance

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"dvmigrate/appliance/dataverse"
	"dvmigrate/appliance/dataverse/schema"
	"dvmigrate/appliance/load"
	"dvmigrate/appliance/mapping"
	"dvmigrate/appliance/plan"
	"dvmigrate/appliance/progress"
	"dvmigrate/duckstage"
	"dvmigrate/ledger"
)

// What the load will send for each step of the plan, and in what kind of requests: it
// mirrors how package load decides that.

func (f *forecast) stepWork(step plan.Step) []plan.Work {
	inserts, updates := f.waiting(step)
	switch step.Pass {
	case plan.Insert:
		out := []plan.Work{f.workOf(step, "insert", inserts)}
		if updates > 0 {
			out = append(out, f.workOf(step, "update", updates))
		}
		return out
	case plan.Link:
		return []plan.Work{f.workOf(step, "link", inserts)}
	}
	return []plan.Work{f.workOf(step, "update", updates)}
}

// goneWork is what a table's rows that are no longer supplied cost: after all else, in the
// opposite order.
func (f *forecast) goneWork(step plan.Step) []plan.Work {
	if !f.staged[step.Table] || step.Pass != plan.Insert && step.Pass != plan.Link {
		return nil
	}
	switch gonePolicy[f.p.Config.Table(step.Table).Gone] {
	case load.GoneDelete:
		c := f.p.ledger.Counts(step.Table)
		n := int64(c.Of(ledger.Unprocessed, ledger.Main, ledger.Delete) + c.Of(ledger.InFlight, ledger.Main, ledger.Delete))
		if n > 0 {
			step.Pass = plan.Delete
			return []plan.Work{f.workOf(step, "delete", n)}
		}
	case load.GoneDeactivate:
		if n := f.leaving[step.Table]; n > 0 {
			step.Pass = plan.Deactivate
			return []plan.Work{f.workOf(step, "update", n)}
		}
	}
	return nil
}

// countLeaving counts the records that wait to be deactivated: of the updates that wait,
// those of rows that are gone.
func (f *forecast) countLeaving(ctx context.Context, t *mapping.Table) error {
	if gonePolicy[f.p.Config.Table(t.Name).Gone] != load.GoneDeactivate {
		return nil
	}
	c := f.p.ledger.Counts(t.Name)
	waiting := int64(c.Of(ledger.Unprocessed, ledger.Main, ledger.Update) + c.Of(ledger.InFlight, ledger.Main, ledger.Update))
	if waiting == 0 {
		return nil
	}
	var gone int64
	if err := f.p.stage.Row(ctx, []any{&gone}, `SELECT count(*) FROM dm.gone WHERE "table" = ?`, t.Name); err != nil {
		return fmt.Errorf("count the rows of %s that are gone: %w", t.Name, err)
	}
	f.leaving[t.Name] = min(gone, waiting)
	return nil
}

// workOf is one work with the best figure that there is for it.
func (f *forecast) workOf(step plan.Step, action string, n int64) plan.Work {
	settings, t := f.p.Config.Table(step.Table), f.bound.byName[step.Table]
	rate := f.p.Config.Estimate.Rates[step.Table]
	w := plan.Work{Table: step.Table, Pass: step.Pass, Action: action, Message: plan.Bulk, Operations: n, Parallel: settings.Parallel,
		Bytes: f.bytes[step.Table], FileBytes: f.files[step.Table], Estimated: !f.staged[step.Table], Outside: rate.Before,
		Elastic: t.Link == nil && t.Schema.Kind == schema.Elastic}
	if action == "update" {
		w.Bytes, w.FileBytes = f.updateBytes(step, n)
	}
	w.Batch = int(settings.Batch)
	if f.o.Batch > 0 {
		w.Batch = f.o.Batch
	}
	auto := w.Batch == 0
	if auto {
		w.Batch = load.StartBatch(t)
	}
	if w.Parallel == 0 {
		w.Parallel = f.a.Limits.Concurrent * f.a.Limits.Users
	}
	f.message(&w, t, settings.Message, auto)
	w.ReadFirst = w.ReadFirst || action == "update" && t.Link == nil && f.readsFirst(step)
	w.Sharded = settings.ShardBy != "" && w.Parallel > 1 && w.Pass != plan.Delete && w.Pass != plan.Deactivate
	if action == "insert" {
		w.Parents = parentsOf(t, step)
	}
	if step.Pass == plan.Files {
		f.fileCost(&w)
		return w
	}
	f.cost(&w, rate.Insert, rate.Update)
	return w
}

// readsFirst reports whether records are read before they are updated: to see what others have changed, to keep
// what a rollback gives back, or whether they are inactive already. Later passes read those that are not new, and
// are counted so where some are.
func (f *forecast) readsFirst(step plan.Step) bool {
	reads := f.p.Config.KeepsFormer(step.Table) || onConflict[f.p.Config.Table(step.Table).OnConflict] != load.ConflictOverwrite
	switch step.Pass {
	case plan.Insert:
		return reads
	case plan.Lookups, plan.State:
		return reads && f.parts[step.Table].records > 0
	}
	return step.Pass == plan.Deactivate
}

// fileWork is what the files of a record have and take, in the mean.
type fileWork struct{ bytes, requests float64 }

// fileCost is the cost of the content of files: one record after the other, few at once, each with the
// requests that its files take.
func (f *forecast) fileCost(w *plan.Work) {
	file := f.file[w.Table]
	w.Message, w.Auto, w.Batch, w.Parallel, w.Bytes, w.FileBytes, w.Further = plan.Single, false, 1, min(w.Parallel, load.FilesAtOnce), file.bytes, file.bytes, max(file.requests-1, 0)
	if m, ok := f.measures[w.Table+" "+string(w.Pass)+" update"]; ok && m.Requests > 0 {
		mean, _ := m.answer() // and not the step's time, in which requests may have waited for the limits
		w.PerRecord, w.Source, w.Spread = max(seconds(mean)-m.run.Latency, 0), m.run.Kind, m.spread()
		w.Note = progress.Counted(int(m.Records), "record") + " with files on " + m.run.Start.Format("2006-01-02 15:04")
		return
	}
	w.PerRecord, w.Source, w.Note, w.Spread = seconds(defaultFile.Seconds()+w.Bytes/max(file.requests, 1)/defaultUpload), plan.Default, "a guess: 100 ms a request and 10 MB/s", defaultSpread
}

// message is the kind of request that a work travels in.
func (f *forecast) message(w *plan.Work, t *mapping.Table, said string, auto bool) {
	gone := w.Pass == plan.Delete || w.Pass == plan.Deactivate
	parties := len(t.Parties) > 0 && w.Pass == plan.Insert
	closing := w.Pass == plan.State && f.closed[w.Table] > 0.5
	bulk := t.Link == nil && t.Schema.CanBulk(map[string]string{"insert": "create", "update": "update"}[w.Action])
	switch {
	case gone && w.Elastic && w.Action == "delete": // DeleteMultiple
	case said == "single" && !gone:
		w.Message, w.Batch = plan.Single, 1
	case parties && w.Action == "update": // and its parties in a second one
		w.Message, w.Batch, w.Further = plan.Single, 1, 1
	case closing: // the states of a $batch's records are read before
		w.Message, w.Batch, w.ReadFirst = plan.Batch, min(w.Batch, fallbackBatch), true
	case (said == "batch" || parties) && !auto && !gone:
		w.Message, w.Batch = plan.Batch, min(w.Batch, dataverse.MaxBatch)
	case said == "batch", parties, gone, !bulk:
		w.Message, w.Batch = plan.Batch, min(w.Batch, fallbackBatch)
	default:
		w.Auto = auto
	}
}

// fallbackBatch is how many single requests a $batch carries where nobody asked for one
// (package load).
const fallbackBatch = 100

// parentsOf are the tables without whose record one of this table is held back.
func parentsOf(t *mapping.Table, step plan.Step) []string {
	var out []string
	for _, l := range t.Lookups {
		if !slices.Contains(step.Deferred, l.LogicalName) && len(l.Targets) == 1 && l.Targets[0].Staged && !slices.Contains(out, l.Targets[0].Table) {
			out = append(out, l.Targets[0].Table)
		}
	}
	return out
}

// updateBytes is how large the body of an update is, about. Those of the passes are known by what
// they write; in the first pass some write all columns and some those that changed.
func (f *forecast) updateBytes(step plan.Step, n int64) (bytes, files float64) {
	switch step.Pass {
	case plan.Lookups:
		return bareBytes + lookupBytes*float64(max(len(step.Deferred), 1)), 0
	case plan.State, plan.Deactivate:
		return bareBytes + stateBytes, 0
	case plan.Insert:
		part := f.parts[step.Table]
		if n <= 0 || part.records <= 0 {
			break
		}
		some := float64(min(part.records, n)) / float64(n)
		return some*part.bytes + (1-some)*f.bytes[step.Table], (1 - some) * f.files[step.Table]
	}
	return f.bytes[step.Table], f.files[step.Table]
}

// What the parts of a record's body take: its type and id, a lookup, a state with its reason.
const (
	bareBytes   = 110
	lookupBytes = 90
	stateBytes  = 35
)

// partly are the updates that wait with the columns alone that have changed.
type partly struct {
	records int64
	owe     [3]int64 // of them those whose columns owe lookups, files, a state
	bytes   float64  // of a body, the average of some
}

// countParts counts them, and weighs some, where the stage says what has changed of a table's rows.
func (f *forecast) countParts(ctx context.Context, t *mapping.Table) error {
	c := f.p.ledger.Counts(t.Name)
	if t.Link != nil || c.Of(ledger.Unprocessed, ledger.Main, ledger.Update) == 0 || f.p.wentBehind(t.Name) || f.p.ledger.AsRestored(t.Name) {
		return nil
	}
	var known int64
	err := f.p.stage.Row(ctx, []any{&known}, "SELECT count(*) FROM duckdb_views() WHERE database_name = current_database() AND schema_name = 'main' AND view_name = ?", t.Name+load.BeforeSuffix)
	if err != nil || known == 0 {
		return err
	}
	oneOf := func(names []string) string {
		quoted := []string{"''"}
		for _, name := range names {
			quoted = append(quoted, duckstage.Quote(name))
		}
		return "list_has_any(string_split(b.dm_changed, ','), [" + strings.Join(quoted, ", ") + "])"
	}
	var late, states []string
	bytes := fmt.Sprint(bareBytes)
	for _, col := range t.Columns {
		switch name := col.LogicalName; {
		case col.Late:
			late = append(late, name)
		case col.Type == schema.State || col.Type == schema.Status:
			states = append(states, name)
		default:
			bytes += fmt.Sprintf(" + CASE WHEN %s THEN %d + coalesce(strlen(%s::VARCHAR), 4) ELSE 0 END", oneOf([]string{name}), len(name)+6, "r."+duckstage.Ident(name))
		}
	}
	for i := range t.Lookups {
		bytes += fmt.Sprintf(" + CASE WHEN %s THEN %d ELSE 0 END", oneOf([]string{t.Lookups[i].LogicalName}), lookupBytes)
	}
	from := fmt.Sprintf(`(SELECT unnest(range(first, beyond))::UINTEGER AS dm_seq FROM ledger_spans(%s) WHERE action = 'U' AND pass = 'main' AND flag IN ('U', 'F')) w
		JOIN %s b USING (dm_seq)`, duckstage.Quote(t.Name), duckstage.Ident(t.Name+load.BeforeSuffix))
	var p partly
	query := fmt.Sprintf("SELECT count(*), count(*) FILTER (%s), count(*) FILTER (%s), count(*) FILTER (%s) FROM %s WHERE b.dm_changed IS NOT NULL",
		oneOf(f.bound.plan.Deferred(t.Name)), oneOf(late), oneOf(states), from)
	if err := f.p.stage.Row(ctx, []any{&p.records, &p.owe[0], &p.owe[1], &p.owe[2]}, query); err != nil {
		return fmt.Errorf("count what has changed of %s: %w", t.Name, err)
	}
	query = fmt.Sprintf("SELECT coalesce(avg(%s), 0) FROM (SELECT * FROM %s WHERE dm_changed IS NOT NULL LIMIT %d) b JOIN %s r USING (dm_seq)", bytes, duckstage.Ident(t.Name+load.BeforeSuffix), weighPlaces*weighRows, duckstage.Ident(t.Name))
	if err := f.p.stage.Row(ctx, []any{&p.bytes}, query); err != nil {
		return fmt.Errorf("weigh what has changed of %s: %w", t.Name, err)
	}
	f.parts[t.Name] = p
	return nil
}

// Where and how many rows of a table are weighed: some from several places.
const (
	weighPlaces = 5
	weighRows   = 40
)

// weigh finds out how large a record's body is, about, and how much of it are files, from
// some staged rows.
func (f *forecast) weigh(ctx context.Context, t *mapping.Table) error {
	if t.Link != nil || f.counts[t.Name] == 0 {
		return nil
	}
	var parts []string
	for i := range int64(weighPlaces) {
		from := f.counts[t.Name] * i / weighPlaces
		parts = append(parts, fmt.Sprintf("SELECT COLUMNS(c -> c = 'dm_id' OR NOT starts_with(c, 'dm_')) FROM %s WHERE dm_seq >= %d AND dm_seq < %d", duckstage.Ident(t.Name), from, from+weighRows))
		if f.counts[t.Name] <= weighRows {
			break
		}
	}
	files := "0"
	for i := range t.Columns {
		if c := &t.Columns[i]; c.Base64(t.Name) {
			files += fmt.Sprintf(" + coalesce(strlen(%s::VARCHAR), 0)", duckstage.Ident(c.LogicalName))
		}
	}
	var bytes, inFiles float64
	query := fmt.Sprintf("SELECT coalesce(avg(strlen(to_json(x)::VARCHAR)), 0), coalesce(avg(%s), 0) FROM (%s) x", files, strings.Join(parts, " UNION ALL "))
	if err := f.p.stage.Row(ctx, []any{&bytes, &inFiles}, query); err != nil {
		return fmt.Errorf("weigh rows of %s: %w", t.Name, err)
	}
	if bytes > 0 {
		f.bytes[t.Name], f.files[t.Name] = bytes, inFiles
	}
	return nil
}
