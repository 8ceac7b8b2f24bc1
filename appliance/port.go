package appliance

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"
)

// Where a Unix socket cannot be made (old Windows, file systems without sockets, a path that is too
// long), the control server listens on a port of this machine. Anybody on it could connect, so each
// request carries a password, which stands in a file of the work folder that only its owner reads.

// controlFile is that file.
const controlFile = "control.json"

// controlPort is what it has.
type controlPort struct {
	Address  string `json:"address"`
	Password string `json:"password"`
}

// listenControl listens on the control socket, or on a port. It returns the file that is to be
// removed at the end, and wraps the handler where a password is needed.
func (p *Project) listenControl(h http.Handler) (net.Listener, http.Handler, string, error) {
	path := socketPath(p.work())
	// What a killed process left: the ledger's lock is ours.
	os.Remove(path)
	os.Remove(filepath.Join(p.work(), controlFile))
	listener, err := net.Listen("unix", path)
	if err == nil {
		if err := os.Chmod(path, 0o600); err != nil {
			p.o.Log.Warn("control socket is open to others", "path", path, "error", err)
		}
		return listener, h, path, nil
	}
	listener, second := net.Listen("tcp", "127.0.0.1:0")
	if second != nil {
		return nil, nil, "", fmt.Errorf("%w; %w", err, second)
	}
	port := controlPort{listener.Addr().String(), rand.Text()}
	path = filepath.Join(p.work(), controlFile)
	if err := keepNote(path, port); err != nil {
		listener.Close()
		return nil, nil, "", err
	}
	return listener, port.guard(h), path, nil
}

// guard refuses requests without the password.
func (c controlPort) guard(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/hello" {
			w.Header().Set(helloHeader, c.proof(r.Header.Get(helloHeader)))
			w.WriteHeader(http.StatusNoContent)
			return
		}
		if subtle.ConstantTimeCompare([]byte(r.Header.Get("Authorization")), []byte("Bearer "+c.Password)) == 0 {
			http.Error(w, "only who reads "+controlFile+" of the project may ask", http.StatusForbidden)
			return
		}
		h.ServeHTTP(w, r)
	})
}

// RoundTrip sends a request with the password.
func (c controlPort) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("Authorization", "Bearer "+c.Password)
	r.URL.Host = c.Address
	return http.DefaultTransport.(*http.Transport).RoundTrip(r)
}

// findControl is the way to the process that works on a project; nil when none answers.
func findControl(work string) http.RoundTripper {
	path := socketPath(work)
	if answers("unix", path) {
		return &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "unix", path)
		}}
	}
	var port controlPort
	if there, err := readNote(filepath.Join(work, controlFile), &port); !there || err != nil || !answers("tcp", port.Address) {
		return nil
	}
	if !port.proven() {
		return nil
	}
	return port
}

// helloHeader carries a number, and back what only who knows the password can make of it.
const helloHeader = "Dvmigrate-Hello"

func (c controlPort) proof(number string) string {
	h := hmac.New(sha256.New, []byte(c.Password))
	h.Write([]byte(number))
	return hex.EncodeToString(h.Sum(nil))
}

// proven reports whether who listens knows the password: another program may have got the port of a
// process that was killed, and is not to be told it.
func (c controlPort) proven() bool {
	number := rand.Text()
	req, err := http.NewRequest(http.MethodPost, "http://"+c.Address+"/hello", nil)
	if err != nil {
		return false
	}
	req.Header.Set(helloHeader, number)
	res, err := (&http.Client{Timeout: 5 * time.Second}).Do(req)
	if err != nil {
		return false
	}
	defer res.Body.Close()
	return subtle.ConstantTimeCompare([]byte(res.Header.Get(helloHeader)), []byte(c.proof(number))) == 1
}

// answers reports whether somebody listens.
func answers(network, address string) bool {
	conn, err := net.DialTimeout(network, address, time.Second)
	if err != nil {
		return false
	}
	conn.Close()
	return true
}
