// Command dvmigrate moves millions of records into Microsoft Dataverse: one
// self-contained file that is copied to a machine and run. `dvmigrate help` says
// how; the tour of the house is the package comment of appliance.
package main

import (
	"os"
	_ "time/tzdata" // time zones without the machine's files

	_ "golang.org/x/crypto/x509roots/fallback" // certificate authorities without the machine's files

	"dvmigrate/appliance/cli"
)

// version is set when the program is built (see Makefile).
var version = "dev"

func main() {
	os.Exit(cli.Main(version))
}
