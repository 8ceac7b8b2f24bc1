package ledger

import (
	"context"
	"errors"
	"fmt"
	"os"

	bolt "go.etcd.io/bbolt"
)

// compactPiece is how many bytes bbolt copies in one transaction while it compacts.
const compactPiece = 16 << 20

// Compact writes the ledger anew without the free pages that mass retries leave behind (a bbolt file
// never shrinks by itself), checks the new file as a whole and puts it in the place of the old. It says
// the size before and after. On an error, and after a crash at any point, the file is the old one.
// ErrLocked when it is in use.
func (s Store) Compact(ctx context.Context) (before, after int64, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("compact ledger: %w", err)
		}
	}()
	if err := Check(ctx, s.Path); err != nil && !errors.Is(err, ErrTampered) { // the trail is copied as it is
		return 0, 0, err
	}
	old, f, err := openBolt(ctx, s.Path, Options{}) // for writing: nobody else is to have it
	if err != nil {
		return 0, 0, err
	}
	defer func() { err = errors.Join(err, closeBolt(old, f, err)) }()
	temp, err := tempFile(s.Path)
	if err != nil {
		return 0, 0, err
	}
	defer os.Remove(temp)
	if err := guard(func() error { return compactInto(temp, old) }); err != nil {
		return 0, 0, classify(err)
	}
	if err := Check(ctx, temp); err != nil && !errors.Is(err, ErrTampered) {
		return 0, 0, err
	}
	if before, err = fileSize(s.Path); err != nil {
		return 0, 0, err
	}
	if after, err = fileSize(temp); err != nil {
		return 0, 0, err
	}
	return before, after, putInPlace(temp, s.Path, old)
}

func compactInto(path string, old *bolt.DB) error {
	db, err := bolt.Open(path, 0o600, &bolt.Options{FreelistType: bolt.FreelistMapType, NoStatistics: true})
	if err != nil {
		return err
	}
	return errors.Join(bolt.Compact(db, old, compactPiece), db.Sync(), db.Close())
}

func fileSize(path string) (int64, error) {
	info, err := os.Stat(path)
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}
