package dataverse

import (
	"bytes"
	"fmt"
	"mime"
	"net/http"
	"strconv"
	"strings"
)

// part is the answer to one operation of a batch; its fields lie in the answer's
// body.
type part struct {
	status int    // 0: it cannot be read
	head   []byte // header lines after the status line
	body   []byte
	whole  bool // a boundary follows, so nothing of it is missing
}

// readParts cuts the answer to a batch into its parts (dataverse-web-api.md 7.3). An
// answer that breaks off gives the parts it holds; closed tells whether its last
// boundary is there. At most limit parts are read.
func readParts(h http.Header, body []byte, limit int) (parts []part, closed bool, err error) {
	media, params, err := mime.ParseMediaType(h.Get("Content-Type"))
	if err != nil || !strings.HasPrefix(media, "multipart/") || params["boundary"] == "" {
		return nil, false, fmt.Errorf("the answer is %q, not multipart", media)
	}
	parts = make([]part, 0, min(limit, MaxBatch))
	closed = cutParts(body, params["boundary"], func(b []byte, whole bool) bool {
		parts = append(parts, readPart(b, whole, 0))
		return len(parts) < limit
	})
	return parts, closed, nil
}

// cutParts calls fn with what is between two boundary lines, without the line end
// that belongs to the boundary; whole is false for a last one that no boundary
// follows. It reports whether it met the closing boundary, or fn had enough.
func cutParts(body []byte, boundary string, fn func(b []byte, whole bool) bool) bool {
	mark := []byte("--" + boundary)
	for {
		line, found := nextBoundary(body, mark)
		if !found || line.closing {
			return found
		}
		body = body[line.end:]
		next, found := nextBoundary(body, mark)
		if !found {
			fn(body, false)
			return false
		}
		content := bytes.TrimSuffix(body[:next.start], []byte("\n"))
		if !fn(bytes.TrimSuffix(content, []byte("\r")), true) {
			return true
		}
		body = body[next.start:]
	}
}

// boundaryLine is where a boundary line lies, with its line end.
type boundaryLine struct {
	start, end int
	closing    bool
}

// nextBoundary finds the next boundary line: the mark at the start of a line, and
// nothing after it but the two dashes of the closing one. Without a line end only a
// closing one is taken, as another may be cut off.
func nextBoundary(b, mark []byte) (boundaryLine, bool) {
	for from := 0; ; {
		i := bytes.Index(b[from:], mark)
		if i < 0 {
			return boundaryLine{}, false
		}
		i += from
		from = i + len(mark)
		if i > 0 && b[i-1] != '\n' {
			continue
		}
		rest, _, ended := bytes.Cut(b[from:], []byte("\n"))
		line := boundaryLine{start: i, end: min(from+len(rest)+1, len(b))}
		rest, line.closing = bytes.CutPrefix(rest, []byte("--"))
		if len(bytes.TrimSpace(rest)) == 0 && (ended || line.closing) {
			return line, true
		}
	}
}

// readPart reads one part: its own headers, then an HTTP answer, or the answer to a
// change set, whose first failure, or else first part, stands for all of it.
func readPart(b []byte, whole bool, depth int) part {
	head, content, ok := cutHead(b)
	if !ok {
		return part{whole: whole}
	}
	media, params, err := mime.ParseMediaType(lineValue(head, "Content-Type"))
	if err == nil && strings.HasPrefix(media, "multipart/") && params["boundary"] != "" && depth == 0 {
		return changeSet(content, params["boundary"], whole)
	}
	line, rest, _ := bytes.Cut(content, []byte("\n"))
	fields := bytes.Fields(line)
	if len(fields) < 2 || !bytes.HasPrefix(fields[0], []byte("HTTP/")) {
		return part{whole: whole}
	}
	status, err := strconv.Atoi(string(fields[1]))
	if err != nil || status < 100 || status > 999 {
		return part{whole: whole}
	}
	p := part{status: status, whole: whole}
	if p.head, p.body, ok = cutHead(rest); !ok {
		p.head = rest // a 204 whose empty line is missing
	}
	p.body = bytes.TrimSpace(p.body)
	return p
}

func changeSet(b []byte, boundary string, whole bool) part {
	var found part
	closed := cutParts(b, boundary, func(b []byte, inner bool) bool {
		p := readPart(b, whole && inner, 1)
		if found.status == 0 || p.status >= 300 {
			found = p
		}
		return found.status < 300
	})
	found.whole = whole && closed
	return found
}

// cutHead splits header lines from what follows the empty line.
func cutHead(b []byte) (head, rest []byte, ok bool) {
	for at := 0; at < len(b); {
		end := bytes.IndexByte(b[at:], '\n')
		if end < 0 {
			return nil, nil, false
		}
		if len(bytes.TrimRight(b[at:at+end], "\r")) == 0 {
			return b[:at], b[at+end+1:], true
		}
		at += end + 1
	}
	return nil, nil, false
}

// lineValue finds a header in raw lines.
func lineValue(head []byte, name string) string {
	for line := range bytes.Lines(head) {
		k, v, ok := bytes.Cut(line, []byte(":"))
		if ok && strings.EqualFold(string(bytes.TrimSpace(k)), name) {
			return string(bytes.TrimSpace(v))
		}
	}
	return ""
}

// headers reads the part's header lines.
func (p part) headers() http.Header {
	h := make(http.Header)
	for line := range bytes.Lines(p.head) {
		if k, v, ok := bytes.Cut(line, []byte(":")); ok {
			h.Add(string(bytes.TrimSpace(k)), string(bytes.TrimSpace(v)))
		}
	}
	return h
}
