// Package pace decides how many requests of one user may be under way at once and
// how long each has to wait. It promises that
//
//   - never more than the window's number of requests are in flight; the window grows
//     by steps while that brings throughput, and shrinks when a smaller one brings as
//     much, and at once when the server takes fewer (dataverse-web-api.md 8.1, 8.4);
//   - requests and execution time are spent as the service grants them: freely at
//     first, then evenly at the largest rate that does not meet the limit, so that a
//     throttle is rare;
//   - a Retry-After holds every request of the user, not only the one that got it;
//   - while no service is there, one request at a time finds out whether it is back;
//   - every wait ends when its context ends.
//
// How the limits are used up: each of them is a budget over a sliding window of time.
// The limiter keeps what it spent in the last 300 seconds: requests, and execution
// time, which it takes to be the answer time without the network's. Up to two fifths
// of the limit go out as fast as the server works, so that a small load ends soon.
// Beyond that, the rate is such that at each moment to come no more has been spent
// than is left now and will have left the window by then. What it counts is not what
// a server counts, as there may be several servers, other limits, and others who send
// as the same user. So the limits are not believed but measured: each answer says
// what its server still grants, and the mean of (used there / spent here) scales the
// limit. Where answers say nothing, nothing is spread until the first throttle, which
// is such a measurement too; then a little more is tried in each quiet window.
// Throttles remain the last word.
//
// Words: a permit is the right to send one request; the window is the number of
// permits that may be out at once; a throttle is what the server does (429), a
// hold is the time in which no permit is given because of one; work is what a
// request carries, counted in records.
//
// The limits of the service are per user and web server (8.1): one Limiter belongs
// to one user, shared by all that send as that user. The package knows no HTTP: who
// sends reports each answer as an Outcome. It does not retry and it does not count
// attempts.
package pace
