package emulator

import (
	"encoding/json"
	"net/http/httptest"
	"strings"
	"testing"
)

// FuzzRequest sends whole requests: whatever is asked, the answer is one of the
// service's, never an unexpected error, and JSON where it says so.
func FuzzRequest(f *testing.F) {
	for _, s := range [][4]string{
		{"GET", "accounts?$select=name&$filter=contains(name,'x')&$orderby=name desc&$expand=primarycontactid($select=fullname)&$count=true&$top=3", `odata.include-annotations="*",odata.maxpagesize=2`, ""},
		{"GET", "accounts(" + acc1 + ")/contact_customer_accounts?$filter=lastname eq 'x'", "", ""}, {"GET", "accounts(accountnumber='A-1')/name/$value", "", ""},
		{"GET", "accounts?$apply=filter(name eq 'x')/groupby((statecode),aggregate($count as n,revenue with sum as s))", "", ""}, {"GET", "accounts/$count?$filter=name ne null", "", ""},
		{"GET", "accounts?fetchXml=<fetch count='2' page='1'><entity name='account'><attribute name='name'/><order attribute='name'/><filter type='or'><condition attribute='name' operator='like' value='a%25'/></filter></entity></fetch>", `odata.include-annotations="*"`, ""},
		{"GET", "accounts?sql=SELECT name FROM account WHERE name LIKE 'a%25' ORDER BY name", "", ""}, {"GET", "accounts?$select=name", "odata.track-changes", ""},
		{"GET", "EntityDefinitions(LogicalName='account')/Attributes/Microsoft.Dynamics.CRM.StringAttributeMetadata?$select=LogicalName,MaxLength&$filter=MaxLength gt 5", "", ""},
		{"GET", "RetrieveTotalRecordCount(EntityNames=@p)?@p=[\"account\"]", "", ""}, {"GET", "RetrieveMetadataChanges(Query={\"Properties\":{\"AllProperties\":true}})", "", ""},
		{"GET", "accounts?$select=name&$expand=ownerid/Microsoft.Dynamics.CRM.systemuser($select=fullname),ownerid($select=ownerid)&$filter=ownerid/Microsoft.Dynamics.CRM.team/name eq 'x' or Microsoft.Dynamics.CRM.account/name eq 'x'&$orderby=ownerid/Microsoft.Dynamics.CRM.systemuser/fullname", "", ""},
		{"GET", "accounts?$apply=filter(Microsoft.Dynamics.CRM.account/name ne null)/groupby((ownerid/Microsoft.Dynamics.CRM.systemuser/fullname),aggregate($count as n))", "", ""},
		{"GET", "accounts/Microsoft.Dynamics.CRM.account(" + acc1 + ")/ownerid/Microsoft.Dynamics.CRM.systemuser/fullname/$value", "", ""}, {"GET", "accounts(" + acc1 + ")/contact_customer_accounts/Microsoft.Dynamics.CRM.contact?$count=true", "odata.maxpagesize=1", ""},
		{"GET", "accounts(" + acc1 + ")/primarycontactid/parentcustomerid_account/contact_customer_accounts(" + con1 + ")/lastname", "", ""},
		{"GET", "RetrieveRolePrivilegesRole(RoleId=" + acc1 + ")", "", ""}, {"GET", "RetrieveDependenciesForDelete(ObjectId=@o,ComponentType=@c)?@o=" + acc1 + "&@c=1", "", ""},
		{"POST", "BulkDetectDuplicates", "", `{"Query":{"EntityName":"account"},"JobName":"j","RecurrencePattern":""}`}, {"POST", "ReactivateEntityKey", "", `{"EntityLogicalName":"account","EntityKeyLogicalName":"contoso_old"}`},
		{"GET", "contacts(" + con1 + ")/parentcustomerid_account/$ref", "", ""}, {"GET", "sdkmessagefilters?$expand=sdkmessageid($select=name)&$filter=sdkmessageid/name eq 'Create'", "", ""},
		{"POST", "accounts?$select=name", "return=representation", `{"name":"x","primarycontactid@odata.bind":"contacts(` + con1 + `)","revenue":1.5,"contoso_tags":"100000000","ownerid@odata.bind":"/systemusers(` + UserID.String() + `)"}`},
		{"POST", "accounts", "", `{"name":"x","primarycontactid":{"lastname":"y"},"contact_customer_accounts":[{"lastname":"z"}],"contoso_account_contact@odata.bind":["contacts(` + con1 + `)"]}`},
		{"PATCH", "accounts(accountnumber='A-9')", "return=representation", `{"name":"x","statecode":1,"statuscode":2}`}, {"DELETE", "accounts(" + acc1 + ")", "", ""}, {"PUT", "accounts(" + acc1 + ")/name", "", `{"value":"x"}`},
		{"POST", "accounts(" + acc1 + ")/contoso_account_contact/$ref", "", `{"@odata.id":"contacts(` + con1 + `)"}`}, {"DELETE", "accounts(" + acc1 + ")/contoso_account_contact(" + con1 + ")/$ref", "", ""},
		{"POST", "accounts/Microsoft.Dynamics.CRM.UpsertMultiple", "", `{"Targets":[{"@odata.type":"Microsoft.Dynamics.CRM.account","@odata.id":"accounts(accountnumber='A-1')","name":"x"}]}`},
		{"POST", "GrantAccess", "", `{"Target":{"@odata.id":"accounts(` + acc1 + `)"},"PrincipalAccess":{"Principal":{"@odata.id":"systemusers(` + UserID.String() + `)"},"AccessMask":"ReadAccess"}}`},
		{"POST", "Merge", "", `{"Target":{"@odata.type":"Microsoft.Dynamics.CRM.account","accountid":"` + acc1 + `"},"Subordinate":{"@odata.type":"Microsoft.Dynamics.CRM.account","accountid":"` + acc2 + `"},"PerformParentingChecks":false}`},
		{"POST", "BulkDelete", "", `{"QuerySet":[{"EntityName":"account","Criteria":{"FilterOperator":"And","Conditions":[{"AttributeName":"name","Operator":"Equal","Values":[{"Value":"x","Type":"System.String"}]}]}}],"JobName":"j","SendEmailNotification":false,"ToRecipients":[],"CCRecipients":[],"RecurrencePattern":"","StartDateTime":"2020-01-01T00:00:00Z"}`},
		{"POST", "$batch", "odata.continue-on-error", batch(part("GET accounts?$select=name", ""), changeSet(part("POST /api/data/v9.2/accounts", `{"name":"x"}`, contentID(1)), part("PATCH $1", `{"name":"y"}`, contentID(2))))},
	} {
		f.Add(s[0], s[1], s[2], s[3])
	}
	srv := seeded(f).srv
	f.Fuzz(func(t *testing.T, method, path, prefer, body string) {
		for _, bad := range []string{" ", "\t", "\n"} {
			path = strings.ReplaceAll(path, bad, "%20")
		}
		if strings.ContainsAny(method+path, "\x00\r\x7f") || method == "" || strings.ContainsFunc(method, func(r rune) bool { return r < 'A' || r > 'Z' }) {
			return
		}
		defer func() { // what net/http does not let through
			if r := recover(); r != nil && !strings.Contains(toText(r), "invalid NewRequest arguments") {
				panic(r)
			}
		}()
		req := httptest.NewRequest(method, "http://x/api/data/v9.2/"+path, strings.NewReader(body))
		req.Header.Set("Authorization", "Bearer t")
		req.Header.Set("Content-Type", "application/json")
		if path == "$batch" {
			req.Header.Set("Content-Type", batchType)
		}
		req.Header.Set("Prefer", prefer)
		w := httptest.NewRecorder()
		srv.ServeHTTP(w, req)
		if w.Code >= 500 && w.Code != 501 {
			t.Errorf("%s %s\n%s\nanswered %d %s", method, path, body, w.Code, w.Body)
		}
		if strings.HasPrefix(w.Header().Get("Content-Type"), "application/json") && !json.Valid(w.Body.Bytes()) {
			t.Errorf("%s %s\n%s\nanswered %d with JSON that is none: %s", method, path, body, w.Code, w.Body)
		}
	})
}

func toText(v any) string {
	if s, ok := v.(string); ok {
		return s
	}
	return ""
}
