package appliance

import (
	"context"
	"fmt"

	"dvmigrate/appliance/config"
	"dvmigrate/appliance/load"
	"dvmigrate/appliance/progress"
	"dvmigrate/appliance/reconcile"
	"dvmigrate/duckstage"
)

// Compared is how a comparison ended.
type Compared = reconcile.Result

// ComparedGroup is how many records have one value.
type ComparedGroup = reconcile.Group

// ReconcileOptions say how the target is compared.
type ReconcileOptions struct {
	Values    bool     // compare the columns too, not only which records are there
	Limit     int      // how many mismatches of a table are kept
	Parallel  int      // slices of a big table that are read at once; 0 = readersEach for each user
	Quick     bool     // counts and figures only, which the service makes
	Sample    int64    // of a bigger table, only so many records are compared; 0 = all
	Anew      bool     // read all in full that an interrupted comparison had compared already
	Changed   bool     // read in full only what has changed in the target since it was found equal
	Samples   int      // how many records of a table are shown whole
	NewTarget string   // the target's address said a second time, as in LoadOptions
	Args      []string // of the process that asks, for the audit trail; nil = this one's
}

// readersEach is how many slices are read at once for each user: reads that keep so many
// server threads busy use up the execution time that the service protection limits give
// (dataverse-web-api.md 8.1).
const readersEach = 4

// Reconcile compares what is in the target with what was loaded. While a load runs, the
// records that it changes meanwhile are not judged, and how the comparison ended does not
// count for a discard.
func (p *Project) Reconcile(ctx context.Context, o ReconcileOptions, watch StageWatch) (r reconcile.Result, err error) {
	if o.Args == nil {
		o.Args = p.o.Args
	}
	end, err := p.record(ctx, "reconcile", o.Args)
	if err != nil {
		return r, err
	}
	defer func() { end(err, reconciledText(r)) }()
	b, err := p.bindStaged(ctx)
	if err != nil {
		return r, err
	}
	target, err := p.meet(ctx, 0, o.NewTarget)
	if err != nil {
		return r, err
	}
	defer target.close()
	way, err := target.route(config.Headers{})
	if err != nil {
		return r, err
	}
	if o.Parallel == 0 {
		o.Parallel = readersEach * len(target.each)
	}
	files, err := p.newMismatchFiles()
	if err != nil {
		return r, err
	}
	defer files.drop()
	versions := &versionFiles{p: p, open: map[string]*versionFile{}}
	progress, err := p.openProgress(versions, o.Anew)
	if err != nil {
		return r, err
	}
	seqOf, loading := p.targetSeq(b), p.tracker.Load() != nil
	options := reconcile.Options{Tables: b.tables, Values: o.Values, Limit: o.Limit, Watch: percentOf("comparing ", watch),
		RecordSeq: seqOf, Kept: p.keptID(b), Staged: p.stagedID(b, seqOf), Moving: loading, Rules: p.comparisonRules, Found: files.add, Due: files.due, Anew: files.anew, Keep: keptMismatches,
		Hide: p.masks(), Parallel: o.Parallel, Collation: p.collation(true), Samples: o.Samples, Versions: versions.of, Changed: o.Changed, Sample: o.Sample, Quick: o.Quick,
		ReadBack: func(table string) string {
			return reconcile.ReadBackSQL(duckstage.Ident(table + load.FlagsSuffix))
		}}
	everything := o.Values && o.Sample == 0 && !o.Quick
	if everything {
		options.Progress = progress
	}
	r, err = reconcile.Run(ctx, p.stage, p.ledger, way, options)
	if kept := versions.close(r.Tables); err == nil {
		err = kept
	}
	if err != nil {
		return r, p.explainTarget(err)
	}
	if err := p.proveSources(ctx, &r); err != nil {
		return r, err
	}
	if err := p.wordSamples(ctx, b, &r); err != nil {
		return r, err
	}
	if o.Sample > 0 || o.Quick {
		return r, nil // it is no proof of the whole, and leaves what is kept of that
	}
	if err := files.finish(r.Tables); err != nil {
		return r, fmt.Errorf("keep the mismatches: %w", err)
	}
	if everything {
		if err := progress.end(); err != nil {
			return r, err
		}
	}
	if loading || p.tracker.Load() != nil {
		return r, nil
	}
	if everything && r.Summary.Missing+r.Summary.Different == 0 { // whatever happened to it, it has all
		if err := p.renewMarks(ctx, b, way); err != nil {
			return r, err
		}
	}
	return r, p.keepReconciled(ctx, r, o.Values)
}

// masks reports whether a source is masked, so that what the target holds may be what
// nobody here should see: somebody may have typed it in, or loaded it in the clear before.
func (p *Project) masks() bool {
	for _, s := range p.Config.Sources {
		if len(s.Mask) > 0 && !p.Config.Masking.Off {
			return true
		}
	}
	return false
}

// comparisonRules are the settings of a table's comparison.
func (p *Project) comparisonRules(table string) reconcile.Rules {
	c := p.Config.Comparison(table)
	bound := func(text string) reconcile.Bound {
		number, share := config.Allowed(text)
		return reconcile.Bound{Number: number, Share: share, Text: text}
	}
	return reconcile.Rules{Missing: bound(c.Allow.Missing), Extra: bound(c.Allow.Extra), Different: bound(c.Allow.Different), Duplicates: bound(c.Allow.Duplicates),
		Ignore: c.Ignore, Loose: c.Loose, Sums: c.Sums, Groups: c.Groups}
}

func reconciledText(r reconcile.Result) string {
	s := r.Summary
	return fmt.Sprintf("%s compared: %d missing, %d extra, %d different, %s", progress.Counted(s.Target, "record"), s.Missing, s.Extra, s.Different, progress.Counted(s.Duplicates, "duplicate"))
}

// percentOf tells a watcher of counts as one of percents.
func percentOf(verb string, watch StageWatch) func(table string, done, total int64) {
	return func(table string, done, total int64) {
		percent := -1.0
		if total > 0 {
			percent = 100 * float64(done) / float64(total)
		}
		watch(verb+table, percent)
	}
}

// live is the state of a load that is running in this process; false when none is.
func (p *Project) live() (progress.Snapshot, bool) {
	t := p.tracker.Load()
	if t == nil {
		return progress.Snapshot{}, false
	}
	return t.Snapshot(), true
}
