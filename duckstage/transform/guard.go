package transform

import "fmt"

// GoneError says that more rows of a table are gone than may be at once. Nothing of the
// staging before has changed.
type GoneError struct {
	Table      string
	Rows, Gone int64   // rows of the staging before, and of them those that are no longer supplied
	Fresh      int64   // rows that no staging had before
	Allows     float64 // Table.MaxGone
}

func (e *GoneError) Error() string {
	return fmt.Sprintf("of %d rows %d are no longer supplied; %.4g %% may be", e.Rows, e.Gone, 100*e.Allows)
}

// fewGone is how many rows may always be gone: of a small table a few are a large share.
const fewGone = 100

// checkGone refuses a staging that has lost too much.
func (j *job) checkGone(before int64) error {
	if gone := j.result.Gone; j.MaxGone > 0 && gone > fewGone && float64(gone) > j.MaxGone*float64(before) {
		return &GoneError{Table: j.Name, Rows: before, Gone: gone, Fresh: j.fresh, Allows: j.MaxGone}
	}
	return nil
}
