package emulator

// maxCount is where $count stops (section 10.4).
const maxCount = 5000

func (c *call) getSet() error      { return errNotImplemented("RetrieveMultiple") }
func (c *call) getCount() error    { return errNotImplemented("RetrieveMultiple") }
func (c *call) getRow() error      { return errNotImplemented("Retrieve") }
func (c *call) getRelated() error  { return errNotImplemented("Retrieve") }
func (c *call) getMetadata() error { return errNotImplemented("RetrieveMetadata") }
