package appliance

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"dvmigrate/appliance/config"
	"dvmigrate/backup"
)

// keptKeyFile is the file in the work folder that keeps the data key of the snapshots
// between two commands. Whoever can read it can read the stage beside it, too.
const keptKeyFile = "snapshot.key"

// Environment variables that open encrypted snapshots.
const (
	identityVar   = "DVMIGRATE_IDENTITY"   // a file with age secret keys
	passphraseVar = "DVMIGRATE_PASSPHRASE" // also snapshots.encrypt.passphrase
)

// KeySource is what opens encrypted snapshots, beside the environment and the settings.
type KeySource struct {
	IdentityFile string                 // "" = as DVMIGRATE_IDENTITY says
	Ask          func() (string, error) // asks a person for the passphrase; nil = nobody is there
}

// keyring puts together what is written with and what can be opened. c is nil where there
// is no project.
func keyring(c *config.Config, k KeySource, env func(string) (string, bool)) (*backup.Keyring, error) {
	var keys backup.Keys
	if c != nil {
		var err error
		if keys, err = settingsKeys(c); err != nil {
			return nil, err
		}
	}
	file := k.IdentityFile
	if file == "" {
		if v, ok := env(identityVar); ok {
			file = v
		}
	}
	if file != "" {
		secret, err := readIdentity(file)
		if err != nil {
			return nil, err
		}
		keys.Identities = append(keys.Identities, secret)
	}
	if c == nil {
		if v, ok := env(passphraseVar); ok {
			keys.Passphrase = v
		}
	}
	ring, err := backup.NewKeyring(keys)
	if err != nil {
		return nil, fmt.Errorf("keys of the snapshots: %w", err)
	}
	return ring, nil
}

// settingsKeys is what the project's settings say of encryption.
func settingsKeys(c *config.Config) (backup.Keys, error) {
	e := c.Snapshots.Encrypt
	if err := e.Passphrase.Check("snapshots.encrypt.passphrase"); err != nil {
		return backup.Keys{}, err
	}
	keys := backup.Keys{Recipients: append([]string(nil), e.Recipients...), Passphrase: e.Passphrase.Reveal(), Keep: filepath.Join(c.Path(c.Work), keptKeyFile)}
	if e.RecipientsFile != "" {
		b, err := os.ReadFile(c.Path(e.RecipientsFile))
		if err != nil {
			return keys, fmt.Errorf("snapshots.encrypt.recipients_file: %w", err)
		}
		n := len(keys.Recipients)
		for line := range strings.Lines(string(b)) {
			if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
				keys.Recipients = append(keys.Recipients, line)
			}
		}
		if len(keys.Recipients) == n {
			return keys, fmt.Errorf("snapshots.encrypt.recipients_file: %s has no public key", c.Path(e.RecipientsFile))
		}
	}
	return keys, nil
}

// readIdentity reads a file of secret keys, which must be its owner's only.
func readIdentity(path string) (string, error) {
	if err := ownerOnly(path); err != nil {
		return "", fmt.Errorf("identity: %w", err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("identity: %w", err)
	}
	if !strings.Contains(string(b), "AGE-SECRET-KEY-") {
		return "", fmt.Errorf("identity: %s has no secret key of age (AGE-SECRET-KEY-...); `dvmigrate snapshot keygen FILE` makes such a file", path)
	}
	return string(b), nil
}

// WriteIdentity makes a key pair and writes it to a new file, for its owner only. It
// returns the public key.
func WriteIdentity(path string) (public string, err error) {
	secret, public, err := backup.NewIdentity()
	if err != nil {
		return "", err
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if errors.Is(err, os.ErrExist) {
		return "", fmt.Errorf("%s is there already; a secret key is never overwritten, choose another file", path)
	}
	if err != nil {
		return "", fmt.Errorf("write the secret key: %w", err)
	}
	_, err = fmt.Fprintf(f, "# secret key for the snapshots of dvmigrate; without it they cannot be restored\n# public key: %s\n%s\n", public, secret)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		os.Remove(path)
		return "", fmt.Errorf("write the secret key: %w", err)
	}
	return public, nil
}

// explainKeys says how to give a key.
func explainKeys(err error) error {
	switch {
	case errors.Is(err, backup.ErrEncrypted):
		return fmt.Errorf("%w\ngive the file with the secret key (--identity FILE, or %s) or the passphrase (%s)", err, identityVar, passphraseVar)
	case errors.Is(err, backup.ErrWrongKey):
		return fmt.Errorf("%w\nlook for the secret key whose public key was in snapshots.encrypt when it was taken, or for the passphrase of then", err)
	}
	return err
}
