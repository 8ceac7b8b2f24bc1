//go:build !windows

package cli

import "os"

// drawsOver reports whether the terminal takes the sequences that draw over what stands
// there. One of the kind dumb, such as an editor's, does not.
func drawsOver(*os.File) bool { return os.Getenv("TERM") != "dumb" }
