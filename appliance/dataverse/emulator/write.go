package emulator

func (c *call) postRow() error        { return errNotImplemented("Create") }
func (c *call) patchRow() error       { return errNotImplemented("Update") }
func (c *call) deleteRow() error      { return errNotImplemented("Delete") }
func (c *call) getProperty() error    { return errNotImplemented("Retrieve") }
func (c *call) getRawProperty() error { return errNotImplemented("Retrieve") }
func (c *call) putProperty() error    { return errNotImplemented("Update") }
func (c *call) deleteProperty() error { return errNotImplemented("Update") }
func (c *call) putParties() error     { return errNotImplemented("Update") }
func (c *call) postRef() error        { return errNotImplemented("Associate") }
func (c *call) putRef() error         { return errNotImplemented("Associate") }
func (c *call) deleteRef() error      { return errNotImplemented("Disassociate") }
func (c *call) postBatch() error      { return errNotImplemented("ExecuteBatch") }

type stateLog struct{}

func divideMoney(m, rate value) value { return m }
func (s *store) share(g [16]byte) int {
	n, ok := s.sharedNo[g]
	if !ok {
		n = len(s.shared)
		s.shared = append(s.shared, g)
		s.sharedNo[g] = n
	}
	return n
}
