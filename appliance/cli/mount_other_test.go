//go:build !linux

package cli

import (
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// canMount reports that full disks are tried on Linux only.
func canMount(*testing.T) bool { return false }

func cmdTmpfs(ts *testscript.TestScript, _ bool, _ []string) { ts.Fatalf("tmpfs: on Linux only") }
