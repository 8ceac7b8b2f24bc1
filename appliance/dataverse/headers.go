package dataverse

import (
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"

	"dvmigrate/appliance/dataverse/pace"
)

// outcome tells pace how a request went.
func (c *Client) outcome(r *request, a *answer, e *Error) pace.Outcome {
	o := pace.Outcome{Work: r.work}
	if a != nil {
		readLimits(&o, a.header)
		c.known.learn(o)
	}
	if e == nil {
		return o
	}
	switch e.Kind {
	case RowFault, Duplicate, NotFound, Conflict, Partial: // worked on and answered
		return o
	}
	o.Failed = true
	o.Away = e.noService()
	switch e.Kind {
	case Throttled:
		o.Throttle, o.RetryAfter = facet(e.Code), e.RetryAfter
		o.Limit, o.Per = grant(e.Message)
	case Transient, Lost:
		o.RetryAfter = e.RetryAfter // 503 may say when to come back
	}
	return o
}

// readLimits reads what every answer says about the limits (dataverse-web-api.md 1.4).
func readLimits(o *pace.Outcome, h http.Header) {
	if hint, err := strconv.Atoi(h.Get("X-Ms-Dop-Hint")); err == nil {
		o.Hint = hint
	}
	burst, ok := number(h.Get("X-Ms-Ratelimit-Burst-Remaining-Xrm-Requests"))
	seconds, ok2 := number(h.Get("X-Ms-Ratelimit-Time-Remaining-Xrm-Requests"))
	if ok && ok2 {
		o.HasLeft, o.BurstLeft = true, int(burst)
		o.TimeLeft = time.Duration(seconds * float64(time.Second))
	}
}

// number reads 1,200.00.
func number(s string) (float64, bool) {
	if s == "" {
		return 0, false
	}
	n, err := strconv.ParseFloat(strings.ReplaceAll(s, ",", ""), 64)
	return n, err == nil && n >= 0 && n < 1e9
}

// facet tells which limit a throttle is of (dataverse-web-api.md 8.1).
func facet(code uint32) pace.Throttle {
	switch code {
	case 0x80072322:
		return pace.Requests
	case 0x80072321:
		return pace.Time
	case 0x80072326:
		return pace.Concurrency
	}
	return pace.Other
}

var grantText = regexp.MustCompile(`limit of ([\d.,]*\d)(?: milliseconds)?(?: over time window of ([\d.,]*\d) seconds)?`)

// grant reads the numbers in "Number of requests exceeded the limit of 6000 over
// time window of 300 seconds." and its like (dataverse-web-api.md 8.1).
func grant(message string) (limit float64, per time.Duration) {
	m := grantText.FindStringSubmatch(message)
	if m == nil {
		return 0, 0
	}
	limit, _ = number(m[1])
	if seconds, ok := number(m[2]); ok && seconds <= 86400 {
		per = time.Duration(seconds * float64(time.Second))
	}
	return limit, per
}

var userInfo = regexp.MustCompile(`//[^/@\s]*@`)

// scrub removes a token, and the password in a proxy's address, from a text.
func scrub(s, token string) string {
	if len(token) >= 4 {
		s = strings.ReplaceAll(s, token, "[token]")
	}
	return userInfo.ReplaceAllString(s, "//[hidden]@")
}
