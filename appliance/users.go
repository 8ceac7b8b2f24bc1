package appliance

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"dvmigrate/appliance/config"
	"dvmigrate/appliance/dataverse"
	"dvmigrate/appliance/dataverse/identity"
	"dvmigrate/appliance/dataverse/pace"
	"dvmigrate/appliance/dataverse/schema"
)

// users are the application users that a project signs in as. Limits are counted per
// user (dataverse-web-api.md 8.1), so each has a client and a pace of its own, and
// every request goes through the one with the most room.
type users struct {
	each []*user
	ids  []schema.GUID // who they are, once they have been met
	mu   sync.Mutex    // protects user.calls
}

type user struct {
	name   string // for messages
	client *dataverse.Client
	source *identity.Source
	calls  int // given out and not yet back
}

// connect makes the clients of the project's target environment. It sends nothing but,
// where the settings ask for it, the sign-in. perUser is how many requests may be
// under way as each user; 0 = as the settings say.
func (p *Project) connect(perUser int) (*users, error) {
	if err := p.Config.RequireTarget(); err != nil {
		return nil, err
	}
	if perUser <= 0 {
		perUser = p.Config.Limits.Concurrent
	}
	u := &users{}
	signIns := p.Config.Target.SignIns()
	for i, s := range signIns {
		name := ""
		if len(signIns) > 1 {
			name = fmt.Sprintf("application user %d of %d", i+1, len(signIns))
			if s.Client != "" {
				name += " (" + s.Client + ")"
			}
		}
		client, source, err := p.client(s, i, perUser)
		if err != nil {
			u.close()
			return nil, named(name, err)
		}
		u.each = append(u.each, &user{name: name, client: client, source: source})
	}
	return u, nil
}

func (p *Project) client(s config.User, i, perUser int) (*dataverse.Client, *identity.Source, error) {
	if err := errors.Join(p.Config.Target.Token.Check("target.token"), s.Token.Check("target.token"), s.Secret.Check("target.secret")); err != nil {
		return nil, nil, err
	}
	o := p.signIn(p.Config.Target, s, i)
	credential, err := identity.New(o)
	if err != nil {
		return nil, nil, &SignInError{Err: err}
	}
	l := p.Config.Limits
	client, err := dataverse.New(dataverse.Options{
		URL: o.Resource, Token: credential, Timeout: p.Config.Load.Timeout, Patience: patience(p.Config.Load.Patience),
		Limiter:   pace.New(pace.Options{Max: perUser, MostRequests: l.Requests, MostExecution: l.Execution, Window: l.Window}),
		UserAgent: "dvmigrate/" + p.o.Version, Logger: p.o.Log, Observe: p.observeAs(userLabel(s, i)),
	})
	return client, credential, err
}

// userLabel is what a user is called in metrics: by its application, else by its place.
func userLabel(s config.User, i int) string { return first(s.Client, strconv.Itoa(i+1)) }

// observeAs is who is told of a user's requests; nil = nobody.
func (p *Project) observeAs(user string) func(dataverse.Exchange) {
	all, count := p.observe, p.tally.Load()
	if all == nil || count == nil {
		return all
	}
	return func(x dataverse.Exchange) { all(x); count.observe(user, x) }
}

// patience is the client's: none there is less than 0.
func patience(d time.Duration) time.Duration {
	if d == 0 {
		return -1
	}
	return d
}

// signIn is how a user signs in: a ready token wins, and an emulator on this machine
// takes any, which is a user of its own there. t is the environment.
func (p *Project) signIn(t config.Target, s config.User, i int) identity.Options {
	o := identity.Options{Kind: identity.Kind(s.Auth), Tenant: s.Tenant, Client: s.Client, Secret: s.Secret.Reveal(),
		Token: s.Token.Reveal(), Resource: t.Environment(), Cloud: t.Cloud, Prompt: p.o.Prompt}
	if s.Certificate != "" {
		o.Certificate = p.Config.Path(s.Certificate)
	}
	switch {
	case o.Token != "":
		o.Kind = identity.Token
	case t.Loopback() && (s.Auth == "default" || s.Auth == "none") && i == 0:
		o.Kind = identity.None
	case t.Loopback() && (s.Auth == "default" || s.Auth == "none"):
		o.Kind, o.Token = identity.Token, fmt.Sprintf("emulator-%d", i+1)
	}
	return o
}

// named says which user an error is about, where there are several.
func named(name string, err error) error {
	if err == nil || name == "" {
		return err
	}
	return fmt.Errorf("%s: %w", name, err)
}

// meet signs every user in and finds out who and where they are, and whether the
// environment is the project's. again is the address said a second time; "" = not said.
func (p *Project) meet(ctx context.Context, perUser int, again string) (*users, error) {
	if err := p.Config.RequireTarget(); err != nil {
		return nil, err
	}
	if err := p.allowTarget(again); err != nil {
		return nil, err
	}
	u, err := p.connect(perUser)
	if err != nil {
		return nil, err
	}
	for i, one := range u.each {
		who, err := one.client.WhoAmI(ctx)
		if err == nil && i == 0 {
			if err = p.keepTarget(who, again); err == nil {
				err = p.keepLanguage(ctx, one.client)
			}
		}
		u.ids = append(u.ids, who.UserID)
		if err != nil {
			u.close()
			return nil, named(one.name, p.explainTarget(err))
		}
	}
	return u, nil
}

func (u *users) close() {
	for _, one := range u.each {
		one.client.Close()
	}
}

// first is the client for what takes only a few requests.
func (u *users) first() *dataverse.Client { return u.each[0].client }

// pick chooses the user for one call: of those that are not held off by the service
// the one with the most room, else the one that is free the soonest. held says that it
// is that one.
func (u *users) pick() (i int, held bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	best := 0
	var least room
	for i, one := range u.each {
		s := one.client.Limiter().Stats()
		r := room{wait: one.client.HeldFor(), queues: s.Pause > 0 || one.calls >= s.Window, sent: s.Requests}
		if r.load = float64(one.calls+1) / float64(max(s.Window, 1)); r.queues {
			r.load = float64(one.calls - s.InFlight)
		}
		if i == 0 || r.more(least) {
			best, least = i, r
		}
	}
	u.each[best].calls++
	return best, least.wait > 0
}

func (u *users) back(i int) {
	u.mu.Lock()
	u.each[i].calls--
	u.mu.Unlock()
}

// room is how well one more call would do as a user. One that would be sent at once goes
// before one that has to queue: calls that queue as users whose limits are nearly spent
// would leave the others idle.
type room struct {
	wait   time.Duration // until the service lets requests through again
	queues bool          // it would not be sent at once
	load   float64       // calls for each that may be under way; calls that queue
	sent   uint64        // so far: of equals, the one that had less
}

func (r room) more(than room) bool {
	switch {
	case r.wait != than.wait:
		return r.wait < than.wait
	case r.queues != than.queues:
		return than.queues
	case r.load != than.load:
		return r.load < than.load
	}
	return r.sent < than.sent
}

// throttled adds up the throttles of all users, and says how long none of them may
// send.
func (u *users) throttled() (total uint64, wait time.Duration) {
	now := time.Now()
	for i, one := range u.each {
		s := one.client.Limiter().Stats()
		total += s.Throttled.Total()
		if held := max(s.HeldUntil.Sub(now), 0); i == 0 || held < wait {
			wait = held
		}
	}
	return total, wait
}

// away is since when the target is not there, by the word of all users; zero: it is.
func (u *users) away() time.Time {
	var since time.Time
	for _, one := range u.each {
		s := one.client.Limiter().Stats()
		if s.Away.IsZero() {
			return time.Time{}
		}
		if s.Away.After(since) {
			since = s.Away
		}
	}
	return since
}

// tokenEnds is when the first of the users cannot sign in any more; zero: none is known to.
func (u *users) tokenEnds() time.Time {
	var first time.Time
	for _, one := range u.each {
		if one.source == nil {
			continue
		}
		if at := one.source.Ends(); !at.IsZero() && (first.IsZero() || at.Before(first)) {
			first = at
		}
	}
	return first
}

// route sends a table's requests, each as one of the users, with what the table's
// settings ask of the service. A request that one user was throttled with goes out
// again as another. It is a load.Target.
type route struct {
	users   *users
	clients []*dataverse.Client // one a user
	passing []*dataverse.Client // the same, passing on
}

// route makes the way for requests with these headers.
func (u *users) route(h config.Headers) (*route, error) {
	r := &route{users: u}
	for _, one := range u.each {
		c, err := one.client.With(headerLines(h))
		if err != nil {
			return nil, err
		}
		c = c.Tagged(h.Tag)
		r.clients, r.passing = append(r.clients, c), append(r.passing, c.PassingOn())
	}
	return r, nil
}

// impersonates reports whether some records are written as another user.
func (p *Project) impersonates() bool {
	h := p.Config.Load.Headers
	found := h.Impersonate+h.ImpersonateUser != ""
	for _, t := range p.Config.Tables {
		found = found || t.Impersonate != "" || t.Headers.Impersonate+t.Headers.ImpersonateUser != ""
	}
	return found
}

// headerLines are the headers in the service's words (dataverse-web-api.md 9).
func headerLines(h config.Headers) map[string]string {
	lines := map[string]string{}
	var bypass []string
	for _, word := range h.Bypass {
		bypass = append(bypass, map[string]string{"sync": "CustomSync", "async": "CustomAsync"}[word])
	}
	set := func(name, value string) {
		if value != "" {
			lines[name] = value
		}
	}
	set("MSCRM.BypassBusinessLogicExecution", strings.Join(bypass, ","))
	set("MSCRM.BypassBusinessLogicExecutionStepIds", strings.Join(h.BypassSteps, ","))
	set("CallerObjectId", h.Impersonate)
	set("MSCRMCallerID", h.ImpersonateUser)
	if h.SuppressFlows {
		lines["MSCRM.SuppressCallbackRegistrationExpanderJob"] = "true"
	}
	if h.DuplicateDetection {
		lines["MSCRM.SuppressDuplicateDetection"] = "false"
	}
	return lines
}

// call sends as one user after the other until one is not held off; when all are, it
// waits for the one that is free the soonest.
func (r *route) call(ctx context.Context, send func(*dataverse.Client) error) error {
	for {
		i, held := r.users.pick()
		last := held || len(r.clients) == 1
		c := r.passing[i]
		if last {
			c = r.clients[i]
		}
		err := send(c)
		r.users.back(i)
		if last || dataverse.KindOf(err) != dataverse.Throttled || ctx.Err() != nil {
			return err
		}
	}
}

func (r *route) CreateMany(ctx context.Context, t *schema.Table, body []byte, records int) error {
	return r.call(ctx, func(c *dataverse.Client) error { return c.CreateMany(ctx, t, body, records) })
}

func (r *route) UpdateMany(ctx context.Context, t *schema.Table, body []byte, records int) error {
	return r.call(ctx, func(c *dataverse.Client) error { return c.UpdateMany(ctx, t, body, records) })
}

func (r *route) Create(ctx context.Context, t *schema.Table, body []byte) error {
	return r.call(ctx, func(c *dataverse.Client) error { return c.Create(ctx, t, body) })
}

func (r *route) Update(ctx context.Context, t *schema.Table, id schema.GUID, body []byte) error {
	return r.call(ctx, func(c *dataverse.Client) error { return c.Update(ctx, t, id, body) })
}

func (r *route) ReplaceParties(ctx context.Context, t *schema.Table, id schema.GUID, nav string, body []byte) error {
	return r.call(ctx, func(c *dataverse.Client) error { return c.ReplaceParties(ctx, t, id, nav, body) })
}

func (r *route) Associate(ctx context.Context, l dataverse.Link, p dataverse.Pair) error {
	return r.call(ctx, func(c *dataverse.Client) error { return c.Associate(ctx, l, p) })
}

func (r *route) Batch(ctx context.Context, ops []dataverse.Op) (errs []error, err error) {
	err = r.call(ctx, func(c *dataverse.Client) (err error) {
		errs, err = c.Batch(ctx, ops)
		return err
	})
	return errs, err
}

func (r *route) Existing(ctx context.Context, t *schema.Table, ids []schema.GUID) (found map[schema.GUID]struct{}, err error) {
	err = r.call(ctx, func(c *dataverse.Client) (err error) {
		found, err = c.Existing(ctx, t, ids)
		return err
	})
	return found, err
}

// Records reads as one user, as Rows does.
func (r *route) Records(ctx context.Context, t *schema.Table, ids []schema.GUID, columns []string, fn func(id schema.GUID, row json.RawMessage) error) error {
	i, _ := r.users.pick()
	defer r.users.back(i)
	return r.users.each[i].client.Records(ctx, t, ids, columns, fn)
}

// Rows reads all pages as one user; a page that was throttled waits for that user, as
// the rows before it were handed on already.
func (r *route) Rows(ctx context.Context, t *schema.Table, q dataverse.Query, fn func(row json.RawMessage) error) error {
	i, _ := r.users.pick()
	defer r.users.back(i)
	return r.users.each[i].client.Rows(ctx, t, q, fn)
}

// routes are the ways of all tables' requests, by logical name; that under "" is of
// no table, for reading.
func (p *Project) routes(u *users, b *bound) (map[string]*route, error) {
	plain, err := u.route(config.Headers{})
	routes := map[string]*route{"": plain}
	for _, t := range b.tables {
		if err == nil {
			routes[t.Name], err = u.route(p.Config.Table(t.Name).Headers)
		}
	}
	return routes, err
}
