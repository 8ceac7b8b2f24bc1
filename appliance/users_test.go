package appliance

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"dvmigrate/appliance/config"
	"dvmigrate/appliance/dataverse"
	"dvmigrate/appliance/dataverse/identity"
	"dvmigrate/appliance/dataverse/pace"
	"dvmigrate/appliance/dataverse/schema"
)

// service answers without a network, so that tests run in synthetic time.
type service func(user string, r *http.Request) (status int, header string)

func (s service) RoundTrip(r *http.Request) (*http.Response, error) {
	status, header := s(strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "), r)
	h := http.Header{}
	if name, value, ok := strings.Cut(header, ": "); ok {
		h.Set(name, value)
	}
	body := ""
	if status == http.StatusTooManyRequests {
		h.Set("Content-Type", "application/json")
		body = `{"error":{"code":"0x80072326","message":"Number of concurrent requests exceeded the limit of 52."}}`
	}
	return &http.Response{StatusCode: status, Header: h, Body: io.NopCloser(strings.NewReader(body)), Request: r}, nil
}

// crew makes n users of a service, with tokens 0, 1, ...
func crew(t *testing.T, n int, s service) *users {
	t.Helper()
	u := &users{}
	for i := range n {
		token, err := identity.New(identity.Options{Kind: identity.Token, Token: fmt.Sprint(i)})
		if err != nil {
			t.Fatal(err)
		}
		c, err := dataverse.New(dataverse.Options{URL: "https://a.example", Token: token, HTTP: &http.Client{Transport: s}, Limiter: pace.New(pace.Options{Start: 8, Max: 8})})
		if err != nil {
			t.Fatal(err)
		}
		u.each = append(u.each, &user{client: c})
	}
	return u
}

var accounts = &schema.Table{LogicalName: "account", EntitySet: "accounts", PrimaryID: "accountid"}

// TestUsersShareAlike: with equal users each sends about as much as the others, and
// two users send twice as much as one in the same time.
func TestUsersShareAlike(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		sent := map[string]int{}
		u := crew(t, 4, func(user string, _ *http.Request) (int, string) {
			time.Sleep(100 * time.Millisecond)
			mu.Lock()
			defer mu.Unlock()
			sent[user]++
			return http.StatusNoContent, ""
		})
		way, err := u.route(config.Headers{})
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		send(t, way, 32, 640)
		for user, n := range sent {
			if n < 155 || n > 165 {
				t.Errorf("user %s sent %d of 640 requests; want about 160 of each of 4", user, n)
			}
		}
		if took := time.Since(began); took > 2200*time.Millisecond {
			t.Errorf("took %v; 4 users with 8 requests each at 100 ms need 2 s", took)
		}
	})
}

// send sends n creates from workers at once.
func send(t *testing.T, way *route, workers, n int) {
	t.Helper()
	var wg sync.WaitGroup
	jobs := make(chan int, n)
	for i := range n {
		jobs <- i
	}
	close(jobs)
	for range workers {
		wg.Go(func() {
			for range jobs {
				if err := way.Create(t.Context(), accounts, []byte("{}")); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
}

// TestHeldUserIsPassedBy: while one user is held off for a minute, the requests that it
// was refused, and those that waited for it, go out as the other.
func TestHeldUserIsPassedBy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		sent, refused := map[string]int{}, 0
		u := crew(t, 2, func(user string, _ *http.Request) (int, string) {
			time.Sleep(10 * time.Millisecond)
			mu.Lock()
			defer mu.Unlock()
			if user == "0" && len(sent) > 0 {
				refused++
				return http.StatusTooManyRequests, "Retry-After: 60"
			}
			sent[user]++
			return http.StatusNoContent, ""
		})
		way, err := u.route(config.Headers{})
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		send(t, way, 64, 400)
		if took := time.Since(began); took > 3*time.Second {
			t.Errorf("took %v; one user alone needs half a second", took)
		}
		if sent["0"]+sent["1"] != 400 || sent["1"] < 380 || refused > 8 {
			t.Errorf("sent %v, want 400, nearly all as user 1", sent)
		}
		if total, wait := u.throttled(); total == 0 || wait != 0 {
			t.Errorf("throttled %d times, all wait %v", total, wait)
		}
	})
}

// TestAllUsersHeld: when nobody may send, the request waits for whoever is free the
// soonest; and a context that ends, ends that.
func TestAllUsersHeld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tries := map[string]int{}
		var order []string
		u := crew(t, 3, func(user string, _ *http.Request) (int, string) {
			order = append(order, user)
			if tries[user]++; tries[user] == 1 {
				return http.StatusTooManyRequests, "Retry-After: " + map[string]string{"0": "60", "1": "20", "2": "40"}[user]
			}
			return http.StatusNoContent, ""
		})
		way, err := u.route(config.Headers{})
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		if err := way.Create(t.Context(), accounts, []byte("{}")); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); took < 20*time.Second || took > 25*time.Second || !slices.Equal(order, []string{"0", "1", "2", "1"}) {
			t.Errorf("sent as %v after %v", order, took)
		}
		tries["0"], tries["1"], tries["2"] = 0, 0, 0
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		u2 := crew(t, 2, func(string, *http.Request) (int, string) { return http.StatusTooManyRequests, "Retry-After: 60" })
		way2, err := u2.route(config.Headers{})
		if err != nil {
			t.Fatal(err)
		}
		if err := way2.Create(ctx, accounts, []byte("{}")); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error %v", err)
		}
	})
}

// TestHeaders: what the settings ask for, in the service's words, on every kind of
// write: bulk, single, link and each part of a batch; never on a read.
func TestHeaders(t *testing.T) {
	h := config.Headers{Bypass: []string{"sync", "async"}, BypassSteps: []string{"1", "2"}, SuppressFlows: true, DuplicateDetection: true,
		Tag: "a b&c", Impersonate: "oid", ImpersonateUser: "uid"}
	want := map[string]string{
		"MSCRM.BypassBusinessLogicExecution": "CustomSync,CustomAsync", "MSCRM.BypassBusinessLogicExecutionStepIds": "1,2",
		"MSCRM.SuppressCallbackRegistrationExpanderJob": "true", "MSCRM.SuppressDuplicateDetection": "false",
		"CallerObjectId": "oid", "MSCRMCallerID": "uid",
	}
	if diff := cmp.Diff(want, headerLines(h)); diff != "" {
		t.Error(diff)
	}
	if got := headerLines(config.Headers{}); len(got) != 0 {
		t.Errorf("nothing asked for, and sent: %v", got)
	}
	got := map[string][]string{} // by request: tag and header names
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name := r.Method + " " + r.URL.Path[strings.LastIndex(r.URL.Path, "/")+1:]
		line := r.URL.RawQuery
		for header := range want {
			if v := r.Header.Get(header); v == want[header] {
				line += " +"
			}
		}
		got[name] = append(got[name], line)
		if strings.HasSuffix(r.URL.Path, "$batch") {
			b, _ := io.ReadAll(r.Body)
			for part := range strings.SplitSeq(string(b), "--batch_") {
				lines := strings.Split(part, "\r\n")
				if len(lines) < 5 {
					continue
				}
				n := 0
				for header, value := range want {
					if slices.Contains(lines, header+": "+value) {
						n++
					}
				}
				got["part"] = append(got["part"], fmt.Sprintf("%s with %d", lines[4], n))
			}
		}
		if r.Method == http.MethodGet {
			w.Header().Set("Content-Type", "application/json")
			io.WriteString(w, `{"value":[]}`)
			return
		}
		w.WriteHeader(http.StatusNoContent)
	}))
	defer server.Close()
	token, err := identity.New(identity.Options{Kind: identity.None})
	if err != nil {
		t.Fatal(err)
	}
	client, err := dataverse.New(dataverse.Options{URL: server.URL, Token: token})
	if err != nil {
		t.Fatal(err)
	}
	u := &users{each: []*user{{client: client}}}
	defer u.close()
	way, err := u.route(h)
	if err != nil {
		t.Fatal(err)
	}
	ctx, body, id := t.Context(), []byte("{}"), schema.GUID{1}
	parts, batchErr := way.Batch(ctx, []dataverse.Op{dataverse.CreateOp(accounts, body), dataverse.UpdateOp(accounts, id, body)})
	_, readErr := way.Existing(ctx, accounts, []schema.GUID{id})
	err = errors.Join(way.CreateMany(ctx, accounts, body, 1), way.UpdateMany(ctx, accounts, body, 1), way.Create(ctx, accounts, body),
		way.Update(ctx, accounts, id, body), readErr)
	if err != nil || batchErr != nil || len(parts) != 2 || parts[0] == nil { // its answer had no parts
		t.Fatal(err, batchErr, parts)
	}
	const all = "tag=a%20b%26c + + + + + +"
	g := "accounts(" + id.String() + ")"
	if diff := cmp.Diff(map[string][]string{
		"POST Microsoft.Dynamics.CRM.CreateMultiple": {all}, "POST Microsoft.Dynamics.CRM.UpdateMultiple": {all},
		"POST accounts": {all}, "PATCH " + g: {all},
		"POST $batch":  {" + + + + + +"},
		"part":         {"POST /api/data/v9.2/accounts?tag=a%20b%26c HTTP/1.1 with 6", "PATCH /api/data/v9.2/" + g + "?tag=a%20b%26c HTTP/1.1 with 6"},
		"GET accounts": {"$select=accountid&$filter=accountid%20eq%20" + id.String()},
	}, got); diff != "" {
		t.Error(diff)
	}
}

// TestSignInOptions: how each kind of user signs in; an emulator takes any.
func TestSignInOptions(t *testing.T) {
	p := &Project{Config: config.Default()}
	p.Config.Target.URL = "http://127.0.0.1:1"
	p.Config.Target.Cloud = "usgov"
	for i, want := range []identity.Options{{Kind: identity.None}, {Kind: identity.Token, Token: "emulator-2"}} {
		want.Resource, want.Cloud = "http://127.0.0.1:1", "usgov"
		if diff := cmp.Diff(want, p.signIn(p.Config.Target, config.User{Auth: "default"}, i)); diff != "" {
			t.Error(diff)
		}
	}
	p.Config.Target.URL = "https://a.example"
	p.Config.Dir = t.TempDir()
	got := p.signIn(p.Config.Target, config.User{Auth: "certificate", Tenant: "t", Client: "c", Certificate: "x.pem"}, 1)
	if got.Kind != identity.Certificate || got.Certificate != p.Config.Path("x.pem") || got.Token != "" {
		t.Errorf("%+v", got)
	}
	if got := p.signIn(p.Config.Target, config.User{Auth: "client-secret", Token: config.NewSecret("ready")}, 0); got.Kind != identity.Token || got.Token != "ready" {
		t.Errorf("%+v", got)
	}
}
