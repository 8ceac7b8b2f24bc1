package dataverse

import (
	"context"
	"errors"
	"time"

	"dvmigrate/appliance/dataverse/pace"
)

// PassingOn returns a client that waits for nobody: a request that is throttled, or
// whose user is held off by the service, is not sent (again) but returns Throttled at
// once, for a caller who has another user to send it as. The parts of a batch that
// were throttled after others were done wait as ever, since the batch is theirs no
// more to give away.
func (c *Client) PassingOn() *Client {
	d := *c
	d.passOn = true
	return &d
}

// staying is the same client without PassingOn.
func (c *Client) staying() *Client {
	d := *c
	d.passOn = false
	return &d
}

const (
	// LongHold is from what wait on a user counts as held off: shorter ones are pace
	// spreading the requests.
	LongHold = time.Second
	// heldLook is how often a request that waits for its permit looks whether its user is
	// held off meanwhile.
	heldLook = 250 * time.Millisecond
)

var errHeld = errors.New("the service holds this user off")

// HeldFor is how long the service holds the user off, or its limits do; 0 when that is
// less than LongHold.
func (c *Client) HeldFor() time.Duration {
	s := c.pace.Stats()
	if d := max(s.Pause, time.Until(s.HeldUntil)); d >= LongHold {
		return d
	}
	return 0
}

// permit waits for the right to send. A client that passes on gives up with errHeld
// when its user is held off.
func (c *Client) permit(wait *waits) (pace.Permit, error) {
	if wait.may() {
		if p, ok := c.pace.Try(); ok {
			return p, nil
		}
	}
	ctx := wait.context()
	if !c.passOn {
		return c.pace.Acquire(ctx)
	}
	for {
		if c.HeldFor() > 0 {
			return pace.Permit{}, errHeld
		}
		look, stop := context.WithTimeout(ctx, heldLook)
		p, err := c.pace.Acquire(look)
		stop()
		if err == nil || ctx.Err() != nil {
			return p, err
		}
	}
}
