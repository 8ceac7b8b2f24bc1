package reconcile

import "time"

// The kinds of mismatch.
const (
	Missing   = "missing"
	Extra     = "extra"
	Different = "different"
	Duplicate = "duplicate"
)

// The classes of a column that differs: whose work it is to look at it.
const (
	ClassValue   = "value"
	ClassOwner   = "owner"
	ClassParent  = "parent" // a lookup other than the owner
	ClassState   = "state"  // state or status reason
	ClassParties = "parties"
	ClassFile    = "file"
)

// Mismatch is one thing that is not as meant.
type Mismatch struct {
	Table     string `json:"table"`
	LegacyKey string `json:"legacyKey"` // "" when the stage no longer has the row
	RecordID  string `json:"recordId"`  // of a duplicate: the other record's; "" for a link, whose two ids are in Want or Got
	Kind      string `json:"kind"`
	Class     string `json:"class,omitempty"`  // of what is different
	Column    string `json:"column,omitempty"` // of a duplicate or a link: its columns, joined by a comma
	Want      string `json:"want,omitempty"`   // as staged; "" is null
	Got       string `json:"got,omitempty"`    // as read back
}

// ColumnCount is in how many records a column differs.
type ColumnCount struct {
	Column  string `json:"column"`
	Class   string `json:"class"`
	Records int64  `json:"records"`
}

// TableResult is how one table compares. Each number counts records.
type TableResult struct {
	Name       string        `json:"name"`
	Source     int64         `json:"source"` // that the target has, by the ledger
	Target     int64         `json:"target"` // of ours that the target has
	Missing    int64         `json:"missing"`
	Extra      int64         `json:"extra"`
	Different  int64         `json:"different"`
	Duplicates int64         `json:"duplicates"`
	Moving     int64         `json:"moving,omitempty"`    // that a load changed meanwhile, so that they are not judged
	Others     int64         `json:"others"`              // rows of the target that are not of this migration
	Unchanged  int64         `json:"unchanged,omitempty"` // that were not read in full: their version is that at which they were equal
	Sampled    int64         `json:"sampled,omitempty"`   // of a sample: how many were chosen; the counts are of these
	Quick      bool          `json:"quick,omitempty"`     // the service counted: target has the records of others too
	Unsure     int64         `json:"unsure,omitempty"`    // of a quick comparison: of Source, those that need not have what is staged, as their row is gone, failed or held
	Staged     int64         `json:"staged"`              // rows of the stage
	NotLoaded  int64         `json:"notLoaded"`           // of these, without a record in the target, by the ledger
	Columns    []ColumnCount `json:"columns,omitempty"`
	Resumed    *Resumed      `json:"resumed,omitempty"` // what was gone on with
	NoSizes    string        `json:"noSizes,omitempty"` // why the sizes of files were not compared
	Figures    []Figure      `json:"figures,omitempty"`
	Groups     []Group       `json:"groups,omitempty"`

	SourceFigures []SourceFigure `json:"sourceFigures,omitempty"`

	Pass       bool     `json:"pass"`               // nothing beyond what is allowed
	Failures   []string `json:"failures,omitempty"` // what is beyond it, in words
	rules      Rules
	Seconds    float64    `json:"seconds,omitempty"`
	Mismatches []Mismatch `json:"mismatches"` // the first ones
	Samples    []Sample   `json:"samples,omitempty"`
}

// Resumed says what an interrupted comparison had done of a table.
type Resumed struct {
	Began time.Time `json:"began"` // of the interrupted one
	Done  int       `json:"done"`  // ranges that it had compared: only their ids and versions were read again
	Of    int       `json:"of"`
}

// Summary adds up all tables.
type Summary struct {
	Source     int64 `json:"source"`
	Target     int64 `json:"target"`
	Missing    int64 `json:"missing"`
	Extra      int64 `json:"extra"`
	Different  int64 `json:"different"`
	Duplicates int64 `json:"duplicates"`
	Moving     int64 `json:"moving,omitempty"`
}

// Faults is how many mismatches there are, allowed or not.
func (s Summary) Faults() int64 { return s.Missing + s.Extra + s.Different + s.Duplicates }

// Result is how the target compares with what was loaded.
type Result struct {
	Version int           `json:"version"` // of this form, 1
	Summary Summary       `json:"summary"`
	Pass    bool          `json:"pass"` // every table passes
	Sources []SourceRows  `json:"sources,omitempty"`
	Tables  []TableResult `json:"tables"`
}

// SourceRows is what became of the lines of a source.
type SourceRows struct {
	Name     string `json:"name"`
	Lines    int64  `json:"lines"`    // or records: that it had when it was read
	SetAside int64  `json:"setAside"` // that could not be read
	Rows     int64  `json:"rows"`     // the others
	Staged   int64  `json:"staged"`   // rows that the stage has of it now
	Same     bool   `json:"same"`     // as many as were read
}

// SourceFigure is what the source says that staged rows come to, before the transform, and
// what they come to after it.
type SourceFigure struct {
	Name   string `json:"name"` // rows, or a column whose sum it is
	Source string `json:"source"`
	Staged string `json:"staged"`
	Same   bool   `json:"same"`
}

// Conclude says anew whether all passes.
func (r *Result) Conclude() {
	r.Pass = true
	for _, s := range r.Sources {
		r.Pass = r.Pass && s.Same
	}
	for i := range r.Tables {
		r.Tables[i].conclude()
		r.Pass = r.Pass && r.Tables[i].Pass
	}
}

// add takes a finished table into the result.
func (r *Result) add(t TableResult) {
	r.Tables = append(r.Tables, t)
	r.Conclude()
	sum := &r.Summary
	sum.Source += t.Source
	sum.Target += t.Target
	sum.Missing += t.Missing
	sum.Extra += t.Extra
	sum.Different += t.Different
	sum.Duplicates += t.Duplicates
	sum.Moving += t.Moving
}
