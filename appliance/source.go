package appliance

import (
	"fmt"
	"time"

	"dvmigrate/appliance/config"
	"dvmigrate/duckstage/ingest"
)

// source translates a source of the settings into ingest's own.
func (p *Project) source(name string) (ingest.Source, error) {
	s := p.Config.Sources[name]
	paths := make([]string, len(s.Path))
	for i, path := range s.Path {
		paths[i] = p.Config.Path(path)
	}
	quote := s.Quote
	if quote == "" {
		quote = ingest.NoQuote
	}
	src := ingest.Source{Name: name, Dir: p.Config.Dir, Paths: paths, Format: s.Format, Delimiter: s.Delimiter, Quote: quote, Escape: s.Escape,
		NoHeader: !s.Header, Columns: s.Columns, Encoding: s.Encoding, Null: s.Null, RowEnd: s.RowEnd, Partition: s.Partition,
		Types: s.Types.Columns, AutoTypes: s.Types.Word == config.TypesAuto, Formats: formats(s.Types.Formats),
		Sheet:       ingest.Sheet{Name: s.Sheet, Range: s.Range, HeaderRow: s.HeaderRow},
		MaxBadLines: s.MaxBadLines, MaxBadShare: s.BadShare(),
		Feed: ingest.Feed{Key: s.RowKey, Tombstone: s.Tombstone, Watermark: s.Watermark, Overlap: s.Overlap, ReadOnce: s.ReadOnce}}
	if err := p.addMasks(&src, s.Mask); err != nil {
		return src, err
	}
	switch {
	case s.Database != "":
		src.Database = &ingest.Database{Kind: s.Database, DSN: s.DSN.Reveal(), Table: s.Table, Query: s.Query, Key: s.Key, Parallel: s.Parallel}
		if s.Database == "mariadb" {
			src.Database.Kind = ingest.MySQL
		}
		if s.Database == ingest.SQLite {
			src.Database.DSN, src.Paths = paths[0], nil
		}
	case s.Dataverse != "":
		env, err := p.environment(name, s)
		if err != nil {
			return src, err
		}
		src.Dataverse = env
	}
	return src, nil
}

func formats(of map[string]config.TypeFormat) map[string]ingest.Format {
	out := map[string]ingest.Format{}
	for name, f := range of {
		out[name] = ingest.Format{Type: f.Type, Decimal: f.Decimal, Thousands: f.Thousands, Layouts: f.Format}
	}
	return out
}

// watchSource tells watch of a source that is read; of one that comes row by row also
// how many rows there are by now, and how many come in a second.
func (p *Project) watchSource(name string, watch StageWatch) func(done, total int64) {
	s := p.Config.Sources[name]
	if s.Database == "" && s.Dataverse == "" {
		return func(done, total int64) { watch("reading "+name, percent(done, total)) }
	}
	begin := time.Now()
	return func(done, total int64) {
		rate := float64(done) / max(time.Since(begin).Seconds(), 0.001)
		watch(fmt.Sprintf("reading %s, %d rows, %.0f/s", name, done, rate), percent(done, total))
	}
}

func sourceResult(name string, res ingest.Result) SourceResult {
	r := SourceResult{Name: name, Files: len(res.Files), Rows: res.Rows, Rejected: res.Rejected, Bytes: res.Bytes, Seconds: res.Seconds,
		Resumed: res.Resumed, Notes: res.Notes}
	for _, rel := range res.Relations {
		if len(res.Relations) > 1 || rel.Name != name {
			r.Relations = append(r.Relations, RelationResult{Name: rel.Name, Rows: rel.Rows, Rejected: rel.Rejected})
		}
	}
	return r
}
