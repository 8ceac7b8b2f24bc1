// Package emulator is a Dataverse on loopback: an http.Handler that answers the
// Web API as dataverse-web-api.md (the reference) describes it, keeps
// what was written, and fails on order. Section numbers in comments are the
// reference's.
//
// It promises to be strict where the service is strict: names are case-sensitive,
// values are checked against the schema, keys are unique, bulk actions and change
// sets are all or nothing (but on elastic tables), limits are counted per user and
// server. It shares only the schema package with the client, so that the two cannot
// agree on a mistake; public clients (testdata) drive all of their functions against it
// in tests.
//
// Words: a call is one operation, an HTTP request or one part of a $batch; a tx is
// the store held still for a call, with an undo for what it wrote; a value is one
// column's content in typed form; a row is a record's encoded values; the model is
// the schema made ready for look-ups.
//
// The way of a request: server.go takes it in (token, limits, body), route.go finds
// its handler, decode.go and check.go read its body, create.go and update.go apply
// it inside a transaction of the store (tx.go, store.go), and server.go answers.
// faults.go can step in before and after the handler. Beside the rows of the Web API:
//
//	query*.go, filter*.go              reading by OData
//	fetch*.go, sql*.go                 FetchXML, and SQL that is put into it
//	meta*.go, csdl.go                  metadata; alter*.go changes it, with all calls held off
//	bulk.go, elastic.go, batch.go      many rows at once
//	file*.go, note.go                  file and image columns, notes, attachments
//	security.go, people.go             roles, teams, business units
//	jobs.go, service.go                BulkDelete; search and background operations
//	limits.go, cost.go                 service protection limits, costs, latency
//	state*.go                          the file that keeps the data
//
// Time: durations (windows, costs, latencies, jobs) pass Options.Speed times faster
// than real time; dates are the machine's.
//
// It does not run plug-ins or workflows, and has no duplicate detection rules but
// Options.DuplicateRules. It checks privileges only with Options.RolePrivileges, at no
// depth but the whole organisation, and answers any bearer token.
package emulator
