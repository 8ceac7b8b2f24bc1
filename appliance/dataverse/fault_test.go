package dataverse

import (
	"net/http"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

// TestReadFault has every form of an error body (dataverse-web-api.md 1.7, 6.3).
func TestReadFault(t *testing.T) {
	for _, test := range []struct {
		name, body string
		want       fault
	}{
		{"plain", fault1("0x80040217", "contact With Id = 5 Does Not Exist"),
			fault{told: true, code: 0x80040217, message: "contact With Id = 5 Does Not Exist"}},
		{"upper case, stack frames after the first line", `{"error":{"code":"0X8004F00E","message":" one\r\n   at two\r\n   at three"}}`,
			fault{told: true, code: 0x8004f00e, message: "one", detail: "at two\r\n   at three"}},
		{"empty code", fault1("", "m"), fault{told: true, message: "m"}},
		{"signed decimal", fault1("-2147220969", "m"), fault{told: true, code: 0x80040217, message: "m"}},
		{"a number as code", `{"error":{"code":-2147220969,"message":"m"}}`, fault{told: true, code: 0x80040217, message: "m"}},
		{"an inner error, which is an object", `{"error":{"code":"0x80040217","message":"m","innererror":{"message":"x"}}}`,
			fault{told: true, code: 0x80040217, message: "m"}},
		{"a trace", `{"error":{"code":"0x80040265","message":"no","@Microsoft.PowerApps.CDS.TraceText":"\r\n[Acme.Plugins]"}}`,
			fault{told: true, code: 0x80040265, message: "no", detail: "[Acme.Plugins]"}},
		{"early pipeline", `{"Message":"An error has occurred.","ExceptionMessage":"Index was out","ExceptionType":"X","StackTrace":"at y","ErrorCode":-2147220969}`,
			fault{told: true, code: 0x80040217, message: "Index was out", detail: "at y"}},
		{"early pipeline, short", `{"Message":"No HTTP resource was found"}`, fault{told: true, message: "No HTTP resource was found"}},
		{"byte order mark", "\xef\xbb\xbf" + fault1("0x80040217", "m"), fault{told: true, code: 0x80040217, message: "m"}},
		{"markup", "<html><head><Title>\n Sign  in </Title></head>", fault{message: "Sign in"}},
		{"text", "upstream connect error", fault{message: "upstream connect error"}},
		{"nothing", "", fault{message: "Bad Request"}},
		{"JSON of no known form", `[1,2]`, fault{message: "[1,2]"}},
		{"elastic rows", `{"error":{"code":"0x80072322","message":"m","@Microsoft.PowerApps.CDS.ErrorDetails.Plugin.BulkApiErrorDetails":"[{\"RequestIndex\":3,\"Id\":\"` +
			me + `\",\"StatusCode\":429},{\"RequestIndex\":5,\"StatusCode\":409}]"}}`,
			fault{told: true, code: 0x80072322, message: "m", rows: []RowStatus{{3, mustGUID(me), 429}, {Index: 5, Status: 409}}}},
	} {
		t.Run(test.name, func(t *testing.T) {
			test.want.status = 400
			got := readFault(400, http.Header{}, []byte(test.body))
			if d := cmp.Diff(test.want, got, cmp.AllowUnexported(fault{})); d != "" {
				t.Error(d)
			}
		})
	}
}

// TestRetryAfter reads seconds and dates.
func TestRetryAfter(t *testing.T) {
	now := time.Date(2024, 5, 31, 10, 0, 0, 0, time.UTC)
	for text, want := range map[string]time.Duration{
		"27": 27 * time.Second, " 3 ": 3 * time.Second, "1.5": 1500 * time.Millisecond, "": 0, "soon": 0, "-5": 0,
		"Fri, 31 May 2024 10:01:00 GMT": time.Minute, "Fri, 31 May 2024 09:00:00 GMT": 0, "99999999999": time.Hour, "NaN": 0,
	} {
		if got := retryAfter(text, now); got != want {
			t.Errorf("%q: %v, want %v", text, got, want)
		}
	}
}

// TestGrant reads the numbers of a throttle's words (dataverse-web-api.md 1.8).
func TestGrant(t *testing.T) {
	limit, per := grant("Number of requests exceeded the limit of 6000 over time window of 300 seconds.")
	if limit != 6000 || per != 300*time.Second {
		t.Errorf("%v in %v", limit, per)
	}
	limit, per = grant("Combined execution time of incoming requests exceeded limit of 1,200,000 milliseconds over time window of 300 seconds.")
	if limit != 1200000 || per != 300*time.Second {
		t.Errorf("%v in %v", limit, per)
	}
	if limit, per := grant("Number of concurrent requests exceeded the limit of 52."); limit != 52 || per != 0 {
		t.Errorf("%v in %v", limit, per)
	}
}

func FuzzReadFault(f *testing.F) {
	f.Add(400, []byte(fault1("0x80040217", "m")))
	f.Add(500, []byte(`{"Message":"x","ErrorCode":"0x1"}`))
	f.Add(502, []byte("<html><title>x</title>"))
	f.Add(429, []byte(`{"error":{"@Microsoft.PowerApps.CDS.ErrorDetails.Plugin.BulkApiErrorDetails":"[{}]"}}`))
	c := newClient(f, "https://acme.crm4.dynamics.com", nil)
	f.Fuzz(func(t *testing.T, status int, body []byte) {
		got := readFault(status, http.Header{}, body)
		if len(got.message) > maxMessage+8 || len(got.detail) > maxDetail+8 || strings.Contains(got.message, "\n") {
			t.Errorf("message of %d bytes, detail of %d", len(got.message), len(got.detail))
		}
		if utf8.Valid(body) && !utf8.ValidString(got.message) {
			t.Errorf("message %q is no text", got.message)
		}
		if e := c.judge(&request{name: "x"}, got); e.Kind == 0 || e.Error() == "" {
			t.Errorf("%+v", e)
		}
	})
}
