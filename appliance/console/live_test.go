package console

import (
	"bytes"
	"context"
	"fmt"
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
