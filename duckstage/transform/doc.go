// Package transform makes the staged tables from the sources: for each one it runs the
// user's SELECT, casts the values to the types the target takes, gives every row a
// number and a record id, resolves the lookups, and says of each row that cannot be
// sent why.
//
// It promises: the same legacy key keeps its number and its record id in every later
// staging, also after it was gone for a while; rows lie in the order of their numbers;
// all tables of a Run become visible together at its end, or none does, also after a
// kill; and a fault of one row never stops the others.
//
// The relation of a table (schema main, by the table's name) has the columns
//
//	dm_seq         the row's number in its table, from 0
//	dm_id          UUID, the record id
//	legacy_key     the source's own id, unique in the table
//	dm_created_at  when the row arrived
//	dm_owed        UTINYINT, which later passes the row owes (Table.Owed)
//	dm_hold        null, or why the row must not be sent
//	dm_change      I new, U changed, N the same as in the staging before
//	dm_repairs     null, or what was mended in the row before it was judged
//
// then the plain columns, and for each lookup its column as UUID, and with several
// targets <column>__table, the table it points to, and for each list its column as text.
// Rows that are no longer supplied are
// in dm.gone, with their numbers and ids, and the two ends (end1, end2) of a link.
//
// The user's SELECT finds names among the sources first and then among the relations of
// the staging before. It gives a lookup's value as the target's legacy key, or, where
// the target is not staged, its GUID; and where there are several targets, as
// ref('table', key) or existing('table', guid). Rows may also be named by a column,
// ref('table', 'column', value) and existing('table', 'column', value), and users and teams
// by owner(text); see find.go. A column may have texts that stand for values, of which those
// that have none are in dm.unmapped; see texts.go. A list's value is a list of these and of
// party_address('text').
//
// Most relations are tables of their own (the view of a relation reads one table of
// schema dm). A light one reads the ingested source instead and casts as it is read; see
// light.go. Who reads a relation sees no difference.
//
// What it does not do: it knows no Dataverse metadata. Which columns there are, of what
// type, and what is checked, its caller says.
package transform
