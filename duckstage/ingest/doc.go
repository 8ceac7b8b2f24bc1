// Package ingest brings sources into the stage: delimited text, Parquet, JSON and
// newline-delimited JSON, each source into one table of schema source.
//
// It promises: nothing is lost or changed on the way (text stays text unless types are
// asked for: a leading zero, a long number and an odd date survive); a line that cannot
// be read is set aside with its file, number, reason and text, and does not stop the
// rest; a header or a delimiter that is not what was said is an error before the first
// row; and a new table replaces the old one when it is complete, or not at all.
//
// Every table has a column dm_created_at, the time of arrival, and dm_file, the file a
// row came from, when the source has more than one file.
//
// What it does not do: it interprets no value, and it reads files only.
package ingest
