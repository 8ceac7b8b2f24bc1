package cli

import (
	"bytes"
	"crypto/tls"
	"encoding/pem"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	_ "golang.org/x/crypto/x509roots/fallback" // as the program has them

	"dvmigrate/appliance/dataverse/emulator"
	"dvmigrate/appliance/dataverse/schema"
	"dvmigrate/appliance/sample"
)

// TestNetwork: which certificates, protocols and proxies the program takes, told by its
// environment as other programs are.
func TestNetwork(t *testing.T) {
	dir := t.TempDir()
	if err := copyStaged(dir); err != nil {
		t.Fatal(err)
	}
	s, err := schema.Read(bytes.NewReader(sample.Schema()))
	if err != nil {
		t.Fatal(err)
	}
	e, err := emulator.New(emulator.Options{Schema: s})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	modern, old := tlsServer(t, e, tls.VersionTLS12), tlsServer(t, e, tls.VersionTLS11)
	authority := filepath.Join(t.TempDir(), "authority.pem")
	if err := os.WriteFile(authority, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: modern.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	var tunnels atomic.Int32
	proxy := connectProxy(t, modern.Listener.Addr().String(), &tunnels)

	trusts := "SSL_CERT_FILE=" + authority
	for _, tc := range []struct {
		name   string
		url    string
		env    []string
		status int
		want   string // in what it prints
	}{
		{"an authority that nobody knows", modern.URL, nil, Failed, "certificate signed by unknown authority"},
		{"an authority named by SSL_CERT_FILE", modern.URL, []string{trusts}, Done, "organization"},
		{"TLS 1.1", old.URL, []string{trusts}, Failed, "protocol version"},
		{"a proxy for https", "https://example.com", []string{trusts, "HTTPS_PROXY=" + proxy.URL, "NO_PROXY="}, Done, "https://example.com, version 9.2"},
		{"a proxy, without trust in what is behind it", "https://example.com", []string{"HTTPS_PROXY=" + proxy.URL, "NO_PROXY="}, Failed, "unknown authority"},
		{"a proxy that is not there", "https://example.com", []string{trusts, "HTTPS_PROXY=http://u:hidden-4715@127.0.0.1:1", "NO_PROXY="}, Failed, "cannot connect to https://example.com"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := dvmigrate("-C", dir, "check", "--online")
			c.Env = append(c.Env, "DVMIGRATE_TARGET_URL="+tc.url, "DVMIGRATE_TOKEN=a-token", "HTTPS_PROXY=", "https_proxy=", "SSL_CERT_FILE=", "SSL_CERT_DIR=")
			c.Env = append(c.Env, tc.env...)
			out, _ := c.CombinedOutput() // its exit status is looked at
			if got := c.ProcessState.ExitCode(); got != tc.status || !strings.Contains(string(out), tc.want) || strings.Contains(string(out), "hidden-4715") {
				t.Errorf("exit status %d, want %d with %q:\n%s", got, tc.status, tc.want, out)
			}
		})
	}
	if tunnels.Load() == 0 {
		t.Error("nothing went through the proxy")
	}
}

// tlsServer serves an emulator with at most this version of TLS.
func tlsServer(t *testing.T, e *emulator.Server, most uint16) *httptest.Server {
	s := httptest.NewUnstartedServer(e)
	s.TLS = &tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: most}
	s.Config.ErrorLog = log.New(io.Discard, "", 0) // handshakes that fail are meant
	s.StartTLS()
	t.Cleanup(s.Close)
	return s
}

// connectProxy is a proxy that leads every tunnel to one address.
func connectProxy(t *testing.T, address string, tunnels *atomic.Int32) *httptest.Server {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodConnect || r.Host != "example.com:443" {
			http.Error(w, "tunnels to example.com only", http.StatusBadRequest)
			return
		}
		to, err := net.Dial("tcp", address)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		defer to.Close()
		from, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer from.Close()
		tunnels.Add(1)
		_, _ = io.WriteString(from, "HTTP/1.1 200 Connection established\r\n\r\n")
		go func() { _, _ = io.Copy(to, from) }()
		_, _ = io.Copy(from, to)
	}))
	t.Cleanup(s.Close)
	return s
}
