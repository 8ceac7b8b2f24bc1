//go:build !linux

package cli

import (
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// canMount reports that full disks are tried on Linux only.
func canMount(*testing.T) bool { return false }

// hasVolumes reports that disks which break are tried on Linux only.
func hasVolumes(*testing.T) bool { return false }

func cmdVolume(ts *testscript.TestScript, _ bool, _ []string) { ts.Fatalf("volume: on Linux only") }

func cmdTmpfs(ts *testscript.TestScript, _ bool, _ []string) { ts.Fatalf("tmpfs: on Linux only") }
