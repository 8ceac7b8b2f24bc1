package console

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"sync"
	"time"
)

// How often the project is looked at while somebody watches, how long a look may take, how
// long a browser may take to receive one, and how many may watch.
const (
	lookEvery  = time.Second
	lookTime   = 20 * time.Second
	sendTime   = 15 * time.Second
	aliveEvery = 15 * time.Second
	maxReaders = 100
	showEvents = 40 // of the newest
)

// hub looks at the project once for all who watch, and only while somebody does. What a
// reader has not fetched is replaced by what is newer: nobody waits for a slow one.
type hub struct {
	look func(context.Context) (State, error)

	mu      sync.Mutex // protects what follows
	readers map[chan []byte]bool
	newest  []byte
	ended   chan struct{} // closed by close
	begin   chan struct{} // somebody has come
}

func newHub(look func(context.Context) (State, error)) *hub {
	return &hub{look: look, readers: map[chan []byte]bool{}, ended: make(chan struct{}), begin: make(chan struct{}, 1)}
}

// run looks until ctx ends.
func (h *hub) run(ctx context.Context) {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-h.begin:
		}
		if h.watched() {
			h.publish(h.state(ctx))
		}
	}
}

func (h *hub) watched() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.readers) > 0
}

// state looks once. What cannot be looked at is said in the state.
func (h *hub) state(ctx context.Context) []byte {
	ctx, cancel := context.WithTimeout(ctx, lookTime)
	defer cancel()
	s, err := h.look(ctx)
	if err != nil {
		s = State{Fault: err.Error()}
	}
	s.Time = time.Now()
	if s.Live != nil && len(s.Live.Events) > showEvents {
		live := *s.Live
		live.Events = live.Events[len(live.Events)-showEvents:]
		s.Live = &live
	}
	b, err := json.Marshal(s)
	if err != nil { // a number that JSON does not have
		b, _ = json.Marshal(State{Time: s.Time, Fault: err.Error()})
	}
	return b
}

// publish hands a state to all readers. It never waits.
func (h *hub) publish(b []byte) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.newest = b
	for c := range h.readers {
		select {
		case <-c: // not fetched yet, and old now
		default:
		}
		c <- b // there is room: only publish puts anything in
	}
}

// join adds a reader, who gets the newest state at once; nil when there are too many.
func (h *hub) join() chan []byte {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.readers) >= maxReaders {
		return nil
	}
	c := make(chan []byte, 1)
	if h.newest != nil && len(h.readers) > 0 { // else it is old
		c <- h.newest
	}
	h.readers[c] = true
	select {
	case h.begin <- struct{}{}:
	default:
	}
	return c
}

func (h *hub) leave(c chan []byte) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.readers, c)
}

// close has all readers take the last state and go. It is called once.
func (h *hub) close() { close(h.ended) }

// events streams the state to one browser (server-sent events).
func (s *Server) events(w http.ResponseWriter, r *http.Request, _ session) {
	c := s.live.join()
	if c == nil {
		refuse(w, http.StatusServiceUnavailable, fmt.Sprintf("%d browsers watch already; close one", maxReaders))
		return
	}
	defer s.live.leave(c)
	w.Header().Set("Content-Type", "text/event-stream")
	out := http.NewResponseController(w)
	_ = out.SetReadDeadline(time.Time{}) // the stream is as long as the visit
	send := func(event string, data []byte) bool {
		_ = out.SetWriteDeadline(time.Now().Add(sendTime)) // who takes longer is gone
		_, err := fmt.Fprintf(w, "event: %s\ndata: %s\n\n", event, data)
		return err == nil && out.Flush() == nil
	}
	alive := time.NewTicker(aliveEvery)
	defer alive.Stop()
	for {
		select {
		case <-r.Context().Done():
			return
		case <-s.live.ended:
			select {
			case b := <-c:
				send("state", b)
			default:
			}
			send("end", []byte(`"the console was stopped"`))
			return
		case <-alive.C:
			if !send("alive", []byte("0")) {
				return
			}
		case b := <-c:
			if !send("state", b) {
				return
			}
		}
	}
}
