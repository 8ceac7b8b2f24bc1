package cli

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"dvmigrate/appliance/dataverse/emulator"
	"dvmigrate/appliance/dataverse/schema"
	"dvmigrate/appliance/sample"
)

// isCSDL tells a $metadata document, which may be compressed, by its name.
func isCSDL(path string) bool { return strings.HasSuffix(strings.TrimSuffix(path, ".gz"), ".xml") }

// readProfile reads --profile; what the command line says goes before it.
func (c *emulatorCommand) readProfile(env *Env, o *emulator.Options) error {
	if c.profile == "" {
		return nil
	}
	f, err := os.Open(c.profile)
	if err != nil {
		return err
	}
	defer f.Close()
	p, err := emulator.ReadProfile(f)
	if err != nil {
		return fmt.Errorf("%s: %w", c.profile, err)
	}
	for _, r := range p.Cost.Rules {
		if r.Table != "" && o.Schema.Table(r.Table) == nil {
			fmt.Fprintf(env.Stderr, "%s: the schema has no table %s: that rule is never used\n", c.profile, r.Table)
		}
	}
	if c.latency == 0 {
		o.Latency, o.LatencyP99 = p.Latency, p.LatencyP99
	}
	if c.perRequest > 0 {
		p.Cost.PerRequest = c.perRequest
	}
	p.Cost.PerRecord = c.perRecord
	o.Cost = p.Cost
	return nil
}

// readRoles reads --roles: {"Loader": ["prvReadAccount", "prv*Contact"], ...}.
func (c *emulatorCommand) readRoles(o *emulator.Options) error {
	if c.roles == "" {
		return nil
	}
	b, err := os.ReadFile(c.roles)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(b, &o.RolePrivileges); err != nil {
		return fmt.Errorf("%s: it is not {role: [privilege, ...]}: %w", c.roles, err)
	}
	if o.RolePrivileges == nil {
		return fmt.Errorf("%s: it is not {role: [privilege, ...]} but null", c.roles)
	}
	for role, privileges := range o.RolePrivileges {
		for _, p := range privileges {
			if !strings.HasPrefix(p, "prv") && !strings.HasPrefix(p, "*") {
				return fmt.Errorf("%s: role %s: %q is not a privilege: they begin with prv, such as prvReadAccount, prvRead* or prv*Account", c.roles, role, p)
			}
		}
	}
	return nil
}

// readDuplicateRules reads table:column,column of --duplicate-rule.
func (c *emulatorCommand) readDuplicateRules() (rules []emulator.DuplicateRule, err error) {
	for _, text := range c.duplicateRules {
		table, columns, ok := strings.Cut(text, ":")
		if !ok || table == "" || columns == "" {
			return nil, usagef("emulator: --duplicate-rule %s: it is not table:column,column, such as contact:emailaddress1,lastname", text)
		}
		rules = append(rules, emulator.DuplicateRule{Table: table, Columns: strings.Split(columns, ",")})
	}
	return rules, nil
}

var rollupText = regexp.MustCompile(`^([a-z0-9_]+)\.([a-z0-9_]+)=(count|sum|avg|min|max)\(([a-z0-9_]+)\.([a-z0-9_]+)(?:,([a-z0-9_]+))?\)$`)

// readRollups reads table.column=function(from.lookup,column) of --rollup.
func (c *emulatorCommand) readRollups() (rollups []emulator.Rollup, err error) {
	for _, text := range c.rollups {
		m := rollupText.FindStringSubmatch(text)
		if m == nil || (m[3] == "count") != (m[6] == "") {
			return nil, usagef("emulator: --rollup %s: it is not table.column=function(from.lookup,column), such as account.new_open=count(opportunity.parentaccountid) or account.new_total=sum(opportunity.parentaccountid,estimatedvalue)", text)
		}
		rollups = append(rollups, emulator.Rollup{Table: m[1], Column: m[2], Function: m[3], From: m[4], Lookup: m[5], Of: m[6]})
	}
	return rollups, nil
}

// customActions reads name=duration of --custom-action.
func (c *emulatorCommand) customActions() (map[string]time.Duration, error) {
	actions := map[string]time.Duration{}
	for _, text := range c.custom {
		name, takes, _ := strings.Cut(text, "=")
		d, err := time.ParseDuration(takes)
		if err != nil || name == "" {
			return nil, usagef("emulator: --custom-action %s: it is not name=duration, such as contoso_Do=2s", text)
		}
		actions[name] = d
	}
	return actions, nil
}

func (c *emulatorCommand) readSchema(env *Env) (*schema.Schema, error) {
	path := c.schema
	if path == "" {
		path = filepath.Join(env.dir, "schema.json")
		if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
			return schema.Read(bytes.NewReader(sample.Schema()))
		}
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	read := schema.Read
	if isCSDL(path) {
		read = schema.ReadCSDL
	}
	var r io.Reader = f
	if strings.HasSuffix(path, ".gz") {
		if r, err = gzip.NewReader(f); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
	}
	s, err := read(r)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return s, nil
}

// readSeed reads the seed file: {table: [row, ...]}, with lookups as _column_value.
func (c *emulatorCommand) readSeed(env *Env, s *schema.Schema) (map[string]io.Reader, error) {
	path, b := c.seed, []byte(nil)
	if path == "" {
		path = filepath.Join(env.dir, "emulator-seed.json")
	}
	b, err := os.ReadFile(path)
	switch {
	case errors.Is(err, os.ErrNotExist) && c.seed == "" && c.schema == "":
		if _, err := os.Stat(filepath.Join(env.dir, "schema.json")); err == nil {
			return nil, nil // another project, without a seed
		}
		b = sample.Seed()
	case errors.Is(err, os.ErrNotExist) && c.seed == "":
		return nil, nil
	case err != nil:
		return nil, err
	}
	var tables map[string][]map[string]any
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	if err := d.Decode(&tables); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	seed := map[string]io.Reader{}
	for name, rows := range tables {
		t := s.Table(name)
		if t == nil {
			return nil, fmt.Errorf("%s: the schema has no table %s", path, name)
		}
		lines, err := seedLines(s, t, rows)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		seed[name] = lines
	}
	return seed, nil
}

// seedLines writes rows as bodies of creates, one a line.
func seedLines(s *schema.Schema, t *schema.Table, rows []map[string]any) (io.Reader, error) {
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	for _, row := range rows {
		body := map[string]any{}
		for name, value := range row {
			column, isLookup := strings.CutSuffix(strings.TrimPrefix(name, "_"), "_value")
			if !isLookup || !strings.HasPrefix(name, "_") {
				body[name] = value
				continue
			}
			bound := false
			for _, r := range t.ManyToOne {
				if target := s.Table(r.Target); r.Column == column && target != nil && !bound {
					body[r.Nav+"@odata.bind"] = fmt.Sprintf("%s(%v)", target.EntitySet, value)
					bound = true
				}
			}
			if !bound {
				return nil, fmt.Errorf("table %s: no lookup %s in the schema", t.LogicalName, column)
			}
		}
		if err := e.Encode(body); err != nil {
			return nil, err
		}
	}
	return &out, nil
}
