package appliance

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// TestLogHasRequestIDsAndNoSecret: a service that quotes in its refusals what it was sent,
// and as whom; sources whose masked columns hold values that may be nowhere, one of them in
// a line that cannot be read.
func TestLogHasRequestIDsAndNoSecret(t *testing.T) {
	const token, maskKey = "canary-token-5e1f", "canary-mask-key-000000"
	clear := []string{"dimitra.vandenberg.1@mail.example", "van den Berg", "CanaryName", token, maskKey}
	var mu sync.Mutex // protects ids
	var ids []string
	url := environment(t, 4, func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method != http.MethodPost || !strings.Contains(r.URL.Path, "contacts") {
			return false
		}
		body, _ := io.ReadAll(r.Body)
		r.Body = io.NopCloser(bytes.NewReader(body))
		mu.Lock()
		defer mu.Unlock()
		id := fmt.Sprintf("00000000-0000-0000-0000-%012d", len(ids))
		ids = append(ids, id)
		w.Header().Set("x-ms-service-request-id", id)
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusBadRequest)
		_ = json.NewEncoder(w).Encode(map[string]any{"error": map[string]string{"code": "0x80040203", "message": r.Header.Get("Authorization") + " sent " + string(body)}})
		return true
	})
	dir := sampleProject(t, url, nil).Config.Dir
	edit(t, filepath.Join(dir, "migration.yaml"), "contacts-*.csv, types: text}", "contacts-*.csv, types: text, mask: {Email: email, LastName: name, FirstName: name, Phone: phone}}")
	edit(t, filepath.Join(dir, "migration.yaml"), "auth: none", "token: ${TOKEN}")
	edit(t, filepath.Join(dir, "migration.yaml"), "snapshots:", "masking: {key: \"${KEY}\"}\nlog: {level: debug, format: json}\nsnapshots:")
	edit(t, filepath.Join(dir, "sources", "contacts-1.csv"), "P0000002,", "P9,\"CanaryName\"x,,\nP0000002,")
	edit(t, filepath.Join(dir, "migration.yaml"), "contoso_equipment: {batch: 50}", "contact: {message: single}")
	open := func(mode Mode) *Project {
		p, err := Open(t.Context(), dir, mode, Options{Args: []string{"load", "--note=" + token}, Env: func(name string) (string, bool) {
			v, ok := map[string]string{"DVMIGRATE_TARGET_URL": url, "TOKEN": token, "KEY": maskKey}[name]
			return v, ok
		}})
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	p := open(Staging)
	_, err := p.Stage(t.Context(), nil, func(string, float64) {})
	if err = errors.Join(err, p.Close()); err != nil {
		t.Fatal(err)
	}
	p = open(Loading)
	_, _ = p.Load(t.Context(), t.Context(), LoadOptions{SnapshotEvery: -1})
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "work", "dvmigrate.log")
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	log := string(b)
	for _, c := range clear {
		if strings.Contains(log, c) {
			t.Errorf("the log has %q", c)
		}
	}
	if len(ids) == 0 {
		t.Fatal("no request was refused")
	}
	for _, id := range ids {
		if !strings.Contains(log, id) {
			t.Errorf("the log lacks request %s", id)
		}
	}
	seen := map[string]int{}
	for line := range strings.Lines(log) {
		var l struct{ Msg, Command string }
		if err := json.Unmarshal([]byte(line), &l); err != nil {
			t.Errorf("%v: %s", err, line)
		}
		seen[strings.TrimSpace(l.Msg+" "+l.Command)]++
	}
	for _, want := range []string{"begin stage", "end stage", "begin load", "end load", "request failed", "record failed"} {
		if seen[want] == 0 {
			t.Errorf("no line %q: %v", want, seen)
		}
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the log may be read by %v, %v", info.Mode(), err)
	}
}

// fullDisk takes nothing while it is full.
type fullDisk struct {
	full    bool
	written bytes.Buffer
}

func (d *fullDisk) Write(b []byte) (int, error) {
	if d.full {
		return 0, &os.PathError{Op: "write", Path: "x.log", Err: syscall.ENOSPC}
	}
	return d.written.Write(b)
}

func (d *fullDisk) Close() error { return nil }

func TestFullDiskForTheLogIsSaidOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := &fullDisk{full: true}
		var told []string
		w := newLogWriter(disk, "x.log", func(m string) { told = append(told, m) }, slog.New(slog.NewTextHandler(&disk.written, nil)))
		for range 10 {
			fmt.Fprintln(w, "lost")
		}
		synctest.Wait()
		disk.full = false
		fmt.Fprintln(w, "kept")
		w.Close()
		if len(told) != 1 || !strings.Contains(told[0], "x.log") || !strings.Contains(told[0], "no space left") {
			t.Errorf("told %q", told)
		}
		if got := disk.written.String(); !strings.HasPrefix(got, "kept\n") || !strings.Contains(got, "lines=10") {
			t.Errorf("the log has %q", got)
		}
	})
}

// hung is a disk, or a share, that does not answer.
type hung struct{ forever chan struct{} }

func (h hung) Write([]byte) (int, error) { <-h.forever; return 0, io.ErrClosedPipe }
func (h hung) Close() error              { return nil }

func TestHangingLogStopsNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := hung{make(chan struct{})}
		w := newLogWriter(h, "x.log", func(string) {}, slog.New(slog.DiscardHandler))
		began := time.Now()
		for range 3 * logQueue {
			fmt.Fprintln(w, "line")
		}
		if took := time.Since(began); took != 0 || w.lost.Load() < logQueue {
			t.Errorf("lines took %v, %d were lost", took, w.lost.Load())
		}
		w.Close()
		if took := time.Since(began); took != logGrace {
			t.Errorf("the end waited %v", took)
		}
		close(h.forever)
		synctest.Wait()
	})
}
