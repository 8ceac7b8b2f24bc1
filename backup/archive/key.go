package archive

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"

	"filippo.io/age"
)

// keySize is the length of a data key and of everything derived from it, in bytes.
const keySize = 32

// sealOverhead is how much longer sealed bytes are: a nonce of 12 and a tag of 16.
const sealOverhead = 12 + 16

// maxWrapped is the most that a wrapped data key may take: some 200 bytes a recipient,
// 2,000 for a post-quantum one.
const maxWrapped = 1<<16 - 1

// KeyID names a data key without telling anything of it. Zero is none: not encrypted.
type KeyID [8]byte

// String returns the ID in hexadecimal.
func (k KeyID) String() string { return hex.EncodeToString(k[:]) }

// dataKey is what the snapshots of a folder are encrypted with. The 32 random bytes are
// never used themselves; each use has a key of its own, derived with HKDF-SHA-256.
type dataKey struct {
	id       KeyID
	secret   []byte
	wrapped  []byte      // the secret in an age file, open to whoever may restore
	names    []byte      // key of the chunks' hashes
	chunks   cipher.AEAD // AES-256-GCM, a random nonce before each
	manifest cipher.AEAD
}

// newDataKey draws a key and wraps it.
func newDataKey(to []age.Recipient) (*dataKey, error) {
	secret := make([]byte, keySize)
	rand.Read(secret) // never fails (crypto/rand, since Go 1.24)
	wrapped, err := wrap(secret, to)
	if err != nil {
		return nil, fmt.Errorf("wrap the data key: %w", err)
	}
	return deriveKey(secret, wrapped)
}

func wrap(secret []byte, to []age.Recipient) ([]byte, error) {
	var b bytes.Buffer
	w, err := age.Encrypt(&b, to...)
	if err != nil {
		return nil, err
	}
	if _, err := w.Write(secret); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	if b.Len() > maxWrapped {
		return nil, fmt.Errorf("%d recipients are too many: %d bytes, %d is the most", len(to), b.Len(), maxWrapped)
	}
	return b.Bytes(), nil
}

// unwrap opens a wrapped key with whichever identity fits. The error wraps ErrWrongKey
// if none does.
func unwrap(wrapped []byte, with []age.Identity) (*dataKey, error) {
	r, err := age.Decrypt(bytes.NewReader(wrapped), with...)
	var none *age.NoIdentityMatchError
	if errors.As(err, &none) {
		return nil, ErrWrongKey
	}
	if err != nil {
		return nil, fmt.Errorf("open the data key: %w", err)
	}
	secret, err := io.ReadAll(io.LimitReader(r, keySize+1))
	if err != nil {
		return nil, fmt.Errorf("open the data key: %w", err)
	}
	if len(secret) != keySize {
		return nil, errors.New("open the data key: it does not have 32 bytes")
	}
	return deriveKey(secret, wrapped)
}

func deriveKey(secret, wrapped []byte) (*dataKey, error) {
	k := &dataKey{secret: secret, wrapped: wrapped}
	id, err := derive(secret, "id", len(k.id))
	if err != nil {
		return nil, err
	}
	k.id = KeyID(id)
	if k.names, err = derive(secret, "names", keySize); err != nil {
		return nil, err
	}
	if k.chunks, err = deriveAEAD(secret, "chunks"); err != nil {
		return nil, err
	}
	k.manifest, err = deriveAEAD(secret, "manifest")
	return k, err
}

func derive(secret []byte, use string, size int) ([]byte, error) {
	return hkdf.Expand(sha256.New, secret, "dvmigrate snapshot 2 "+use, size)
}

func deriveAEAD(secret []byte, use string) (cipher.AEAD, error) {
	key, err := derive(secret, use, keySize)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCMWithRandomNonce(block)
}
