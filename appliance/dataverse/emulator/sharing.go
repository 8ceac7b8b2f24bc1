package emulator

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"

	"dvmigrate/appliance/dataverse/schema"
)

// Sharing (section 3.8). Shares are rows of principalobjectaccess, as in Dataverse.
// Privileges are checked at global depth, so that a share lets nobody do more.

// withShares adds to tables that of shares, which every environment has: when a row is
// first shared, or from the start where the rows are kept in a file.
func withShares(tables []*schema.Table) []*schema.Table {
	if slices.ContainsFunc(tables, func(t *schema.Table) bool { return t.LogicalName == sharesTable }) {
		return tables
	}
	t := &schema.Table{LogicalName: sharesTable, SchemaName: "PrincipalObjectAccess", EntitySet: "principalobjectaccessset", PrimaryID: "principalobjectaccessid",
		Kind: schema.Standard, Ownership: schema.NotOwned}
	for _, c := range []struct {
		name string
		typ  schema.ColumnType
	}{{"principalobjectaccessid", schema.UniqueID}, {"objectid", schema.UniqueID}, {"objecttypecode", schema.Text},
		{"principalid", schema.UniqueID}, {"principaltypecode", schema.Text}, {"accessrightsmask", schema.Integer}} {
		t.Columns = append(t.Columns, &schema.Column{LogicalName: c.name, Type: c.typ, MaxLength: 64, NoCreate: true, NoUpdate: true})
	}
	return append(slices.Clone(tables), t)
}

const sharesTable = "principalobjectaccess"

// shareOf finds the share of a row with a principal.
func (tx *tx) shareOf(object, principal row) (row, bool) {
	t := tx.s.model.byName[sharesTable]
	if t == nil {
		return row{}, false
	}
	return tx.row(t, shareID(object, principal))
}

// accessRights are the members of AccessRights in the order they are answered.
var accessRights = []struct {
	name string
	bit  int64
}{{"ReadAccess", 1}, {"WriteAccess", 2}, {"AppendAccess", 4}, {"AppendToAccess", 16}, {"CreateAccess", 32}, {"DeleteAccess", 65536}, {"ShareAccess", 262144}, {"AssignAccess", 524288}}

// parseAccess reads a mask such as "ReadAccess, WriteAccess"; "None" is none.
func parseAccess(text string) (mask int64, err error) {
	for name := range strings.SplitSeq(text, ",") {
		if name = strings.TrimSpace(name); name == "None" {
			continue
		}
		i := slices.IndexFunc(accessRights, func(r struct {
			name string
			bit  int64
		}) bool {
			return r.name == name
		})
		if i < 0 {
			return 0, errPayload("", "Microsoft.OData.ODataException: Cannot convert the literal '"+clip(name)+"' to the expected type 'Microsoft.Dynamics.CRM.AccessRights'.")
		}
		mask |= accessRights[i].bit
	}
	return mask, nil
}

func formatAccess(mask int64) string {
	var names []string
	for _, r := range accessRights {
		if mask&r.bit != 0 {
			names = append(names, r.name)
		}
	}
	return or(strings.Join(names, ", "), "None")
}

// wireRef is a row as the parameter of an action names it: by @odata.id, or by its
// type and primary key.
type wireRef map[string]json.RawMessage

func (r wireRef) text(name string) string {
	var s string
	_ = json.Unmarshal(r[name], &s)
	return s
}

// reference finds the key of the row that the parameter names.
func (c *call) reference(r wireRef, parameter string) (rowKey, error) {
	if ref := r.text("@odata.id"); ref != "" {
		return c.parseRef(ref)
	}
	t := c.srv.model.byName[wireType(r.text("@odata.type"))]
	if t == nil {
		return rowKey{}, errPayload("", "Microsoft.OData.ODataException: The parameter '"+parameter+"' has no '@odata.type' annotation that names a table, and its type cannot be inferred.")
	}
	text := r.text(t.PrimaryID)
	if text == "" && t.isPrincipal() {
		text = r.text("ownerid")
	}
	id, err := schema.ParseGUID(text)
	if err != nil {
		return rowKey{}, errPayload(t.EntitySet, "Microsoft.OData.ODataException: The parameter '"+parameter+"' has no '"+t.PrimaryID+"'.")
	}
	return rowKey{t: t, id: id}, nil
}

// wireAccess is the body of GrantAccess, ModifyAccess and RevokeAccess.
type wireAccess struct {
	Target, Revokee wireRef
	PrincipalAccess struct {
		Principal  wireRef
		AccessMask string
	}
}

// shareID is the id of the share of a row with a principal.
func shareID(object, principal row) schema.GUID {
	return metadataID("share", object.t.LogicalName, object.id.String(), principal.id.String())
}

// share answers the three actions: GrantAccess adds to what the principal has,
// ModifyAccess replaces it, RevokeAccess ends it.
func share(action string) func(*call) error {
	return func(c *call) error {
		var body wireAccess
		if err := c.wire(&body); err != nil {
			return err
		}
		principal, mask := body.PrincipalAccess.Principal, int64(0)
		parameter := "PrincipalAccess"
		var err error
		if action == "RevokeAccess" {
			principal, parameter = body.Revokee, "Revokee"
		} else if mask, err = parseAccess(body.PrincipalAccess.AccessMask); err != nil {
			return err
		}
		if c.srv.model.byName[sharesTable] == nil {
			if err := c.alter(func(a *alteration) error { a.Tables = withShares(a.Tables); return nil }); err != nil {
				return err
			}
		}
		target, err := c.reference(body.Target, "Target")
		if err != nil {
			return err
		}
		who, err := c.reference(principal, parameter)
		if err != nil {
			return err
		}
		return c.change(func(w *writer) error { return w.share(action, target, who, mask) })
	}
}

func (w *writer) share(action string, target, who rowKey, mask int64) error {
	object, principal, err := w.c.shared(w.tx, target, who)
	if err != nil {
		return err
	}
	if err := w.c.may(w.tx, "Share", object.t); err != nil {
		return err
	}
	t := w.tx.s.model.byName[sharesTable]
	id := shareID(object, principal)
	old, there := w.tx.shareOf(object, principal)
	if action == "GrantAccess" && there {
		mask |= old.value(t.byName["accessrightsmask"]).n
	}
	switch {
	case mask != 0:
		err = w.tx.putRow(t, id, map[string]value{"objectid": guidValue(object.id), "objecttypecode": textValue(object.t.LogicalName),
			"principalid": guidValue(principal.id), "principaltypecode": textValue(principal.t.LogicalName), "accessrightsmask": intValue(mask)})
	case there:
		w.tx.remove(old)
	}
	if err != nil {
		return err
	}
	return w.c.noContent()
}

// shared finds a row that can be shared and who it is shared with.
func (c *call) shared(tx *tx, target, who rowKey) (object, principal row, err error) {
	if object, err = tx.find(target); err != nil {
		return object, principal, err
	}
	if object.t.owner == nil {
		return object, principal, errorf(http.StatusBadRequest, "0x80040800", "The 'GrantAccess' method does not support entities of type '%s'. MessageProcessorCache returned MessageProcessor.Empty.", object.t.LogicalName)
	}
	if principal, err = tx.find(who); err == nil && !principal.t.isPrincipal() {
		err = errorf(http.StatusBadRequest, "0x80040203", "Invalid principal type: %s.", principal.t.LogicalName)
	}
	return object, principal, err
}

// retrievePrincipalAccess answers what a user or team may do with a row: all that its
// roles say, everything where roles are not checked, and what is shared with it.
func (c *call) retrievePrincipalAccess() error {
	if !c.segs[0].hasKey || !c.table.isPrincipal() {
		return c.errNoOperation()
	}
	target, err := c.targetOf(c.segs[1])
	if err != nil {
		return err
	}
	mask := int64(0)
	err = c.view(func(tx *tx) error {
		principal, err := c.findRow(tx, c.table, c.segs[0].key)
		if err != nil {
			return err
		}
		object, err := tx.find(target)
		if err != nil {
			return err
		}
		held := &rights{patterns: []string{"*"}}
		if c.srv.opts.RolePrivileges != nil {
			held = tx.rightsOf(&c.srv.opts, principal.t.LogicalName, principal.id)
		}
		for _, r := range accessRights {
			if held.has(object.t.privilege(strings.TrimSuffix(r.name, "Access"))) {
				mask |= r.bit
			}
		}
		if r, ok := tx.shareOf(object, principal); ok {
			mask |= r.value(r.t.byName["accessrightsmask"]).n
		}
		return nil
	})
	if err != nil {
		return err
	}
	return c.answerType("RetrievePrincipalAccessResponse", object{{"AccessRights", formatAccess(mask)}})
}

// retrieveShares answers RetrieveSharedPrincipalsAndAccess: who a row is shared with.
func (c *call) retrieveShares() error {
	target, err := c.targetOf(c.segs[0])
	if err != nil {
		return err
	}
	shares := []object{}
	err = c.view(func(tx *tx) error {
		of, err := tx.find(target)
		if err != nil {
			return err
		}
		t := c.srv.model.byName[sharesTable]
		if t == nil {
			return nil
		}
		tx.scan(t, schema.GUID{}, func(r row) bool {
			if r.value(t.byName["objectid"]).guid == of.id && r.value(t.byName["objecttypecode"]).text == of.t.LogicalName {
				kind := r.value(t.byName["principaltypecode"]).text
				shares = append(shares, object{{"AccessMask", formatAccess(r.value(t.byName["accessrightsmask"]).n)},
					{"Principal", object{{"@odata.type", "#" + namespace + kind}, {kind + "id", r.value(t.byName["principalid"]).guid}, {"ownerid", r.value(t.byName["principalid"]).guid}}}})
			}
			return true
		})
		return nil
	})
	if err != nil {
		return err
	}
	return c.answerType("RetrieveSharedPrincipalsAndAccessResponse", object{{"PrincipalAccesses", shares}})
}
