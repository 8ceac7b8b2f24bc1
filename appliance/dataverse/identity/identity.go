package identity

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"
)

// Kind is a way to sign in.
type Kind string

// The kinds; config has the same names.
const (
	Default          Kind = "default" // the first of azidentity's chain that works
	ClientSecret     Kind = "client-secret"
	Certificate      Kind = "certificate"
	ManagedIdentity  Kind = "managed-identity"
	WorkloadIdentity Kind = "workload-identity"
	AzureCLI         Kind = "azure-cli"
	DeviceCode       Kind = "device-code"
	Token            Kind = "token" // a ready one, in Options.Token
	None             Kind = "none"  // for an emulator: a token that means nothing
)

// dummyToken is what None sends; only an emulator takes it.
const dummyToken = "emulator"

// Options say who signs in, how, and for what.
type Options struct {
	Kind        Kind   // "": Default
	Tenant      string // directory id or domain
	Client      string // application id
	Secret      string // client secret, or the certificate file's password
	Certificate string // path of a PEM or PFX file
	Token       string // ready
	Resource    string // the environment's URL
	Cloud       string // public ("" too), usgov, china
	// Prompt shows a person what to do to sign in with a device code.
	Prompt func(message string)
	HTTP   *http.Client // nil: azidentity's own
}

// Source gives tokens of one identity. Its methods may be called at once from many
// goroutines.
type Source struct {
	fetch func(ctx context.Context) (grant, error) // a token that lasts
	renew func() error                             // forget what fetch may have kept; nil: nothing

	mu      sync.Mutex // protects what follows
	token   string
	ends    time.Time // of the token; zero: not known
	renewal time.Time // from when on a new one is fetched
	running *fetching // under way; nil: none
	only    bool      // there is no way to get another token, or the last try failed
}

// grant is a token and its times.
type grant struct {
	token         string
	ends, renewal time.Time
}

// fetching is one fetch that several may wait for.
type fetching struct {
	done chan struct{}
	err  error
}

// When a token is renewed.
const (
	beforeEnd   = 5 * time.Minute  // a token lives 60 to 90 minutes (dataverse-web-api.md 2)
	retryRenew  = 30 * time.Second // after a renewal that failed while the old one is good
	fetchWithin = 2 * time.Minute
)

// New makes a Source. It checks the options but signs in only when asked for a token.
func New(o Options) (*Source, error) {
	if o.Kind == "" {
		o.Kind = Default
	}
	switch o.Kind {
	case None:
		return fixed(dummyToken), nil
	case Token:
		if o.Token == "" {
			return nil, &Error{Message: "no token given"}
		}
		return fixed(o.Token), nil
	}
	scope, err := scope(o.Resource)
	if err != nil {
		return nil, err
	}
	if err := o.check(); err != nil {
		return nil, err
	}
	return newAzure(o, scope)
}

// fixed is a Source of one token; it cannot be renewed.
func fixed(token string) *Source {
	s := &Source{token: token, ends: endOf(token), only: true}
	s.fetch = func(context.Context) (grant, error) {
		return grant{}, &Error{Message: "the service refused the token given, and there is no way to get another: it may have ended"}
	}
	return s
}

// scope is what to ask a token for: the environment's URL with /.default.
func scope(resource string) (string, error) {
	u, err := url.Parse(resource)
	if err != nil || u.Host == "" || u.Scheme != "https" {
		return "", &Error{Message: "a token needs the environment's address, such as https://acme.crm4.dynamics.com"}
	}
	return "https://" + u.Host + "/.default", nil
}

// check finds options that are missing for the kind.
func (o Options) check() error {
	need := func(value, what string) error {
		if value == "" {
			return &Error{Message: fmt.Sprintf("sign-in by %s needs the %s", o.Kind, what)}
		}
		return nil
	}
	var err error
	switch o.Kind {
	case ClientSecret:
		err = firstError(need(o.Tenant, "tenant"), need(o.Client, "client"), need(o.Secret, "secret"))
	case Certificate:
		err = firstError(need(o.Tenant, "tenant"), need(o.Client, "client"), need(o.Certificate, "certificate file"))
	case DeviceCode:
		if o.Prompt == nil {
			err = &Error{Message: "sign-in by device-code needs a person to ask"}
		}
	case Default, ManagedIdentity, WorkloadIdentity, AzureCLI:
	default:
		err = &Error{Message: fmt.Sprintf("unknown way to sign in %q", o.Kind)}
	}
	return err
}

func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// Token returns a token that is good for some minutes more. Within beforeEnd of its
// end a new one is fetched; if that fails while the old one is still good, the old
// one is returned and the fetch tried again later.
func (s *Source) Token(ctx context.Context) (string, error) {
	for {
		s.mu.Lock()
		now := time.Now()
		if s.token != "" && (s.renewal.IsZero() || now.Before(s.renewal)) {
			defer s.mu.Unlock()
			return s.token, nil
		}
		f := s.running
		if f == nil {
			f = &fetching{done: make(chan struct{})}
			s.running = f
			// Not the caller's context: others wait for the same fetch.
			go s.run(context.WithoutCancel(ctx), f)
		}
		if s.token != "" && now.Before(s.ends) { // good while the new one is fetched
			defer s.mu.Unlock()
			return s.token, nil
		}
		s.mu.Unlock()
		select {
		case <-f.done:
			if f.err != nil {
				return "", f.err
			}
		case <-ctx.Done():
			return "", fmt.Errorf("wait for a token: %w", context.Cause(ctx))
		}
	}
}

// run fetches a token and stores it.
func (s *Source) run(ctx context.Context, f *fetching) {
	ctx, cancel := context.WithTimeout(ctx, fetchWithin)
	defer cancel()
	g, err := s.fetch(ctx)
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	switch {
	case err != nil && s.token != "" && now.Before(s.ends):
		s.renewal, s.only = now.Add(retryRenew), true
	case err != nil:
		f.err = err
	default:
		s.token, s.ends, s.renewal, s.only = g.token, g.ends, renewalOf(g, now), false
	}
	s.running = nil
	close(f.done)
}

// Ends is when nobody can sign in any more as things stand: the end of a token that is the
// only one, or that could not be renewed. Zero: there is no such time, or it is not known.
func (s *Source) Ends() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.only {
		return time.Time{}
	}
	return s.ends
}

// endOf reads the end of a token that is a JSON Web Token (RFC 7519, exp), unverified: the
// service judges it. Zero for any other.
func endOf(token string) time.Time {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return time.Time{}
	}
	b, err := base64.RawURLEncoding.DecodeString(parts[1])
	var claims struct {
		Exp float64 `json:"exp"`
	}
	if err != nil || json.Unmarshal(b, &claims) != nil || claims.Exp <= 0 {
		return time.Time{}
	}
	return time.Unix(int64(claims.Exp), 0)
}

// renewalOf is when to fetch the next token: when the grant says so, and otherwise
// beforeEnd of its end, or half its life for one that is short.
func renewalOf(g grant, now time.Time) time.Time {
	life := g.ends.Sub(now)
	at := g.ends.Add(-min(beforeEnd, life/2))
	if !g.renewal.IsZero() && g.renewal.After(now) && g.renewal.Before(at) {
		return g.renewal
	}
	return at
}

// Expire forgets a token that the service refused. A token that was replaced in the
// meantime is left alone.
func (s *Source) Expire(token string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.token != token || token == "" {
		return
	}
	s.token, s.ends, s.renewal = "", time.Time{}, time.Time{}
	if s.renew != nil {
		_ = s.renew() // it worked before with the same options; if not, fetch tells
	}
}
