// Package emulator is a Dataverse on loopback: an http.Handler that answers the
// Web API as dataverse-web-api.md (the reference) describes it, keeps
// what was written, and fails on order. Section numbers in comments are the
// reference's.
//
// It promises to be strict where the service is strict: names are case-sensitive,
// values are checked against the schema, keys are unique, bulk actions and change
// sets are all or nothing, limits are counted per user and server. It shares only
// the schema package with the client, so that the two cannot agree on a mistake.
//
// Words: a call is one operation, an HTTP request or one part of a $batch; a tx is
// the store held still for a call, with an undo for what it wrote; a value is one
// column's content in typed form; a row is a record's encoded values.
//
// The way of a request: server.go takes it in (token, limits, body), route.go finds
// its handler, decode.go and check.go read its body, create.go and update.go apply
// it inside a transaction of the store (tx.go, store.go), and server.go answers.
// faults.go can step in before and after the handler.
//
// It does not run plug-ins or workflows, checks no privileges beyond the faults
// ordered for it, and answers any bearer token.
package emulator
