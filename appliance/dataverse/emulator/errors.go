package emulator

import (
	"fmt"
	"net/http"
	"slices"
	"strings"

	"dvmigrate/appliance/dataverse/schema"
)

// apiError is an error as the service answers it (section 1.7).
type apiError struct {
	status  int
	code    string // "0x…", or empty
	message string
	// retryAfter, in seconds, is sent as Retry-After when it is not zero.
	retryAfter int
	// details are further string properties of the error object, sent only when
	// annotations were asked for.
	details   [][2]string
	html      string // a page of the front door instead of the JSON body
	challenge bool   // a 401: no body, WWW-Authenticate
}

func (e *apiError) Error() string {
	return fmt.Sprintf("%d %s %s", e.status, e.code, e.message)
}

func errorf(status int, code, format string, args ...any) *apiError {
	return &apiError{status: status, code: code, message: fmt.Sprintf(format, args...)}
}

// The errors of section 1.8 that more than one place answers.

func errNoRow(t *table, id schema.GUID) *apiError {
	return errorf(http.StatusNotFound, "0x80040217", "%s With Id = %s Does Not Exist", t.LogicalName, id)
}

func errNoRows(t *table, id schema.GUID) *apiError {
	return errorf(http.StatusNotFound, "0x80040217", "%s With Ids = %s Do Not Exist", title(t), id)
}

func errNoKeyRow(t *table) *apiError {
	return errorf(http.StatusNotFound, "0x80060891", "A record with the specified key values does not exist in %s entity", t.LogicalName)
}

func errDuplicateID() *apiError {
	return errorf(http.StatusPreconditionFailed, "0x80040237", "A record with matching key values already exists.")
}

func errDuplicateInsert() *apiError {
	return errorf(http.StatusPreconditionFailed, "0x80040237", "Cannot insert duplicate key.")
}

func errVersion() *apiError {
	return errorf(http.StatusPreconditionFailed, "0x80060882", "The version of the existing record doesn't match the RowVersion property provided.")
}

func errSegment(name string) *apiError {
	return errorf(http.StatusNotFound, "0x80060888", "Resource not found for the segment '%s'.", name)
}

func errKeyURL(t *table) *apiError {
	name := "Microsoft.Dynamics.CRM." + t.LogicalName
	return errorf(http.StatusBadRequest, "0x80060888", "The key in the request URI is not valid for resource '%s'. Ensure that the names and number of key properties match the declared or alternate key properties for the resource '%s'.", name, name)
}

func errNoProperty(t *table, name string) *apiError {
	return errorf(http.StatusBadRequest, "0x80060888", "Could not find a property named '%s' on type 'Microsoft.Dynamics.CRM.%s'.", name, t.LogicalName)
}

func errURL(format string, args ...any) *apiError {
	return errorf(http.StatusBadRequest, "0x80060888", format, args...)
}

func errMethod(method string) *apiError {
	return errorf(http.StatusMethodNotAllowed, "0x80060888", "The requested resource does not support http method '%s'.", method)
}

func errNotImplemented(message string) *apiError {
	return errorf(http.StatusNotImplemented, "0x80040219", "%s has not yet been implemented.", message)
}

// payloadCode is the code of a body that cannot be parsed (section 1.9).
const payloadCode = "0x80048d19"

// errPayload is section 1.9's frame for what is wrong with a body.
func errPayload(set, inner string) *apiError {
	return errorf(http.StatusBadRequest, payloadCode, "Error identified in Payload provided by the user for Entity :'%s', For more information on this error please follow this help link https://go.microsoft.com/fwlink/?linkid=2195293  ---->  InnerException : %s", set, inner)
}

func errUnknownProperty(t *table, name string) *apiError {
	full := "Microsoft.Dynamics.CRM." + t.LogicalName
	return errPayload(t.EntitySet, fmt.Sprintf("Microsoft.Crm.CrmException: Invalid property '%s' was found in entity '%s'. ---> Microsoft.OData.ODataException: The property '%s' does not exist on type '%s'. Make sure to only use property names that are defined by the type.", name, full, name, full))
}

func errUndeclared(t *table, nav string) *apiError {
	return errPayload(t.EntitySet, fmt.Sprintf("Microsoft.OData.ODataException: An undeclared property '%s' which only has property annotations in the payload but no property value was found in the payload. In OData, only declared navigation properties and declared named streams can be represented as properties without values.", nav))
}

func errLiteral(t *table, literal, edm string) *apiError {
	return errPayload(t.EntitySet, fmt.Sprintf("Microsoft.OData.ODataException: Cannot convert the literal '%s' to the expected type '%s'. ---> System.FormatException: Input string was not in a correct format.", literal, edm))
}

// title is the table's name as messages with a capital use it. A $metadata document
// does not say it; a table of the service's own has one, a custom one its prefix.
func title(t *table) string {
	if t.SchemaName != "" || strings.Contains(t.LogicalName, "_") {
		return or(t.SchemaName, t.LogicalName)
	}
	return strings.ToUpper(t.LogicalName[:1]) + t.LogicalName[1:]
}

// appendError appends the error body (section 1.7).
func (e *apiError) appendJSON(dst []byte, wants func(annotation string) bool) []byte {
	dst = append(dst, `{"error":{"code":`...)
	dst = appendString(dst, e.code)
	dst = append(dst, `,"message":`...)
	dst = appendString(dst, e.message)
	for _, d := range slices.Concat(e.details, [][2]string{
		{"@Microsoft.PowerApps.CDS.HelpLink", "http://go.microsoft.com/fwlink/?LinkID=398563&error=Microsoft.Crm.CrmException%3a" + trimHex(e.code) + "&client=platform"},
		{"@Microsoft.PowerApps.CDS.TraceText", ""},
		{"@Microsoft.PowerApps.CDS.InnerError.Message", e.message},
	}) {
		if wants(d[0][1:]) {
			dst = append(dst, ',')
			dst = appendString(dst, d[0])
			dst = append(dst, ':')
			dst = appendString(dst, d[1])
		}
	}
	return append(dst, "}}"...)
}

func trimHex(code string) string {
	if len(code) > 2 {
		return code[2:]
	}
	return "0"
}
