package emulator

// Owned by E2: service document, $metadata, definitions, functions.

// makeFunctions lists the unbound functions, by name, and those bound to a set or
// row, by name without the namespace.
func makeFunctions() (unbound, bound map[string]func(*call) error) {
	return map[string]func(*call) error{}, map[string]func(*call) error{}
}

func (c *call) getServiceDocument() error { return errNotImplemented("RetrieveServiceDocument") }
func (c *call) getMetadata() error        { return errNotImplemented("RetrieveMetadata") }
func (c *call) getDefinitions() error     { return errNotImplemented("RetrieveMetadata") }
