package archive

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"filippo.io/age"
)

// Keys say to whom new snapshots are to be open, and what opens those that are there.
// The zero value encrypts nothing and opens nothing.
type Keys struct {
	Recipients []string // age public keys (age1...); new snapshots are encrypted to all of them
	Passphrase string   // or a passphrase, which both encrypts and opens
	Identities []string // age secret keys (AGE-SECRET-KEY-1...), which open
	// Keep is the file in which the data key for these recipients is kept between
	// processes, open to its owner only; "" keeps it in memory. Without it each process
	// begins with a new data key, and its first snapshot stores everything anew: what
	// earlier ones stored can only be read by those who may restore.
	Keep string

	work int // scrypt makes 2^work rounds of a passphrase; age's own choice, a second or so, when zero
}

// Keyring holds the keys of one call or one process. It may be shared by goroutines.
// A nil *Keyring encrypts nothing and opens nothing.
type Keyring struct {
	to         []age.Recipient
	with       []age.Identity
	recipients []string // sorted, for the kept file
	passphrase bool
	keep       string

	mu   sync.Mutex
	open map[KeyID]*dataKey // guarded by mu
	made *dataKey           // for new snapshots, once there is one; guarded by mu
}

// NewKeyring checks the keys. An error names what is wrong and shows no secret.
func NewKeyring(k Keys) (*Keyring, error) {
	r := &Keyring{keep: k.Keep, open: make(map[KeyID]*dataKey)}
	if len(k.Recipients) > 0 && k.Passphrase != "" {
		return nil, errors.New("snapshots are encrypted to recipients or with a passphrase, not both")
	}
	for _, s := range k.Recipients {
		to, err := parseRecipient(s)
		if err != nil {
			return nil, err
		}
		r.to = append(r.to, to)
		r.recipients = append(r.recipients, s)
	}
	slices.Sort(r.recipients)
	if k.Passphrase != "" {
		to, err := age.NewScryptRecipient(k.Passphrase)
		if err != nil {
			return nil, fmt.Errorf("passphrase: %w", err)
		}
		if k.work > 0 {
			to.SetWorkFactor(k.work)
		}
		with, err := age.NewScryptIdentity(k.Passphrase)
		if err != nil {
			return nil, fmt.Errorf("passphrase: %w", err)
		}
		r.to, r.passphrase, r.keep = []age.Recipient{to}, true, ""
		r.with = append(r.with, with)
	}
	for _, s := range k.Identities {
		with, err := age.ParseIdentities(strings.NewReader(s))
		if err != nil {
			return nil, errors.New("identity: not an age secret key (AGE-SECRET-KEY-1...)") // the cause may quote it
		}
		r.with = append(r.with, with...)
	}
	return r, nil
}

// parseRecipient checks one public key.
func parseRecipient(s string) (age.Recipient, error) {
	if strings.HasPrefix(strings.ToUpper(s), "AGE-SECRET-KEY-") {
		return nil, errors.New("recipient: this is a secret key; a recipient is a public key (age1...), and the secret one is to be kept elsewhere")
	}
	to, err := age.ParseRecipients(strings.NewReader(s))
	if err != nil || len(to) != 1 {
		return nil, fmt.Errorf("recipient %q: not an age public key (age1...)", s)
	}
	return to[0], nil
}

// NewIdentity makes a key pair: the secret key for a file, and its public key.
func NewIdentity() (secret, public string, err error) {
	i, err := age.GenerateX25519Identity()
	if err != nil {
		return "", "", err
	}
	return i.String(), i.Recipient().String(), nil
}

// encrypts says whether new snapshots are encrypted.
func (r *Keyring) encrypts() bool { return r != nil && len(r.to) > 0 }

// unlock returns the data key of a snapshot. The error wraps ErrEncrypted when no key
// was given, ErrWrongKey when none given opens it.
func (r *Keyring) unlock(id KeyID, wrapped []byte) (*dataKey, error) {
	if r == nil {
		return nil, ErrEncrypted
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if k := r.open[id]; k != nil {
		return k, nil
	}
	if k, err := r.kept(); err != nil {
		return nil, err
	} else if k != nil && k.id == id {
		r.open[id] = k
		return k, nil
	}
	if len(r.with) == 0 {
		return nil, ErrEncrypted
	}
	k, err := unwrap(wrapped, r.with)
	if err != nil {
		return nil, err
	}
	if k.id != id {
		return nil, fmt.Errorf("the data key in it is not %s but %s", id, k.id)
	}
	r.open[id] = k
	return k, nil
}

// writing returns the data key for a new snapshot in a folder whose newest encrypted
// snapshot has that outline, which may be nil.
func (r *Keyring) writing(newest *Manifest) (*dataKey, error) {
	if !r.encrypts() {
		return nil, nil
	}
	if r.passphrase && newest != nil {
		k, err := r.unlock(newest.Key, newest.wrapped)
		if errors.Is(err, ErrWrongKey) {
			return nil, fmt.Errorf("the snapshots in the folder have another passphrase or other recipients: the newest %w; give that passphrase, or choose a new folder", err)
		}
		return k, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.made != nil {
		return r.made, nil
	}
	k, err := r.kept()
	if err != nil {
		return nil, err
	}
	if k == nil {
		if k, err = newDataKey(r.to); err != nil {
			return nil, err
		}
		if err := r.store(k); err != nil {
			return nil, err
		}
	}
	r.open[k.id], r.made = k, k
	return k, nil
}

// keptKey is the file of Keys.Keep.
type keptKey struct {
	Version    int      `json:"version"`
	Recipients []string `json:"recipients"` // for whom the key is wrapped
	Key        []byte   `json:"key"`
	Wrapped    []byte   `json:"wrapped"`
}

// kept returns the data key kept for these recipients; nil when there is none.
func (r *Keyring) kept() (*dataKey, error) {
	if r.keep == "" {
		return nil, nil
	}
	b, err := os.ReadFile(r.keep)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the kept data key: %w", err)
	}
	var f keptKey
	if err := json.Unmarshal(b, &f); err != nil || f.Version != 1 || len(f.Key) != keySize {
		return nil, fmt.Errorf("%s is damaged; remove it: the next snapshot begins with a new data key", r.keep)
	}
	if r.encrypts() && !slices.Equal(f.Recipients, r.recipients) {
		return nil, nil // who may restore has changed: a new key
	}
	return deriveKey(f.Key, f.Wrapped)
}

// store keeps the data key. One for a passphrase is not kept: that is there each time.
func (r *Keyring) store(k *dataKey) error {
	if r.keep == "" {
		return nil
	}
	b, err := json.Marshal(keptKey{Version: 1, Recipients: r.recipients, Key: k.secret, Wrapped: k.wrapped})
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(r.keep), 0o700); err != nil {
		return fmt.Errorf("keep the data key: %w", err)
	}
	err = WriteFile(OS{}, r.keep, func(w io.Writer) error {
		_, err := w.Write(append(b, '\n'))
		return err
	})
	if err != nil {
		return fmt.Errorf("keep the data key: %w", err)
	}
	return nil
}
