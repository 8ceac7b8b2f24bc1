package emulator

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// TestMixedUse has clients do everything at once, for the race detector, and compares
// what they were answered with what is there in the end: each client's own rows are as
// it left them, and nothing else is.
func TestMixedUse(t *testing.T) {
	e := start(t, func(o *Options) { o.Deadlocks = true })
	const clients, rounds = 6, 40
	var all sync.WaitGroup
	var unexpected atomic.Pointer[string]
	left := make([]map[int]string, clients)
	for n := range clients {
		left[n] = map[int]string{}
		c := &mixedClient{srv: e.srv, n: n, rows: left[n], rnd: rand.New(rand.NewPCG(1, uint64(n)))}
		all.Go(func() {
			for range rounds {
				if problem := c.act(); problem != "" {
					unexpected.Store(&problem)
				}
			}
		})
	}
	for range 3 {
		all.Go(func() { e.srv.Stats(); _ = e.srv.ExportAll(io.Discard) })
	}
	all.Wait()
	if p := unexpected.Load(); p != nil {
		t.Fatal(*p)
	}
	total := 0
	for n, rows := range left {
		for i, name := range rows {
			e.has(e.want(200, "", "GET", "accounts("+gid(n+1, i)+")?$select=name", ""), `"name":"`+name+`"`)
		}
		total += len(rows)
	}
	if a := e.want(200, "", "GET", "accounts/$count", ""); a.body != fmt.Sprint(total) {
		t.Errorf("%s accounts, want %d", a.body, total)
	}
}

// mixedClient works on rows of its own, beside which it reads everything.
type mixedClient struct {
	srv  *Server
	n    int
	rows map[int]string // by number, the name that a row was last given
	last int
	rnd  *rand.Rand
}

// act does one thing, and says what of it went wrong.
func (c *mixedClient) act() string {
	name := fmt.Sprintf("n%d", c.rnd.IntN(1000))
	row := func(i int) string { return "accounts(" + gid(c.n+1, i) + ")" }
	mine := c.rnd.IntN(c.last + 1)
	_, there := c.rows[mine]
	switch c.rnd.IntN(12) {
	case 0, 1:
		c.last++
		c.rows[c.last] = name
		return c.want(204, "POST", "accounts", `{"accountid":"`+gid(c.n+1, c.last)+`","name":"`+name+`","contact_customer_accounts":[{"lastname":"x"}]}`)
	case 2:
		var targets []string
		for range 5 {
			c.last++
			c.rows[c.last] = name
			targets = append(targets, `{"@odata.type":"Microsoft.Dynamics.CRM.account","accountid":"`+gid(c.n+1, c.last)+`","name":"`+name+`"}`)
		}
		return c.want(200, "POST", "accounts/Microsoft.Dynamics.CRM.CreateMultiple", `{"Targets":[`+strings.Join(targets, ",")+`]}`)
	case 3:
		if !there {
			return c.want(404, "PATCH", row(1<<20), `{"name":"x"}`)
		}
		c.rows[mine] = name
		return c.want(204, "PATCH", row(mine), `{"name":"`+name+`"}`)
	case 4:
		if !there {
			return c.want(404, "DELETE", row(1<<20), "")
		}
		delete(c.rows, mine)
		return c.want(204, "DELETE", row(mine), "")
	case 5: // nothing of it stays
		return c.want(400, "POST", "$batch", batch(changeSet(part("POST accounts", `{"name":"never"}`, contentID(1)), part("POST accounts", `{"nosuch":1}`, contentID(2)))))
	case 6:
		return c.want(200, "GET", "accounts?$select=name&$filter=contains(name,'n1')&$orderby=name&$top=5&$expand=contact_customer_accounts($select=lastname)", "")
	case 7:
		return c.want(200, "GET", "accounts?"+query("fetchXml", `<fetch aggregate="true"><entity name="account"><attribute name="accountid" alias="n" aggregate="count"/></entity></fetch>`), "")
	case 8:
		return c.want(200, "GET", "accounts?$select=name", "", "Prefer", "odata.track-changes")
	case 9:
		return c.want(204, "POST", "EntityDefinitions(LogicalName='contact')/Attributes",
			fmt.Sprintf(`{"@odata.type":"Microsoft.Dynamics.CRM.StringAttributeMetadata","SchemaName":"contoso_C%dx%d","MaxLength":10}`, c.n, c.rnd.Uint32()))
	case 10:
		return c.want(200, "GET", "$metadata", "")
	}
	return c.want(200, "GET", "EntityDefinitions(LogicalName='contact')/Attributes?$select=LogicalName", "")
}

func (c *mixedClient) want(status int, method, path, body string, headers ...string) string {
	req := httptest.NewRequest(method, "http://x/api/data/v9.2/"+path, strings.NewReader(body))
	req.Header.Set("Authorization", fmt.Sprintf("Bearer t%d", c.n%2))
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("If-Match", "*")
	if path == "$batch" {
		req.Header.Set("Content-Type", batchType)
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	c.srv.ServeHTTP(w, req)
	if w.Code != status {
		return fmt.Sprintf("%s %s %s: answered %d, want %d: %.500s", method, path, body, w.Code, status, w.Body)
	}
	return ""
}
