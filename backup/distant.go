package backup

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"strings"
)

// Access says how a place that is no folder is reached. Keys are never in it: they come
// from the environment and from the identity of the machine (guide, snapshots).
type Access struct {
	Env       func(string) (string, bool) // the process's environment when nil
	Endpoint  *url.URL                    // of S3: scheme and host; Amazon's when nil
	Region    string                      // of S3
	PathStyle bool                        // S3: the bucket's name goes into the path, not into the host
}

// env returns the first of the variables that is set.
func (a Access) env(names ...string) string {
	look := a.Env
	if look == nil {
		look = os.LookupEnv
	}
	for _, name := range names {
		if v, ok := look(name); ok && v != "" {
			return v
		}
	}
	return ""
}

// The kinds of places that are no folders.
const (
	s3Scheme    = "s3"
	azureScheme = "azblob"
)

// Distant says whether a name is that of a place reached over a network, s3://BUCKET/PREFIX
// or azblob://ACCOUNT/CONTAINER/PREFIX, and not that of a folder.
func Distant(name string) bool {
	scheme, _, found := strings.Cut(name, "://")
	return found && (strings.EqualFold(scheme, s3Scheme) || strings.EqualFold(scheme, azureScheme))
}

// CheckDistant says what is wrong with the name of a distant place.
func CheckDistant(name string) error {
	_, err := parseDistant(name)
	return err
}

// address is a distant place's name, taken apart.
type address struct {
	scheme string
	host   string // of S3 the bucket, of Azure the account
	bucket string // bucket or container
	prefix string // "" or ends with a slash
}

func parseDistant(name string) (address, error) {
	scheme, rest, _ := strings.Cut(name, "://")
	a := address{scheme: strings.ToLower(scheme)}
	// No secret that somebody has put there may come back in an error.
	if strings.ContainsAny(rest, "?#@") {
		return a, fmt.Errorf("%s://...: the name of a place has no ?, # or @: keys come from the environment, `dvmigrate guide snapshots` has their names", scheme)
	}
	parts := strings.Split(strings.Trim(rest, "/"), "/")
	a.host, a.bucket = parts[0], parts[0]
	parts = parts[1:]
	if a.scheme != s3Scheme && a.scheme != azureScheme {
		return a, fmt.Errorf("%s: places of snapshots are folders, s3://BUCKET/PREFIX and azblob://ACCOUNT/CONTAINER/PREFIX", name)
	}
	form := "s3://BUCKET/PREFIX"
	if a.scheme == azureScheme {
		form = "azblob://ACCOUNT/CONTAINER/PREFIX"
		a.bucket = ""
		if len(parts) > 0 {
			a.bucket, parts = parts[0], parts[1:]
		}
	}
	for _, part := range append([]string{a.host, a.bucket}, parts...) {
		if part == "" || part == "." || part == ".." {
			return a, fmt.Errorf("%s is not of the form %s", name, form)
		}
	}
	if len(parts) > 0 {
		a.prefix = strings.Join(parts, "/") + "/"
	}
	return a, nil
}

// distant is a shelf that is reached over a network.
type distant interface {
	shelf
	// sweep takes back what uploads that were interrupted have left.
	sweep(ctx context.Context) error
}

func openDistant(ctx context.Context, name string, a Access) (distant, error) {
	where, err := parseDistant(name)
	if err != nil {
		return nil, err
	}
	if where.scheme == azureScheme {
		return openAzure(where, a)
	}
	return openS3(ctx, where, a)
}

// unreachable tells trouble with the network from an answer, and says what to look at. The
// address asked for is left out: it may carry a signature.
func unreachable(server, look string, err error) (error, bool) {
	var u *url.Error
	if errors.As(err, &u) {
		err = u.Err
	}
	var n net.Error
	if u == nil && !errors.As(err, &n) && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
		return nil, false
	}
	return fmt.Errorf("%s cannot be reached, or breaks off: look at %s, the network, the firewall and the proxy (HTTPS_PROXY), and try again: %w", server, look, err), true
}

// snapshotFile says whether a name is that of a file of a snapshot.
func snapshotFile(name string) bool { return rank(name) < 2 && !strings.HasSuffix(name, ".tmp") }
