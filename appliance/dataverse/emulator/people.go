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

// seedRoles makes the roles of Options.RolePrivileges in the root business unit and
// gives the first user the administrator's.
func (w *writer) seedRoles() error {
	m := w.tx.s.model
	if w.c.srv.opts.RolePrivileges == nil {
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
	if w.c.srv.opts.RolePrivileges == nil || w.unchecked {
		return nil
	}
	m := w.tx.s.model
	switch t.LogicalName {
	case "businessunit":
		name := value{}
		if c := t.byName["name"]; c != nil {
			name = vals[c.idx]
		}
		if err := w.makeRoles(id); err != nil {
			return err
		}
		team := m.byName["team"]
		if team == nil {
			return nil
		}
		r := firstRow{"team", metadataID("team", id.String()), map[string]value{"name": name, "teamtype": intValue(0), "isdefault": boolValue(true)}, map[string]schema.GUID{"businessunitid": id}}
		fresh := make([]value, len(team.cols))
		for _, a := range r.record(team).set {
			fresh[a.col.idx] = a.v
		}
		w.stamp(team, fresh)
		return w.tx.insert(team, r.id, fresh)
	}
	return nil
}

// moved drops the roles of a user or team whose business unit changes (14.3).
func (w *writer) moved(t *table, old row, vals []value) {
	nav := map[string]string{"systemuser": "systemuserroles_association", "team": "teamroles_association"}[t.LogicalName]
	unit := t.byName["businessunitid"]
	if nav == "" || unit == nil || old.value(unit).isNull() || old.value(unit).guid == vals[unit.idx].guid {
		return
	}
	end := t.nn[nav]
	for _, role := range w.tx.through(end, old.id) {
		w.tx.unlink(end, old.id, role)
	}
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
