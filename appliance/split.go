package appliance

import (
	"slices"
	"time"
)

// timed is how long the answer to a request of so many records took.
type timed struct{ records, seconds float64 }

// split tells what a request takes from what each record adds: the median of the slopes
// between any two answers to requests of different sizes, and the median of what is left
// then (Theil and Sen). Some slow answers, as every service gives now and then, do not
// move it as they move least squares. False: the answers do not tell.
func split(answers []timed, latency time.Duration) (request, record time.Duration, ok bool) {
	var slopes []float64
	for i, a := range answers {
		for _, b := range answers[:i] {
			if a.records != b.records {
				slopes = append(slopes, (a.seconds-b.seconds)/(a.records-b.records))
			}
		}
	}
	if len(slopes) < 3 {
		return 0, 0, false
	}
	slope := max(median(slopes), 0)
	rest := make([]float64, len(answers))
	for i, a := range answers {
		rest[i] = a.seconds - slope*a.records
	}
	base := median(rest) - latency.Seconds()
	if base < 0 { // the records take all of it
		for i, a := range answers {
			rest[i] = (a.seconds - latency.Seconds()) / a.records
		}
		return 0, seconds(max(median(rest), 0)), true
	}
	return seconds(base), seconds(slope), true
}

func median(of []float64) float64 {
	slices.Sort(of)
	return (of[(len(of)-1)/2] + of[len(of)/2]) / 2
}
