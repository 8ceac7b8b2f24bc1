package appliance

import (
	"encoding/json"
	"os"
	"path/filepath"
	"time"
)

// Owner is the process that works on a project.
type Owner struct {
	PID     int       `json:"pid"`
	Command string    `json:"command"`
	Since   time.Time `json:"since"`
}

func ownerPath(work string) string { return filepath.Join(work, "owner.json") }

// readOwner reads who works on the project; the zero Owner when that is not known.
func readOwner(work string) Owner {
	var o Owner
	if b, err := os.ReadFile(ownerPath(work)); err == nil && json.Unmarshal(b, &o) != nil {
		return Owner{}
	}
	return o
}

// takeOwnership tells others who works on the project. The ledger's lock, which is
// held, is what keeps them out; the file only says who.
func (p *Project) takeOwnership() error {
	b, err := json.Marshal(Owner{PID: os.Getpid(), Command: p.o.Command, Since: time.Now().UTC().Truncate(time.Second)})
	if err != nil {
		return err
	}
	return writeFile(ownerPath(p.work()), b)
}

func (p *Project) dropOwnership() { os.Remove(ownerPath(p.work())) }
