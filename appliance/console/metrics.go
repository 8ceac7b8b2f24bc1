package console

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"dvmigrate/appliance/progress"
)

// Figurer has the figures that metrics are made of.
type Figurer interface {
	Figures(ctx context.Context) (progress.Figures, error)
}

// Metrics answers GET /metrics in Prometheus' text form: what Figurer tells when it is
// asked, nothing is kept between, and how this process is. `dvmigrate guide monitoring`
// documents the names; they stay.
func Metrics(f Figurer, log *slog.Logger) http.Handler {
	r := prometheus.NewRegistry()
	r.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), &collector{f})
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return promhttp.HandlerFor(r, promhttp.HandlerOpts{ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelInfo), ErrorHandling: promhttp.ContinueOnError, MaxRequestsInFlight: 4, Timeout: scrapeTime})
}

// scrapeTime is what one answer may take.
const scrapeTime = 10 * time.Second

// metric is a metric's name, what it says, and its labels after the project.
type metric struct {
	*prometheus.Desc
	kind prometheus.ValueType
}

func describe(kind prometheus.ValueType, name, help string, labels ...string) metric {
	return metric{prometheus.NewDesc("dvmigrate_"+name, help, append([]string{"project"}, labels...), nil), kind}
}

const (
	gauge   = prometheus.GaugeValue
	counter = prometheus.CounterValue
)

// The metrics. A counter begins anew with each load.
var (
	mUp          = describe(gauge, "up", "1 if the project could be looked at.")
	mInfo        = describe(gauge, "build_info", "Always 1; the version of dvmigrate.", "version")
	mRecords     = describe(gauge, "records", "Records by table, action (I, U, D, N) and flag (U, F, S, P, E, H) of the ledger.", "table", "action", "flag")
	mRunning     = describe(gauge, "load_running", "1 while a load runs.")
	mPaused      = describe(gauge, "load_paused", "1 while the load is paused.")
	mOutcomes    = describe(counter, "outcomes_total", "Records with an outcome in this load: done, failed, held, skipped.", "table", "pass", "outcome")
	mRate        = describe(gauge, "records_per_second", "Records a second over the last minute.")
	mRemaining   = describe(gauge, "records_remaining", "Records of the steps under way and announced without an outcome.")
	mPhase       = describe(gauge, "phase_seconds", "Seconds that a phase of this run has taken.", "phase")
	mFinish      = describe(gauge, "predicted_finish_timestamp_seconds", "When the load is expected to end.")
	mDeadline    = describe(gauge, "deadline_timestamp_seconds", "When the load has to end (alerts.finish).")
	mRequests    = describe(counter, "requests_total", "Requests by kind, HTTP status (none: no answer) and user.", "kind", "status", "user")
	mAnswers     = describe(counter, "request_seconds", "Seconds from a request's first byte to its answer's last, by kind.", "kind")
	mCarried     = describe(counter, "request_records_total", "Records that requests carried, by kind.", "kind")
	mBytes       = describe(counter, "request_bytes_total", "Bytes of requests' bodies, by kind.", "kind")
	mThrottled   = describe(counter, "throttled_seconds_total", "Seconds in which the service let no request through.")
	mThrottles   = describe(counter, "throttles_total", "Requests answered by 429, by user and limit.", "user", "limit")
	mLimit       = describe(gauge, "limit_used_ratio", "How much of a service protection limit is used, 0 to 1, by user.", "user", "limit")
	mInFlight    = describe(gauge, "requests_in_flight", "Requests under way, by user.", "user")
	mWindow      = describe(gauge, "requests_window", "Requests at once that bring the most now, by user.", "user")
	mQueue       = describe(gauge, "queue_depth", "What waits: requests to be sent, changes for the ledger, lines for the log, calls of alerts.", "queue")
	mCommits     = describe(counter, "ledger_commits_total", "Transactions of the ledger made durable since it was opened.")
	mCommitTime  = describe(counter, "ledger_commit_seconds_total", "Seconds that they took.")
	mSnapshot    = describe(gauge, "snapshot_age_seconds", "Age of the newest snapshot.")
	mDisk        = describe(gauge, "disk_left_bytes", "What is left on the disk of a folder.", "folder")
	mAlert       = describe(gauge, "alert_firing", "1 while a rule of the alerts holds.", "alert")
	mChannel     = describe(gauge, "alert_channel_failing", "1 while a channel of the alerts does not take them.", "channel")
	mLogLost     = describe(gauge, "log_lines_lost", "Lines of the log lost since one was last written.")
	descriptions = []metric{mUp, mInfo, mRecords, mRunning, mPaused, mOutcomes, mRate, mRemaining, mPhase, mFinish, mDeadline, mRequests, mAnswers, mCarried, mBytes,
		mThrottled, mThrottles, mLimit, mInFlight, mWindow, mQueue, mCommits, mCommitTime, mSnapshot, mDisk, mAlert, mChannel, mLogLost}
)

// collector makes metrics of figures.
type collector struct{ figurer Figurer }

// Describe implements prometheus.Collector.
func (c *collector) Describe(ch chan<- *prometheus.Desc) {
	for _, m := range descriptions {
		ch <- m.Desc
	}
}

// Collect implements prometheus.Collector.
func (c *collector) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), scrapeTime)
	defer cancel()
	f, err := c.figurer.Figures(ctx)
	s := series{ch, f.Project}
	s.put(mUp, bit(err == nil))
	if err != nil {
		return
	}
	s.put(mInfo, 1, f.Version)
	for _, r := range f.Records {
		s.put(mRecords, float64(r.Count), r.Table, r.Action, r.Flag)
	}
	s.put(mRunning, bit(f.Live != nil && !f.Live.Ended))
	s.live(f.Live)
	s.requests(f)
	s.pulse(f.Pulse)
	for queue, n := range f.Queues {
		s.put(mQueue, float64(n), queue)
	}
	s.put(mCommits, float64(f.Commits))
	s.put(mCommitTime, f.Committed)
	if !f.Snapshot.IsZero() {
		s.put(mSnapshot, time.Since(f.Snapshot).Seconds())
	}
	s.moment(mFinish, f.Finish)
	s.moment(mDeadline, f.Deadline)
	for _, rule := range progress.AlarmRules {
		if rule != progress.NewIdentity && rule != progress.LoadEnded { // which have no end
			s.put(mAlert, bit(slices.Contains(f.Firing, rule)), string(rule))
		}
	}
	for name, failing := range f.Channels {
		s.put(mChannel, float64(failing), name)
	}
	s.put(mLogLost, float64(f.LogLost))
}

// series are the metrics of one project.
type series struct {
	ch      chan<- prometheus.Metric
	project string
}

func (s series) put(m metric, value float64, labels ...string) {
	s.ch <- prometheus.MustNewConstMetric(m.Desc, m.kind, value, append([]string{s.project}, labels...)...)
}

func (s series) moment(m metric, at time.Time) {
	if !at.IsZero() {
		s.put(m, float64(at.UnixMilli())/1000)
	}
}

func bit(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// live is what the load that runs tells of its records.
func (s series) live(l *progress.Snapshot) {
	if l == nil {
		return
	}
	s.put(mPaused, bit(l.Paused))
	s.put(mRate, l.Total.Rate)
	s.put(mRemaining, float64(l.Total.Remaining()))
	s.put(mThrottled, l.Total.Throttled)
	for _, t := range l.Tables {
		for outcome, n := range map[string]int64{"done": t.Done, "failed": t.Failed, "held": t.Held, "skipped": t.Skipped} {
			s.put(mOutcomes, float64(n), t.Name, t.Pass, outcome)
		}
	}
	took := map[string]float64{} // a phase may come twice
	for _, p := range l.Phases {
		end := p.Ended
		if end.IsZero() {
			end = l.Time
		}
		took[p.Name] += end.Sub(p.Started).Seconds()
	}
	for phase, seconds := range took {
		s.put(mPhase, seconds, phase)
	}
}

func (s series) requests(f progress.Figures) {
	for _, r := range f.Requests {
		s.put(mRequests, float64(r.Count), r.Kind, r.Status, r.User)
	}
	for _, a := range f.Answers {
		within := map[float64]uint64{}
		for i, bound := range progress.AnswerBounds {
			within[bound] = a.Within[i]
		}
		s.ch <- prometheus.MustNewConstHistogram(mAnswers.Desc, a.Count, a.Seconds, within, s.project, a.Kind)
		s.put(mCarried, float64(a.Records), a.Kind)
		s.put(mBytes, float64(a.Bytes), a.Kind)
	}
}

// limitNames are the limits as metrics call them.
var limitNames = map[string]string{progress.LimitRequests: "requests", progress.LimitTime: "execution", progress.LimitAtOnce: "concurrency"}

func limitName(limit string) string {
	if name := limitNames[limit]; name != "" {
		return name
	}
	return limit
}

func (s series) pulse(p *progress.Pulse) {
	if p == nil {
		return
	}
	for _, u := range p.Users {
		s.put(mInFlight, float64(u.InFlight), u.Name)
		s.put(mWindow, float64(u.Window), u.Name)
		for limit, n := range u.Throttled {
			s.put(mThrottles, float64(n), u.Name, limitName(limit))
		}
		for _, l := range u.Limits {
			s.put(mLimit, l.Share(), u.Name, limitName(l.Limit))
		}
	}
	folders := map[string]bool{}
	for _, d := range p.Machine.Disks {
		if d.Left >= 0 && !folders[d.Use] {
			folders[d.Use] = true
			s.put(mDisk, float64(d.Left), d.Use)
		}
	}
}

// MetricsServer gives metrics at an address of their own.
type MetricsServer struct {
	listener net.Listener
	server   *http.Server
	open     bool
}

// ListenMetrics takes an address for metrics: host:port, or a port alone for this machine.
// It speaks plain HTTP and asks nobody who they are, so elsewhere than on this machine it
// is for a network that is trusted. Errors: *InUseError.
func ListenMetrics(address string, handler http.Handler) (*MetricsServer, error) {
	host, port, err := MetricsAddress(address)
	if err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", net.JoinHostPort(host, port))
	if inUse(err) {
		return nil, &InUseError{address}
	}
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", handler)
	return &MetricsServer{listener: l, open: !loopback(host),
		server: &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: scrapeTime, WriteTimeout: 2 * scrapeTime, MaxHeaderBytes: 32 << 10}}, nil
}

// MetricsAddress reads an address for metrics.
func MetricsAddress(address string) (host, port string, err error) {
	if host, port, err = net.SplitHostPort(address); err != nil {
		host, port, err = net.SplitHostPort(":" + address)
	}
	if n, perr := strconv.Atoi(port); err != nil || perr != nil || n < 0 || n > 65535 {
		return "", "", fmt.Errorf("%q is no address for metrics such as 127.0.0.1:9464, nor a port", address)
	}
	return cmp.Or(host, "127.0.0.1"), port, nil
}

// URL is where the metrics are.
func (s *MetricsServer) URL() string { return "http://" + s.listener.Addr().String() + "/metrics" }

// Open says whether others than this machine can read them.
func (s *MetricsServer) Open() bool { return s.open }

// Serve answers until ctx ends.
func (s *MetricsServer) Serve(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() { _ = s.server.Close() })
	defer stop()
	if err := s.server.Serve(s.listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// metrics gives this machine, and whoever is in, the metrics. Others get them from an
// address of their own (ListenMetrics), which somebody has to ask for.
func (s *Server) metrics(w http.ResponseWriter, r *http.Request) {
	host, _, _ := net.SplitHostPort(r.RemoteAddr)
	if _, in := s.access.session(r); !in && !loopback(host) {
		http.Error(w, "metrics are given to this machine only; start the load with --metrics ADDR to give them to others", http.StatusForbidden)
		return
	}
	s.o.Metrics.ServeHTTP(w, r)
}
