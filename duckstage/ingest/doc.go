// Package ingest brings sources into the stage: delimited text, Parquet, JSON,
// newline-delimited JSON, workbooks and packages of the Configuration Migration Tool;
// tables and queries of PostgreSQL, MySQL, SQL Server and SQLite; and tables of a Dataverse
// environment. Each source becomes one table of schema source, or several where it has several.
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
// Columns that are masked are masked as they are read: no original gets into the stage.
//
// What it does not do: it knows neither the target nor what a value is for. It speaks no HTTP:
// an environment is read through a reader that the caller hands it.
package ingest
