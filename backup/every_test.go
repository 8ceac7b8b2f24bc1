package backup

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

func TestEvery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		full := errors.New("disk full")
		done := errors.New("load is done")
		var calls []time.Duration
		var reported []error
		ctx, cancel := context.WithCancelCause(t.Context())
		take := func(ctx context.Context) error {
			calls = append(calls, time.Since(began))
			switch len(calls) {
			case 2:
				return full
			case 3: // takes two intervals and a half
				time.Sleep(25 * time.Minute)
			case 6: // is stopped in the middle
				time.AfterFunc(time.Minute, func() { cancel(done) })
				<-ctx.Done()
				return ctx.Err()
			}
			return nil
		}
		err := Every(ctx, 10*time.Minute, take, func(err error) { reported = append(reported, err) })
		if err != done {
			t.Errorf("ended with %v", err)
		}
		want := []time.Duration{10 * time.Minute, 20 * time.Minute, 30 * time.Minute, 55 * time.Minute, 60 * time.Minute, 70 * time.Minute}
		if !slices.Equal(calls, want) {
			t.Errorf("called at %v, not %v", calls, want)
		}
		if !slices.Equal(reported, []error{full}) {
			t.Errorf("reported %v", reported)
		}
	})
}

func TestEveryStopsBetweenCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 59*time.Minute)
		defer cancel()
		calls := 0
		err := Every(ctx, 30*time.Minute, func(context.Context) error { calls++; return nil }, func(error) {})
		if !errors.Is(err, context.DeadlineExceeded) || calls != 1 {
			t.Errorf("%d calls, %v", calls, err)
		}
	})
	if err := Every(context.Background(), 0, nil, nil); err == nil {
		t.Error("an interval of zero was accepted")
	}
}

// A failed snapshot is reported and the next one is taken.
func TestEveryTakesTheNextAfterAFailure(t *testing.T) {
	o := Options{Dir: t.TempDir()}
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 35*time.Minute)
		defer cancel()
		n := 0
		var reported []error
		Every(ctx, 10*time.Minute, func(ctx context.Context) error {
			n++
			o := o
			if n == 2 {
				o.files = newFaults(t, 3, false)
			}
			_, err := Take(ctx, o, &blob{name: "ledger", data: []byte{byte(n)}})
			return err
		}, func(err error) { reported = append(reported, err) })
		if n != 3 || len(reported) != 1 || !errors.Is(reported[0], errFault) {
			t.Errorf("%d calls, reported %v", n, reported)
		}
	})
	all, err := listIn(o.Dir, nil)
	if err != nil || len(all) != 2 {
		t.Errorf("listed %v, %v", all, err)
	}
	checkFolder(t, o.Dir)
}
