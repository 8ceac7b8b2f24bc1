// Package console is the web console: one page that shows a migration live, and from
// which an operator steers the load that runs. It promises
//
//   - that nobody gets in without a link that was printed or made by somebody who is in:
//     a link works once, its token is exchanged for a cookie, and other sites' pages can
//     neither read nor act (access.go);
//   - that it looks only, unless the link was an operator's; each action goes to the
//     Controller, which notes it in the audit trail;
//   - that the load never waits for it: a browser that is slow gets the newest state and
//     misses those between (live.go);
//   - that it asks for counts, and for rows only a page at a time, so that it is as quick
//     for 100 million records as for a hundred.
//
// It listens on this machine; elsewhere only with TLS (certificate.go). The page is files of
// our own in page/, without a build step, and loads nothing from anywhere else: the
// content security policy forbids it.
//
// It knows progress and the small Controller interface of its own, and nothing of the
// engines, the ledger or the command line.
package console

import (
	"context"
	"crypto/tls"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"
)

//go:embed page
var files embed.FS

// Options of Listen.
type Options struct {
	Listen     string   // host:port; port 0 is any free one
	Cert, Key  string   // files of a certificate; none = one is made where TLS is needed
	Hosts      []string // names, besides the machine's own, under which the console is reached
	Controller Controller
	Guide      []GuidePage
	Metrics    http.Handler // answers GET /metrics; nil = there is none
	Log        *slog.Logger // nil = nobody reads it
}

// GuidePage is a page of the user guide.
type GuidePage struct {
	Name  string `json:"name"`
	Title string `json:"title"`
	Text  string `json:"text,omitempty"` // Markdown
}

// Server is a console that listens. Make it with Listen, run it with Serve.
type Server struct {
	o           Options
	listener    net.Listener
	secure      bool
	fingerprint string // of a certificate that was made
	access      *access
	live        *hub
	asking      chan struct{} // questions that are being answered
	working     sync.RWMutex  // held for reading by each request but the streams, for writing at the end
}

// InUseError says that another program listens at the address.
type InUseError struct{ Address string }

func (e *InUseError) Error() string {
	return fmt.Sprintf("another program listens on %s already, perhaps a console of another project", e.Address)
}

// Listen takes the address. Errors: *InUseError, and what is wrong with the certificate.
func Listen(o Options) (*Server, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	host, _, err := net.SplitHostPort(o.Listen)
	if err != nil {
		return nil, fmt.Errorf("%q is no address such as 127.0.0.1:8790: %w", o.Listen, err)
	}
	s := &Server{o: o, asking: make(chan struct{}, atOnce)}
	var config *tls.Config
	if !loopback(host) || o.Cert != "" {
		if config, s.fingerprint, err = certificate(o, host); err != nil {
			return nil, err
		}
		s.secure = true
	}
	s.listener, err = net.Listen("tcp", o.Listen)
	if inUse(err) {
		return nil, &InUseError{o.Listen}
	}
	if err != nil {
		return nil, err
	}
	if config != nil {
		s.listener = tls.NewListener(s.listener, config)
	}
	s.access = newAccess(s.secure, s.port(), allowedHosts(o, host))
	s.live = newHub(o.Controller.State)
	return s, nil
}

// loopback reports whether a host is this machine and nobody else can reach it.
func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

func (s *Server) port() string {
	_, port, _ := net.SplitHostPort(s.listener.Addr().String())
	return port
}

// URL is where the console is, without a way in.
func (s *Server) URL() string {
	host, _, _ := net.SplitHostPort(s.o.Listen)
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = machineName()
	}
	scheme := "http"
	if s.secure {
		scheme = "https"
	}
	return scheme + "://" + net.JoinHostPort(host, s.port())
}

// Link makes a link that lets one browser in, once. The token stands behind the #, which
// no browser sends and no proxy logs.
func (s *Server) Link(r Role) string { return s.URL() + "/enter#" + s.access.token(r, 0) }

// Fingerprint is the SHA-256 of the certificate that was made; empty when there is none or
// it came from a file.
func (s *Server) Fingerprint() string { return s.fingerprint }

// closing is how long pages may take to hear that the console ends.
const closing = 2 * time.Second

// Serve answers until ctx ends. Then the pages are told the last state. When it returns
// nobody asks the Controller any more.
func (s *Server) Serve(ctx context.Context) error {
	looking, stop := context.WithCancel(context.WithoutCancel(ctx))
	looked := make(chan struct{})
	go func() {
		defer close(looked)
		s.live.run(looking)
	}()
	defer func() {
		stop()
		<-looked
		s.working.Lock() // for good
	}()
	server := &http.Server{Handler: s.handler(), ReadHeaderTimeout: 10 * time.Second, ReadTimeout: time.Minute, IdleTimeout: 2 * time.Minute,
		MaxHeaderBytes: 32 << 10, BaseContext: func(net.Listener) context.Context { return looking }, ErrorLog: slog.NewLogLogger(s.o.Log.Handler(), slog.LevelDebug)}
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(s.listener) }()
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	s.live.close()
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), closing)
	defer cancel()
	if err := server.Shutdown(last); errors.Is(err, context.DeadlineExceeded) {
		return server.Close()
	} else if err != nil {
		return err
	}
	return nil
}

// handler is all that the console answers.
func (s *Server) handler() http.Handler {
	mux := http.NewServeMux()
	static, err := fs.Sub(files, "page")
	if err != nil {
		panic(err) // the folder is part of the program
	}
	mux.Handle("GET /assets/", http.StripPrefix("/assets/", http.FileServerFS(static)))
	mux.HandleFunc("GET /enter", func(w http.ResponseWriter, r *http.Request) { http.ServeFileFS(w, r, static, "enter.html") })
	mux.HandleFunc("POST /enter", s.enter)
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) {
		if _, ok := s.access.session(r); !ok {
			http.Redirect(w, r, "/enter", http.StatusSeeOther)
			return
		}
		http.ServeFileFS(w, r, static, "console.html")
	})
	mux.HandleFunc("GET /events", s.seen(s.events))
	s.questions(mux)
	s.actions(mux)
	if s.o.Metrics != nil {
		mux.HandleFunc("GET /metrics", s.metrics)
	}
	return s.access.guard(http.NewCrossOriginProtection().Handler(s.counted(mux)))
}

// counted lets Serve wait for requests, but for the streams, which ask nobody.
func (s *Server) counted(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/events" {
			if !s.working.TryRLock() {
				refuse(w, http.StatusServiceUnavailable, "the console ends")
				return
			}
			defer s.working.RUnlock()
		}
		h.ServeHTTP(w, r)
	})
}
