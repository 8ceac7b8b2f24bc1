package plan

import (
	"fmt"
	"slices"
)

// Traits are what the grade of a migration looks at.
type Traits struct {
	Tables, Lookups, Polymorphic, Deferred, Links, States, Special, Steps int
	Records                                                               int64
	Bytes                                                                 float64
	Guessed                                                               int     // works whose speed is a default
	Unstaged                                                              int     // tables whose count is stated
	BadRows                                                               float64 // the largest share of a table
	Filled                                                                float64 // of the window, with the buffer; 0 = none stated
}

// Grade is how big, complex and risky a migration is, with the table that says why.
type Grade struct {
	Grade      string      `json:"grade"` // simple, medium, complex
	Score      float64     `json:"score"` // 1 to 3
	Size       float64     `json:"size"`
	Complexity float64     `json:"complexity"`
	Risk       float64     `json:"risk"`
	Table      []Criterion `json:"table"`
}

// Criterion is one line of the score table. A value up to Medium scores 1, up to
// Complex 2, above 3.
type Criterion struct {
	Name    string  `json:"name"`
	Aspect  string  `json:"aspect"` // size, complexity, risk
	Medium  float64 `json:"simpleUpTo"`
	Complex float64 `json:"mediumUpTo"`
	Weight  float64 `json:"weight"`
	Value   float64 `json:"value"`
	Points  float64 `json:"points"`
}

// The criteria by name: what each reads.
var criteria = map[string]func(Traits) float64{
	"records":                      func(t Traits) float64 { return float64(t.Records) },
	"gigabytes":                    func(t Traits) float64 { return t.Bytes / 1e9 },
	"tables":                       func(t Traits) float64 { return float64(t.Tables) },
	"lookups":                      func(t Traits) float64 { return float64(t.Lookups) },
	"polymorphic lookups":          func(t Traits) float64 { return float64(t.Polymorphic) },
	"deferred lookups":             func(t Traits) float64 { return float64(t.Deferred) },
	"N:N relationships":            func(t Traits) float64 { return float64(t.Links) },
	"tables with a final state":    func(t Traits) float64 { return float64(t.States) },
	"activity, elastic, virtual":   func(t Traits) float64 { return float64(t.Special) },
	"percent of speeds guessed":    func(t Traits) float64 { return 100 * float64(t.Guessed) / float64(max(t.Steps, 1)) },
	"tables not staged":            func(t Traits) float64 { return float64(t.Unstaged) },
	"percent of records refused":   func(t Traits) float64 { return 100 * t.BadRows },
	"percent of the window in use": func(t Traits) float64 { return 100 * t.Filled },
}

// ScoreTable is the table that is used where a team has none of its own. Sizes are those
// of method.md M1.
func ScoreTable() []Criterion {
	return []Criterion{
		{Name: "records", Aspect: "size", Medium: 50_000, Complex: 500_000, Weight: 2},
		{Name: "gigabytes", Aspect: "size", Medium: 1, Complex: 50, Weight: 1},
		{Name: "tables", Aspect: "size", Medium: 10, Complex: 40, Weight: 1},
		{Name: "lookups", Aspect: "complexity", Medium: 20, Complex: 100, Weight: 1},
		{Name: "polymorphic lookups", Aspect: "complexity", Medium: 1, Complex: 5, Weight: 1},
		{Name: "deferred lookups", Aspect: "complexity", Medium: 2, Complex: 10, Weight: 1},
		{Name: "N:N relationships", Aspect: "complexity", Medium: 2, Complex: 10, Weight: 1},
		{Name: "tables with a final state", Aspect: "complexity", Medium: 2, Complex: 10, Weight: 1},
		{Name: "activity, elastic, virtual", Aspect: "complexity", Medium: 0, Complex: 3, Weight: 1},
		{Name: "percent of speeds guessed", Aspect: "risk", Medium: 10, Complex: 50, Weight: 2},
		{Name: "tables not staged", Aspect: "risk", Medium: 0, Complex: 3, Weight: 1},
		{Name: "percent of records refused", Aspect: "risk", Medium: 0.5, Complex: 3, Weight: 1},
		{Name: "percent of the window in use", Aspect: "risk", Medium: 60, Complex: 90, Weight: 2},
	}
}

// CheckScoreTable finds what is wrong with a table that a team has edited.
func CheckScoreTable(table []Criterion) error {
	for i, c := range table {
		switch {
		case criteria[c.Name] == nil:
			return fmt.Errorf("line %d: there is no criterion %q", i+1, c.Name)
		case !slices.Contains([]string{"size", "complexity", "risk"}, c.Aspect):
			return fmt.Errorf("line %d: the aspect of %q is %q; it is size, complexity or risk", i+1, c.Name, c.Aspect)
		case c.Complex < c.Medium || c.Weight < 0:
			return fmt.Errorf("line %d: %q needs simpleUpTo at most mediumUpTo, and a weight of at least 0", i+1, c.Name)
		}
	}
	return nil
}

// GradeOf scores a migration by a table.
func GradeOf(t Traits, table []Criterion) Grade {
	g := Grade{Table: slices.Clone(table)}
	sum, weight := map[string]float64{}, map[string]float64{}
	for i := range g.Table {
		c := &g.Table[i]
		c.Value = criteria[c.Name](t)
		c.Points = 1
		if c.Value > c.Medium {
			c.Points = 2
		}
		if c.Value > c.Complex {
			c.Points = 3
		}
		for _, aspect := range []string{c.Aspect, ""} {
			sum[aspect] += c.Points * c.Weight
			weight[aspect] += c.Weight
		}
	}
	mean := func(aspect string) float64 {
		if weight[aspect] == 0 {
			return 1
		}
		return sum[aspect] / weight[aspect]
	}
	g.Size, g.Complexity, g.Risk, g.Score = mean("size"), mean("complexity"), mean("risk"), mean("")
	switch {
	case max(g.Size, g.Score) < 1.5:
		g.Grade = "simple"
	case max(g.Size, g.Score) < 2.3:
		g.Grade = "medium"
	default:
		g.Grade = "complex"
	}
	return g
}
