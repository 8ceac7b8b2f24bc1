package dataverse

import "net"

// stillOpen cannot be told here without waiting: a connection that the service has
// closed meanwhile shows when it is used.
func stillOpen(net.Conn) bool { return true }
