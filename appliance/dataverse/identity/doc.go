// Package identity gives the tokens with which requests are signed. It promises that
//
//   - a token is fetched once for all who ask at the same time, kept, and renewed some
//     minutes before it ends, so that no request waits for a renewal as a rule;
//   - a token that the service refuses is forgotten, and the next one is a new one;
//   - an error says in plain words what is wrong with the sign-in and what to do, and
//     never holds a secret or a token.
//
// Words: a tenant is the directory that knows the application; a client is the
// application's id; the scope is what a token is for, {environment}/.default
// (dataverse-web-api.md 2).
//
// It stores nothing on disk and reads no configuration of ours; the kinds that find
// their settings in the process's environment (managed and workload identity, the
// default chain) read it through azidentity.
package identity
