package console

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"
)

// questions are what the page asks for when somebody looks at it.
func (s *Server) questions(mux *http.ServeMux) {
	mux.HandleFunc("GET /api/me", s.seen(func(w http.ResponseWriter, _ *http.Request, who session) { reply(w, who, nil) }))
	mux.HandleFunc("POST /api/ask", s.done(s.ask))
	mux.HandleFunc("GET /api/guide", s.seen(func(w http.ResponseWriter, _ *http.Request, _ session) {
		list := make([]GuidePage, 0, len(s.o.Guide))
		for _, p := range s.o.Guide {
			list = append(list, GuidePage{Name: p.Name, Title: p.Title})
		}
		reply(w, list, nil)
	}))
	mux.HandleFunc("GET /api/guide/{page}", s.seen(func(w http.ResponseWriter, r *http.Request, _ session) {
		for _, p := range s.o.Guide {
			if p.Name == r.PathValue("page") {
				reply(w, p, nil)
				return
			}
		}
		refuse(w, http.StatusNotFound, "the guide has no such page")
	}))
}

// askTime is how long a question may take, and atOnce how many are answered at a time: they
// share the machine with the load.
const (
	askTime = 2 * time.Minute
	atOnce  = 4
)

// ask answers a question.
func (s *Server) ask(w http.ResponseWriter, r *http.Request, _ session) {
	var q Question
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxAction)).Decode(&q); err != nil {
		refuse(w, http.StatusBadRequest, "a question was expected")
		return
	}
	select {
	case s.asking <- struct{}{}:
		defer func() { <-s.asking }()
	default:
		refuse(w, http.StatusTooManyRequests, "several questions are being answered; ask again in a moment")
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), askTime)
	defer cancel()
	v, err := s.o.Controller.Ask(ctx, q)
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(askTime))
	reply(w, v, err)
}

// Action is what an operator asks for.
type Action struct {
	Do       string   `json:"do"` // pause, resume, parallel, stop-after, keep-on, stop, retry, snapshot
	Parallel int      `json:"parallel"`
	Tables   []string `json:"tables"`  // of retry: none = all
	Classes  []string `json:"classes"` // of retry
	From     string   `json:"-"`       // who asks, for the audit trail
}

// maxAction is how long an action's text may be.
const maxAction = 64 << 10

// actions are what an operator may do, and what everybody may do for themselves.
func (s *Server) actions(mux *http.ServeMux) {
	mux.HandleFunc("POST /api/act", s.done(func(w http.ResponseWriter, r *http.Request, who session) {
		if who.Role != Operator {
			refuse(w, http.StatusForbidden, "this link only looks; actions need the operator's link (start the console with --operator)")
			return
		}
		var a Action
		if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxAction)).Decode(&a); err != nil {
			refuse(w, http.StatusBadRequest, "an action was expected")
			return
		}
		a.From = fmt.Sprintf("the operator's link %d from %s", who.Number, hostOf(r.RemoteAddr))
		said, err := s.o.Controller.Act(context.WithoutCancel(r.Context()), a) // also when the browser goes away
		reply(w, said, err)
	}))
	mux.HandleFunc("POST /api/link", s.done(func(w http.ResponseWriter, r *http.Request, who session) {
		role := Viewer
		if who.Role == Operator && r.URL.Query().Get("role") == string(Operator) {
			role = Operator
		}
		scheme := "http://"
		if s.secure {
			scheme = "https://"
		}
		reply(w, map[string]any{"link": scheme + r.Host + "/enter#" + s.access.token(role, linkLife), "minutes": linkLife.Minutes()}, nil)
	}))
	mux.HandleFunc("POST /api/leave", s.done(func(w http.ResponseWriter, r *http.Request, _ session) {
		s.access.end(r)
		reply(w, true, nil)
	}))
}
