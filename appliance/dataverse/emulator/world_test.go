package emulator

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"dvmigrate/appliance/dataverse/schema"
)

// world is a small environment with one of everything that the reference speaks of.
func world(t testing.TB) *schema.Schema {
	t.Helper()
	s, err := schema.New(worldTables(), []schema.ManyToMany{
		{SchemaName: "contoso_account_contact", Intersect: "contoso_account_contact", Table1: "account", Column1: "accountid", Nav1: "contoso_account_contact",
			Table2: "contact", Column2: "contactid", Nav2: "contoso_account_contact"},
		{SchemaName: "contoso_friends", Intersect: "contoso_friends", Table1: "contact", Column1: "contactidone", Nav1: "contoso_friends_one",
			Table2: "contact", Column2: "contactidtwo", Nav2: "contoso_friends_two"},
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func ptr[T any](v T) *T { return &v }

func col(name string, typ schema.ColumnType, more ...func(*schema.Column)) *schema.Column {
	c := &schema.Column{LogicalName: name, Type: typ}
	for _, m := range more {
		m(c)
	}
	return c
}

// rolledUp makes a column that only the service writes.
func rolledUp(source int) func(*schema.Column) {
	return func(c *schema.Column) { c.SourceType, c.NoCreate, c.NoUpdate = source, true, true }
}

func text(name string, length int) *schema.Column {
	return col(name, schema.Text, func(c *schema.Column) { c.MaxLength = length })
}

func lookup(name string, targets ...string) *schema.Column {
	return col(name, schema.Lookup, func(c *schema.Column) { c.Targets = targets })
}

func rel(column, target, nav, collection, onDelete string) schema.Relationship {
	r := schema.Relationship{SchemaName: nav + "_" + target, Column: column, Target: target, Nav: nav, Collection: collection}
	if onDelete != "" {
		r.Cascade = map[string]string{"Delete": onDelete}
	}
	return r
}

// systemColumns are those that most tables have.
func systemColumns() []*schema.Column {
	no := func(c *schema.Column) { c.NoCreate, c.NoUpdate = true, true }
	return []*schema.Column{
		col("createdon", schema.DateTime, no), col("modifiedon", schema.DateTime, no),
		col("overriddencreatedon", schema.DateTime, func(c *schema.Column) { c.NoUpdate = true }),
		col("createdby", schema.Lookup, no, func(c *schema.Column) { c.Targets = []string{"systemuser"} }),
		col("modifiedby", schema.Lookup, no, func(c *schema.Column) { c.Targets = []string{"systemuser"} }),
		col("createdonbehalfby", schema.Lookup, no, func(c *schema.Column) { c.Targets = []string{"systemuser"} }),
		col("versionnumber", schema.BigInt, no),
		col("importsequencenumber", schema.Integer, func(c *schema.Column) { c.NoUpdate = true }),
	}
}

func ownerColumns() []*schema.Column {
	return []*schema.Column{
		col("ownerid", schema.Owner, func(c *schema.Column) { c.Targets = []string{"systemuser", "team"}; c.Required = schema.SystemRequired }),
		lookup("owninguser", "systemuser"), lookup("owningteam", "team"), lookup("owningbusinessunit", "businessunit"),
	}
}

func stateColumns(states ...schema.Option) []*schema.Column {
	state := &schema.Column{LogicalName: "statecode", Type: schema.State}
	status := &schema.Column{LogicalName: "statuscode", Type: schema.Status}
	for _, s := range states {
		status.Options = append(status.Options, schema.Option{Value: *s.DefaultStatus, Label: s.Label, State: ptr(s.Value)})
		state.Options = append(state.Options, s)
	}
	return []*schema.Column{state, status}
}

func activeStates() []*schema.Column {
	return stateColumns(schema.Option{Value: 0, Label: "Active", DefaultStatus: ptr(int32(1))}, schema.Option{Value: 1, Label: "Inactive", DefaultStatus: ptr(int32(2))})
}

func join(groups ...[]*schema.Column) (all []*schema.Column) {
	for _, g := range groups {
		all = append(all, g...)
	}
	return all
}

func tableOf(name, schemaName, set, id, primaryName string, cols ...*schema.Column) *schema.Table {
	return &schema.Table{LogicalName: name, SchemaName: schemaName, EntitySet: set, PrimaryID: id, PrimaryName: primaryName,
		Kind: schema.Standard, Ownership: schema.UserOwned, OptimisticConcurrency: true,
		Columns: append([]*schema.Column{col(id, schema.UniqueID, func(c *schema.Column) { c.NoUpdate = true })}, cols...)}
}

func worldTables() []*schema.Table {
	money := func(name string) []*schema.Column {
		return []*schema.Column{col(name, schema.Money, func(c *schema.Column) { c.Precision = ptr(2); c.Min = ptr(-1e9); c.Max = ptr(1e9) }),
			col(name+"_base", schema.Money, func(c *schema.Column) { c.CalculationOf = name; c.NoCreate = true; c.NoUpdate = true })}
	}
	account := tableOf("account", "Account", "accounts", "accountid", "name", join([]*schema.Column{
		text("name", 160), text("accountnumber", 20), text("telephone1", 50), text("emailaddress1", 100), text("websiteurl", 200),
		text("address1_line1", 250), text("address1_city", 80), text("address1_postalcode", 20), text("address1_country", 80),
		col("description", schema.Memo, func(c *schema.Column) { c.MaxLength = 2000 }),
		col("numberofemployees", schema.Integer, func(c *schema.Column) { c.Min = ptr(0.0); c.Max = ptr(1e6) }),
		col("creditonhold", schema.YesNo, func(c *schema.Column) { c.Default = ptr(int32(0)) }),
		col("accountcategorycode", schema.Choice, func(c *schema.Column) {
			c.Options = []schema.Option{{Value: 1, Label: "Preferred"}, {Value: 2, Label: "Standard"}, {Value: 3, Label: "Other"}}
		}),
		col("preferredcontactmethodcode", schema.Choice, func(c *schema.Column) {
			c.Options = []schema.Option{{Value: 1, Label: "Any"}, {Value: 2, Label: "Email"}}
			c.Default = ptr(int32(1))
		}),
		col("contoso_tags", schema.Choices, func(c *schema.Column) {
			c.Options = []schema.Option{{Value: 100000000, Label: "A"}, {Value: 100000001, Label: "B"}, {Value: 100000002, Label: "C"}}
		}),
		col("contoso_rating", schema.Decimal, func(c *schema.Column) { c.Precision = ptr(4); c.Min = ptr(-1000.0); c.Max = ptr(1000.0) }),
		col("address1_latitude", schema.Float, func(c *schema.Column) { c.Precision = ptr(5); c.Min = ptr(-90.0); c.Max = ptr(90.0) }),
		col("contoso_big", schema.BigInt),
		col("contoso_founded", schema.DateTime, func(c *schema.Column) { c.DateBehavior = schema.DateOnly }),
		col("contoso_seen", schema.DateTime, func(c *schema.Column) { c.DateBehavior = schema.UserLocal }),
		col("contoso_score", schema.Integer, func(c *schema.Column) { c.SourceType = 1 }),
		col("contoso_open", schema.Integer, rolledUp(2)), col("contoso_open_date", schema.DateTime, rolledUp(0)), col("contoso_open_state", schema.Integer, rolledUp(0)),
		lookup("primarycontactid", "contact"), lookup("parentaccountid", "account"),
		lookup("transactioncurrencyid", "transactioncurrency"), col("exchangerate", schema.Decimal, func(c *schema.Column) { c.Precision = ptr(10) }),
	}, money("revenue"), systemColumns(), ownerColumns(), activeStates())...)
	account.Bulk = []string{"create", "update", "upsert"}
	account.ChangeTracking = true
	account.Keys = []schema.Key{{LogicalName: "contoso_accno", SchemaName: "contoso_AccNo", Columns: []string{"accountnumber"}},
		{LogicalName: "contoso_old", Columns: []string{"websiteurl"}, Inactive: true}}
	account.ManyToOne = []schema.Relationship{rel("primarycontactid", "contact", "primarycontactid", "account_primary_contact", "RemoveLink"),
		rel("parentaccountid", "account", "parentaccountid", "account_parent_account", "RemoveLink"),
		rel("transactioncurrencyid", "transactioncurrency", "transactioncurrencyid", "transactioncurrency_account", "Restrict"),
		rel("createdby", "systemuser", "createdby", "lk_accountbase_createdby", "NoCascade")}

	contact := tableOf("contact", "Contact", "contacts", "contactid", "fullname", join([]*schema.Column{
		text("firstname", 50), text("lastname", 50), text("fullname", 160), text("emailaddress1", 100),
		col("parentcustomerid", schema.Customer, func(c *schema.Column) { c.Targets = []string{"account", "contact"} }),
	}, systemColumns(), ownerColumns(), activeStates())...)
	contact.Bulk = []string{"create", "update"}
	contact.Keys = []schema.Key{{LogicalName: "contoso_person", SchemaName: "contoso_Person", Columns: []string{"firstname", "emailaddress1"}}}
	contact.ManyToOne = []schema.Relationship{rel("parentcustomerid", "account", "parentcustomerid_account", "contact_customer_accounts", "Cascade"),
		rel("parentcustomerid", "contact", "parentcustomerid_contact", "contact_customer_contacts", "RemoveLink")}

	task := tableOf("task", "Task", "tasks", "activityid", "subject", join([]*schema.Column{text("subject", 200),
		lookup("regardingobjectid", "account", "contact")}, systemColumns(), ownerColumns(),
		stateColumns(schema.Option{Value: 0, Label: "Open", DefaultStatus: ptr(int32(2))}, schema.Option{Value: 1, Label: "Completed", DefaultStatus: ptr(int32(5))},
			schema.Option{Value: 2, Label: "Canceled", DefaultStatus: ptr(int32(6))}))...)
	task.Kind = schema.Activity
	task.ManyToOne = []schema.Relationship{rel("regardingobjectid", "account", "regardingobjectid_account_task", "Account_Tasks", "Cascade"),
		rel("regardingobjectid", "contact", "regardingobjectid_contact_task", "Contact_Tasks", "Cascade")}

	email := tableOf("email", "Email", "emails", "activityid", "subject", join([]*schema.Column{text("subject", 200)}, systemColumns(), ownerColumns(), activeStates())...)
	email.Kind = schema.Activity
	party := tableOf("activityparty", "ActivityParty", "activityparties", "activitypartyid", "", lookup("activityid", "email"),
		lookup("partyid", "contact", "systemuser"), col("participationtypemask", schema.Integer), text("addressused", 200))
	party.Ownership = schema.NotOwned
	party.ManyToOne = []schema.Relationship{rel("activityid", "email", "activityid_email", "email_activity_parties", "Cascade"),
		rel("partyid", "contact", "partyid_contact", "contact_activity_parties", ""), rel("partyid", "systemuser", "partyid_systemuser", "system_user_activity_parties", "")}

	order := tableOf("contoso_order", "contoso_Order", "contoso_orders", "contoso_orderid", "contoso_name", join([]*schema.Column{
		col("contoso_name", schema.Text, func(c *schema.Column) {
			c.MaxLength = 100
			c.AutoNumber = "SO-{SEQNUM:5}-{RANDSTRING:4}-{DATETIMEUTC:yyyyMMdd}"
		}),
		text("contoso_code", 40), col("contoso_day", schema.DateTime, func(c *schema.Column) { c.DateBehavior = schema.DateOnly }), col("contoso_no", schema.Integer),
		lookup("contoso_accountid", "account"),
	}, systemColumns(), ownerColumns(), activeStates())...)
	order.Custom = true
	order.Bulk = []string{"create", "update", "upsert"}
	order.Keys = []schema.Key{{LogicalName: "contoso_code", SchemaName: "contoso_Code", Columns: []string{"contoso_code"}},
		{LogicalName: "contoso_place", Columns: []string{"contoso_accountid", "contoso_no"}}}
	order.ManyToOne = []schema.Relationship{rel("contoso_accountid", "account", "contoso_AccountId", "contoso_account_orders", "Restrict")}

	user := tableOf("systemuser", "SystemUser", "systemusers", "systemuserid", "fullname", text("firstname", 60), text("lastname", 60), text("fullname", 200),
		text("domainname", 100), text("internalemailaddress", 100), col("isdisabled", schema.YesNo), col("accessmode", schema.Integer), lookup("businessunitid", "businessunit"))
	team := tableOf("team", "Team", "teams", "teamid", "name", text("name", 160), col("teamtype", schema.Integer), lookup("businessunitid", "businessunit"))
	unit := tableOf("businessunit", "BusinessUnit", "businessunits", "businessunitid", "name", text("name", 160))
	currency := tableOf("transactioncurrency", "TransactionCurrency", "transactioncurrencies", "transactioncurrencyid", "currencyname",
		text("currencyname", 100), text("isocurrencycode", 5), text("currencysymbol", 5), col("exchangerate", schema.Decimal), col("currencyprecision", schema.Integer))
	link := tableOf("contoso_account_contact", "contoso_account_contact", "contoso_account_contactset", "contoso_account_contactid", "",
		col("accountid", schema.UniqueID), col("contactid", schema.UniqueID))
	link.Kind = schema.Intersect
	for _, o := range []*schema.Table{user, team, unit, currency, link} {
		o.Ownership = schema.BusinessOwned
	}
	return []*schema.Table{account, contact, task, email, party, order, user, team, unit, currency, link}
}

// env is a running emulator and a plain HTTP client for it.
type env struct {
	t   testing.TB
	srv *Server
	url string // of the service root, without a slash at the end
}

func start(t testing.TB, more ...func(*Options)) *env {
	t.Helper()
	o := Options{Schema: world(t)}
	for _, m := range more {
		m(&o)
	}
	srv, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	web := httptest.NewServer(srv)
	t.Cleanup(func() { web.Close(); srv.Close() })
	return &env{t, srv, web.URL + "/api/data/v9.2"}
}

// answer is what came back.
type answer struct {
	status int
	header http.Header
	body   string
}

// code is the error code in the body.
func (a answer) code() string {
	_, rest, _ := strings.Cut(a.body, `"code":"`)
	code, _, _ := strings.Cut(rest, `"`)
	return code
}

func (e *env) do(method, path, body string, headers ...string) answer {
	e.t.Helper()
	a, err := e.try(method, path, body, headers...)
	if err != nil {
		e.t.Fatalf("%s %s: %v", method, path, err)
	}
	return a
}

func (e *env) try(method, path, body string, headers ...string) (answer, error) {
	url := path
	if !strings.HasPrefix(path, "http") {
		url = e.url + "/" + path
	}
	req, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		return answer{}, err
	}
	req.Header.Set("Authorization", "Bearer t")
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Del(headers[i])
		if headers[i+1] != "" {
			req.Header.Set(headers[i], headers[i+1])
		}
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	return answer{res.StatusCode, res.Header, string(b)}, err
}

// want does a request and checks its status and, when given, its error code.
func (e *env) want(status int, code, method, path, body string, headers ...string) answer {
	e.t.Helper()
	a := e.do(method, path, body, headers...)
	if a.status != status || !strings.EqualFold(a.code(), code) {
		e.t.Errorf("%s %s %s: answered %d %q, want %d %q\n%s", method, path, body, a.status, a.code(), status, code, a.body)
	}
	return a
}

// gid makes a readable id for row n of a kind.
func gid(kind, n int) string { return fmt.Sprintf("%08x-0000-4000-8000-%012x", kind, n) }

// has checks that a body contains parts.
func (e *env) has(a answer, parts ...string) {
	e.t.Helper()
	for _, p := range parts {
		if !strings.Contains(a.body, p) {
			e.t.Errorf("the answer lacks %s:\n%s", p, a.body)
		}
	}
}
