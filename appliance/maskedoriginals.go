package appliance

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"dvmigrate/duckstage"
	"dvmigrate/duckstage/column"
	"dvmigrate/duckstage/ingest"
	"dvmigrate/duckstage/mask"
)

// The originals are read anew into a stage of their own, in the scratch folder. Of each relation
// it keeps, in the relation's order:
//
//	dm.pairs_N    n, the row's number; h, a hash of its columns that are not masked;
//	              o_I and m_I, the original of column I of MaskedCheck.Columns and what
//	              the mask makes of it; k_J, what column J of the source's key is staged as
//	dm.originals  v, c, decoy: the different values of column c as texts, and as many that
//	              have the same form and are nobody's: masked with a key that is thrown
//	              away. How many of those a column of the stage has is what chance gives.

// maskedRelation is a relation whose originals were read.
type maskedRelation struct {
	source  string // that it is of
	name    string
	number  int
	columns []maskedOriginal
	plain   []string // its other columns, in order
	key     []string // by which the source tells its rows apart; none where it does not say
	rows    int64
}

// maskedOriginal is one of its masked columns.
type maskedOriginal struct {
	of   int // of MaskedCheck.Columns
	name string
}

func (r *maskedRelation) pairs() string { return fmt.Sprintf("dm.pairs_%d", r.number) }

// originalsFile is the stage of the originals.
func (s *maskSearch) originalsFile() string { return filepath.Join(s.scratch, "originals.duckdb") }

// originals reads the sources without their masks.
func (s *maskSearch) originals(ctx context.Context) error {
	options := s.p.stageOptions(false)
	options.Temp = s.scratch
	clear, err := duckstage.Open(ctx, s.originalsFile(), options)
	if err != nil {
		return err
	}
	defer clear.Close()
	if _, err := clear.Exec(ctx, "CREATE TABLE dm.originals (v VARCHAR, c INTEGER, decoy BOOLEAN)"); err != nil {
		return err
	}
	for _, name := range sourceNames(s.p.Config, nil) {
		src, err := s.p.source(name)
		if err != nil {
			return err
		}
		if len(src.Masks) == 0 {
			continue
		}
		if staged, err := s.p.isStaged(ctx, name); err != nil || !staged {
			return errors.Join(err, fmt.Errorf("source %s is not staged; run `dvmigrate stage` first", name))
		}
		s.watch("reading "+name, -1)
		if err := s.source(ctx, clear, src); err != nil {
			return s.p.explainSource(name, err)
		}
	}
	return nil
}

// source reads one source, and keeps what is compared of its relations.
func (s *maskSearch) source(ctx context.Context, clear *duckstage.Stage, src ingest.Source) error {
	plain := src
	plain.Masks, plain.MaxBadLines, plain.MaxBadShare = nil, -1, 0
	if src.Dataverse != nil {
		all := *src.Dataverse
		all.Delta = false
		plain.Dataverse = &all
	}
	res, err := ingest.Run(ctx, clear, plain, nil)
	if err != nil {
		return err
	}
	names := []string{src.Name}
	if len(res.Relations) > 0 {
		names = nil
		for _, r := range res.Relations {
			names = append(names, r.Name)
		}
	}
	for _, name := range names {
		if err := s.relation(ctx, clear, src, name); err != nil {
			return err
		}
	}
	return nil
}

// relation keeps what is compared of one relation.
func (s *maskSearch) relation(ctx context.Context, clear *duckstage.Stage, src ingest.Source, name string) error {
	var data string
	if err := clear.Row(ctx, []any{&data}, "SELECT data FROM dm.sources WHERE name = ?", name); err != nil {
		return err
	}
	infos, err := clear.Columns(ctx, "dm", data)
	if err != nil {
		return err
	}
	masked, err := ingest.MaskedColumns(ctx, clear, src, infos)
	if err != nil || len(masked) == 0 {
		return err
	}
	r := &maskedRelation{source: src.Name, name: name, number: len(s.relations), key: src.Feed.Key}
	if len(r.key) == 0 && src.Database != nil {
		r.key = src.Database.Key
	}
	list := []string{"rowid AS n"}
	for _, info := range infos {
		switch expr := masked[info.Name]; {
		case expr != "":
			of := len(s.m.Columns)
			m := maskOf(src, info.Name)
			s.m.Columns = append(s.m.Columns, MaskedColumn{Source: name, Column: info.Name, As: m.Kind, Type: info.SQLType})
			r.columns = append(r.columns, maskedOriginal{of, info.Name})
			list = append(list, fmt.Sprintf("%s AS o_%d, %s AS m_%[2]d", duckstage.Ident(info.Name), of, expr))
		case !strings.HasPrefix(info.Name, "dm_"):
			r.plain = append(r.plain, info.Name)
		}
	}
	for i, k := range r.key {
		expr := duckstage.Ident(k)
		for name, m := range masked {
			if strings.EqualFold(name, k) {
				expr = m
			}
		}
		list = append(list, fmt.Sprintf("CAST(%s AS VARCHAR) AS k_%d", expr, i))
	}
	list = append(list, hashOf("", r.plain)+" AS h")
	if _, err := clear.Exec(ctx, "CREATE TABLE "+r.pairs()+" AS SELECT "+strings.Join(list, ", ")+" FROM dm."+duckstage.Ident(data)); err != nil {
		return err
	}
	if err := clear.Row(ctx, []any{&r.rows}, "SELECT count(*) FROM "+r.pairs()); err != nil {
		return err
	}
	s.relations = append(s.relations, r)
	masker := mask.New(src.MaskKey)
	for _, c := range r.columns {
		if err := s.texts(ctx, clear, r, c, masker); err != nil {
			return err
		}
		if err := keepValues(ctx, clear, r.pairs(), fmt.Sprintf("o_%d", c.of), fmt.Sprintf("o_%d IS DISTINCT FROM m_%[1]d", c.of), c.of, false); err != nil {
			return err
		}
	}
	return s.decoys(ctx, clear, src, r, data, infos)
}

// decoys keeps values of the same form as the originals.
func (s *maskSearch) decoys(ctx context.Context, clear *duckstage.Stage, src ingest.Source, r *maskedRelation, data string, infos []duckstage.ColumnInfo) error {
	src.MaskKey = make([]byte, 32)
	if _, err := rand.Read(src.MaskKey); err != nil {
		return err
	}
	masked, err := ingest.MaskedColumns(ctx, clear, src, infos)
	if err != nil {
		return err
	}
	for _, c := range r.columns {
		expr := masked[c.name]
		if err := keepValues(ctx, clear, "dm."+duckstage.Ident(data), expr, expr+" IS DISTINCT FROM "+duckstage.Ident(c.name), c.of, true); err != nil {
			return err
		}
	}
	return nil
}

// keepValues keeps the different values of an expression in every form that a column of the
// stage may have them in: text, number, time.
func keepValues(ctx context.Context, clear *duckstage.Stage, from, expr, where string, of int, decoy bool) error {
	var forms []string
	for _, class := range []string{classText, classNumber, classTime} {
		forms = append(forms, canonical(class, "x"))
	}
	_, err := clear.Exec(ctx, fmt.Sprintf(`INSERT INTO dm.originals SELECT DISTINCT unnest([%s]) AS v, %d, %v FROM (SELECT DISTINCT %s AS x FROM %s WHERE %s);
		DELETE FROM dm.originals WHERE v IS NULL OR v = ''`, strings.Join(forms, ", "), of, decoy, expr, from, where))
	return err
}

// The classes of values that are compared with one another.
const (
	classText   = "text"
	classNumber = "number"
	classTime   = "time"
)

// classOf is the class of an SQL type; "" where values of it say nothing: yes and no.
func classOf(sqlType string) string {
	base, _, _ := strings.Cut(sqlType, "(")
	switch base {
	case "BOOLEAN", "BLOB", "BIT", `"NULL"`:
		return ""
	case "TINYINT", "UTINYINT", "SMALLINT", "USMALLINT", "INTEGER", "UINTEGER", "BIGINT", "UBIGINT", "HUGEINT", "UHUGEINT", "DECIMAL", "DOUBLE", "FLOAT":
		return classNumber
	case "DATE":
		return classTime
	}
	if strings.HasPrefix(base, "TIMESTAMP") {
		return classTime
	}
	return classText
}

// canonical writes a value as the text by which values of a class are compared: 007 and 7.0 are
// equal as numbers, texts are so without regard to case and blanks at the ends.
func canonical(class, expr string) string {
	text := "CAST(" + expr + " AS VARCHAR)"
	switch class {
	case classNumber:
		return "CAST(TRY_CAST(" + text + " AS DOUBLE) AS VARCHAR)"
	case classTime:
		return "CAST(TRY_CAST(" + text + " AS TIMESTAMP) AS VARCHAR)"
	}
	return "lower(trim(" + text + "))"
}

// hashOf hashes columns behind a prefix; within one run it is the same on both sides.
func hashOf(prefix string, columns []string) string {
	values := []string{"0"}
	for _, c := range columns {
		values = append(values, prefix+duckstage.Ident(c))
	}
	return "hash(" + strings.Join(values, ", ") + ")"
}

func maskOf(src ingest.Source, column string) ingest.Mask {
	for name, m := range src.Masks {
		if strings.EqualFold(name, column) {
			return m
		}
	}
	return ingest.Mask{}
}

// texts collects the values of one column that are searched for.
func (s *maskSearch) texts(ctx context.Context, clear *duckstage.Stage, r *maskedRelation, c maskedOriginal, masker *mask.Masker) error {
	m := &s.m.Columns[c.of]
	name := fmt.Sprintf("o_%d", c.of)
	if err := clear.Row(ctx, []any{&m.Values}, "SELECT count(DISTINCT "+name+") FROM "+r.pairs()); err != nil {
		return err
	}
	if m.As == mask.Number || m.As == mask.Date || m.Type != "VARCHAR" && m.Type != "UUID" && m.As != mask.Blank {
		m.Why = "numbers and dates may be in a file by chance"
		return nil
	}
	var n int64
	// All are masked, for their images, and so many of them are searched for.
	err := clear.Scan(ctx, "SELECT DISTINCT CAST("+name+" AS VARCHAR) FROM "+r.pairs(), nil, func(b *column.Batch) error {
		for i := range b.Rows {
			if b.Columns[0].Null(i) {
				continue
			}
			text := string(b.Columns[0].TextAt(i))
			image := folded(masker.Mask(m.As, text, 0))
			s.images[image] = true
			for _, word := range strings.FieldsFunc(image, func(r rune) bool { return r < 0x80 && !wordPart(byte(r)) }) {
				s.images[word] = true
			}
			if distinctive(text) {
				if n < mostSought {
					s.sought = append(s.sought, soughtValue{text, c.of})
				}
				n++
			}
		}
		return nil
	})
	switch {
	case n > mostSought:
		m.Why = fmt.Sprintf("only the first %d of %d values are searched for in files", mostSought, n)
	case n < m.Values:
		m.Why = "short ones, and those that something else was masked to, may be in a file by chance"
	}
	return err
}

// removeOriginals removes what was read, before anything else could copy it.
func (s *maskSearch) removeOriginals() {
	for _, suffix := range []string{"", ".wal"} {
		os.Remove(s.originalsFile() + suffix)
	}
}
