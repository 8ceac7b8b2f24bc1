package emulator

import (
	"net/http"
	"strings"
)

// servePreflight answers OPTIONS, which needs no token: what a browser asks before a
// page of another origin may call, and what other clients ask to see who is there.
func servePreflight(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h["Allow"], h["Public"] = verbs, verbs
	h["OData-Version"] = []string{"4.0"}
	if r.Header.Get("Origin") != "" {
		h.Set("Access-Control-Allow-Origin", "*")
		if methods := r.Header.Get("Access-Control-Request-Method"); methods != "" {
			h.Set("Access-Control-Allow-Methods", "GET,POST,PATCH,PUT,DELETE,OPTIONS")
			h.Set("Access-Control-Max-Age", "1728000")
		}
		if names := r.Header.Get("Access-Control-Request-Headers"); names != "" {
			h.Set("Access-Control-Allow-Headers", names)
		}
	}
	h.Set("Content-Length", "0")
	w.WriteHeader(http.StatusOK)
}

// exposed is what a page of another origin may read of an answer.
const exposed = "Preference-Applied,OData-EntityId,Location,ETag,OData-Version,Content-Encoding,Transfer-Encoding,Content-Length,Retry-After"

// shareWith lets a page of another origin read the answer; a file's answer has
// named headers of its own (section 13.1).
func shareWith(origin string, h http.Header) {
	if origin == "" {
		return
	}
	h.Set("Access-Control-Allow-Origin", "*")
	names := []string{exposed}
	if own := h.Get("Access-Control-Expose-Headers"); own != "" {
		names = append(names, own)
	}
	h.Set("Access-Control-Expose-Headers", strings.Join(names, ","))
}
