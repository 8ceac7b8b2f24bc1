// Package dataverse is the client of Microsoft Dataverse's Web API: typed requests
// in, typed results and errors out. It promises that
//
//   - every error says what became of the request, in its Kind: refused, undone,
//     never sent, or Lost, when that cannot be known. Nothing Lost is sent again
//     here: who knows the records' ids reads them back (Existing, Records) and decides;
//   - a throttle is absorbed: pace holds all requests of the user and the request goes
//     out again, without counting as an attempt;
//   - what was certainly not applied, or only reads, is tried again a few times; a
//     service that was there and is gone is waited for, for Options.Patience, by one
//     request at a time;
//   - what waits gives up at once when nothing new is to be begun (Stopping);
//   - a token is refreshed once when the service refuses it; no token and no body is
//     ever in an error or a log;
//   - bodies come ready-made and are sent as they are, without a copy or an
//     allocation for each record.
//
// Words: a table has an entity set, the name in its addresses; a bulk action takes
// many records of one table, all or nothing but on elastic tables; a batch is a
// $batch request, whose operations each have an outcome of their own; a link is an
// N:N relationship's pair of records.
//
// Facts are from dataverse-web-api.md, whose sections the comments name. The package
// does not make bodies, choose ids, order records or remember outcomes.
package dataverse
