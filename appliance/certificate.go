package appliance

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"time"
)

// Certificate says what was destroyed after sign-off.
type Certificate struct {
	Version    int               `json:"version"`
	Project    string            `json:"project"`
	Set        string            `json:"set,omitempty"` // the project's id
	Folder     string            `json:"folder"`
	User       string            `json:"user"`
	Host       string            `json:"host"`
	Tool       string            `json:"tool"`
	Begun      time.Time         `json:"begun"`
	Ended      time.Time         `json:"ended"`
	Forced     string            `json:"forced,omitempty"` // what --force has overridden
	Generation string            `json:"generation,omitempty"`
	Reconciled *time.Time        `json:"reconciled,omitempty"`
	Summary    Counts            `json:"summary"`
	Tables     []TableStatus     `json:"tables"`
	AuditHead  string            `json:"auditHead,omitempty"` // number and hash of the last entry of the audit trail
	Destroyed  []DestroyedFile   `json:"destroyed"`
	Snapshots  []DestroyedFolder `json:"snapshots"`
}

// DestroyedFile is one file that was removed.
type DestroyedFile struct {
	Path   string `json:"path"`
	Kind   string `json:"kind"` // key, manifest, pack, stage, ledger, temporary, other
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256,omitempty"` // not of keys
}

// DestroyedFolder is one place of snapshots.
type DestroyedFolder struct {
	Path      string `json:"path"`
	Snapshots int    `json:"snapshots"`
	Encrypted int    `json:"encrypted"`        // how many of them were
	Absent    bool   `json:"absent,omitempty"` // there was no such folder
}

// signedCertificate is the file of a certificate.
type signedCertificate struct {
	Certificate json.RawMessage   `json:"certificate"`
	PublicKey   ed25519.PublicKey `json:"publicKey"`
	Signature   []byte            `json:"signature"` // over the certificate without blanks between its words
}

// Fingerprint names a public key in a form that fits into a sign-off.
func fingerprint(key ed25519.PublicKey) string {
	sum := sha256.Sum256(key)
	return hex.EncodeToString(sum[:16])
}

// writeCertificate signs with a key made for this one certificate, whose secret half is
// never written: nobody can sign another one with it.
func writeCertificate(path string, c Certificate) (print string, err error) {
	public, secret, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return "", err
	}
	text, err := json.Marshal(c)
	if err != nil {
		return "", err
	}
	b, err := json.MarshalIndent(signedCertificate{Certificate: text, PublicKey: public, Signature: ed25519.Sign(secret, text)}, "", "  ")
	if err != nil {
		return "", err
	}
	return fingerprint(public), writeFile(path, append(b, '\n'))
}

// VerifyCertificate checks the signature of a certificate and returns what it says, and
// the fingerprint of its key, to compare with the one that was noted at sign-off.
func VerifyCertificate(path string) (c Certificate, print string, err error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return c, "", err
	}
	var s signedCertificate
	if err := json.Unmarshal(b, &s); err != nil || len(s.PublicKey) != ed25519.PublicKeySize {
		return c, "", fmt.Errorf("%s is not a certificate of dvmigrate discard", path)
	}
	var text bytes.Buffer
	if err := json.Compact(&text, s.Certificate); err != nil {
		return c, "", fmt.Errorf("%s is not a certificate of dvmigrate discard", path)
	}
	if !ed25519.Verify(s.PublicKey, text.Bytes(), s.Signature) {
		return c, "", fmt.Errorf("%s: the signature does not fit: the certificate was changed after it was written", path)
	}
	if err := json.Unmarshal(text.Bytes(), &c); err != nil {
		return c, "", fmt.Errorf("%s: %w", path, err)
	}
	return c, fingerprint(s.PublicKey), nil
}
