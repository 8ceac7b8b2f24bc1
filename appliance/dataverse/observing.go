package dataverse

import (
	"context"
	"log/slog"
)

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

// logFailure writes a line about a request that did not succeed, with the service's id of
// it, by which its operator finds what happened there. What the service says may quote
// values that were sent; nothing else of a request's body is in it.
func (c *Client) logFailure(ctx context.Context, x Exchange, e *Error) {
	level := slog.LevelWarn
	switch e.Kind {
	case Throttled: // asks to wait, and is waited for
		level = slog.LevelInfo
	case Stopped:
		return
	}
	if c.log.Enabled(ctx, level) {
		c.log.LogAttrs(ctx, level, "request failed", slog.String("op", e.Op), slog.String("kind", e.Kind.String()), slog.Int("http", e.Status),
			slog.String("code", codeText(e.Code)), slog.String("request", e.RequestID), slog.Int("records", x.Records),
			slog.Float64("seconds", x.Took.Seconds()), slog.Duration("retryAfter", e.RetryAfter), slog.String("message", e.Message))
	}
}
