package dataverse

import (
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const boundary = "batchresponse_02c1"

func crlf(s string) string { return strings.ReplaceAll(s, "\n", "\r\n") }

// partOK and partBad are parts in the bytes of dataverse-web-api.md 7.3 and 7.4.
var (
	partOK = crlf("--" + boundary + `
Content-Type: application/http
Content-Transfer-Encoding: binary

HTTP/1.1 204 No Content
OData-Version: 4.0
Location: https://acme.crm4.dynamics.com/api/data/v9.2/contacts(0d3b)


`)
	partBad = crlf("--" + boundary + `
Content-Type: application/http
Content-Transfer-Encoding: binary

HTTP/1.1 400 Bad Request
REQ_ID: 1234
Content-Type: application/json; odata.metadata=minimal
OData-Version: 4.0

{"error":{"code":"0x80044331","message":"too long"}}
`)
	partSet = crlf("--" + boundary + `
Content-Type: multipart/mixed; boundary=changesetresponse_77be

--changesetresponse_77be
Content-Type: application/http
Content-Transfer-Encoding: binary
Content-ID: 1

HTTP/1.1 412 Precondition Failed
Content-Type: application/json

{"error":{"code":"0x80040237","message":"there"}}
--changesetresponse_77be--
`)
	batchEnd = "--" + boundary + "--\r\n"
)

func TestReadParts(t *testing.T) {
	type result struct {
		Status []int
		Whole  []bool
		Closed bool
	}
	ok := func(closed bool, status ...int) result {
		r := result{Closed: closed}
		for _, s := range status {
			r.Status, r.Whole = append(r.Status, s), append(r.Whole, true)
		}
		return r
	}
	cutPart := func(r result) result { r.Whole[len(r.Whole)-1] = false; return r }
	for _, test := range []struct {
		name, body string
		want       result
	}{
		{"all done", partOK + partOK + batchEnd, ok(true, 204, 204)},
		{"one refused", partOK + partBad + partOK + batchEnd, ok(true, 204, 400, 204)},
		{"a failed change set", partOK + partSet + batchEnd, ok(true, 204, 412)},
		{"line feeds only", strings.ReplaceAll(partOK+partBad+batchEnd, "\r\n", "\n"), ok(true, 204, 400)},
		{"no line end at the end", partOK + strings.TrimRight(batchEnd, "\r\n"), ok(true, 204)},
		{"a preamble", "ignore this\r\n" + partOK + batchEnd, ok(true, 204)},
		{"blanks after the boundary", strings.ReplaceAll(partOK, boundary, boundary+"  ") + batchEnd, ok(true, 204)},
		{"no parts", batchEnd, result{Closed: true}},
		{"nothing", "", result{}},
		{"broken off between parts", partOK + partOK, cutPart(ok(false, 204, 204))},
		{"broken off in the last boundary", partOK + "--" + boundary + "-", cutPart(ok(false, 204))},
		{"broken off in a part's status", partOK + partBad[:90], cutPart(ok(false, 204, 0))},
		{"broken off in a part's body", partOK + partBad[:len(partBad)-10], cutPart(ok(false, 204, 400))},
		{"a change set broken off", partOK + partSet[:len(partSet)-20], cutPart(ok(false, 204, 412))},
		{"a change set without its end", partOK + strings.Replace(partSet, "--changesetresponse_77be--", "", 1) + batchEnd, cutPart(ok(true, 204, 412))},
		{"no part but text", "--" + boundary + "\r\nhello\r\n" + batchEnd, ok(true, 0)},
		{"a status that is none", strings.Replace(partOK, " 204 ", " abc ", 1) + batchEnd, ok(true, 0)},
		{"another boundary that begins the same", partOK + "--" + boundary + "0\r\n" + batchEnd, ok(true, 204)},
		{"a boundary inside a value", strings.Replace(partBad, "too long", "--"+boundary, 1) + batchEnd, ok(true, 400)},
	} {
		t.Run(test.name, func(t *testing.T) {
			h := http.Header{"Content-Type": {"multipart/mixed; boundary=" + boundary}}
			parts, closed, err := readParts(h, []byte(test.body), 10)
			if err != nil {
				t.Fatal(err)
			}
			got := result{Closed: closed}
			for _, p := range parts {
				got.Status, got.Whole = append(got.Status, p.status), append(got.Whole, p.whole)
			}
			if d := cmp.Diff(test.want, got); d != "" {
				t.Error(d)
			}
		})
	}
}

// TestReadPartBody: what a part holds comes out as it is.
func TestReadPartBody(t *testing.T) {
	h := http.Header{"Content-Type": {`multipart/mixed; boundary="` + boundary + `"`}}
	parts, _, err := readParts(h, []byte(partBad+batchEnd), 10)
	if err != nil || len(parts) != 1 {
		t.Fatal(parts, err)
	}
	if got := string(parts[0].body); got != `{"error":{"code":"0x80044331","message":"too long"}}` {
		t.Errorf("body %q", got)
	}
	if got := parts[0].headers().Get("req_id"); got != "1234" {
		t.Errorf("header %q", got)
	}
	for _, bad := range []string{"", "application/json", "multipart/mixed", "multipart/mixed; boundary", ";"} {
		if _, _, err := readParts(http.Header{"Content-Type": {bad}}, nil, 10); err == nil {
			t.Errorf("%q is taken for multipart", bad)
		}
	}
}

// FuzzReadParts: whatever comes, no part is whole that a boundary does not follow,
// and cutting an answer short never turns a failure into a success or adds a part.
func FuzzReadParts(f *testing.F) {
	for _, s := range []string{partOK + partBad + partSet + batchEnd, partOK, batchEnd, "--" + boundary, partSet[:100]} {
		f.Add([]byte(s), 7)
	}
	h := http.Header{"Content-Type": {"multipart/mixed; boundary=" + boundary}}
	f.Fuzz(func(t *testing.T, body []byte, at int) {
		all, _, err := readParts(h, body, 100)
		if err != nil {
			t.Fatal(err)
		}
		if at < 0 || at > len(body) {
			return
		}
		some, _, _ := readParts(h, body[:at], 100)
		if len(some) > len(all) {
			t.Fatalf("%d parts of the whole, %d of a piece", len(all), len(some))
		}
		for i, p := range some {
			if p.whole && p.status != all[i].status {
				t.Errorf("part %d: status %d of a piece, %d of the whole", i, p.status, all[i].status)
			}
		}
	})
}
