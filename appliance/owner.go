package appliance

import (
	"os"
	"path/filepath"
	"slices"
	"time"
)

// Owner is the process that works on a project.
type Owner struct {
	PID     int       `json:"pid"`
	Command string    `json:"command"`
	Since   time.Time `json:"since"`
	Host    string    `json:"host,omitempty"`
	User    string    `json:"user,omitempty"` // of the machine
}

func ownerPath(work string) string { return filepath.Join(work, "owner.json") }

// readOwner reads who works on the project; the zero Owner when that is not known.
func readOwner(work string) Owner {
	var o Owner
	if _, err := readNote(ownerPath(work), &o); err != nil {
		return Owner{}
	}
	return o
}

// takeOwnership tells others who works on the project. The ledger's lock, which is
// held, is what keeps them out; the file only says who.
func (p *Project) takeOwnership() error {
	host, _ := os.Hostname() // empty where the machine has no name
	p.owns = true
	return keepNote(ownerPath(p.work()), Owner{PID: os.Getpid(), Command: p.o.Command, Since: time.Now().UTC().Truncate(time.Second), Host: host, User: userName(p.o.Env)})
}

func (p *Project) dropOwnership() {
	if p.owns {
		os.Remove(ownerPath(p.work()))
	}
}

// inUse says who keeps this process from the project. The file that says who works on it
// may be that of a process that was killed, and who only looks leaves none: where the
// system tells who holds the ledger's lock, that counts.
func (p *Project) inUse() *InUseError {
	owner := readOwner(p.work())
	host, _ := os.Hostname()
	if owner.Host != "" && owner.Host != host {
		return &InUseError{Owner: owner} // of another machine, in a folder that is shared
	}
	holders := lockHolders(p.ledgerPath())
	if len(holders) > 0 && !slices.ContainsFunc(holders, func(h Owner) bool { return h.PID == owner.PID }) {
		return &InUseError{Owner: holders[0]}
	}
	return &InUseError{Owner: owner}
}
