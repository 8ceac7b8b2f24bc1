package appliance

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"dvmigrate/appliance/config"
	"dvmigrate/appliance/progress"
)

const (
	callTime   = 15 * time.Second // of one try
	callTries  = 5                // of a call, before the next one's turn comes
	callQueue  = 64               // calls that wait for one channel
	callGrace  = 5 * time.Second  // what the end of the load waits for calls under way
	longestAsk = 5 * time.Minute  // of a Retry-After
)

// caller calls through one channel, beside the load: calls wait in a queue, in which the
// oldest give way; one goroutine sends them, with a time for each try and growing waits
// between. That a channel does not work is told once, until it has worked again.
type caller struct {
	name    string
	channel channel
	only    []string
	tell    func(text string)
	queue   chan Call
	dropped atomic.Int64
	failing atomic.Bool
	last    atomic.Pointer[string] // why the newest try failed; nil = it did not
	idle    chan struct{}          // closed when the queue was closed and is empty
}

func newCaller(name string, c config.Channel, ch channel, tell func(string)) *caller {
	return &caller{name: name, channel: ch, only: c.Only, tell: tell, queue: make(chan Call, callQueue), idle: make(chan struct{})}
}

// wants says whether the channel gets the alerts of a rule.
func (c *caller) wants(r progress.Rule) bool {
	return len(c.only) == 0 || slices.Contains(c.only, string(r))
}

// call puts a call into the queue and never waits. Only one goroutine calls.
func (c *caller) call(x Call) {
	for {
		select {
		case c.queue <- x:
			return
		default:
		}
		select {
		case <-c.queue:
			c.dropped.Add(1)
		default:
		}
	}
}

// run sends what is in the queue until it is closed, or ctx ends.
func (c *caller) run(ctx context.Context) {
	defer close(c.idle)
	for x := range c.queue {
		_, err := c.deliver(ctx, x)
		if ctx.Err() != nil {
			return
		}
		c.judge(err)
	}
}

// judge tells of a channel that has begun to fail.
func (c *caller) judge(err error) {
	was := c.failing.Load()
	defer c.failing.Store(err != nil) // whoever finds it failing knows that this is told
	switch {
	case err != nil && !was:
		c.tell(fmt.Sprintf("alerts do not arrive by %s: %v; the load goes on, `dvmigrate alert test %s` tries it", c.name, err, c.name))
	case err == nil && was:
		text := fmt.Sprintf("alerts arrive by %s again", c.name)
		if n := c.dropped.Swap(0); n > 0 {
			text += fmt.Sprintf("; %d were lost", n)
		}
		c.tell(text)
	}
}

// late says of a channel, when the work has ended, that calls have not arrived; "" = they
// have, or it is known that it fails.
func (c *caller) late(command string) string {
	select {
	case <-c.idle:
		return ""
	default:
	}
	if c.failing.Load() {
		return ""
	}
	why := ""
	if text := c.last.Load(); text != nil {
		why = ": " + *text
	}
	return fmt.Sprintf("alerts by %s had not arrived when %s ended%s; `dvmigrate alert test %s` tries it", c.name, command, why, c.name)
}

// deliver tries a call several times, as long as another try may help.
func (c *caller) deliver(ctx context.Context, x Call) (answer string, err error) {
	for try := 1; ; try++ {
		answer, err = c.once(ctx, x)
		c.last.Store(nil)
		if err != nil {
			text := err.Error()
			c.last.Store(&text)
		}
		var r *refusal
		if err == nil || try == callTries || errors.As(err, &r) && !r.again {
			return answer, err
		}
		wait := time.Second << try
		if r != nil && r.after > 0 {
			wait = min(r.after, longestAsk)
		}
		t := time.NewTimer(wait)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return "", err
		}
	}
}

// once tries a call. A channel that does not heed its context is left behind.
func (c *caller) once(ctx context.Context, x Call) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	type result struct {
		answer string
		err    error
	}
	done := make(chan result, 1)
	go func() {
		answer, err := c.channel.send(ctx, x)
		done <- result{answer, err}
	}()
	select {
	case r := <-done:
		return r.answer, r.err
	case <-ctx.Done():
		select {
		case r := <-done:
			return r.answer, r.err
		case <-time.After(time.Second):
		}
		return "", fmt.Errorf("no answer in %v", callTime)
	}
}
