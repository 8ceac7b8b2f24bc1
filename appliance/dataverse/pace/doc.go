// Package pace decides how many requests of one user may be under way at once and
// how long each has to wait. It promises that
//
//   - never more than the window's number of requests are in flight; the window
//     grows by small steps while that brings throughput, and shrinks at once when
//     the server throttles (dataverse-web-api.md 8.1, 8.4);
//   - a Retry-After holds every request of the user, not only the one that got it;
//   - once the server has said that too many requests came, they are spread evenly
//     at the rate it bore;
//   - every wait ends when its context ends.
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
