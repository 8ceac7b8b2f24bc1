package emulator

import (
	"net/http"
	"strings"
)

// makeActions lists the unbound actions, by name, and those bound to a set or row,
// by name without the namespace.
func makeActions() (unbound, bound map[string]func(*call) error) {
	unbound = map[string]func(*call) error{
		"SetAutoNumberSeed":      (*call).setAutoNumberSeed,
		"GetAutoNumberSeed":      (*call).getAutoNumberSeed,
		"GetNextAutoNumberValue": (*call).getNextAutoNumber,
		"PublishAllXml":          (*call).noContent,
		"PublishXml":             (*call).noContent,
		"BulkDelete":             (*call).bulkDelete,
		"BulkDetectDuplicates":   (*call).bulkDetectDuplicates,
		"ReactivateEntityKey":    (*call).reactivateKey,

		"Merge": (*call).merge,

		"CreateCustomerRelationships": (*call).createCustomerRelationships,
	}
	for _, name := range []string{"GrantAccess", "ModifyAccess", "RevokeAccess"} {
		unbound[name] = share(name)
	}
	for _, a := range fileActions {
		unbound[a.name] = a.post
	}
	bound = map[string]func(*call) error{"DeleteMultiple": (*call).postDeleteMultiple, "AddMembersTeam": teamMembers(true), "RemoveMembersTeam": teamMembers(false)}
	for _, a := range []bulkAction{{"CreateMultiple", "create"}, {"UpdateMultiple", "update"}, {"UpsertMultiple", "upsert"}} {
		bound[a.name] = a.post
	}
	for _, a := range closings {
		if a.name == fulfillOrder {
			bound[a.name] = a.post
		} else {
			unbound[a.name] = a.post
		}
	}
	return unbound, bound
}

// isOperation reports whether a name is an unbound function or action.
func (s *Server) isOperation(name string) bool {
	_, custom := s.opts.CustomActions[name]
	return custom || s.functions[name] != nil || s.actions[name] != nil
}

func (c *call) getFunction() error { return c.operate(c.srv.functions, c.segs[0].name) }
func (c *call) postAction() error  { return c.operate(c.srv.actions, c.segs[0].name) }
func (c *call) getBoundFunction() error {
	return c.operate(c.srv.boundFunctions, strings.TrimPrefix(c.segs[1].name, namespace))
}
func (c *call) postBound() error {
	return c.operate(c.srv.boundActions, strings.TrimPrefix(c.segs[1].name, namespace))
}

// operate runs the operation of a name; a function asked for with the wrong verb
// is not there (section 1.9).
func (c *call) operate(from map[string]func(*call) error, name string) error {
	fn := from[name]
	if takes, custom := c.srv.opts.CustomActions[name]; custom && c.method == http.MethodPost {
		return c.customAction(takes)
	}
	if fn == nil {
		return c.errNoOperation()
	}
	return fn(c)
}

func (c *call) errNoOperation() error {
	return errorf(http.StatusNotFound, "", "No HTTP resource was found that matches the request URI '%s/%s'.", c.api, c.path)
}
