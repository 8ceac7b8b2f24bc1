package progress

import "fmt"

// Pulse is how a load and its machine are doing just now, beyond counts of records.
type Pulse struct {
	Bottleneck string  `json:"bottleneck"` // what sets the pace, in words; "" while that cannot be told
	Requests   float64 `json:"requests"`   // answers a second, lately
	Bytes      int64   `json:"bytes"`      // of request bodies, so far
	Latency    float64 `json:"latency"`    // mean seconds of an answer, lately
	Slow       float64 `json:"slow"`       // one answer in twenty takes longer
	Bound      int     `json:"bound"`      // requests at once that the operator allows
	Most       int     `json:"most"`       // and that may be allowed
	StopAfter  bool    `json:"stopAfter"`  // it is to stop after the step under way
	Users      []User  `json:"users"`
	Machine    Machine `json:"machine"`
}

// User is one application user of the load.
type User struct {
	Name      string           `json:"name"`
	InFlight  int              `json:"inFlight"`  // requests under way
	Waiting   int              `json:"waiting"`   // requests that wait for their turn
	Window    int              `json:"window"`    // requests at once that bring the most now
	Hint      int              `json:"hint"`      // that the service recommends; 0 = not said
	Requests  uint64           `json:"requests"`  // so far
	Throttled map[string]int64 `json:"throttled"` // requests refused so far, by limit
	Held      float64          `json:"held"`      // seconds that the service still asks to wait
	Away      bool             `json:"away"`      // no service answers
	Limits    []Use            `json:"limits"`    // the three of the service
}

// Use is how far a limit of the service is used up in its window of time.
type Use struct {
	Limit string  `json:"limit"`
	Used  float64 `json:"used"`
	Most  float64 `json:"most"`
	Known bool    `json:"known"` // the service has told of it; else Most is what is documented
}

// Share returns how much of the limit is used, from 0 to 1.
func (u Use) Share() float64 {
	if u.Most <= 0 {
		return 0
	}
	return min(max(u.Used/u.Most, 0), 1)
}

// The service's limits, as they are called here.
const (
	LimitRequests = "requests"
	LimitTime     = "execution seconds"
	LimitAtOnce   = "requests at once"
)

// Machine is the machine that the load runs on. What cannot be told is Unknown.
type Machine struct {
	CPU       float64 `json:"cpu"`       // share of all cores that is busy, 0 to 1
	Own       float64 `json:"own"`       // cores that this process keeps busy
	Cores     int     `json:"cores"`     //
	Memory    int64   `json:"memory"`    // bytes it has
	Available int64   `json:"available"` // bytes of them that a program may still have
	OwnMemory int64   `json:"ownMemory"` // bytes that this process has
	Received  float64 `json:"received"`  // bytes a second over the network
	Sent      float64 `json:"sent"`
	Disks     []Disk  `json:"disks"`
}

// Disk is a folder's disk.
type Disk struct {
	Use  string `json:"use"` // what the folder is for
	Path string `json:"path"`
	Left int64  `json:"left"` // bytes; Unknown where it cannot be told
	Size int64  `json:"size"`
}

// Strain is what a load has spent its time with lately, from which its bottleneck is told.
// Shares are of the time and of the users, from 0 to 1.
type Strain struct {
	Paused   bool
	Away     bool    // no service answers any user
	Held     float64 // waited because the service said so
	Count    float64 // waited to stay below the limit of requests
	Time     float64 // ... of execution time
	InFlight float64 // requests at once
	Waiting  float64 // requests that waited for their turn
	Window   float64 // requests at once that would have been let out
	Bound    int     // requests at once that the operator allows
	Most     int     // and that may be allowed
	Parallel int     // requests at once that the settings allow
	Users    int
	CPU      float64 // of the machine; Unknown where it cannot be told
}

// The shares from which on something counts as what sets the pace.
const (
	mostOfTheTime = 0.5
	busyCPU       = 0.9
	nearlyAll     = 0.85 // of the requests at once that there may be
)

// Bottleneck says in words what sets the pace, and what would raise it.
func (s Strain) Bottleneck() string {
	users := ""
	if s.Users > 0 {
		users = fmt.Sprintf(", for %s; more application users would raise it", Counted(s.Users, "user"))
	}
	switch {
	case s.Paused:
		return "paused by the operator"
	case s.Away:
		return "the target, which does not answer"
	case s.Held >= mostOfTheTime:
		return "the service asks to wait (Retry-After)"
	case s.Count >= mostOfTheTime && s.Count >= s.Time:
		return "the service's limit of requests" + users
	case s.Time >= mostOfTheTime:
		return "the service's limit of execution time" + users
	case s.CPU >= busyCPU:
		return fmt.Sprintf("the processor of this machine, %.0f %% busy", s.CPU*100)
	case s.Bound < s.Most && s.InFlight >= nearlyAll*float64(s.Bound):
		return fmt.Sprintf("the bound of %s at once that the operator has set", Counted(s.Bound, "request"))
	case s.Waiting >= 0.5 && s.InFlight >= nearlyAll*s.Window:
		return fmt.Sprintf("the target: more than %.0f requests at once bring no more", max(s.Window, 1))
	case s.Parallel > 0 && s.InFlight >= nearlyAll*float64(s.Parallel):
		return fmt.Sprintf("the target's answers: all %d requests that may be under way at once are (load.parallel)", s.Parallel)
	case s.InFlight > 0:
		return "what is ready to be sent, less than the target takes: this machine or its disk is slower, a step is at its end, or requests wait before they are repeated"
	}
	return ""
}
