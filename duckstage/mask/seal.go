package mask

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"strings"
)

// sealed is what a sealed text begins with.
const sealed = "sealed:"

// errSeal says that a text was sealed with another key, or changed since.
var errSeal = errors.New("the text was sealed with another key")

// Seal encrypts a text that has to be kept and read again: where a reading of the source
// stopped, for one, which is said in values of a masked column. The same text is sealed to
// the same one.
func (m *Masker) Seal(text string) string {
	nonce := hmac.New(sha256.New, m.seal[:])
	nonce.Write([]byte(text))
	n := nonce.Sum(nil)[:12]
	return sealed + base64.RawStdEncoding.EncodeToString(m.gcm().Seal(n, n, []byte(text), nil))
}

// Unseal reads what Seal wrote.
func (m *Masker) Unseal(text string) (string, error) {
	rest, found := strings.CutPrefix(text, sealed)
	raw, err := base64.RawStdEncoding.DecodeString(rest)
	if !found || err != nil || len(raw) < 12 {
		return "", errSeal
	}
	plain, err := m.gcm().Open(nil, raw[:12], raw[12:], nil)
	if err != nil {
		return "", errSeal
	}
	return string(plain), nil
}

func (m *Masker) gcm() cipher.AEAD {
	block, err := aes.NewCipher(m.seal[:])
	if err != nil { // 32 bytes are a key
		panic(err)
	}
	aead, err := cipher.NewGCM(block)
	if err != nil { // AES has blocks of 16 bytes
		panic(err)
	}
	return aead
}
