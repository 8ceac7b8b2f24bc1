package duckstage

import "io/fs"

// fileNumber is not to be had cheaply here: size and time have to do.
func fileNumber(fs.FileInfo) string { return "0" }

// inode is not to be had cheaply here.
func inode(fs.FileInfo) string { return "" }

// syncFolder has no meaning on Windows: a rename is in the file system's journal.
func syncFolder(string) error { return nil }
