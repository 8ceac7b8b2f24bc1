package emulator

import (
	"net/http"
	pathpkg "path"
	"slices"
	"strings"

	"dvmigrate/appliance/dataverse/schema"
)

// Security roles (section 14), checked where Options.RolePrivileges is set. A user
// has the privileges of its roles and of its teams' roles, each at global depth.

// administrator is the role that has every privilege. The user of a token that
// names no application user has it.
const administrator = "System Administrator"

// secured adds to a schema the tables and relationships that roles need and that it
// lacks. The schema itself is not changed.
func secured(s *schema.Schema) (*schema.Schema, error) {
	tables, links := slices.Clone(s.Tables), slices.Clone(s.ManyToMany)
	has := func(name string) bool {
		return slices.ContainsFunc(tables, func(t *schema.Table) bool { return t.LogicalName == name })
	}
	if !has("role") {
		tables = append(tables, &schema.Table{LogicalName: "role", SchemaName: "Role", EntitySet: "roles", PrimaryID: "roleid", PrimaryName: "name", Kind: schema.Standard, Ownership: schema.BusinessOwned,
			Columns: []*schema.Column{{LogicalName: "roleid", SchemaName: "RoleId", Type: schema.UniqueID, NoUpdate: true}, {LogicalName: "name", SchemaName: "Name", Type: schema.Text, MaxLength: 100},
				{LogicalName: "businessunitid", SchemaName: "BusinessUnitId", Type: schema.Lookup, Targets: []string{"businessunit"}},
				{LogicalName: "parentrootroleid", SchemaName: "ParentRootRoleId", Type: schema.Lookup, Targets: []string{"role"}}},
			ManyToOne: []schema.Relationship{{SchemaName: "business_unit_roles", Column: "businessunitid", Target: "businessunit", Nav: "businessunitid", Collection: "business_unit_roles"},
				{SchemaName: "role_parent_root_role", Column: "parentrootroleid", Target: "role", Nav: "parentrootroleid", Collection: "role_parent_root_role"}}})
	}
	for _, l := range []schema.ManyToMany{
		{SchemaName: "systemuserroles_association", Intersect: "systemuserroles", Table1: "systemuser", Column1: "systemuserid", Table2: "role", Column2: "roleid"},
		{SchemaName: "teamroles_association", Intersect: "teamroles", Table1: "team", Column1: "teamid", Table2: "role", Column2: "roleid"},
		{SchemaName: "teammembership_association", Intersect: "teammembership", Table1: "team", Column1: "teamid", Table2: "systemuser", Column2: "systemuserid"},
	} {
		if slices.ContainsFunc(links, func(o schema.ManyToMany) bool { return o.SchemaName == l.SchemaName || o.Intersect == l.Intersect }) {
			continue
		}
		l.Nav1, l.Nav2 = l.SchemaName, l.SchemaName
		links = append(links, l)
	}
	return schema.New(tables, links)
}

// ends of the relationships that say who has what; the zero linkEnd is none.
func (m *model) end(t, nav string) linkEnd {
	if table := m.byName[t]; table != nil {
		return table.nn[nav]
	}
	return linkEnd{}
}

// through lists what a row is linked to, nothing where the relationship is not there.
func (tx *tx) through(end linkEnd, id schema.GUID) []schema.GUID {
	if end.m == nil {
		return nil
	}
	return tx.linked(end, id)
}

// rights are the privileges of a user or team: the patterns of its roles.
type rights struct {
	patterns []string
	roles    int
	direct   []string // those of the user's own roles, not its teams'
}

// add adds what the role of a name holds.
func (r *rights) add(o *Options, role string) {
	r.roles++
	if role == administrator {
		r.patterns = append(r.patterns, "*")
	}
	r.patterns = append(r.patterns, o.RolePrivileges[role]...)
}

func (r *rights) has(privilege string) bool { return matchAny(r.patterns, privilege) }

func matchAny(patterns []string, privilege string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool {
		ok, err := pathpkg.Match(p, privilege)
		return ok && err == nil
	})
}

// rightsOf collects the rights of a principal.
func (tx *tx) rightsOf(o *Options, table string, id schema.GUID) *rights {
	r := &rights{}
	m := tx.s.model
	add := func(roles []schema.GUID) {
		for _, role := range roles {
			if row, ok := tx.row(m.byName["role"], role); ok {
				r.add(o, row.value(m.byName["role"].byName["name"]).text)
			}
		}
	}
	if table == "team" {
		add(tx.through(m.end("team", "teamroles_association"), id))
		return r
	}
	add(tx.through(m.end("systemuser", "systemuserroles_association"), id))
	r.direct = slices.Clone(r.patterns)
	for _, team := range tx.through(m.end("systemuser", "teammembership_association"), id) {
		add(tx.through(m.end("team", "teamroles_association"), team))
	}
	return r
}

// privilege is the name of a right on a table: prvCreateAccount; activities share
// theirs.
func (t *table) privilege(right string) string {
	if t.isActivity() || t.activities != nil {
		return "prv" + right + "Activity"
	}
	return "prv" + right + title(t)
}

// may refuses what the acting user has no right to. One who is impersonated needs the
// right as well as the one who impersonates (section 9).
func (c *call) may(tx *tx, right string, t *table) error {
	if c.srv.opts.RolePrivileges == nil || c.unchecked || t.LogicalName == "activityparty" { // a part of its activity
		return nil
	}
	return c.mayPrivilege(tx, t.privilege(right), t)
}

func (c *call) mayPrivilege(tx *tx, privilege string, t *table) error {
	for _, who := range []schema.GUID{c.user, c.caller} {
		if r := c.rightsOf(tx, who); !r.has(privilege) {
			return errMissing("user", who, c.user, r, privilege, t)
		}
		if c.user == c.caller {
			break
		}
	}
	return nil
}

// rightsOf collects a user's rights once a call.
func (c *call) rightsOf(tx *tx, user schema.GUID) *rights {
	if c.rights == nil {
		c.rights = map[schema.GUID]*rights{}
	}
	if c.rights[user] == nil {
		c.rights[user] = tx.rightsOf(&c.srv.opts, "systemuser", user)
	}
	return c.rights[user]
}

// errMissing is PrivilegeDenied with the service's own text (section 1.8).
func errMissing(kind string, id, caller schema.GUID, r *rights, privilege string, t *table) *apiError {
	typ := 8
	if kind == "team" {
		typ = 9
	}
	code, name, entity := 0, "", "none"
	if t != nil {
		code, name, entity = t.ObjectTypeCode, or(t.DisplayName, title(t)), t.LogicalName
	}
	return errorf(http.StatusForbidden, "0x80040220", "Principal %s (Id=%s, type=%d, roleCount=%d, privilegeCount=%d, accessMode='4 Non-interactive', MetadataCachePrivilegesCount=4711, businessUnitId=%s), is missing %s privilege (Id=%s) on OTC=%d for entity '%s' (LocalizedName='%s'). context.Caller=%s. Consider adding missed privilege to one of the principal (user/team) roles.",
		kind, id, typ, r.roles, len(r.patterns), BusinessUnitID, privilege, metadataID("privilege", privilege), code, entity, name, caller)
}

// mayBind checks the rights that the lookups of a write need: Append on the row's
// table and AppendTo on the target's, and Assign for another owner (section 14.4).
func (w *writer) mayBind(rec *record) error {
	if w.c.srv.opts.RolePrivileges == nil || w.c.unchecked {
		return nil
	}
	for i := range rec.binds {
		b := &rec.binds[i]
		if b.key.t == nil {
			continue
		}
		if b.rel.col == rec.t.owner {
			if b.key.key == nil && b.key.id == w.c.user {
				continue
			}
			if err := w.c.may(w.tx, "Assign", rec.t); err != nil {
				return err
			}
			continue
		}
		if err := w.c.may(w.tx, "Append", rec.t); err != nil {
			return err
		}
		if err := w.c.may(w.tx, "AppendTo", b.key.t); err != nil {
			return err
		}
	}
	if c := rec.t.overriddenCreatedOn; c != nil && rec.sets(c) {
		return w.c.mayPrivilege(w.tx, "prvOverrideCreatedOnCreatedBy", rec.t)
	}
	return nil
}

// ownerMay refuses an owner that may not read the table (section 14.4).
func (w *writer) ownerMay(v value, t *table) error {
	if w.c.srv.opts.RolePrivileges == nil || w.c.unchecked || v.guid == w.c.user {
		return nil
	}
	r := w.tx.rightsOf(&w.c.srv.opts, v.target.LogicalName, v.guid)
	if r.roles == 0 {
		return errorf(http.StatusForbidden, "0x80040231", "Target user or team does not hold required privileges.")
	}
	if privilege := t.privilege("Read"); !r.has(privilege) {
		kind := "user"
		if v.target.LogicalName == "team" {
			kind = "team"
		}
		return errMissing(kind, v.guid, w.c.user, r, privilege, t)
	}
	return nil
}

// maxBypassSteps is the organisation's BypassBusinessLogicExecutionStepIdsLimit.
const maxBypassSteps = 3

// bypassesPlugins reports whether a request skips custom synchronous plug-ins; that it
// may has been checked (section 9).
func (c *call) bypassesPlugins() bool {
	return strings.Contains(c.header.Get("MSCRM.BypassBusinessLogicExecution"), "CustomSync") || strings.EqualFold(c.header.Get("MSCRM.BypassCustomPluginExecution"), "true")
}

// mayCall checks what a request needs before it runs: Read for a query, and the
// privileges of its optional headers (section 9).
func (c *call) mayCall(sh shape) error {
	if ids := c.header.Get("MSCRM.BypassBusinessLogicExecutionStepIds"); strings.Count(ids, ",") >= maxBypassSteps {
		return errorf(http.StatusBadRequest, "0x80040203", "MSCRM.BypassBusinessLogicExecutionStepIds names %d steps; the organization allows %d.", 1+strings.Count(ids, ","), maxBypassSteps)
	}
	if c.srv.opts.RolePrivileges == nil {
		return nil
	}
	return c.view(func(tx *tx) error {
		for header, privilege := range map[string]string{"MSCRM.BypassBusinessLogicExecution": "prvBypassCustomBusinessLogic",
			"MSCRM.BypassBusinessLogicExecutionStepIds": "prvBypassCustomBusinessLogic", "MSCRM.BypassCustomPluginExecution": "prvBypassCustomPlugins"} {
			if c.header.Get(header) != "" {
				if err := c.mayPrivilege(tx, privilege, nil); err != nil {
					return err
				}
			}
		}
		if c.user != c.caller && !matchAny(c.rightsOf(tx, c.caller).direct, "prvActOnBehalfOfAnotherUser") {
			return errMissing("user", c.caller, c.caller, c.rightsOf(tx, c.caller), "prvActOnBehalfOfAnotherUser", nil)
		}
		if c.method == http.MethodGet && c.table != nil && sh != shapeBoundRow && sh != shapeBoundSet && c.table.intersect == nil {
			return c.may(tx, "Read", c.table)
		}
		return nil
	})
}

// applicationUser finds the user that a token of the emulator's own token endpoint
// belongs to: emulator-<client id>, by systemuser.applicationid (section 2).
func (c *call) applicationUser() error {
	t := c.srv.model.byName["systemuser"]
	client, ours := strings.CutPrefix(c.token, tokenPrefix)
	id, err := schema.ParseGUID(client)
	if t == nil || !ours || err != nil || t.byName["applicationid"] == nil {
		return nil
	}
	col := t.byName["applicationid"]
	found := false
	_ = c.view(func(tx *tx) error {
		is := func(r row) bool {
			v := r.value(col)
			return v.guid == id || v.text != "" && strings.EqualFold(v.text, client)
		}
		if known, ok := c.srv.users.Load(c.token); ok {
			if r, there := tx.row(t, known.(schema.GUID)); there && is(r) {
				found, c.user, c.caller = true, r.id, r.id
				return nil
			}
		}
		tx.scan(t, schema.GUID{}, func(r row) bool {
			if found = is(r); found {
				c.user, c.caller = r.id, r.id
				c.srv.users.Store(c.token, r.id)
			}
			return !found
		})
		return nil
	})
	if !found && c.srv.opts.RolePrivileges != nil {
		return errorf(http.StatusForbidden, "0x80072560", "The user is not a member of the organization.")
	}
	return c.enabled()
}

// enabled refuses an acting user that is disabled (section 1.8).
func (c *call) enabled() error {
	t := c.srv.model.byName["systemuser"]
	if t == nil || t.byName["isdisabled"] == nil {
		return nil
	}
	return c.view(func(tx *tx) error {
		if r, ok := tx.row(t, c.user); ok && r.value(t.byName["isdisabled"]).n == 1 {
			return errorf(http.StatusForbidden, "0x80040225", "The specified user (Id = %s) is either disabled or is not a member of any business unit.", c.user)
		}
		return nil
	})
}

// tokenPrefix begins every token of the emulator's token endpoint.
const tokenPrefix = "emulator-"
