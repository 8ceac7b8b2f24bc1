//go:build !unix

package plan

import "time"

var started = time.Now()

// processTime is the time that has passed: nothing better is told here.
func processTime() time.Duration { return time.Since(started) }
