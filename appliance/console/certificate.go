package console

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"strings"
	"syscall"
	"time"
)

// certificate is the TLS of a console: of the files, or made now for this machine's names,
// with its fingerprint for whoever has to trust it. What was made is kept nowhere.
func certificate(o Options, host string) (*tls.Config, string, error) {
	if o.Cert != "" || o.Key != "" {
		c, err := tls.LoadX509KeyPair(o.Cert, o.Key)
		if err != nil {
			return nil, "", fmt.Errorf("the certificate of the console: %w", err)
		}
		return &tls.Config{Certificates: []tls.Certificate{c}, MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"}}, "", nil
	}
	c, err := selfSigned(o, host)
	if err != nil {
		return nil, "", fmt.Errorf("make a certificate for the console: %w", err)
	}
	sum := sha256.Sum256(c.Certificate[0])
	return &tls.Config{Certificates: []tls.Certificate{c}, MinVersion: tls.VersionTLS13, NextProtos: []string{"h2", "http/1.1"}}, fingerprintText(sum), nil
}

// fingerprintText writes a hash as browsers show it.
func fingerprintText(sum [32]byte) string {
	parts := make([]string, len(sum))
	for i, b := range sum {
		parts[i] = fmt.Sprintf("%02X", b)
	}
	return strings.Join(parts, ":")
}

// selfSignedLife is shorter than the longest that browsers take.
const selfSignedLife = 365 * 24 * time.Hour

func selfSigned(o Options, host string) (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return tls.Certificate{}, err
	}
	now := time.Now()
	t := &x509.Certificate{SerialNumber: serial, Subject: pkix.Name{CommonName: machineName(), Organization: []string{"dvmigrate console"}},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(selfSignedLife), KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, BasicConstraintsValid: true, IPAddresses: machineAddresses()}
	for name := range allowedHosts(o, host) {
		if net.ParseIP(name) == nil {
			t.DNSNames = append(t.DNSNames, name)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, t, t, &key.PublicKey, key)
	if err != nil {
		return tls.Certificate{}, err
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, nil
}

// allowedHosts are the names under which the console may be asked.
func allowedHosts(o Options, host string) map[string]bool {
	hosts := map[string]bool{"localhost": true, hostOf(host): host != ""}
	for _, name := range append([]string{machineName()}, o.Hosts...) {
		hosts[strings.ToLower(name)] = true
	}
	if c, err := tls.LoadX509KeyPair(o.Cert, o.Key); err == nil && c.Leaf != nil {
		for _, name := range c.Leaf.DNSNames {
			hosts[strings.ToLower(name)] = true
		}
	}
	delete(hosts, "")
	return hosts
}

func machineName() string {
	name, err := os.Hostname()
	if err != nil || name == "" {
		return "localhost"
	}
	return strings.ToLower(name)
}

// machineAddresses are those of the machine's network cards; none where it does not tell.
func machineAddresses() []net.IP {
	var out []net.IP
	all, err := net.InterfaceAddrs()
	if err != nil {
		return nil
	}
	for _, a := range all {
		if n, ok := a.(*net.IPNet); ok && !n.IP.IsLinkLocalUnicast() {
			out = append(out, n.IP)
		}
	}
	return out
}

// inUse reports whether an address could not be taken because another program has it.
func inUse(err error) bool {
	const windows = syscall.Errno(10048) // WSAEADDRINUSE, which no other system has
	return errors.Is(err, syscall.EADDRINUSE) || errors.Is(err, windows)
}
