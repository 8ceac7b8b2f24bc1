package backup

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	azure "github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blockblob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"
)

// maxBlocks is Azure's limit for one blob.
const maxBlocks = 50_000

// blocksOnce are in memory and on their way at a time.
const blocksOnce = 4

// blobs is a shelf in a container of Azure Blob Storage.
type blobs struct {
	client *container.Client
	server string
	address
}

// openAzure makes the client; nothing is asked yet. A connection string or a SAS token of
// the environment comes before the default chain of azidentity.
func openAzure(where address, a Access) (*blobs, error) {
	b := &blobs{address: where, server: where.host}
	if !strings.Contains(b.server, ".") {
		b.server += ".blob.core.windows.net"
	}
	o := &container.ClientOptions{ClientOptions: azcore.ClientOptions{
		Retry: policy.RetryOptions{MaxRetries: tries - 1, RetryDelay: 200 * time.Millisecond, MaxRetryDelay: time.Second},
	}}
	var err error
	if connection := a.env("AZURE_STORAGE_CONNECTION_STRING"); connection != "" {
		if account, ok := accountOf(connection); ok && account != strings.SplitN(where.host, ".", 2)[0] {
			return nil, fmt.Errorf("AZURE_STORAGE_CONNECTION_STRING is that of the account %s, not of %s", account, where.host)
		}
		if b.client, err = container.NewClientFromConnectionString(connection, where.bucket, o); err != nil {
			return nil, errors.New("AZURE_STORAGE_CONNECTION_STRING cannot be understood: copy it anew from the portal, Access keys") // not err: it may show the key
		}
		return b, nil
	}
	address := "https://" + b.server + "/" + where.bucket
	if token := a.env("AZURE_STORAGE_SAS_TOKEN"); token != "" {
		b.client, err = container.NewClientWithNoCredential(address+"?"+strings.TrimPrefix(token, "?"), o)
		if err != nil {
			return nil, errors.New("AZURE_STORAGE_SAS_TOKEN cannot be understood: copy it anew from the portal")
		}
		return b, nil
	}
	identity, err := azidentity.NewDefaultAzureCredential(nil)
	if err != nil {
		return nil, fmt.Errorf("sign in to %s: %w", b.server, err)
	}
	if b.client, err = container.NewClient(address, identity, o); err != nil {
		return nil, fmt.Errorf("open %s: %w", address, err)
	}
	return b, nil
}

// accountOf returns the account that a connection string names.
func accountOf(connection string) (string, bool) {
	for field := range strings.SplitSeq(connection, ";") {
		if name, ok := strings.CutPrefix(field, "AccountName="); ok {
			return name, true
		}
	}
	return "", false
}

func (b *blobs) blob(name string) *blockblob.Client {
	return b.client.NewBlockBlobClient(b.prefix + name)
}

func (b *blobs) names(ctx context.Context) (map[string]int64, error) {
	names := make(map[string]int64)
	pages := b.client.NewListBlobsHierarchyPager("/", &container.ListBlobsHierarchyOptions{Prefix: &b.prefix})
	for pages.More() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, b.explain(ctx, "list", err)
		}
		for _, item := range page.Segment.BlobItems {
			if item.Name == nil || item.Properties == nil || item.Properties.ContentLength == nil {
				continue
			}
			if name := strings.TrimPrefix(*item.Name, b.prefix); snapshotFile(name) {
				names[name] = *item.Properties.ContentLength
			}
		}
	}
	return names, nil
}

// put leaves the reading back to the service, which compares each block with its CRC-64
// before it takes it; a blob of blocks is there when their list is.
func (b *blobs) put(ctx context.Context, name string, from content, size int64) error {
	o := &blockblob.UploadStreamOptions{
		BlockSize:               max(partSize, size/maxBlocks+1),
		Concurrency:             blocksOnce,
		TransactionalValidation: azure.TransferValidationTypeComputeCRC64(),
	}
	if _, err := b.blob(name).UploadStream(ctx, from, o); err != nil {
		return b.explain(ctx, "write "+name, err)
	}
	p, err := b.blob(name).GetProperties(ctx, nil)
	if err != nil {
		return b.explain(ctx, "look at "+name, err)
	}
	if p.ContentLength == nil || *p.ContentLength != size {
		return fmt.Errorf("write %s: not all of its %d bytes were taken", name, size)
	}
	return nil
}

func (b *blobs) get(ctx context.Context, name string, w io.Writer) error {
	answer, err := b.blob(name).DownloadStream(ctx, nil)
	if err != nil {
		return b.explain(ctx, "read "+name, err)
	}
	body := answer.NewRetryReader(ctx, &azure.RetryReaderOptions{MaxRetries: tries}) // goes on where it has broken off
	defer body.Close()
	var local *localError
	if _, err := io.Copy(localWriter{w}, body); errors.As(err, &local) {
		return err
	} else if err != nil {
		return b.explain(ctx, "read "+name, err)
	}
	return nil
}

func (b *blobs) remove(ctx context.Context, name string) error {
	var r *azcore.ResponseError
	_, err := b.blob(name).Delete(ctx, nil)
	if err != nil && !(errors.As(err, &r) && r.ErrorCode == "BlobNotFound") {
		return b.explain(ctx, "remove "+name, err)
	}
	return nil
}

// sweep has nothing to do: blocks without a list are seen nowhere, and the service throws
// them away after a week, or when the blob is uploaded again.
func (b *blobs) sweep(context.Context) error { return nil }

// explain says what failed, where, and what to do about it. Of the service's answer only
// the code is kept: the whole has the address, which may carry a signature.
func (b *blobs) explain(ctx context.Context, what string, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	var signIn *azidentity.AuthenticationFailedError
	var r *azcore.ResponseError
	switch {
	case errors.As(err, &signIn), strings.Contains(err.Error(), "DefaultAzureCredential"):
		return fmt.Errorf("%s: no sign-in to %s succeeds: set AZURE_STORAGE_CONNECTION_STRING or AZURE_STORAGE_SAS_TOKEN, "+
			"or AZURE_TENANT_ID, AZURE_CLIENT_ID and AZURE_CLIENT_SECRET, or run `az login`, or give the machine a managed identity: %w", what, b.server, err)
	case !errors.As(err, &r):
		if e, ok := unreachable(b.server, "the account's name", err); ok {
			return fmt.Errorf("%s: %w", what, e)
		}
		return fmt.Errorf("%s: %w", what, err)
	}
	advice := ""
	switch {
	case r.ErrorCode == "ContainerNotFound":
		advice = fmt.Sprintf("there is no container %s at %s: make it, or correct its name", b.bucket, b.server)
	case r.ErrorCode == "BlobNotFound":
		advice = "the file is not there (any more): see `dvmigrate snapshots` for what is"
	case r.ErrorCode == "AuthorizationPermissionMismatch":
		advice = "whoever is signed in may not do that: it needs the role Storage Blob Data Contributor on the container, or a SAS token with read, write, delete and list"
	case r.ErrorCode == "AuthorizationFailure":
		advice = "it is not allowed from here or with this token: look at the account's network rules and the SAS token's rights"
	case r.StatusCode == http.StatusForbidden || r.StatusCode == http.StatusUnauthorized:
		advice = fmt.Sprintf("%s refuses the key or token: look at AZURE_STORAGE_CONNECTION_STRING or AZURE_STORAGE_SAS_TOKEN, when it ends, and this machine's clock", b.server)
	case r.StatusCode >= 500 || r.StatusCode == http.StatusTooManyRequests:
		advice = fmt.Sprintf("%s has answered with %d, %d times: try again later", b.server, r.StatusCode, tries)
	default:
		advice = b.server + " refuses it"
	}
	return fmt.Errorf("%s: %s (%d %s)", what, advice, r.StatusCode, r.ErrorCode)
}
