package ledger

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	bolt "go.etcd.io/bbolt"
)

// The audit trail: who changed what, and how it ended. Entries are only ever added. Each carries a
// SHA-256 over the hash of the entry before it, its own number and its text, and the newest hash stands
// in meta as well, so a changed, removed, inserted or reordered entry, or a cut end, is found. Whoever
// can write the file and knows the format can compute a whole new chain: that is found by a head that
// was noted elsewhere (VerifyAudit takes such heads; snapshots keep one).

// AuditEntry is one entry of the audit trail.
type AuditEntry struct {
	Seq         uint64        `json:"seq"`                   // from 1; given by Record
	Hash        string        `json:"hash"`                  // 64 hexadecimal digits; given by Record
	Time        time.Time     `json:"time"`                  // a zero one becomes now
	Event       string        `json:"event"`                 // "begin" or "end"
	Of          uint64        `json:"of,omitempty"`          // of an end: the entry of the begin
	Command     string        `json:"command"`               // such as "load"
	Args        []string      `json:"args,omitempty"`        // its arguments, without secrets
	User        string        `json:"user,omitempty"`        // name of the user of the machine
	Host        string        `json:"host,omitempty"`        // name of the machine
	PID         int           `json:"pid,omitempty"`         // process
	Version     string        `json:"version,omitempty"`     // of the program
	Fingerprint string        `json:"fingerprint,omitempty"` // of settings, transforms and schema
	Result      string        `json:"result,omitempty"`      // of an end: how it ended, in words
	Failed      bool          `json:"failed,omitempty"`      // of an end: with an error
	Duration    time.Duration `json:"nanoseconds,omitempty"` // of an end
}

// The events of an AuditEntry.
const (
	AuditBegin = "begin" // without an end: it still goes on, or was killed
	AuditEnd   = "end"
)

// AuditHead is the newest entry's number and hash. Noted elsewhere it proves later that the trail up to
// it is what it was. The zero value is that of an empty trail.
type AuditHead struct {
	Seq  uint64
	Hash [32]byte
}

// String is "41:" and 64 hexadecimal digits.
func (h AuditHead) String() string { return fmt.Sprintf("%d:%x", h.Seq, h.Hash) }

// ParseAuditHead is the reverse of String.
func ParseAuditHead(s string) (h AuditHead, err error) {
	var digits string
	if n, err := fmt.Sscanf(s, "%d:%s", &h.Seq, &digits); n != 2 || err != nil || len(digits) != 64 {
		return h, fmt.Errorf("audit head %q is not a number, a colon and 64 hexadecimal digits", s)
	}
	_, err = hex.Decode(h.Hash[:], []byte(digits))
	return h, err
}

// ChainError says where the audit trail is not what was recorded.
type ChainError struct {
	Seq uint64 // the first entry that is not what it was
	Why string
}

func (e *ChainError) Error() string {
	return fmt.Sprintf("audit trail was tampered with: entry %d %s", e.Seq, e.Why)
}

// Is makes every ChainError an ErrTampered.
func (e *ChainError) Is(target error) bool { return target == ErrTampered }

// chainStart is the hash before the first entry: it ties a trail to its project.
func chainStart(set [16]byte) [32]byte {
	return sha256.Sum256(append([]byte("dvmigrate audit trail of "), set[:]...))
}

// chain is the hash of an entry.
func chain(before [32]byte, key, text []byte) [32]byte {
	h := sha256.New()
	h.Write(before[:])
	h.Write(key)
	h.Write(text)
	return [32]byte(h.Sum(nil))
}

// Record adds an entry to the audit trail, durably, and returns it with its number and hash.
func (l *Ledger) Record(ctx context.Context, e AuditEntry) (AuditEntry, error) {
	if e.Time.IsZero() {
		e.Time = time.Now()
	}
	e.Time = e.Time.UTC().Round(0)
	err := l.submit(ctx, &request{alone: func() error {
		head := l.head
		before := head.Hash
		if head.Seq == 0 {
			before = chainStart(l.set)
		}
		e.Seq, e.Hash = 0, "" // they are not part of the text
		text, err := json.Marshal(e)
		if err != nil {
			return err
		}
		head.Seq++
		key := binary.BigEndian.AppendUint64(nil, head.Seq)
		head.Hash = chain(before, key, text)
		err = l.transact(func(tx *bolt.Tx) error {
			return errors.Join(
				put(tx.Bucket(bucketAudit), key, append(head.Hash[:], text...)),
				put(tx.Bucket(bucketMeta), keyAudit, append(binary.BigEndian.AppendUint64(nil, head.Seq), head.Hash[:]...)))
		})
		if err != nil {
			return err
		}
		e.Seq, e.Hash = head.Seq, hex.EncodeToString(head.Hash[:])
		l.mu.Lock()
		defer l.mu.Unlock()
		l.head = head
		return nil
	}})
	return e, err
}

// AuditHead is the head of the audit trail as of the last commit.
func (l *Ledger) AuditHead() AuditHead {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.head
}

// maxAudit is the most entries that one call of Audit reads.
const maxAudit = 1000

// Audit lists the entries from number from on, at most limit and never more than 1000; ask again from the
// last Seq + 1 until none comes. It shows what is stored and proves nothing: see VerifyAudit. With an error
// come those before the entry that cannot be read.
func (l *Ledger) Audit(from uint64, limit int) ([]AuditEntry, error) {
	var out []AuditEntry
	err := l.view(func(tx *bolt.Tx) error {
		b := tx.Bucket(bucketAudit)
		if b == nil { // version 1
			return nil
		}
		c := b.Cursor()
		for k, v := c.Seek(binary.BigEndian.AppendUint64(nil, from)); k != nil && len(out) < min(limit, maxAudit); k, v = c.Next() {
			e, _, err := readAudit(k, v)
			if err != nil {
				return err
			}
			out = append(out, e)
		}
		return nil
	})
	if err != nil {
		return out, fmt.Errorf("list audit trail: %w", err)
	}
	return out, nil
}

// readAudit decodes an entry; text is what its hash covers.
func readAudit(key, sealed []byte) (e AuditEntry, text []byte, err error) {
	value, err := unseal(key, sealed)
	if err != nil {
		return e, nil, err
	}
	if len(key) != 8 || len(value) < sha256.Size {
		return e, nil, fmt.Errorf("audit entry %x is cut short", key)
	}
	text = value[sha256.Size:]
	if err := json.Unmarshal(text, &e); err != nil {
		return e, nil, fmt.Errorf("audit entry %x: %w", key, err)
	}
	e.Seq, e.Hash = binary.BigEndian.Uint64(key), hex.EncodeToString(value[:sha256.Size])
	return e, text, nil
}

// VerifyAudit proves the audit trail: every entry is what was recorded, in its place, and none is missing.
// heads were noted earlier, and must be part of the trail. The error is a *ChainError (ErrTampered) that
// names the first entry that is not what it was.
func (l *Ledger) VerifyAudit(heads ...AuditHead) (entries uint64, err error) {
	err = l.view(func(tx *bolt.Tx) (err error) {
		entries, err = verifyAudit(tx, l.set, heads)
		return err
	})
	return entries, err
}

func verifyAudit(tx *bolt.Tx, set [16]byte, heads []AuditHead) (n uint64, err error) {
	m, err := readMeta(tx)
	if err != nil {
		return 0, err
	}
	hash := chainStart(set)
	noted := map[uint64][32]byte{}
	for _, h := range heads {
		noted[h.Seq] = h.Hash
	}
	if b := tx.Bucket(bucketAudit); b != nil {
		c := b.Cursor()
		for k, v := c.First(); k != nil; k, v = c.Next() {
			e, text, err := readAudit(k, v)
			if err != nil {
				return n, &ChainError{n + 1, fmt.Sprintf("cannot be read: %v", err)}
			}
			if n++; e.Seq != n {
				return n, &ChainError{n, fmt.Sprintf("is missing: the next one is %d", e.Seq)}
			}
			hash = chain(hash, k, text)
			if e.Hash != hex.EncodeToString(hash[:]) {
				return n, &ChainError{n, "does not have the hash that it and all before it give"}
			}
			if want, ok := noted[n]; ok && subtle.ConstantTimeCompare(want[:], hash[:]) == 0 {
				return n, &ChainError{n, "or one before it is not what it was when its hash was noted"}
			}
		}
	}
	switch {
	case m.head.Seq > n:
		return n, &ChainError{n + 1, fmt.Sprintf("is missing: the trail had %d entries", m.head.Seq)}
	case m.head.Seq < n:
		return n, &ChainError{m.head.Seq + 1, "was not added by this program"}
	case n > 0 && m.head.Hash != hash:
		return n, &ChainError{n, "is not the one that was added last"}
	}
	for _, h := range heads {
		if h.Seq > n {
			return n, &ChainError{n + 1, fmt.Sprintf("is missing: entry %d was there when its hash was noted", h.Seq)}
		}
	}
	return n, nil
}
