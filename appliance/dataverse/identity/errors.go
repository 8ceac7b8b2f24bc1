package identity

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"regexp"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
)

// Error is a sign-in that did not succeed, in words for a person. It never holds a
// secret.
type Error struct {
	Code    string // of the sign-in service, AADSTS7000215; "": none
	Message string

	temporary bool
}

// Error is the message with the code.
func (e *Error) Error() string {
	if e.Code != "" {
		return "sign in: " + e.Message + " (" + e.Code + ")"
	}
	return "sign in: " + e.Message
}

// Temporary reports whether the sign-in service could not be reached, or was busy:
// trying again may help.
func (e *Error) Temporary() bool { return e.temporary }

// advice tells, for an error code of the sign-in service, what is wrong and what to do.
var advice = map[string]string{
	"AADSTS7000215": "the client secret is wrong: give the secret's value, not its id, and check that it was not renewed",
	"AADSTS7000222": "the client secret has ended: make a new one for the application",
	"AADSTS7000216": "a secret or certificate is missing for this kind of application",
	"AADSTS700016":  "the application (client id) is not known in this tenant: check client and tenant",
	"AADSTS90002":   "the tenant does not exist: check the tenant's id or domain, and the cloud",
	"AADSTS900023":  "the tenant is neither an id nor a domain: check it",
	"AADSTS90023":   "the tenant is neither an id nor a domain: check it",
	"AADSTS500011":  "the environment is not known in this tenant: check the environment's address and the tenant",
	"AADSTS500013":  "the environment's address is not one that tokens are given for: check it",
	"AADSTS70011":   "the environment's address is not one that tokens are given for: check it",
	"AADSTS650057":  "the application may not ask for this environment: give it the Dynamics CRM permission",
	"AADSTS65001":   "nobody has consented to the application's permissions: an administrator has to",
	"AADSTS700027":  "the certificate does not belong to the application, or has ended: upload it to the application",
	"AADSTS7000112": "the application is disabled in this tenant",
	"AADSTS7000229": "the application has no service principal in this tenant: make one",
	"AADSTS53003":   "a conditional access policy blocks the sign-in: exempt the application or run it where it is allowed",
	"AADSTS50076":   "the account needs multi-factor sign-in: use an application, or device-code",
	"AADSTS50034":   "the account is not known in this tenant",
	"AADSTS50173":   "the earlier sign-in no longer counts: sign in again",
	"AADSTS700082":  "the earlier sign-in has ended from disuse: sign in again",
	"AADSTS700024":  "this machine's clock is wrong, or the proof of identity has ended",
	"AADSTS70021":   "no federated credential of the application fits this workload: check issuer, subject and audience",
	"AADSTS700211":  "no federated credential of the application fits this workload: check issuer, subject and audience",
	"AADSTS700213":  "no federated credential of the application fits this workload: check issuer, subject and audience",
	"AADSTS90033":   "the sign-in service is not available for the moment",
	"AADSTS50196":   "too many sign-ins in a short time",
	"AADSTS90055":   "too many sign-ins in a short time",
}

// passing are codes whose cause passes.
var passing = map[string]bool{"AADSTS90033": true, "AADSTS50196": true, "AADSTS90055": true}

var codeText = regexp.MustCompile(`AADSTS\d+`)

// explain turns an error of azidentity into an Error.
func (a *azure) explain(err error) error {
	e := &Error{Message: firstLine(err.Error())}
	body := ""
	var failed *azidentity.AuthenticationFailedError
	if errors.As(err, &failed) && failed.RawResponse != nil {
		status := failed.RawResponse.StatusCode
		e.temporary = status >= 500 || status == 429
		if failed.RawResponse.Body != nil {
			b, _ := io.ReadAll(io.LimitReader(failed.RawResponse.Body, 64<<10)) // what is there is good
			body = string(b)
		}
		if d := description(body); d != "" {
			e.Message = d
		}
	}
	e.Code = codeText.FindString(body + err.Error())
	if words, ok := advice[e.Code]; ok {
		e.Message = words
		e.temporary = e.temporary || passing[e.Code]
	} else if e.Code == "" {
		a.withoutCode(e, err)
	}
	e.Message = a.hide(e.Message)
	return e
}

// withoutCode explains errors that did not come from the sign-in service.
func (a *azure) withoutCode(e *Error, err error) {
	var network *net.OpError
	var name *net.DNSError
	text := err.Error()
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		e.temporary = true
		e.Message = "the sign-in service did not answer in time"
	case errors.As(err, &network), errors.As(err, &name),
		strings.Contains(text, "no such host"), strings.Contains(text, "connection refused"), strings.Contains(text, "i/o timeout"):
		e.temporary = true
		e.Message = "cannot reach the sign-in service: is there a network, and is a proxy needed? " + e.Message
	case a.options.Kind == AzureCLI && strings.Contains(text, "not found on path"):
		e.Message = "the Azure CLI (az) is not installed, or not on the path"
	case a.options.Kind == AzureCLI && strings.Contains(text, "az login"):
		e.Message = "nobody is signed in to the Azure CLI: run az login"
	case a.options.Kind == Default:
		tried := strings.Join(strings.Fields(text), " ")
		e.Message = "no way to sign in was found: set auth to the way meant, such as client-secret. " + tried[:min(len(tried), 800)]
	}
}

// description is the first sentence of what the sign-in service says, without the
// code, trace ids and time that follow.
func description(body string) string {
	var answer struct {
		Description string `json:"error_description"`
	}
	if json.Unmarshal([]byte(body), &answer) != nil {
		return ""
	}
	line := firstLine(answer.Description)
	if _, rest, ok := strings.Cut(line, ": "); ok && codeText.MatchString(line) {
		line = rest
	}
	line, _, _ = strings.Cut(line, " Trace ID:")
	return strings.TrimSpace(line)
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(strings.TrimSpace(s), "\n")
	return strings.TrimSpace(line)
}

// hide removes the secret, should a message hold it.
func (a *azure) hide(s string) string {
	if len(a.options.Secret) >= 4 {
		s = strings.ReplaceAll(s, a.options.Secret, "[secret]")
	}
	return s
}
