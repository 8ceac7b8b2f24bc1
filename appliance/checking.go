package appliance

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"dvmigrate/appliance/config"
	"dvmigrate/appliance/preflight"
	"dvmigrate/duckstage"
	"dvmigrate/duckstage/ingest"
)

// CheckResult is what a check found to be in order.
type CheckResult struct {
	Version int           `json:"version"`
	Sources int           `json:"sources"`
	Tables  int           `json:"tables"`
	Faults  config.Faults `json:"faults"`
	Notes   []string      `json:"notes,omitempty"` // of sources, and where transforms do not follow the decisions of profile.csv
	Secure  *Security     `json:"security,omitempty"`
	Online  *Online       `json:"online,omitempty"` // what the environment says, where it was asked
}

// Check reads settings, schema, sources and transforms and reports every fault with
// its file and line. It stages nothing; it sends nothing unless online asks it to look
// at the environment too, where it only reads. Faults of the settings themselves are
// Open's.
func (p *Project) Check(ctx context.Context, online bool) (CheckResult, error) {
	r, b, err := p.checkOffline(ctx)
	if err == nil {
		secure := p.security()
		r.Secure = &secure
		if _, err := p.snapshotKeys(); err != nil {
			r.Faults = append(r.Faults, config.Fault{Key: "snapshots.encrypt", Message: err.Error()})
		}
	}
	if err == nil && online {
		r.Online, err = p.checkOnline(ctx, b)
	}
	return r, err
}

// checkOffline finds the faults that need no environment, and binds the tables; nil
// when they have faults.
func (p *Project) checkOffline(ctx context.Context) (CheckResult, *bound, error) {
	r := CheckResult{Version: 1, Sources: len(p.Config.Sources), Faults: config.Faults{}}
	s, err := duckstage.OpenMemory(ctx, duckstage.Options{Threads: p.Config.Stage.Threads})
	if err != nil {
		return r, nil, err
	}
	defer s.Close()
	for _, name := range sourceNames(p.Config, nil) {
		src, err := p.source(name)
		if err == nil {
			var notes []string
			notes, err = ingest.Preview(ctx, s, src)
			for _, note := range notes {
				r.Notes = append(r.Notes, "source "+name+": "+note)
			}
		}
		if err != nil {
			r.Faults = append(r.Faults, p.sourceFault(name, err))
		}
	}
	if len(r.Faults) > 0 { // transforms over missing sources would only repeat them
		return r, nil, nil
	}
	if err := p.emptyPulls(ctx, s); err != nil {
		return r, nil, err
	}
	b, err := p.bind(ctx, s)
	var faults config.Faults
	if errors.As(err, &faults) {
		r.Faults = append(r.Faults, faults...)
		return r, nil, nil
	}
	if err != nil {
		return r, nil, err
	}
	if _, err := p.transforms(ctx, b); errors.As(err, &faults) {
		r.Faults = append(r.Faults, faults...)
		return r, nil, nil
	} else if err != nil {
		return r, nil, err
	}
	r.Faults = append(r.Faults, p.unknownChecks()...)
	r.Tables = len(b.tables)
	notes, err := p.decisionNotes(ctx)
	if err != nil {
		return r, nil, err
	}
	r.Notes = append(r.Notes, notes...)
	r.Faults = append(r.Faults, p.unusedTables(b)...)
	return r, b, nil
}

// unknownChecks are ids in checks.skip that no check has.
func (p *Project) unknownChecks() config.Faults {
	var faults config.Faults
	var known []string
	for _, r := range preflight.Rules {
		known = append(known, r.ID)
	}
	for _, id := range p.Config.Checks.Skip {
		if !slices.Contains(known, id) {
			f := p.Config.FaultAt("checks.skip", "there is no check "+id)
			f.Hint = "they are " + strings.Join(known, ", ")
			faults = append(faults, f)
		}
	}
	return faults
}

// unusedTables are tables that the settings name but no transform makes.
func (p *Project) unusedTables(b *bound) config.Faults {
	var faults config.Faults
	for name := range p.Config.Tables {
		if b.byName[name] == nil {
			f := p.Config.FaultAt("tables."+name, fmt.Sprintf("no transform makes the table %s", name))
			var known []string
			for n := range b.byName {
				known = append(known, n)
			}
			if near := config.Nearest(name, known); near != "" {
				f.Hint = "did you mean " + near + "?"
			}
			faults = append(faults, f)
		}
	}
	return faults
}

// explainSource says where the settings name the source that could not be read.
func (p *Project) explainSource(name string, err error) error {
	f := p.sourceFault(name, err)
	var fatal *duckstage.FatalError // a full disk, for one
	if f.File == "" || errors.Is(err, context.Canceled) || errors.As(err, &fatal) {
		return err
	}
	return fmt.Errorf("%w\nthe source is set in %s, line %d; nothing of an earlier staging was changed", err, f.File, f.Line)
}

func (p *Project) sourceFault(name string, err error) config.Fault {
	var m *ingest.MaskError
	if !errors.As(err, &m) {
		return p.Config.FaultAt("sources."+name, err.Error())
	}
	at := "sources." + name + ".mask." + m.Column
	f := p.Config.FaultAt(at+".by", m.Short())
	if f.File == "" || m.Unknown == m.Column {
		f = p.Config.FaultAt(at, m.Short())
	}
	if f.File == "" {
		f = p.Config.FaultAt("sources."+name, m.Short())
	}
	f.Hint = didYouMean(m.Unknown, m.Known)
	return f
}
