package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"

	"github.com/spf13/pflag"

	"dvmigrate/appliance"
	"dvmigrate/appliance/console"
	"dvmigrate/appliance/guide"
)

var serveEntry = entry{name: "serve", summary: "the web console: watch the migration in a browser, also beside a load",
	long: `It prints a link that lets one browser in, once. On this machine it needs nothing more;
elsewhere (--listen 0.0.0.0:8790) it speaks TLS, with your certificate or one that it makes
and whose fingerprint it prints. It looks only, but with --operator it prints a second
link, whose browser may pause the load, slow it down, stop it, retry and take snapshots.
See ` + "`dvmigrate guide console`" + `.`,
	make: func() command { return &serveCommand{console: consoleFlags{listen: defaultConsole}} }}

// defaultConsole is where the console listens.
const defaultConsole = "127.0.0.1:8790"

// consoleFlags are what every command says that has a console.
type consoleFlags struct {
	listen    string // empty: none
	operator  bool
	cert, key string
	hosts     []string
}

// addBeside declares the flags of a command that has a console if asked.
func (c *consoleFlags) addBeside(f *pflag.FlagSet) {
	f.StringVar(&c.listen, "console", "", "show the web console meanwhile, at this `address` (default: 127.0.0.1:8790)")
	f.Lookup("console").NoOptDefVal = defaultConsole
	c.add(f)
}

// add declares the flags but that of the address.
func (c *consoleFlags) add(f *pflag.FlagSet) {
	f.BoolVar(&c.operator, "operator", false, "console: print a second link, whose browser may also act")
	f.StringVar(&c.cert, "tls-cert", "", "console: file of its certificate (default: one is made where it listens to others)")
	f.StringVar(&c.key, "tls-key", "", "console: file of the certificate's key")
	f.StringArrayVar(&c.hosts, "host", nil, "console: a name under which it is reached, besides the machine's own; may be given several times")
}

func (c *consoleFlags) validate() error {
	if (c.cert == "") != (c.key == "") {
		return errors.New("--tls-cert and --tls-key go together")
	}
	if c.listen == "" {
		return nil
	}
	if _, _, err := net.SplitHostPort(c.listen); err != nil {
		return fmt.Errorf("%q is no address such as %s", c.listen, defaultConsole)
	}
	return nil
}

// open takes the console's address.
func (c *consoleFlags) open(p watched) (*console.Server, error) {
	o := console.Options{Listen: c.listen, Cert: c.cert, Key: c.key, Hosts: c.hosts, Controller: p, Metrics: console.Metrics(p, nil)}
	for _, page := range guide.Pages() {
		o.Guide = append(o.Guide, console.GuidePage(page))
	}
	s, err := console.Listen(o)
	var inUse *console.InUseError
	if errors.As(err, &inUse) {
		return nil, fmt.Errorf("%w\nchoose another address, such as 127.0.0.1:0 for any free port", err)
	}
	return s, err
}

// links are the ways in.
func (c *consoleFlags) links(s *console.Server) map[string]any {
	v := map[string]any{"version": 1, "url": s.URL(), "link": s.Link(console.Viewer)}
	if c.operator {
		v["operatorLink"] = s.Link(console.Operator)
	}
	if s.Fingerprint() != "" {
		v["fingerprint"] = s.Fingerprint()
	}
	return v
}

type serveCommand struct{ console consoleFlags }

func (c *serveCommand) AddFlags(f *pflag.FlagSet) {
	f.StringVar(&c.console.listen, "listen", defaultConsole, "address; port 0 is any free one")
	c.console.add(f)
}

func (c *serveCommand) Validate(args []string) error {
	return errors.Join(noArgs(args), c.console.validate())
}

func (c *serveCommand) Run(ctx context.Context, env *Env) error {
	lookout := appliance.NewLookout(env.dir, env.options("serve"))
	if _, err := lookout.Status(ctx); err != nil && !errors.Is(err, appliance.ErrNotStaged) {
		return err
	}
	s, err := c.console.open(watched{lookout, env.options("serve")})
	if err != nil {
		return err
	}
	if env.json {
		if err := json.NewEncoder(env.Stdout).Encode(c.console.links(s)); err != nil {
			return err
		}
	} else {
		c.console.announce(env.Stdout, s)
		env.say("stop the console with Ctrl-C")
	}
	return s.Serve(env.Drain)
}

// announce says how to get in.
func (c *consoleFlags) announce(w io.Writer, s *console.Server) {
	v := c.links(s)
	fmt.Fprintf(w, "the console of this project: %s\n", v["link"])
	if c.operator {
		fmt.Fprintf(w, "for the operator, who may act: %s\n", v["operatorLink"])
	}
	if f := s.Fingerprint(); f != "" {
		fmt.Fprintf(w, "its certificate was made now; browsers warn of it, so compare its SHA-256 there:\n  %s\n", f)
	}
	fmt.Fprintln(w, "each link lets one browser in, once")
}

// beside runs a console while this process works on the project; stop ends it.
// Where there can be none, the work goes on without it.
func (c *consoleFlags) beside(ctx context.Context, env *Env, p *appliance.Project) (stop func()) {
	if c.listen == "" {
		return func() {}
	}
	s, err := c.open(watched{inside{p}, env.options("console")})
	if err != nil {
		fmt.Fprintf(env.Stderr, "warning: no console: %v\n", err)
		return func() {}
	}
	c.announce(env.Stderr, s)
	serving, end := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := s.Serve(serving); err != nil {
			fmt.Fprintf(env.Stderr, "warning: the console has ended: %v\n", err)
		}
	}()
	return func() { end(); <-done }
}
