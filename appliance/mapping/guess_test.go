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
		got := GuessTables(s, source, c.columns)
		if len(got) == 0 || got[0].Table.LogicalName != c.want {
			t.Errorf("%s: %+v, want %s", source, got, c.want)
		}
	}
	if got := GuessTables(s, "zzz", []string{"qqq"}); len(got) != 0 {
		t.Errorf("something like nothing: %+v", got)
	}
}

func TestGuessColumns(t *testing.T) {
	got := guessColumns(guessSchema(t).Table("account"), []string{"KDNR", "FIRMA", "STRASSE", "PLZ", "ORT", "TEL", "E-Mail", "WEB", "BEMERKUNG", "ANGELEGT", "XYZ"})
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
