package console

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestASlowReaderGetsTheNewestAndKeepsNobodyWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		looks := 0
		h := newHub(func(context.Context) (State, error) {
			looks++
			return State{Project: fmt.Sprint("look ", looks)}, nil
		})
		go h.run(ctx)
		time.Sleep(time.Minute)
		if looks != 0 {
			t.Fatalf("%d looks while nobody watched", looks)
		}
		slow, quick := h.join(), h.join()
		last := []byte{}
		for range 60 {
			last = <-quick
		}
		if looks < 59 || looks > 61 {
			t.Errorf("%d looks in a minute", looks)
		}
		if got := <-slow; !bytes.Equal(got, last) {
			t.Errorf("the slow reader got %s, the quick one %s", got, last)
		}
		h.leave(slow)
		h.leave(quick)
		before := looks
		time.Sleep(time.Minute)
		if looks > before+1 {
			t.Errorf("%d looks when all had left", looks-before)
		}
	})
}

func TestWatchersAreBounded(t *testing.T) {
	h := newHub(nil)
	for range maxReaders {
		if h.join() == nil {
			t.Fatal("refused too early")
		}
	}
	if h.join() != nil {
		t.Error("one too many was let in")
	}
}

// endless answers no question until its context ends.
type endless struct {
	still
	asked chan struct{}
	ended atomic.Bool
}

func (e *endless) Ask(ctx context.Context, _ Question) (any, error) {
	close(e.asked)
	<-ctx.Done()
	e.ended.Store(true)
	return nil, ctx.Err()
}

// TestNobodyIsAskedAfterTheEnd: whoever ends the console may close the project at once.
func TestNobodyIsAskedAfterTheEnd(t *testing.T) {
	c := &endless{asked: make(chan struct{})}
	s := newConsole(t, c, Options{})
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(ctx) }()
	b := s.browse(t)
	b.enter(s.Link(Viewer))
	req, err := http.NewRequestWithContext(t.Context(), "POST", s.URL()+"/api/ask", strings.NewReader(`{"what":"sql"}`))
	if err != nil {
		t.Fatal(err)
	}
	req.Header = b.header.Clone()
	for _, cookie := range b.cookies {
		req.AddCookie(cookie)
	}
	go func() {
		if res, err := http.DefaultClient.Do(req); err == nil {
			res.Body.Close()
		}
	}()
	<-c.asked
	stop()
	if err := <-ended; err != nil || !c.ended.Load() {
		t.Errorf("serve ended with %v while a question was being answered: %v", err, !c.ended.Load())
	}
	if status, _ := b.ask("GET", "/api/me", ""); status != http.StatusServiceUnavailable {
		t.Errorf("after the end: %d", status)
	}
}
