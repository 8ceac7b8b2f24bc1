//go:build unix

package dataverse

import (
	"net"
	"syscall"
)

// stillOpen looks whether the other side has closed an idle connection, without
// waiting.
func stillOpen(c net.Conn) bool {
	n, err := peek(c)
	return n > 0 || err == syscall.EAGAIN || err == syscall.EWOULDBLOCK || err == syscall.EINTR
}

// answered looks whether something has come, without waiting.
func answered(c net.Conn) bool {
	n, _ := peek(c)
	return n > 0
}

func peek(c net.Conn) (n int, err error) {
	s, ok := c.(syscall.Conn)
	if !ok {
		return 0, syscall.EAGAIN
	}
	raw, err := s.SyscallConn()
	if err != nil {
		return 0, err
	}
	var peekErr error
	err = raw.Read(func(fd uintptr) bool {
		var one [1]byte
		n, _, peekErr = syscall.Recvfrom(int(fd), one[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		return true
	})
	if err == nil {
		err = peekErr
	}
	return n, err
}
