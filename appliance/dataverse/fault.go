package dataverse

import (
	"bytes"
	"encoding/json"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"dvmigrate/appliance/dataverse/schema"
)

// How much of an error's words is kept.
const (
	maxFault   = 256 << 10 // bytes of an error body that are looked at
	maxMessage = 1000
	maxDetail  = 16 << 10
)

// fault is an answer that is not a success, read but not yet judged.
type fault struct {
	status     int
	code       uint32
	told       bool // in the service's own form, so by the service and not by a gateway
	broken     bool // the words broke off
	message    string
	detail     string
	requestID  string
	retryAfter time.Duration
	rows       []RowStatus // elastic tables
}

// The annotations of an error (dataverse-web-api.md 1.7, 6.3).
const (
	traceText   = "@Microsoft.PowerApps.CDS.TraceText"
	detailsName = "@Microsoft.PowerApps.CDS.ErrorDetails."
	bulkDetails = "bulkapierrordetails" // compared in lower case: exact casing unconfirmed
)

// readFault reads an error answer in any of its forms: {"error":{}}, {"Message":},
// a page of HTML, nothing (dataverse-web-api.md 1.7).
func readFault(status int, h http.Header, body []byte) fault {
	f := fault{status: status}
	f.requestID = first(h.Get("x-ms-service-request-id"), h.Get("REQ_ID"))
	f.retryAfter = retryAfter(h.Get("Retry-After"), time.Now())
	body = bytes.TrimPrefix(body[:min(len(body), maxFault)], []byte("\xef\xbb\xbf"))
	var form struct {
		Error            map[string]json.RawMessage `json:"error"`
		Message          string
		ExceptionMessage string
		StackTrace       string
		ErrorCode        json.RawMessage
	}
	switch err := json.Unmarshal(body, &form); {
	case err == nil && form.Error != nil:
		f.told = true
		f.readError(form.Error)
	case err == nil && (form.Message != "" || form.ExceptionMessage != ""):
		f.told = true
		f.setMessage(first(form.ExceptionMessage, form.Message))
		f.detail = cut(first(f.detail, form.StackTrace), maxDetail)
		f.code = errorCode(strings.Trim(string(form.ErrorCode), `"`))
	default:
		f.message = pageText(status, body)
	}
	return f
}

// readError reads the members of {"error":{}}. Each is taken by itself: one of an
// unexpected type must not hide the others.
func (f *fault) readError(members map[string]json.RawMessage) {
	texts := make(map[string]string, len(members))
	for name, raw := range members {
		var s string
		if json.Unmarshal(raw, &s) == nil {
			texts[name] = s
		} else if name == "code" {
			texts[name] = string(raw)
		}
	}
	f.code = errorCode(texts["code"])
	f.setMessage(texts["message"])
	if t := texts[traceText]; t != "" {
		f.detail = cut(strings.TrimSpace(f.detail+"\n"+t), maxDetail)
	}
	for name, s := range texts {
		if strings.HasPrefix(name, detailsName) && strings.HasSuffix(strings.ToLower(name), bulkDetails) {
			f.rows = readRows(s)
		}
	}
}

// readRows reads the failed records of an elastic table, a JSON list in a string.
func readRows(s string) []RowStatus {
	var list []struct {
		RequestIndex int
		ID           string `json:"Id"`
		StatusCode   int
	}
	if json.Unmarshal([]byte(s), &list) != nil {
		return nil
	}
	rows := make([]RowStatus, len(list))
	for i, r := range list {
		id, _ := schema.ParseGUID(r.ID) // a record without one is named by its place
		rows[i] = RowStatus{Index: r.RequestIndex, ID: id, Status: r.StatusCode}
	}
	return rows
}

// setMessage keeps the first line as message; .NET stack frames follow it (1.9).
func (f *fault) setMessage(s string) {
	line, rest, _ := strings.Cut(strings.TrimSpace(s), "\n")
	f.message = cut(strings.TrimSpace(line), maxMessage)
	f.detail = cut(strings.TrimSpace(rest), maxDetail)
	if len(line) > maxMessage {
		f.detail = cut(strings.TrimSpace(s), maxDetail)
	}
}

// errorCode reads 0x80040217, in any case, or the signed decimal of the SDK
// (dataverse-web-api.md 1.7); 0 when it is neither.
func errorCode(s string) uint32 {
	s = strings.ToLower(strings.TrimSpace(s))
	if hex, ok := strings.CutPrefix(s, "0x"); ok {
		n, err := strconv.ParseUint(hex, 16, 32)
		if err != nil {
			return 0
		}
		return uint32(n)
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < -1<<31 || n > 1<<32-1 {
		return 0
	}
	return uint32(n)
}

// pageText is what an answer in no known form says: its title, or its first words.
func pageText(status int, body []byte) string {
	s := strings.ToValidUTF8(string(body[:min(len(body), 16<<10)]), "")
	if title, ok := between(s, "<title>", "</title>"); ok {
		s = title
	} else if strings.Contains(s, "<") && strings.Contains(s, ">") {
		s = "" // markup without a title
	}
	s = cut(strings.Join(strings.Fields(s), " "), 200)
	if s == "" {
		return http.StatusText(status)
	}
	return s
}

func between(s, from, to string) (string, bool) {
	lower := strings.ToLower(s)
	i := strings.Index(lower, from)
	if i < 0 || len(lower) != len(s) { // a letter of another width in lower case
		return "", false
	}
	i += len(from)
	j := strings.Index(lower[i:], to)
	if j < 0 {
		return "", false
	}
	return s[i : i+j], true
}

// cut shortens s to at most n bytes, at a letter's edge.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "") + "…"
}

func first(s ...string) string {
	for _, v := range s {
		if v != "" {
			return v
		}
	}
	return ""
}

// retryAfter reads whole seconds or an HTTP date; 0 when there is none.
func retryAfter(s string, now time.Time) time.Duration {
	if s = strings.TrimSpace(s); s == "" {
		return 0
	}
	if n, err := strconv.ParseFloat(s, 64); err == nil && !math.IsNaN(n) {
		return time.Duration(max(min(n, 3600), 0) * float64(time.Second))
	}
	if t, err := http.ParseTime(s); err == nil {
		return max(t.Sub(now), 0)
	}
	return 0
}

// err turns the fault into an Error of a judged kind.
func (f fault) err(op string, kind Kind) *Error {
	e := &Error{
		Kind: kind, Op: op, Status: f.status, Code: f.code, Message: f.message, Detail: f.detail,
		RequestID: f.requestID, RetryAfter: f.retryAfter,
	}
	if kind == NotFound {
		for _, s := range guidText.FindAllString(f.message, 100) {
			if id, err := schema.ParseGUID(s); err == nil {
				e.IDs = append(e.IDs, id)
			}
		}
	}
	if kind == Partial {
		e.Rows = f.rows
	}
	return e
}
