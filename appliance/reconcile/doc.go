// Package reconcile answers, after a load: did every record arrive as meant? It
// reads every row of each target table once and compares the rows with the ledger
// (is it there, should it be there?) and with the stage (has it the values that
// were staged?). It changes nothing, neither here nor there.
//
// Words. A record is ours when its id is one that this migration assigned, or kept
// from the source; every other row of the target is one of the others. Then
//
//   - missing: the ledger says that the target has the record, and it has not;
//   - extra: the target has a record of ours that the ledger says it has not, or
//     a link between two records of ours that nobody staged;
//   - different: a record of which at least one column does not read back as staged;
//   - duplicate: another row has the alternate key of a record of ours, or a
//     record or link of ours comes twice.
//
// What a staged value reads back as is dataverse-web-api.md section 4: an empty
// text is null, numbers are rounded to the column's precision, times are kept to
// the second, choices have no order, overriddencreatedon lands in createdon. Not
// compared is what the load did not write: values of a record whose update is yet
// to be sent, lookups and states of a later pass that is yet to come, columns that
// the service ignores, and a null where the service puts a value of its own (owner,
// currency, state, defaults of choices, auto-numbers). Nor are images, which read
// back as thumbnails.
//
// Beside the rows go figures of both sides (figures.go), a sample that people look at
// (samples.go), and a verdict by what the settings allow (allow.go). There are four ways
// to read: everything, in slices at once (slices.go); by row versions, in full only what
// has changed since it was found equal (changed.go), which is also how one that was
// interrupted is gone on with (resume.go); a sample by id (sampling.go); and
// not at all, where the service counts and adds (quick.go). Of an activity the parties are
// compared too (parties.go), of a file its name and size (attached.go), not its content.
//
// Memory is flat: a bit for each record of the table, for each slice that is read at once
// one group of target rows with their values, a million distinct values, over all columns
// of the table, of some 30 bytes, and the sizes of as many files, of some 50. The target is
// read in pages of 5000 by primary key, which no 24-hour-old count and no 50,000-row limit
// spoils (dataverse-web-api.md 10.4, 10.8). Whoever writes to the target or the ledger
// meanwhile spoils the result.
package reconcile
