package appliance

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"dvmigrate/appliance/progress"
)

// TestAwayIsTold: a target that is gone for minutes, and that it is back, is shown.
func TestAwayIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		u := crew(t, 2, func(string, *http.Request) (int, string) {
			if d := time.Since(began); d > time.Minute && d < 6*time.Minute {
				return http.StatusServiceUnavailable, "Content-Type: text/html"
			}
			return http.StatusNoContent, ""
		})
		tracker := progress.New()
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		go followPace(ctx, u, tracker)
		for time.Since(began) < 10*time.Minute {
			for _, one := range u.each {
				_ = one.client.Create(t.Context(), accounts, []byte("{}"))
			}
			time.Sleep(time.Second)
		}
		synctest.Wait()
		var told, back int
		for _, e := range tracker.Snapshot().Events {
			if strings.Contains(e.Text, "no answer from the target for") {
				told++
			}
			if strings.Contains(e.Text, "answers again, after") {
				back++
			}
		}
		if told < 4 || told > 6 || back != 1 {
			t.Errorf("told %d times that it is gone and %d times that it is back: %v", told, back, tracker.Snapshot().Events)
		}
	})
}
