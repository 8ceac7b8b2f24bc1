// Package duckstage is the stage: one DuckDB file that holds the ingested sources,
// the tables made from them, and the bookkeeping of both.
//
// It promises: one process at a time writes the file, and another is told which; a
// commit survives kill -9; a query is cancelled when its context is; reading rows
// (Scan) takes the same memory for a thousand rows as for a hundred million; a
// snapshot is consistent, and taking one never lets go of the file's lock.
//
// Layout of the file:
//
//   - schema source: one relation for each ingested source, by the source's name
//   - schema main: one relation for each table of the target, by its logical name
//   - schema dm: meta, tables, gone, rejects, sources, and the data behind the relations,
//     in tables that are never changed once they are complete
//
// Words: a source is where rows come from; a relation is a staged table, ready to be
// sent; a generation is one staging of all of them.
//
// What it does not do: it knows no Dataverse metadata, no mapping and no ledger, and
// it decides nothing. Packages ingest and transform fill it and speak SQL through
// Conn; only this package knows the driver. DuckDB's facts are from engines.md, part I.
package duckstage
