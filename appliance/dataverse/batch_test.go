package dataverse

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// batchServer answers each operation of a batch by its body, and reads the batch with
// the standard library's reader.
func batchServer(t *testing.T, answer func(round int, body string) string) transport {
	round := 0
	return func(r *http.Request) (*http.Response, error) {
		round++
		_, params, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
		if err != nil {
			t.Error(err)
		}
		var out strings.Builder
		for m := multipart.NewReader(r.Body, params["boundary"]); ; {
			p, err := m.NextPart()
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Error(err)
				break
			}
			b, _ := io.ReadAll(p)
			_, body, _ := strings.Cut(string(b), "\r\n\r\n")
			out.WriteString(answer(round, body))
		}
		out.WriteString(batchEnd)
		return respond(200, out.String(), "Content-Type: multipart/mixed; boundary="+boundary), nil
	}
}

func partStatus(status int, body string, header ...string) string {
	h := ""
	for _, line := range header {
		h += line + "\r\n"
	}
	return fmt.Sprintf("--%s\r\nContent-Type: application/http\r\nContent-Transfer-Encoding: binary\r\n\r\nHTTP/1.1 %d X\r\n%s\r\n%s\r\n", boundary, status, h, body)
}

func opsOf(bodies ...string) []Op {
	var ops []Op
	for _, b := range bodies {
		ops = append(ops, CreateOp(contacts, []byte(b)))
	}
	return ops
}

// kinds lists the outcome of each operation in words.
func kinds(errs []error) string {
	var s []string
	for _, err := range errs {
		if err == nil {
			s = append(s, "done")
		} else {
			s = append(s, KindOf(err).String())
		}
	}
	return strings.Join(s, ", ")
}

// TestBatchOutcomes: each operation has its own; the ones that pass are sent again,
// alone, and the others are not.
func TestBatchOutcomes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var seen [][]string
		c := newClient(t, "", batchServer(t, func(round int, body string) string {
			for len(seen) < round {
				seen = append(seen, nil)
			}
			seen[round-1] = append(seen[round-1], body)
			switch {
			case body == "long":
				return partStatus(400, fault1("0x80044331", "too long"))
			case body == "there":
				return partStatus(412, fault1("0x80040237", "there"))
			case body == "deadlock", body == "twice" && round < 3:
				return partStatus(500, fault1("0x80040255", "rolled back"))
			case body == "throttled" && round < 7:
				return partStatus(429, fault1("0x80072321", "time"), "Retry-After: 10")
			case body == "gateway":
				return partStatus(502, "")
			}
			return partOK
		}))
		began := time.Now()
		errs, err := c.Batch(t.Context(), opsOf("a", "long", "there", "deadlock", "twice", "throttled", "gateway", "b"))
		if err != nil {
			t.Fatal(err)
		}
		if got := kinds(errs); got != "done, row fault, duplicate, rolled back, done, done, answer lost, done" {
			t.Errorf("outcomes %s", got)
		}
		if got := fmt.Sprint(seen[1:3]); got != "[[deadlock twice throttled] [deadlock twice throttled]]" {
			t.Errorf("sent again: %s", got)
		}
		if took := time.Since(began); took < time.Minute {
			t.Errorf("took %v with six holds of 10 s", took)
		}
		if s := c.Limiter().Stats(); s.Throttled.Time != 6 {
			t.Errorf("stats %+v", s)
		}
	})
}

// TestBatchAnswers has the answers that are no plain list of parts.
func TestBatchAnswers(t *testing.T) {
	mixed := "Content-Type: multipart/mixed; boundary=" + boundary
	for _, test := range []struct {
		name   string
		res    *http.Response
		want   string // outcomes
		whole  Kind   // or the error of the batch
		status int
	}{
		{name: "half an answer", res: respond(200, partOK+partBad[:90], mixed), want: "done, answer lost, answer lost"},
		{name: "no closing boundary", res: respond(200, partOK+partOK, mixed), want: "done, answer lost, answer lost"},
		{name: "fewer parts than operations, well closed", res: respond(200, partOK+partBad+batchEnd, mixed), want: "done, row fault, answer lost"},
		{name: "more parts than operations", res: respond(200, strings.Repeat(partOK, 5)+batchEnd, mixed), want: "done, done, done"},
		{name: "nothing", res: respond(200, "", mixed), want: "answer lost, answer lost, answer lost"},
		{name: "stopped at the first failure", res: respond(400, partOK+partBad+batchEnd, mixed), want: "done, row fault, transient"},
		{name: "stopped and broken off", res: respond(400, partOK+partBad, mixed), want: "done, answer lost, answer lost"},
		{name: "JSON in place of parts", res: respond(200, "{}"), want: "answer lost, answer lost, answer lost"},
		{name: "refused as a whole", res: respond(400, fault1("0x80048d19", "Stream was not readable.")), whole: Setup},
		{name: "too large", res: respond(413, ""), whole: TooBig},
		{name: "a server's error, which may be half way", res: respond(500, fault1("0x80040216", "unexpected")), whole: Lost},
		{name: "a gateway", res: respond(504, ""), whole: Lost},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := newClient(t, "", transport(func(*http.Request) (*http.Response, error) { return test.res, nil }), once)
			errs, err := c.Batch(t.Context(), opsOf("1", "2", "3"))
			if test.whole != 0 {
				wantError(t, err, test.whole)
				return
			}
			if got := kinds(errs); err != nil || got != test.want {
				t.Errorf("outcomes %s (%v), want %s", got, err, test.want)
			}
		})
	}
}

// TestBatchBreaksOffOnTheWire: what had come before a connection breaks counts.
func TestBatchBreaksOffOnTheWire(t *testing.T) {
	s := newServer(t, func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "multipart/mixed; boundary="+boundary)
		io.WriteString(w, partOK+partBad+partOK[:30])
		w.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	})
	errs, err := newClient(t, s.URL, nil).Batch(t.Context(), opsOf("1", "2", "3"))
	if got := kinds(errs); err != nil || got != "done, row fault, answer lost" {
		t.Errorf("outcomes %s, %v", got, err)
	}
}

// TestBatchStopsWithContext: operations still to be sent again keep what is known.
func TestBatchStopsWithContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newClient(t, "", batchServer(t, func(_ int, body string) string {
			if body == "busy" {
				return partStatus(429, fault1("0x80072326", "concurrency"), "Retry-After: 60")
			}
			return partOK
		}))
		ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second)
		defer cancel()
		errs, err := c.Batch(ctx, opsOf("a", "busy"))
		if got := kinds(errs); err != nil || got != "done, throttled" {
			t.Errorf("outcomes %s, %v", got, err)
		}
	})
}

func TestBatchLimit(t *testing.T) {
	c := newClient(t, "", transport(func(*http.Request) (*http.Response, error) { return nil, errors.New("sent") }), once)
	if _, err := c.Batch(t.Context(), make([]Op, MaxBatch+1)); err == nil || KindOf(err) != 0 {
		t.Errorf("error %v", err)
	}
	if errs, err := c.Batch(t.Context(), nil); err != nil || len(errs) != 0 {
		t.Errorf("an empty batch: %v, %v", errs, err)
	}
}

// TestOpsAllocateNothing: the batch of a thousand operations costs its buffer only.
func TestOpsAllocateNothing(t *testing.T) {
	c := newClient(t, "https://acme.crm4.dynamics.com", nil)
	link := newLink(t)
	ops, open := make([]Op, 300), make([]int, 300)
	body := []byte(`{"a":1}`)
	buf := bytes.NewBuffer(make([]byte, 0, 1<<20))
	if n := testing.AllocsPerRun(10, func() {
		for i := range ops {
			switch open[i] = i; i % 3 {
			case 0:
				ops[i] = CreateOp(contacts, body)
			case 1:
				ops[i] = UpdateOp(contacts, id(byte(i)), body)
			default:
				ops[i] = AssociateOp(link, Pair{id(1), id(byte(i))})
			}
		}
		c.appendBatch(buf.Bytes()[:0], "batch_x", ops, open)
	}); n > 0 {
		t.Errorf("%v allocations", n)
	}
}
