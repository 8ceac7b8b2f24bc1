package appliance

import (
	"bytes"
	"context"
	"fmt"
	"net/url"
	"strings"

	"dvmigrate/appliance/dataverse"
	"dvmigrate/appliance/dataverse/identity"
	"dvmigrate/appliance/dataverse/pace"
	"dvmigrate/appliance/dataverse/schema"
)

// Connect makes the client of the project's target environment. It sends nothing
// but, where the settings ask for it, the sign-in.
func (p *Project) Connect() (*dataverse.Client, error) {
	if err := p.Config.RequireTarget(); err != nil {
		return nil, err
	}
	t := p.Config.Target
	credential, err := identity.New(identity.Options{Kind: signInKind(p), Tenant: t.Tenant, Client: t.Client, Secret: t.Secret.Reveal(),
		Certificate: p.certificate(), Token: t.Token.Reveal(), Resource: t.Environment(), Cloud: t.Cloud})
	if err != nil {
		return nil, err
	}
	return dataverse.New(dataverse.Options{
		URL: t.Environment(), Token: credential, Timeout: p.Config.Load.Timeout,
		Limiter:   pace.New(pace.Options{Max: p.Config.Limits.Concurrent * p.Config.Limits.Users}),
		UserAgent: "dvmigrate/" + p.o.Version, Logger: p.o.Log,
	})
}

func (p *Project) certificate() string {
	if p.Config.Target.Certificate == "" {
		return ""
	}
	return p.Config.Path(p.Config.Target.Certificate)
}

// signInKind is the way to sign in: a ready token wins, and an emulator on this
// machine takes any.
func signInKind(p *Project) identity.Kind {
	t := p.Config.Target
	switch {
	case !t.Token.IsZero():
		return identity.Token
	case t.Loopback() && (t.Auth == "default" || t.Auth == "none"):
		return identity.None
	}
	return identity.Kind(t.Auth)
}

// links makes the requests' names of the N:N link tables.
func (p *Project) links(b *bound) (map[string]dataverse.Link, error) {
	links := map[string]dataverse.Link{}
	for _, t := range b.tables {
		if t.Link == nil {
			continue
		}
		l, err := dataverse.NewLink(p.Schema, t.Link)
		if err != nil {
			return nil, err
		}
		links[t.Name] = l
	}
	return links, nil
}

// PullSchema reads the target's schema: the named tables, or all. It also says which
// file of the project it belongs into.
func PullSchema(ctx context.Context, dir string, tables []string, o Options, progress func(done, total int)) (*schema.Schema, string, error) {
	p, err := Open(ctx, dir, NoSchema, o)
	if err != nil {
		return nil, "", err
	}
	client, err := p.Connect()
	if err != nil {
		return nil, "", err
	}
	defer client.Close()
	if len(tables) == 0 {
		tables = nil // all
	}
	s, err := client.Schema(ctx, tables, progress)
	if err != nil {
		return nil, "", p.explainTarget(fmt.Errorf("read the schema of %s: %w", host(p.Config.Target.URL), err))
	}
	return s, p.Config.Path(p.Config.Schema), nil
}

// WriteSchema writes a schema file whole.
func WriteSchema(path string, s *schema.Schema) error {
	var b bytes.Buffer
	if err := s.Write(&b); err != nil {
		return err
	}
	return writeFile(path, b.Bytes())
}

func host(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return "the environment"
	}
	return strings.TrimSuffix(u.Scheme+"://"+u.Host, "/")
}
