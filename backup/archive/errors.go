package archive

import (
	"errors"
	"fmt"
)

// Sentinels to compare with errors.Is.
var (
	// ErrDamaged says that a file of the store is not what was written: bytes
	// changed, cut off or missing. The error that wraps it is a *DamageError.
	ErrDamaged = errors.New("damaged")
	// ErrLocked says that another process or another call works in the folder.
	ErrLocked = errors.New("snapshot folder is in use by another process")
	// ErrVersion says that the file is whole, but written by a newer release or
	// with a feature that this one does not have.
	ErrVersion = errors.New("format is not known to this release")
	// ErrEncrypted says that the snapshot is encrypted and no key was given.
	ErrEncrypted = errors.New("is encrypted, and no key for it was given")
	// ErrWrongKey says that the snapshot is encrypted and none of the keys given opens it.
	ErrWrongKey = errors.New("is encrypted, and the key given does not open it")
	// ErrNotFound says that there is no snapshot of that ID, or no part of that name.
	ErrNotFound = errors.New("not found")
)

// DamageError says which file is damaged, and where.
type DamageError struct {
	File  string // base name within the folder
	Part  string // part that needs the damaged bytes; empty for a manifest
	Chunk int    // index of the chunk within Part
	At    int64  // offset of the chunk within File
	Fault string // what is wrong
	Err   error  // what the operating system said, if it was asked
}

// Error names the file first, then the place in it.
func (e *DamageError) Error() string {
	s := e.File
	if e.Part != "" {
		s += fmt.Sprintf(": part %q, chunk %d at byte %d", e.Part, e.Chunk, e.At)
	}
	s += ": " + e.Fault
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

// Unwrap makes errors.Is find ErrDamaged and the cause.
func (e *DamageError) Unwrap() []error {
	if e.Err == nil {
		return []error{ErrDamaged}
	}
	return []error{ErrDamaged, e.Err}
}
