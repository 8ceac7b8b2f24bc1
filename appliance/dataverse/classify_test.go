package dataverse

import (
	"net/http"
	"strings"
	"testing"

	"dvmigrate/appliance/dataverse/schema"
)

const (
	me    = "aaaaaaaa-0000-4000-8000-000000000001"
	other = "bbbbbbbb-0000-4000-8000-000000000002"
)

// TestClassify has the rows of dataverse-web-api.md 1.8 and 1.9, with the statuses
// and words given there.
func TestClassify(t *testing.T) {
	missing := func(principal, caller string) string {
		return "Principal user (Id=" + principal + ", type=8, roleCount=1, privilegeCount=99, accessMode='4 Non-interactive', AADObjectId=" + other +
			"), is missing prvCreateAccount privilege (Id=" + other + ") on OTC=1 for entity 'account' (LocalizedName='Account'). context.Caller=" + caller +
			". Consider adding missed privilege to one of the principal (user/team) roles."
	}
	for _, test := range []struct {
		status        int
		code, message string
		want          Kind
	}{
		{429, "0x80072322", "Number of requests exceeded the limit of 6000 over time window of 300 seconds.", Throttled},
		{429, "0x80072321", "Combined execution time of incoming requests exceeded limit of 1,200,000 milliseconds over time window of 300 seconds.", Throttled},
		{429, "0x80072326", "Number of concurrent requests exceeded the limit of 52.", Throttled},
		{503, "0x80072324", "Too many concurrent requests detected.", Throttled},
		{500, "0x80072323", "resource limit reached", Throttled},
		{400, "0x80072325", "storage limit met", Setup},
		{429, "0x8005F103", "Too many requests.", Throttled},
		{429, "", "", Throttled},
		{500, "0x80044150", " Sql error: Generic SQL error. CRM ErrorCode: -2147204784 Sql ErrorCode: -2146232060 Sql Number: 1205", RolledBack},
		{500, "0x80044150", "Sql Number: 3732", RolledBack},
		{500, "0x80044150", "Sql Number: 2766", RolledBack},
		{500, "0x80044150", "Sql Number: 2812", RolledBack},
		{500, "0x80044150", "Sql Number: 8152", RowFault},
		{500, "0x80044150", "Sql error: Generic SQL error.", RowFault},
		{500, "0x80044151", "SQL timeout expired. Sql Number: -2", TooBig},
		{500, "0x80040255", "The transaction of the SQL command has already been rolled back or committed", RolledBack},
		{400, "0x80040251", "There is no active transaction", RowFault},
		{400, "0x80044171", "The plug-in execution failed because the operation has timed-out at the Sandbox Client.", TooBig},
		{400, "0x80044172", "timed-out at the Sandbox Host", TooBig},
		{500, "0x80044173", "timed-out at the Sandbox Worker", TooBig},
		{400, "0x80081111", "Didn't receive a response within the 2:20-minute limit.", TooBig},
		{500, "0x8004418D", "no Sandbox Worker available", Transient},
		{500, "0x8004418e", "no Sandbox Host available", Transient},
		{500, "0x80081116", "max processes", Transient},
		{500, "0x80048543", "a solution is being imported", Transient},
		{500, "0x80071151", "another solution install at the same time", Transient},
		{500, "0x80040216", "An unexpected error occurred.", Transient},
		{400, "0x80040216", "An unexpected error occurred.", Transient},
		{400, "0x80040265", "Credit limit exceeded.", RowFault},
		{500, "0x80040224", "An unexpected error occurred from ISV code.", RowFault},
		{412, "0x80040237", "A record with matching key values already exists.", Duplicate},
		{412, "0x80040237", "Cannot insert duplicate key.", Duplicate},
		{412, "0x80060892", "A record that has the attribute values Account Number already exists.", Duplicate},
		{400, "0x80060892", "A record that has the attribute values Account Number already exists.", Duplicate},
		{412, "0x80040333", "A record was not created or updated because a duplicate of the current record already exists.", Duplicate},
		{412, "0x80060882", "The version of the existing record doesn't match the RowVersion property provided.", Conflict},
		{400, "0x80060883", "row version required", RowFault},
		{404, "0x80040217", "contact With Id = " + other + " Does Not Exist", NotFound},
		{400, "0x80040217", "Contact With Ids = " + other + " Do Not Exist", NotFound},
		{404, "0x80060891", "A record with the specified key values does not exist in account entity", NotFound},
		{400, "0x8006089D", "More than one record exists for entity", RowFault},
		{400, "0x80060890", "The specified key attributes are not a defined key for the account entity", Setup},
		{400, "0x8006088F", "Invalid EntityKey Operation performed", RowFault},
		{400, "0x0", "The key in the request URI is not valid for resource 'Microsoft.Dynamics.CRM.account'.", Setup},
		{403, "0x80040220", missing(me, me), Setup},
		{403, "0x80040220", missing(other, me), RowFault},
		{403, "0x80040220", "Principal team (Id=" + other + ", type=9, ), is missing prvReadAccount privilege", RowFault},
		{403, "0x80040220", "missing prvReadAccount", Setup},
		{403, "0x80048306", "Principal with id " + me + " does not have AppendToAccess right(s) for record with id " + other + " of entity contact", RowFault},
		{403, "0x80040299", "CrmCheckPrivilege failed. Returned hr = -2147220839 on UserId: " + me, Setup},
		{403, "0x80040231", "Target user or team does not hold required privileges.", RowFault},
		{403, "0x80042F09", "The user (Id=" + other + ") has not been assigned any roles.", RowFault},
		{403, "0x80042F09", "The user (Id=" + me + ") has not been assigned any roles.", SignIn},
		{400, "0x80042F0A", "The team has not been assigned any roles.", RowFault},
		{403, "0x80072560", "The user is not a member of the organization.", SignIn},
		{403, "0x80040225", "The specified user(Id = " + me + ") is disabled.", SignIn},
		{403, "0x80040225", "The specified user(Id = " + other + ") is disabled.", RowFault},
		{400, "0x8004022B", "The specified owner has been disabled.", RowFault},
		{403, "0x80040276", "create disabled", Setup},
		{403, "0x8004F507", "column-level security", Setup},
		{400, "0x80044331", "A validation error occurred.  The length of the 'subject' attribute of the 'task' entity exceeded the maximum allowed length of '200'.", RowFault},
		{400, "0x80044330", "outside the valid range", RowFault},
		{400, "0x80040317", "Supplied value exceeded the MIN/MAX value of Money Type field.", RowFault},
		{400, "0x8004431A", "The value 5 of 'x' on record of type 'y' is outside the valid range. Accepted Values: 1,2,3", RowFault},
		{400, "0x80050222", "Number of selections", RowFault},
		{400, "0x80048408", "6 is not a valid status code for state code TaskState.Open", RowFault},
		{400, "0x8004F00E", "status transition", RowFault},
		{400, "0x80040239", "DateTime is less than minumum value supported by CrmDateTime.", RowFault},
		{400, "0x80040278", "The field 'x' contains one or more invalid characters.", RowFault},
		{400, "0x80040203", "invalid argument", RowFault},
		{400, "0x80048d19", "Error identified in Payload ----> InnerException : Microsoft.Crm.CrmException: Invalid property 'gendercode' was found in entity", Setup},
		{400, "0x80048d19", "Error identified in Payload ----> InnerException : An undeclared property 'parentcustomerid' which only has property annotations", Setup},
		{400, "0x80048d19", "Error identified in Payload ----> InnerException : Cannot convert the literal 'Charity' to the expected type 'Edm.Int32'.", RowFault},
		{400, "0x80048d19", "System.ArgumentException: Stream was not readable.", Setup},
		{400, "0x0", "Does not support untyped value in non-open type.", Setup},
		{404, "0x80060888", "Resource not found for the segment 'Accounts'.", Setup},
		{404, "0x8006088a", "Resource not found for the segment 'Account'.", Setup},
		{404, "", "No HTTP resource was found that matches the request URI", Setup},
		{400, "", "UpsertMultiple is not enabled on the entity team", Unsupported},
		{400, "0x80040216", "CreateMultiple does not support entities of type queue", Unsupported},
		{501, "0x80040219", "DeleteMultiple has not yet been implemented.", Unsupported},
		{404, "0x80060888", "Resource not found for the segment 'Microsoft.Dynamics.CRM.CreateMultiple'.", Unsupported},
		{400, "0x80041102", "The entity with a name = 'x' was not found", Setup},
		{400, "0x80041103", "'account' entity doesn't contain attribute with Name = 'x'", Setup},
		{413, "0x8004418A", "Request message length is too large.", TooBig},
		{400, "0x8004418A", "Request message length is too large.", TooBig},
		{405, "0x80040227", "The object you tried to delete is associated with another object and cannot be deleted.", RowFault},
		{405, "", "The HTTP verb is not allowed", Setup},
		{400, "0x80040230", "inactive", RowFault},
		{400, "0x80043E09", "attachment not a valid type", RowFault},
		{400, "0x80041409", "user in wrong business", RowFault},
		{401, "", "", SignIn},
		{401, "0x8004A112", "disabled", SignIn},
		{400, "0x80099999", "something new about one record", RowFault},
		{500, "0x80099999", "something new in the server", Transient},
		{403, "0x80099999", "something new about rights", Setup},
		{502, "0x80099999", "bad gateway", Lost},
		{503, "0x80099999", "service unavailable", Lost},
		{412, "", "A record with matching key values already exists.", Duplicate},
	} {
		c := newClient(t, "https://acme.crm4.dynamics.com", nil)
		mine, _ := schema.ParseGUID(me)
		c.known.caller.Store(&mine)
		f := readFault(test.status, http.Header{}, []byte(fault1(test.code, test.message)))
		if got := classify(f, c); got != test.want {
			t.Errorf("%d %s %q: %v, want %v", test.status, test.code, test.message, got, test.want)
		}
	}
}

// TestEveryRule: no rule of the table is without a case above, or a plain kind.
func TestEveryRule(t *testing.T) {
	c := newClient(t, "https://acme.crm4.dynamics.com", nil)
	for code, r := range rules {
		f := fault{status: 400, code: code, told: true}
		if got := classify(f, c); got == 0 || got.String() == "" || strings.HasPrefix(got.String(), "kind") {
			t.Errorf("0x%08x: kind %v", code, got)
		}
		if r.kind == Lost || r.kind == Partial || r.kind == Stopped || r.kind == Unreachable {
			t.Errorf("0x%08x: a code of the service cannot mean %v", code, r.kind)
		}
	}
}

// TestGatewayAnswers: what does not come from the service says nothing about rows,
// and a gateway's error nothing about what the server did.
func TestGatewayAnswers(t *testing.T) {
	page := "<html><head><title>502 Bad Gateway</title></head><body>x</body></html>"
	for _, test := range []struct {
		status int
		body   string
		want   Kind
		words  string
	}{
		{502, page, Lost, "502 Bad Gateway"},
		{503, "", Lost, "Service Unavailable"},
		{504, page, Lost, ""},
		{500, "", Lost, "Internal Server Error"},
		{500, page, Lost, ""},
		{408, "", Lost, ""},
		{403, "<html><title>Blocked by policy</title></html>", Setup, "Blocked by policy"},
		{404, "<html>nothing here</html>", Setup, "Not Found"},
		{400, "", Setup, "Bad Request"},
		{413, page, TooBig, ""},
		{429, page, Throttled, ""},
		{401, "", SignIn, "Unauthorized"},
		{407, "", Setup, "Proxy Authentication Required"},
	} {
		f := readFault(test.status, http.Header{}, []byte(test.body))
		if got := classify(f, newClient(t, "https://acme.crm4.dynamics.com", nil)); got != test.want || !strings.Contains(f.message, test.words) {
			t.Errorf("%d %q: %v %q, want %v %q", test.status, test.body, got, f.message, test.want, test.words)
		}
	}
}
