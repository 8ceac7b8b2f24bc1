package backup

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"time"

	"dvmigrate/backup/archive"
)

// Errors to compare with errors.Is.
var (
	// ErrLocked says that another Take or Restore works in the folder.
	ErrLocked = archive.ErrLocked
	// ErrNotFound says that there is no such snapshot, or no such part in it.
	ErrNotFound = archive.ErrNotFound
	// ErrEncrypted says that a snapshot is encrypted and no key for it was given.
	ErrEncrypted = archive.ErrEncrypted
	// ErrWrongKey says that a snapshot is encrypted and none of the keys given opens it.
	ErrWrongKey = archive.ErrWrongKey
	// ErrVersion says that a snapshot was written by a newer release.
	ErrVersion = archive.ErrVersion
)

// Keyring holds what snapshots are encrypted with and opened by; Keys say what goes in.
type (
	Keyring = archive.Keyring
	Keys    = archive.Keys
)

// NewKeyring checks the keys. An error names what is wrong and shows no secret.
func NewKeyring(k Keys) (*Keyring, error) { return archive.NewKeyring(k) }

// NewIdentity makes a key pair: the secret key, and its public key.
func NewIdentity() (secret, public string, err error) { return archive.NewIdentity() }

// part is something that can be copied while it is in use. SnapshotTo writes one
// consistent state to w, which is not kept after the call.
//
// A part may have two more methods:
//
//   - Fingerprint() string names the state that SnapshotTo would write, up to 255
//     bytes. Equal and not empty means equal content: the part is then taken over
//     from the newest snapshot that has it and SnapshotTo is not called. For files
//     that never change once written: device, inode, size and times (engines.md 6).
//   - FirstChunk() int is the length of what comes before the first block of a file
//     of 256 KiB blocks, in bytes: 12,288 for DuckDB. Blocks that have not changed
//     are then not stored again.
type part interface {
	Name() string
	SnapshotTo(ctx context.Context, w io.Writer) error
}

// restorer is something that can be brought back. RestoreFrom gets io.EOF only when
// everything before it has been checked; after any other error it must throw away
// what it has read. A restorer writes under a temporary name and renames.
type restorer interface {
	Name() string
	RestoreFrom(ctx context.Context, r io.Reader) error
}

// Options say where snapshots are and which ones stay.
type Options struct {
	Dir    string       // the folder; made when missing, open to its owner only
	Keep   Retention    // when zero the newest 6, and one of each of 24 hours and 14 days
	Keys   *Keyring     // nothing is encrypted when nil
	Meta   any          // kept with the snapshot as JSON, up to 1 MiB; may be nil
	Logger *slog.Logger // what was taken and removed; nothing is logged when nil
	Access Access       // how distant places are reached that get a copy

	files archive.Files // the operating system's, when nil
}

func (o *Options) store() *archive.Store {
	if o.files != nil {
		return archive.Open(o.Dir, o.files, o.Keys)
	}
	return archive.Open(o.Dir, archive.OS{}, o.Keys)
}

func (o *Options) logger() *slog.Logger {
	if o.Logger != nil {
		return o.Logger
	}
	return slog.New(slog.DiscardHandler)
}

// Snapshot is one set of parts in the folder.
type Snapshot struct {
	ID    string
	Time  time.Time  // when it was begun, in UTC; later than that of the one before it
	Parts []PartInfo // in the order in which they were taken
	Meta  json.RawMessage
	Size  int64 // bytes of all parts, uncompressed
	Added int64 // bytes that this snapshot added to the folder, but for its manifest
	// Seal is a hash over all of it, in hexadecimal: no other snapshot has the same.
	Seal string
	// Encrypted says that it takes a key to restore it; Locked, that none of those given
	// does: then Parts, Meta and Size are not known.
	Encrypted, Locked bool
	// Fault is why the snapshot cannot be restored as far as could be seen without
	// reading its chunks (Verify does that); nil if it is complete.
	Fault error
}

// PartInfo describes one part of a snapshot.
type PartInfo struct {
	Name        string
	Size        int64 // uncompressed, in bytes
	Chunks      int
	Fingerprint string // the part's own, if it gave one
}

// Newest is the newest snapshot of a folder whose manifest can be read, with these keys; ok is false
// where there is none. What else the snapshot is made of is not looked at.
func Newest(dir string, keys *Keyring) (s Snapshot, ok bool, err error) {
	store := archive.Open(dir, archive.OS{}, keys)
	ids, err := store.IDs()
	for _, id := range ids {
		if m, err := store.Manifest(id); err == nil {
			return describe(m), true, nil
		}
	}
	return s, false, err
}

// list are the snapshots of a store, newest first. A damaged one is listed with its Fault.
func list(store *archive.Store, check func(*archive.Manifest) error) ([]Snapshot, error) {
	ids, err := store.IDs()
	if err != nil {
		return nil, err
	}
	var all []Snapshot
	for _, id := range ids {
		m, err := store.Manifest(id)
		locked := errors.Is(err, ErrEncrypted) || errors.Is(err, ErrWrongKey)
		if locked {
			m, err = store.Outline(id)
		}
		if errors.Is(err, ErrNotFound) {
			continue // removed since the folder was read
		}
		if err != nil {
			t, _ := archive.TimeOf(id)
			all = append(all, Snapshot{ID: id, Time: t, Fault: err})
			continue
		}
		s := describe(m)
		s.Locked = locked
		s.Fault = check(m)
		all = append(all, s)
	}
	return all, nil
}

func describe(m *archive.Manifest) Snapshot {
	s := Snapshot{ID: m.ID, Meta: m.Meta, Encrypted: m.Encrypted(), Seal: hex.EncodeToString(m.Seal[:])}
	s.Time, _ = archive.TimeOf(m.ID)
	for _, p := range m.Packs {
		if p.ID == m.ID {
			s.Added = p.Size
		}
	}
	for i := range m.Parts {
		p := &m.Parts[i]
		s.Size += p.Size
		s.Parts = append(s.Parts, PartInfo{
			Name:        p.Name,
			Size:        p.Size,
			Chunks:      len(p.Chunks),
			Fingerprint: p.Fingerprint,
		})
	}
	return s
}
