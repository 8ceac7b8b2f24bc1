package cli

import (
	"context"
	"fmt"

	"dvmigrate/appliance/console"
)

// giveMetrics gives metrics at an address of their own while this process works on the
// project; stop ends it. Where that is not possible, the work goes on without.
func giveMetrics(ctx context.Context, env *Env, address string, p console.Figurer) (stop func()) {
	if address == "" {
		return func() {}
	}
	s, err := console.ListenMetrics(address, console.Metrics(p, nil))
	if err != nil {
		fmt.Fprintf(env.Stderr, "warning: no metrics: %v\n", err)
		return func() {}
	}
	fmt.Fprintf(env.Stderr, "metrics: %s\n", s.URL())
	if s.Open() {
		fmt.Fprintln(env.Stderr, "warning: others than this machine can read the metrics, without a sign-in")
	}
	serving, end := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := s.Serve(serving); err != nil {
			fmt.Fprintf(env.Stderr, "warning: the metrics have ended: %v\n", err)
		}
	}()
	return func() { end(); <-done }
}
