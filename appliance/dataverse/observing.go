package dataverse

import "context"

type observingKey struct{}

// Observing returns a context for requests of which fn is told, as Options.Observe is of
// all: from the goroutine that sends, before the request's outcome is returned.
func Observing(ctx context.Context, fn func(Exchange)) context.Context {
	return context.WithValue(ctx, observingKey{}, fn)
}

// tell tells of an exchange whoever asked to be.
func (c *Client) tell(ctx context.Context, x Exchange) {
	if c.observe != nil {
		c.observe(x)
	}
	if fn, ok := ctx.Value(observingKey{}).(func(Exchange)); ok {
		fn(x)
	}
}
