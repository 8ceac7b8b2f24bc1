package emulator

import (
	"crypto/rand"
	"errors"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"dvmigrate/appliance/dataverse/schema"
)

// Server is one environment. It is an http.Handler, safe for concurrent use.
type Server struct {
	opts Options
	// gate holds every call off while the schema is changed: model and the store's
	// tables may only be read under it.
	gate sync.RWMutex
	// schemaVersion counts the changes of the schema.
	schemaVersion int64
	model         *model
	store         *store
	routes        map[shape]map[string]route
	limiter       *limiter
	faults        faultBook
	stats         stats
	contention    contention
	began         time.Time

	functions, boundFunctions map[string]func(*call) error
	actions, boundActions     map[string]func(*call) error

	uploads uploads
	jobs    jobs
	work    sync.WaitGroup // the jobs that run
	closed  chan struct{}  // ends them
	once    sync.Once
	users   sync.Map // token -> id of its application user

	lastID atomic.Int64 // of the ids that the server makes, 48 bits
}

// New makes the environment: it compiles the schema, opens the state file if one
// is named, and puts in the rows that exist from the start.
func New(o Options) (*Server, error) {
	if o.RolePrivileges != nil {
		var err error
		if o.Schema, err = secured(o.Schema); err != nil {
			return nil, err
		}
	}
	var err error
	if o.AssumeTracking {
		if o.Schema, err = withTracking(o.Schema); err != nil {
			return nil, err
		}
	}
	if o.Schema, err = withSettings(o.Schema); err != nil {
		return nil, err
	}
	if o.Schema, err = withNames(o.Schema); err != nil {
		return nil, err
	}
	if tables := withAttachments(o.Schema.Tables); !slices.Equal(tables, o.Schema.Tables) { // New writes in tables, which others may use
		if o.Schema, err = schema.New(tables, o.Schema.ManyToMany); err != nil {
			return nil, err
		}
	}
	if o.StatePath != "" { // whose tables are those at the start
		tables := withShares(o.Schema.Tables)
		if !stateLacks(o.StatePath, "asyncoperation") {
			tables = withJobs(tables)
		}
		if o.Schema, err = schema.New(tables, o.Schema.ManyToMany); err != nil {
			return nil, err
		}
	}
	m, version, err := modelOf(&o)
	if err != nil {
		return nil, err
	}
	if o.MaxBody == 0 {
		o.MaxBody = 128 << 20
	}
	s := &Server{opts: o, closed: make(chan struct{}), model: m, store: newStore(m, func() int64 { return time.Now().Unix() }), began: time.Now()}
	s.schemaVersion = version
	s.limiter = newLimiter(o.Limits, s.elapsed)
	if s.contention.parents, err = m.deadlockParents(o.DeadlockParents); err != nil {
		return nil, err
	}
	s.store.speed = max(o.Speed, 0)
	if s.store.speed == 0 {
		s.store.speed = 1
	}
	s.lastID.Store(time.Now().UnixMilli() << 8)
	s.routes = s.makeRoutes()
	s.functions, s.boundFunctions = makeFunctions()
	s.actions, s.boundActions = makeActions()
	if err := s.Order(o.Faults...); err != nil {
		return nil, err
	}
	if err := s.open(); err != nil {
		return nil, err
	}
	s.store.discard = o.Discard
	return s, nil
}

// Close ends the jobs that run and closes the state file. Requests must have ended.
func (s *Server) Close() error {
	s.once.Do(func() { close(s.closed) })
	s.work.Wait()
	return s.store.log.close()
}

const apiPrefix = "/api/data/"

// ServeHTTP answers one request: of the Web API, or for a token.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if strings.HasSuffix(r.URL.Path, "/oauth2/v2.0/token") || strings.HasSuffix(r.URL.Path, "/oauth2/token") {
		serveToken(w, r)
		return
	}
	if r.Method == http.MethodOptions {
		servePreflight(w, r)
		return
	}
	start := time.Now()
	node, pinned := s.limiter.server(r)
	c, in, err := s.admit(r, node)
	if err == nil {
		err = c.readBody(w, r)
	} else {
		drain(r)
	}
	end := func() {
		if in != nil {
			in.release(c.spent)
		}
		c.end()
	}
	if err == nil {
		begin := time.Now()
		c.open = true
		err = c.runGuarded()
		c.cost += s.opts.Cost.PerRequest
		c.spent = c.cost + time.Since(begin)
		c.wait(r, end)
	} else {
		end()
	}
	if err != nil {
		c.fail(err)
	}
	if in != nil {
		in.headers(w.Header())
	}
	if !pinned {
		cookie := "ARRAffinity=" + strconv.FormatInt(int64(node), 16) + ";Path=/;HttpOnly"
		if r.TLS != nil {
			cookie += ";Secure"
		}
		w.Header()["Set-Cookie"] = []string{cookie}
	}
	s.stats.note(c, err, time.Since(start))
	c.send(w)
}

// admit makes the call of a request and lets it in or says why not. A call that is
// refused has its table and message all the same: it is counted by them.
func (s *Server) admit(r *http.Request, node int) (*call, *admission, error) {
	s.gate.RLock()
	defer s.gate.RUnlock()
	c, err := s.newCall(r)
	if err != nil {
		return c, nil, err
	}
	in, refused := s.limiter.admit(c.token, node)
	if refused == nil {
		return c, in, nil
	}
	if c.other == nil {
		_, _, _ = c.find()
	}
	return c, nil, refused
}

// runGuarded runs the call with the schema held still.
func (c *call) runGuarded() error {
	c.srv.gate.RLock()
	defer c.srv.gate.RUnlock()
	return c.run()
}

// drain reads the body of a refused request, within reason, so that the client gets
// the answer instead of a broken connection.
func drain(r *http.Request) { io.CopyN(io.Discard, r.Body, 16<<20) }

// serveToken is the token endpoint of section 2: every client gets a token that
// names it, so that limits are counted per client.
func serveToken(w http.ResponseWriter, r *http.Request) {
	client := r.PostFormValue("client_id")
	if client == "" {
		client = newGUID().String()
	}
	w.Header().Set("Content-Type", "application/json")
	io.WriteString(w, `{"token_type":"Bearer","expires_in":3599,"ext_expires_in":3599,"access_token":"`+tokenPrefix)
	w.Write(appendString(nil, client)[1:])
	io.WriteString(w, "}")
}

// newCall reads a request but for its body. The call is usable for answering also
// when there is an error.
func (s *Server) newCall(r *http.Request) (*call, error) {
	scheme := "http://"
	if r.TLS != nil {
		scheme = "https://"
	}
	method := r.Method
	if method == http.MethodHead {
		method = http.MethodGet // net/http keeps the body back
	}
	c := &call{srv: s, method: method, header: r.Header, prefer: parsePrefer(r.Header), level: levelOf(r.Header.Get("Accept")), user: UserID, caller: UserID, message: "Unknown"}
	c.other = c.otherService(r.URL.Path)
	version, path := cutAPI(r.URL.EscapedPath())
	if c.other != nil {
		version, path = "v9.2", strings.TrimPrefix(r.URL.Path, "/")
	}
	c.api = scheme + r.Host + apiPrefix + version
	c.path = path
	kind, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(kind, "Bearer") || token == "" || token == "expired" {
		return c, errUnauthorized()
	}
	c.token = token
	if !slices.Contains(apiVersions, version) {
		return c, errorf(http.StatusNotFound, "", "No HTTP resource was found that matches the request URI '%s%s%s'.", scheme, r.Host, r.URL.Path)
	}
	if len(r.URL.EscapedPath())+len(r.URL.RawQuery) > 32768 {
		return c, errorf(http.StatusRequestURITooLong, "", "The request URL is too long.")
	}
	var err error
	c.query, err = parseQuery(r.URL.RawQuery)
	if err == nil {
		err = c.applicationUser()
	}
	if err == nil {
		err = c.impersonate()
	}
	return c, err
}

// apiVersions are those that the service has. Old ones keep working (section 1.1), and
// old clients ask for them; what they did otherwise is not imitated.
var apiVersions = []string{"v9.2", "v9.1", "v9.0", "v8.2", "v8.1", "v8.0"}

// cutAPI cuts an escaped path into the version and what follows it. The way to the
// service is found as web servers of that kind find one: in any case, and with slashes
// to spare, which clients make that put a slash behind the environment's address.
func cutAPI(path string) (version, rest string) {
	path = "/" + strings.TrimLeft(path, "/")
	if len(path) < len(apiPrefix) || !strings.EqualFold(path[:len(apiPrefix)], apiPrefix) {
		return "", ""
	}
	version, rest, _ = strings.Cut(path[len(apiPrefix):], "/")
	return strings.ToLower(version), rest
}

// impersonate makes the user of CallerObjectId or, without it, of MSCRMCallerID the one
// who acts (section 9).
func (c *call) impersonate() error {
	t := c.srv.model.byName["systemuser"]
	id := c.header.Get("MSCRMCallerID")
	oid := c.header.Get("CallerObjectId")
	if id == "" && oid == "" || t == nil {
		return nil
	}
	err := c.view(func(tx *tx) error {
		if col := t.byName["azureactivedirectoryobjectid"]; oid != "" && col != nil {
			found := false
			tx.scan(t, schema.GUID{}, func(r row) bool {
				if found = strings.EqualFold(r.value(col).String(), oid); found {
					c.user = r.id
				}
				return !found
			})
			if found {
				return nil
			}
		}
		if g, err := schema.ParseGUID(id); oid == "" && err == nil && tx.exists(t, g) {
			c.user = g
			return nil
		}
		return errorf(http.StatusForbidden, "0x80072560", "The user is not a member of the organization.")
	})
	if err != nil {
		return err
	}
	return c.enabled()
}

func (c *call) readBody(w http.ResponseWriter, r *http.Request) error {
	most := c.srv.opts.MaxBody
	if r.ContentLength > most {
		return errTooLarge()
	}
	if r.ContentLength >= 0 {
		c.body = make([]byte, r.ContentLength)
		if _, err := io.ReadFull(r.Body, c.body); err != nil {
			return errPayload(c.setName(), "System.IO.IOException: Stream was not readable.")
		}
		return nil
	}
	var err error
	c.body, err = io.ReadAll(http.MaxBytesReader(w, r.Body, most))
	var tooLarge *http.MaxBytesError
	if errors.As(err, &tooLarge) {
		return errTooLarge()
	}
	if err != nil { // chunks that are none, or too few
		return errPayload(c.setName(), "System.IO.IOException: Stream was not readable.")
	}
	return nil
}

func errTooLarge() *apiError {
	return errorf(http.StatusRequestEntityTooLarge, "0x8004418A", "Request message length is too large.")
}

// real is how long a duration of the emulator's takes here.
func (s *Server) real(d time.Duration) time.Duration {
	if s.opts.Speed <= 0 {
		return d
	}
	return time.Duration(float64(d) / s.opts.Speed)
}

// elapsed is the emulator's time since its start.
func (s *Server) elapsed() time.Duration {
	d := time.Since(s.began)
	if s.opts.Speed <= 0 || s.opts.Speed == 1 {
		return d
	}
	return time.Duration(float64(d) * s.opts.Speed)
}

// wait spends the server time that the call costs, and the latency, and ends the call.
// A client that goes away does not shorten what runs on the server.
func (c *call) wait(r *http.Request, end func()) {
	s := c.srv
	cost := s.real(c.cost)
	d := cost + s.real(s.opts.latency())
	if d <= 0 {
		end()
		return
	}
	begin := time.Now()
	timer := time.NewTimer(d)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
			end()
			return
		case <-c.letGo: // it counts as if nothing had held it
			held := s.real(c.held)
			cost, d, c.spent, c.letGo = cost-held, d-held, c.spent-c.held, nil
			timer.Reset(d - time.Since(begin))
		case <-r.Context().Done():
			s.work.Go(func() {
				s.sleep(cost - time.Since(begin))
				end()
			})
			return
		}
	}
}

// charge adds what the call's rows cost.
func (c *call) charge() {
	name := ""
	if c.table != nil {
		name = c.table.LogicalName
	}
	c.cost += c.srv.opts.Cost.of(name, c.message, c.records)
}

// newGUID makes a random id.
func newGUID() schema.GUID {
	var g schema.GUID
	rand.Read(g[:])
	g[6], g[8] = g[6]&0x0f|0x40, g[8]&0x3f|0x80
	return g
}
