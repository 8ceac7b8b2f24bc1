package config

import (
	"strconv"
	"strings"
)

// Comparison is how dvmigrate reconcile compares a table with the target.
type Comparison struct {
	Allow  Allowance `json:"allow" doc:"How many mismatches the table may have and still pass: a number in quotes, or a share of its records such as 0.1%. What is left out may not be at all."`
	Ignore []string  `json:"ignore" doc:"Columns that are not compared."`
	Loose  []string  `json:"loose" doc:"Text columns in which neither case counts nor blanks at the ends."`
	Sums   []string  `json:"sums" doc:"Columns whose sum, least, greatest and number of distinct values are compared; when left out, those of money."`
	Groups []string  `json:"groups" doc:"Columns by whose values the records are counted on both sides, times by month; when left out, owner, state, status reason and month of creation, as far as they are loaded."`

	Source map[string]SourceFigure `json:"source" match:"^[a-z_][a-z0-9_]*$" doc:"What the source says the staged rows must come to: rows for their number, or a column for its sum, each with a SELECT over the sources that yields it."`
}

// SourceFigure is one figure that the source gives.
type SourceFigure struct {
	SQL string `json:"sql" short:"yes" need:"yes" doc:"A SELECT that yields one number, such as SELECT sum(turnover) FROM customers."`
}

// Allowance is how many mismatches of each kind a table may have.
type Allowance struct {
	Missing    string `json:"missing" match:"^$|^[0-9]+$|^[0-9]+([.][0-9]+)?%$" doc:"Records that were loaded and are not there."`
	Extra      string `json:"extra" match:"^$|^[0-9]+$|^[0-9]+([.][0-9]+)?%$" doc:"Records of this migration that should not be there."`
	Different  string `json:"different" match:"^$|^[0-9]+$|^[0-9]+([.][0-9]+)?%$" doc:"Records of which a column is not as it was staged."`
	Duplicates string `json:"duplicates" match:"^$|^[0-9]+$|^[0-9]+([.][0-9]+)?%$" doc:"Records with the alternate key of one of this migration."`
}

// Comparison returns how the table with this logical name is compared.
func (c *Config) Comparison(table string) Comparison {
	if one, ok := c.Reconcile[table]; ok {
		return one
	}
	return c.Reconcile["*"]
}

// Allowed is what such a setting allows: a number, or a share of all.
func Allowed(text string) (number int64, portion float64) {
	if strings.HasSuffix(text, "%") {
		return 0, share(text)
	}
	number, _ = strconv.ParseInt(text, 10, 64) // its form is checked; too large a number allows nothing
	return number, 0
}
