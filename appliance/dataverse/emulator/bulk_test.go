package emulator

import (
	"fmt"
	"strings"
	"testing"
)

func targets(rows ...string) string {
	for i, r := range rows {
		rows[i] = `{"@odata.type":"Microsoft.Dynamics.CRM.account",` + r + `}`
	}
	return `{"Targets":[` + strings.Join(rows, ",") + `]}`
}

func TestCreateMultiple(t *testing.T) {
	e := seeded(t)
	const path = "accounts/Microsoft.Dynamics.CRM.CreateMultiple"
	a := e.want(200, "", "POST", path, targets(`"accountid":"`+gid(1, 8)+`","name":"a"`, `"accountid":"`+gid(1, 7)+`"`))
	want := `{"@odata.context":"` + e.url + `/$metadata#Microsoft.Dynamics.CRM.CreateMultipleResponse","Ids":["` + gid(1, 8) + `","` + gid(1, 7) + `"]}`
	if a.body != want {
		t.Errorf("6.1: answered %s\nwant %s", a.body, want)
	}
	for _, c := range []struct {
		name, path, body string
		status           int
		code             string
	}{
		{"6.3 one bad row rolls back all", path, targets(`"name":"good"`, `"accountnumber":"`+strings.Repeat("x", 30)+`"`), 400, "0x80044331"},
		{"6.3 a missing lookup target rolls back all", path, targets(`"name":"good"`, `"primarycontactid@odata.bind":"contacts(`+gid(9, 9)+`)"`), 404, "0x80040217"},
		{"6.3 an id that exists rolls back all", path, targets(`"name":"good"`, `"accountid":"`+acc1+`"`), 412, "0x80040237"},
		{"6.1 an id twice in one request", path, targets(`"accountid":"`+gid(1, 9)+`"`, `"accountid":"`+gid(1, 9)+`"`), 412, "0x80040237"},
		{"6.1 an alternate key twice in one request", path, targets(`"accountnumber":"K"`, `"accountnumber":"k "`), 412, "0x80060892"},
		{"6.1 @odata.type is mandatory", path, `{"Targets":[{"name":"x"}]}`, 400, "0x80048d19"},
		{"6.1 @odata.type of another table", path, `{"Targets":[{"@odata.type":"Microsoft.Dynamics.CRM.contact","name":"x"}]}`, 400, "0x80048d19"},
		{"6.2 a table without the message", "systemusers/Microsoft.Dynamics.CRM.CreateMultiple", `{"Targets":[]}`, 400, "0x80040203"},
		{"6.1 DeleteMultiple on a standard table", "accounts/Microsoft.Dynamics.CRM.DeleteMultiple", `{"Targets":[]}`, 501, "0x80040219"},
		{"an unknown action", "accounts/Microsoft.Dynamics.CRM.Create", `{}`, 404, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			e := &env{t, e.srv, e.url}
			a := e.want(c.status, c.code, "POST", c.path, c.body)
			if strings.Contains(a.body, "RequestIndex") {
				t.Errorf("6.3: the error tells the row: %s", a.body)
			}
			if n := e.srv.Stats().Rows["account"]; n != 4 {
				t.Errorf("%d accounts, want the 4 from before", n)
			}
		})
	}
}

func TestUpdateAndUpsertMultiple(t *testing.T) {
	e := seeded(t)
	const update, upsert = "accounts/Microsoft.Dynamics.CRM.UpdateMultiple", "accounts/Microsoft.Dynamics.CRM.UpsertMultiple"
	a := e.want(204, "", "POST", update, targets(`"accountid":"`+acc1+`","name":"u1"`, `"@odata.id":"accounts(accountnumber='O''Two')","name":"u2"`))
	if a.body != "" {
		t.Errorf("6.1: UpdateMultiple answered %s", a.body)
	}
	a = e.want(404, "0x80040217", "POST", update, targets(`"accountid":"`+acc1+`","name":"u3"`, `"accountid":"`+gid(9, 9)+`"`))
	e.has(a, "Account With Ids = "+gid(9, 9)+" Do Not Exist")
	e.has(e.do("GET", "accounts("+acc1+")?$select=name", ""), `"name":"u1"`)
	a = e.want(204, "", "POST", upsert, targets(`"accountid":"`+acc1+`","name":"v1"`, `"@odata.id":"accounts(accountnumber='O''Two')","name":"v2"`,
		`"@odata.id":"accounts(accountnumber='V3')","name":"v3"`, `"accountid":"`+gid(1, 4)+`","name":"v4"`, `"name":"v5"`))
	if a.body != "" {
		t.Errorf("6.1: UpsertMultiple answered %s", a.body)
	}
	for key, name := range map[string]string{acc1: "v1", acc2: "v2", "accountnumber='V3'": "v3", gid(1, 4): "v4"} {
		e.has(e.do("GET", "accounts("+key+")?$select=name", ""), `"name":"`+name+`"`)
	}
	if s := e.srv.Stats(); s.Rows["account"] != 5 {
		t.Errorf("%d accounts, want 5", s.Rows["account"])
	}
	e.want(400, "0x80040203", "POST", "contacts/Microsoft.Dynamics.CRM.UpdateMultiple", `{"Targets":[{"@odata.type":"#Microsoft.Dynamics.CRM.contact","lastname":"x"}]}`)
}

// account is a row of twelve columns as a loader sends it.
func account(n int) string {
	return fmt.Sprintf(`{"@odata.type":"Microsoft.Dynamics.CRM.account","accountid":"%s","name":"Account number %d","accountnumber":"ACC-%07d","telephone1":"+49 89 %07d","emailaddress1":"info%d@example.com","websiteurl":"https://www.example.com/%d","address1_line1":"Long Street %d","address1_city":"München","address1_postalcode":"%05d","numberofemployees":%d,"revenue":%d.50,"creditonhold":false,"accountcategorycode":2}`,
		gid(6, n), n, n, n, n, n, n%500, n%100000, n%5000, n)
}

func bulkBody(from, rows int) []byte {
	var b strings.Builder
	b.WriteString(`{"Targets":[`)
	for i := range rows {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(account(from + i))
	}
	b.WriteString("]}")
	return []byte(b.String())
}
