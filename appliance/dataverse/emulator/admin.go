package emulator

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"dvmigrate/appliance/dataverse/schema"
)

// Stats is what the server has counted since its start or the last reset.
type Stats struct {
	Requests map[string]int64 `json:"requests"` // by message; a $batch is one
	Statuses map[string]int64 `json:"statuses"` // by HTTP status
	Errors   map[string]int64 `json:"errors"`   // by error code
	Records  map[string]int64 `json:"records"`  // rows carried by requests, by message, refused ones too
	Rows     map[string]int   `json:"rows"`     // rows stored, by table; tables without rows are left out
	Links    map[string]int   `json:"links"`    // N:N links, by relationship

	Created       int64 `json:"created"` // rows, in committed transactions
	Updated       int64 `json:"updated"`
	Deleted       int64 `json:"deleted"`
	Associated    int64 `json:"associated"`
	Disassociated int64 `json:"disassociated"`
	Duplicates    int64 `json:"duplicates"` // refused: an id, alternate key or link that was there already

	Counts      []Count       `json:"counts"`      // of operations, by user, table, action, status, error code and fault
	Entitlement []Entitlement `json:"entitlement"` // requests by user and 24 hours (section 8.5)

	Throttled map[string]int64    `json:"throttled"` // 429s by facet: requests, execution, concurrency; ordered ones are faults
	Faults    map[FaultKind]int64 `json:"faults"`    // that struck
	Peak      int                 `json:"peak"`      // most requests at once
}

// Stats returns the counts.
func (s *Server) Stats() Stats {
	out := Stats{Statuses: map[string]int64{}, Rows: map[string]int{}, Links: map[string]int{}, Throttled: map[string]int64{}, Faults: map[FaultKind]int64{}}
	s.stats.mu.Lock()
	out.Requests, out.Errors, out.Records = maps.Clone(s.stats.requests), maps.Clone(s.stats.codes), maps.Clone(s.stats.records)
	out.Counts, out.Entitlement = s.stats.sortedCounts(), s.stats.sortedDays()
	for status, n := range s.stats.statuses {
		out.Statuses[strconv.Itoa(status)] = n
	}
	for code, n := range s.stats.codes {
		if strings.EqualFold(code, "0x80040237") || strings.EqualFold(code, "0x80060892") {
			out.Duplicates += n
		}
	}
	s.stats.mu.Unlock()
	s.faults.mu.Lock()
	maps.Copy(out.Faults, s.faults.done)
	s.faults.mu.Unlock()
	s.limiter.mu.Lock()
	l := s.limiter.stats
	s.limiter.mu.Unlock()
	s.gate.RLock()
	defer s.gate.RUnlock()
	out.Throttled["requests"], out.Throttled["execution"], out.Throttled["concurrency"], out.Peak = l.Requests, l.Execution, l.Concurrency, l.Peak
	s.store.view(func(tx *tx) error {
		for _, t := range s.model.tables {
			if n := tx.count(t); n > 0 && t.intersect == nil {
				out.Rows[t.LogicalName] = n
			}
		}
		for _, m := range s.model.links {
			if n := tx.s.links[m.idx][0].n; n > 0 {
				out.Links[m.SchemaName] = n
			}
		}
		c := tx.s.commits
		out.Created, out.Updated, out.Deleted, out.Associated, out.Disassociated = c.created, c.updated, c.deleted, c.linked, c.unlinked
		return nil
	})
	return out
}

// Reset sets the counts and the trace to zero and forgets what limits have counted.
// Rows and faults on order stay.
func (s *Server) Reset() {
	s.stats.reset()
	s.faults.mu.Lock()
	s.faults.done = nil
	s.faults.mu.Unlock()
	s.limiter.reset()
	s.store.mu.Lock()
	s.store.commits = changes{}
	s.store.mu.Unlock()
}

// Order adds faults to those on order: all, or none where one could never strike.
func (s *Server) Order(faults ...Fault) error {
	for i := range faults {
		if err := s.checkFault(&faults[i]); err != nil {
			return err
		}
	}
	s.faults.order(faults)
	return nil
}

// ClearFaults takes all faults off. Answers that they hold back go out.
func (s *Server) ClearFaults() { s.faults.clear() }

// ExportAll writes all rows of all tables as Export does, each with its table in
// front, as "@odata.type":"#Microsoft.Dynamics.CRM.account".
func (s *Server) ExportAll(w io.Writer) error {
	for _, name := range s.tableNames() {
		if !s.isPointer(name) {
			if err := s.export(w, name, true); err != nil {
				return err
			}
		}
	}
	return nil
}

// isPointer reports whether a table shows the rows of others: activitypointer.
func (s *Server) isPointer(name string) bool {
	s.gate.RLock()
	defer s.gate.RUnlock()
	t := s.model.byName[name]
	return t != nil && t.activities != nil
}

// Export writes all rows of a table, in primary-key order, one JSON object a line.
// Lookups are written as _name_value with the target's table beside it as
// _name_table; nulls are left out.
func (s *Server) Export(w io.Writer, tableName string) error { return s.export(w, tableName, false) }

func (s *Server) export(w io.Writer, tableName string, typed bool) error {
	s.gate.RLock()
	defer s.gate.RUnlock()
	t := s.model.byName[tableName]
	if t == nil {
		return fmt.Errorf("export table %s: not in the schema", tableName)
	}
	const page = 1000 // rows under one lock
	var last schema.GUID
	for done := false; !done; {
		var buf []byte
		s.store.view(func(tx *tx) error {
			n := 0
			tx.scan(t, last, func(r row) bool {
				buf = r.appendExport(buf, typed)
				last = r.id
				n++
				return n < page
			})
			done = n < page
			return nil
		})
		if _, err := w.Write(buf); err != nil {
			return fmt.Errorf("export table %s: %w", tableName, err)
		}
	}
	return nil
}

func (r row) appendExport(dst []byte, typed bool) []byte {
	dst = append(dst, '{')
	if typed {
		dst = appendString(append(dst, `"@odata.type":`...), "#"+namespace+r.t.LogicalName)
	}
	for _, c := range r.t.cols {
		v := r.value(c)
		if v.isNull() {
			continue
		}
		if dst[len(dst)-1] != '{' {
			dst = append(dst, ',')
		}
		dst = append(appendString(dst, c.wire), ':')
		dst = v.appendJSON(dst, c)
		if v.target != nil {
			dst = append(appendString(append(dst, ','), "_"+c.LogicalName+"_table"), ':')
			dst = appendString(dst, v.target.LogicalName)
		}
	}
	return append(dst, "}\n"...)
}

// Admin is the handler for looking into the server and ordering faults. It asks for
// no token: serve it on loopback, on a port of its own.
//
//	GET    /stats             Stats as JSON
//	POST   /reset             Reset
//	GET    /export?table=x    the table's rows, one JSON object a line; without table those of all
//	GET    /trace?n=100       the newest requests, one JSON object a line, oldest first
//	GET    /faults            those on order, with how often they looked and struck
//	POST   /faults            add faults, one rule a line (ParseFault)
//	DELETE /faults            take all faults off
func (s *Server) Admin() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /stats", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		e.Encode(s.Stats())
	})
	mux.HandleFunc("POST /reset", func(w http.ResponseWriter, _ *http.Request) {
		s.Reset()
		w.WriteHeader(http.StatusNoContent)
	})
	mux.HandleFunc("GET /export", func(w http.ResponseWriter, r *http.Request) {
		name := r.FormValue("table")
		if name == "" {
			w.Header().Set("Content-Type", "application/x-ndjson")
			s.ExportAll(w)
			return
		}
		if names := s.tableNames(); !slices.Contains(names, name) {
			http.Error(w, fmt.Sprintf("no table %q; tables are %s", name, strings.Join(names, ", ")), http.StatusNotFound)
			return
		}
		w.Header().Set("Content-Type", "application/x-ndjson")
		s.Export(w, name)
	})
	mux.HandleFunc("GET /trace", s.adminTrace)
	mux.HandleFunc("GET /faults", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		json.NewEncoder(w).Encode(s.faults.lines())
	})
	mux.HandleFunc("POST /faults", s.adminFaults)
	mux.HandleFunc("DELETE /faults", func(w http.ResponseWriter, _ *http.Request) {
		s.ClearFaults()
		w.WriteHeader(http.StatusNoContent)
	})
	return mux
}

func (s *Server) tableNames() []string {
	s.gate.RLock()
	defer s.gate.RUnlock()
	return slices.Sorted(maps.Keys(s.model.byName))
}

func (s *Server) adminTrace(w http.ResponseWriter, r *http.Request) {
	n := traceSize
	if text := r.FormValue("n"); text != "" {
		var err error
		if n, err = strconv.Atoi(text); err != nil || n < 0 {
			http.Error(w, "n is not a number", http.StatusBadRequest)
			return
		}
	}
	w.Header().Set("Content-Type", "application/x-ndjson")
	e := json.NewEncoder(w)
	for _, line := range s.stats.last(n) {
		e.Encode(line)
	}
}

func (s *Server) adminFaults(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	var faults []Fault
	for line := range strings.Lines(string(body)) {
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		f, err := ParseFault(line)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		faults = append(faults, f)
	}
	if err := s.Order(faults...); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}
