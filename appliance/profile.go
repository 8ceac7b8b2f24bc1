package appliance

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"dvmigrate/appliance/dataverse"
	"dvmigrate/appliance/dataverse/schema"
	"dvmigrate/appliance/plan"
	"dvmigrate/appliance/progress"
)

// LoadProfile is work/profile.json: what loads, calibrations and rehearsals of this project
// measured, so that the next estimate need not guess.
type LoadProfile struct {
	Version int          `json:"version"`
	Runs    []ProfileRun `json:"runs"` // oldest first
}

// ProfileRun is one load, calibration or rehearsal.
type ProfileRun struct {
	Kind         string        `json:"kind"` // plan.Measured, Calibrated, Rehearsed
	Start        time.Time     `json:"start"`
	Seconds      float64       `json:"seconds"`
	URL          string        `json:"url"`          // of the environment
	Organization schema.GUID   `json:"organization"` // the same by its id
	Users        int           `json:"users"`
	Hint         int           `json:"dopHint,omitempty"`
	Latency      time.Duration `json:"latencyNanos"`               // the shortest answer time
	ClientCPU    float64       `json:"clientSecondsPerThousand"`   // CPU time for a thousand records
	Waited       float64       `json:"throttledSeconds,omitempty"` // that the service asked for; waits that overlap count once
	Tables       []Measure     `json:"tables"`
	Predicted    []Prediction  `json:"predicted,omitempty"` // by the estimate that was made when it began
	Finished     bool          `json:"finished"`            // nothing was left when it ended
}

// Measure is what was seen of one action on one table. Sums are kept so that runs add
// up and the cost of a request can be told from that of its records.
type Measure struct {
	Table     string    `json:"table"`
	Pass      plan.Pass `json:"pass"`
	Action    string    `json:"action"`
	Message   string    `json:"message"`
	Records   int64     `json:"records"`
	Requests  int64     `json:"requests"` // that were answered
	Throttled int64     `json:"throttled"`
	Away      int64     `json:"away"`   // met nobody, or a gateway's page
	Undone    int64     `json:"undone"` // rolled back
	Lost      int64     `json:"lost"`   // without an answer
	Refused   int64     `json:"refused"`
	Failed    int64     `json:"failed"` // records
	Bytes     int64     `json:"bytes"`
	Seconds   float64   `json:"seconds"` // from the step's begin to its end
	Sum       float64   `json:"sumAnswer"`
	Squares   float64   `json:"sumAnswerSquared"`
	SumX      float64   `json:"sumRecords"` // of answered requests
	SquaresX  float64   `json:"sumRecordsSquared"`
	Cross     float64   `json:"sumRecordsAnswer"`
	// What a request takes and what each record adds, without the network, where they were
	// told apart request by request, as a calibration does; else the sums have to do.
	Split      bool          `json:"split,omitempty"`
	PerRequest time.Duration `json:"perRequestNanos,omitempty"`
	PerRecord  time.Duration `json:"perRecordNanos,omitempty"`

	answers []timed // that a calibration has still to split
}

// Prediction is what the estimate said of a step.
type Prediction struct {
	Table      string    `json:"table"`
	Pass       plan.Pass `json:"pass"`
	Action     string    `json:"action"`
	Operations int64     `json:"operations"`
	Seconds    float64   `json:"seconds"`
}

// answer is the mean answer time of a request, and the standard error of it.
func (m Measure) answer() (mean, standardError float64) {
	n := float64(m.Requests)
	if n == 0 {
		return 0, 0
	}
	mean = m.Sum / n
	return mean, math.Sqrt(max(m.Squares/n-mean*mean, 0) / n)
}

// costs splits the answer time: what a request takes and what each record adds, without
// the network. Requests of one size do not tell; then records take all of it.
func (m Measure) costs(latency time.Duration) (request, record time.Duration) {
	n := float64(m.Requests)
	switch {
	case m.Split:
		return m.PerRequest, m.PerRecord
	case n == 0 || m.SumX == 0:
		return 0, 0
	}
	meanX, mean := m.SumX/n, m.Sum/n
	varX := m.SquaresX/n - meanX*meanX
	if n >= 8 && varX > 0.04*meanX*meanX {
		slope := (m.Cross/n - meanX*mean) / varX
		base := mean - slope*meanX - latency.Seconds()
		if slope > 0 && base >= 0 {
			return seconds(base), seconds(slope)
		}
	}
	return 0, seconds(max(mean-latency.Seconds(), 0) / meanX)
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

// spread is how far the record's cost may be off: twice the standard error of the mean,
// and what a run of another day is likely to differ.
func (m Measure) spread() float64 {
	const otherDay = 0.1
	mean, e := m.answer()
	if mean == 0 {
		return otherDay
	}
	return otherDay + 2*e/mean
}

// profileName is LoadProfile's name in the work folder.
const profileName = "profile.json"

func (p *Project) profilePath() string { return filepath.Join(p.work(), profileName) }

// maxRuns is how many runs the profile keeps.
const maxRuns = 50

// LoadProfile reads what was measured so far.
func (p *Project) LoadProfile() (LoadProfile, error) {
	var f LoadProfile
	switch there, err := readNote(p.profilePath(), &f); {
	case err != nil:
		return LoadProfile{}, fmt.Errorf("read %s: %w\nremove the file to estimate without what was measured", p.profilePath(), err)
	case !there:
		return LoadProfile{Version: 1}, nil
	case f.Version != 1:
		return LoadProfile{}, fmt.Errorf("read %s: version %d is not known; it was written by another release of dvmigrate", p.profilePath(), f.Version)
	}
	return f, nil
}

// keepRun adds a run to the profile.
func (p *Project) keepRun(r ProfileRun) error {
	f, err := p.LoadProfile()
	if err != nil {
		return err
	}
	f.Runs = append(f.Runs, r)
	f.Runs = f.Runs[max(len(f.Runs)-maxRuns, 0):]
	if err := os.MkdirAll(p.work(), 0o700); err != nil {
		return err
	}
	return keepNote(p.profilePath(), f)
}

// surveyor measures a load: the client tells it of requests, the loader of steps.
type surveyor struct {
	*progress.Tracker
	sets map[string]string // entity set → table

	mu      sync.Mutex // protects what follows
	run     ProfileRun
	steps   map[string]*Measure // by table, pass and action
	open    []opened            // steps under way, the newest last
	records int64
	bytes   int64 // of the requests' bodies
	cpu     time.Duration
}

type opened struct {
	table, pass string
	began       time.Time
}

func newSurveyor(s *schema.Schema, t *progress.Tracker) *surveyor {
	y := &surveyor{Tracker: t, sets: map[string]string{}, steps: map[string]*Measure{}, run: ProfileRun{Kind: plan.Measured, Start: time.Now().UTC()}, cpu: processTime()}
	for i := range s.Tables {
		y.sets[s.Tables[i].EntitySet] = s.Tables[i].LogicalName
	}
	return y
}

// Begin implements load.Watcher.
func (y *surveyor) Begin(table, pass string, total int64) {
	y.mu.Lock()
	y.open = append(y.open, opened{table, pass, time.Now()})
	y.mu.Unlock()
	y.Tracker.Begin(table, pass, total)
}

// Sent implements load.Watcher.
func (y *surveyor) Sent(table, pass string, done, failed, held int64) {
	y.mu.Lock()
	y.records += done + failed
	if failed > 0 {
		y.step(table, plan.Pass(pass), "").Failed += failed
	}
	if plan.Pass(pass) == plan.Files { // a record may take several requests, as observe sees them
		y.step(table, plan.Files, "").Records += done + failed
	}
	y.mu.Unlock()
	y.Tracker.Sent(table, pass, done, failed, held)
}

// End implements load.Watcher.
func (y *surveyor) End(table, pass string) {
	y.mu.Lock()
	for i := len(y.open) - 1; i >= 0; i-- {
		if o := y.open[i]; o.table == table && o.pass == pass {
			y.step(table, plan.Pass(pass), "").Seconds += time.Since(o.began).Seconds()
			y.open = slices.Delete(y.open, i, i+1)
			break
		}
	}
	y.mu.Unlock()
	y.Tracker.End(table, pass)
}

// step is the account of a step; an action of "" is the one that the step had last. The
// lock is held.
func (y *surveyor) step(table string, pass plan.Pass, action string) *Measure {
	if action == "" {
		for _, m := range y.steps {
			if m.Table == table && m.Pass == pass {
				return m
			}
		}
		action = map[plan.Pass]string{plan.Insert: "insert", plan.Link: "link", plan.Delete: "delete"}[pass]
		if action == "" {
			action = "update"
		}
	}
	key := table + " " + string(pass) + " " + action
	if y.steps[key] == nil {
		y.steps[key] = &Measure{Table: table, Pass: pass, Action: action, Message: plan.Bulk}
	}
	return y.steps[key]
}

// written is how many bytes the bodies of all requests had.
func (y *surveyor) written() int64 {
	y.mu.Lock()
	defer y.mu.Unlock()
	return y.bytes
}

// observe implements dataverse.Options.Observe.
func (y *surveyor) observe(x dataverse.Exchange) {
	y.mu.Lock()
	defer y.mu.Unlock()
	if x.Kind == 0 && (y.run.Latency == 0 || x.Took < y.run.Latency) {
		y.run.Latency = x.Took
	}
	y.bytes += int64(x.Bytes)
	table, action, message := y.sets[x.Set], "", plan.Single
	switch {
	case y.passOf(table) == plan.Files:
		if !writesFile(x.Op) {
			return
		}
		action, x.Records = "update", 0
	case strings.EqualFold(x.Op, "CreateMultiple"), strings.EqualFold(x.Op, "UpsertMultiple"):
		action, message = "insert", plan.Bulk
	case strings.EqualFold(x.Op, "UpdateMultiple"):
		action, message = "update", plan.Bulk
	case strings.EqualFold(x.Op, "DeleteMultiple"):
		action, message = "delete", plan.Bulk
	case strings.EqualFold(x.Op, "Create"):
		action = "insert"
	case strings.EqualFold(x.Op, "Update"):
		action = "update"
	case x.Op == "$batch" && len(y.open) > 0:
		message, table = plan.Batch, y.open[len(y.open)-1].table
	default:
		return
	}
	pass := y.passOf(table)
	if message == plan.Batch && pass == plan.Insert {
		action = "insert"
	}
	m := y.step(table, pass, action)
	if m.Requests == 0 || message == plan.Bulk {
		m.Message = message
	}
	m.take(x)
}

// passOf is the pass of a table that is under way; the insert where none is. The lock is held.
func (y *surveyor) passOf(table string) plan.Pass {
	pass := plan.Insert
	for _, o := range y.open {
		if o.table == table {
			pass = plan.Pass(o.pass)
		}
	}
	return pass
}

// writesFile reports whether a request of the pass of files changes the target: content, a block of it,
// images and notes, a column that is emptied.
func writesFile(op string) bool {
	return op == "Upload" || op == "UploadBlock" || op == "Update" || op == "Delete" || strings.HasSuffix(op, "BlocksUpload")
}

// take adds one request.
func (m *Measure) take(x dataverse.Exchange) {
	switch x.Kind {
	case 0:
	case dataverse.Throttled:
		m.Throttled++
		return
	case dataverse.Unreachable, dataverse.Transient:
		m.Away++
		return
	case dataverse.RolledBack:
		m.Undone++
		return
	case dataverse.Lost:
		m.Lost++
		return
	default:
		m.Refused++
		return
	}
	n, t := float64(x.Records), x.Took.Seconds()
	m.Requests++
	m.Records += int64(x.Records)
	m.Bytes += int64(x.Bytes)
	m.Sum += t
	m.Squares += t * t
	m.SumX += n
	m.SquaresX += n * n
	m.Cross += n * t
	if m.answers != nil {
		m.answers = append(m.answers, timed{n, t})
	}
}

// result is the run as it is kept.
func (y *surveyor) result() ProfileRun {
	y.mu.Lock()
	defer y.mu.Unlock()
	r := y.run
	r.Seconds = time.Since(r.Start).Seconds()
	if y.records > 0 {
		r.ClientCPU = (processTime() - y.cpu).Seconds() / float64(y.records) * 1000
	}
	for _, m := range y.steps {
		if m.Requests > 0 {
			r.Tables = append(r.Tables, *m)
		}
	}
	slices.SortFunc(r.Tables, func(a, b Measure) int {
		return strings.Compare(a.Table+string(a.Pass)+a.Action, b.Table+string(b.Pass)+b.Action)
	})
	return r
}
