package emulator

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"time"
)

// Cost is the server's execution time: it is waited for and counted against
// Limits.Execution. An HTTP request costs PerRequest, and each of its operations
// (one, or the parts of a $batch) its rule's Request and, for every row, its rule's
// Record, else the table's figure in Tables, else PerRecord.
type Cost struct {
	PerRequest time.Duration
	PerRecord  time.Duration
	Tables     map[string]time.Duration // per record, by logical name
	Rules      []CostRule
}

// CostRule is the cost of the operations that it matches. Of several that say a
// figure, one with table and action goes before one with the table, that before one
// with the action, that before one with neither, and a later before an earlier.
type CostRule struct {
	Table   string // logical name; empty for any
	Action  string // CreateMultiple, Create, Retrieve …; empty for any
	Request *time.Duration
	Record  *time.Duration
}

// Profile is what was measured of an environment: how long requests take there.
type Profile struct {
	Latency    time.Duration // Options.Latency
	LatencyP99 time.Duration // Options.LatencyP99
	Cost       Cost
}

// ReadProfile reads a profile, with durations as "4.5ms":
//
//	{"latency": {"median": "40ms", "p99": "300ms"}, "request": "1ms",
//	 "costs": [{"record": "5ms"},
//	           {"action": "CreateMultiple", "request": "12ms", "record": "2ms"},
//	           {"table": "account", "action": "CreateMultiple", "record": "4ms"}]}
func ReadProfile(r io.Reader) (Profile, error) {
	var file struct {
		Latency struct {
			Median jsonDuration `json:"median"`
			P99    jsonDuration `json:"p99"`
		} `json:"latency"`
		Request jsonDuration `json:"request"`
		Costs   []struct {
			Table   string        `json:"table"`
			Action  string        `json:"action"`
			Request *jsonDuration `json:"request"`
			Record  *jsonDuration `json:"record"`
		} `json:"costs"`
	}
	d := json.NewDecoder(r)
	d.DisallowUnknownFields()
	if err := d.Decode(&file); err != nil {
		return Profile{}, fmt.Errorf("read profile: %w", err)
	}
	if file.Latency.P99 > 0 && file.Latency.P99 < file.Latency.Median {
		return Profile{}, fmt.Errorf("read profile: latency: the p99 %v is less than the median %v", time.Duration(file.Latency.P99), time.Duration(file.Latency.Median))
	}
	p := Profile{Latency: time.Duration(file.Latency.Median), LatencyP99: time.Duration(file.Latency.P99), Cost: Cost{PerRequest: time.Duration(file.Request)}}
	for _, c := range file.Costs {
		p.Cost.Rules = append(p.Cost.Rules, CostRule{c.Table, c.Action, (*time.Duration)(c.Request), (*time.Duration)(c.Record)})
	}
	return p, nil
}

// jsonDuration is a duration as text.
type jsonDuration time.Duration

func (d *jsonDuration) UnmarshalText(text []byte) error {
	v, err := time.ParseDuration(string(text))
	if err == nil && v < 0 {
		err = fmt.Errorf("%v is less than nothing", v)
	}
	*d = jsonDuration(v)
	return err
}

// of is the cost of an operation with so many rows.
func (m *Cost) of(table, action string, rows int) time.Duration {
	request, record := time.Duration(0), m.PerRecord
	if own, ok := m.Tables[table]; ok {
		record = own
	}
	bestRequest, bestRecord := -1, -1
	for _, r := range m.Rules {
		if r.Table != "" && r.Table != table || r.Action != "" && r.Action != action {
			continue
		}
		rank := 0
		if r.Action != "" {
			rank++
		}
		if r.Table != "" {
			rank += 2
		}
		if r.Request != nil && rank >= bestRequest {
			request, bestRequest = *r.Request, rank
		}
		if r.Record != nil && rank >= bestRecord {
			record, bestRecord = *r.Record, rank
		}
	}
	return request + time.Duration(rows)*record
}

// latency draws one from the distribution: log-normal with the median and p99 of
// the options.
func (o *Options) latency() time.Duration {
	if o.LatencyP99 <= o.Latency || o.Latency <= 0 {
		return o.Latency
	}
	const z99 = 2.3263478740408408 // the normal distribution's
	sigma := math.Log(float64(o.LatencyP99)/float64(o.Latency)) / z99
	return time.Duration(float64(o.Latency) * math.Exp(sigma*rand.NormFloat64()))
}
