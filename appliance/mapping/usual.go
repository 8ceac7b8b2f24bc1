package mapping

import (
	"strings"
	"unicode"

	"dvmigrate/appliance/dataverse/schema"
)

// What the tables and columns that Dataverse comes with are called elsewhere, where words
// alone do not tell: a table of suppliers is one of accounts, and an address is its first line.

// usualTable is the table that a word, in the form that wordsOf gives it, stands for.
var usualTable = map[string]string{
	"supplier": "account", "vendor": "account", "lieferant": "account", "store": "account", "shop": "account", "debitor": "account", "kreditor": "account", "partner": "account", "dealer": "account",
	"employee": "contact", "member": "contact", "buyer": "contact", "student": "contact", "donor": "contact", "mitglied": "contact",
	"detail": "salesorderdetail", "category": "category",
}

// usualColumns are columns with what they are called elsewhere: small letters without anything
// between the words. Of those that a table has, the first counts.
var usualColumns = []struct{ column, names string }{
	{"address1_line1", "address street streetaddress address1 addressline addressline1 addressstreet street1 addr addr1 line1 strasse straße anschrift adresse rue calle direccion streetname"},
	{"address1_line2", "address2 addressline2 street2 addr2 line2 adresszusatz addresssuffix"},
	{"address1_line3", "address3 addressline3 street3 addr3 line3"},
	{"address1_city", "city town locality ort stadt ville ciudad"},
	{"address1_stateorprovince", "region state province stateprovince stateorprovince statename stateprovincename stateprovincecode statecode bundesland provinz provincia"},
	{"address1_county", "county landkreis district"},
	{"address1_postalcode", "postalcode postcode zip zipcode plz postal postleitzahl codepostal cp"},
	{"address1_country", "country countryregion countryname countrycode countryregionname countryregioncode land pays pais nation"},
	{"address1_latitude", "latitude lat"},
	{"address1_longitude", "longitude lng lon long"},
	{"telephone1", "phone telephone tel phonenumber phone1 telephonenumber mainphone businessphone workphone officephone telefon"},
	{"telephone2", "homephone privatephone phone2 otherphone telefonprivat"},
	{"telephone3", "phone3"},
	{"mobilephone", "mobile mobilephone cell cellphone mobil handy mobiltelefon gsm"},
	{"fax", "fax faxnumber telefax"},
	{"emailaddress1", "email emailaddress mail emailaddress1 email1 emailid courriel correo"},
	{"emailaddress2", "email2 secondaryemail otheremail"},
	{"websiteurl", "website url web homepage webpage webaddress purchasingwebserviceurl www internet"},
	{"jobtitle", "title jobtitle contacttitle position role function funktion"},
	{"subject", "title"},
	{"salutation", "salutation titleofcourtesy courtesytitle anrede prefix honorific"},
	{"firstname", "firstname givenname forename vorname prenom"},
	{"middlename", "middlename middleinitial"},
	{"lastname", "lastname surname familyname nachname nom apellido"},
	{"suffix", "suffix namesuffix"},
	{"nickname", "nickname preferredname"},
	{"birthdate", "birthdate dateofbirth dob birthday born geburtsdatum"},
	{"gendercode", "gender sex geschlecht"},
	{"familystatuscode", "maritalstatus familystatus familienstand"},
	{"annualincome", "yearlyincome annualincome income"},
	{"numberofchildren", "children numberofchildren totalchildren"},
	{"department", "department dept abteilung"},
	{"managername", "manager managername"},
	{"companyname", "company companyname firma"},
	{"name", "companyname name organizationname organisationname firmname productname ordername"},
	{"accountnumber", "accountnumber accountno customernumber customerno customerid custno kundennummer supplierid supplierno vendorid vendorno"},
	{"employeeid", "employeeid employeenumber employeeno"},
	{"productnumber", "productnumber productid sku itemnumber itemno partnumber articlenumber"},
	{"isocurrencycode", "currencycode isocode isocurrencycode"},
	{"ordernumber", "ordernumber orderid orderno salesordernumber"},
	{"invoicenumber", "invoicenumber invoiceid invoiceno"},
	{"quotenumber", "quotenumber quoteid quoteno"},
	{"ticketnumber", "ticketnumber ticketid caseid casenumber"},
	{"description", "description notes note comment comments remark remarks text bemerkung beschreibung"},
	{"numberofemployees", "numberofemployees employees employeecount noofemployees headcount"},
	{"revenue", "revenue annualrevenue turnover annualsales umsatz"},
	{"price", "listprice price unitprice"},
	{"standardcost", "standardcost cost unitcost"},
	{"quantityonhand", "unitsinstock quantityonhand stock onhand stockquantity"},
	{"stockweight", "weight"},
	{"size", "size"},
	{"priceperunit", "unitprice priceperunit price"},
	{"quantity", "quantity qty orderqty menge anzahl"},
	{"manualdiscountamount", "discountamount unitpricediscount"},
	{"freightamount", "freight freightamount shippingcost shippingcosts"},
	{"submitdate", "orderdate dateordered ordered bestelldatum"},
	{"requestdeliveryby", "requireddate duedate requesteddate deliverydate"},
	{"datefulfilled", "shippeddate shipdate fulfilled dateshipped"},
	{"scheduledend", "duedate due faellig"},
	{"estimatedclosedate", "expectedclosedate closedate estimatedclosedate"},
	{"estimatedvalue", "amount estimatedvalue expectedrevenue value"},
	{"overriddencreatedon", "created createdon createdate createddate datecreated creationdate createdat angelegt erstellt anlagedatum"},
}

// Words before a name that say whose address it is part of.
var asidePrefixes = []struct{ word, prefix string }{
	{"shipping", "shipto_"}, {"shipto", "shipto_"}, {"ship", "shipto_"}, {"delivery", "shipto_"}, {"billing", "billto_"}, {"billto", "billto_"}, {"bill", "billto_"}, {"invoice", "billto_"},
}

// usualColumn is the column of the table that is usually called so elsewhere; "" when none is.
// The source's own name before the column's says nothing.
func usualColumn(t *schema.Table, name, source string) string {
	plain := joined(name)
	tries := []string{plain}
	for _, own := range []string{joined(source), strings.TrimSuffix(joined(source), "s"), joined(t.LogicalName)} {
		if rest, ok := strings.CutPrefix(plain, own); ok && len(rest) > 2 && own != "" {
			tries = append(tries, rest)
		}
	}
	for _, try := range tries {
		for _, u := range usualColumns {
			if contains(u.names, try) && t.Column(u.column) != nil {
				return u.column
			}
		}
	}
	for _, aside := range asidePrefixes {
		rest, ok := strings.CutPrefix(plain, aside.word)
		if !ok || len(rest) < 3 {
			continue
		}
		for _, u := range usualColumns {
			part, ok := strings.CutPrefix(u.column, "address1_")
			if !ok && u.column == "name" {
				part, ok = "name", true
			}
			if !ok || !contains(u.names, rest) && part != rest {
				continue
			}
			for _, prefix := range []string{aside.prefix, "address2_"} {
				if t.Column(prefix+part) != nil {
					return prefix + part
				}
			}
		}
	}
	return ""
}

// contains reports whether a word is in a list with blanks between.
func contains(words, word string) bool {
	return strings.Contains(" "+words+" ", " "+word+" ")
}

// joined is a name in small letters without what stands between its words.
func joined(name string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsLetter(r) && !unicode.IsDigit(r) {
			return -1
		}
		return unicode.ToLower(r)
	}, name)
}
