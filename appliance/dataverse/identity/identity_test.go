package identity

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// TestTokenIsFetchedOnce: a hundred who ask at once wait for one fetch.
func TestTokenIsFetchedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fetched := 0
		s := &Source{fetch: func(context.Context) (grant, error) {
			fetched++
			time.Sleep(time.Second)
			return grant{token: "one", ends: time.Now().Add(time.Hour)}, nil
		}}
		var wg sync.WaitGroup
		for range 100 {
			wg.Go(func() {
				if got, err := s.Token(t.Context()); got != "one" || err != nil {
					t.Errorf("Token() = %q, %v", got, err)
				}
			})
		}
		wg.Wait()
		if fetched != 1 {
			t.Errorf("fetched %d times", fetched)
		}
	})
}

// TestTokenIsRenewedBeforeItEnds: nobody waits for the renewal.
func TestTokenIsRenewedBeforeItEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := 0
		s := &Source{fetch: func(context.Context) (grant, error) {
			n++
			time.Sleep(2 * time.Second)
			return grant{token: fmt.Sprint("token ", n), ends: time.Now().Add(time.Hour)}, nil
		}}
		want := func(token string, wait time.Duration) {
			t.Helper()
			began := time.Now()
			if got, err := s.Token(t.Context()); got != token || err != nil || time.Since(began) != wait {
				t.Errorf("Token() = %q, %v after %v; want %q after %v", got, err, time.Since(began), token, wait)
			}
		}
		want("token 1", 2*time.Second)
		time.Sleep(54 * time.Minute)
		want("token 1", 0)
		time.Sleep(2 * time.Minute)
		want("token 1", 0) // the renewal begins
		time.Sleep(3 * time.Second)
		want("token 2", 0)
	})
}

// TestRenewalThatFails: the old token serves while it is good, and after that the
// error shows.
func TestRenewalThatFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := 0
		s := &Source{fetch: func(context.Context) (grant, error) {
			if n++; n > 1 {
				return grant{}, &Error{Message: "gone"}
			}
			return grant{token: "old", ends: time.Now().Add(time.Hour)}, nil
		}}
		if _, err := s.Token(t.Context()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(56 * time.Minute)
		for range 3 {
			if got, err := s.Token(t.Context()); got != "old" || err != nil {
				t.Errorf("Token() = %q, %v while the old one is good", got, err)
			}
			time.Sleep(time.Second)
		}
		if n != 2 {
			t.Errorf("fetched %d times; a failed renewal waits half a minute", n)
		}
		time.Sleep(5 * time.Minute)
		if _, err := s.Token(t.Context()); err == nil || err.Error() != "sign in: gone" {
			t.Errorf("error %v after the old one ended", err)
		}
	})
}

// TestExpire: a refused token is not given out again, but one that was replaced
// meanwhile stays.
func TestExpire(t *testing.T) {
	n, renewed := 0, 0
	s := &Source{
		fetch: func(context.Context) (grant, error) {
			n++
			return grant{token: fmt.Sprint(n), ends: time.Now().Add(time.Hour)}, nil
		},
		renew: func() error { renewed++; return nil },
	}
	first, _ := s.Token(t.Context())
	s.Expire(first)
	second, _ := s.Token(t.Context())
	s.Expire(first) // a slower request with the same token
	third, _ := s.Token(t.Context())
	if first == second || second != third || renewed != 1 {
		t.Errorf("tokens %q %q %q, renewed %d times", first, second, third, renewed)
	}
}

// TestTokenWaitEndsWithContext: who waits for a fetch can give up, and the fetch
// still serves the others.
func TestTokenWaitEndsWithContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &Source{fetch: func(context.Context) (grant, error) {
			time.Sleep(time.Minute)
			return grant{token: "late", ends: time.Now().Add(time.Hour)}, nil
		}}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := s.Token(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error %v", err)
		}
		if got, err := s.Token(t.Context()); got != "late" || err != nil {
			t.Errorf("Token() = %q, %v", got, err)
		}
	})
}

// entra answers as the sign-in service does, over a transport of its own.
type entra struct {
	status int
	answer string

	mu   sync.Mutex
	form url.Values // of the last token request
	host string
}

func (e *entra) RoundTrip(r *http.Request) (*http.Response, error) {
	answer, status := "", http.StatusOK
	switch {
	case strings.HasSuffix(r.URL.Path, "/.well-known/openid-configuration"):
		base := "https://" + r.URL.Host + "/t"
		answer = fmt.Sprintf(`{"token_endpoint":"%s/oauth2/v2.0/token","issuer":"%s/v2.0","authorization_endpoint":"%s/oauth2/v2.0/authorize"}`, base, base, base)
	case strings.Contains(r.URL.Path, "/discovery/instance"):
		answer = fmt.Sprintf(`{"tenant_discovery_endpoint":"https://%s/t/v2.0/.well-known/openid-configuration","metadata":[]}`, r.URL.Host)
	default:
		_ = r.ParseForm()
		e.mu.Lock()
		e.form, e.host = r.PostForm, r.URL.Host
		e.mu.Unlock()
		answer, status = e.answer, e.status
	}
	return &http.Response{
		StatusCode: status, Status: http.StatusText(status), Request: r, Body: io.NopCloser(strings.NewReader(answer)),
		Header: http.Header{"Content-Type": {"application/json"}},
	}, nil
}

const theSecret = "s3cr3t~value"

func secretOptions(e *entra) Options {
	return Options{
		Kind: ClientSecret, Tenant: "11111111-1111-4111-8111-111111111111", Client: "22222222-2222-4222-8222-222222222222",
		Secret: theSecret, Resource: "https://acme.crm4.dynamics.com/", HTTP: &http.Client{Transport: e},
	}
}

// TestClientSecret: the request asks for the environment's scope, and after a
// refusal a new token is really fetched.
func TestClientSecret(t *testing.T) {
	e := &entra{status: 200, answer: `{"token_type":"Bearer","expires_in":3599,"access_token":"first"}`}
	s, err := New(secretOptions(e))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := s.Token(t.Context()); got != "first" || err != nil {
		t.Fatalf("Token() = %q, %v", got, err)
	}
	if got := e.form.Get("scope"); !strings.HasPrefix(got, "https://acme.crm4.dynamics.com/.default") {
		t.Errorf("scope %q", got)
	}
	e.answer = `{"token_type":"Bearer","expires_in":3599,"access_token":"second"}`
	s.Expire("first")
	if got, err := s.Token(t.Context()); got != "second" || err != nil {
		t.Errorf("after Expire: Token() = %q, %v", got, err)
	}
}

// TestCloud: each cloud signs in at its own service, for the environment asked for.
func TestCloud(t *testing.T) {
	for cloud, want := range map[string]struct{ host, resource string }{
		"":       {"login.microsoftonline.com", "https://acme.crm4.dynamics.com"},
		"public": {"login.microsoftonline.com", "https://acme.crm4.dynamics.com"},
		"usgov":  {"login.microsoftonline.us", "https://acme.crm.microsoftdynamics.us"},
		"china":  {"login.chinacloudapi.cn", "https://acme.crm.dynamics.cn"},
	} {
		t.Run(cloud, func(t *testing.T) {
			e := &entra{status: 200, answer: `{"token_type":"Bearer","expires_in":3599,"access_token":"x"}`}
			o := secretOptions(e)
			o.Cloud, o.Resource = cloud, want.resource
			s, err := New(o)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := s.Token(t.Context()); err != nil || e.host != want.host {
				t.Errorf("host %q, error %v", e.host, err)
			}
			if got := e.form.Get("scope"); !strings.HasPrefix(got, want.resource+"/.default") {
				t.Errorf("scope %q", got)
			}
		})
	}
}

// TestCertificate: the key signs an assertion in place of the secret.
func TestCertificate(t *testing.T) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, NotAfter: time.Now().Add(time.Hour)}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "app.pem")
	data := append(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert}),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})...)
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	e := &entra{status: 200, answer: `{"token_type":"Bearer","expires_in":3599,"access_token":"x"}`}
	o := secretOptions(e)
	o.Kind, o.Secret, o.Certificate = Certificate, "", path
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Token(t.Context()); err != nil || e.form.Get("client_assertion") == "" {
		t.Errorf("assertion %q, error %v", e.form.Get("client_assertion"), err)
	}
	o.Certificate = filepath.Join(t.TempDir(), "missing.pem")
	if _, err := New(o); err == nil || !strings.Contains(err.Error(), "read certificate") {
		t.Errorf("a missing file: %v", err)
	}
}

// TestErrors: each error says what to do, whether waiting helps, and no secret.
func TestErrors(t *testing.T) {
	for _, test := range []struct {
		name      string
		status    int
		answer    string
		want      string
		temporary bool
	}{
		{"wrong secret", 401, `{"error":"invalid_client","error_description":"AADSTS7000215: Invalid client secret provided s3cr3t~value. Trace ID: x"}`,
			"the client secret is wrong", false},
		{"ended secret", 401, `{"error":"invalid_client","error_description":"AADSTS7000222: The provided client secret keys for app are expired."}`,
			"the client secret has ended", false},
		{"unknown application", 400, `{"error":"unauthorized_client","error_description":"AADSTS700016: Application with identifier 'x' was not found."}`,
			"the application (client id) is not known in this tenant", false},
		{"unknown tenant", 400, `{"error":"invalid_request","error_description":"AADSTS90002: Tenant 'x' not found."}`,
			"the tenant does not exist", false},
		{"unknown environment", 400, `{"error":"invalid_resource","error_description":"AADSTS500011: The resource principal named x was not found."}`,
			"the environment is not known in this tenant", false},
		{"a code we do not know", 400, `{"error":"x","error_description":"AADSTS123456789: Something with s3cr3t~value in it. Trace ID: y Correlation ID: z"}`,
			"Something with [secret] in it.", false},
	} {
		t.Run(test.name, func(t *testing.T) {
			s, err := New(secretOptions(&entra{status: test.status, answer: test.answer}))
			if err != nil {
				t.Fatal(err)
			}
			_, err = s.Token(t.Context())
			var e *Error
			if !errors.As(err, &e) {
				t.Fatalf("error %v", err)
			}
			if !strings.Contains(e.Error(), test.want) || e.Temporary() != test.temporary || strings.Contains(fmt.Sprintf("%+v", err), theSecret) {
				t.Errorf("error %q, temporary %v", e.Error(), e.Temporary())
			}
		})
	}
}

// TestUnreachable: without a network the error is one that may pass.
func TestUnreachable(t *testing.T) {
	a := &azure{options: secretOptions(nil)}
	err := a.explain(errors.New("ClientSecretCredential: dial tcp: lookup login.microsoftonline.com: no such host"))
	var e *Error
	if !errors.As(err, &e) || !e.Temporary() || !strings.Contains(err.Error(), "cannot reach the sign-in service") {
		t.Errorf("error %v", err)
	}
}

// TestOptions: what is missing is named before anything is sent.
func TestOptions(t *testing.T) {
	for _, test := range []struct {
		o    Options
		want string
	}{
		{Options{Kind: ClientSecret, Resource: "https://a.crm.dynamics.com"}, "needs the tenant"},
		{Options{Kind: ClientSecret, Tenant: "t", Client: "c", Resource: "https://a.crm.dynamics.com"}, "needs the secret"},
		{Options{Kind: Certificate, Tenant: "t", Client: "c", Resource: "https://a.crm.dynamics.com"}, "needs the certificate file"},
		{Options{Kind: AzureCLI}, "needs the environment's address"},
		{Options{Kind: AzureCLI, Resource: "http://a.crm.dynamics.com"}, "needs the environment's address"},
		{Options{Kind: "magic", Resource: "https://a.crm.dynamics.com"}, "unknown way to sign in"},
		{Options{Kind: DeviceCode, Resource: "https://a.crm.dynamics.com"}, "needs a person"},
		{Options{Kind: ClientSecret, Tenant: "t", Client: "c", Secret: "s", Cloud: "mars", Resource: "https://a.crm.dynamics.com"}, "unknown cloud"},
		{Options{Kind: Token}, "no token given"},
	} {
		if _, err := New(test.o); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%+v: error %v, want %q", test.o, err, test.want)
		}
	}
}

// TestReadyToken: it is given out as it is; once refused there is no other.
func TestReadyToken(t *testing.T) {
	s, err := New(Options{Kind: Token, Token: "ready"})
	if err != nil {
		t.Fatal(err)
	}
	if got, _ := s.Token(t.Context()); got != "ready" {
		t.Errorf("Token() = %q", got)
	}
	s.Expire("ready")
	if _, err := s.Token(t.Context()); err == nil || strings.Contains(err.Error(), "ready") {
		t.Errorf("error %v", err)
	}
	if s, err := New(Options{Kind: None}); err != nil {
		t.Error(err)
	} else if got, _ := s.Token(t.Context()); got == "" {
		t.Error("none gives no token")
	}
}

// TestEndIsToldWhereThereIsNoOtherToken: a ready token has the end that stands in it; one
// that can be renewed has none until renewing fails.
func TestEndIsToldWhereThereIsNoOtherToken(t *testing.T) {
	claims := base64.RawURLEncoding.EncodeToString([]byte(`{"aud":"x","exp":1796457600}`))
	for token, want := range map[string]time.Time{
		"e30." + claims + ".sig": time.Unix(1796457600, 0), "e30." + claims: {}, "e30.###.sig": {}, "e30.e30.sig": {}, "ready": {},
	} {
		s, err := New(Options{Kind: Token, Token: token})
		if err != nil {
			t.Fatal(err)
		}
		if got := s.Ends(); !got.Equal(want) {
			t.Errorf("%s ends at %v, want %v", token, got, want)
		}
	}
	synctest.Test(t, func(t *testing.T) {
		fails := false
		s := &Source{}
		s.fetch = func(context.Context) (grant, error) {
			if fails {
				return grant{}, errors.New("no")
			}
			return grant{token: "t", ends: time.Now().Add(time.Hour)}, nil
		}
		look := func() time.Time {
			if _, err := s.Token(t.Context()); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			return s.Ends()
		}
		begun := time.Now()
		if got := look(); !got.IsZero() {
			t.Errorf("a token that can be renewed ends at %v", got)
		}
		fails = true
		time.Sleep(56 * time.Minute)
		if got := look(); !got.Equal(begun.Add(time.Hour)) {
			t.Errorf("renewing fails, and the end is %v", got)
		}
		fails = false
		time.Sleep(time.Minute)
		if got := look(); !got.IsZero() {
			t.Errorf("renewed, and the end is %v", got)
		}
	})
}
