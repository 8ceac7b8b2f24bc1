package plan

// meter is the service's own count for one user on one server (dataverse-web-api.md
// 8.1): what arrived in the sliding window, exactly, request by request. The emulator
// has another of its own; that both agree is what makes the estimate's test one.
type meter struct {
	requests  int     // allowed in the window; 0 = no limit
	execution float64 // seconds allowed in the window; 0 = no limit
	atOnce    int     // 0 = no limit
	window    float64

	arrived []arrival // a ring, oldest at head
	head    int
	gone    int // arrivals that have left the window, ever
	count   int
	busy    float64 // seconds of execution in the window
	running int
	pushed  int // refusals in a row: each makes the wait a second longer
}

type arrival struct{ at, took float64 }

// arrive asks to let a request in; wait is the Retry-After of a refusal, 0 when it is
// let in, with its number, and facet is the limit that it met.
func (m *meter) arrive(now float64) (number int, wait float64, facet cause) {
	for m.count > 0 && m.arrived[m.head].at <= now-m.window {
		m.busy = max(m.busy-m.arrived[m.head].took, 0)
		m.head = (m.head + 1) % len(m.arrived)
		m.count--
		m.gone++
	}
	switch {
	case m.atOnce > 0 && m.running >= m.atOnce:
		wait, facet = 1, byConcurrency
	case m.requests > 0 && m.count >= m.requests:
		wait, facet = m.at(m.count-m.requests).at+m.window-now, byRequests
	case m.execution > 0 && m.busy > m.execution:
		over, i := m.busy-m.execution, 0
		for ; i < m.count-1 && over > m.at(i).took; i++ {
			over -= m.at(i).took
		}
		wait, facet = m.at(i).at+m.window-now, byExecution
	default:
		m.pushed = 0
		m.running++
		m.push(arrival{at: now})
		return m.gone + m.count - 1, 0, byNone
	}
	m.pushed++
	return 0, float64(int(min(wait+float64(m.pushed-1), m.window))) + 1, facet
}

// leave counts what a request took.
func (m *meter) leave(number int, took float64) {
	m.running--
	if i := number - m.gone; i >= 0 {
		m.arrived[(m.head+i)%len(m.arrived)].took = took
		m.busy += took
	}
}

func (m *meter) at(i int) arrival { return m.arrived[(m.head+i)%len(m.arrived)] }

func (m *meter) push(a arrival) {
	if m.count == len(m.arrived) {
		grown := make([]arrival, max(2*len(m.arrived), 256))
		for i := range m.count {
			grown[i] = m.at(i)
		}
		m.arrived, m.head = grown, 0
	}
	m.arrived[(m.head+m.count)%len(m.arrived)] = a
	m.count++
}
