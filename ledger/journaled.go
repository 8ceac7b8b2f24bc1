package ledger

import (
	"context"
	"encoding/binary"

	bolt "go.etcd.io/bbolt"
)

// Journaled is what the ledger notes of the journal of changes beside it: the file itself cannot say that its
// end was cut off where a mark ends, nor that what a kill left at its end was once whole.
type Journaled struct {
	Began      int64  // when the journal was begun, in Unix seconds: of another one it says nothing
	Length     int64  // how much of it was on the disk
	Generation uint32 // that was at work
}

const journaledSize = 8 + 8 + 4

func (n Journaled) encode() []byte {
	b := binary.BigEndian.AppendUint64(nil, uint64(n.Began))
	return binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint64(b, uint64(n.Length)), n.Generation)
}

func decodeJournaled(b []byte) Journaled {
	return Journaled{int64(binary.BigEndian.Uint64(b)), int64(binary.BigEndian.Uint64(b[8:])), binary.BigEndian.Uint32(b[16:])}
}

// Durable is how much of the journal is on the disk.
func (u *Undo) Durable() Journaled {
	u.mu.Lock()
	defer u.mu.Unlock()
	return Journaled{Began: u.began.Unix(), Length: u.synced, Generation: u.generation}
}

// Journaled is what was noted last of the journal of changes; zero: nothing.
func (l *Ledger) Journaled() Journaled {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.length
}

// Accompany has this commit and every later one note how much of the journal is on the disk, until the ledger is closed
// or another journal is given.
func (l *Ledger) Accompany(ctx context.Context, u *Undo) error {
	return l.submit(ctx, &request{alone: func() error {
		l.mu.Lock()
		l.beside = u
		l.mu.Unlock()
		return l.transact(func(*bolt.Tx) error { return nil })
	}})
}

// noteJournal writes it into a transaction, where it has become more. The writer calls it.
func (l *Ledger) noteJournal(tx *bolt.Tx) error {
	if l.beside == nil {
		return nil
	}
	n := l.beside.Durable()
	if n == l.length {
		return nil
	}
	if err := put(tx.Bucket(bucketMeta), keyJournal, n.encode()); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.length = n // should the commit fail, the ledger is poisoned
	return nil
}
