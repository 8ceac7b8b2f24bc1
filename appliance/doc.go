// Package appliance is the house: it opens the parts and has one method a phase.
// Its comment is the tour.
//
// The data's way is the ground floor, read from left to right:
//
//	source → duckstage → ledger → dataverse → ledger        with backup beside it
//
// A source file is ingested into the stage, a DuckDB file, as it is
// (duckstage/ingest). One SELECT a target table makes rows with the target's
// columns (duckstage/transform), checked against the target's metadata
// (preflight, mapping), each with a legacy key, a record id and what it owes later.
// The ledger, a bbolt file, says for every row what is to be done and how far that
// is. plan orders the tables; load streams the rows out of the stage as JSON to the
// Web API (dataverse), noting each intent and each outcome in the ledger. backup
// copies ledger, stage and settings while all that goes on. A journal beside the
// ledger says what records had before, for the way back. reconcile compares the
// end with the beginning. dataverse/emulator stands in for Dataverse.
//
// A Project is one folder:
//
//	migration.yaml   settings (config)
//	schema.json      the target's tables and columns (dataverse/schema)
//	transform/       one <table>.sql a target table
//	sources/, maps/  what is migrated, wherever migration.yaml says
//	work/            stage.duckdb, ledger.bolt, undo.log, project.json, target.json, temp/: ours
//	snapshots/       copies
//
// One process at a time works on a project; whoever else wants to look at it
// (status, errors, sql, snapshot) asks that process over a socket in work/.
//
// Where to look, by what is done with a project (files by how their names begin):
//
//	the folder               project, modes, owner, pin, notes, auditing, logging, volume, disk
//	sources into rows        stage, restage, binding, scripts, source, environment, masking, guard, sync, views, relations
//	what the target is       pull, target, online, rights, drift
//	writing transforms       draft, profiling, options, owners, references, preview
//	before a record leaves   checking, datacheck, masked, needles, dryrun, inspect
//	how long it takes        estimating, forecast, grading, calibrat, profile, ratesfile, rehearse, survey, compare
//	the load                 loading, users, route, lanes, split, ids, files, gone, restored, heirs, emptied, marks
//	what failed              failure, retrying, resending, exporting, mending, mendedfile, repair, bookkeeping
//	orders of phases         delta, cutover, rollback, rollingback
//	the end                  reconcil, signoff, report, workbook, certificate, discard
//	copies                   snapshot, restoring, watchedparts
//	who looks and steers     viewing, looking, browsing, asking, lookout, watching, control, port, steering
//	what they are told       status, remaining, nextsteps, figures, pulse, machine, cputime
//	who is called            alerting, caller, channel, mailbox
package appliance
