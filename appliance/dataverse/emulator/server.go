package emulator

import (
	"crypto/rand"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"dvmigrate/appliance/dataverse/schema"
)

// Server is one environment. It is an http.Handler, safe for concurrent use.
type Server struct {
	opts   Options
	model  *model
	store  *store
	routes map[shape]map[string]route

	functions, boundFunctions map[string]func(*call) error
	actions, boundActions     map[string]func(*call) error
}

// New makes the environment: it compiles the schema, opens the state file if one
// is named, and puts in the rows that exist from the start.
func New(o Options) (*Server, error) {
	m, err := newModel(o.Schema)
	if err != nil {
		return nil, err
	}
	s := &Server{opts: o, model: m, store: newStore(m, func() int64 { return time.Now().Unix() })}
	s.routes = s.makeRoutes()
	s.functions, s.boundFunctions = makeFunctions()
	s.actions, s.boundActions = makeActions()
	return s, nil
}

// Close writes what is left to write and closes the state file.
func (s *Server) Close() error { return nil }

const apiPrefix = "/api/data/"

// ServeHTTP answers one request of the Web API.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c, err := s.newCall(r)
	if err == nil {
		err = c.run()
	}
	if err != nil {
		c.fail(err)
	}
	c.write(w)
}

// newCall reads a request. The call is usable for answering also when there is an
// error.
func (s *Server) newCall(r *http.Request) (*call, error) {
	scheme := "http://"
	if r.TLS != nil {
		scheme = "https://"
	}
	c := &call{srv: s, method: r.Method, header: r.Header, prefer: parsePrefer(r.Header), user: UserID, message: "Unknown"}
	rest, ok := strings.CutPrefix(r.URL.EscapedPath(), apiPrefix)
	version, path, slash := strings.Cut(rest, "/")
	c.api = scheme + r.Host + apiPrefix + version
	c.path = path
	if !ok || !slash && version == "" || !strings.HasPrefix(version, "v9.") {
		return c, errorf(http.StatusNotFound, "", "No HTTP resource was found that matches the request URI '%s%s%s'.", scheme, r.Host, r.URL.Path)
	}
	var err error
	if c.query, err = parseQuery(r.URL.RawQuery); err != nil {
		return c, err
	}
	c.body, err = io.ReadAll(r.Body)
	return c, err
}

// fail turns an error into the answer.
func (c *call) fail(err error) {
	var e *apiError
	if !errors.As(err, &e) {
		e = errorf(http.StatusInternalServerError, "0x80040216", "An unexpected error occurred. %v", err)
	}
	c.res = response{status: e.status, body: e.appendJSON(nil, c.prefer.wants("Microsoft.PowerApps.CDS.ErrorDetails.OperationStatus"))}
	c.set("Content-Type", jsonType)
	if e.retryAfter > 0 {
		c.set("Retry-After", strconv.Itoa(e.retryAfter))
	}
}

func (c *call) write(w http.ResponseWriter) {
	h := w.Header()
	for name, vals := range c.res.header {
		h[name] = vals
	}
	id := newGUID().String()
	h["OData-Version"] = []string{"4.0"}
	h["x-ms-service-request-id"] = []string{id}
	h["REQ_ID"] = []string{id}
	if c.res.entityID != "" {
		h["OData-EntityId"] = []string{c.res.entityID}
	}
	if c.srv.opts.DopHint > 0 {
		h["x-ms-dop-hint"] = []string{strconv.Itoa(c.srv.opts.DopHint)}
	}
	w.WriteHeader(c.res.status)
	w.Write(c.res.body)
}

// newGUID makes a random id.
func newGUID() schema.GUID {
	var g schema.GUID
	rand.Read(g[:])
	g[6], g[8] = g[6]&0x0f|0x40, g[8]&0x3f|0x80
	return g
}
