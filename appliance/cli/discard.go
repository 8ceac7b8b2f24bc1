package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"dvmigrate/appliance"
)

var discardEntry = entry{name: "discard", args: "[verify FILE]", summary: "after sign-off: destroy stage, ledger, snapshots and keys, and leave a signed certificate",
	long: `What it destroys is the work folder and the snapshots in every folder that the settings or --also
name; settings, transforms and source files stay. It refuses before the last generation was loaded
and reconciled, unless --force is given, and asks for the project's name. Killed half-way, it goes on
when it is run again. verify checks a certificate's signature.`,
	make: func() command { return &discardCommand{} }}

type discardCommand struct {
	o      appliance.DiscardOptions
	yes    string
	verify string
}

func (c *discardCommand) AddFlags(f *pflag.FlagSet) {
	f.StringVar(&c.yes, "yes", "", "the project's name, instead of typing it")
	f.BoolVar(&c.o.Force, "force", false, "destroy although the last generation was not reconciled, or a folder of snapshots is not there")
	f.StringArrayVar(&c.o.Also, "also", nil, "a folder, s3://... or azblob://... with snapshots that the settings do not name; may be given again")
	f.StringVar(&c.o.Certificate, "certificate", "", "file of the certificate (default: discarded-NAME.json in the project's folder)")
}

func (c *discardCommand) Validate(args []string) error {
	switch {
	case len(args) == 0:
		return nil
	case args[0] != "verify" || len(args) != 2:
		return errors.New("the only argument is verify FILE")
	}
	c.verify = args[1]
	return nil
}

func (c *discardCommand) Run(ctx context.Context, env *Env) error {
	if c.verify != "" {
		return c.check(env)
	}
	c.o.Confirm = func(project string) error { return c.confirm(env, project) }
	d, err := appliance.Discard(ctx, env.dir, c.o, env.options("discard"))
	if err != nil {
		return err
	}
	if env.json {
		return env.printJSON(map[string]any{"version": 1, "file": d.File, "fingerprint": d.Fingerprint, "certificate": d.Certificate})
	}
	printCertificate(env, d.Certificate)
	env.say("certificate: %s\nfingerprint of its key: %s (note it in the sign-off)", d.File, d.Fingerprint)
	return nil
}

func (c *discardCommand) confirm(env *Env, project string) error {
	typed := c.yes
	if typed == "" {
		fmt.Fprintf(env.Stderr, "stage, ledger, snapshots and keys of %s will be destroyed; nothing brings them back.\ntype the project's name to go on: ", project)
		line, _ := bufio.NewReader(env.Stdin).ReadString('\n') // the end of the input is no name
		typed = strings.TrimSpace(line)
	}
	if typed == "" {
		return fmt.Errorf("nothing was destroyed: the project's name was not typed; --yes %s says it where nobody can", project)
	}
	if typed != project {
		return fmt.Errorf("nothing was destroyed: %q is not the project's name, %s", typed, project)
	}
	return nil
}

func (c *discardCommand) check(env *Env) error {
	cert, print, err := appliance.VerifyCertificate(c.verify)
	if err != nil {
		return err
	}
	if env.json {
		return env.printJSON(map[string]any{"version": 1, "fingerprint": print, "certificate": cert})
	}
	printCertificate(env, cert)
	env.say("the signature fits; fingerprint of its key: %s", print)
	return nil
}

func printCertificate(env *Env, c appliance.Certificate) {
	var bytes int64
	for _, f := range c.Destroyed {
		bytes += f.Size
	}
	env.say("%s: %s files of %s destroyed by %s on %s, %s to %s", c.Project, count(int64(len(c.Destroyed))), size(bytes), c.User, c.Host,
		c.Begun.Local().Format(time.DateTime), c.Ended.Local().Format(time.DateTime))
	for _, s := range c.Snapshots {
		env.say("snapshots in %s: %d, of which %d encrypted", s.Path, s.Snapshots, s.Encrypted)
	}
	if c.Forced != "" {
		env.say("forced although: %s", c.Forced)
	}
	env.say("final counts: %s records, %s processed, %s failed, %s held back", count(c.Summary.Source), count(c.Summary.Processed), count(c.Summary.Error), count(c.Summary.Held))
}
