package backup

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
)

const (
	wholeSize = 64 << 20 // up to here a file is uploaded in one request, in bytes
	partSize  = 16 << 20 // of a larger one, in bytes
	maxParts  = 10_000   // of one file, S3's limit

	tries = 5 // of one request; the client waits up to a second between them
)

// bucket is a shelf in an S3 bucket: Amazon's, MinIO's, Ceph's, Cloudflare's, ...
type bucket struct {
	core   minio.Core
	once   minio.Core // sends a request once
	server string
	address
}

// openS3 reaches no further than to the credentials.
func openS3(ctx context.Context, where address, a Access) (*bucket, error) {
	endpoint := a.Endpoint
	if endpoint == nil {
		endpoint = &url.URL{Scheme: "https", Host: "s3.amazonaws.com"}
	}
	o := &minio.Options{
		Secure:     endpoint.Scheme == "https",
		Region:     a.Region,
		MaxRetries: tries,
	}
	if o.Region == "" {
		o.Region = a.env("AWS_REGION", "AWS_DEFAULT_REGION")
	}
	if a.PathStyle {
		o.BucketLookup = minio.BucketLookupPath
	}
	var err error
	if o.Creds, err = a.credentials(ctx); err != nil {
		return nil, err
	}
	client, err := minio.New(endpoint.Host, o)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", endpoint, err)
	}
	o.MaxRetries = 1
	once, err := minio.New(endpoint.Host, o)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", endpoint, err)
	}
	return &bucket{core: minio.Core{Client: client}, once: minio.Core{Client: once}, server: endpoint.String(), address: where}, nil
}

// credentials are those of the environment: keys, a profile that it names, or, without
// them, the identity that the machine has at Amazon.
func (a Access) credentials(ctx context.Context) (*credentials.Credentials, error) {
	id, secret := a.env("AWS_ACCESS_KEY_ID", "AWS_ACCESS_KEY"), a.env("AWS_SECRET_ACCESS_KEY", "AWS_SECRET_KEY")
	if id != "" && secret != "" {
		return credentials.NewStaticV4(id, secret, a.env("AWS_SESSION_TOKEN")), nil
	}
	if id != "" || secret != "" {
		return nil, errors.New("of AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY only one is set in the environment: set both")
	}
	var found *credentials.Credentials
	file, profile := a.env("AWS_SHARED_CREDENTIALS_FILE"), a.env("AWS_PROFILE")
	if file != "" || profile != "" {
		found = credentials.NewFileAWSCredentials(file, profile)
	} else {
		found = credentials.NewIAM("")
	}
	value, err := found.GetWithContext(&credentials.CredContext{Client: &http.Client{Timeout: 5 * time.Second}})
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if err == nil && value.AccessKeyID != "" {
		return found, nil
	}
	if err == nil {
		err = errors.New("there is no key in it")
	}
	if file != "" || profile != "" {
		return nil, fmt.Errorf("read the keys that AWS_PROFILE or AWS_SHARED_CREDENTIALS_FILE name: %w", err)
	}
	return nil, fmt.Errorf("there are no keys for S3: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, in the environment, or give the machine a role; it has none that could be asked for: %w", err)
}

func (b *bucket) names(ctx context.Context) (map[string]int64, error) {
	ctx, cancel := context.WithCancel(ctx) // the lister's goroutine ends with it
	defer cancel()
	names := make(map[string]int64)
	for o := range b.core.Client.ListObjects(ctx, b.bucket, minio.ListObjectsOptions{Prefix: b.prefix}) {
		if o.Err != nil {
			return nil, b.explain(ctx, "list", o.Err)
		}
		if name := strings.TrimPrefix(o.Key, b.prefix); snapshotFile(name) {
			names[name] = o.Size
		}
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	return names, nil
}

// put leaves the reading back to the server, which compares each part with its MD5
// before it takes it; a file of parts is there when all are.
func (b *bucket) put(ctx context.Context, name string, from content, size int64) error {
	o := minio.PutObjectOptions{
		ContentType:          "application/octet-stream",
		SendContentMd5:       true, // instead of signed chunks, which not every server takes
		DisableContentSha256: true,
		DisableMultipart:     size <= wholeSize,
		PartSize:             partSize,
	}
	if least := size/maxParts + 1; least > partSize {
		o.PartSize = uint64(least+1<<20) >> 20 << 20
	}
	for try := 1; ; try++ {
		// Each try has a reader of its own: the connection of one that failed may still be
		// reading from its. (minio-go's own tries share one.)
		done, err := b.once.Client.PutObject(ctx, b.bucket, b.prefix+name, struct{ io.ReadSeeker }{io.NewSectionReader(from, 0, size)}, size, o)
		switch {
		case err == nil && done.Size != size:
			return fmt.Errorf("write %s: %d of %d bytes were taken", name, done.Size, size)
		case err == nil:
			return nil
		case try == tries || ctx.Err() != nil || !passing(err):
			return b.explain(ctx, "write "+name, err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(time.Duration(try) * putPause):
		}
	}
}

// putPause is how long a write is not tried again, times the number of tries.
const putPause = 200 * time.Millisecond

// passing reports whether an error may be gone at the next try: no answer, or one that
// says the service is busy.
func passing(err error) bool {
	status := minio.ToErrorResponse(err).StatusCode
	return status == 0 || status == http.StatusTooManyRequests || status >= 500
}

// get goes on where an answer has broken off.
func (b *bucket) get(ctx context.Context, name string, w io.Writer) error {
	var at int64
	for try := 1; ; try++ {
		n, err := b.getFrom(ctx, name, at, w)
		var local *localError
		if err == nil || ctx.Err() != nil || errors.As(err, &local) {
			return err
		}
		if at += n; n > 0 {
			try = 1
		}
		if try == tries || n == 0 && minio.ToErrorResponse(err).StatusCode != 0 {
			return b.explain(ctx, "read "+name, err)
		}
	}
}

func (b *bucket) getFrom(ctx context.Context, name string, at int64, w io.Writer) (int64, error) {
	var o minio.GetObjectOptions
	if at > 0 {
		if err := o.SetRange(at, 0); err != nil {
			return 0, err
		}
	}
	body, info, _, err := b.core.GetObject(ctx, b.bucket, b.prefix+name, o)
	if err != nil {
		return 0, err
	}
	defer body.Close()
	n, err := io.Copy(localWriter{w}, body)
	if err == nil && n < info.Size {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

// localError is trouble on this side, which no second request mends.
type localError struct{ error }

func (e *localError) Unwrap() error { return e.error }

type localWriter struct{ w io.Writer }

func (l localWriter) Write(b []byte) (int, error) {
	n, err := l.w.Write(b)
	if err != nil {
		err = &localError{err}
	}
	return n, err
}

func (b *bucket) remove(ctx context.Context, name string) error {
	if err := b.core.Client.RemoveObject(ctx, b.bucket, b.prefix+name, minio.RemoveObjectOptions{}); err != nil {
		return b.explain(ctx, "remove "+name, err)
	}
	return nil
}

// sweep aborts uploads that a crash has left: their parts cost money and are seen nowhere.
func (b *bucket) sweep(ctx context.Context) error {
	key, upload := "", ""
	for {
		list, err := b.core.ListMultipartUploads(ctx, b.bucket, b.prefix, key, upload, "", 1000)
		if minio.ToErrorResponse(err).Code == minio.NoSuchUpload {
			return nil // what some servers say of a bucket without any
		}
		if err != nil {
			return b.explain(ctx, "list interrupted uploads", err)
		}
		for _, u := range list.Uploads {
			if !snapshotFile(strings.TrimPrefix(u.Key, b.prefix)) {
				continue
			}
			err := b.core.AbortMultipartUpload(ctx, b.bucket, u.Key, u.UploadID)
			if err != nil && minio.ToErrorResponse(err).Code != minio.NoSuchUpload {
				return b.explain(ctx, "take back an interrupted upload", err)
			}
		}
		if !list.IsTruncated {
			return nil
		}
		key, upload = list.NextKeyMarker, list.NextUploadIDMarker
	}
}

// explain says what failed, where, and what to do about it.
func (b *bucket) explain(ctx context.Context, what string, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	const rights = "it needs s3:ListBucket, s3:ListBucketMultipartUploads, s3:GetObject, s3:PutObject, s3:DeleteObject and s3:AbortMultipartUpload"
	advice := ""
	switch r := minio.ToErrorResponse(err); r.Code {
	case "NoSuchBucket":
		advice = fmt.Sprintf("there is no bucket %s at %s: make it, or correct its name or the endpoint", b.bucket, b.server)
	case "NoSuchKey":
		advice = "the file is not there (any more): see `dvmigrate snapshots` for what is"
	case "AccessDenied", "AllAccessDisabled", "AccountProblem":
		advice = fmt.Sprintf("the key in use may not do that in the bucket %s: %s", b.bucket, rights)
	case "InvalidAccessKeyId":
		advice = fmt.Sprintf("%s does not know the access key: look at AWS_ACCESS_KEY_ID, and whether the endpoint is the key's", b.server)
	case "SignatureDoesNotMatch":
		advice = fmt.Sprintf("%s refuses the signature: AWS_SECRET_ACCESS_KEY does not belong to AWS_ACCESS_KEY_ID", b.server)
	case "ExpiredToken", "InvalidToken", "TokenRefreshRequired":
		advice = "the session token is not valid any more: renew AWS_SESSION_TOKEN and the keys that came with it"
	case "RequestTimeTooSkewed":
		advice = fmt.Sprintf("the clock of this machine and that of %s differ too much: set the clock", b.server)
	case "AuthorizationHeaderMalformed", "PermanentRedirect", "IllegalLocationConstraintException", "InvalidRegion":
		advice = "the bucket is in another region: set snapshots.s3.region or AWS_REGION"
	default:
		if r.StatusCode >= 500 || r.StatusCode == http.StatusTooManyRequests {
			advice = fmt.Sprintf("%s has answered with %d, %d times: try again later", b.server, r.StatusCode, tries)
			break
		}
		if e, ok := unreachable(b.server, "the endpoint (snapshots.s3.endpoint, AWS_ENDPOINT_URL)", err); ok {
			return fmt.Errorf("%s: %w", what, e)
		}
		return fmt.Errorf("%s: %w", what, err)
	}
	return fmt.Errorf("%s: %s: %w", what, advice, err)
}
