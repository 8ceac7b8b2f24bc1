package identity

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/cloud"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
)

// azure is a credential of azidentity. It keeps tokens of its own and gives them out
// until they end, so to forget one the credential is made anew.
type azure struct {
	options Options
	scope   string
	current atomic.Pointer[azcore.TokenCredential]
}

func newAzure(o Options, scope string) (*Source, error) {
	a := &azure{options: o, scope: scope}
	if err := a.make(); err != nil {
		return nil, err
	}
	s := &Source{fetch: a.fetch}
	// A device code would ask the person again; azidentity's own renewal has to do.
	if o.Kind != DeviceCode {
		s.renew = a.make
	}
	return s, nil
}

func (a *azure) fetch(ctx context.Context) (grant, error) {
	credential := *a.current.Load()
	t, err := credential.GetToken(ctx, policy.TokenRequestOptions{Scopes: []string{a.scope}, TenantID: ""})
	if err != nil {
		return grant{}, a.explain(err)
	}
	return grant{token: t.Token, ends: t.ExpiresOn, renewal: t.RefreshOn}, nil
}

// make makes the credential.
func (a *azure) make() error {
	c, err := a.credential()
	if err != nil {
		var e *Error
		if errors.As(err, &e) {
			return err
		}
		return a.explain(err)
	}
	a.current.Store(&c)
	return nil
}

func (a *azure) credential() (azcore.TokenCredential, error) {
	o := a.options
	client, err := o.clientOptions()
	if err != nil {
		return nil, err
	}
	switch o.Kind {
	case ClientSecret:
		return azidentity.NewClientSecretCredential(o.Tenant, o.Client, o.Secret,
			&azidentity.ClientSecretCredentialOptions{ClientOptions: client})
	case Certificate:
		return o.certificate(client)
	case ManagedIdentity:
		m := &azidentity.ManagedIdentityCredentialOptions{ClientOptions: client}
		if o.Client != "" {
			m.ID = azidentity.ClientID(o.Client)
		}
		return azidentity.NewManagedIdentityCredential(m)
	case WorkloadIdentity:
		return azidentity.NewWorkloadIdentityCredential(&azidentity.WorkloadIdentityCredentialOptions{
			ClientOptions: client, ClientID: o.Client, TenantID: o.Tenant})
	case AzureCLI:
		return azidentity.NewAzureCLICredential(&azidentity.AzureCLICredentialOptions{TenantID: o.Tenant})
	case DeviceCode:
		return azidentity.NewDeviceCodeCredential(&azidentity.DeviceCodeCredentialOptions{
			ClientOptions: client, TenantID: o.Tenant, ClientID: o.Client,
			UserPrompt: func(_ context.Context, m azidentity.DeviceCodeMessage) error {
				o.Prompt(m.Message)
				return nil
			}})
	}
	return azidentity.NewDefaultAzureCredential(&azidentity.DefaultAzureCredentialOptions{ClientOptions: client, TenantID: o.Tenant})
}

func (o Options) certificate(client azcore.ClientOptions) (azcore.TokenCredential, error) {
	data, err := os.ReadFile(o.Certificate)
	if err != nil {
		return nil, &Error{Message: fmt.Sprintf("read certificate: %v: target.certificate names its file, from the project's folder on", err)}
	}
	certs, key, err := azidentity.ParseCertificates(data, []byte(o.Secret))
	if err != nil {
		return nil, &Error{Message: fmt.Sprintf("read certificate %s: %v: it has to hold a certificate and its private key, "+
			"as PEM or PFX, and the secret has to be its password", o.Certificate, err)}
	}
	return azidentity.NewClientCertificateCredential(o.Tenant, o.Client, certs, key,
		&azidentity.ClientCertificateCredentialOptions{ClientOptions: client})
}

func (o Options) clientOptions() (azcore.ClientOptions, error) {
	c := azcore.ClientOptions{Retry: policy.RetryOptions{MaxRetries: 3, RetryDelay: time.Second, MaxRetryDelay: 10 * time.Second}}
	switch o.Cloud {
	case "", "public":
		c.Cloud = cloud.AzurePublic
	case "usgov":
		c.Cloud = cloud.AzureGovernment
	case "china":
		c.Cloud = cloud.AzureChina
	default:
		return c, &Error{Message: fmt.Sprintf("unknown cloud %q: it is public, usgov or china", o.Cloud)}
	}
	if o.HTTP != nil {
		c.Transport = o.HTTP
	}
	return c, nil
}
