package appliance

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strconv"
	"time"

	"github.com/wneessen/go-mail"

	"dvmigrate/appliance/config"
	"dvmigrate/appliance/progress"
)

// mailbox sends mail by SMTP. The library does it, and not net/smtp, which is frozen and
// signs in by PLAIN and CRAM-MD5 only: Exchange Online, which most who load Dataverse have,
// takes LOGIN. It also writes the message: encoded subject, dates, ids.
type mailbox struct{ c config.Channel }

// tlsPort is where mail is encrypted from the first byte (RFC 8314).
const tlsPort = 465

func (m *mailbox) send(ctx context.Context, c Call) (string, error) {
	client, err := m.client(ctx)
	if err != nil {
		return "", err
	}
	msg, err := m.message(c)
	if err != nil {
		return "", err
	}
	if err := client.DialAndSendWithContext(ctx, msg); err != nil {
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			return "", fmt.Errorf("no answer from %s in %v", m.c.SMTP, callTime)
		}
		var refused *mail.SendError
		text := readable(scrubbed(err.Error(), []string{m.c.Password.Reveal()}))
		if errors.As(err, &refused) && !refused.IsTemp() {
			return "", &refusal{answer: text}
		}
		return "", fmt.Errorf("%s: %s", m.c.SMTP, text)
	}
	return readable("accepted: " + msg.ServerResponse()), nil
}

// client is a connection yet to be made.
func (m *mailbox) client(ctx context.Context) (*mail.Client, error) {
	host, service, err := net.SplitHostPort(m.c.SMTP)
	if err != nil {
		return nil, err
	}
	port, err := strconv.Atoi(service)
	if err != nil {
		return nil, fmt.Errorf("%s: the port is no number", m.c.SMTP)
	}
	o := []mail.Option{mail.WithPort(port), mail.WithTLSConfig(&tls.Config{ServerName: host, MinVersion: tls.VersionTLS12})}
	if end, ok := ctx.Deadline(); ok {
		o = append(o, mail.WithTimeout(max(time.Until(end), time.Millisecond)))
	}
	switch {
	case m.c.TLS == "tls" || m.c.TLS == "" && port == tlsPort:
		o = append(o, mail.WithSSL())
	case m.c.TLS == "none":
		o = append(o, mail.WithTLSPolicy(mail.NoTLS))
	default:
		o = append(o, mail.WithTLSPolicy(mail.TLSMandatory))
	}
	if m.c.User != "" {
		o = append(o, mail.WithSMTPAuth(mail.SMTPAuthAutoDiscover), mail.WithUsername(m.c.User), mail.WithPassword(m.c.Password.Reveal()))
	}
	return mail.NewClient(host, o...)
}

func (m *mailbox) message(c Call) (*mail.Msg, error) {
	msg := mail.NewMsg()
	if err := msg.From(m.c.From); err != nil {
		return nil, err
	}
	if err := msg.To(m.c.Mail...); err != nil {
		return nil, err
	}
	msg.Subject(c.title())
	msg.SetDate()
	msg.SetMessageID()
	if c.State == progress.Firing {
		msg.SetImportance(mail.ImportanceHigh)
	}
	msg.SetBodyString(mail.TypeTextPlain, c.text()+"\n")
	return msg, nil
}
