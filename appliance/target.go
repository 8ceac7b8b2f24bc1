package appliance

import (
	"bytes"
	"context"
	"fmt"
	"net/url"
	"strings"

	"dvmigrate/appliance/dataverse"
	"dvmigrate/appliance/dataverse/schema"
)

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
	target, err := p.connect(0)
	if err != nil {
		return nil, "", err
	}
	defer target.close()
	if len(tables) == 0 {
		tables = nil // all
	}
	s, err := target.first().Schema(ctx, tables, progress)
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
