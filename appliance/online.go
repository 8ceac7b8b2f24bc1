package appliance

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"dvmigrate/appliance/dataverse"
	"dvmigrate/appliance/dataverse/schema"
	"dvmigrate/appliance/mapping"
)

const (
	// latencyProbes is how many round trips are timed.
	latencyProbes = 7
	// nearEnough is the round trip that two machines of one region have at the most, with
	// room to spare: the service's own part of WhoAmI is some milliseconds.
	nearEnough = 30 * time.Millisecond
)

// Online is what a check found in the environment. It only reads there.
type Online struct {
	URL          string        `json:"url"`
	Organization schema.GUID   `json:"organization"`
	Release      string        `json:"release"` // the service's version
	Pinned       *Pin          `json:"pinned,omitempty"`
	Latency      Latency       `json:"latency"`
	Limits       OnlineLimits  `json:"limits"`
	Users        []OnlineUser  `json:"users"`
	Tables       []OnlineTable `json:"tables"`
	Findings     []Finding     `json:"findings"`
}

// Latency is the time of a request that does nothing, in seconds.
type Latency struct {
	Probes int     `json:"probes"`
	Min    float64 `json:"min"`
	Median float64 `json:"median"`
	Max    float64 `json:"max"`
	Near   bool    `json:"near"` // as short as within one region
}

// OnlineLimits are the limits that the service's answers tell (dataverse-web-api.md 8).
type OnlineLimits struct {
	Hint         int     `json:"dopHint"` // requests at once that it suggests; 0: not said
	Known        bool    `json:"known"`   // whether the others were said
	RequestsLeft int     `json:"requestsLeft"`
	SecondsLeft  float64 `json:"executionSecondsLeft"`
}

// OnlineUser is one of the users that sign in.
type OnlineUser struct {
	ID          schema.GUID `json:"id"`
	Name        string      `json:"name"`
	Application string      `json:"application,omitempty"`
	Roles       []string    `json:"roles"`   // of its own, not of its teams; null = cannot be read
	Missing     []string    `json:"missing"` // privileges that the load needs
}

// OnlineTable compares a table of the project with the environment's.
type OnlineTable struct {
	Name    string   `json:"name"`
	Bulk    []string `json:"bulk"`      // actions that the environment takes in bulk
	Known   []string `json:"bulkKnown"` // those in the schema file
	Changes []Change `json:"changes"`   // since the schema file was pulled
}

// Finding is one thing to know before the load.
type Finding struct {
	Level   string `json:"level"` // error: the load would fail; warning: it may, or be slow
	Subject string `json:"subject"`
	Message string `json:"message"`
	Hint    string `json:"hint,omitempty"`
}

// The levels of a Finding.
const (
	LevelError   = "error"
	LevelWarning = "warning"
)

// Failed reports whether a finding would make the load fail.
func (o *Online) Failed() bool {
	return slices.ContainsFunc(o.Findings, func(f Finding) bool { return f.Level == LevelError })
}

func (o *Online) find(level, subject, message, hint string) {
	o.Findings = append(o.Findings, Finding{Level: level, Subject: subject, Message: message, Hint: hint})
}

// checkOnline looks at the environment as a load would meet it. b may be nil: then the
// tables are left out. An error is of the environment that cannot be asked.
func (p *Project) checkOnline(ctx context.Context, b *bound) (*Online, error) {
	target, err := p.connect(0)
	if err != nil {
		return nil, err
	}
	defer target.close()
	o := &Online{URL: p.Config.Target.Environment(), Users: []OnlineUser{}, Tables: []OnlineTable{}, Findings: []Finding{}}
	client := target.first()
	who, err := client.WhoAmI(ctx)
	if err != nil {
		return nil, named(target.each[0].name, p.explainTarget(err))
	}
	o.Organization = who.OrganizationID
	p.checkPin(o)
	if o.Release, err = client.Version(ctx); err != nil {
		return nil, p.explainTarget(err)
	}
	if err := o.checkLatency(ctx, client); err != nil {
		return nil, p.explainTarget(err)
	}
	var names map[string]map[string]string
	if b != nil {
		if names, err = client.TablePrivileges(ctx, p.touched(b)); err != nil {
			return nil, p.explainTarget(err)
		}
		if err := p.checkTables(ctx, o, client, b, names); err != nil {
			return nil, p.explainTarget(err)
		}
	}
	needs := p.needs(b, names)
	for _, one := range target.each {
		if err := p.checkUser(ctx, o, one, needs); err != nil {
			return nil, named(one.name, p.explainTarget(err))
		}
	}
	p.checkLimits(o, client.Limits(), len(target.each))
	return o, nil
}

// checkPin compares the environment with the one that the project belongs to.
func (p *Project) checkPin(o *Online) {
	pin, err := p.pin()
	o.Pinned = pin
	if err == nil && pin != nil {
		err = p.otherTarget(pin, o.Organization)
	}
	if err != nil {
		o.find(LevelError, "target", err.Error(), "")
	}
}

// checkLatency times round trips of a request that does nothing.
func (o *Online) checkLatency(ctx context.Context, c *dataverse.Client) error {
	var took []time.Duration
	for range latencyProbes {
		began := time.Now()
		if _, err := c.WhoAmI(ctx); err != nil {
			return err
		}
		took = append(took, time.Since(began))
	}
	o.gradeLatency(took)
	return nil
}

// gradeLatency tells whether round trips are as short as within one region.
func (o *Online) gradeLatency(took []time.Duration) {
	slices.Sort(took)
	median := took[len(took)/2]
	o.Latency = Latency{Probes: len(took), Min: took[0].Seconds(), Median: median.Seconds(), Max: took[len(took)-1].Seconds(), Near: median <= nearEnough}
	if !o.Latency.Near {
		o.find(LevelWarning, "latency", fmt.Sprintf("a request that does nothing takes %d ms: this machine does not look as if it stood in the environment's region", median.Milliseconds()),
			"load from a machine in that region, which answers within some milliseconds; a slow network costs every request")
	}
}

// checkLimits holds the settings against what the service's answers told.
func (p *Project) checkLimits(o *Online, told dataverse.Limits, users int) {
	o.Limits = OnlineLimits{Hint: told.Hint, Known: told.Known, RequestsLeft: told.RequestsLeft, SecondsLeft: told.TimeLeft.Seconds()}
	l := p.Config.Limits
	if n := p.Config.Load.Parallel; told.Hint > 0 && n > told.Hint*users {
		o.find(LevelWarning, "load.parallel", fmt.Sprintf("%d requests at once; the environment suggests %d for a user, and more were slower wherever it was measured", n, told.Hint),
			"leave load.parallel out to follow what it suggests, or load as more application users")
	}
	if told.Known && told.RequestsLeft > l.Requests {
		o.find(LevelWarning, "limits.requests", fmt.Sprintf("the environment grants more requests (%d are left) than the %d of the settings", told.RequestsLeft, l.Requests), "the estimate is too slow by that; set limits.requests")
	}
	if told.Known && told.TimeLeft > l.Execution {
		o.find(LevelWarning, "limits.execution", fmt.Sprintf("the environment grants more execution time (%v is left) than the %v of the settings", told.TimeLeft, l.Execution), "the estimate is too slow by that; set limits.execution")
	}
}

// checkUser finds out who a user is and whether it may do what the load needs.
func (p *Project) checkUser(ctx context.Context, o *Online, one *user, needs []need) error {
	who, err := one.client.WhoAmI(ctx)
	if err != nil {
		return err
	}
	u := OnlineUser{ID: who.UserID, Missing: []string{}}
	subject := "user " + who.UserID.String()
	for _, other := range o.Users {
		if other.ID == u.ID && !p.Config.Target.Loopback() { // to the emulator each token is a user, though they share a name
			o.find(LevelWarning, subject, "two of the users that sign in are this one, so they share its limits", "register an application for each, and add each to the environment as an application user")
		}
	}
	known, err := one.client.User(ctx, who.UserID)
	switch {
	case err == nil:
		u.Roles = append([]string{}, known.Roles...)
	case !refused(err):
		return err
	case !p.Config.Target.Loopback(): // an emulator's schema may be without roles
		o.find(LevelWarning, subject, "its roles cannot be read: "+err.Error(), "")
	}
	u.Name, u.Application = known.Name, known.ApplicationID
	have, err := one.client.Privileges(ctx, who.UserID)
	switch {
	case err != nil && !refused(err):
		return err
	case err != nil:
		o.find(LevelWarning, subject, "its privileges cannot be read, so whether they suffice is not known: "+err.Error(), "")
	default:
		p.checkNeeds(o, &u, subject, needs, have)
	}
	o.Users = append(o.Users, u)
	return nil
}

// refused reports whether the environment answered that it will not tell.
func refused(err error) bool {
	k := dataverse.KindOf(err)
	return k == dataverse.Setup || k == dataverse.NotFound || k == dataverse.RowFault
}

// checkNeeds compares the privileges that a user has with those needed.
func (p *Project) checkNeeds(o *Online, u *OnlineUser, subject string, needs []need, have map[string]dataverse.Depth) {
	var short []string
	why := map[string][]string{}
	for _, n := range needs {
		depth := dataverse.NoDepth
		for _, name := range n.names {
			depth = max(depth, have[strings.ToLower(name)])
		}
		switch {
		case depth == dataverse.NoDepth:
			u.Missing = append(u.Missing, n.names[0])
			why[n.why] = append(why[n.why], n.names[0])
		case n.owned && depth < dataverse.Global:
			short = append(short, n.names[0])
		}
	}
	for _, reason := range slices.Sorted(maps.Keys(why)) {
		o.find(LevelError, subject, fmt.Sprintf("lacks %s, needed %s", strings.Join(why[reason], ", "), reason), "add the privilege to a role of the application user")
	}
	if len(short) > 0 {
		o.find(LevelWarning, subject, "not for the whole organization: "+strings.Join(short, ", "), "records of owners in other business units will be refused; give the privileges at the level Organization")
	}
}

// checkTables compares the mapped tables with the environment's.
func (p *Project) checkTables(ctx context.Context, o *Online, c *dataverse.Client, b *bound, there map[string]map[string]string) error {
	var names []string
	for _, t := range b.tables {
		for _, name := range endsOf(t) {
			switch {
			case there[name] == nil:
				o.find(LevelError, name, "the environment has no such table", "install the solution that brings it, or take its transform out")
			default:
				names = append(names, name)
			}
		}
	}
	if len(names) == 0 {
		return nil
	}
	now, err := c.Schema(ctx, names, nil)
	if err != nil {
		return err
	}
	for _, t := range b.tables {
		row := OnlineTable{Name: t.Name, Bulk: []string{}, Known: []string{}, Changes: []Change{}}
		if t.Link != nil {
			row.Changes = append(row.Changes, linkChanges(t.Link, now)...)
		} else if is := now.Table(t.Name); is != nil {
			row.Bulk, row.Known = sorted(is.Bulk), sorted(t.Schema.Bulk)
			row.Changes = append(row.Changes, tableChanges(t, is)...)
		} else {
			continue
		}
		for _, change := range row.Changes {
			o.find(change.level, t.Name, change.String(), "`dvmigrate schema pull`, then `dvmigrate check` again")
		}
		p.checkMessage(o, t, row.Bulk)
		o.Tables = append(o.Tables, row)
	}
	return nil
}

// checkMessage compares how a table's records are to travel with what it takes.
func (p *Project) checkMessage(o *Online, t *mapping.Table, bulk []string) {
	if t.Link == nil && p.Config.Table(t.Name).Message == "bulk" && !slices.Contains(bulk, "create") {
		o.find(LevelWarning, t.Name, "tables."+t.Name+".message is bulk, which the environment does not take for this table", "write auto: records then travel in $batch")
	}
}

// endsOf are the tables that a mapped table's requests name.
func endsOf(t *mapping.Table) []string {
	if t.Link != nil {
		return []string{t.Link.Table1, t.Link.Table2}
	}
	return []string{t.Name}
}

func sorted(words []string) []string {
	return append([]string{}, slices.Sorted(slices.Values(words))...)
}
