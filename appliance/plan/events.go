package plan

type eventKind uint8

const (
	came  eventKind = iota // an answer
	again                  // a request is to be tried once more
	freed                  // a worker is
)

type event struct {
	at    float64
	order int // of equals, the one that was made first
	kind  eventKind
	job   *job
}

// events is a heap, the earliest on top.
type events []event

func (e events) less(i, j int) bool {
	return e[i].at < e[j].at || e[i].at == e[j].at && e[i].order < e[j].order
}

// first is when the next one is; less than 0: there is none.
func (e events) first() float64 {
	if len(e) == 0 {
		return -1
	}
	return e[0].at
}

func (e *events) push(v event) {
	h := append(*e, v)
	for i := len(h) - 1; i > 0; {
		parent := (i - 1) / 2
		if !h.less(i, parent) {
			break
		}
		h[i], h[parent] = h[parent], h[i]
		i = parent
	}
	*e = h
}

func (e *events) pop() event {
	h := *e
	top := h[0]
	last := len(h) - 1
	h[0] = h[last]
	h = h[:last]
	for i := 0; ; {
		least := 2*i + 1
		if least >= last {
			break
		}
		if least+1 < last && h.less(least+1, least) {
			least++
		}
		if !h.less(least, i) {
			break
		}
		h[i], h[least] = h[least], h[i]
		i = least
	}
	*e = h
	return top
}
