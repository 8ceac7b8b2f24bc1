package emulator

import (
	"net/url"
	"path/filepath"
	"strings"
	"testing"
)

// TestSharing shares a row with a team, adds to the share, replaces and revokes it.
func TestSharing(t *testing.T) {
	for name, o := range map[string]func(*Options){"memory": func(*Options) {}, "file": func(o *Options) { o.StatePath = filepath.Join(t.TempDir(), "state") }} {
		t.Run(name, func(t *testing.T) { shareRow(start(t, o)) })
	}
}

func shareRow(e *env) {
	e.want(204, "", "POST", "accounts", `{"accountid":"`+acc1+`","name":"A"}`)
	target := `"Target":{"@odata.type":"Microsoft.Dynamics.CRM.account","accountid":"` + acc1 + `"}`
	team := `{"@odata.type":"Microsoft.Dynamics.CRM.team","teamid":"` + TeamID.String() + `"}`
	access := func(mask string) string {
		return `{` + target + `,"PrincipalAccess":{"Principal":` + team + `,"AccessMask":"` + mask + `"}}`
	}
	shares := "RetrieveSharedPrincipalsAndAccess(Target=@t)?@t=" + url.QueryEscape(`{"@odata.id":"accounts(`+acc1+`)"}`)
	e.has(e.want(200, "", "GET", shares, ""), `"PrincipalAccesses":[]`)
	for _, step := range []struct{ action, body, mask string }{
		{"GrantAccess", access("ReadAccess"), "ReadAccess"},
		{"GrantAccess", access("WriteAccess,DeleteAccess"), "ReadAccess, WriteAccess, DeleteAccess"},
		{"ModifyAccess", access("ShareAccess"), "ShareAccess"},
	} {
		e.want(204, "", "POST", step.action, step.body)
		e.has(e.want(200, "", "GET", shares, ""), `"AccessMask":"`+step.mask+`"`, `"teamid":"`+TeamID.String()+`"`)
	}
	all := e.want(200, "", "GET", "systemusers("+UserID.String()+")/Microsoft.Dynamics.CRM.RetrievePrincipalAccess(Target=@t)?@t="+url.QueryEscape(`{'@odata.id':'accounts(`+acc1+`)'}`), "")
	e.has(all, `"AccessRights":"ReadAccess, WriteAccess, AppendAccess, AppendToAccess, CreateAccess, DeleteAccess, ShareAccess, AssignAccess"`)
	e.want(204, "", "POST", "RevokeAccess", `{`+target+`,"Revokee":`+team+`}`)
	e.has(e.want(200, "", "GET", shares, ""), `"PrincipalAccesses":[]`)
	e.want(400, "0x80048d19", "POST", "GrantAccess", access("AllAccess"))
	e.want(400, "0x80048d19", "POST", "GrantAccess", `{"Target":{"accountid":"`+acc1+`"}}`)
	e.want(404, "0x80040217", "POST", "GrantAccess", strings.Replace(access("ReadAccess"), acc1, acc2, 1))
}

// TestMerge merges one account into another: children and links move, the subordinate
// is inactive, and what cannot be merged is refused without a change.
func TestMerge(t *testing.T) {
	e := start(t)
	for _, a := range []string{acc1, acc2} {
		e.want(204, "", "POST", "accounts", `{"accountid":"`+a+`","name":"A"}`)
	}
	e.want(204, "", "POST", "contacts", `{"contactid":"`+con1+`","lastname":"Ek","parentcustomerid_account@odata.bind":"accounts(`+acc2+`)"}`)
	e.want(204, "", "POST", "accounts("+acc2+")/contoso_account_contact/$ref", `{"@odata.id":"`+e.url+`/contacts(`+con1+`)"}`)
	ref := func(id string) string {
		return `{"@odata.type":"Microsoft.Dynamics.CRM.account","accountid":"` + id + `"}`
	}
	body := func(target, other, content string) string {
		return `{"Target":` + ref(target) + `,"Subordinate":` + ref(other) + `,"UpdateContent":` + content + `,"PerformParentingChecks":false}`
	}
	const zero = "00000000-0000-0000-0000-000000000000"
	e.want(400, "0x80040203", "POST", "Merge", body(acc1, acc1, "null"))
	e.want(400, "0x80048d19", "POST", "Merge", body(acc1, acc2, `{"nosuch":1}`))
	e.want(204, "", "POST", "Merge", body(acc1, acc2, `{"@odata.type":"Microsoft.Dynamics.CRM.account","accountid":"`+zero+`","telephone1":"1"}`))
	e.has(e.want(200, "", "GET", "accounts("+acc1+")?$select=telephone1,statecode", ""), `"telephone1":"1"`, `"statecode":0`)
	e.has(e.want(200, "", "GET", "accounts("+acc2+")?$select=statecode,statuscode", ""), `"statecode":1`, `"statuscode":2`)
	e.has(e.want(200, "", "GET", "contacts("+con1+")?$select=_parentcustomerid_value", ""), `"_parentcustomerid_value":"`+acc1+`"`)
	e.has(e.want(200, "", "GET", "accounts("+acc1+")?$select=name&$expand=contoso_account_contact($select=lastname)", ""), `"lastname":"Ek"`)
	e.want(400, "0x80040203", "POST", "Merge", body(acc2, acc1, "null"))
	e.want(400, "0x80040800", "POST", "Merge", `{"Target":{"@odata.id":"systemusers(`+UserID.String()+`)"},"Subordinate":{"@odata.id":"systemusers(`+UserID.String()+`)"}}`)
}
