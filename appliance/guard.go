package appliance

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"dvmigrate/duckstage/transform"
	"dvmigrate/ledger"
)

// LossError says that the sources have lost so much since the last staging that they may
// not be whole. Nothing that was staged has changed.
type LossError struct {
	Losses []Loss
}

// Loss is one source that has shrunk, or one table of which many rows are gone.
type Loss struct {
	Source string  `json:"source,omitempty"`
	Table  string  `json:"table,omitempty"`
	Before int64   `json:"before"`          // rows at the last staging, of what has shrunk
	Gone   int64   `json:"gone"`            // of them
	Fresh  int64   `json:"fresh,omitempty"` // rows of the table that no staging had before
	Allows float64 `json:"allows"`          // the share of them that guard.gone or guard.fewer allows

	Newest time.Time `json:"newest,omitzero"` // of a source whose files are older than at the last staging: when the newest was changed,
	Than   time.Time `json:"than,omitzero"`   // and that of then
}

func (e *LossError) Error() string {
	text := ""
	for _, l := range e.Losses {
		share := 100 * float64(l.Gone) / float64(l.Before)
		if !l.Than.IsZero() {
			text += fmt.Sprintf("source %s is older than at the last staging: its newest file is of %s, and was of %s then (UTC)\n", l.Source, l.Newest.Format(time.DateTime), l.Than.Format(time.DateTime))
		} else if l.Source != "" {
			text += fmt.Sprintf("source %s has %d rows fewer than the %d at the last staging (%.1f %%); guard.fewer allows %.4g %%\n", l.Source, l.Gone, l.Before, share, 100*l.Allows)
		} else {
			text += fmt.Sprintf("of the %d rows of %s at the last staging %d are gone (%.1f %%); guard.gone allows %.4g %%\n", l.Before, l.Table, l.Gone, share, 100*l.Allows)
			if l.Fresh >= l.Gone/2 {
				text += fmt.Sprintf("%d rows of %s are new: does its transform yield another legacy_key than then? By it rows are found again\n", l.Fresh, l.Table)
			}
		}
	}
	return text + "nothing that was staged has changed. Is every source whole? If this is meant, run it again with --accept-loss"
}

// fewLost is how many rows may always be gone: of a small table a few are a large share.
const fewLost = 100

// rowsKey is the stage's own fact with the rows that a source had at the last staging.
func rowsKey(source string) string { return "rows of " + source }

// newestKey is the stage's own fact with when the newest file of a source was changed that the last staging read.
func newestKey(source string) string { return "newest file of " + source }

// isWhole reports whether a source is of files that have all rows each time: if the newest of these is older than it was,
// somebody has put an earlier extract there. Of a source of changes files may be taken away.
func (p *Project) isWhole(source string) bool {
	s, ok := p.Config.Sources[source]
	for name := source; !ok && strings.Contains(name, "_"); { // a table of a package
		name = name[:strings.LastIndexByte(name, '_')]
		s, ok = p.Config.Sources[name]
	}
	return ok && s.Database == "" && s.Dataverse == "" && (s.Feed == "" || s.Feed == "full")
}

// checkShrunk compares the sources as they are read now with the last staging.
func (p *Project) checkShrunk(ctx context.Context, accept bool) error {
	if accept {
		return nil
	}
	allows := p.Config.Guard.FewerShare()
	var losses []Loss
	err := p.eachSource(ctx, func(name string, rows int64, newest time.Time) error {
		text, err := p.stage.Meta(ctx, newestKey(name))
		if err != nil {
			return err
		}
		if than, err := time.Parse(time.RFC3339Nano, text); err == nil && p.isWhole(name) && newest.Before(than) {
			losses = append(losses, Loss{Source: name, Newest: newest, Than: than})
		}
		if allows == 0 {
			return nil
		}
		text, err = p.stage.Meta(ctx, rowsKey(name))
		if err != nil || text == "" {
			return err
		}
		before, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return fmt.Errorf("read %s: %w", rowsKey(name), err)
		}
		if gone := before - rows; gone > fewLost && float64(gone) > allows*float64(before) {
			losses = append(losses, Loss{Source: name, Before: before, Gone: gone, Allows: allows})
		}
		return nil
	})
	if err != nil || len(losses) == 0 {
		return err
	}
	return &LossError{losses}
}

// keepRows notes how many rows the sources had at this staging, and how new their files were.
func (p *Project) keepRows(ctx context.Context) error {
	return p.eachSource(ctx, func(name string, rows int64, newest time.Time) error {
		return errors.Join(p.stage.SetMeta(ctx, rowsKey(name), strconv.FormatInt(rows, 10)), p.stage.SetMeta(ctx, newestKey(name), newest.UTC().Format(time.RFC3339Nano)))
	})
}

// eachSource calls each with the rows of every source, and when the newest of its files was changed.
func (p *Project) eachSource(ctx context.Context, each func(name string, rows int64, newest time.Time) error) error {
	type source struct {
		name   string
		rows   int64
		newest time.Time
	}
	var all []source
	err := p.stage.Rows(ctx, `SELECT name, "rows", mtime FROM dm.sources ORDER BY name`, nil, func(scan func(...any) error) error {
		var s source
		var rows sql.NullInt64
		var newest sql.NullTime
		err := scan(&s.name, &rows, &newest)
		s.rows, s.newest = rows.Int64, newest.Time
		all = append(all, s)
		return err
	})
	if err != nil {
		return fmt.Errorf("list the sources: %w", err)
	}
	for _, s := range all {
		if err := each(s.name, s.rows, s.newest); err != nil {
			return err
		}
	}
	return nil
}

// A row that is not supplied any more may be one that could not be read: while a source has lines
// that are set aside, records of the tables that read it stay, and gone: delete and deactivate wait.

// keptKey is the stage's own fact with the generation since which records of a table stay for that.
func keptKey(table string) string { return "gone rows kept of " + table }

// unread are the sources with lines that were set aside, which a table's rows may come from. Of one that
// says what is gone, or cannot say it, no row is missed.
func (p *Project) unread(ctx context.Context, table string) ([]string, error) {
	if policy := p.Config.Table(table).Gone; p.AcceptLoss || policy != "delete" && policy != "deactivate" {
		return nil, nil
	}
	var sources []string
	err := p.stage.Rows(ctx, "SELECT name FROM dm.sources WHERE rejected > 0 ORDER BY name", nil, func(scan func(...any) error) error {
		var name string
		err := scan(&name)
		if feed := p.Config.Sources[name].Feed; feed == "" || feed == "full" {
			sources = append(sources, name)
		}
		return err
	})
	if err != nil || len(sources) == 0 {
		return nil, err
	}
	files, err := p.transformFiles()
	if err != nil {
		return nil, err
	}
	scripts, err := p.scripts()
	if err != nil {
		return nil, err
	}
	return readOf(table, sources, files, scripts), nil
}

// readOf are those of the sources that a table's SELECT reads, by itself, by the views and macros, or
// by the tables that it reads in turn.
func readOf(table string, sources []string, files []transformFile, scripts []transform.Script) []string {
	var texts []string
	for _, s := range scripts {
		texts = append(texts, s.SQL)
	}
	reads := []string{table}
	for i := 0; i < len(reads); i++ {
		for _, f := range files {
			if f.table == reads[i] {
				texts = append(texts, f.sql)
			} else if !slices.Contains(reads, f.table) && readsRelation(files, reads[i], f.table) {
				reads = append(reads, f.table)
			}
		}
	}
	return slices.DeleteFunc(slices.Clone(sources), func(name string) bool {
		return !slices.ContainsFunc(texts, func(sql string) bool { return mentions(sql, name) })
	})
}

// keptGone are notes on records that stay, as their rows may be among lines that could not be read.
func (p *Project) keptGone(ctx context.Context) (notes []string, err error) {
	tables, err := p.stagedTables(ctx)
	if err != nil {
		return nil, err
	}
	for _, t := range tables {
		since, err := p.stage.Meta(ctx, keptKey(t.Name))
		if err != nil {
			return nil, err
		}
		if since == "" {
			continue
		}
		sources, err := p.unread(ctx, t.Name)
		if err != nil {
			return nil, err
		}
		rows, err := p.goneSince(ctx, t.Name, since)
		if err != nil {
			return nil, err
		}
		kept := 0
		for seq := range rows {
			if e, _ := p.ledger.Entry(t.Name, seq); inTarget(e) && e.Action != ledger.Delete {
				kept++
			}
		}
		if kept > 0 {
			notes = append(notes, fmt.Sprintf("%s: %d rows are gone, and their records stay for now: %s has lines that could not be read, and they may be among them. Mend the lines (dvmigrate sql -c 'FROM dm.rejects') and stage again, or --accept-loss",
				t.Name, kept, strings.Join(sources, ", ")))
		}
	}
	return notes, nil
}

// loss translates the transform's own guard.
func loss(err error) error {
	var gone *transform.GoneError
	if !errors.As(err, &gone) {
		return err
	}
	return &LossError{[]Loss{{Table: gone.Table, Before: gone.Rows, Gone: gone.Gone, Fresh: gone.Fresh, Allows: gone.Allows}}}
}

// unproven are notes on sources whose feed cannot tell that a row is gone.
func (p *Project) unproven(names []string) (notes []string) {
	slices.Sort(names)
	for _, name := range names {
		if p.Config.Sources[name].Feed == "changes" {
			notes = append(notes, fmt.Sprintf("source %s delivers changes and no tombstones: rows that it has lost are not noticed, and their records stay", name))
		}
	}
	return notes
}
