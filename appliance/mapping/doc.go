// Package mapping turns a staged row into a Dataverse record. It promises that
// what a transform's SELECT yields is either written exactly as
// dataverse-web-api.md section 4 says, or refused by Bind with the reason, before
// anything is staged or sent.
//
// Bind compares the SELECT's columns with the table's schema and says, for each,
// how it is typed in the stage and written in JSON. A column's name is the target
// column's logical name. A lookup column carries the legacy key of the row it
// points to when that row is staged by this migration, and a record id otherwise.
// The loader asks the Table for an Encoder a pass: it appends JSON straight from
// column.Batch values, without reflection and without an allocation a value.
//
// The package is pure: no files, no network, no clock.
package mapping
