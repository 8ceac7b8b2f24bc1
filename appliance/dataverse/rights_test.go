package dataverse

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestRights: privileges by name and depth, the names that tables share, a user with
// its roles, as the service tells them (dataverse-web-api.md 12.1, 12.8, 14.2).
func TestRights(t *testing.T) {
	bare := false // the service does not name the privileges of tables
	s := newServer(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json; odata.metadata=minimal")
		switch path := strings.TrimPrefix(r.URL.Path, apiPath); {
		case strings.HasSuffix(path, "RetrieveUserPrivileges()"):
			io.WriteString(w, `{"RolePrivileges":[{"Depth":"Basic","PrivilegeName":"prvReadAccount"},{"Depth":"Global","PrivilegeName":"prvReadAccount"},
				{"Depth":"Local","PrivilegeName":"prvWriteContact"},{"Depth":"New","PrivilegeName":"prvX"}]}`)
		case strings.HasSuffix(path, "systemuserroles_association"):
			io.WriteString(w, `{"value":[{"name":"Loader"},{"name":"Basic User"}]}`)
		case strings.HasPrefix(path, "systemusers"):
			io.WriteString(w, `{"fullname":"# loader","applicationid":"`+me+`","isdisabled":false}`)
		case bare && strings.Contains(r.URL.RawQuery, "Privileges"):
			w.WriteHeader(http.StatusBadRequest)
			io.WriteString(w, fault1("0x80060888", "Could not find a property named 'Privileges'."))
		case bare:
			io.WriteString(w, `{"value":[{"LogicalName":"task"}]}`)
		default:
			if !strings.Contains(r.URL.RawQuery, "LogicalName%20eq%20%27task%27%20or%20LogicalName%20eq%20%27gone%27") {
				t.Errorf("asked for %s", r.URL.RawQuery)
			}
			io.WriteString(w, `{"value":[{"LogicalName":"task","Privileges":[{"Name":"prvCreateActivity","PrivilegeType":"Create"}]}]}`)
		}
	})
	c := newClient(t, s.URL, nil)
	have, err := c.Privileges(t.Context(), id(1))
	if diff := cmp.Diff(map[string]Depth{"prvreadaccount": Global, "prvwritecontact": Local, "prvx": NoDepth}, have); diff != "" || err != nil {
		t.Error(diff, err)
	}
	user, err := c.User(t.Context(), id(1))
	if diff := cmp.Diff(User{Name: "# loader", ApplicationID: me, Roles: []string{"Basic User", "Loader"}}, user); diff != "" || err != nil {
		t.Error(diff, err)
	}
	for _, want := range []map[string]map[string]string{{"task": {"Create": "prvCreateActivity"}}, {"task": {}}} {
		names, err := c.TablePrivileges(t.Context(), []string{"task", "gone"})
		if diff := cmp.Diff(want, names); diff != "" || err != nil {
			t.Error(diff, err)
		}
		bare = true
	}
}
