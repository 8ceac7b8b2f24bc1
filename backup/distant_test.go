package backup

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"
	"github.com/minio/minio-go/v7"

	"dvmigrate/backup/archive"
)

// fakeS3 is an S3 server in this process, with a bucket "acme" and faults on order.
type fakeS3 struct {
	*httptest.Server
	mu    sync.Mutex
	fault func(w http.ResponseWriter, r *http.Request) bool // true: has answered; nil for none
}

func newFakeS3(t testing.TB) *fakeS3 {
	t.Helper()
	backend := s3mem.New()
	if err := backend.CreateBucket("acme"); err != nil {
		t.Fatal(err)
	}
	s := &fakeS3{}
	serve := gofakes3.New(backend, gofakes3.WithLogger(gofakes3.DiscardLog())).Server()
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		fault := s.fault
		s.mu.Unlock()
		if fault == nil || !fault(w, r) {
			serve.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(s.Close)
	return s
}

func (s *fakeS3) order(fault func(http.ResponseWriter, *http.Request) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fault = fault
}

func (s *fakeS3) access(more ...string) Access {
	env := map[string]string{"AWS_ACCESS_KEY_ID": "AKIAACME", "AWS_SECRET_ACCESS_KEY": "open-sesame", "AWS_REGION": "us-east-1"}
	for i := 0; i < len(more); i += 2 {
		env[more[i]] = more[i+1]
	}
	server, _ := url.Parse(s.URL)
	return Access{Endpoint: server, Env: func(name string) (string, bool) { v, ok := env[name]; return v, ok }}
}

// refuse answers as S3 does.
func refuse(w http.ResponseWriter, status int, code string) bool {
	w.Header().Set("Content-Type", "application/xml")
	w.WriteHeader(status)
	io.WriteString(w, `<?xml version="1.0"?><Error><Code>`+code+`</Code><Message>on order</Message></Error>`)
	return true
}

// hangUp cuts the connection after part of the request has been read.
func hangUp(w http.ResponseWriter, r *http.Request) bool {
	io.CopyN(io.Discard, r.Body, 10_000)
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(err)
	}
	conn.Close()
	return true
}

// times has the fault at the first n requests that fit.
func times(n int, fits func(*http.Request) bool, fault func(http.ResponseWriter, *http.Request) bool) func(http.ResponseWriter, *http.Request) bool {
	var mu sync.Mutex
	return func(w http.ResponseWriter, r *http.Request) bool {
		mu.Lock()
		meant := n > 0 && fits(r)
		if meant {
			n--
		}
		mu.Unlock()
		return meant && fault(w, r)
	}
}

func packPut(r *http.Request) bool {
	return r.Method == http.MethodPut && strings.HasSuffix(r.URL.Path, ".pack")
}

func packGet(r *http.Request) bool {
	return r.Method == http.MethodGet && strings.HasSuffix(r.URL.Path, ".pack")
}

// reach opens a place that must be there.
func reach(t testing.TB, name string, a Access) *Place {
	t.Helper()
	p, err := Reach(context.Background(), name, t.TempDir(), a)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p
}

// checkDistant requires of a place that each snapshot verifies, that it comes back, and
// that nothing but what the snapshots need is there. It is what a place of any kind does.
func checkDistant(t *testing.T, to string, a Access) {
	t.Helper()
	ctx := context.Background()
	o := Options{Dir: t.TempDir(), Keep: Retention{Last: 2}, Access: a}
	stage := &blob{name: "stage", data: noise(1, 3<<20)}
	var copied []int64
	var ids []string
	for i := range 4 {
		stage.data = bytes.Clone(stage.data)
		stage.data[i<<18] ^= 1
		s := mustTake(t, o, stage)
		n, err := Copy(ctx, o, s.ID, to)
		if err != nil {
			t.Fatal(err)
		}
		copied, ids = append(copied, n), append(ids, s.ID)
	}
	if copied[0] < 3<<20 || copied[3] > 1<<19 {
		t.Errorf("copied %v bytes", copied)
	}
	if n, err := Copy(ctx, o, ids[3], to); n != 0 || err != nil {
		t.Errorf("again: %d bytes, %v", n, err)
	}
	p := reach(t, to, a)
	all, err := p.List(ctx, nil)
	if err != nil || len(all) != 2 || all[0].ID != ids[3] || all[0].Fault != nil || all[1].Fault != nil {
		t.Fatalf("there are %v, %v", all, err)
	}
	if entries := fileNames(t, p.dir); len(entries) != 2 {
		t.Errorf("a list fetched %v", entries)
	}
	if s, err := p.Verify(ctx, "", nil, 1); err != nil || s.ID != ids[3] {
		t.Errorf("verify: %v, %v", s.ID, err)
	}
	got := &blob{name: "stage"}
	if _, err := reach(t, to, a).Restore(ctx, "", nil, got); err != nil || !bytes.Equal(got.data, stage.data) {
		t.Errorf("comes back different: %v", err)
	}
	if _, err := p.Verify(ctx, ids[0], nil, 1); !errors.Is(err, ErrNotFound) {
		t.Errorf("removed, and verified: %v", err)
	}
	local, err := Contents(o.Dir)
	if err != nil {
		t.Fatal(err)
	}
	names, _ := p.Contents()
	if len(names) != len(local)-1 { // the lock
		t.Errorf("there is\n%v\nand here\n%v", names, local)
	}
	for _, name := range names {
		if err := p.Remove(ctx, name); err != nil {
			t.Error(err)
		}
	}
	if err := errors.Join(p.Remove(ctx, names[0]), p.Sweep(ctx)); err != nil { // a discard that goes on
		t.Error(err)
	}
	if all, err := reach(t, to, a).List(ctx, nil); err != nil || len(all) != 0 {
		t.Errorf("after all was removed: %v, %v", all, err)
	}
}

func TestS3(t *testing.T) {
	s := newFakeS3(t)
	checkDistant(t, "s3://acme/crm/eu", s.access())
	checkDistant(t, "s3://acme", s.access())
}

// DVMIGRATE_AZURE names a container of Azure or of Azurite, azblob://ACCOUNT/CONTAINER/PREFIX;
// keys come from the environment. Without it the test is skipped; .ci/azurite sets it.
func TestAzure(t *testing.T) {
	to := os.Getenv("DVMIGRATE_AZURE")
	if to == "" {
		t.Skip("no container: run it by .ci/azurite, or set DVMIGRATE_AZURE to one of Azure")
	}
	checkDistant(t, to, Access{})
	large := &blob{name: "a", data: noise(9, wholeSize+1<<20)}
	o := Options{Dir: t.TempDir()}
	if _, err := Copy(context.Background(), o, mustTake(t, o, large).ID, to+"/large"); err != nil {
		t.Fatal(err)
	}
	p := reach(t, to+"/large", Access{})
	if _, err := p.Verify(context.Background(), "", nil, 1); err != nil {
		t.Error(err)
	}
	names, _ := p.Contents()
	for _, name := range names {
		if err := p.Remove(context.Background(), name); err != nil {
			t.Error(err)
		}
	}
}

func TestS3SurvivesFaultsThatPass(t *testing.T) {
	cases := map[string]func(http.ResponseWriter, *http.Request) bool{
		"the connection is cut in the middle of a pack": times(2, packPut, hangUp),
		"the service is busy":                           times(2, packPut, func(w http.ResponseWriter, r *http.Request) bool { return refuse(w, 503, "SlowDown") }),
		"a list is refused once":                        times(1, func(r *http.Request) bool { return r.URL.Query().Has("list-type") }, hangUp),
	}
	for name, fault := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newFakeS3(t)
			o := Options{Dir: t.TempDir(), Access: s.access()}
			taken := mustTake(t, o, &blob{name: "a", data: noise(1, 1<<20)})
			s.order(fault)
			if _, err := Copy(context.Background(), o, taken.ID, "s3://acme/x"); err != nil {
				t.Fatal(err)
			}
			if _, err := reach(t, "s3://acme/x", s.access()).Verify(context.Background(), "", nil, 1); err != nil {
				t.Error(err)
			}
		})
	}
}

// An answer that breaks off is taken up where it ended.
func TestS3ReadGoesOnWhereItBrokeOff(t *testing.T) {
	s := newFakeS3(t)
	o := Options{Dir: t.TempDir(), Access: s.access()}
	taken := mustTake(t, o, &blob{name: "a", data: noise(1, 1<<20)})
	if _, err := Copy(context.Background(), o, taken.ID, "s3://acme/x"); err != nil {
		t.Fatal(err)
	}
	var ranges []string
	var mu sync.Mutex
	s.order(func(w http.ResponseWriter, r *http.Request) bool {
		if !packGet(r) {
			return false
		}
		mu.Lock()
		defer mu.Unlock()
		ranges = append(ranges, r.Header.Get("Range"))
		if len(ranges) > 2 {
			return false
		}
		w.Header().Set("Last-Modified", "Sat, 28 Nov 2026 06:00:00 GMT")
		w.Header().Set("ETag", `"x"`)
		pack, err := os.ReadFile(o.Dir + "/" + taken.ID + ".pack")
		if err != nil {
			panic(err)
		}
		if len(ranges) == 2 {
			pack = pack[1000:]
			w.Header().Set("Content-Range", "bytes 1000-/*")
		}
		w.Header().Set("Content-Length", "1000000")
		w.Write(pack[:1000])
		w.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	})
	s.Config.ErrorLog = nil
	if _, err := reach(t, "s3://acme/x", s.access()).Verify(context.Background(), "", nil, 1); err != nil {
		t.Fatal(err)
	}
	if strings.Join(ranges, ",") != ",bytes=1000-,bytes=2000-" {
		t.Errorf("asked for %q", ranges)
	}
}

func TestS3ErrorsSayWhatToDo(t *testing.T) {
	s := newFakeS3(t)
	o := Options{Dir: t.TempDir()}
	taken := mustTake(t, o, &blob{name: "a", data: noise(1, 1000)})
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	silent.Close() // nobody listens there
	answer := func(status int, code string) func(http.ResponseWriter, *http.Request) bool {
		return func(w http.ResponseWriter, r *http.Request) bool { return refuse(w, status, code) }
	}
	gone := s.access()
	gone.Endpoint = &url.URL{Scheme: "http", Host: silent.Addr().String()}
	cases := []struct {
		name, to string
		access   Access
		fault    func(http.ResponseWriter, *http.Request) bool
		want     string
	}{
		{"no bucket", "s3://other/x", s.access(), nil, "there is no bucket other at " + s.URL},
		{"unknown key", "s3://acme/x", s.access(), answer(403, "InvalidAccessKeyId"), "AWS_ACCESS_KEY_ID"},
		{"wrong secret", "s3://acme/x", s.access(), answer(403, "SignatureDoesNotMatch"), "AWS_SECRET_ACCESS_KEY does not belong"},
		{"no right", "s3://acme/x", s.access(), answer(403, "AccessDenied"), "s3:PutObject"},
		{"clock", "s3://acme/x", s.access(), answer(403, "RequestTimeTooSkewed"), "set the clock"},
		{"half the keys", "s3://acme/x", s.access("AWS_SECRET_ACCESS_KEY", ""), nil, "set both"},
		{"busy", "s3://acme/x", s.access(), answer(503, "ServiceUnavailable"), "503"},
		{"no network", "s3://acme/x", gone, nil, "cannot be reached"},
		{"a key in the name", "s3://me:open-sesame@acme/x", s.access(), nil, "keys come from the environment"},
		{"no container", "azblob://acme", s.access(), nil, "azblob://ACCOUNT/CONTAINER"},
		{"another account", "azblob://acme/c", s.access("AZURE_STORAGE_CONNECTION_STRING", "AccountName=other;AccountKey=open-sesame"), nil, "is that of the account other"},
	}
	for _, tc := range cases {
		s.order(tc.fault)
		o.Access = tc.access
		_, err := Copy(context.Background(), o, taken.ID, tc.to)
		if err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v", tc.name, err)
		}
		if err != nil && strings.Contains(strings.ReplaceAll(err.Error(), tc.to, ""), "open-sesame") {
			t.Errorf("%s shows a secret: %v", tc.name, err)
		}
	}
}

// An upload that stops shows nothing, and the next one goes on and clears up.
func TestS3UploadThatStopsIsInvisibleAndGoesOn(t *testing.T) {
	ctx := context.Background()
	s := newFakeS3(t)
	o := Options{Dir: t.TempDir(), Access: s.access()}
	taken := mustTake(t, o, &blob{name: "a", data: noise(1, wholeSize+1<<20)}) // of parts
	s.order(func(w http.ResponseWriter, r *http.Request) bool {
		return r.URL.Query().Get("partNumber") == "3" && refuse(w, 403, "AccessDenied") ||
			r.Method == http.MethodDelete && refuse(w, 403, "AccessDenied") // killed: nobody takes it back
	})
	if _, err := Copy(ctx, o, taken.ID, "s3://acme/x"); err == nil {
		t.Fatal("the fault was not seen")
	}
	s.order(nil)
	p := reach(t, "s3://acme/x", s.access())
	if all, err := p.List(ctx, nil); err != nil || len(all) != 0 || len(p.sizes) != 0 {
		t.Errorf("half an upload shows: %v, %v, %v", all, p.sizes, err)
	}
	if n := uploads(t, p); n == 0 {
		t.Error("nothing was left, so nothing is tested")
	}
	s.order(func(w http.ResponseWriter, r *http.Request) bool { // the pack comes, the manifest does not
		return r.Method == http.MethodPut && strings.HasSuffix(r.URL.Path, ".manifest") && refuse(w, 403, "AccessDenied")
	})
	if _, err := Copy(ctx, o, taken.ID, "s3://acme/x"); err == nil {
		t.Fatal("the fault was not seen")
	}
	s.order(nil)
	if n, err := Copy(ctx, o, taken.ID, "s3://acme/x"); err != nil || n > 1<<20 {
		t.Errorf("goes on with %d bytes, %v", n, err)
	}
	if n := uploads(t, p); n != 0 {
		t.Errorf("%d interrupted uploads are still there", n)
	}
	if _, err := reach(t, "s3://acme/x", s.access()).Verify(ctx, "", nil, 1); err != nil {
		t.Error(err)
	}
}

// uploads counts those that are under way.
func uploads(t testing.TB, p *Place) int {
	t.Helper()
	list, err := p.shelf.(*bucket).core.ListMultipartUploads(context.Background(), "acme", "", "", "", "", 100)
	if err != nil && minio.ToErrorResponse(err).Code != minio.NoSuchUpload {
		t.Fatal(err)
	}
	return len(list.Uploads)
}

func TestS3DamageIsFoundAndTheWholeOneNamed(t *testing.T) {
	ctx := context.Background()
	s := newFakeS3(t)
	o := Options{Dir: t.TempDir(), Access: s.access()}
	old := mustTake(t, o, &blob{name: "a", data: noise(1, 1000)})
	taken := mustTake(t, o, &blob{name: "a", data: noise(2, 100_000)})
	for _, id := range []string{old.ID, taken.ID} {
		if _, err := Copy(ctx, o, id, "s3://acme/x"); err != nil {
			t.Fatal(err)
		}
	}
	pack, err := os.ReadFile(o.Dir + "/" + taken.ID + ".pack")
	if err != nil {
		t.Fatal(err)
	}
	core := reach(t, "s3://acme/x", s.access()).shelf.(*bucket).core
	replace := func(b []byte) {
		t.Helper()
		_, err := core.Client.PutObject(ctx, "acme", "x/"+taken.ID+".pack", bytes.NewReader(b), int64(len(b)), minio.PutObjectOptions{})
		if err != nil {
			t.Fatal(err)
		}
	}
	bad := bytes.Clone(pack)
	bad[len(bad)/2] ^= 1
	replace(bad)
	if _, err := reach(t, "s3://acme/x", s.access()).Verify(ctx, "", nil, 1); damaged(t, err).Good != old.ID {
		t.Errorf("flipped: %v", err)
	}
	to := &blob{name: "a"}
	if _, err := reach(t, "s3://acme/x", s.access()).Restore(ctx, "", nil, to); damaged(t, err).Good != old.ID || to.data != nil {
		t.Errorf("flipped: %v", err)
	}
	replace(pack[:len(pack)-1])
	all, err := reach(t, "s3://acme/x", s.access()).List(ctx, nil)
	if err != nil || !errors.Is(all[0].Fault, archive.ErrDamaged) || all[1].Fault != nil {
		t.Errorf("cut off: %v, %v", all, err)
	}
}
