package duckstage

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
)

// RecordID is the id of the record that row seq of table number table gets in the
// migration set: a UUIDv8 whose order in SQL Server (bytes 10 to 15 are compared
// first) is the order of table and seq, so that inserts append to the target's
// clustered index (method.md M5, engines.md part II, 5.7).
//
//	bytes 0-5    SHA-256(set)[0:6]
//	byte  6      0x80 | low nibble of SHA-256(set)[6]     (version 8)
//	byte  7      SHA-256(set)[7]
//	byte  8      0x80 | low six bits of SHA-256(set)[8]   (variant)
//	byte  9      SHA-256(set)[9]
//	bytes 10-11  table, big-endian
//	bytes 12-15  seq, big-endian
func RecordID(set [16]byte, table uint16, seq uint32) [16]byte {
	hash := sha256.Sum256(set[:])
	var id [16]byte
	copy(id[:10], hash[:10])
	id[6] = 0x80 | hash[6]&0x0F
	id[8] = 0x80 | hash[8]&0x3F
	binary.BigEndian.PutUint16(id[10:], table)
	binary.BigEndian.PutUint32(id[12:], seq)
	return id
}

// ParseRecordID finds the row of a record id back. It reports false when the id is not
// one of the set: kept from a source, or made by the server.
func ParseRecordID(set, id [16]byte) (table uint16, seq uint32, ok bool) {
	table, seq = binary.BigEndian.Uint16(id[10:]), binary.BigEndian.Uint32(id[12:])
	return table, seq, RecordID(set, table, seq) == id
}

// RecordIDSQL is an SQL expression of type UUID: the record id of the row whose number
// is the expression seq, of type UINTEGER.
func RecordIDSQL(set [16]byte, table uint16, seq string) string {
	id := RecordID(set, table, 0)
	blob := ""
	for _, b := range id[:12] {
		blob += fmt.Sprintf(`\x%02X`, b)
	}
	// Bytes joined to bytes: a third of the cost of going through hexadecimal text.
	return fmt.Sprintf("CAST('%s'::BLOB || CAST(CAST(%s AS BIT) AS BLOB) AS UUID)", blob, seq)
}
