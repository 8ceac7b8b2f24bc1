package emulator

import (
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// TestVerbsBeside are the verbs that section 1.4's Allow header names beside GET and
// POST, and what a page of another origin needs.
func TestVerbsBeside(t *testing.T) {
	e := start(t)
	e.want(204, "", "POST", "accounts", `{"name":"x"}`)
	get, head := e.do("GET", "accounts?$select=name", ""), e.do("HEAD", "accounts?$select=name", "")
	if head.status != 200 || head.body != "" || head.header.Get("Content-Length") != get.header.Get("Content-Length") || head.header.Get("Content-Type") != get.header.Get("Content-Type") {
		t.Errorf("HEAD answered %d %q %v", head.status, head.body, head.header)
	}
	e.want(404, "", "HEAD", "accounts("+gid(9, 9)+")", "")
	ask := e.do("OPTIONS", "accounts", "", "Authorization", "", "Origin", "https://app.example", "Access-Control-Request-Method", "PATCH", "Access-Control-Request-Headers", "authorization,if-match")
	for name, want := range map[string]string{"Access-Control-Allow-Origin": "*", "Access-Control-Allow-Headers": "authorization,if-match", "Allow": "OPTIONS,GET,HEAD,POST"} {
		if ask.status != 200 || ask.header.Get(name) != want {
			t.Errorf("OPTIONS answered %d, %s %q, want %q", ask.status, name, ask.header.Get(name), want)
		}
	}
	if !strings.Contains(ask.header.Get("Access-Control-Allow-Methods"), "PATCH") {
		t.Errorf("PATCH is not allowed: %v", ask.header)
	}
	cross := e.do("POST", "accounts", `{"name":"y"}`, "Origin", "https://app.example")
	if cross.header.Get("Access-Control-Allow-Origin") != "*" || !strings.Contains(cross.header.Get("Access-Control-Expose-Headers"), "OData-EntityId") {
		t.Errorf("a page of another origin cannot read the answer: %v", cross.header)
	}
}

// TestBodiesOnTheWire are bodies as clients of other makers send them.
func TestBodiesOnTheWire(t *testing.T) {
	e := start(t)
	e.want(204, "", "POST", "accounts", "\ufeff"+`{"name":"after a byte order mark"}`)
	e.want(200, "", "POST", "accounts/Microsoft.Dynamics.CRM.CreateMultiple", "\ufeff"+`{"Targets":[{"@odata.type":"Microsoft.Dynamics.CRM.account","name":"x"}]}`)
	e.want(200, "", "GET", "WhoAmI", "", "Authorization", "bearer t")
	e.want(401, "", "GET", "WhoAmI", "", "Authorization", "Basic dTpw")
	for _, chunks := range []string{"zz\r\n{}\r\n0\r\n\r\n", "ff\r\n{}"} {
		conn, err := net.Dial("tcp", strings.TrimPrefix(strings.TrimSuffix(e.url, "/api/data/v9.2"), "http://"))
		if err != nil {
			t.Fatal(err)
		}
		conn.SetDeadline(time.Now().Add(4 * time.Minute))
		io.WriteString(conn, "POST /api/data/v9.2/accounts HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer t\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"+chunks)
		conn.(*net.TCPConn).CloseWrite()
		got, _ := io.ReadAll(conn)
		conn.Close()
		if !strings.HasPrefix(string(got), "HTTP/1.1 400") || !strings.Contains(string(got), "Stream was not readable") {
			t.Errorf("broken chunks %q: answered %.300s", chunks, got)
		}
	}
}

// TestAllActivities reads the collection that all kinds of activity share.
func TestAllActivities(t *testing.T) {
	e := start(t, withPointer(t))
	a := gid(1, 1)
	e.want(204, "", "POST", "accounts", `{"accountid":"`+a+`","name":"A"}`)
	e.want(204, "", "POST", "tasks", `{"subject":"call","regardingobjectid_account_task@odata.bind":"accounts(`+a+`)"}`)
	e.want(204, "", "POST", "emails", `{"activityid":"`+gid(2, 1)+`","subject":"mail","regardingobjectid_account_email@odata.bind":"accounts(`+a+`)","email_activity_parties":[{"addressused":"x@y.z","participationtypemask":2}]}`)
	for _, path := range []string{"accounts(" + a + ")/Account_ActivityPointers?$select=subject,activitytypecode", "accounts(" + a + ")?$select=name&$expand=Account_ActivityPointers($select=subject,activitytypecode)"} {
		e.has(e.want(200, "", "GET", path, ""), `"subject":"call","activitytypecode":"task"`, `"subject":"mail","activitytypecode":"email"`)
	}
	e.has(e.want(200, "", "GET", "accounts?"+query("$select", "name", "$filter", "Account_ActivityPointers/any(p:p/subject eq 'mail')"), ""), a)
	e.has(e.want(200, "", "GET", "accounts?"+query("fetchXml", `<fetch><entity name="account"><link-entity name="activitypointer" from="regardingobjectid" to="accountid" alias="p"><attribute name="subject"/></link-entity></entity></fetch>`), ""), `"p.subject":"mail"`)
	e.has(e.want(200, "", "GET", "$metadata", ""), `Name="Account_ActivityPointers" Type="Collection(mscrm.activitypointer)"`)

	e.want(204, "", "DELETE", "emails("+gid(2, 1)+")", "")
	if n := len(e.list("activityparties?$select=addressused").Value); n != 0 {
		t.Errorf("%d parties outlive their activity", n)
	}
}

// TestProbesOfTools are reads that tools begin with (sections 6.2, 10.4, 12.8).
func TestProbesOfTools(t *testing.T) {
	e := start(t, func(o *Options) {
		s, err := secured(o.Schema)
		if err != nil {
			t.Fatal(err)
		}
		account := *s.Table("account")
		account.PrimaryName = "" // as of a $metadata document
		if o.Schema, err = s.With(&account); err != nil {
			t.Fatal(err)
		}
	})
	e.want(400, "0x80040203", "GET", "RetrieveTotalRecordCount", "")
	e.want(400, "0x80040203", "GET", "RetrieveTotalRecordCount(EntityNames=@p)", "")
	message := e.list("sdkmessages?" + query("$select", "name", "$filter", "name eq 'CreateMultiple'")).Value
	filter := e.list("sdkmessagefilters?" + query("$filter", "sdkmessageid/name eq 'CreateMultiple' and primaryobjecttypecode eq 'account'")).Value
	if len(message) != 1 || len(filter) != 1 || message[0]["sdkmessageid"] != filter[0]["_sdkmessageid_value"] {
		t.Errorf("message %v is not that of filter %v", message, filter)
	}
	roles := e.list("systemusers(" + UserID.String() + ")/systemuserroles_association?$select=name").Value
	if len(roles) != 1 || roles[0]["name"] != administrator {
		t.Errorf("the caller has the roles %v", roles)
	}
	e.has(e.want(200, "", "GET", "EntityDefinitions(LogicalName='account')?$select=PrimaryNameAttribute", ""), `"PrimaryNameAttribute":"name"`)
	if res := e.do(http.MethodGet, "accounts?fetchXml=", ""); res.status != 400 {
		t.Errorf("an empty fetchXml answered %d", res.status)
	}
}

// TestRowAggregate counts the children of rows in their table's hierarchy.
func TestRowAggregate(t *testing.T) {
	e := start(t)
	for i, parent := range []int{0, 1, 1, 2} {
		body := `{"accountid":"` + gid(1, i+1) + `","name":"A"}`
		if parent > 0 {
			body = body[:len(body)-1] + `,"parentaccountid@odata.bind":"accounts(` + gid(1, parent) + `)"}`
		}
		e.want(204, "", "POST", "accounts", body)
	}
	ask := func(attribute string) string {
		return "accounts?" + query("fetchXml", `<fetch><entity name="account"><attribute name="name"/>`+attribute+`<filter><condition attribute="accountid" operator="eq-or-under" value="`+gid(1, 1)+`"/></filter></entity></fetch>`)
	}
	rows := e.list(ask(`<attribute name="accountid" rowaggregate="CountChildren" alias="children"/>`)).Value
	want := map[any]float64{gid(1, 1): 2, gid(1, 2): 1, gid(1, 3): 0, gid(1, 4): 0}
	for _, r := range rows {
		if r["children"] != want[r["accountid"]] {
			t.Errorf("%v has %v children, want %v", r["accountid"], r["children"], want[r["accountid"]])
		}
	}
	if len(rows) != len(want) {
		t.Errorf("%d rows, want %d", len(rows), len(want))
	}
	for _, bad := range []string{`<attribute name="accountid" rowaggregate="CountChildren"/>`, `<attribute name="accountid" rowaggregate="Sum" alias="n"/>`, `<attribute name="name" rowaggregate="CountChildren" alias="n"/>`} {
		e.want(400, "0x80041104", "GET", ask(bad), "")
	}
}

// TestOperationsAreDeclared compares $metadata with what is answered.
func TestOperationsAreDeclared(t *testing.T) {
	functions, boundFunctions := makeFunctions()
	actions, boundActions := makeActions()
	declared := map[string]csdlOperation{}
	for _, o := range csdlOperations {
		declared[o.name] = o
		answered := functions[o.name] != nil || actions[o.name] != nil
		if o.bound {
			answered = boundFunctions[o.name] != nil || boundActions[o.name] != nil
		}
		if !answered {
			t.Errorf("%s is declared and not answered", o.name)
		}
	}
	for kind, names := range map[string]map[string]func(*call) error{"Function": functions, "Action": actions} {
		for name := range names {
			if name[0] >= 'A' && name[0] <= 'Z' && declared[name].kind != kind { // others are sets
				t.Errorf("%s %s is answered and not declared", kind, name)
			}
		}
	}
	e := start(t)
	doc := e.want(200, "", "GET", "$metadata", "")
	e.has(doc, `<ActionImport Name="Merge" Action="Microsoft.Dynamics.CRM.Merge" />`, `<ReturnType Type="mscrm.crmbaseentity" Nullable="false" /></Function>`,
		`<Action Name="AddMembersTeam" IsBound="true"><Parameter Name="entity" Type="mscrm.team" Nullable="false" />`)
	if strings.Contains(doc.body, "incidentresolution") {
		t.Error("an action is declared whose tables the schema lacks")
	}
}

// TestRangesOfAFile reads parts of a file (section 13.1).
func TestRangesOfAFile(t *testing.T) {
	e := librarian(t)
	e.want(204, "", "PATCH", "accounts("+acc1+")/contoso_doc", "0123456789", "Content-Type", bytesType, "x-ms-file-name", "d.txt")
	for _, c := range []struct {
		ask, body, span string
		status          int
	}{
		{"bytes=2-4", "234", "bytes 2-4/10", 206}, {"bytes=7-", "789", "bytes 7-9/10", 206}, {"bytes=7-9223372036854775807", "789", "bytes 7-9/10", 206},
		{"bytes=-3", "789", "bytes 7-9/10", 206}, {"bytes=-30", "0123456789", "bytes 0-9/10", 206}, {"lines=1", "0123456789", "", 200},
		{"bytes=x-", "0123456789", "", 200}, {"bytes=10-12", "", "", 416},
	} {
		a := e.do("GET", "accounts("+acc1+")/contoso_doc/$value", "", "Range", c.ask)
		if a.status != c.status || a.header.Get("Content-Range") != c.span || c.status != 416 && a.body != c.body {
			t.Errorf("%s: answered %d %q, %q", c.ask, a.status, a.header.Get("Content-Range"), a.body)
		}
	}
	e.want(200, "", "GET", "systemusers(ownerid="+UserID.String()+")?$select=fullname", "")
	e.want(400, "0x80060888", "GET", "systemusers(systemuserid="+UserID.String()+")?$select=fullname", "")
}

// TestMadeUpRows look like stored ones: a version (1.5), the selection in the context.
func TestMadeUpRows(t *testing.T) {
	e := start(t)
	got := e.want(200, "", "GET", "sdkmessagefilters?"+query("$select", "primaryobjecttypecode", "$expand", "sdkmessageid($select=name)", "$top", "1"), "")
	e.has(got, `#sdkmessagefilters(primaryobjecttypecode,sdkmessageid(name))"`, `"value":[{"@odata.etag":"W/\"1\"","sdkmessagefilterid":`)
}
