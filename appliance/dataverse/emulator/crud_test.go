package emulator

import (
	"strings"
	"testing"
)

func TestCreate(t *testing.T) {
	e := start(t)
	a1 := gid(1, 1)
	a := e.want(204, "", "POST", "accounts", `{"name":"Nordwind AG","accountid":"`+a1+`"}`)
	if got, want := a.header.Get("OData-EntityId"), e.url+"/accounts("+a1+")"; got != want {
		t.Errorf("OData-EntityId is %s, want %s", got, want)
	}
	if a.header.Get("OData-Version") != "4.0" || a.header.Get("x-ms-service-request-id") == "" {
		t.Errorf("headers of section 1.4 are missing: %v", a.header)
	}
	for _, c := range []struct {
		name, body string
		status     int
		code, text string
	}{
		{"3.1 an id that exists is refused", `{"accountid":"` + a1 + `"}`, 412, "0x80040237", "A record with matching key values already exists."},
		{"3.1 an id of zeros is refused", `{"accountid":"00000000-0000-0000-0000-000000000000"}`, 400, "0x80040203", ""},
		{"1.9 an unknown column is refused", `{"gendercode":1}`, 400, "0x80048d19", "Invalid property 'gendercode' was found in entity 'Microsoft.Dynamics.CRM.account'. ---\\u003e"},
		{"1.5 names are case-sensitive", `{"Name":"x"}`, 400, "0x80048d19", "The property 'Name' does not exist on type 'Microsoft.Dynamics.CRM.account'"},
		{"1.9 an unknown navigation property is refused", `{"PrimaryContactId@odata.bind":"contacts(` + a1 + `)"}`, 400, "0x80048d19", "An undeclared property 'PrimaryContactId' which only has property annotations"},
		{"4.6 _x_value cannot be written", `{"_primarycontactid_value":"` + a1 + `"}`, 400, "0x80048d19", "direct update of Entity Reference"},
		{"4.6 a lookup's target must exist", `{"primarycontactid@odata.bind":"contacts(` + gid(9, 9) + `)"}`, 404, "0x80040217", "contact With Id = " + gid(9, 9) + " Does Not Exist"},
		{"4.6 a lookup's key must exist", `{"parentaccountid@odata.bind":"accounts(accountnumber='none')"}`, 404, "0x80060891", "A record with the specified key values does not exist in account entity"},
		{"4.1 a wrong JSON type is refused", `{"accountcategorycode":"Charity"}`, 400, "0x80048d19", "Cannot convert the literal 'Charity' to the expected type 'Edm.Int32'"},
		{"4.1 yes/no takes no number", `{"creditonhold":1}`, 400, "0x80048d19", "Edm.Boolean"},
		{"4.1 text takes no number", `{"name":5}`, 400, "0x80048d19", "Edm.String"},
		{"1.8 a text too long is refused", `{"accountnumber":"` + strings.Repeat("x", 21) + `"}`, 400, "0x80044331", "A validation error occurred.  The length of the 'accountnumber' attribute of the 'account' entity exceeded the maximum allowed length of '20'."},
		{"4.2 control characters are refused", `{"name":"a\u0001b"}`, 400, "0x80040278", "The field 'name' contains one or more invalid characters."},
		{"1.8 an option that is not there is refused", `{"accountcategorycode":5}`, 400, "0x8004431A", "A validation error occurred. The value 5 of 'accountcategorycode' on record of type 'account' is outside the valid range. Accepted Values: 1,2,3"},
		{"4.1 choices are a string", `{"contoso_tags":[100000000]}`, 400, "0x80048d19", ""},
		{"4.1 choices are checked one by one", `{"contoso_tags":"100000000,7"}`, 400, "0x8004431A", "The value 7 of"},
		{"1.8 a decimal out of range is refused", `{"contoso_rating":1000.5}`, 400, "0x80044330", "The value of 'contoso_rating' on record of type 'account' is outside the valid range."},
		{"4.3 money out of range is refused", `{"revenue":922337203685478}`, 400, "0x80040317", "Supplied value exceeded the MIN/MAX value of Money Type field."},
		{"4.1 a whole number beyond 32 bits is refused", `{"numberofemployees":3000000000}`, 400, "0x80048d19", "Edm.Int32"},
		{"4.4 a date before 1753 is refused", `{"contoso_seen":"0001-01-01T00:00:00Z"}`, 400, "0x80040239", "DateTime is less than minumum value supported by CrmDateTime. Actual value: 01/01/0001 00:00:00, Minimum value supported: 01/01/1753 00:00:00"},
		{"4.4 DateOnly takes no timestamp", `{"contoso_founded":"2026-10-02T00:00:00.000Z"}`, 400, "0x80048d19", "Cannot convert the literal '2026-10-02T00:00:00.000Z' to the expected type 'Edm.Date'"},
		{"4.4 an offset and Z together are refused", `{"contoso_seen":"2026-10-02T00:00:00+02:00Z"}`, 400, "0x80048d19", "Edm.DateTimeOffset"},
		{"4.5 the status must belong to the state", `{"statuscode":2}`, 400, "0x80048408", "2 is not a valid status code for state code AccountState.Active on account with Id"},
		{"4.7 an owner that is not there is refused", `{"ownerid@odata.bind":"systemusers(` + gid(9, 9) + `)"}`, 404, "0x80040217", "systemuser With Id"},
		{"a lookup takes only its own table", `{"primarycontactid@odata.bind":"accounts(` + a1 + `)"}`, 400, "0x80048d19", ""},
		{"malformed JSON is refused", `{"name":"x",}`, 400, "0x80048d19", "Invalid JSON"},
		{"two values are refused", `{"name":"x"}{}`, 400, "0x80048d19", "More than one value"},
		{"a property twice is refused", `{"name":"x","name":"y"}`, 400, "0x80048d19", "Multiple properties with the name 'name'"},
		{"12.5 an inactive key is no key", `{"parentaccountid@odata.bind":"accounts(websiteurl='x')"}`, 400, "0x80060888", "The key in the request URI is not valid for resource 'Microsoft.Dynamics.CRM.account'."},
	} {
		t.Run(c.name, func(t *testing.T) {
			e := &env{t, e.srv, e.url}
			a := e.want(c.status, c.code, "POST", "accounts", c.body)
			e.has(a, strings.ReplaceAll(c.text, "\\u003e", ">"))
		})
	}
	if n := e.srv.store.tables[0].rows.n; n != 1 {
		t.Errorf("refused rows were stored: %d rows", n)
	}
}

// values are stored exactly and read back as section 4.1 says.
func TestValues(t *testing.T) {
	for _, c := range []struct{ name, body, column, want string }{
		{"text keeps every character", `{"name":"Zoë \"Ek\"\n\t😀"}`, "name", `"Zoë \"Ek\"\n\t😀"`},
		{"an escaped surrogate pair is one character", `{"name":"\ud83d\ude00"}`, "name", `"😀"`},
		{"an empty text is null", `{"name":""}`, "name", `null`},
		{"a length counts UTF-16 units", `{"accountnumber":"` + strings.Repeat("é", 20) + `"}`, "accountnumber", `"` + strings.Repeat("é", 20) + `"`},
		{"a whole number", `{"numberofemployees":42}`, "numberofemployees", `42`},
		{"a whole number as text is taken", `{"numberofemployees":"200"}`, "numberofemployees", `200`},
		{"a big integer beyond 2^53", `{"contoso_big":"9007199254740993"}`, "contoso_big", `9007199254740993`},
		{"a decimal is rounded to its precision", `{"contoso_rating":-12.34565}`, "contoso_rating", `-12.3457`},
		{"a decimal with an exponent", `{"contoso_rating":1.5e2}`, "contoso_rating", `150`},
		{"a float is rounded to its precision", `{"address1_latitude":47.6395834}`, "address1_latitude", `47.63958`},
		{"money has four decimals", `{"revenue":5000000}`, "revenue", `5000000.0000`},
		{"choices", `{"contoso_tags":"100000000, 100000002"}`, "contoso_tags", `"100000000,100000002"`},
		{"a choice's default is set", `{}`, "preferredcontactmethodcode", `1`},
		{"a choice without a default is null", `{}`, "accountcategorycode", `null`},
		{"a yes/no default is set", `{}`, "creditonhold", `false`},
		{"an offset is brought to UTC", `{"contoso_seen":"2024-05-31T22:00:00+02:00"}`, "contoso_seen", `"2024-05-31T20:00:00Z"`},
		{"no offset means UTC", `{"contoso_seen":"2024-05-31T22:00:00.789"}`, "contoso_seen", `"2024-05-31T22:00:00Z"`},
		{"a date", `{"contoso_founded":"1890-02-28"}`, "contoso_founded", `"1890-02-28"`},
		{"the default state", `{}`, "statecode", `0`},
		{"the default status", `{}`, "statuscode", `1`},
		{"the state's own default status", `{"statecode":1}`, "statuscode", `2`},
		{"the owner is the caller", `{}`, "_ownerid_value", `"` + UserID.String() + `"`},
		{"the owning user follows the owner", `{}`, "_owninguser_value", `"` + UserID.String() + `"`},
		{"the owning unit follows the owner", `{}`, "_owningbusinessunit_value", `"` + BusinessUnitID.String() + `"`},
		{"a team as owner", `{"ownerid@odata.bind":"teams(` + TeamID.String() + `)"}`, "_owningteam_value", `"` + TeamID.String() + `"`},
		{"the currency is the base currency", `{"revenue":5}`, "_transactioncurrencyid_value", `"` + CurrencyID.String() + `"`},
		{"money in base currency is computed", `{"revenue":10,"transactioncurrencyid@odata.bind":"transactioncurrencies(` + gid(7, 1) + `)"}`, "revenue_base", `4.0000`},
		{"a column not valid for create is ignored", `{"createdon":"2001-01-01T00:00:00Z","versionnumber":7,"contoso_score":5,"overriddencreatedon":"2019-02-03T04:05:06Z"}`, "createdon", `"2019-02-03T04:05:06Z"`},
		{"a calculated column is ignored", `{"contoso_score":5}`, "contoso_score", `null`},
	} {
		t.Run(c.name, func(t *testing.T) {
			e := start(t)
			e.want(204, "", "POST", "transactioncurrencies", `{"transactioncurrencyid":"`+gid(7, 1)+`","currencyname":"Two and a half","exchangerate":2.5}`)
			e.want(204, "", "PATCH", "accounts("+gid(1, 1)+")", c.body)
			a := e.do("GET", "accounts("+gid(1, 1)+")?$select="+c.column, "")
			e.has(a, `"`+c.column+`":`+c.want)
		})
	}
}

// TestVersionOfProperty is If-Match where one property or reference is written (3.6, 3.7).
func TestVersionOfProperty(t *testing.T) {
	e := start(t)
	e.want(204, "", "POST", "accounts", `{"accountid":"`+acc1+`","name":"A"}`)
	e.want(204, "", "POST", "contacts", `{"contactid":"`+con1+`","lastname":"Ek"}`)
	row, stale := "accounts("+acc1+")", []string{"If-Match", `W/"1"`}
	e.want(412, "0x80060882", "PUT", row+"/name", `{"value":"B"}`, stale...)
	e.want(412, "0x80060882", "DELETE", row+"/name", "", stale...)
	e.want(412, "0x80060882", "PUT", row+"/primarycontactid/$ref", `{"@odata.id":"contacts(`+con1+`)"}`, stale...)
	e.has(e.want(200, "", "GET", row+"?$select=name,_primarycontactid_value", ""), `"name":"A"`, `"_primarycontactid_value":null`)
	e.want(204, "", "PUT", row+"/name", `{"value":"B"}`, "If-Match", e.want(200, "", "GET", row, "").header.Get("ETag"))
}

// TestStateIsNeverNull: the system requires a state (sections 3.2, 4.5), also where the
// schema is a $metadata document that knows no required levels.
func TestStateIsNeverNull(t *testing.T) {
	e := start(t)
	e.want(204, "", "POST", "accounts", `{"accountid":"`+acc1+`","name":"A","statecode":null,"statuscode":null}`)
	row := "accounts(" + acc1 + ")"
	e.want(400, "0x80040200", "PATCH", row, `{"statecode":null}`)
	e.want(400, "0x80040200", "DELETE", row+"/statecode", "")
	e.want(400, "0x80048408", "PATCH", row, `{"statuscode":null}`)
	e.has(e.want(200, "", "GET", row+"?$select=statecode,statuscode", ""), `"statecode":0,"statuscode":1`)
}

// TestKeyText: blanks around what a key URL says are nothing, and an empty text is null,
// which no row is found by (sections 3.4, 4.1).
func TestKeyText(t *testing.T) {
	e := start(t)
	e.want(204, "", "PATCH", "contacts(firstname='Joe',emailaddress1='j@x.io')", `{"lastname":"L"}`)
	e.has(e.want(200, "", "GET", "contacts(emailaddress1%20=%20'j@x.io'%20,%20firstname='Joe'%20)?$select=lastname", ""), `"L"`)
	e.want(204, "", "PATCH", "accounts(accountnumber='')", `{"name":"none"}`)
	e.has(e.want(200, "", "GET", "accounts?$select=accountnumber", ""), `"accountnumber":null`)
	e.want(404, "0x80060891", "GET", "accounts(accountnumber='')", "")
	e.want(400, "0x80060888", "GET", "contacts(firstname='Joe'%20emailaddress1='x')", "")
}

// TestIgnoredValues: what a write may not set is ignored (section 3.1), but a value of
// another type is refused with the payload, before that is known (section 4.1).
func TestIgnoredValues(t *testing.T) {
	e := start(t)
	e.want(204, "", "POST", "accounts", `{"accountid":"`+acc1+`","createdon":"2001-02-03T04:05:06Z","versionnumber":5,"revenue_base":1,"contoso_open":7}`)
	e.has(e.want(200, "", "GET", "accounts("+acc1+")?$select=revenue_base,contoso_open", ""), `"revenue_base":null`, `"contoso_open":null`)
	for _, body := range []string{`{"createdon":"x"}`, `{"versionnumber":"x"}`, `{"revenue_base":true}`, `{"contoso_open":"x"}`, `{"createdon":{}}`} {
		e.want(400, "0x80048d19", "POST", "accounts", body)
		e.want(400, "0x80048d19", "PATCH", "accounts("+acc1+")", body)
	}
}
