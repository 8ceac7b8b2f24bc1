package mapping

import (
	"testing"

	"dvmigrate/appliance/dataverse/schema"
)

func guessSchema(t *testing.T) *schema.Schema {
	t.Helper()
	text := func(names ...string) (cols []*schema.Column) {
		for _, n := range names {
			cols = append(cols, &schema.Column{LogicalName: n, Type: schema.Text})
		}
		return cols
	}
	s, err := schema.New([]*schema.Table{
		{LogicalName: "account", SchemaName: "Account", PrimaryID: "accountid", PrimaryName: "name", Columns: text("accountid", "name", "accountnumber", "address1_line1", "address1_postalcode", "address1_city", "telephone1", "emailaddress1", "websiteurl", "description", "overriddencreatedon")},
		{LogicalName: "contact", SchemaName: "Contact", PrimaryID: "contactid", PrimaryName: "fullname", Columns: text("contactid", "firstname", "lastname", "jobtitle", "emailaddress1", "birthdate")},
		{LogicalName: "contoso_equipment", SchemaName: "contoso_Equipment", PrimaryID: "contoso_equipmentid", PrimaryName: "contoso_name", Columns: text("contoso_equipmentid", "contoso_name", "contoso_serial")},
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func named(names ...string) (columns []FromColumn) {
	for _, n := range names {
		columns = append(columns, FromColumn{Name: n})
	}
	return columns
}

func TestGuessTables(t *testing.T) {
	s := guessSchema(t)
	for source, c := range map[string]struct {
		columns []string
		want    string
	}{
		"customers":   {[]string{"KDNR", "FIRMA", "ORT"}, "account"},
		"tblKunden":   {[]string{"Nr", "Name"}, "account"},
		"Personen":    {[]string{"Vorname", "Nachname"}, "contact"},
		"machines":    {[]string{"SerialNumber"}, "contoso_equipment"},
		"export_2024": {[]string{"firstname", "lastname", "email"}, "contact"},
	} {
		got := GuessTables(s, source, named(c.columns...))
		if len(got) == 0 || got[0].Table.LogicalName != c.want {
			t.Errorf("%s: %+v, want %s", source, got, c.want)
		}
	}
	if got := GuessTables(s, "zzz", named("qqq")); len(got) != 0 {
		t.Errorf("something like nothing: %+v", got)
	}
}

func TestGuessColumns(t *testing.T) {
	got := GuessColumns(guessSchema(t).Table("account"), "x", named("KDNR", "FIRMA", "STRASSE", "PLZ", "ORT", "TEL", "E-Mail", "WEB", "BEMERKUNG", "ANGELEGT", "XYZ"))
	want := map[string]string{"KDNR": "accountnumber", "FIRMA": "name", "STRASSE": "address1_line1", "PLZ": "address1_postalcode", "ORT": "address1_city", "TEL": "telephone1",
		"E-Mail": "emailaddress1", "WEB": "websiteurl", "BEMERKUNG": "description", "ANGELEGT": "overriddencreatedon"}
	for source, column := range want {
		if g, ok := got[source]; !ok || g.Column.LogicalName != column {
			t.Errorf("%s: %+v, want %s", source, got[source].Column, column)
		}
	}
	if g, ok := got["XYZ"]; ok {
		t.Errorf("XYZ is taken for %s", g.Column.LogicalName)
	}
}

// TestGuessAmongManyColumns: real tables have hundreds of columns that share a word with
// anything; a phone is no fax, an address not the fax of one, an id of another table no text.
func TestGuessAmongManyColumns(t *testing.T) {
	columns := func(typ schema.ColumnType, names ...string) (cols []*schema.Column) {
		for _, n := range names {
			cols = append(cols, &schema.Column{LogicalName: n, Type: typ})
		}
		return cols
	}
	account := append(columns(schema.Text, "accountid", "name", "accountnumber", "he_accountnumber", "address1_line1", "address1_name", "address1_fax", "address1_city", "address1_stateorprovince", "address1_postalcode",
		"address1_country", "address2_city", "address2_fax", "telephone1", "fax", "emailaddress1"), columns(schema.Integer, "numberofemployees")...)
	contact := append(columns(schema.Text, "contactid", "fullname", "firstname", "lastname", "jobtitle", "salutation", "address1_line1", "address1_city", "telephone2", "description", "employeeid"), columns(schema.DateTime, "birthdate")...)
	order := append(columns(schema.Text, "salesorderid", "name", "ordernumber", "shipto_name", "shipto_line1", "shipto_city", "billto_city"), columns(schema.DateTime, "submitdate", "datefulfilled")...)
	s, err := schema.New([]*schema.Table{
		{LogicalName: "account", SchemaName: "Account", PrimaryID: "accountid", PrimaryName: "name", Columns: account},
		{LogicalName: "contact", SchemaName: "Contact", PrimaryID: "contactid", PrimaryName: "fullname", Columns: contact},
		{LogicalName: "salesorder", SchemaName: "SalesOrder", PrimaryID: "salesorderid", PrimaryName: "name", Columns: order},
		{LogicalName: "email", SchemaName: "Email", PrimaryID: "activityid", PrimaryName: "subject", Columns: columns(schema.Text, "activityid", "subject", "sender")},
		{LogicalName: "actioncarduserstate", SchemaName: "ActionCardUserState", PrimaryID: "actioncarduserstateid", Columns: columns(schema.Integer, "actioncarduserstateid", "state")},
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	date := FromColumn{Name: "birth_date", SQLType: "DATE"}
	for _, c := range []struct {
		source, table string
		columns       []FromColumn
		want          map[string]string
	}{
		{"customers", "account", named("customer_id", "company_name", "contact_name", "address", "city", "region", "postal_code", "country", "phone", "StateProvinceID"), map[string]string{"customer_id": "accountnumber", "company_name": "name",
			"address": "address1_line1", "city": "address1_city", "region": "address1_stateorprovince", "postal_code": "address1_postalcode", "country": "address1_country", "phone": "telephone1"}},
		{"suppliers", "account", named("supplier_id", "company_name", "city"), map[string]string{"supplier_id": "accountnumber", "company_name": "name", "city": "address1_city"}},
		{"employees", "contact", append(named("employee_id", "last_name", "first_name", "title", "title_of_courtesy", "address", "home_phone", "notes"), date), map[string]string{"employee_id": "employeeid", "last_name": "lastname",
			"first_name": "firstname", "title": "jobtitle", "title_of_courtesy": "salutation", "address": "address1_line1", "home_phone": "telephone2", "notes": "description", "birth_date": "birthdate"}},
		{"orders", "salesorder", append(named("order_id", "ship_name", "ship_address", "ship_city"), FromColumn{Name: "order_date", SQLType: "DATE"}), map[string]string{"order_id": "ordernumber", "ship_name": "shipto_name",
			"ship_address": "shipto_line1", "ship_city": "shipto_city", "order_date": "submitdate"}},
		{"EmailAddress", "", named("BusinessEntityID", "EmailAddressID", "EmailAddress"), nil},
		{"us_states", "", named("state_id", "state_name", "state_abbr", "state_region"), nil},
	} {
		tables := GuessTables(s, c.source, c.columns)
		if c.table == "" {
			if len(tables) > 0 {
				t.Errorf("%s is taken for %s", c.source, tables[0].Table.LogicalName)
			}
			continue
		}
		if len(tables) == 0 || tables[0].Table.LogicalName != c.table {
			t.Errorf("%s: %+v, want %s", c.source, tables, c.table)
			continue
		}
		for _, from := range c.columns {
			got := ""
			if g, ok := tables[0].Columns[from.Name]; ok {
				got = g.Column.LogicalName
			}
			if got != c.want[from.Name] {
				t.Errorf("%s.%s: %q, want %q", c.source, from.Name, got, c.want[from.Name])
			}
		}
	}
	for _, c := range []struct {
		from FromColumn
		to   schema.ColumnType
		want bool
	}{
		{FromColumn{SQLType: "VARCHAR", Forms: []string{"Aa Aa"}}, schema.Integer, false},
		{FromColumn{SQLType: "VARCHAR", Forms: []string{"9…,99"}}, schema.Money, true},
		{FromColumn{SQLType: "DATE"}, schema.Integer, false},
		{FromColumn{SQLType: "INTEGER"}, schema.DateTime, false},
		{FromColumn{SQLType: "BLOB"}, schema.Text, false},
	} {
		if got := fits(c.from, &schema.Column{Type: c.to}); got != c.want {
			t.Errorf("%+v in %s: %v", c.from, c.to, got)
		}
	}
}

func TestGuessOption(t *testing.T) {
	c := &schema.Column{Options: []schema.Option{{Value: 1, Label: "Accounting"}, {Value: 2, Label: "Food and Tobacco Processing"}, {Value: 3, Label: "Preferred Customer"}}}
	if o, _ := GuessOption(c, "accounting"); o == nil || o.Value != 1 {
		t.Errorf("%+v", o)
	}
	if o, _ := GuessOption(c, "Food & Tobacco"); o == nil || o.Value != 2 {
		t.Errorf("%+v", o)
	}
	if o, _ := GuessOption(c, "Landwirtschaft"); o != nil {
		t.Errorf("%+v", o)
	}
}

// TestGuessOptionByLetterAndYes: a single letter counts only where it can be no other, and
// yes and no are known by their words.
func TestGuessOptionByLetterAndYes(t *testing.T) {
	gender := &schema.Column{LogicalName: "a", Type: schema.Choice, Options: []schema.Option{{Value: 1, Label: "Male"}, {Value: 2, Label: "Female"}}}
	kind := &schema.Column{LogicalName: "b", Type: schema.Choice, Options: []schema.Option{{Value: 1, Label: "Customer"}, {Value: 2, Label: "Competitor"}, {Value: 3, Label: "Supplier"}}}
	hold := &schema.Column{LogicalName: "c", Type: schema.YesNo, Options: []schema.Option{{Value: 0, Label: "No"}, {Value: 1, Label: "Yes"}}}
	if _, err := schema.New([]*schema.Table{{LogicalName: "t", Columns: []*schema.Column{gender, kind, hold}}}, nil); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		of   *schema.Column
		text string
		want int32 // -1 = none
	}{{gender, "f", 2}, {gender, "M", 1}, {gender, "w", -1}, {gender, "9", -1}, {kind, "S", -1}, {kind, "supplier", 3}, {hold, "J", 1}, {hold, " nein ", 0}, {hold, "perhaps", -1}} {
		o, score := GuessOption(c.of, c.text)
		if (o == nil) != (c.want < 0) || o != nil && (o.Value != c.want || score < leastScore) {
			t.Errorf("%q: %+v, %v", c.text, o, score)
		}
	}
}

// TestGuessNumbers: an id that says not of what is like no number and no reference, a number is
// that of its table; an address alone is nobody's.
func TestGuessNumbers(t *testing.T) {
	var cols []*schema.Column
	for _, n := range []string{"accountid", "name", "sic", "accountnumber", "address1_line1", "address1_city", "address1_postalcode"} {
		cols = append(cols, &schema.Column{LogicalName: n, DisplayName: map[string]string{"sic": "SIC Code"}[n], Type: schema.Text})
	}
	s, err := schema.New([]*schema.Table{{LogicalName: "account", SchemaName: "Account", PrimaryID: "accountid", PrimaryName: "name", Columns: cols}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"id": "", "Id": "", "number": "accountnumber", "Nr": "accountnumber", "customer_no": "accountnumber", "sic_code": "sic"} {
		g := GuessColumns(s.Table("account"), "vendors", named(name))[name]
		if got := ""; g.Column != nil && g.Column.LogicalName != want || g.Column == nil && want != got {
			t.Errorf("%s: %+v, want %q", name, g.Column, want)
		}
	}
	if a := KeyAlike("id", "vendors", "id"); a != 0 {
		t.Errorf("an id is %v like another's", a)
	}
	if a := KeyAlike("vendor_id", "vendors", "id"); a < 0.9 {
		t.Errorf("a vendor's id is %v like a vendor's", a)
	}
	if got := GuessTables(s, "places", named("id", "line1", "city", "zip")); len(got) != 0 {
		t.Errorf("an address is taken for %+v", got[0])
	}
}
