package ledger

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"time"

	bolt "go.etcd.io/bbolt"
)

// formatVersion is written into every ledger; FORMAT.md describes it. A file of version 1 can be read,
// and becomes one of this version when it is opened for writing.
const (
	formatVersion = 2
	oldestVersion = 1
)

// The buckets and the keys of meta. See FORMAT.md.
var (
	bucketMeta        = []byte("meta")
	bucketTables      = []byte("tables")
	bucketPages       = []byte("pages")
	bucketCounts      = []byte("counts")
	bucketErrors      = []byte("errors")
	bucketErrText     = []byte("errtext")
	bucketRuns        = []byte("runs")
	bucketGenerations = []byte("generations") // from version 2 on
	bucketAudit       = []byte("audit")       // from version 2 on
	buckets           = [][]byte{bucketMeta, bucketTables, bucketPages, bucketCounts, bucketErrors, bucketErrText, bucketRuns,
		bucketGenerations, bucketAudit, bucketIDs}

	keyFormat   = []byte("format")   // u16
	keySet      = []byte("set")      // 16 bytes
	keyEpoch    = []byte("epoch")    // u64: opened for writing so many times
	keyClean    = []byte("clean")    // u8: 1 when closed in order, 0 while open
	keyRestored = []byte("restored") // restoredRecord as JSON; absent: never restored
	keyJournal  = []byte("journal")  // Journaled: what is on the disk of the journal of changes; absent: there was none
	keyAudit    = []byte("audit")    // the audit trail's head: seq u64, hash 32 bytes; absent: it is empty
)

// bucketsOf are the buckets that a file of that format version has.
func bucketsOf(version uint16) [][]byte {
	if version == oldestVersion {
		return buckets[:7]
	}
	return buckets
}

var crcTable = crc32.MakeTable(crc32.Castagnoli)

// seal appends the CRC-32C of key and value to value, big-endian.
func seal(key, value []byte) []byte {
	sum := crc32.Update(crc32.Checksum(key, crcTable), crcTable, value)
	return binary.BigEndian.AppendUint32(value[:len(value):len(value)], sum)
}

// unseal is the reverse of seal. The result is part of sealed.
func unseal(key, sealed []byte) ([]byte, error) {
	n := len(sealed) - 4
	if n < 0 {
		return nil, fmt.Errorf("value of %x is cut short", key)
	}
	value := sealed[:n]
	sum := crc32.Update(crc32.Checksum(key, crcTable), crcTable, value)
	if sum != binary.BigEndian.Uint32(sealed[n:]) {
		return nil, fmt.Errorf("checksum of %x does not match", key)
	}
	return value, nil
}

// put seals and stores one value.
func put(b *bolt.Bucket, key, value []byte) error {
	return b.Put(key, seal(key, value))
}

// get reads one value; nil when it is absent. The result is valid as long as the transaction.
func get(b *bolt.Bucket, key []byte) ([]byte, error) {
	sealed := b.Get(key)
	if sealed == nil {
		return nil, nil
	}
	return unseal(key, sealed)
}

// tableKey is the key of a table in tables and counts.
func tableKey(number uint16) []byte { return binary.BigEndian.AppendUint16(nil, number) }

// recordKey is the key of a page in pages (n is its number) and of a record in errors (n is its seq).
func recordKey(table uint16, n uint32) []byte {
	return binary.BigEndian.AppendUint32(tableKey(table), n)
}

// parseRecordKey is the reverse of recordKey.
func parseRecordKey(key []byte) (table uint16, n uint32, err error) {
	if len(key) != 6 {
		return 0, 0, fmt.Errorf("key %x has not 6 bytes", key)
	}
	return binary.BigEndian.Uint16(key), binary.BigEndian.Uint32(key[2:]), nil
}

// tableRecord is the value in tables: the definition and what is known of a table as a whole.
type tableRecord struct {
	Name       string `json:"name"`
	Count      uint32 `json:"count"`
	Generation string `json:"generation,omitempty"`
	Behind     bool   `json:"behind,omitempty"`     // restored, and not compared with the target since
	RestoredIn string `json:"restoredIn,omitempty"` // the generation that the last restored snapshot had
}

// restoredRecord is the value of keyRestored.
type restoredRecord struct {
	At   time.Time `json:"at"`
	AsOf uint32    `json:"asOf,omitempty"` // when an entry had changed last, in Unix seconds
}

func putJSON(b *bolt.Bucket, key []byte, v any) error {
	text, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return put(b, key, text)
}

// getJSON fills v from a value; found is false when it is absent.
func getJSON(b *bolt.Bucket, key []byte, v any) (found bool, err error) {
	text, err := get(b, key)
	if err != nil || text == nil {
		return false, err
	}
	return true, json.Unmarshal(text, v)
}

// meta is the bucket of that name, decoded.
type meta struct {
	format   uint16
	set      [16]byte
	epoch    uint64
	clean    bool
	restored restoredRecord // zero: never
	head     AuditHead
	journal  Journaled
}

// upgrade makes a file of an older version one of this: the buckets that came since, and the number.
func upgrade(tx *bolt.Tx) error {
	for _, name := range buckets {
		if _, err := tx.CreateBucketIfNotExists(name); err != nil {
			return fmt.Errorf("create bucket %s: %w", name, err)
		}
	}
	return put(tx.Bucket(bucketMeta), keyFormat, binary.BigEndian.AppendUint16(nil, formatVersion))
}

// initialize fills a new, empty file.
func initialize(tx *bolt.Tx, set [16]byte) error {
	for _, name := range buckets {
		if _, err := tx.CreateBucket(name); err != nil {
			return fmt.Errorf("create bucket %s: %w", name, err)
		}
	}
	b := tx.Bucket(bucketMeta)
	return errors.Join(
		put(b, keyFormat, binary.BigEndian.AppendUint16(nil, formatVersion)),
		put(b, keySet, set[:]),
		put(b, keyEpoch, make([]byte, 8)),
		put(b, keyClean, []byte{1}))
}

// readMeta reads the meta bucket, the format version first: a file of another version is not called damaged.
func readMeta(tx *bolt.Tx) (m meta, err error) {
	b := tx.Bucket(bucketMeta)
	if b == nil {
		return m, ErrNotLedger
	}
	format, err := get(b, keyFormat)
	switch {
	case err != nil:
		return m, err
	case len(format) != 2:
		return m, ErrNotLedger
	}
	m.format = binary.BigEndian.Uint16(format)
	if m.format < oldestVersion || m.format > formatVersion {
		return m, fmt.Errorf("%w: %d, this program knows %d to %d", ErrFormat, m.format, oldestVersion, formatVersion)
	}
	for _, name := range bucketsOf(m.format) {
		if tx.Bucket(name) == nil {
			return m, fmt.Errorf("bucket %s is missing", name)
		}
	}
	set, err1 := get(b, keySet)
	epoch, err2 := get(b, keyEpoch)
	clean, err3 := get(b, keyClean)
	var restored restoredRecord
	_, err4 := getJSON(b, keyRestored, &restored)
	head, err5 := get(b, keyAudit)
	journal, err6 := get(b, keyJournal)
	if err := errors.Join(err1, err2, err3, err4, err5, err6); err != nil {
		return m, err
	}
	if len(set) != 16 || len(epoch) != 8 || len(clean) != 1 || head != nil && len(head) != 40 || journal != nil && len(journal) != journaledSize {
		return m, errors.New("a value of the meta bucket has not its length")
	}
	m.set, m.epoch, m.clean, m.restored = [16]byte(set), binary.BigEndian.Uint64(epoch), clean[0] == 1, restored
	if head != nil {
		m.head = AuditHead{Seq: binary.BigEndian.Uint64(head), Hash: [32]byte(head[8:])}
	}
	if journal != nil {
		m.journal = decodeJournaled(journal)
	}
	return m, nil
}
