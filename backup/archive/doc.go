// Package archive keeps snapshots in one folder: what they hold is cut into
// chunks, each chunk is stored once, compressed and checksummed.
//
// The words, in the order in which they meet the disk:
//
//   - A chunk is up to [ChunkSize] bytes of a part. It is named by a hash of
//     its content and stored compressed, or as it is where that is smaller, and sealed
//     where the snapshot is encrypted.
//   - A pack is one file, ID.pack, with the chunks that the snapshot of that ID
//     was the first to need. A snapshot that brings nothing new has no pack.
//   - A data key is what packs and manifests are encrypted with; a [Keyring] has it, or
//     the age identity that opens it.
//   - A part is one named stream of bytes: a list of chunks, in any packs.
//   - A manifest is one file, ID.manifest, that lists the parts of a snapshot.
//     The snapshot exists from the moment that file has its name, and not before.
//
// What the package promises. A snapshot is in the folder whole or not at all,
// whenever the machine stops: packs and manifests are written under a temporary
// name, synced, renamed, and the folder is synced, the manifest last. Every byte
// that is read back is checked: manifests by a SHA-256 over the whole file, chunks
// by a CRC-32C over what is stored and the hash of what comes out. New chunks are
// read back and decompressed before the manifest appears; a chunk that an earlier
// snapshot stored is used again only if its stored bytes are still intact, else it
// is stored anew. Nothing is allocated by a length that a file states before that
// length has been compared with what is there. FORMAT.md has the bytes.
//
// What it does not do: it decides neither when a snapshot is taken nor which ones
// are kept (package backup does), and the read-back may be served from the
// operating system's cache, so it proves what was handed over, not the medium.
//
// Memory: about 10 MB for the chunks under way, 64 bytes for each chunk of the
// snapshot in hand, and while writing some 150 bytes for each chunk in the folder:
// 100 GB of parts are 400,000 chunks.
//
// Writers must hold the exclusive [Lock] of the folder.
package archive
