package ledger

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/google/go-cmp/cmp"
)

// trail is a closed ledger with n audit entries, and the head after each.
func trail(t *testing.T, n int) (path string, heads []AuditHead) {
	t.Helper()
	l := newTest(t, 10)
	for i := range n {
		e, err := l.Record(t.Context(), AuditEntry{Event: AuditBegin, Command: "load", Args: []string{fmt.Sprint("--parallel=", i)}, User: "anna", Host: "vm1"})
		must(t, err)
		if e.Seq != uint64(i+1) || len(e.Hash) != 64 {
			t.Fatalf("entry %d is %+v", i, e)
		}
		heads = append(heads, l.AuditHead())
	}
	closeTest(t, l)
	return l.path, heads
}

// tamper changes the audit bucket with bbolt itself.
func tamper(t *testing.T, path string, change func(audit, meta *bolt.Bucket) error) {
	t.Helper()
	db, err := bolt.Open(path, 0o600, nil)
	must(t, err)
	must(t, db.Update(func(tx *bolt.Tx) error { return change(tx.Bucket(bucketAudit), tx.Bucket(bucketMeta)) }))
	must(t, db.Close())
}

func auditKey(n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n) }

// moveEntry copies the value under one key to another with a checksum that is right there.
func moveEntry(b *bolt.Bucket, from, to uint64) error {
	v, err := get(b, auditKey(from))
	if err != nil {
		return err
	}
	return put(b, auditKey(to), bytes.Clone(v))
}

func TestTamperingWithTheAuditTrailIsFound(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		change func(audit, meta *bolt.Bucket) error
		at     uint64
	}{
		{"an entry is changed and its checksum made right", func(b, _ *bolt.Bucket) error {
			v, err := get(b, auditKey(3))
			return errors.Join(err, put(b, auditKey(3), bytes.Replace(v, []byte("anna"), []byte("otto"), 1)))
		}, 3},
		{"a changed entry gets a hash of its own that is right", func(b, _ *bolt.Bucket) error {
			before, err1 := get(b, auditKey(2))
			v, err2 := get(b, auditKey(3))
			text := bytes.Replace(v[32:], []byte("anna"), []byte("otto"), 1)
			hash := chain([32]byte(before[:32]), auditKey(3), text)
			return errors.Join(err1, err2, put(b, auditKey(3), append(hash[:], text...)))
		}, 4},
		{"the first is removed", func(b, _ *bolt.Bucket) error { return b.Delete(auditKey(1)) }, 1},
		{"one in the middle is removed", func(b, _ *bolt.Bucket) error { return b.Delete(auditKey(3)) }, 3},
		{"one is removed and the rest moved up", func(b, _ *bolt.Bucket) error {
			return errors.Join(moveEntry(b, 4, 3), moveEntry(b, 5, 4), b.Delete(auditKey(5)))
		}, 3},
		{"the last is removed", func(b, _ *bolt.Bucket) error { return b.Delete(auditKey(5)) }, 5},
		{"all are removed", func(b, _ *bolt.Bucket) error {
			for n := range uint64(5) {
				if err := b.Delete(auditKey(n + 1)); err != nil {
					return err
				}
			}
			return nil
		}, 1},
		{"two change places", func(b, _ *bolt.Bucket) error {
			return errors.Join(moveEntry(b, 2, 9), moveEntry(b, 3, 2), moveEntry(b, 9, 3), b.Delete(auditKey(9)))
		}, 2},
		{"one is inserted after the last", func(b, _ *bolt.Bucket) error { return moveEntry(b, 5, 6) }, 6},
		{"one is inserted after the last with a right hash", func(b, _ *bolt.Bucket) error {
			last, err := get(b, auditKey(5))
			hash := chain([32]byte(last[:32]), auditKey(6), last[32:])
			return errors.Join(err, put(b, auditKey(6), append(hash[:], last[32:]...)))
		}, 6},
		{"one is replaced by noise", func(b, _ *bolt.Bucket) error { return b.Put(auditKey(2), []byte("noise that is no entry")) }, 2},
		{"the head is set back with the last entry", func(b, meta *bolt.Bucket) error {
			v, err := get(b, auditKey(4))
			return errors.Join(err, b.Delete(auditKey(5)), put(meta, keyAudit, append(auditKey(4), v[:32]...)))
		}, 5}, // only a head that was noted elsewhere tells
		{"the whole chain is computed anew", func(b, meta *bolt.Bucket) error {
			hash := chainStart([16]byte{})
			for n := uint64(1); n <= 5; n++ {
				v, err := get(b, auditKey(n))
				if err != nil {
					return err
				}
				text := bytes.Replace(v[32:], []byte("anna"), []byte("otto"), 1)
				hash = chain(hash, auditKey(n), text)
				if err := put(b, auditKey(n), append(hash[:], text...)); err != nil {
					return err
				}
			}
			return put(meta, keyAudit, append(auditKey(5), hash[:]...))
		}, 5}, // the same
	} {
		t.Run(c.name, func(t *testing.T) {
			path, heads := trail(t, 5)
			tamper(t, path, c.change)
			l, err := Open(t.Context(), path, Options{}) // a load goes on all the same
			must(t, err)
			_, err = l.VerifyAudit(heads[4])
			var chain *ChainError
			if !errors.As(err, &chain) || chain.Seq != c.at || !errors.Is(err, ErrTampered) {
				t.Errorf("found %v, want entry %d", err, c.at)
			}
			if _, alone := l.VerifyAudit(); alone != nil { // found without a head that was noted
				wantErr(t, l.Check(t.Context()), ErrTampered)
				wantErr(t, Check(t.Context(), writeCopy(t, l)), ErrTampered)
			}
			must(t, l.Close())
		})
	}
}

// writeCopy is a copy of an open ledger's file.
func writeCopy(t *testing.T, l *Ledger) string {
	t.Helper()
	var b bytes.Buffer
	must(t, l.SnapshotTo(t.Context(), &b))
	return writeFile(t, b.Bytes())
}

func TestAnAuditTrailIsListedInOrderAndProven(t *testing.T) {
	path, heads := trail(t, 5)
	l := openTest(t, path, Options{})
	end, err := l.Record(t.Context(), AuditEntry{Event: AuditEnd, Of: 5, Command: "load", Result: "done", Duration: time.Second})
	must(t, err)
	n, err := l.VerifyAudit(append(heads, l.AuditHead())...)
	if n != 6 || err != nil {
		t.Fatal(n, err)
	}
	list, err := l.Audit(4, 2)
	must(t, err)
	if len(list) != 2 || list[0].Seq != 4 || list[1].Seq != 5 {
		t.Fatalf("%+v", list)
	}
	list, err = l.Audit(6, 100)
	must(t, err)
	if d := cmp.Diff([]AuditEntry{end}, list); d != "" {
		t.Error(d)
	}
	h, err := ParseAuditHead(l.AuditHead().String())
	if h != l.AuditHead() || err != nil {
		t.Error(h, err)
	}
	for _, bad := range []string{"", "5", "5:ab", "x:" + end.Hash, "5:" + end.Hash[:63] + "g"} {
		if _, err := ParseAuditHead(bad); err == nil {
			t.Errorf("%q is taken for a head", bad)
		}
	}
}

// A trail moved into the ledger of another project does not verify there.
func TestATrailBelongsToItsProject(t *testing.T) {
	one := openTest(t, t.TempDir()+"/a.bolt", Options{Set: [16]byte{1}})
	_, err := one.Record(t.Context(), AuditEntry{Event: AuditBegin, Command: "load"})
	must(t, err)
	closeTest(t, one)
	tamper(t, one.path, func(_, meta *bolt.Bucket) error { return put(meta, keySet, make([]byte, 16)) })
	l, err := Open(t.Context(), one.path, Options{})
	must(t, err)
	_, err = l.VerifyAudit()
	wantErr(t, err, ErrTampered)
	must(t, l.Close())
}
