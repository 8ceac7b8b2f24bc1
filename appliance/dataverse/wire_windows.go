package dataverse

import "net"

// stillOpen cannot be told here without waiting: a connection that the service has
// closed meanwhile shows when it is used.
func stillOpen(net.Conn) bool { return true }

// answered cannot be told here either: a service that no longer reads is waited for.
func answered(net.Conn) bool { return false }
