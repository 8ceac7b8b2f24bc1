package emulator

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime/debug"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestScale puts as many accounts of twelve columns into one emulator as the variable
// DVMIGRATE_SCALE says, through CreateMultiple at the handler, and logs rows a second
// and the process's largest memory. Ten million must fit into 4 GB.
//
//	DVMIGRATE_SCALE=10000000 go test -run TestScale -v -timeout 30m .
func TestScale(t *testing.T) {
	rows, _ := strconv.Atoi(os.Getenv("DVMIGRATE_SCALE"))
	if rows == 0 {
		t.Skip("DVMIGRATE_SCALE is not set")
	}
	defer debug.SetGCPercent(debug.SetGCPercent(25)) // as the command runs it
	srv, err := New(Options{Schema: world(t), Discard: os.Getenv("DVMIGRATE_SCALE_DISCARD") != ""})
	if err != nil {
		t.Fatal(err)
	}
	defer srv.Close()
	const each = 1000
	var inHandler time.Duration
	begin := time.Now()
	for n := 0; n < rows; n += each {
		body := bulkBody(n, each)
		req := httptest.NewRequest(http.MethodPost, "/api/data/v9.2/accounts/Microsoft.Dynamics.CRM.CreateMultiple", bytes.NewReader(body))
		req.Header.Set("Authorization", "Bearer t")
		req.Header.Set("Content-Type", "application/json")
		w := httptest.NewRecorder()
		start := time.Now()
		srv.ServeHTTP(w, req)
		inHandler += time.Since(start)
		if w.Code != http.StatusOK {
			t.Fatal(w.Body.String())
		}
	}
	took := time.Since(begin)
	if n := srv.Stats().Rows["account"]; n != rows {
		t.Errorf("%d rows, want %d", n, rows)
	}
	status, _ := os.ReadFile("/proc/self/status")
	_, peak, _ := strings.Cut(string(status), "VmHWM:")
	peak, _, _ = strings.Cut(peak, "kB")
	kB, _ := strconv.Atoi(strings.TrimSpace(peak))
	t.Logf("%d rows in %v (%.0f rows/s, %.0f in the handler), at most %d MB", rows, took.Round(time.Second), float64(rows)/took.Seconds(), float64(rows)/inHandler.Seconds(), kB/1024)
	if rows <= 10_000_000 && kB > 4<<20 {
		t.Errorf("%d kB are more than 4 GB", kB)
	}
}
