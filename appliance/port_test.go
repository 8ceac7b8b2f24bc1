package appliance

import (
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"dvmigrate/appliance/config"
)

// longProject has a work folder whose path is too long for a Unix socket.
func longProject(t *testing.T) *Project {
	t.Helper()
	dir := filepath.Join(t.TempDir(), strings.Repeat("long/", 30))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	return &Project{Config: &config.Config{Dir: dir, Work: "."}, o: Options{Log: slog.New(slog.DiscardHandler)}}
}

func TestWhereSocketsAreMissingAPortAnswersWhoReadsTheFile(t *testing.T) {
	p := longProject(t)
	listener, handler, file, err := p.listenControl(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { answer(w, "hi", nil) }))
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: handler}
	go func() { _ = server.Serve(listener) }()
	defer server.Close()
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%s: %v, %v", file, info.Mode(), err)
	}
	way := findControl(p.work())
	if way == nil {
		t.Fatal("nobody answers")
	}
	r := remote{http: http.Client{Transport: way}}
	var said string
	if err := r.ask(t.Context(), "anything", nil, &said); said != "hi" || err != nil {
		t.Errorf("%q, %v", said, err)
	}
	res, err := http.Post("http://"+listener.Addr().String()+"/status", "", nil)
	if err != nil || res.StatusCode != http.StatusForbidden {
		t.Errorf("without the password: %v, %v", res, err)
	}
	res.Body.Close()
}

// The file of a killed process points to a port where nobody, or somebody else, listens by now.
func TestTheFileOfAKilledProcessLeadsNowhere(t *testing.T) {
	p := longProject(t)
	listener, _, _, err := p.listenControl(http.NotFoundHandler())
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	listener.Close()
	if findControl(p.work()) != nil {
		t.Error("a port that is closed answers")
	}
	other, err := net.Listen("tcp", address)
	if err != nil {
		t.Skipf("the port is taken: %v", err)
	}
	told := make(chan string, 10)
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		told <- r.Header.Get("Authorization")
		w.WriteHeader(http.StatusNoContent)
	})}
	go func() { _ = server.Serve(other) }()
	defer server.Close()
	if findControl(p.work()) != nil {
		t.Error("a stranger is taken for dvmigrate")
	}
	if said := <-told; said != "" {
		t.Errorf("the stranger was told %q", said)
	}
}
