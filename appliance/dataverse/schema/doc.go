// Package schema describes what a Dataverse environment holds: tables, columns,
// relationships, alternate keys and choices. It promises a plain, indexed,
// file-storable picture of the metadata (dataverse-web-api.md, section 12) that
// check, stage, plan, load and the emulator all read, so that they agree on names
// and types without a network.
//
// Words: a table has columns; a lookup column points to one or several target
// tables, each through a navigation property whose name is case-sensitive
// (section 4.6); a choice is a set of options, labelled integers; an N:N
// relationship has an intersect table.
//
// The package does no I/O beyond the reader or writer it is handed and knows
// nothing of HTTP: the JSON shapes of EntityDefinitions belong to who speaks them.
package schema
