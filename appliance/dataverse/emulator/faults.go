package emulator

// Fault is one fault on order.
type Fault struct{}
