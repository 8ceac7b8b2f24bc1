package appliance

import (
	"io"
	"net/http"
	"strings"
	"testing"
)

type answering func(*http.Request) (*http.Response, error)

func (f answering) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// TestAProcessThatEndsAmidItsAnswer: whoever asked is told what to do, not what the decoder met.
func TestAProcessThatEndsAmidItsAnswer(t *testing.T) {
	for _, answer := range []string{"", `{"doing":"comparing account","percent":3}` + "\n", `{"doing":"comp`} {
		r := &remote{http: http.Client{Transport: answering(func(*http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(strings.NewReader(answer))}, nil
		})}}
		_, err := r.Status(t.Context())
		rows := r.SQL(t.Context(), "SELECT 1", func([]string, []any) error { return nil })
		for _, err := range []error{err, rows} {
			if err == nil || !strings.Contains(err.Error(), "ended before it had answered: run this again") {
				t.Errorf("%q: %v", answer, err)
			}
		}
	}
}
