package archive

import (
	"crypto/rand"
	"encoding/hex"
	"time"
)

// idTime is the part of an ID that sorts; idLength its 20 bytes, "-" and the suffix.
const (
	idTime   = "20060102T150405.000Z"
	idLength = 20 + 1 + 8
)

// NewID returns an ID for a snapshot begun at t: the time in UTC to the
// millisecond and a random suffix, such as 20261122T154100.123Z-9f3a1c07.
// IDs sort by time and are safe as file names on every system.
func NewID(t time.Time) string {
	var b [4]byte
	rand.Read(b[:]) // never fails (crypto/rand, since Go 1.24)
	return t.UTC().Format(idTime) + "-" + hex.EncodeToString(b[:])
}

// TimeOf returns the time within an ID; ok is false when id is not an ID.
func TimeOf(id string) (t time.Time, ok bool) {
	if len(id) != idLength || id[len(idTime)] != '-' {
		return time.Time{}, false
	}
	for _, c := range id[len(idTime)+1:] {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return time.Time{}, false
		}
	}
	t, err := time.Parse(idTime, id[:len(idTime)])
	if err != nil || t.Format(idTime) != id[:len(idTime)] {
		return time.Time{}, false
	}
	return t, true
}
