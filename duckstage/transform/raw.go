package transform

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"dvmigrate/duckstage"
)

// lookupParts are the names, in the raw table, of what the SELECT says of a lookup:
// the table it points to, its legacy key, its GUID.
type lookupParts struct{ table, key, guid, by string }

func partsOf(i int) lookupParts {
	return lookupParts{fmt.Sprintf("dm_table_%d", i), fmt.Sprintf("dm_key_%d", i), fmt.Sprintf("dm_guid_%d", i), fmt.Sprintf("dm_by_%d", i)}
}

// rawSelect is the first pass: the user's SELECT with every value cast. The inner level
// casts once; the outer one compares each value with what it was cast from.
func (j *job) rawSelect(arrival string) string { return j.castSelect(j.yielded(), arrival) }

// castSelect is rawSelect over another statement with the same columns, some of which
// are handed on.
func (j *job) castSelect(from, arrival string, handedOn ...string) string {
	inner := []string{"CAST(u.legacy_key AS VARCHAR) AS legacy_key"}
	switch {
	case j.types["dm_created_at"] == "TIMESTAMP":
		inner = append(inner, "coalesce(u.dm_created_at, "+arrival+") AS dm_created_at")
	case j.given["dm_created_at"]:
		inner = append(inner, "coalesce(TRY_CAST(u.dm_created_at AS TIMESTAMP), "+arrival+") AS dm_created_at")
	default:
		inner = append(inner, arrival+" AS dm_created_at")
	}
	outer := []string{"legacy_key", "dm_created_at"}
	var faults []string
	if j.KeepID != "" {
		id := "u." + duckstage.Ident(j.KeepID)
		inner = append(inner, "TRY_CAST(CAST("+id+" AS VARCHAR) AS UUID) AS dm_id", "CAST("+id+" AS VARCHAR) AS dm_raw_id")
		outer = append(outer, "dm_id")
		name := strings.ReplaceAll(j.KeepID, "'", "''")
		faults = append(faults, "WHEN dm_raw_id IS NULL THEN '"+FaultID+" "+name+": there is no record id'",
			"WHEN dm_id IS NULL THEN '"+FaultID+" "+name+": ' || "+shown("dm_raw_id")+" || ' is not a GUID'")
	}
	mends, joins := j.mends(), ""
	for i, col := range j.Columns {
		name, value := duckstage.Ident(col.Name), "u."+duckstage.Ident(col.Name)
		outer = append(outer, name)
		if col.Texts != nil {
			of, missing := j.textValues(i, value)
			joins += j.textJoin(i, value)
			inner, outer = append(inner, of+" AS "+name, missing+" AS "+textName(i)), append(outer, textName(i))
			if mends.text(j, i); col.Texts.Missing == "" {
				faults = append(faults, j.textFault(i))
			}
			continue
		}
		if strings.EqualFold(j.types[strings.ToLower(col.Name)], col.SQLType) {
			inner = append(inner, value+" AS "+name)
			continue
		}
		inner = append(inner, j.cast(col, value)+" AS "+name)
		if strings.EqualFold(col.SQLType, "VARCHAR") {
			continue // everything has a text
		}
		from := fmt.Sprintf("dm_raw_%d", i)
		inner = append(inner, value+" AS "+from)
		if mends.cast(j, col, from); col.Default == "" {
			faults = append(faults, j.castFault(col, from))
		}
	}
	for i, l := range j.Lookups {
		for _, part := range j.lookupValues(i, l) {
			inner = append(inner, part.value+" AS "+part.name)
			outer = append(outer, part.name)
		}
	}
	for i := range j.Lists {
		list := j.listValue(i)
		inner, outer = append(inner, list.value+" AS "+list.name), append(outer, list.name)
	}
	for _, name := range handedOn {
		inner, outer = append(inner, "u."+name), append(outer, name)
	}
	cast := "SELECT " + strings.Join(inner, ", ") + " FROM (\n" + from + "\n) AS u" + joins
	if j.mendsColumns() {
		cast, faults = mends.over(cast, faults), []string{"WHEN dm_fault IS NOT NULL THEN dm_fault"}
		outer = append(outer, "dm_repairs")
	}
	outer = append(outer, j.lastColumns(faults)...)
	return "SELECT " + strings.Join(outer, ", ") + " FROM (" + cast + ")"
}

// cast is a column's value as the type that the target takes; null where it cannot be that.
func (j *job) cast(col Column, value string) string {
	switch yields := j.types[strings.ToLower(col.Name)]; {
	case col.File:
		return fileObject(value)
	case col.Base64 && yields == "BLOB":
		return "base64(" + value + ")"
	case strings.EqualFold(col.SQLType, "TIMESTAMP") && yields == "VARCHAR":
		return duckstage.CastMoment(value)
	case yields == "FLOAT" && !duckstage.IsWhole(col.SQLType):
		value = "CAST(" + value + " AS VARCHAR)" // 32.38, and not 32.380001068115234
	}
	return duckstage.TryCast(value, col.SQLType)
}

// lastColumns are the first pass's judgement. Where there are lookups or lists, the checks wait
// for the second pass, which knows where they point to.
func (j *job) lastColumns(faults []string) []string {
	var number []string
	if j.later { // written when it is known
		number = []string{"NULL::UINTEGER AS dm_seq"}
	}
	if j.joined() {
		return append(number, caseOf(faults)+" AS dm_hold")
	}
	change := "'I'"
	if j.later {
		change = "'N'"
	}
	return append(number, caseOf(append(faults, j.checkFaults()...))+" AS dm_hold", j.owed()+" AS dm_owed", change+" AS dm_change")
}

// fileObject is what the relation has of a file. dm.files has the files' sizes and times, so
// that a file which was replaced changes its row.
func fileObject(value string) string {
	path := "replace(" + value + ".dm_file, '\\', '/')"
	of := func(column string) string {
		return "(SELECT max(f." + column + ") FROM dm.files f WHERE f.path = " + path + ")"
	}
	return fmt.Sprintf("CASE WHEN %s IS NOT NULL THEN CAST(to_json({'file': %s, 'name': coalesce(%s.dm_name, regexp_extract(%s, '[^/]*$')), 'size': %s, 'modified': %s}) AS VARCHAR) END",
		value, path, value, path, of("size"), of("modified"))
}

// castFault is the fault of a value that is not what its column takes.
func (j *job) castFault(col Column, from string) string {
	return "WHEN " + j.castBad(col, from) + " THEN " + duckstage.Quote(FaultType+" "+col.Name+": ") + " || " + notOfType(col, from) + advice(col)
}

func advice(col Column) string {
	if col.Advice == "" {
		return ""
	}
	return " || " + duckstage.Quote("; "+col.Advice)
}

// notOfType says what is wrong with a value that is not what its column takes.
func notOfType(col Column, from string) string {
	base := baseType(col)
	article := "a"
	if strings.ContainsRune("AEIOU", rune(base[0])) && base != "UUID" {
		article = "an"
	}
	return shown(from) + " || " + duckstage.Quote(" is not "+article+" "+base)
}

func baseType(col Column) string {
	return duckstage.BaseType(col.SQLType)
}

// castBad is the predicate of a value that is not what its column takes. DuckDB rounds
// "10.6" to an integer; that is a fault too, since the value would not be what it was.
func (j *job) castBad(col Column, from string) string {
	name, base := duckstage.Ident(col.Name), baseType(col)
	bad := from + " IS NOT NULL AND " + name + " IS NULL"
	whole, t := duckstage.IsWhole(base), j.types[strings.ToLower(col.Name)]
	number := whole || base == "DECIMAL" || base == "NUMERIC" || base == "DOUBLE" || base == "FLOAT"
	switch {
	case t == "VARCHAR" && number:
		// CASE, since AND would cast every row: that is forty times slower.
		bad += fmt.Sprintf(" OR CASE WHEN %s THEN %s IS NOT NULL", duckstage.IsCode(from), name)
		if whole {
			bad += fmt.Sprintf(" WHEN contains(%[1]s, '.') THEN TRY_CAST(%[1]s AS DECIMAL(38,10)) <> %[2]s"+
				" WHEN contains(%[1]s, '-') THEN TRY_CAST(%[1]s AS DOUBLE) <> %[2]s", from, name)
		}
		bad += " ELSE false END"
	case whole && (t == "DOUBLE" || t == "FLOAT" || strings.HasPrefix(t, "DECIMAL")):
		bad += " OR " + from + " <> " + name
	}
	return "(" + bad + ")"
}

// shown is an SQL expression that quotes a value in a message, cut to a hundred characters.
func shown(value string) string { return "'''' || left(CAST(" + value + " AS VARCHAR), 100) || ''''" }

// checkFaults are the table's own checks.
func (j *job) checkFaults() []string {
	faults := make([]string, len(j.Checks))
	for i, c := range j.Checks {
		faults[i] = "WHEN (" + c.Bad + "\n) THEN " + duckstage.Quote(strings.TrimSpace(c.ID+" "+c.Column)+": ") + " || (" + c.Message + "\n)"
	}
	return faults
}

func caseOf(faults []string) string {
	if len(faults) == 0 {
		return "NULL::VARCHAR"
	}
	return "CASE " + strings.Join(faults, " ") + " END"
}

func (j *job) owed() string {
	if j.Owed == "" {
		return "0::UTINYINT"
	}
	return "coalesce(CAST((" + j.Owed + "\n) AS UTINYINT), 0::UTINYINT)"
}

type namedValue struct{ name, value string }

// lookupValues are the parts that the SELECT gives of a lookup.
func (j *job) lookupValues(i int, l Lookup) []namedValue {
	parts, value := partsOf(i), "u."+duckstage.Ident(l.Column)
	if !isReference(j.types[strings.ToLower(l.Column)]) {
		text := "CAST(" + value + " AS VARCHAR)"
		if l.Targets[0].Staged {
			return []namedValue{{parts.key, text}}
		}
		return []namedValue{{parts.guid, text}}
	}
	return []namedValue{
		{parts.table, value + ".dm_table"},
		{parts.key, value + ".dm_key"},
		{parts.guid, value + ".dm_id"},
		{parts.by, value + ".dm_by"},
	}
}

// fill runs the first pass.
func (j *job) fill(ctx context.Context, c *duckstage.Conn, arrival string, report func(float64)) error {
	q := "CREATE TABLE " + j.raw + " AS " + j.rawSelect(arrival)
	_, err := c.ExecProgress(ctx, report, q)
	return inUserText(err, q, j.sql)
}

// inUserText moves the place of an error from the statement that was run to the user's
// part of it, which begins on a line of its own. A place outside of it is dropped.
func inUserText(err error, query, user string) error {
	var e *duckstage.SQLError
	if !errors.As(err, &e) || e.Line == 0 {
		return err
	}
	at := strings.Index(query, "\n"+user+"\n")
	moved := *e
	moved.Line -= 1 + strings.Count(query[:max(at, 0)], "\n")
	if at < 0 || moved.Line < 1 || moved.Line > 1+strings.Count(user, "\n") {
		moved.Line, moved.Column = 0, 0
	}
	return &moved
}
