package appliance

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"dvmigrate/appliance/config"
	"dvmigrate/appliance/dataverse"
	"dvmigrate/appliance/dataverse/identity"
	"dvmigrate/appliance/dataverse/pace"
	"dvmigrate/appliance/dataverse/schema"
	"dvmigrate/duckstage/ingest"
)

// environment makes a source of another environment's table. It only reads there.
func (p *Project) environment(name string, s config.Source) (*ingest.Dataverse, error) {
	t := config.Target{URL: s.Dataverse, Auth: first(s.Auth, "default"), Cloud: first(s.Cloud, "public")}
	user := config.User{Auth: t.Auth, Tenant: s.Tenant, Client: s.Client, Secret: s.Secret, Certificate: s.Certificate, Token: s.Token}
	o := p.signIn(t, user, 0)
	credential, err := identity.New(o)
	if err != nil {
		return nil, fmt.Errorf("source %s: %w", name, &SignInError{Err: err})
	}
	client, err := dataverse.New(dataverse.Options{
		URL: o.Resource, Token: credential, Timeout: p.Config.Load.Timeout, Patience: patience(p.Config.Load.Patience),
		Limiter:   pace.New(pace.Options{Max: max(s.Parallel, 1)}),
		UserAgent: "dvmigrate/" + p.o.Version, Logger: p.o.Log,
	})
	if err != nil {
		return nil, fmt.Errorf("source %s: %w", name, err)
	}
	return &ingest.Dataverse{URL: t.Environment(), Table: s.Table, Select: s.Select, Filter: s.Filter, FetchXML: s.FetchXML, Delta: s.Delta, Parallel: s.Parallel,
		Reader: &environmentReader{client: client}}, nil
}

func first(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// environmentReader reads records for ingest, which knows no environment.
type environmentReader struct {
	client *dataverse.Client
	table  *schema.Table
}

// Close is part of ingest's interface.
func (e *environmentReader) Close() { e.client.Close() }

// named pulls the table's metadata once.
func (e *environmentReader) named(ctx context.Context, table string) (*schema.Table, error) {
	if e.table != nil && e.table.LogicalName == table {
		return e.table, nil
	}
	s, err := e.client.Schema(ctx, []string{table}, nil)
	if err != nil {
		return nil, e.explain(err)
	}
	e.table = s.Table(table)
	if e.table == nil {
		return nil, fmt.Errorf("the environment has no table %q", table)
	}
	return e.table, nil
}

func (e *environmentReader) explain(err error) error {
	var refused *dataverse.Error
	if errors.As(err, &refused) {
		switch refused.Kind {
		case dataverse.SignIn:
			return fmt.Errorf("%s: %w: check the source's sign-in settings", e.client.Base(), err)
		case dataverse.Setup:
			return fmt.Errorf("%s: %w: check the table, its columns, the filter, and the user's right to read it", e.client.Base(), err)
		}
	}
	return fmt.Errorf("%s: %w", e.client.Base(), err)
}

// Columns is part of ingest's interface. Columns that only the service's own screens
// use, and the content of files, are left out unless they are asked for.
func (e *environmentReader) Columns(ctx context.Context, table string, selected []string) ([]ingest.RecordColumn, error) {
	t, err := e.named(ctx, table)
	if err != nil {
		return nil, err
	}
	var columns []ingest.RecordColumn
	for _, c := range t.Columns {
		asked := slices.Contains(selected, c.LogicalName)
		if c.NoRead || c.NoWebAPI || len(selected) > 0 && !asked && c.LogicalName != t.PrimaryID {
			continue
		}
		if !asked && (c.PartOf != "" && c.Type != schema.UniqueID || c.Type == schema.Image || c.Type == schema.PartyList || c.LogicalName == "documentbody") {
			continue
		}
		r := ingest.RecordColumn{Name: c.LogicalName, Member: c.LogicalName, SQLType: recordType(c), Primary: c.LogicalName == t.PrimaryID}
		if c.Type.IsLookup() {
			r.Member = "_" + c.LogicalName + "_value"
			if len(c.Targets) > 1 {
				r.Target = r.Member + "@Microsoft.Dynamics.CRM.lookuplogicalname"
			}
		}
		columns = append(columns, r)
	}
	for _, name := range selected {
		if !slices.ContainsFunc(columns, func(c ingest.RecordColumn) bool { return c.Name == name }) {
			known := make([]string, len(t.Columns))
			for i, c := range t.Columns {
				known[i] = c.LogicalName
			}
			hint := ""
			if near := config.Nearest(name, known); near != "" {
				hint = "; did you mean " + near + "?"
			}
			return nil, fmt.Errorf("table %s of %s has no column %s that can be read%s", table, e.client.Base(), name, hint)
		}
	}
	return columns, nil
}

// recordType is the stage's type for a column.
func recordType(c *schema.Column) string {
	switch c.Type {
	case schema.Integer, schema.Choice, schema.State, schema.Status:
		return "INTEGER"
	case schema.BigInt:
		return "BIGINT"
	case schema.Decimal, schema.Money:
		return "DECIMAL(28,10)"
	case schema.Float:
		return "DOUBLE"
	case schema.YesNo:
		return "BOOLEAN"
	case schema.UniqueID, schema.Lookup, schema.Customer, schema.Owner:
		return "UUID"
	case schema.DateTime:
		switch c.DateBehavior {
		case schema.DateOnly:
			return "DATE"
		case schema.TimeZoneIndependent:
			return "TIMESTAMP"
		}
		return "TIMESTAMP WITH TIME ZONE"
	}
	return "VARCHAR"
}

// Slices is part of ingest's interface: spans of the time of creation, which no record
// changes and every table that people use has.
func (e *environmentReader) Slices(ctx context.Context, table, filter string, n int) ([]string, error) {
	t, err := e.named(ctx, table)
	if err != nil {
		return nil, err
	}
	const by = "createdon"
	if c := t.Column(by); c == nil || c.NoRead || c.NoWebAPI {
		return []string{filter}, nil
	}
	low, err := e.end(ctx, t, filter, by+" asc")
	if err != nil {
		return nil, err
	}
	high, err := e.end(ctx, t, filter, by+" desc")
	if err != nil || !low.Before(high) {
		return []string{filter}, err
	}
	and := func(condition string) string {
		if filter == "" {
			return condition
		}
		return "(" + filter + ") and " + condition
	}
	var slices []string
	former := ""
	for i := 1; i < n; i++ {
		at := low.Add(time.Duration(float64(high.Sub(low)) * float64(i) / float64(n))).Truncate(time.Second).UTC().Format(time.RFC3339)
		if at == former {
			continue
		}
		if former == "" {
			slices = append(slices, and(by+" lt "+at))
		} else {
			slices = append(slices, and(by+" ge "+former+" and "+by+" lt "+at))
		}
		former = at
	}
	return append(slices, and(by+" ge "+former)), nil
}

// end reads the first time of creation in an order; zero when there is no record.
func (e *environmentReader) end(ctx context.Context, t *schema.Table, filter, order string) (at time.Time, err error) {
	q := dataverse.Query{Select: []string{"createdon"}, Filter: filter, OrderBy: order, Top: 1}
	err = e.client.Rows(ctx, t, q, func(row json.RawMessage) error {
		var r struct{ CreatedOn time.Time }
		err := json.Unmarshal(row, &r)
		at = r.CreatedOn
		return err
	})
	if err != nil {
		return at, e.explain(err)
	}
	return at, nil
}

// Records is part of ingest's interface.
func (e *environmentReader) Records(ctx context.Context, table string, selected []string, filter string, fn func(row json.RawMessage) error) error {
	t, err := e.named(ctx, table)
	if err != nil {
		return err
	}
	return e.read(fn, func(fn func(json.RawMessage) error) error {
		return e.client.RowsWithTargets(ctx, t, dataverse.Query{Select: selected, Filter: filter}, fn)
	})
}

// Fetch is part of ingest's interface.
func (e *environmentReader) Fetch(ctx context.Context, table, query string, fn func(row json.RawMessage) error) error {
	t, err := e.named(ctx, table)
	if err != nil {
		return err
	}
	return e.read(fn, func(fn func(json.RawMessage) error) error { return e.client.Fetch(ctx, t, query, fn) })
}

// read tells the errors of the service from those of who takes the rows.
func (e *environmentReader) read(fn func(json.RawMessage) error, read func(func(json.RawMessage) error) error) error {
	var own error
	err := read(func(row json.RawMessage) error {
		own = fn(row)
		return own
	})
	if own != nil {
		return own
	}
	if err != nil {
		return e.explain(err)
	}
	return nil
}

// Changes is part of ingest's interface.
func (e *environmentReader) Changes(ctx context.Context, table string, selected []string, token string, fn func(row json.RawMessage) error) (next string, all bool, err error) {
	t, err := e.named(ctx, table)
	if err != nil {
		return "", false, err
	}
	if !t.ChangeTracking {
		return "", false, fmt.Errorf("table %s of %s does not track changes: leave `delta` out, or have change tracking enabled for the table", table, e.client.Base())
	}
	changes := func(token string) error {
		return e.read(fn, func(fn func(json.RawMessage) error) error {
			next, err = e.client.Changes(ctx, t, selected, token, fn)
			return err
		})
	}
	err = changes(token)
	var refused *dataverse.Error
	if token != "" && errors.As(err, &refused) && refused.Code == dataverse.ExpiredToken {
		token, err = "", changes("")
	}
	return next, token == "", err
}
