package emulator

import (
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// crlf makes the line ends of a batch.
func crlf(s string) string { return strings.ReplaceAll(s, "\n", "\r\n") }

const batchType = `multipart/mixed; boundary="batch_7f1c"`

// part is one operation as it stands between boundaries.
func part(request, body string, headers ...string) string {
	return "Content-Type: application/http\nContent-Transfer-Encoding: binary\n" + strings.Join(headers, "") + "\n" + request + " HTTP/1.1\nContent-Type: application/json; type=entry\n\n" + body + "\n"
}

func batch(parts ...string) string {
	return crlf("--batch_7f1c\n" + strings.Join(parts, "--batch_7f1c\n") + "--batch_7f1c--\n")
}

func changeSet(parts ...string) string {
	return "Content-Type: multipart/mixed; boundary=\"changeset_91aa\"\n\n--changeset_91aa\n" + strings.Join(parts, "--changeset_91aa\n") + "--changeset_91aa--\n\n"
}

func contentID(n int) string { return fmt.Sprintf("Content-ID: %d\n", n) }

var randomIDs = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}`)

// plainBatch makes an answer comparable: fixed host, ids as g, line ends visible.
func (e *env) plainBatch(body string) string {
	body = strings.ReplaceAll(body, e.url, "{api}")
	known := map[string]bool{acc1: true, con1: true, con2: true}
	body = randomIDs.ReplaceAllStringFunc(body, func(id string) string {
		if known[id] {
			return id
		}
		return "g"
	})
	return strings.ReplaceAll(body, "\r\n", "␍␊\n")
}

// TestBatchBytes is the example of section 7.2, answered byte by byte as 7.3 says.
func TestBatchBytes(t *testing.T) {
	e := start(t)
	body := batch(
		part("POST /api/data/v9.2/contacts", `{"lastname":"Ek","contactid":"`+con1+`"}`),
		changeSet(part("POST /api/data/v9.2/accounts", `{"name":"Nordwind","accountid":"`+acc1+`"}`, contentID(1)),
			part("POST /api/data/v9.2/contacts", `{"lastname":"Roth","contactid":"`+con2+`","parentcustomerid_account@odata.bind":"$1"}`, contentID(2))),
		"Content-Type: application/http\nContent-Transfer-Encoding: binary\n\nGET /api/data/v9.2/accounts("+acc1+")/name HTTP/1.1\n\n\n")
	a := e.want(200, "", "POST", "$batch", body, "Content-Type", batchType)
	if ct := a.header.Get("Content-Type"); !strings.HasPrefix(ct, "multipart/mixed; boundary=batchresponse_") {
		t.Errorf("Content-Type is %s", ct)
	}
	created := func(set, id string) string {
		return "HTTP/1.1 204 No Content␍␊\nOData-Version: 4.0␍␊\nLocation: {api}/" + set + "(" + id + ")␍␊\nOData-EntityId: {api}/" + set + "(" + id + ")␍␊\n␍␊\n␍␊\n"
	}
	head := "Content-Type: application/http␍␊\nContent-Transfer-Encoding: binary␍␊\n"
	want := "--batchresponse_g␍␊\n" + head + "␍␊\n" + created("contacts", con1) +
		"--batchresponse_g␍␊\nContent-Type: multipart/mixed; boundary=changesetresponse_g␍␊\n␍␊\n" +
		"--changesetresponse_g␍␊\n" + head + "Content-ID: 1␍␊\n␍␊\n" + created("accounts", acc1) +
		"--changesetresponse_g␍␊\n" + head + "Content-ID: 2␍␊\n␍␊\n" + created("contacts", con2) +
		"--changesetresponse_g--␍␊\n" +
		"--batchresponse_g␍␊\n" + head + "␍␊\nHTTP/1.1 200 OK␍␊\nContent-Type: application/json; odata.metadata=minimal␍␊\nOData-Version: 4.0␍␊\n␍␊\n" +
		`{"@odata.context":"{api}/$metadata#accounts(` + acc1 + `)/name","value":"Nordwind"}` + "␍␊\n" +
		"--batchresponse_g--␍␊\n"
	if diff := cmp.Diff(want, e.plainBatch(a.body)); diff != "" {
		t.Errorf("7.3: the answer differs (-want +got):\n%s", diff)
	}
	e.has(e.do("GET", "contacts("+con2+")?$select=_parentcustomerid_value", ""), acc1)
}

func TestBatchRules(t *testing.T) {
	create := part("POST accounts", `{"name":"x"}`)
	bad := part("POST accounts", `{"nosuch":1}`)
	many := func(n int) string { return batch(strings.Split(strings.Repeat(create+"\x00", n), "\x00")[:n]...) }
	set := func(parts ...string) string { return batch(changeSet(parts...)) }
	for _, c := range []struct {
		name, body string
		headers    []string
		status     int
		text       []string
		accounts   int
	}{
		{"7.4 the first failure stops it and is the outer status", batch(create, bad, create), nil, 400, []string{"HTTP/1.1 204 No Content", "HTTP/1.1 400 Bad Request", "REQ_ID: ", "nosuch"}, 1},
		{"7.4 continue-on-error runs all", batch(create, bad, create), []string{"Prefer", "odata.continue-on-error"}, 200, []string{"HTTP/1.1 400 Bad Request"}, 2},
		{"7.1 LF alone is refused", strings.ReplaceAll(batch(create), "\r\n", "\n"), nil, 400, []string{"0x80048d19", "Stream was not readable."}, 0},
		{"7.1 the last line end is needed", strings.TrimSuffix(batch(create), "\r\n"), nil, 400, []string{"Stream was not readable."}, 0},
		{"7.1 an open batch is refused", strings.TrimSuffix(batch(create), "--batch_7f1c--\r\n"), nil, 400, []string{"Stream was not readable."}, 0},
		{"7.1 1000 operations are taken", many(1000), nil, 200, nil, 1000},
		{"7.1 1001 operations are refused", many(1001), nil, 400, []string{"maximum batch size of 1000"}, 0},
		{"7.1 another content type is refused", `{"requests":[]}`, []string{"Content-Type", "application/json"}, 415, nil, 0},
		{"7.1 HTTP/1.1 is needed", batch(strings.Replace(create, " HTTP/1.1", "", 1)), nil, 400, []string{"request line"}, 0},
		{"7.1 a method is needed", batch(strings.Replace(create, "POST accounts", " ", 1)), nil, 400, []string{"request line"}, 0},
		{"7.1 a URL is needed", batch(strings.Replace(create, "POST accounts", "POST ", 1)), nil, 400, []string{"request line"}, 0},
		{"7.1 a URL may have blanks", batch(create, part("GET accounts?$select=name&$filter=name eq 'x' and statecode eq 0", "")), nil, 200, []string{`"name":"x"`}, 1},
		{"7.1 a batch in a batch is refused", batch(part("POST /api/data/v9.2/$batch", "")), nil, 400, []string{"cannot be nested"}, 0},
		{"7.1 a change set takes no GET", set(part("GET accounts", "", contentID(1))), nil, 400, []string{"An invalid HTTP method 'GET' was detected"}, 0},
		{"7.1 a change set needs content ids", set(create), nil, 400, []string{"Content-ID"}, 0},
		{"7.1 content ids are unique", set(part("POST accounts", `{}`, contentID(1)), part("POST accounts", `{}`, contentID(1))), nil, 400, []string{"found more than once"}, 0},
		{"7.1 a reference before its declaration is refused", set(part("POST contacts", `{"parentcustomerid_account@odata.bind":"$2"}`, contentID(1)), part("POST accounts", `{}`, contentID(2))), nil, 400,
			[]string{"Content-ID Reference: '$2' does not exist in the batch context.", "Content-ID: 1"}, 0},
		{"7.3 a failed change set leaves nothing and answers its error alone", set(part("POST accounts", `{"name":"x"}`, contentID(1)), part("POST accounts", `{"nosuch":1}`, contentID(2)), part("POST accounts", `{}`, contentID(3))), nil, 400,
			[]string{"boundary=changesetresponse_", "Content-ID: 2", "nosuch"}, 0},
		{"7.1 a content id stands for the row in a URL", set(part("POST accounts", `{"name":"x","accountid":"`+acc1+`"}`, contentID(1)), part("PUT $1/name", `{"value":"y"}`, contentID(2)),
			part("POST contacts", `{"contactid":"`+con1+`"}`, contentID(3)), part("PUT $1/primarycontactid/$ref", `{"@odata.id":"$3"}`, contentID(4)), part("PATCH $1", `{"telephone1":"1"}`, contentID(5))), nil, 200, nil, 1},
		{"7.4 401 is plain", batch(create), []string{"Authorization", ""}, 401, nil, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			e := start(t)
			a := e.do("POST", "$batch", c.body, append([]string{"Content-Type", batchType}, c.headers...)...)
			if a.status != c.status {
				t.Errorf("answered %d, want %d:\n%.2000s", a.status, c.status, a.body)
			}
			e.has(a, c.text...)
			if n := e.srv.Stats().Rows["account"]; n != c.accounts {
				t.Errorf("%d accounts, want %d", n, c.accounts)
			}
			if strings.Contains(c.name, "stands for the row") {
				e.has(e.do("GET", "accounts("+acc1+")?$select=name,telephone1,_primarycontactid_value", ""), `"name":"y"`, `"telephone1":"1"`, con1)
			}
		})
	}
}

// TestLooseBatch: what two public clients send is refused, and taken when asked.
func TestLooseBatch(t *testing.T) {
	body := strings.TrimSuffix(batch(changeSet(part("POST accounts", `{}`)), part("GET accounts?$top=1", "")), "\r\n")
	for _, loose := range []bool{false, true} {
		e := start(t, func(o *Options) { o.LooseBatch = loose })
		a := e.do("POST", "$batch", body, "Content-Type", batchType)
		if (a.status == 200) != loose || loose && strings.Count(a.body, "HTTP/1.1 20") != 2 {
			t.Errorf("loose %v: answered %d %s", loose, a.status, a.body)
		}
	}
}
