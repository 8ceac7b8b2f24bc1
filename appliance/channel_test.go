package appliance

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"dvmigrate/appliance/config"
	"dvmigrate/appliance/progress"
)

func fire() Call {
	at := time.Date(2026, 12, 5, 8, 0, 0, 0, time.UTC)
	return Call{Version: 1, Project: "acme-crm", Target: "https://acme.crm4.dynamics.com", Host: "vm1", Command: "load",
		Alert: progress.Alert{Rule: progress.StandsStill, State: progress.Firing, Text: "no record has had an outcome for 15m00s", Since: at, Time: at}}
}

func TestWebhook(t *testing.T) {
	for name, tc := range map[string]struct {
		answer func(w http.ResponseWriter)
		want   string // of the answer or the error
		again  bool   // it helps to try again
		ok     bool
	}{
		"it takes it": {func(w http.ResponseWriter) { io.WriteString(w, "thanks\n  a lot") }, "HTTP 200 OK thanks a lot", false, true},
		"it accepts":  {func(w http.ResponseWriter) { w.WriteHeader(202) }, "HTTP 202 Accepted", false, true},
		"it repeats what is secret": {func(w http.ResponseWriter) {
			w.WriteHeader(400)
			io.WriteString(w, "no such /hook?sig=s3cret, Bearer key")
		}, "HTTP 400 Bad Request no such (hidden), (hidden)", false, false},
		"it is not there":     {func(w http.ResponseWriter) { w.WriteHeader(404) }, "HTTP 404 Not Found", false, false},
		"it points elsewhere": {func(w http.ResponseWriter) { w.Header().Set("Location", "http://127.0.0.1:1/"); w.WriteHeader(307) }, "HTTP 307 Temporary Redirect", false, false},
		"it is busy":          {func(w http.ResponseWriter) { w.Header().Set("Retry-After", "7"); w.WriteHeader(429) }, "HTTP 429 Too Many Requests", true, false},
		"it fails":            {func(w http.ResponseWriter) { w.WriteHeader(503) }, "HTTP 503 Service Unavailable", true, false},
		"it breaks off":       {func(w http.ResponseWriter) { panic(http.ErrAbortHandler) }, "EOF", true, false},
	} {
		t.Run(name, func(t *testing.T) {
			var got, authorization string
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				b, _ := io.ReadAll(r.Body)
				got, authorization = string(b), r.Header.Get("Authorization")
				tc.answer(w)
			}))
			defer s.Close()
			h := newChannel(config.Channel{Webhook: config.NewSecret(s.URL + "/hook?sig=s3cret"), Authorization: config.NewSecret("Bearer key")})
			answer, err := h.send(t.Context(), fire())
			if err != nil {
				answer = err.Error()
			}
			if (err == nil) != tc.ok || !strings.HasSuffix(answer, tc.want) || strings.Contains(answer, "s3cret") {
				t.Errorf("answered %q, want %q", answer, tc.want)
			}
			if r, ok := err.(*refusal); ok && r.again != tc.again || strings.Contains(tc.want, "429") && r.after != 7*time.Second {
				t.Errorf("try again: %+v", r)
			}
			want := `{"version":1,"project":"acme-crm","target":"https://acme.crm4.dynamics.com","host":"vm1","command":"load","rule":"still","state":"firing","text":"no record has had an outcome for 15m00s","since":"2026-12-05T08:00:00Z","time":"2026-12-05T08:00:00Z"}`
			if got != want || authorization != "Bearer key" {
				t.Errorf("sent %s as %s", got, authorization)
			}
		})
	}
}

// TestGuideShowsACall: the example of the guide is what is sent.
func TestGuideShowsACall(t *testing.T) {
	page, err := os.ReadFile("guide/monitoring.md")
	if err != nil {
		t.Fatal(err)
	}
	_, text, _ := strings.Cut(string(page), "    {\"version\":1,")
	text, _, _ = strings.Cut(text, "\n\n")
	var got Call
	d := json.NewDecoder(strings.NewReader("{\"version\":1," + text))
	d.DisallowUnknownFields()
	if err := d.Decode(&got); err != nil || got != fire() {
		t.Errorf("%v: %+v", err, got)
	}
}

func TestWebhookThatHangs(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body); <-r.Context().Done() }))
	defer s.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := newChannel(config.Channel{Webhook: config.NewSecret(s.URL + "/s3cret")}).send(ctx, fire())
	if err == nil || !strings.Contains(err.Error(), "no answer from 127.0.0.1") || strings.Contains(err.Error(), "s3cret") {
		t.Error(err)
	}
	s.Close()
	_, err = newChannel(config.Channel{Webhook: config.NewSecret(s.URL + "/s3cret")}).send(t.Context(), fire())
	if err == nil || !strings.Contains(err.Error(), "connection refused") || strings.Contains(err.Error(), "s3cret") {
		t.Error(err)
	}
}

// TestTeamsCard: what a workflow's trigger takes; the shape is that of the documentation of
// "Send a card" to a Teams workflow.
func TestTeamsCard(t *testing.T) {
	var got struct {
		Type        string
		Attachments []struct {
			ContentType string
			Content     struct {
				Type, Version string
				Body          []struct {
					Type, Text, Color string
					Facts             []struct{ Title, Value string }
				}
			}
		}
	}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := json.NewDecoder(r.Body).Decode(&got); err != nil || r.Header.Get("Content-Type") != "application/json" {
			t.Error(err, r.Header)
		}
		w.WriteHeader(http.StatusAccepted)
	}))
	defer s.Close()
	if answer, err := newChannel(config.Channel{Teams: config.NewSecret(s.URL)}).send(t.Context(), fire()); err != nil || answer != "HTTP 202 Accepted" {
		t.Error(answer, err)
	}
	if got.Type != "message" || len(got.Attachments) != 1 || got.Attachments[0].ContentType != "application/vnd.microsoft.card.adaptive" {
		t.Fatalf("%+v", got)
	}
	card := got.Attachments[0].Content
	if card.Type != "AdaptiveCard" || card.Version != "1.4" || len(card.Body) != 3 || card.Body[0].Text != "acme-crm: still (alert)" || card.Body[0].Color != "attention" ||
		card.Body[1].Text != fire().Text || len(card.Body[2].Facts) != 4 {
		t.Errorf("%+v", card)
	}
}

// mailServer speaks enough SMTP for one mail after the other; replies are answered in place
// of the usual ones, by the command's first word. Its mails are those it took.
type mailServer struct {
	address string
	mu      sync.Mutex // protects mails
	mails   []string
}

func newMailServer(t *testing.T, replies map[string]string) *mailServer {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	s := &mailServer{address: l.Addr().String()}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go s.talk(c, replies)
		}
	}()
	return s
}

func (s *mailServer) talk(c net.Conn, replies map[string]string) {
	defer c.Close()
	usual := map[string]string{"": "220 mail.example", "EHLO": "250-mail.example\r\n250 AUTH LOGIN", "MAIL": "250 ok", "RCPT": "250 ok", "DATA": "354 go on", ".": "250 2.0.0 queued as 42", "RSET": "250 ok", "NOOP": "250 ok", "QUIT": "221 bye"}
	say := func(word string) {
		text := usual[word]
		if other, ok := replies[word]; ok {
			text = other
		}
		if text == "" {
			text = "500 what?"
		}
		fmt.Fprintf(c, "%s\r\n", text)
	}
	say("")
	in := bufio.NewScanner(c)
	for in.Scan() {
		word, _, _ := strings.Cut(strings.ToUpper(in.Text()), " ")
		say(word)
		if word == "DATA" && replies["DATA"] == "" {
			var mail strings.Builder
			for in.Scan() && in.Text() != "." {
				mail.WriteString(in.Text() + "\n")
			}
			s.mu.Lock()
			s.mails = append(s.mails, mail.String())
			s.mu.Unlock()
			say(".")
		}
	}
}

func TestMail(t *testing.T) {
	for name, tc := range map[string]struct {
		replies map[string]string
		tls     string
		want    string
		again   bool
	}{
		"it takes it":              {nil, "none", "accepted: 2.0.0 queued as 42", false},
		"it refuses who it is for": {map[string]string{"RCPT": "550 5.1.1 no such user"}, "none", "no such user", false},
		"it refuses for now":       {map[string]string{"RCPT": "451 4.7.1 try later"}, "none", "try later", true},
		"it refuses all":           {map[string]string{"": "554 go away"}, "none", "go away", true},
		"it has no STARTTLS":       {nil, "starttls", "STARTTLS", true},
	} {
		t.Run(name, func(t *testing.T) {
			s := newMailServer(t, tc.replies)
			m := newChannel(config.Channel{SMTP: s.address, TLS: tc.tls, From: "dv@acme.example", Mail: []string{"ops@acme.example", "duty@acme.example"}})
			answer, err := m.send(t.Context(), fire())
			if err != nil {
				answer = err.Error()
			}
			if !strings.Contains(answer, tc.want) {
				t.Errorf("answered %q, want %q", answer, tc.want)
			}
			if r, ok := err.(*refusal); ok == tc.again && err != nil {
				t.Errorf("try again: %v %+v", tc.again, r)
			}
			if err != nil {
				return
			}
			for _, want := range []string{"Subject: acme-crm: still (alert)", "From: <dv@acme.example>", "<ops@acme.example>, <duty@acme.example>", "no record has had an outcome for 15m00s", "dvmigrate load on vm1, target https://acme.crm4.dynamics.com"} {
				if len(s.mails) != 1 || !strings.Contains(s.mails[0], want) {
					t.Errorf("the mail lacks %q:\n%s", want, strings.Join(s.mails, "\n"))
				}
			}
		})
	}
}

func TestMailToNobody(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0") // takes connections and says nothing
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	c := config.Channel{SMTP: l.Addr().String(), TLS: "none", From: "a@b.example", Mail: []string{"c@d.example"}}
	if _, err := newChannel(c).send(ctx, fire()); err == nil {
		t.Error("a mail to nobody was taken")
	}
	l.Close()
	if _, err := newChannel(c).send(t.Context(), fire()); err == nil || !strings.Contains(err.Error(), "connection refused") {
		t.Error(err)
	}
}

func TestCommandAsChannel(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("the programs are shell scripts")
	}
	t.Setenv("DVMIGRATE_TOKEN", "s3cret")
	dir := t.TempDir()
	script := func(name, text string) config.Channel {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte("#!/bin/sh\n"+text), 0o700); err != nil {
			t.Fatal(err)
		}
		return config.Channel{Command: []string{path, "two words"}}
	}
	answer, err := newChannel(script("ok", `cat > "$0.json"; echo "paged $1$DVMIGRATE_TOKEN"`)).send(t.Context(), fire())
	if err != nil || answer != "exit status 0 paged two words" {
		t.Error(answer, err)
	}
	var got Call
	b, err := os.ReadFile(filepath.Join(dir, "ok.json"))
	if err == nil {
		err = json.Unmarshal(b, &got)
	}
	if err != nil || got != fire() {
		t.Errorf("%v: %+v", err, got)
	}
	if _, err := newChannel(script("bad", "echo no line >&2; exit 3")).send(t.Context(), fire()); err == nil || !strings.HasSuffix(err.Error(), "exit status 3 no line") {
		t.Error(err)
	}
	if _, err := newChannel(config.Channel{Command: []string{filepath.Join(dir, "none")}}).send(t.Context(), fire()); err == nil || !strings.HasSuffix(err.Error(), "none: no such file or directory") {
		t.Error("a program that is not there")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := newChannel(script("hang", "exec sleep 60")).send(ctx, fire()); err == nil || !strings.Contains(err.Error(), "did not end") {
		t.Error(err)
	}
}
