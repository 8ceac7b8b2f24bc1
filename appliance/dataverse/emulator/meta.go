package emulator

import (
	"net/http"
	"slices"
	"strings"

	"dvmigrate/appliance/dataverse/schema"
)

// Version is the release that RetrieveVersion answers.
const Version = "9.2.24051.00153"

// makeFunctions lists the unbound functions, by name, and those bound to a set or
// row, by name without the namespace. Sets that every environment has are
// answered like functions where the schema does not list their tables.
func makeFunctions() (unbound, bound map[string]func(*call) error) {
	unbound = map[string]func(*call) error{
		"WhoAmI":                            (*call).whoAmI,
		"RetrieveVersion":                   (*call).retrieveVersion,
		"RetrieveTotalRecordCount":          (*call).retrieveTotalRecordCount,
		"RetrieveCurrentOrganization":       (*call).retrieveCurrentOrganization,
		"RetrieveMetadataChanges":           (*call).retrieveMetadataChanges,
		"sdkmessages":                       (*call).getMessages,
		"sdkmessagefilters":                 (*call).getMessageFilters,
		"sdkmessageprocessingsteps":         (*call).getSteps,
		"CalculateRollupField":              (*call).calculateRollupField,
		"RetrieveDuplicates":                (*call).retrieveDuplicates,
		"RetrieveSharedPrincipalsAndAccess": (*call).retrieveShares,
		"RetrieveRolePrivilegesRole":        (*call).retrieveRolePrivileges,
		"RetrieveDependenciesForDelete":     (*call).retrieveDependencies,
		"organizations":                     (*call).getOrganizations,
		"solutions":                         (*call).getSolutions,
		"publishers":                        (*call).getPublishers,
	}
	bound = map[string]func(*call) error{
		"RetrieveUserPrivileges":  (*call).retrieveUserPrivileges,
		"RetrievePrincipalAccess": (*call).retrievePrincipalAccess,
	}
	return unbound, bound
}

// getServiceDocument answers the list of entity sets (section 1.1).
func (c *call) getServiceDocument() error {
	sets := make([]object, 0, len(c.srv.model.tables))
	add := func(name string) {
		if name != "" {
			sets = append(sets, object{{"name", name}, {"kind", "EntitySet"}, {"url", name}})
		}
	}
	for _, t := range c.srv.model.tables {
		add(t.EntitySet)
	}
	for _, s := range c.srv.model.made() {
		add(s.set)
	}
	for _, s := range definitionSets {
		add(s.name)
	}
	body := appendString([]byte(`{"@odata.context":`), c.api+"/$metadata")
	body = append(body, `,"value":`...)
	return c.json(http.StatusOK, append(appendAny(body, sets), '}'))
}

// answerType answers a function's complex type.
func (c *call) answerType(typ string, o object) error {
	return c.json(http.StatusOK, appendObject(nil, append(object{{"@odata.context", c.api + "/$metadata#" + namespace + typ}}, o...)))
}

func (c *call) whoAmI() error {
	unit := BusinessUnitID
	if t := c.srv.model.byName["systemuser"]; t != nil && t.byName["businessunitid"] != nil {
		_ = c.view(func(tx *tx) error {
			if r, ok := tx.row(t, c.user); ok && !r.value(t.byName["businessunitid"]).isNull() {
				unit = r.value(t.byName["businessunitid"]).guid
			}
			return nil
		})
	}
	return c.answerType("WhoAmIResponse", object{{"BusinessUnitId", unit}, {"UserId", c.user}, {"OrganizationId", OrganizationID}})
}

func (c *call) retrieveVersion() error {
	return c.answerType("RetrieveVersionResponse", object{{"Version", Version}})
}

func (c *call) retrieveCurrentOrganization() error {
	org := c.api[:strings.Index(c.api, apiPrefix)]
	endpoint := func(name, path string) object { return object{{"Key", name}, {"Value", org + path}} }
	return c.answerType("RetrieveCurrentOrganizationResponse", object{{"Detail", object{
		{"OrganizationId", OrganizationID}, {"FriendlyName", "Emulator"}, {"OrganizationVersion", Version},
		{"EnvironmentId", OrganizationID.String()}, {"DatacenterId", OrganizationID}, {"Geo", "EMEA"}, {"TenantId", OrganizationID.String()},
		{"UrlName", "emulator"}, {"UniqueName", "emulator"}, {"State", "Enabled"}, {"OrganizationType", "Customer"},
		{"Endpoints", object{{"Count", 1}, {"IsReadOnly", false}, {"Keys", []string{"WebApplication"}}, {"Values", []string{org + "/"}},
			{"@odata.type", "#" + namespace + "EndpointCollection"}}},
		{"EndpointList", []object{endpoint("WebApplication", "/")}},
	}}})
}

// parameter reads a function's parameter, from between the brackets or from the
// alias that stands there (section 1.5).
func (c *call) parameter(seg segment, name string) (literal, bool, error) {
	for _, part := range splitTop(seg.key, ',') {
		key, text, ok := strings.Cut(part, "=")
		if !ok || strings.TrimSpace(key) != name {
			continue
		}
		aliases := map[string]string{}
		for _, p := range c.query {
			aliases[p.name] = p.value
		}
		p := &parser{lex: lexer{src: text}, aliases: aliases}
		if err := p.advance(); err != nil {
			return literal{}, false, err
		}
		lit, err := p.literal()
		return lit, true, err
	}
	return literal{}, false, nil
}

// retrieveTotalRecordCount answers the counts of section 10.4; the emulator's are
// not 24 hours old.
func (c *call) retrieveTotalRecordCount() error {
	names, given, err := c.parameter(c.segs[0], "EntityNames")
	if err != nil {
		return err
	}
	if !given || names.list == nil {
		return errorf(http.StatusBadRequest, "0x80040203", "Required field 'EntityNames' is missing for unbound function 'RetrieveTotalRecordCount'.")
	}
	keys, counts := []string{}, []int{}
	err = c.view(func(tx *tx) error {
		for _, l := range names.list {
			t := c.srv.model.byName[l.text]
			if t == nil {
				return errNoTable(l.text)
			}
			keys, counts = append(keys, l.text), append(counts, tx.count(t))
		}
		return nil
	})
	if err != nil {
		return err
	}
	return c.answerType("RetrieveTotalRecordCountResponse", object{{"EntityRecordCountCollection",
		object{{"Count", len(keys)}, {"IsReadOnly", false}, {"Keys", keys}, {"Values", counts}}}})
}

func errNoTable(name string) *apiError {
	return errorf(http.StatusBadRequest, "0x80041102", "The entity with a name = '%s' was not found in the MetadataCache.", name)
}

// retrieveUserPrivileges answers what the user may do: everything, where privileges
// are off (section 12.8).
func (c *call) retrieveUserPrivileges() error {
	if c.table.LogicalName != "systemuser" {
		return errSegment(c.segs[1].name)
	}
	held := &rights{patterns: []string{"*"}}
	if c.srv.opts.RolePrivileges != nil {
		err := c.view(func(tx *tx) error {
			r, err := c.findRow(tx, c.table, c.segs[0].key)
			if err == nil {
				held = tx.rightsOf(&c.srv.opts, "systemuser", r.id)
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	return c.answerType("RetrieveUserPrivilegesResponse", object{{"RolePrivileges", c.privilegesOf(held)}})
}

// retrieveRolePrivileges answers what a role holds. What the emulator's other roles hold
// is Options.RolePrivileges's to say: without it privileges are not checked.
func (c *call) retrieveRolePrivileges() error {
	id, given, err := c.parameter(c.segs[0], "RoleId")
	if err != nil {
		return err
	}
	role, err := schema.ParseGUID(id.text)
	if !given || err != nil {
		return errorf(http.StatusBadRequest, "0x80040203", "Required field 'RoleId' is missing for unbound function 'RetrieveRolePrivilegesRole'.")
	}
	held := &rights{}
	t := c.srv.model.byName["role"]
	if t == nil {
		return errNoTable("role")
	}
	err = c.view(func(tx *tx) error {
		r, ok := tx.row(t, role)
		if !ok {
			return errNoRow(t, role)
		}
		held.add(&c.srv.opts, r.value(t.byName["name"]).text)
		return nil
	})
	if err != nil {
		return err
	}
	return c.answerType("RetrieveRolePrivilegesRoleResponse", object{{"RolePrivileges", c.privilegesOf(held)}})
}

// privilegesOf lists the privileges among rights, each at global depth.
func (c *call) privilegesOf(held *rights) []object {
	privileges := []object{}
	seen := map[string]bool{}
	add := func(name string) {
		if seen[name] || !held.has(name) {
			return
		}
		seen[name] = true
		privileges = append(privileges, object{{"Depth", "Global"}, {"PrivilegeId", metadataID("privilege", name)},
			{"BusinessUnitId", BusinessUnitID}, {"PrivilegeName", name}})
	}
	for _, t := range c.srv.model.tables {
		if t.Kind == schema.Intersect {
			continue
		}
		for _, right := range []string{"Create", "Read", "Write", "Delete", "Assign", "Share", "Append", "AppendTo"} {
			add(t.privilege(right))
		}
	}
	for _, name := range []string{"prvBypassCustomBusinessLogic", "prvBypassCustomPlugins", "prvOverrideCreatedOnCreatedBy", "prvActOnBehalfOfAnotherUser"} {
		add(name)
	}
	return privileges
}

// messages are the messages that a table is registered for in sdkmessagefilters:
// the single ones always, the bulk ones by Table.Bulk (section 6.2).
func messages(t *table) []string {
	if t.Kind == schema.Intersect {
		return []string{"Retrieve", "RetrieveMultiple", "Associate", "Disassociate"}
	}
	out := []string{"Create", "Retrieve", "RetrieveMultiple", "Update", "Delete", "Associate", "Disassociate"}
	for _, b := range []struct{ action, message string }{
		{"create", "CreateMultiple"}, {"update", "UpdateMultiple"}, {"upsert", "UpsertMultiple"}, {"delete", "DeleteMultiple"},
	} {
		if t.canBulk(b.action) {
			out = append(out, b.message)
		}
	}
	return out
}

// getMessageFilters answers the query of section 6.2: one row a table and message.
func (c *call) getMessageFilters() error {
	var rows []object
	for _, t := range c.srv.model.tables {
		for _, m := range messages(t) {
			id := metadataID("sdkmessage", m)
			rows = append(rows, object{
				{"sdkmessagefilterid", metadataID("sdkmessagefilter", t.LogicalName, m)},
				{"primaryobjecttypecode", t.LogicalName},
				{"secondaryobjecttypecode", "none"},
				{"iscustomprocessingstepallowed", true},
				{"_sdkmessageid_value", id},
				{"sdkmessageid", object{{"sdkmessageid", id}, {"name", m}}},
				{"sdkmessagefilterid_sdkmessageprocessingstep", []object{}},
			})
		}
	}
	return c.answerRows("sdkmessagefilter", "sdkmessagefilterid", rows)
}

// getMessages answers the messages that the filters name.
func (c *call) getMessages() error {
	var rows []object
	seen := map[string]bool{}
	for _, t := range c.srv.model.tables {
		for _, m := range messages(t) {
			if !seen[m] {
				seen[m] = true
				rows = append(rows, object{{"sdkmessageid", metadataID("sdkmessage", m)}, {"name", m}, {"categoryname", nil}, {"isprivate", false},
					{"isreadonly", false}, {"isactive", true}, {"isvalidforexecuteasync", true}, {"autotransact", true}, {"template", false}})
			}
		}
	}
	return c.answerRows("sdkmessage", "sdkmessageid", rows)
}

// getSteps answers the plug-ins that are registered: none.
func (c *call) getSteps() error {
	return c.answerRows("sdkmessageprocessingstep", "sdkmessageprocessingstepid", nil)
}

// getOrganizations answers the environment's one organisation (section 12.8).
func (c *call) getOrganizations() error {
	return c.answerRows("organization", "organizationid", []object{{
		{"organizationid", OrganizationID}, {"name", "emulator"}, {"languagecode", c.srv.model.texts.language}, {"_basecurrencyid_value", CurrencyID},
		{"isauditenabled", false}, {"maxuploadfilesize", 5242880}, {"blockedattachments", blockedExtensions},
		{"expirechangetrackingindays", 7}, {"plugintracelogsetting", 0},
	}})
}

// getSolutions and getPublishers answer what every environment has of them (12.8).
func (c *call) getSolutions() error {
	rows := []object{}
	for i, name := range []string{"Active", "Default"} {
		rows = append(rows, object{{"solutionid", [...]string{activeSolutionID, defaultSolutionID}[i]}, {"uniquename", name}, {"friendlyname", name + " Solution"},
			{"version", "1.0"}, {"ismanaged", false}, {"isvisible", name == "Default"}, {"_publisherid_value", publisherID}})
	}
	return c.answerRows("solution", "solutionid", rows)
}

func (c *call) getPublishers() error {
	return c.answerRows("publisher", "publisherid", []object{{{"publisherid", publisherID}, {"uniquename", "DefaultPublisheremulator"},
		{"friendlyname", "Default Publisher for emulator"}, {"customizationprefix", "new"}, {"customizationoptionvalueprefix", 10000}, {"isreadonly", false}}})
}

// The solutions and the publisher of a new environment, by the ids that they have in
// all of them.
const (
	activeSolutionID  = "fd140aae-4df4-11dd-bd17-0019b9312238"
	defaultSolutionID = "fd140aaf-4df4-11dd-bd17-0019b9312238"
	publisherID       = "d21aab71-79e7-11dd-8874-00188b01e34f"
)

// answerRows answers a query of rows that are made up rather than stored. Objects
// and lists of objects in them are what $expand adds.
func (c *call) answerRows(typ, key string, rows []object) error {
	opts, err := parseOptions(c.query)
	if err != nil {
		return err
	}
	if opts.order != nil || opts.apply != "" || opts.delta != "" {
		return errNotImplemented("RetrieveMultiple of " + typ + " with $orderby, $apply or $deltatoken")
	}
	kept := []object{}
	for _, r := range rows {
		if len(kept) == opts.top {
			break
		}
		if opts.filter != nil {
			ok, err := r.holds(opts.filter, typ)
			if err != nil {
				return err
			}
			if !ok {
				continue
			}
		}
		shown, err := r.shape(typ, key, opts)
		if err != nil {
			return err
		}
		kept = append(kept, shown)
	}
	body := c.contextOf(c.segs[0].name + opts.context())
	if opts.count {
		body = appendAny(append(body, `,"@odata.count":`...), min(len(kept), maxCount))
	}
	return c.json(http.StatusOK, append(appendAny(append(body, `,"value":`...), kept), '}'))
}

// shape keeps of a made-up row its key and what is selected and expanded.
func (o object) shape(typ, key string, opts options) (object, error) {
	out := object{{"@odata.etag", etag(1)}}
	for _, f := range o {
		if isParent(f.value) {
			continue
		}
		if opts.columns == nil || f.name == key || slices.Contains(opts.columns, f.name) {
			out = append(out, f)
		}
	}
	for _, name := range opts.columns {
		if _, ok := o.get(name); !ok {
			return nil, errURL("Could not find a property named '%s' on type '%s%s'.", name, namespace, typ)
		}
	}
	for _, e := range opts.expand {
		v, _ := o.get(e.nav)
		if !isParent(v) {
			return nil, errURL("Could not find a property named '%s' on type '%s%s'.", e.nav, namespace, typ)
		}
		if parent, ok := v.(object); ok {
			inner, err := parent.shape("sdkmessage", e.nav, e.opts)
			if err != nil {
				return nil, err
			}
			v = inner
		}
		out = append(out, field{e.nav, v})
	}
	return out, nil
}

// context is what follows the set in @odata.context, as of a stored row.
func (o options) context() string {
	parts := slices.Clone(o.columns)
	for _, e := range o.expand {
		parts = append(parts, e.nav+or(e.opts.context(), "()"))
	}
	if len(parts) == 0 {
		return ""
	}
	return "(" + strings.Join(parts, ",") + ")"
}

func isParent(v any) bool {
	switch v.(type) {
	case object, []object:
		return true
	}
	return false
}
