package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"slices"
	"strings"
	"testing"

	"dvmigrate/appliance/console"
)

// visitor is somebody's browser at a console.
type visitor struct {
	t      *testing.T
	client http.Client
	url    string
	secret string
}

// visit uses a link.
func visit(t *testing.T, link string) *visitor {
	t.Helper()
	u, err := url.Parse(link)
	if err != nil {
		t.Fatal(err)
	}
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	v := &visitor{t: t, client: http.Client{Jar: jar}, url: u.Scheme + "://" + u.Host}
	v.call("POST", "/enter", u.Fragment, nil)
	var me struct{ Secret string }
	v.call("GET", "/api/me", nil, &me)
	v.secret = me.Secret
	return v
}

// call asks; an answer that is an error fails the test, unless out is a string: its text.
func (v *visitor) call(method, path string, in, out any) {
	v.t.Helper()
	b, err := json.Marshal(in)
	if err != nil {
		v.t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(v.t.Context(), method, v.url+path, bytes.NewReader(b))
	if err != nil {
		v.t.Fatal(err)
	}
	req.Header.Set("Dvmigrate-Secret", v.secret)
	res, err := v.client.Do(req)
	if err != nil {
		v.t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode >= 300 {
		v.t.Fatalf("%s %s %s: %s %s %v", method, path, b, res.Status, text, err)
	}
	if out != nil {
		if err := json.Unmarshal(text, out); err != nil {
			v.t.Fatalf("%s: %v", text, err)
		}
	}
}

// TestServe: a console beside nothing answers each question from the files, and what its
// operator does is in the audit trail.
func TestServe(t *testing.T) {
	dir := stagedProject(t)
	before := len(trail(t, dir))
	drain, stop := context.WithCancel(t.Context())
	out, in := io.Pipe()
	ended := make(chan int, 1)
	serve := func(stdout io.Writer, args ...string) int {
		return Run(t.Context(), &Env{Args: append([]string{"-C", dir, "serve", "--json"}, args...), Stdout: stdout, Stderr: stdout, Drain: drain, Version: "test",
			Getenv: func(name string) (string, bool) { return nowhere, name == "DVMIGRATE_TARGET_URL" }})
	}
	go func() {
		ended <- serve(in, "--operator", "--listen", "127.0.0.1:0")
		in.Close()
	}()
	var links struct{ URL, Link, OperatorLink string }
	if err := json.NewDecoder(out).Decode(&links); err != nil {
		t.Fatal(err)
	}
	v := visit(t, links.OperatorLink)
	state := firstState(t, v)
	if state.Project != "sample-crm" || state.Summary.Source == 0 || len(state.Tables) == 0 || state.Process != nil || state.Pulse == nil || state.Target != nowhere {
		t.Errorf("state %+v", state)
	}
	for what, q := range map[string]console.Question{
		`"edges":[{`:          {What: console.AskGraph},
		`"samples":[]`:        {What: console.AskHistory},
		`"groups":[`:          {What: console.AskErrors},
		`"snapshots":[`:       {What: console.AskSnapshots},
		`"legacyKey":"`:       {What: console.AskRows, Table: "contact", Limit: 5},
		`"rows":[["`:          {What: console.AskSQL, SQL: "SELECT count(*) FROM account", Limit: 5},
		`"requests":[{"pass"`: {What: console.AskRecord, Table: "contact", Key: firstKey(v, "contact")},
	} {
		var answer json.RawMessage
		if v.call("POST", "/api/ask", q, &answer); !strings.Contains(string(answer), what) {
			t.Errorf("%s: %.300s", q.What, answer)
		}
	}
	for _, a := range []console.Action{{Do: "retry"}, {Do: "snapshot"}} {
		var said string
		if v.call("POST", "/api/act", a, &said); said == "" {
			t.Errorf("%s says nothing", a.Do)
		}
	}
	if got := trail(t, dir)[before:]; !slices.Equal(got, []string{"console retry begin", "console retry end", "console snapshot begin", "snapshot begin", "snapshot end", "console snapshot end"}) {
		t.Errorf("the trail has %q", got)
	}
	var second bytes.Buffer
	if status := serve(&second, "--listen", strings.TrimPrefix(links.URL, "http://")); status != Failed || !strings.Contains(second.String(), "already") || !strings.Contains(second.String(), "choose another") {
		t.Errorf("a port that is taken: status %d, %s", status, &second)
	}
	stop()
	if status := <-ended; status != Done {
		t.Errorf("exit status %d", status)
	}
}

// firstKey is the legacy key of a table's first row.
func firstKey(v *visitor, table string) string {
	v.t.Helper()
	var page struct{ Rows []struct{ LegacyKey string } }
	v.call("POST", "/api/ask", console.Question{What: console.AskRows, Table: table, Limit: 1}, &page)
	return page.Rows[0].LegacyKey
}

// firstState is the first state of the stream.
func firstState(t *testing.T, v *visitor) (s console.State) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), "GET", v.url+"/events", nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := v.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	var text []byte
	for piece := make([]byte, 1); !bytes.HasSuffix(text, []byte("\n\n")); {
		if _, err := io.ReadFull(res.Body, piece); err != nil {
			t.Fatal(err)
		}
		text = append(text, piece...)
	}
	_, data, _ := bytes.Cut(text, []byte("\ndata: "))
	if err := json.Unmarshal(data, &s); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return s
}
