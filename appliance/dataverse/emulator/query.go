package emulator

// Owned by E2: collections, $count, related rows.

func (c *call) getSet() error     { return errNotImplemented("RetrieveMultiple") }
func (c *call) getCount() error   { return errNotImplemented("RetrieveMultiple") }
func (c *call) getRow() error     { return errNotImplemented("Retrieve") }
func (c *call) getRelated() error { return errNotImplemented("Retrieve") }
