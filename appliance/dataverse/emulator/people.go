package emulator

import (
	"encoding/json"
	"maps"
	"net/http"
	"slices"

	"dvmigrate/appliance/dataverse/schema"
)

// roleID is the id of a role's copy in a business unit.
func roleID(name string, unit schema.GUID) schema.GUID {
	return metadataID("role", name, unit.String())
}

// seedRoles makes the roles of Options.RolePrivileges, without them some that every
// environment has, in the root business unit and gives the first user the administrator's.
func (w *writer) seedRoles() error {
	m := w.tx.s.model
	if m.byName["role"] == nil {
		return nil
	}
	if err := w.makeRoles(BusinessUnitID); err != nil {
		return err
	}
	end := m.end("systemuser", "systemuserroles_association")
	if end.m == nil || !w.tx.exists(m.byName["systemuser"], UserID) {
		return nil
	}
	return w.tx.link(end, UserID, roleID(administrator, BusinessUnitID))
}

// makeRoles makes a business unit's copies of all roles (section 14.2).
func (w *writer) makeRoles(unit schema.GUID) error {
	t := w.tx.s.model.byName["role"]
	names := append([]string{administrator}, slices.Sorted(maps.Keys(w.c.srv.opts.RolePrivileges))...)
	if w.c.srv.opts.RolePrivileges == nil {
		names = append(names, "Basic User", "System Customizer")
	}
	for _, name := range slices.Compact(names) {
		id := roleID(name, unit)
		if w.tx.exists(t, id) {
			continue
		}
		r := firstRow{"role", id, map[string]value{"name": textValue(name)}, map[string]schema.GUID{"businessunitid": unit, "parentrootroleid": roleID(name, BusinessUnitID)}}
		vals := make([]value, len(t.cols))
		for _, a := range r.record(t).set {
			vals[a.col.idx] = a.v
		}
		w.stamp(t, vals)
		if err := w.tx.insert(t, id, vals); err != nil {
			return err
		}
	}
	return nil
}

// created does what follows from a new row of a table of people: a business unit has
// its default team and role copies, a user is in its unit's default team (14.3).
func (w *writer) created(t *table, id schema.GUID, vals []value) error {
	if w.unchecked {
		return nil
	}
	switch t.LogicalName {
	case "businessunit":
		name := value{}
		if c := t.byName["name"]; c != nil {
			name = vals[c.idx]
		}
		if w.tx.s.model.byName["role"] != nil {
			if err := w.makeRoles(id); err != nil {
				return err
			}
		}
		return w.makeDefaultTeam(id, name)
	case "systemuser":
		if c := t.byName["businessunitid"]; c != nil {
			return w.join(id, vals[c.idx].guid, true)
		}
	}
	return nil
}

func (w *writer) makeDefaultTeam(unit schema.GUID, name value) error {
	team := w.tx.s.model.byName["team"]
	if team == nil || team.byName["isdefault"] == nil {
		return nil
	}
	r := firstRow{"team", defaultTeam(unit), map[string]value{"name": name, "teamtype": intValue(0), "isdefault": boolValue(true)}, map[string]schema.GUID{"businessunitid": unit}}
	vals := make([]value, len(team.cols))
	for _, a := range r.record(team).set {
		vals[a.col.idx] = a.v
	}
	w.stamp(team, vals)
	return w.tx.insert(team, r.id, vals)
}

// defaultTeam is the id of a business unit's team.
func defaultTeam(unit schema.GUID) schema.GUID {
	if unit == BusinessUnitID {
		return TeamID
	}
	return metadataID("team", unit.String())
}

// join makes a user a member of a business unit's default team, or ends that.
func (w *writer) join(user, unit schema.GUID, in bool) error {
	m := w.tx.s.model
	end, team := m.end("systemuser", "teammembership_association"), defaultTeam(unit)
	if end.m == nil || m.byName["team"] == nil || !w.tx.exists(m.byName["team"], team) {
		return nil
	}
	there := slices.Contains(w.tx.linked(end, user), team)
	switch {
	case in && !there:
		return w.tx.link(end, user, team)
	case !in && there:
		w.tx.unlink(end, user, team)
	}
	return nil
}

// isDefaultTeam reports whether a row is a business unit's own team.
func isDefaultTeam(r row) bool {
	c := r.t.byName["isdefault"]
	return r.t.LogicalName == "team" && c != nil && r.value(c).n == 1
}

// mayBePerson checks what the service asks of a user, team or business unit to be
// written; old is the zero row for a new one (section 14).
func (w *writer) mayBePerson(t *table, old row, id schema.GUID, vals []value) error {
	at := func(name string) value {
		if c := t.byName[name]; c != nil {
			return vals[c.idx]
		}
		return value{}
	}
	if w.unchecked {
		return nil
	}
	switch t.LogicalName {
	case "systemuser":
		app := at("applicationid")
		if app.isNull() {
			return nil
		}
		if w.tx.another(t, id, func(r row) bool { return r.value(t.byName["applicationid"]) == app }) {
			return errorf(http.StatusBadRequest, "0x8004F511", "An application user with the application id %s exists already.", app)
		}
	case "team":
		if old.t != nil && isDefaultTeam(old) && !t.texts.sameKey(old.value(t.byName["name"]), at("name")) {
			return errorf(http.StatusBadRequest, "0x8004830C", "The default business unit team (TeamId = %s) cannot be renamed.", id)
		}
	case "businessunit":
		name, parent := t.byName["name"], t.byName["parentbusinessunitid"]
		if name == nil || parent == nil || at("name").isNull() {
			return nil
		}
		if w.tx.another(t, id, func(r row) bool {
			return t.texts.sameKey(r.value(name), at("name")) && r.value(parent).guid == at("parentbusinessunitid").guid
		}) {
			return errDuplicateInsert()
		}
	}
	return nil
}

// another reports whether a row but one of the id is so.
func (tx *tx) another(t *table, id schema.GUID, is func(row) bool) (found bool) {
	tx.scan(t, schema.GUID{}, func(r row) bool {
		found = r.id != id && is(r)
		return !found
	})
	return found
}

// mayGo refuses to delete a user, what is kept of a file, a default team, or a business unit with others below.
func (w *writer) mayGo(old row) error {
	switch {
	case old.t.LogicalName == "systemuser", old.t.LogicalName == attachmentsTable:
		return errorf(http.StatusBadRequest, "0x80040800", "The 'Delete' method does not support entities of type '%s'. MessageProcessorCache returned MessageProcessor.Empty.", old.t.LogicalName)
	case isDefaultTeam(old):
		return errorf(http.StatusBadRequest, "0x8004830C", "The default business unit team (TeamId = %s) cannot be deleted.", old.id)
	case old.t.LogicalName == "businessunit":
		parent := old.t.byName["parentbusinessunitid"]
		if parent != nil && w.tx.another(old.t, old.id, func(r row) bool { return r.value(parent).guid == old.id }) {
			return errorf(http.StatusBadRequest, "0x80041d61", "Business unit has a child business unit and cannot be deleted.")
		}
		if team := w.tx.s.model.byName["team"]; team != nil { // its own goes with it
			if r, ok := w.tx.row(team, defaultTeam(old.id)); ok {
				w.tx.remove(r)
			}
		}
	}
	return nil
}

// moved drops the roles of a user or team whose business unit changes, and takes a
// user from the one unit's default team into the other's (14.3).
func (w *writer) moved(t *table, old row, vals []value) error {
	nav := map[string]string{"systemuser": "systemuserroles_association", "team": "teamroles_association"}[t.LogicalName]
	unit := t.byName["businessunitid"]
	if nav == "" || unit == nil || old.value(unit).isNull() || old.value(unit).guid == vals[unit.idx].guid {
		return nil
	}
	end := t.nn[nav]
	for _, role := range w.tx.through(end, old.id) {
		w.tx.unlink(end, old.id, role)
	}
	if t.LogicalName == "team" {
		return nil
	}
	if err := w.join(old.id, old.value(unit).guid, false); err != nil {
		return err
	}
	return w.join(old.id, vals[unit.idx].guid, true)
}

// mayLink checks an association: the rights, and that a role is that of the user's or
// team's own business unit (14.2).
func (w *writer) mayLink(end linkEnd, from, to row) error {
	if err := w.c.may(w.tx, "Append", from.t); err != nil {
		return err
	}
	if err := w.c.may(w.tx, "AppendTo", to.t); err != nil {
		return err
	}
	for _, r := range []row{from, to} {
		if isDefaultTeam(r) && (from.t.LogicalName == "systemuser" || to.t.LogicalName == "systemuser") {
			return errorf(http.StatusBadRequest, "0x8004830B", "Can't add members to the default business unit team (TeamId = %s).", r.id)
		}
	}
	who, role := from, to
	if from.t.LogicalName == "role" {
		who, role = to, from
	}
	if role.t.LogicalName != "role" || who.t.LogicalName != "systemuser" && who.t.LogicalName != "team" {
		return nil
	}
	a, b := who.t.byName["businessunitid"], role.t.byName["businessunitid"]
	if a == nil || b == nil || who.value(a).isNull() || role.value(b).isNull() || who.value(a).guid == role.value(b).guid {
		return nil
	}
	if who.t.LogicalName == "team" {
		return errorf(http.StatusBadRequest, "0x8004140D", "The team belongs to a different business unit than the role.")
	}
	return errorf(http.StatusBadRequest, "0x80041409", "The user is in a different business unit than the role.")
}

// teamMembers answers AddMembersTeam and RemoveMembersTeam (section 14.3).
func teamMembers(add bool) func(*call) error {
	return func(c *call) error {
		var body struct{ Members []map[string]any }
		if c.table == nil || c.table.LogicalName != "team" || !c.segs[0].hasKey {
			return c.errNoOperation()
		}
		if err := c.wire(&body); err != nil {
			return err
		}
		end := c.table.nn["teammembership_association"]
		if end.m == nil {
			return c.errNoOperation()
		}
		return c.change(func(w *writer) error {
			team, err := c.findRow(w.tx, c.table, c.segs[0].key)
			if err != nil {
				return err
			}
			users := c.srv.model.byName["systemuser"]
			for _, m := range body.Members {
				id, err := memberID(m)
				if err != nil {
					return err
				}
				user, err := w.tx.find(rowKey{t: users, id: id})
				if err != nil {
					return err
				}
				if !add && isDefaultTeam(team) {
					return errorf(http.StatusBadRequest, "0x8004830C", "Can't remove members from the default business unit team (TeamId = %s).", team.id)
				}
				if !add {
					w.tx.unlink(end, team.id, user.id)
					continue
				}
				if err := w.mayLink(end, team, user); err != nil {
					return err
				}
				if slices.Contains(w.tx.linked(end, team.id), user.id) {
					continue
				}
				if err := w.tx.link(end, team.id, user.id); err != nil {
					return err
				}
			}
			return c.noContent()
		})
	}
}

// memberID is the user that an item of Members names.
func memberID(m map[string]any) (schema.GUID, error) {
	for _, name := range []string{"systemuserid", "ownerid"} {
		if text, ok := m[name].(string); ok {
			return schema.ParseGUID(text)
		}
	}
	text, _ := json.Marshal(m)
	return schema.GUID{}, errPayload("teams", "Microsoft.OData.ODataException: a member has no systemuserid: "+string(text))
}
