package reconcile

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"dvmigrate/appliance/dataverse"
)

// BenchmarkPages reads and compares accounts of 12 columns from a server that only copies
// pages out: what the client costs, from the connection to the stage.
func BenchmarkPages(b *testing.B) {
	const n = 50_000
	cols := "accountnumber, name, description, employees, big, rating, revenue, onhold, category, founded, seen, token"
	s := openStage(b, map[string]string{"account": "SELECT dm_seq, 'K' || dm_seq AS legacy_key, " + idSQL("account") + ` AS dm_id, 'N-' || dm_seq AS accountnumber, 'Company ' || dm_seq || ' & Sons' AS name,
		'Hauptstraße 12, Málaga' AS description, 42::INTEGER AS employees, 9007199254740993 AS big, 12.3456::DECIMAL(16,4) AS rating, 123456.78::DECIMAL(17,2) AS revenue, true AS onhold, 2::INTEGER AS category,
		DATE '1999-12-31' AS founded, TIMESTAMP '2024-05-31 22:00:00' AS seen, '0f0e0d0c-0b0a-0908-0706-050403020100'::UUID AS token FROM (SELECT range::UINTEGER AS dm_seq FROM range(50000))`})
	pages := make([]strings.Builder, n/page)
	for i := range uint32(n) {
		p := &pages[i/page]
		if i%page == 0 {
			p.WriteString(`{"@odata.context":"x","value":[`)
		} else {
			p.WriteByte(',')
		}
		fmt.Fprintf(p, `{"@odata.etag":"W/\"%d\"","accountid":"%s","accountnumber":"N-%d","name":"Company %d & Sons","description":"Hauptstraße 12, Málaga","employees":42,"big":9007199254740993,"rating":12.3456,"revenue":123456.7800,"onhold":true,"category":2,"founded":"1999-12-31","seen":"2024-05-31T22:00:00Z","token":"0f0e0d0c-0b0a-0908-0706-050403020100","_transactioncurrencyid_value":null}`,
			i, id("account", i), i, i)
	}
	var server *httptest.Server
	server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		k := 0
		fmt.Sscan(r.URL.Query().Get("$skiptoken"), &k)
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprint(w, pages[k].String(), "]")
		if k+1 < len(pages) {
			fmt.Fprintf(w, `,"@odata.nextLink":"%s/api/data/v9.2/accounts?$skiptoken=%d"`, server.URL, k+1)
		}
		fmt.Fprint(w, "}")
	}))
	defer server.Close()
	c, err := dataverse.New(dataverse.Options{URL: server.URL, Token: token{}})
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	table := bind(b, world(b), "account", strings.Split(cols, ", ")...)
	book := entries{"account": many(loaded, n)}
	b.ReportAllocs()
	for b.Loop() {
		r := run(b, s, book, c, table, func(o *Options) {
			o.ReadBack = func(string) string { return "SELECT dm_seq FROM main.account" }
			o.Rules = func(string) Rules { return Rules{Groups: []string{"seen", "category"}} }
		})
		if r.Target != n || r.Different != 0 {
			b.Fatal(brief(r))
		}
	}
	b.ReportMetric(float64(n)*float64(b.N)/b.Elapsed().Seconds(), "records/s")
}
