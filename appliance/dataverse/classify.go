package dataverse

import (
	"net/http"
	"regexp"
	"strings"

	"dvmigrate/appliance/dataverse/schema"
)

// rule is what one error code of the service means for a loader.
type rule struct {
	kind Kind
	// refine decides by the words where the code alone does not; nil: kind stands.
	refine func(fault, *Client) Kind
}

// rules is the table of dataverse-web-api.md 1.8. Where that table says
// "configuration" (C) but the words name one record or one owner, the kind is
// RowFault: a fault of one row must not stop the load of all.
var rules = map[uint32]rule{
	// Service protection and a busy database.
	0x80072322: {kind: Throttled}, // requests
	0x80072321: {kind: Throttled}, // execution time
	0x80072326: {kind: Throttled}, // concurrency
	0x80072324: {kind: Throttled}, // too many SQL workers
	0x80072323: {kind: Throttled}, // SQL resource limit
	0x8005F103: {kind: Throttled}, // "Too many requests."
	0x80072325: {kind: Setup},     // storage quota

	// The database and the sandbox.
	0x80044150: {kind: RowFault, refine: sqlError},
	0x80044151: {kind: TooBig}, // SQL timeout
	0x80040255: {kind: RolledBack},
	0x80040251: {kind: RowFault}, // a plug-in swallowed an error
	0x80044171: {kind: TooBig},   // sandbox timeouts
	0x80044172: {kind: TooBig},
	0x80044173: {kind: TooBig},
	0x80081111: {kind: TooBig},
	0x8004418A: {kind: TooBig},    // request length
	0x8004418D: {kind: Transient}, // no sandbox worker
	0x8004418E: {kind: Transient},
	0x80081116: {kind: Transient},
	0x80048543: {kind: Transient}, // a solution is being imported
	0x80071151: {kind: Transient},
	0x80040216: {kind: Transient}, // "An unexpected error occurred."

	// The record is there, or is not.
	0x80040237: {kind: Duplicate},
	0x80060892: {kind: Duplicate}, // alternate key
	0x80040333: {kind: Duplicate}, // duplicate detection
	0x80060882: {kind: Conflict},
	0x80040217: {kind: NotFound},
	0x80060891: {kind: NotFound}, // by alternate key

	// The record's values.
	0x80040265: {kind: RowFault}, // a plug-in refused
	0x80040224: {kind: RowFault},
	0x80060883: {kind: RowFault},
	0x8006088D: {kind: RowFault},
	0x8006089D: {kind: RowFault},
	0x8006088F: {kind: RowFault},
	0x8004022B: {kind: RowFault}, // owner disabled, invalid, missing
	0x80040229: {kind: RowFault},
	0x80040215: {kind: RowFault},
	0x80044331: {kind: RowFault}, // length and range
	0x80073001: {kind: RowFault},
	0x80044330: {kind: RowFault},
	0x80040317: {kind: RowFault},
	0x8004022C: {kind: RowFault},
	0x8004431A: {kind: RowFault}, // options
	0x80050222: {kind: RowFault},
	0x80048408: {kind: RowFault}, // state and status
	0x8004F00E: {kind: RowFault},
	0x80040239: {kind: RowFault},
	0x80040278: {kind: RowFault},
	0x80040200: {kind: RowFault},
	0x80040203: {kind: RowFault},
	0x80048D19: {kind: RowFault, refine: payloadFault},
	0x80040227: {kind: RowFault}, // delete restricted
	0x80040228: {kind: RowFault},
	0x8004022E: {kind: RowFault},
	0x80040230: {kind: RowFault},
	0x80043E09: {kind: RowFault}, // attachments
	0x80044A02: {kind: RowFault},
	0x80072553: {kind: RowFault}, // an image that is none (13.2)

	// Rights. Whose right is missing decides: the sender's stops all, an owner's or
	// one record's does not.
	0x80040220: {kind: Setup, refine: privilege},
	0x80048306: {kind: RowFault}, // no right for the record with id
	0x80040299: {kind: Setup},
	0x80040231: {kind: RowFault}, // the owner to be set lacks Read
	0x80042F09: {kind: RowFault, refine: user},
	0x80042F0A: {kind: RowFault}, // a team; the sender is none
	0x80041409: {kind: RowFault}, // a user's or team's role of another business unit
	0x8004140D: {kind: RowFault},
	0x80040225: {kind: RowFault, refine: user},
	0x80040276: {kind: Setup},
	0x8004F502: {kind: Setup}, // column security
	0x8004F504: {kind: Setup},
	0x8004F507: {kind: Setup},
	0x80072560: {kind: SignIn}, // not a member of the organization
	0x8004A112: {kind: SignIn},
	0x8004A104: {kind: Setup}, // organization disabled

	// The request itself.
	0x80060890: {kind: Setup}, // not a key of the table
	0x80060888: {kind: Setup},
	0x8006088A: {kind: Setup},
	0x80041102: {kind: Setup},
	0x80041103: {kind: Setup},
	0x8004430A: {kind: Setup}, // queries
	0x8004E023: {kind: Setup},
	0x80044183: {kind: Setup},
	0x80048D0B: {kind: Setup},
	0x80040219: {kind: Unsupported}, // "DeleteMultiple has not yet been implemented."
}

// classify decides the Kind of an answer that is not a success. It reads the code
// first, then the words, then the status; c tells who the sender is.
func classify(f fault, c *Client) Kind {
	switch f.status {
	case http.StatusUnauthorized:
		return SignIn
	case http.StatusTooManyRequests:
		return Throttled
	case http.StatusRequestEntityTooLarge:
		return TooBig
	}
	if bulkRefused(f.message) {
		return Unsupported
	}
	if r, ok := rules[f.code]; ok {
		if r.refine != nil {
			return r.refine(f, c)
		}
		return r.kind
	}
	return byStatus(f, c)
}

// byStatus decides where the code is missing or unknown (dataverse-web-api.md 1.6,
// 1.7). An answer in the service's own form below 500 is a refusal; one of 500
// undid its transaction; a page of a gateway says nothing of what the server did.
func byStatus(f fault, c *Client) Kind {
	switch {
	case f.status == http.StatusNotImplemented && f.told:
		return Unsupported
	case f.status >= 500 && (!f.told || f.status != http.StatusInternalServerError):
		return Lost
	case f.status == http.StatusRequestTimeout:
		return Lost
	case f.status >= 500:
		return Transient
	case f.broken: // refused, but who knows why
		return Transient
	case f.status < 400: // a redirect: to a sign-in page, another host
		return Setup
	case !f.told:
		return Setup
	case f.status == http.StatusPreconditionFailed:
		if strings.Contains(f.message, "version") {
			return Conflict
		}
		return Duplicate
	case f.status == http.StatusNotFound:
		if strings.Contains(f.message, "Exist") {
			return NotFound
		}
		return Setup
	case f.status == http.StatusBadRequest:
		return payloadFault(f, c)
	}
	return Setup
}

// bulkRefused knows the words of a table that does not take a bulk action (1.8, 6.2).
func bulkRefused(m string) bool {
	switch {
	case strings.Contains(m, "Multiple is not enabled on the entity"),
		strings.Contains(m, "does not support entities of type"),
		strings.Contains(m, "Multiple has not yet been implemented"):
		return true
	}
	return strings.Contains(m, "Multiple'") && strings.Contains(m, "Resource not found for the segment")
}

var sqlNumber = regexp.MustCompile(`Sql Number: *(-?\d+)`)

// sqlError reads the SQL number that alone tells the cause (1.8): 1205 a deadlock;
// 3732, 2766, 2812 the race of the first parallel bulk calls on a table.
func sqlError(f fault, _ *Client) Kind {
	m := sqlNumber.FindStringSubmatch(f.message)
	if m == nil {
		return RowFault
	}
	switch m[1] {
	case "1205", "3732", "2766", "2812":
		return RolledBack
	case "-2":
		return TooBig
	}
	return RowFault
}

// payloadFault tells an unknown column or navigation property, which every record of the
// mapping has, from a value that does not fit (1.9).
func payloadFault(f fault, _ *Client) Kind {
	for _, s := range [...]string{
		"does not exist on type", "undeclared property", "Invalid property '", "untyped value in non-open type",
		"Could not find a property named", "Resource not found for the segment", "key in the request URI is not valid",
		"Stream was not readable",
	} {
		if strings.Contains(f.message, s) || strings.Contains(f.detail, s) {
			return Setup
		}
	}
	return RowFault
}

var (
	guidText   = regexp.MustCompile(`[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}`)
	callerText = regexp.MustCompile(`context\.Caller=\{?([0-9a-fA-F-]{36})`)
)

// privilege tells whose privilege is missing: the words name the principal first
// and the caller later. Another principal than the caller is the owner that a
// record was to get (14.4).
func privilege(f fault, c *Client) Kind {
	caller := c.caller()
	if m := callerText.FindStringSubmatch(f.message); m != nil {
		if g, err := schema.ParseGUID(m[1]); err == nil {
			caller = g
		}
	}
	principal, err := schema.ParseGUID(guidText.FindString(f.message))
	switch {
	case strings.HasPrefix(f.message, "Principal team"):
		return RowFault
	case err != nil || caller.IsZero() || principal == caller:
		return Setup
	}
	return RowFault
}

// user is a user without roles, or disabled: the sender's account, or the owner of a
// record. Without an id in the words it is taken for the sender when nobody has
// signed in yet.
func user(f fault, c *Client) Kind {
	caller := c.caller()
	named, err := schema.ParseGUID(guidText.FindString(f.message))
	if caller.IsZero() || err == nil && named == caller {
		return SignIn
	}
	return RowFault
}
