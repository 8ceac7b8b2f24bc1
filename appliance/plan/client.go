package plan

// client is one user's client, as package pace lets it send: permits in the order in
// which they were asked for, never more at once than the ramp allows, requests and
// execution time spread over the window, a hold after a throttle, and one request at a
// time while only a gateway answers. What pace learns there is learnt here, from its
// description and in a clock of its own; a change of the one belongs in the other.
type client struct {
	count, time spread // requests, execution
	ramp        ramp
	meters      []meter // the service's, one a server
	turn        int     // of the servers: a user's requests go round

	queue    []*job // wait for a permit
	calls    int    // given to it and not yet back
	sent     int    // so far
	inFlight int
	pending  float64 // execution time under way, as guessed
	guess    float64 // of the execution time of the next request
	near     float64 // the shortest answer time, which it takes for the network's

	held   float64 // no request before
	acted  float64 // when a throttle last changed the pace
	away   bool    // nobody but a gateway answers
	absent int     // times in a row
	why    cause   // why the first in the queue waits; byNone = it does not
	due    float64 // when to look again; less than 0: when something happens
	stale  bool    // something has
}

func newClient(a Assumptions) *client {
	l := a.Limits
	window := l.Window.Seconds()
	if window <= 0 {
		window = 300
	}
	c := &client{count: newSpread(float64(l.Requests), window), time: newSpread(l.Execution.Seconds(), window), ramp: newRamp(l.Concurrent, a.Hint)}
	for range max(l.Servers, 1) {
		c.meters = append(c.meters, meter{requests: l.Requests, execution: l.Execution.Seconds(), atOnce: l.Concurrent, window: window})
	}
	return c
}

// pause is how long the next request has to wait though the ramp has room.
func (c *client) pause(now float64) float64 {
	return max(c.held-now, c.count.pause(now, 0), c.time.pause(now, c.pending), 0)
}

// wakeAfter is how long it sleeps at the most before it looks again.
const wakeAfter = 1.0

// dispatch sends what may be sent now. wake is when to look again; less than 0: when an
// answer comes.
func (c *client) dispatch(s *step) (wake float64) {
	for len(c.queue) > 0 {
		c.why = byNone
		switch {
		case c.away && c.inFlight > 0:
			c.why = byThrottles
			return -1
		case c.inFlight >= c.ramp.size:
			c.ramp.full = true
			c.why = byRamp
			if c.ramp.size >= c.ramp.ceiling(s.now)*3/4 {
				c.why = byConcurrency
			}
			return -1
		}
		wait := c.held - s.now
		if wait > 0 {
			c.why = byThrottles
		}
		if p := c.count.pause(s.now, 0); p > max(wait, 0) {
			wait, c.why = p, byRequests
		}
		if p := c.time.pause(s.now, c.pending); p > max(wait, 0) {
			wait, c.why = p, byExecution
		}
		if wait > 0 {
			return s.now + min(wait, wakeAfter)
		}
		j := c.queue[0]
		c.queue = c.queue[:copy(c.queue, c.queue[1:])]
		s.send(c, j)
	}
	c.why = byNone
	return -1
}

// queues takes a request that waits for its permit.
func (c *client) queues(j *job) {
	c.queue = append(c.queue, j)
	c.stale = true
}

// permit books a request that goes out.
func (c *client) permit(now float64, j *job) {
	c.count.sent(now, 1, 0)
	c.time.sent(now, c.guess, c.pending)
	c.count.spend(now, now, 1)
	c.inFlight++
	c.sent++
	j.guess = c.guess
	c.pending += j.guess
	j.counted, j.spent = c.count.sum, c.time.sum
}

// back takes a permit back.
func (c *client) back(j *job) {
	c.stale = true
	c.inFlight--
	c.pending = max(c.pending-j.guess, 0)
}

// answered takes in an answer of the service's own: how long it took, and what the
// server says is left when it was a success.
func (c *client) answered(now float64, j *job, refused bool) {
	c.away, c.absent = false, 0
	if m := j.meter; m != nil && !refused {
		c.count.report(float64(j.place), j.counted, j.began, now)
		c.time.report(j.used, j.spent, j.began, now)
	}
	took := now - j.began
	c.ramp.done(now, took, j.at.size)
	if c.near == 0 || took < c.near {
		c.near = took
	}
	cost := max(took-c.near, took/2)
	c.time.spend(j.began, now, cost)
	if c.guess == 0 {
		c.guess = cost
	}
	c.guess += (cost - c.guess) / 8
	j.booked = cost
}

// throttled takes in a 429.
func (c *client) throttled(now float64, j *job, wait, jitter float64) {
	c.away, c.absent = false, 0
	if j.began > c.acted {
		c.acted = now
		switch j.facet {
		case byRequests:
			c.count.refused(j.counted, now)
		case byExecution:
			c.time.refused(j.spent, now)
		default:
			c.ramp.throttled(now, c.inFlight+1)
		}
	}
	c.hold(now, wait, jitter)
	c.ramp.restart()
}

// gone takes in a gateway's page: a short hold, longer each time.
func (c *client) gone(now float64, j *job, jitter float64) {
	c.away = true
	if j.began > c.acted {
		c.acted = now
		c.absent++
	}
	c.hold(now, min(float64(int(1)<<min(max(c.absent-1, 0), 6)), 60), jitter)
	c.ramp.restart()
}

// hold stops all requests of the user, with a jitter of up to a tenth.
func (c *client) hold(now, wait, jitter float64) {
	wait = min(max(wait, 1), 300)
	c.held = max(c.held, now+wait+jitter*min(wait/10, 3))
}
