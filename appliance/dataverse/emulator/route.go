package emulator

import (
	"net/http"
	"net/url"
	"strings"
)

// segment is one part of the path: a name and, if there are parentheses, what is
// between them, still as it stands in the URL but decoded.
type segment struct {
	name   string
	key    string
	hasKey bool
}

// shape is the form of a path, after the service root.
type shape string

const (
	shapeRoot        shape = ""
	shapeMetadata    shape = "$metadata"
	shapeBatch       shape = "$batch"
	shapeSet         shape = "{set}"
	shapeCount       shape = "{set}/$count"
	shapeRow         shape = "{set}({key})"
	shapeProperty    shape = "{set}({key})/{column}"
	shapeRaw         shape = "{set}({key})/{column}/$value"
	shapeRelated     shape = "{set}({key})/{navigation}…" // and all that may follow it on a GET
	shapeRef         shape = "{set}({key})/{navigation}/$ref"
	shapeRefKey      shape = "{set}({key})/{navigation}({key})/$ref"
	shapeBoundSet    shape = "{set}/Microsoft.Dynamics.CRM.{operation}"
	shapeBoundRow    shape = "{set}({key})/Microsoft.Dynamics.CRM.{operation}"
	shapeDefinitions shape = "{definitions}…" // EntityDefinitions, GlobalOptionSetDefinitions, RelationshipDefinitions
	shapeOperation   shape = "{operation}"    // unbound function (GET) or action (POST)
)

// route is what answers a method on a shape, and the message it counts as.
type route struct {
	message string
	handle  func(*call) error
}

// routes is the whole of the API. Bound operations and unbound ones are found by
// name: boundActions, actions (action.go); functions (meta.go).
func (s *Server) makeRoutes() map[shape]map[string]route {
	return map[shape]map[string]route{
		shapeRoot:     {"GET": {"RetrieveServiceDocument", (*call).getServiceDocument}},
		shapeMetadata: {"GET": {"RetrieveMetadata", (*call).getMetadata}},
		shapeBatch:    {"POST": {batchMessage, (*call).postBatch}},
		shapeSet: {
			"GET":  {"RetrieveMultiple", (*call).getSet},
			"POST": {"Create", (*call).postRow},
		},
		shapeCount: {"GET": {"RetrieveMultiple", (*call).getCount}},
		shapeRow: {
			"GET":    {"Retrieve", (*call).getRow},
			"PATCH":  {"Update", (*call).patchRow},
			"DELETE": {"Delete", (*call).deleteRow},
		},
		shapeProperty: {
			"GET":    {"Retrieve", (*call).getProperty},
			"PUT":    {"Update", (*call).putProperty},
			"PATCH":  {"Update", (*call).uploadFile},
			"DELETE": {"Update", (*call).deleteProperty},
		},
		shapeRaw:     {"GET": {"Retrieve", (*call).getRawProperty}},
		shapeRelated: {"GET": {"Retrieve", (*call).getRelated}, "PUT": {"Update", (*call).putParties}, "POST": {"Create", (*call).postMember}},
		shapeRef: {
			"GET":    {"Retrieve", (*call).getRelated},
			"POST":   {"Associate", (*call).postRef},
			"PUT":    {"Update", (*call).putRef},
			"DELETE": {"Disassociate", (*call).deleteRef},
		},
		shapeRefKey:   {"DELETE": {"Disassociate", (*call).deleteRef}},
		shapeBoundSet: {"POST": {"", (*call).postBound}, "GET": {"", (*call).getBoundFunction}},
		shapeBoundRow: {"POST": {"", (*call).postBound}, "GET": {"", (*call).getBoundFunction}},
		shapeDefinitions: {
			"GET":    {"RetrieveMetadata", (*call).getDefinitions},
			"POST":   {"CreateMetadata", (*call).postDefinition},
			"PUT":    {"UpdateMetadata", (*call).putDefinition},
			"DELETE": {"DeleteMetadata", (*call).deleteDefinition},
		},
		shapeOperation: {"POST": {"", (*call).postAction}, "GET": {"", (*call).getFunction}},
	}
}

const namespace = "Microsoft.Dynamics.CRM."

// splitPath cuts the escaped path after the service root into segments. Slashes that
// have nothing between them, or behind them, count once, as for the OData library.
func splitPath(path string) ([]segment, error) {
	var segs []segment
	for part := range strings.SplitSeq(path, "/") {
		if part == "" {
			continue
		}
		plain, err := url.PathUnescape(part)
		if err != nil {
			return nil, errURL("Bad Request - Error in query syntax.")
		}
		name, key, hasKey := strings.Cut(plain, "(")
		if hasKey {
			if !strings.HasSuffix(key, ")") {
				return nil, errURL("Bad Request - Error in query syntax.")
			}
			key = key[:len(key)-1]
			if i := dangerous(key); i >= 0 {
				return nil, errURL("A potentially dangerous Request.Path value was detected from the client (%c).", key[i])
			}
		}
		segs = append(segs, segment{name, key, hasKey})
	}
	return segs, nil
}

// dangerous finds, inside the texts of a key, a character that no URL may carry there
// even encoded (section 3.4); -1 when there is none.
func dangerous(key string) int {
	quoted := false
	for i := range len(key) {
		if key[i] == '\'' {
			quoted = !quoted
		} else if quoted && strings.IndexByte(`/<>*%&:\?+`, key[i]) >= 0 {
			return i
		}
	}
	return -1
}

// parseQuery decodes the query options in order. A plus sign is a blank.
func parseQuery(raw string) ([]param, error) {
	var ps []param
	for part := range strings.SplitSeq(raw, "&") {
		if part == "" {
			continue
		}
		name, val, _ := strings.Cut(part, "=")
		n, err1 := url.QueryUnescape(name)
		v, err2 := url.QueryUnescape(val)
		if err1 != nil || err2 != nil {
			return nil, errURL("Bad Request - Error in query syntax.")
		}
		ps = append(ps, param{n, v})
	}
	return ps, nil
}

// shapeOf finds the form of the call's path and the table it starts at.
func (c *call) shapeOf() (shape, error) {
	if len(c.segs) == 0 {
		return shapeRoot, nil
	}
	first := c.segs[0]
	switch first.name {
	case "$metadata", "$batch":
		if len(c.segs) > 1 {
			return "", errSegment(c.segs[1].name)
		}
		return shape(first.name), nil
	case "EntityDefinitions", "GlobalOptionSetDefinitions", "RelationshipDefinitions":
		return shapeDefinitions, nil
	}
	t := c.srv.model.bySet[first.name]
	if t == nil && jobTables[first.name] != "" {
		if err := c.addJobTables(); err != nil {
			return "", err
		}
		t = c.srv.model.bySet[first.name]
	}
	if t == nil {
		if c.srv.isOperation(first.name) && len(c.segs) == 1 {
			return shapeOperation, nil
		}
		return "", errSegment(first.name)
	}
	c.table = t
	if err := c.castPath(); err != nil {
		return "", err
	}
	if !c.segs[0].hasKey {
		return c.shapeOfSet()
	}
	return c.shapeOfRow()
}

func (c *call) shapeOfSet() (shape, error) {
	switch {
	case len(c.segs) == 1:
		return shapeSet, nil
	case c.segs[1].name == "$count" && len(c.segs) == 2:
		return shapeCount, nil
	case strings.HasPrefix(c.segs[1].name, namespace):
		return shapeBoundSet, nil
	}
	return "", errSegment(c.segs[1].name)
}

func (c *call) shapeOfRow() (shape, error) {
	if len(c.segs) == 1 {
		return shapeRow, nil
	}
	second := c.segs[1]
	if strings.HasPrefix(second.name, namespace) {
		return shapeBoundRow, nil
	}
	p, known := c.table.props[second.name]
	if !known {
		return "", errSegment(second.name)
	}
	isColumn := p.col != nil || p.readOnly != nil
	switch {
	case isColumn && len(c.segs) == 2:
		return shapeProperty, nil
	case isColumn && len(c.segs) == 3 && c.segs[2].name == "$value":
		return shapeRaw, nil
	case isColumn:
		return "", errSegment(c.segs[2].name)
	case len(c.segs) == 3 && c.segs[2].name == "$ref" && second.hasKey:
		return shapeRefKey, nil
	case len(c.segs) == 3 && c.segs[2].name == "$ref":
		return shapeRef, nil
	}
	return shapeRelated, nil
}

// run finds the route for the call and answers it.
func (c *call) run() error {
	err := c.handle()
	if err == nil {
		c.res.level(c.level)
	}
	return err
}

func (c *call) handle() error {
	if c.other != nil {
		return c.other(c)
	}
	sh, r, err := c.find()
	if err != nil {
		return err
	}
	if err := c.mayCall(sh); err != nil {
		return err
	}
	hit := c.srv.faults.occasion(c)
	if hit != nil {
		if err := hit.before(c); err != nil {
			return err
		}
	}
	c.ran = true
	err = r.handle(c)
	if sh != shapeBatch {
		c.charge()
	}
	if err != nil {
		return err
	}
	if sh == shapeSet && c.method == http.MethodPost || sh == shapeRow && c.method == http.MethodPatch {
		if c.table.isElastic() {
			c.sessionToken()
		}
	}
	if hit != nil {
		return hit.after(c)
	}
	return nil
}

// find names the call's table and message and what answers it.
func (c *call) find() (sh shape, r route, err error) {
	if c.segs, err = splitPath(c.path); err != nil {
		return sh, r, err
	}
	if sh, err = c.shapeOf(); err != nil {
		return sh, r, err
	}
	r, ok := c.srv.routes[sh][c.method]
	if !ok {
		if sh == shapeOperation || sh == shapeBatch {
			return sh, r, errorf(http.StatusNotFound, "", "No HTTP resource was found that matches the request URI '%s/%s'.", c.api, c.path)
		}
		return sh, r, errMethod(c.method)
	}
	c.message = c.messageOf(sh, r)
	return sh, r, nil
}

// messageOf is the service's name for the operation.
func (c *call) messageOf(sh shape, r route) string {
	switch sh {
	case shapeOperation:
		return c.segs[0].name
	case shapeBoundSet, shapeBoundRow:
		return strings.TrimPrefix(c.segs[1].name, namespace)
	case shapeRow:
		if c.method == http.MethodPatch && c.header.Get("If-Match") == "" {
			return "Upsert"
		}
	}
	return r.message
}
