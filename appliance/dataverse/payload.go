package dataverse

import (
	"errors"
	"io"
	"sync"
)

// payload lends a request's body to the transport, which may go on reading for a
// moment after the answer is there. take it back, and the caller can use the bytes
// again without a race.
type payload struct {
	mu    sync.Mutex // held while bytes are copied
	bytes []byte     // nil: taken back
}

// reader returns a new reader from the start; the transport asks for another when it
// sends again on a new connection.
func (p *payload) reader() (io.ReadCloser, error) { return &payloadReader{payload: p}, nil }

func (p *payload) takeBack() {
	p.mu.Lock()
	p.bytes = nil
	p.mu.Unlock()
}

var errRequestOver = errors.New("the request is over")

type payloadReader struct {
	payload *payload
	at      int
}

func (r *payloadReader) Read(b []byte) (int, error) {
	r.payload.mu.Lock()
	defer r.payload.mu.Unlock()
	switch all := r.payload.bytes; {
	case all == nil:
		return 0, errRequestOver
	case r.at >= len(all):
		return 0, io.EOF
	default:
		n := copy(b, all[r.at:])
		r.at += n
		return n, nil
	}
}

func (r *payloadReader) Close() error { return nil }
