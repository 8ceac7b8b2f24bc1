package load_test

import (
	"testing"
	"testing/synctest"
)

func TestLoadsEveryRowOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1500)
		w.mustRun()
		w.wantLoaded()
		s := w.server.Stats()
		if s.Duplicates != 0 || s.Created != int64(w.total()) {
			t.Errorf("%d records created and %d duplicates refused, want %d and none", s.Created, s.Duplicates, w.total())
		}
		before := s.Requests
		w.mustRun()
		for m, n := range w.server.Stats().Requests {
			if n != before[m] {
				t.Errorf("a second load sent %d more %s", n-before[m], m)
			}
		}
	})
}
