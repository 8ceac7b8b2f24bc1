package cli

import (
	"os"

	"golang.org/x/sys/windows"
)

// drawsOver reports whether the console takes the sequences that draw over what stands
// there, and asks it to. Those before Windows 10 do not: they get plain lines.
func drawsOver(f *os.File) bool {
	h := windows.Handle(f.Fd())
	var mode uint32
	if windows.GetConsoleMode(h, &mode) != nil {
		return false
	}
	if mode&windows.ENABLE_VIRTUAL_TERMINAL_PROCESSING != 0 {
		return true
	}
	return windows.SetConsoleMode(h, mode|windows.ENABLE_VIRTUAL_TERMINAL_PROCESSING) == nil
}
