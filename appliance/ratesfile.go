package appliance

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"dvmigrate/appliance/plan"
)

// RatesFile is what the loads of one project have taught the next: the newest measurement
// of each kind of work, with the environment that it was made in. It holds names of
// tables and addresses of environments, and no data.
type RatesFile struct {
	Version int          `json:"version"`
	Kind    string       `json:"kind"` // ratesKind
	Project string       `json:"project"`
	Tool    string       `json:"tool"`
	Made    time.Time    `json:"made"`
	Runs    []ProfileRun `json:"runs"` // oldest first; each measurement stands in the run that made it
}

const ratesKind = "dvmigrate rates"

// errNothingMeasured says that there is nothing to export yet.
var errNothingMeasured = errors.New("nothing was measured yet: a load or `dvmigrate calibrate` does; a rehearsal measures the emulator only")

// ExportRates writes what loads and calibrations measured to a file that another project's
// estimate can take (`estimate --rates-from`).
func (p *Project) ExportRates(path string) (RatesFile, error) {
	out := RatesFile{Version: 1, Kind: ratesKind, Project: p.Config.Name, Tool: p.o.Version, Made: time.Now().UTC().Truncate(time.Second), Runs: []ProfileRun{}}
	profile, err := p.LoadProfile()
	if err != nil {
		return out, err
	}
	newest := map[string]int{} // run by kind of work; a load goes before a calibration
	for _, kind := range []string{plan.Calibrated, plan.Measured} {
		for i, r := range profile.Runs {
			for _, m := range r.Tables {
				if r.Kind == kind && m.tells() {
					newest[m.key()] = i
				}
			}
		}
	}
	for i, r := range profile.Runs {
		r.Tables, r.Predicted = slices.DeleteFunc(slices.Clone(r.Tables), func(m Measure) bool { at, ok := newest[m.key()]; return !ok || at != i }), nil
		if len(r.Tables) > 0 {
			out.Runs = append(out.Runs, r)
		}
	}
	if len(out.Runs) == 0 {
		return out, errNothingMeasured
	}
	return out, keepNote(path, out)
}

// ReadRates reads a file that ExportRates wrote.
func ReadRates(path string) (*RatesFile, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read rates: %w", err)
	}
	var f RatesFile
	switch err := json.Unmarshal(b, &f); {
	case err != nil || f.Kind != ratesKind:
		return nil, fmt.Errorf("%s is no file of rates; `dvmigrate estimate --export-rates FILE` writes one in the project that was loaded", path)
	case f.Version != 1:
		return nil, fmt.Errorf("read rates: %s has version %d, which this release does not know; export them again with a release that both projects use", path, f.Version)
	case len(f.Runs) == 0:
		return nil, fmt.Errorf("%s has no rates in it", path)
	}
	return &f, nil
}

// key names the kind of work that was measured.
func (m Measure) key() string { return m.Table + " " + string(m.Pass) + " " + m.Action }

// tells reports whether there was enough to measure.
func (m Measure) tells() bool { return m.Requests >= minRequests || m.Records >= minRecords }

// imported are the rates of another project.
type imported struct {
	file   *RatesFile
	by     map[string]measured // by table, pass and action
	middle map[string]middle   // by action and message, for tables that the file does not have
	used   map[string]int      // steps, by what is said of them
}

// middle is the median cost of a record over the tables of a file.
type middle struct {
	record time.Duration
	tables int
}

// here is what is said of a rate that needs no warning.
const here = "in this environment"

// elsewhere is how far a rate of another environment may be off beyond its own spread, and
// that of other tables.
const (
	elsewhere   = 0.5
	otherTables = 1.0
)

func newImported(file *RatesFile) *imported {
	x := &imported{file: file, by: map[string]measured{}, middle: map[string]middle{}, used: map[string]int{}}
	costs := map[string][]time.Duration{}
	for i := range file.Runs {
		for _, m := range file.Runs[i].Tables {
			x.by[m.key()] = measured{m, &file.Runs[i]}
		}
	}
	for _, key := range slices.Sorted(maps.Keys(x.by)) {
		m := x.by[key]
		request, record := m.costs(m.run.Latency)
		if m.Records > 0 {
			record += request * time.Duration(m.Requests) / time.Duration(m.Records)
		}
		if record > 0 {
			costs[m.Action+" "+m.Message] = append(costs[m.Action+" "+m.Message], record)
		}
	}
	for kind, all := range costs {
		slices.Sort(all)
		x.middle[kind] = middle{all[len(all)/2], len(all)}
	}
	return x
}

// cost gives a work the rate that another project had; false where it had none.
func (x *imported) cost(f *forecast, w *plan.Work) bool {
	if x == nil {
		return false
	}
	if m, ok := findIn(x.by, w); ok {
		w.PerRequest, w.PerRecord = m.costs(m.run.Latency)
		w.Source, w.Spread = plan.Imported, m.spread()+elsewhere
		w.Note = fmt.Sprintf("%d requests in %s on %s, project %s", m.Requests, m.run.URL, m.run.Start.Format("2006-01-02"), x.file.Project)
		if pin, err := f.p.pin(); err == nil && f.p.sameEnvironment(m.run, pin) {
			x.used[here]++
			w.Spread = m.spread()
		} else {
			x.used["in another environment, "+m.run.URL]++
		}
		return true
	}
	m, ok := x.middle[w.Action+" "+w.Message]
	if !ok {
		return false
	}
	w.PerRecord, w.Source, w.Spread = m.record, plan.Imported, otherTables
	w.Note = fmt.Sprintf("the median of %d other tables of project %s", m.tables, x.file.Project)
	x.used["of other tables"]++
	return true
}

// say notes plainly whose rates the estimate goes by.
func (x *imported) say(f *forecast) {
	if x == nil {
		return
	}
	warning := "; another environment, its plug-ins and its hour of the day may make it twice as fast or half, so calibrate or load a part before you promise a date"
	if len(x.used) == 0 || len(x.used) == 1 && x.used[here] > 0 {
		warning = ""
	}
	var parts []string
	for _, where := range slices.Sorted(maps.Keys(x.used)) {
		parts = append(parts, fmt.Sprintf("%d measured %s", x.used[where], where))
	}
	f.note("rates of project %s (%s) are used where this project has none of its own: %s%s",
		x.file.Project, x.file.Made.Format("2006-01-02"), cmp.Or(strings.Join(parts, ", "), "for no step"), warning)
}
